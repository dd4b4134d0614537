"""Calls that are to fail: which operation a request means, in every service, and how its refusal looks there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

from localaws.errors import ApiError
from localaws.faults import ERRORS, Faults
from localaws.front.auth import Environ, read_body
from localaws.front.wire import RUNTIME_OPERATIONS, StartResponse, error_xml, respond, respond_error
from localaws.s3.errors import InvalidURI
from localaws.s3.names import operation_name

log = logging.getLogger("localaws.faults")

Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
SERVICES = {"monitoring": "cloudwatch"}  # names of scopes that are not those of boto3's clients
# How S3 and the query protocol (STS, IAM) spell what ApiError has in SageMaker's spelling.
S3_ERRORS = {
    "ThrottlingException": ("SlowDown", 503, "Please reduce your request rate."),
    "InternalFailure": ("InternalError", 500, "We encountered an internal error. Please try again."),
    "ServiceUnavailable": ("ServiceUnavailable", 503, "Service is unable to handle request."),
    "AccessDeniedException": ("AccessDenied", 403, "Access Denied"),
}
QUERY_ERRORS = {"ThrottlingException": "Throttling", "AccessDeniedException": "AccessDenied"}


def call_name(environ: Environ, service: str, s3_hosts: Iterable[str]) -> str:
    """`CreateTrainingJob` and `InvokeEndpoint` for SageMaker, `s3:GetObject`, `logs:GetLogEvents`, `sts:AssumeRole`.

    `service` is the signed scope. Where nothing says the operation it is `service:Unknown`.
    """
    target: str = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    path: str = environ["PATH_INFO"]
    if service == "sagemaker":
        last = path.rstrip("/").rpartition("/")[2]
        return target or RUNTIME_OPERATIONS.get(last) or last or "Unknown"
    name = SERVICES.get(service, service)
    if service == "s3":
        try:
            return f"s3:{operation_name(environ, ('localhost', *s3_hosts))}"
        except InvalidURI:
            return "s3:Unknown"
    if target:
        return f"{name}:{target}"
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(read_body(environ).decode("utf-8", "replace"))
        return f"{name}:{form.get('Action', ['Unknown'])[0]}"
    last = path.rstrip("/").rpartition("/")[2]  # smithy-rpc: /service/X/operation/Y
    return f"{name}:{last or 'Unknown'}"


def answer(faults: Faults, name: str, app: Wsgi, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The answer of `app`, or the fault that was asked for this call."""
    try:
        fault = faults.begin(name)
        if fault is None:
            return app(environ, start_response)
        _discard(app(environ, lambda *_: None))
        fault.raise_error()
    except ApiError as error:
        log.info("%s: refused with %s, as it was asked for", name, error.code)
        return _refuse(error, name, environ, start_response)
    raise AssertionError("a fault without an error came back")


def _discard(body: Iterable[bytes]) -> None:
    try:
        for _ in body:
            pass
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


def _refuse(error: ApiError, name: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    while environ["wsgi.input"].read(1 << 20):  # what is left of the body is not the next request
        pass
    if name.startswith("s3:"):
        code, status, text = S3_ERRORS.get(error.code, (error.code, error.status, error.message))
        message = text if error.message == ERRORS[error.code][1] else error.message
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else error_xml(code, message, query=False)
        return respond(start_response, status, body, "application/xml")
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        xml = error_xml(QUERY_ERRORS.get(error.code, error.code), error.message, query=True)
        return respond(start_response, error.status, xml, "text/xml")
    return respond_error(start_response, error)
