"""The one WSGI application: lets a request in, finds the service it is for, and renders refusals."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from include.localaws import shapes
from include.localaws.auth import Environ, Refused, authenticate, read_body
from include.localaws.context import Context
from include.localaws.errors import (
    ApiError,
    InternalFailure,
    SerializationException,
    UnknownOperationException,
    ValidationException,
)
from include.localaws.foreign import Moto
from include.localaws.registry import OPERATIONS

log = logging.getLogger("localaws")

StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
TARGET = "SageMaker."
RUNTIME_PATH = re.compile(r"/endpoints/[^/]+/(invocations|async-invocations|invocations-response-stream)/?")
METRICS_PATH = "/BatchPutMetrics"
HEALTH_PATH = "/_localaws/health"
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 413: "Payload Too Large",
           424: "Failed Dependency", 429: "Too Many Requests", 500: "Internal Server Error",
           503: "Service Unavailable"}  # fmt: skip
# What each family of protocols calls a refusal: JSON, query (STS, IAM), S3.
REFUSALS = {
    "missing": ("MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied"),
    "unknown": ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"),
    "signature": ("InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"),
    "time": ("InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed"),
    "size": ("RequestEntityTooLargeException", "RequestEntityTooLarge", "EntityTooLarge"),
    "operation": ("UnknownOperationException", "InvalidAction", "NotImplemented"),
    "host": ("AccessDeniedException", "AccessDenied", "AccessDenied"),
}
LOOPBACK_HOSTS = re.compile(r"(?:.+\.)?localhost|127(?:\.\d+){3}|\[::1\]")


class Application:
    """Answers every request of the one port."""

    def __init__(self, ctx: Context, moto: Moto, s3: Wsgi) -> None:
        self.ctx = ctx
        self._moto = moto
        self._s3 = s3
        self._runtime: Wsgi | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        try:
            self._check_host(environ)
            if environ["PATH_INFO"] == HEALTH_PATH:
                return respond(start_response, 200, b'{"status": "ready"}', "application/json")
            caller = authenticate(environ, self._secrets, self.ctx.clock())
        except Refused as refused:
            return self._refuse(environ, start_response, refused)
        return self._service(environ, caller.service)(environ, start_response)

    def _secrets(self, access_key: str) -> tuple[str, str | None] | None:
        config = self.ctx.config
        if access_key == config.access_key:
            return config.secret_key, None
        return self._moto.session_secret(access_key)

    def _check_host(self, environ: Environ) -> None:
        """Only names that mean this machine: a web page whose name was re-bound to it has another one."""
        host = re.sub(r":\d+$", "", environ.get("HTTP_HOST", "")).lower()
        allowed = (self.ctx.config.host, *self.ctx.config.allowed_hosts)
        if LOOPBACK_HOSTS.fullmatch(host) or any(host == h or host.endswith(f".{h}") for h in allowed):
            return
        raise Refused("host", f"Host '{host}' is not served here; start the endpoint with --allow-host {host}.")

    def _service(self, environ: Environ, service: str) -> Wsgi:
        if environ.get("HTTP_X_AMZ_TARGET", "").startswith(TARGET):
            return self._sagemaker
        if service == "sagemaker" and RUNTIME_PATH.fullmatch(environ["PATH_INFO"]):
            return self._runtime_app()
        if service == "s3":
            return self._s3
        if service == "sagemaker" and environ["PATH_INFO"] != METRICS_PATH:
            return self._no_such_path
        if service == "logs":
            self.ctx.logs.load()
        return self._foreign

    def _no_such_path(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        what = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        return respond_error(start_response, ValidationException(f"{what} is not supported by the local AWS endpoint"))

    def _foreign(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self._moto(environ, start_response)
        except NotImplementedError as error:
            # moto would answer 500, which clients try again and again.
            text = f"{error} by moto, which serves this AWS service here"
            return self._refuse(environ, start_response, Refused("operation", text))

    def _runtime_app(self) -> Wsgi:
        if self._runtime is None:
            from include.localaws.runtime import runtime_app

            self._runtime = runtime_app(self.ctx)
        return self._runtime

    def _sagemaker(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        name = environ["HTTP_X_AMZ_TARGET"].removeprefix(TARGET)
        try:
            answer = self.call(name, read_body(environ))
        except ApiError as error:
            return respond_error(start_response, error)
        except Exception:
            log.exception("%s: fault of the endpoint", name)
            fault = InternalFailure(f"{name} failed by a fault of the local endpoint; its log has the details")
            return respond_error(start_response, fault)
        return respond(start_response, 200, json.dumps(answer).encode(), "application/x-amz-json-1.1")

    def call(self, name: str, body: bytes) -> Any:
        """Validate, execute and filter one SageMaker operation; raises ApiError."""
        model = shapes.operation_model(name)
        if model is None:
            raise UnknownOperationException(f"SageMaker has no operation {name}")
        self.ctx.faults.for_call(name)
        handler = OPERATIONS.get(name)
        if handler is None:
            raise ValidationException(f"The operation {name} is not supported by the local AWS endpoint")
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            raise SerializationException("The body is not valid JSON") from None
        answer = handler(self.ctx, shapes.validate(model.input_shape, request))
        return shapes.answer(model.output_shape, answer)

    def _refuse(self, environ: Environ, start_response: StartResponse, refused: Refused) -> Iterable[bytes]:
        json_code, query_code, s3_code = REFUSALS[refused.reason]
        status = {"size": 413, "operation": 400}.get(refused.reason, 403)
        kind = environ.get("CONTENT_TYPE", "")
        if "HTTP_X_AMZ_TARGET" in environ or RUNTIME_PATH.fullmatch(environ["PATH_INFO"]) or "json" in kind:
            return respond_error(start_response, refused, json_code, status)
        message = escape(refused.message)
        if kind.startswith("application/x-www-form-urlencoded"):
            text = (
                f"<ErrorResponse><Error><Type>Sender</Type><Code>{query_code}</Code><Message>{message}</Message>"
                f"</Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
            )
        else:
            text = f"<Error><Code>{s3_code}</Code><Message>{message}</Message></Error>"
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
        return respond(start_response, status, xml.encode(), "application/xml")


def respond(
    start_response: StartResponse, status: int, body: bytes, kind: str, headers: Iterable[tuple[str, str]] = ()
) -> list[bytes]:
    """A complete answer with its length and a request id."""
    start_response(
        f"{status} {REASONS.get(status, 'Unknown')}",
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("x-amzn-RequestId", str(uuid.uuid4())),
            *headers,
        ],
    )
    return [body]


def respond_error(
    start_response: StartResponse,
    error: ApiError | Refused,
    code: str | None = None,
    status: int | None = None,
) -> list[bytes]:
    """An error as the JSON protocols (1.1 and REST) carry it: code in `__type` and in a header."""
    extra: dict[str, object] = {}
    if isinstance(error, ApiError):
        code, status, extra = code or error.code, status or error.status, dict(error.extra)
    # SageMaker's error shapes spell the member "Message", botocore reads both.
    body = {"__type": code, "message": error.message, "Message": error.message, **extra}
    return respond(
        start_response,
        status or 400,
        json.dumps(body).encode(),
        "application/x-amz-json-1.1",
        [("x-amzn-ErrorType", str(code))],
    )
