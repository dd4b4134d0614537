"""The one WSGI application: lets a request in, finds the service it is for, and renders refusals."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from typing import Any

from localaws import iam, logformat, metrics_service, shapes
from localaws.context import Context
from localaws.errors import (
    ApiError,
    InternalFailure,
    RequestRefused,
    SerializationException,
    UnknownOperationException,
    ValidationException,
)
from localaws.faults import check_tags
from localaws.front import admin, faulty, statuspage
from localaws.front.auth import Environ, authenticate, read_body
from localaws.front.calls import CallLog
from localaws.front.wire import REFUSALS, RUNTIME_OPERATIONS, StartResponse, error_xml, respond, respond_error
from localaws.listing import as_listed
from localaws.moto_services import MotoServices
from localaws.registry import OPERATIONS

log = logging.getLogger("localaws")

Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]
TARGET = "SageMaker."
RUNTIME_PATH = re.compile(rf"/endpoints/[^/]+/({'|'.join(RUNTIME_OPERATIONS)})/?")
HEALTH_PATH = "/_localaws/health"
LOOPBACK_HOSTS = re.compile(r"(?:.+\.)?localhost|127(?:\.\d+){3}|\[::1\]")


class Application:
    """Answers every request of the one port; `s3` and `runtime` are the applications of S3 and SageMaker Runtime."""

    def __init__(
        self,
        ctx: Context,
        moto: MotoServices,
        s3: Wsgi,
        runtime: Wsgi,
        reset: Callable[[], None],
        calls: CallLog | None = None,
    ) -> None:
        self.ctx = ctx
        self._reset = reset
        self._calls = calls
        self._moto = moto
        self._s3 = s3
        self._runtime = runtime

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        try:
            self._check_host(environ)
            if environ["PATH_INFO"] == HEALTH_PATH:
                return respond(start_response, 200, b'{"status": "ready"}', "application/json")
            if statuspage.is_meant(environ):
                return statuspage.answer(self.ctx, self.call, environ, start_response)
            caller = authenticate(environ, self._secrets, self.ctx.clock())
            app = self._service(environ, caller.service)
        except RequestRefused as refused:
            return self._refuse(environ, start_response, refused)
        faults = self.ctx.faults
        if app == self._admin or not (faults.any or logformat.access.isEnabledFor(logging.INFO)):
            return app(environ, start_response)
        name = faulty.call_name(environ, caller.service, self.ctx.config.allowed_hosts)
        environ[logformat.OPERATION] = name
        return faulty.answer(faults, name, app, environ, start_response)

    def _secrets(self, access_key: str) -> tuple[str, str | None] | None:
        config = self.ctx.config
        if access_key == config.access_key:
            return config.secret_key, None
        return self._moto.session_secret(access_key, self.ctx.clock())

    def _check_host(self, environ: Environ) -> None:
        """Only names that mean this machine: a web page whose name was re-bound to it has another one."""
        host = re.sub(r":\d+$", "", environ.get("HTTP_HOST", "")).lower()
        allowed = (self.ctx.config.host, *self.ctx.config.allowed_hosts)
        if LOOPBACK_HOSTS.fullmatch(host) or any(host == h or host.endswith(f".{h}") for h in allowed):
            return
        raise RequestRefused("host", f"Host '{host}' is not served here; start the endpoint with --allow-host {host}.")

    def _service(self, environ: Environ, service: str) -> Wsgi:
        administers = environ["PATH_INFO"].startswith(admin.PREFIX)
        if administers or environ.get("HTTP_X_AMZ_TARGET", "").startswith(TARGET):
            if service != "sagemaker":  # the body of a request to S3 need not be signed
                raise RequestRefused("scope", "Credential should be scoped to correct service: 'sagemaker'.", service)
            return self._admin if administers else self._sagemaker
        if service == "sagemaker" and RUNTIME_PATH.fullmatch(environ["PATH_INFO"]):
            return self._runtime
        if service == "s3":
            return self._s3
        if service == "sagemaker":
            return self._metrics if environ["PATH_INFO"] in metrics_service.HANDLERS else self._no_such_path
        if service == "logs":
            self.ctx.logs.load()
        return self._iam if service == "iam" else self._other_service

    def _admin(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, document = admin.answer(self.ctx.faults, self._reset, environ)
        except ApiError as error:
            return respond_error(start_response, error)
        return respond(start_response, status, json.dumps(document).encode(), "application/json")

    def _no_such_path(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        what = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
        return respond_error(start_response, ValidationException(f"{what} is not supported by the local AWS endpoint"))

    def _metrics(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        return self._answer(
            start_response, path, "application/json", lambda: metrics_service.call(self.ctx, path, read_body(environ))
        )

    def _iam(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        body = read_body(environ)
        backend = self._moto.backend("iam", "aws")
        with self._moto.held():
            iam.load_aws_policies(backend, body)
        if not iam.is_simulation(body):
            return self._other_service(environ, start_response)
        status, text = iam.answer(backend, body)
        return respond(start_response, status, text, "text/xml")

    def _other_service(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self._moto(environ, start_response)
        except NotImplementedError as error:
            # moto would answer 500, which clients try again and again.
            text = f"{error} by moto, which serves this AWS service here"
            return self._refuse(environ, start_response, RequestRefused("operation", text))
        except ModuleNotFoundError as error:
            text = (
                f"this AWS service needs the Python module {error.name} here: install sagewind-localaws[all-services]"
            )
            return self._refuse(environ, start_response, RequestRefused("operation", text))

    def _sagemaker(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        name = environ["HTTP_X_AMZ_TARGET"].removeprefix(TARGET)
        body = read_body(environ)

        def handler() -> Any:
            if self._calls is None:
                return self.call(name, body)
            with self._calls.written(name, body, environ.get("HTTP_USER_AGENT", "")):
                return self.call(name, body)

        return self._answer(start_response, name, "application/x-amz-json-1.1", handler)

    def _answer(
        self, start_response: StartResponse, name: str, kind: str, handler: Callable[[], Any]
    ) -> Iterable[bytes]:
        try:
            answer = handler()
        except ApiError as error:
            return respond_error(start_response, error)
        except Exception:
            log.exception("%s: fault of the endpoint", name)
            fault = InternalFailure(f"{name} failed by a fault of the local endpoint; its log has the details")
            return respond_error(start_response, fault)
        return respond(start_response, 200, json.dumps(answer).encode(), kind)

    def call(self, name: str, body: bytes) -> Any:
        """Validate, execute and filter one SageMaker operation; raises ApiError. Faults of calls come before it."""
        model = shapes.operation_model(name)
        if model is None:
            raise UnknownOperationException(f"SageMaker has no operation {name}")
        handler = OPERATIONS.get(name)
        if handler is None:
            raise ValidationException(f"The operation {name} is not supported by the local AWS endpoint")
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            raise SerializationException("The body is not valid JSON") from None
        valid = shapes.validate(model.input_shape, request)
        check_tags(name, valid)
        answer = handler(as_listed(self.ctx, name), self.ctx.profile.asked(name, valid))
        return shapes.answer(model.output_shape, answer)

    def _refuse(self, environ: Environ, start_response: StartResponse, refused: RequestRefused) -> Iterable[bytes]:
        json_code, query_code, s3_code = REFUSALS[refused.reason]
        status = {"size": 413, "operation": 400}.get(refused.reason, 403)
        kind = environ.get("CONTENT_TYPE", "")
        if "HTTP_X_AMZ_TARGET" in environ or RUNTIME_PATH.fullmatch(environ["PATH_INFO"]) or "json" in kind:
            return respond_error(start_response, refused, json_code, status)
        query = kind.startswith("application/x-www-form-urlencoded")
        xml = error_xml(query_code if query else s3_code, refused.message, query=query)
        if refused.reason == "expired" and not query:
            status = 400  # in S3 only
        return respond(start_response, status, xml, "application/xml")
