"""SageMaker Runtime: InvokeEndpoint."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from include.localaws.auth import read_body
from include.localaws.capture import Payload, record_line
from include.localaws.context import Context
from include.localaws.dispatch import respond, respond_error
from include.localaws.errors import ApiError, InternalFailure, ModelError, ServiceUnavailable, ValidationError
from include.localaws.hosting import INVOCATION_SECONDS, Fleet, Hosting, Variant, hosting, log_group
from include.localaws.http_pool import Answer, AnswerTimeout, AnswerTooLarge, NoAnswer
from include.localaws.invocation_metrics import Invocation
from include.localaws.resources import endpoint as endpoints

LOG = logging.getLogger("localaws.runtime")
Environ = dict[str, Any]
StartResponse = Callable[..., Any]
MAX_BYTES = 6 * 1024 * 1024  # of a request and of an answer (service quota of real-time endpoints)
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


def runtime_app(ctx: Context) -> Callable[[Environ, StartResponse], Iterable[bytes]]:
    """The WSGI application of `/endpoints/<name>/invocations`; the caller has checked the signature."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            body, kind, headers = _Request(ctx, environ).answer()
        except ApiError as error:
            return respond_error(start_response, error)
        except Exception:
            LOG.exception("InvokeEndpoint: fault of the endpoint")
            return respond_error(start_response, InternalFailure("InvokeEndpoint failed by a fault of the endpoint"))
        return respond(start_response, 200, body, kind, headers)

    return app


class _Request:
    """One invocation."""

    def __init__(self, ctx: Context, environ: Environ) -> None:
        self.ctx = ctx
        self.environ = environ
        self.began = time.perf_counter()
        _, _, self.endpoint, self.operation = environ["PATH_INFO"].rstrip("/").split("/")
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
                raise self._not_serving()
            target = self.environ.get("HTTP_X_AMZN_SAGEMAKER_TARGET_VARIANT")
            variant = fleet.choose(target)
            if variant is None:
                known = ", ".join(v.name for v in fleet.variants)
                raise ValidationError(f"Variant {target} is not found in endpoint {self.endpoint}; it has {known}.")
            answer = self._invoke(host, variant, body)
            self._capture(host, fleet, variant, body, answer)
        headers = [("x-Amzn-Invoked-Production-Variant", variant.name)]
        if (custom := answer.header(CUSTOM)) is not None:
            headers.append((CUSTOM, custom))
        return answer.body, answer.header("Content-Type") or DEFAULT_CONTENT_TYPE, headers

    def _check(self) -> None:
        if self.operation != "invocations":
            raise ValidationError(f"The operation {self.operation} is not supported by the local endpoint.")
        for member, header in UNSUPPORTED_HEADERS.items():
            if self.environ.get(header):
                raise ValidationError(f"'{member}' is not supported by the local endpoint; leave it out.")

    def _body(self) -> bytes:
        length = self.environ.get("CONTENT_LENGTH") or "0"
        body = read_body(self.environ) if length.isdigit() and int(length) <= MAX_BYTES else None
        if body is None or len(body) > MAX_BYTES:
            raise ValidationError(
                "1 validation error detected: Value at 'body' failed to satisfy constraint: "
                f"Member must have length less than or equal to {MAX_BYTES}"
            )
        return body

    def _not_serving(self) -> ApiError:
        known = self.ctx.store.get(endpoints.KIND, self.endpoint)
        if known is not None and known.status in endpoints.SERVING:
            return ServiceUnavailable(f"Endpoint {self.endpoint} is being brought back after a restart; try again.")
        return ValidationError(f"Endpoint {self.endpoint} of account {self.ctx.config.account} not found.")

    def _headers(self) -> dict[str, str]:
        sent = {
            "Content-Type": self.content_type,
            "Accept": self.environ.get("HTTP_ACCEPT"),
            CUSTOM: self.custom_attributes,
            "X-Amzn-SageMaker-Inference-Id": self.inference_id,
        }
        return {name: value for name, value in sent.items() if value}

    def _invoke(self, host: Hosting, variant: Variant, body: bytes) -> Answer:
        """The container's answer if it is a good one; raises ModelError or ServiceUnavailable."""
        asked = time.perf_counter()
        status, error = 500, None
        try:
            answer = variant.server.invoke(body, self._headers(), INVOCATION_SECONDS, MAX_BYTES)
            status = answer.status
        except AnswerTimeout:
            error = self._model_error(
                variant, 0, "Your invocation timed out while waiting for a response from container primary."
            )
        except AnswerTooLarge:
            error = self._model_error(variant, 0, f"The response is larger than {MAX_BYTES} bytes.")
        except NoAnswer as failure:
            error = ServiceUnavailable(f"The model server of variant {variant.name} does not answer: {failure}")
        finally:
            answered = time.perf_counter()
            host.metrics.record(
                Invocation(
                    endpoint=self.endpoint,
                    variant=variant.name,
                    status=status,
                    model_seconds=answered - asked,
                    overhead_seconds=asked - self.began,
                    at=self.ctx.clock(),
                )
            )
        if error is not None:
            raise error
        if status >= 300:
            raise self._model_error(variant, status, answer.body.decode("utf-8", "replace"))
        return answer

    def _model_error(self, variant: Variant, status: int, text: str) -> ApiError:
        config = self.ctx.config
        group = log_group(self.endpoint)
        kind = "client" if 400 <= status < 500 else "server"
        message = (
            f'Received {kind} error ({status}) from primary with message "{text[:SHOWN_OF_MODEL_ERROR]}". '
            f"See https://{config.region}.console.aws.amazon.com/cloudwatch/home?region={config.region}"
            f"#logEventViewer:group={group} in account {config.account} for more information."
        )
        return ModelError(
            message,
            OriginalStatusCode=status,
            OriginalMessage=text,
            LogStreamArn=f"arn:aws:logs:{config.region}:{config.account}:log-group:{quote(group)}"
            f":log-stream:{variant.stream.name}",
        )

    def _capture(self, host: Hosting, fleet: Fleet, variant: Variant, body: bytes, answer: Answer) -> None:
        capture = fleet.capture
        if capture is None or not capture.sampled():
            return
        at = datetime.fromtimestamp(self.ctx.clock(), UTC)
        line = record_line(
            capture,
            Payload(body, self.content_type),
            Payload(answer.body, answer.header("Content-Type")),
            at,
            event_id=str(uuid.uuid4()),
            inference_id=self.inference_id,
            custom_attributes=self.custom_attributes,
        )
        host.capture.add(capture.destination, self.endpoint, variant.name, at, line)
