"""SageMaker Runtime: InvokeEndpoint, and the way to InvokeEndpointAsync."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import (
    ApiError,
    InternalFailure,
    ModelError,
    ModelNotReadyException,
    ServiceUnavailable,
    ThrottlingException,
    ValidationError,
)
from localaws.front.auth import read_body
from localaws.front.wire import RUNTIME_OPERATIONS, respond, respond_error
from localaws.kinds import ENDPOINT
from localaws.serving import endpoint_works as works
from localaws.serving import runtime_async
from localaws.serving.capture import CapturedPayload
from localaws.serving.fleet import INVOCATION_SECONDS
from localaws.serving.hosting import Hosting, hosting
from localaws.serving.http_pool import Answer, AnswerTimeout, AnswerTooLarge, NoAnswer
from localaws.serving.invocation_metrics import Invocation
from localaws.serving.model_server import Cancelled, ModelServerError
from localaws.serving.variants import Served, ServerlessVariant, Variant, VariantNotReady, VariantThrottled

LOG = logging.getLogger("localaws.runtime")
Environ = dict[str, Any]
StartResponse = Callable[..., Any]
MAX_BYTES = 6 * 1024 * 1024  # of a request and of an answer (service quota of real-time endpoints)
SERVERLESS_MAX_BYTES = 4 * 1024 * 1024
# An invocation keeps a thread of the HTTP server, and its container may call that server: some threads must be left.
AT_ONCE = 24  # invocations that are with their containers
WAITING = 24  # those that wait until one of these has ended
WAIT_SECONDS = 10.0
DEFAULT_CONTENT_TYPE = "application/octet-stream"
SHOWN_OF_MODEL_ERROR = 1000  # characters of the container's text in the error message
CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"
UNSUPPORTED_HEADERS = {
    "TargetModel": "HTTP_X_AMZN_SAGEMAKER_TARGET_MODEL",
    "TargetContainerHostname": "HTTP_X_AMZN_SAGEMAKER_TARGET_CONTAINER_HOSTNAME",
    "EnableExplanations": "HTTP_X_AMZN_SAGEMAKER_ENABLE_EXPLANATIONS",
    "InferenceComponentName": "HTTP_X_AMZN_SAGEMAKER_INFERENCE_COMPONENT",
    "SessionId": "HTTP_X_AMZN_SAGEMAKER_SESSION_ID",
    "PrefixAwareId": "HTTP_X_AMZN_SAGEMAKER_PREFIX_AWARE_ID",
}
UNSUPPORTED = tuple(UNSUPPORTED_HEADERS)

BEHAVIOURS = (
    Behaviour("a container has 60 s to answer", "documented",
              "SageMaker developer guide, Use your own inference code with hosting services"),
    Behaviour("an invocation has at most 6 MiB", "documented", "botocore's service model"),
    Behaviour("a serverless invocation has at most 4 MiB", "documented", "SageMaker endpoints and quotas"),
    Behaviour("errors of invocations: `ModelError` (424), `ValidationError` (400), `ServiceUnavailable` (503), "
              "`ModelNotReadyException` (429)", "documented", "InvokeEndpoint"),
    Behaviour("texts of these errors", "assumed"),
    Behaviour("a throttled invocation: `ThrottlingException` with status 400", "seen",
              "opensearch-project ml-commons issue 2429, of instances; its text is null there"),
    Behaviour("24 invocations are with their containers at once and 24 more wait for up to 10 s, whatever their "
              "endpoints; the others are throttled", "assumed"),
)  # fmt: skip


def runtime_app(ctx: Context) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """The WSGI application of `/endpoints/<name>/<operation>`; the caller has checked the signature."""

    turns = Turns()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        _, _, endpoint, path = environ["PATH_INFO"].rstrip("/").split("/")
        operation = RUNTIME_OPERATIONS[path]
        try:
            if operation == "InvokeEndpointAsync":
                answer, headers = runtime_async.submit(ctx, endpoint, environ)
                return respond(start_response, 202, json.dumps(answer).encode(), "application/json", headers)
            if operation != "InvokeEndpoint":
                raise ValidationError(f"The operation {operation} is not supported by the local AWS endpoint.")
            with turns.taken():
                body, kind, headers = _Request(ctx, endpoint, environ).answer()
        except ApiError as error:
            return respond_error(start_response, error)
        except Exception:
            LOG.exception("%s: fault of the endpoint", operation)
            return respond_error(start_response, InternalFailure(f"{operation} failed by a fault of the endpoint"))
        return respond(start_response, 200, body, kind, headers)

    return app


class Turns:
    """Lets AT_ONCE invocations go on and WAITING more wait for them."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(AT_ONCE)
        self._places = threading.Semaphore(WAITING)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """For the time of an invocation; ThrottlingException when its turn does not come."""
        if not self._free.acquire(blocking=False) and not self._wait():
            raise ThrottlingException(f"Rate exceeded: {AT_ONCE} invocations are under way; try again.")
        try:
            yield
        finally:
            self._free.release()

    def _wait(self) -> bool:
        if not self._places.acquire(blocking=False):
            return False
        try:
            return self._free.acquire(timeout=WAIT_SECONDS)
        finally:
            self._places.release()


class _Request:
    """One invocation."""

    def __init__(self, ctx: Context, endpoint: str, environ: Environ) -> None:
        self.ctx = ctx
        self.endpoint = endpoint
        self.environ = environ
        self.began = time.perf_counter()
        self.content_type = environ.get("CONTENT_TYPE") or None
        self.inference_id = environ.get("HTTP_X_AMZN_SAGEMAKER_INFERENCE_ID")
        self.custom_attributes = environ.get("HTTP_X_AMZN_SAGEMAKER_CUSTOM_ATTRIBUTES")

    def answer(self) -> tuple[bytes, str, list[tuple[str, str]]]:
        """Body, content type and further headers of the answer; raises ApiError."""
        self._check()
        body = self._body()
        host = hosting(self.ctx)
        with host.serving(self.endpoint) as fleet:
            if fleet is None:
                raise works.not_serving(self.ctx, self.endpoint)
            if fleet.queued is not None:
                raise ValidationError(
                    f"Endpoint {self.endpoint} is for asynchronous inference: call InvokeEndpointAsync."
                )
            target = self.environ.get("HTTP_X_AMZN_SAGEMAKER_TARGET_VARIANT")
            variant = fleet.choose(target)
            if variant is None:
                known = ", ".join(v.name for v in fleet.variants)
                raise ValidationError(f"Variant {target} is not found in endpoint {self.endpoint}; it has {known}.")
            answer = self._invoke(host, variant, body)
            host.keep(
                fleet,
                variant.name,
                lambda: CapturedPayload(body, self.content_type),
                CapturedPayload(answer.body, answer.header("Content-Type")),
                inference_id=self.inference_id,
                custom_attributes=self.custom_attributes,
            )
        headers = [("x-Amzn-Invoked-Production-Variant", variant.name)]
        if (custom := answer.header(CUSTOM)) is not None:
            headers.append((CUSTOM, custom))
        return answer.body, answer.header("Content-Type") or DEFAULT_CONTENT_TYPE, headers

    def _check(self) -> None:
        for member, header in UNSUPPORTED_HEADERS.items():
            if self.environ.get(header):
                raise ValidationError(f"'{member}' is not supported by the local endpoint; leave it out.")

    def _body(self) -> bytes:
        length = self.environ.get("CONTENT_LENGTH") or "0"
        body = read_body(self.environ) if length.isdigit() and int(length) <= MAX_BYTES else None
        if body is None or len(body) > MAX_BYTES:
            raise too_long(MAX_BYTES)
        return body

    def _headers(self) -> dict[str, str]:
        sent = {
            "Content-Type": self.content_type,
            "Accept": self.environ.get("HTTP_ACCEPT"),
            CUSTOM: self.custom_attributes,
            "X-Amzn-SageMaker-Inference-Id": self.inference_id,
        }
        return {name: value for name, value in sent.items() if value}

    def _invoke(self, host: Hosting, variant: Variant, body: bytes) -> Answer:
        """The container's answer if it is a good one; raises ApiError."""
        if isinstance(variant, ServerlessVariant) and len(body) > SERVERLESS_MAX_BYTES:
            raise too_long(SERVERLESS_MAX_BYTES)
        asked = time.perf_counter()
        served: Served | None = None
        error: ApiError | None = None
        try:
            served = variant.invoke(body, self._headers(), INVOCATION_SECONDS, MAX_BYTES)
        except VariantThrottled as reason:
            raise ThrottlingException(f"Endpoint {self.endpoint}: {reason}.") from None
        except VariantNotReady as reason:
            raise ModelNotReadyException(f"Endpoint {self.endpoint}: {reason}.") from None
        except AnswerTimeout:
            text = "Your invocation timed out while waiting for a response from container primary."
            error = self._model_error(variant.last_stream, 0, text)
        except AnswerTooLarge:
            error = self._model_error(variant.last_stream, 0, f"The response is larger than {MAX_BYTES} bytes.")
        except ModelServerError as failure:
            error = ServiceUnavailable(str(failure))
        except (NoAnswer, Cancelled) as failure:
            error = ServiceUnavailable(f"The model server of variant {variant.name} does not answer: {failure}")
        status = served.answer.status if served else 500
        setup = served.setup_seconds if served else 0.0
        model_seconds = time.perf_counter() - asked - setup
        host.metrics.record(
            Invocation(
                endpoint=self.endpoint,
                variant=variant.name,
                status=status,
                model_seconds=model_seconds,
                overhead_seconds=asked - self.began + setup,
                at=self.ctx.clock(),
                instances=len(variant.instances),
                setup_seconds=setup,
                model_failed=status >= 300,
            )
        )
        if served is None:
            assert error is not None  # one of the two is there
            raise error
        if status >= 300:
            text = served.answer.body.decode("utf-8", "replace")
            raise self._model_error(served.instance.stream.name, status, text, served.answer.origin)
        return served.answer

    def _model_error(self, stream: str, status: int, text: str, origin: str = "primary") -> ApiError:
        config = self.ctx.config
        group = ENDPOINT.group_of(self.endpoint)
        kind = "client" if 400 <= status < 500 else "server"
        message = (
            f'Received {kind} error ({status}) from {origin} with message "{text[:SHOWN_OF_MODEL_ERROR]}". '
            f"See https://{config.region}.console.aws.amazon.com/cloudwatch/home?region={config.region}"
            f"#logEventViewer:group={group} in account {config.account} for more information."
        )
        return ModelError(
            message,
            OriginalStatusCode=status,
            OriginalMessage=text,
            LogStreamArn=f"arn:aws:logs:{config.region}:{config.account}:log-group:{quote(group)}:log-stream:{stream}",
        )


def too_long(most: int) -> ApiError:
    """The refusal of a payload of more than `most` bytes."""
    return ValidationError(
        "1 validation error detected: Value at 'body' failed to satisfy constraint: "
        f"Member must have length less than or equal to {most}"
    )
