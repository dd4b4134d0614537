"""What an asynchronous invocation does: payload from S3, answer of the model, answer or failure to S3."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.jobs import s3data
from localaws.kinds import ENDPOINT
from localaws.s3 import S3Error
from localaws.serving.async_queue import AsyncQueues, AsyncRequest
from localaws.serving.capture import CapturedPayload
from localaws.serving.fleet import Fleet
from localaws.serving.http_pool import Answer, AnswerTimeout, AnswerTooLarge, NoAnswer
from localaws.serving.invocation_metrics import AsyncInvocation, ExpiredInvocation, InvocationMetrics
from localaws.serving.variants import Variant

LOG = logging.getLogger("localaws.async_invocations")
MAX_BYTES = 1024**3  # of a payload and of an answer (service quota of asynchronous inference)
AT_ONCE = 4  # without MaxConcurrentInvocationsPerInstance, where SageMaker "chooses an optimal value"

BEHAVIOURS = (
    Behaviour("asynchronous: answer at `<S3OutputPath>/<extension>/<file name>`, named after the inference id by "
              "default", "documented", "InvokeEndpointAsync, S3OutputPathExtension and Filename"),
    Behaviour("asynchronous: failures are in the log stream `<variant>/<instance>/data-log`", "documented",
              "SageMaker developer guide, Log groups and streams that Amazon SageMaker AI sends to CloudWatch Logs"),
    Behaviour("asynchronous: the form `<time>:[sagemaker logs] [<inference id>] <text>` of its lines", "seen",
              "awsdocs/amazon-sagemaker-developer-guide issue 203, djl-serving issue 2567"),
    Behaviour("the suffixes `.out` and `-error.out`, the text of the failure object", "assumed"),
    Behaviour("asynchronous: 6 hours in the queue, 15 minutes for the answer, 1 GiB of payload by default",
              "documented", "InvokeEndpointAsync, RequestTTLSeconds and InvocationTimeoutSeconds"),
    Behaviour("asynchronous: four requests at once per instance without MaxConcurrentInvocationsPerInstance",
              "assumed"),
    Behaviour("asynchronous: without S3FailurePath a failure is only in the log and the metrics", "assumed"),
)  # fmt: skip


class InvocationFailed(Exception):
    """The invocation has failed; `status` is the container's, 0 when it gave none.

    `later` says that no container has had it, so that it is to be tried again.
    """

    def __init__(self, text: str, status: int = 0, *, later: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.later = later


class AsyncHost(Protocol):
    """What the worker needs of the server: its fleets, its queues, and where captured data and metrics go."""

    queues: AsyncQueues
    metrics: InvocationMetrics

    def serving(self, endpoint: str) -> AbstractContextManager[Fleet | None]:
        """The endpoint's fleet, held for one request; None when nothing serves it now."""

    def keep(
        self,
        fleet: Fleet,
        variant: str,
        request: Callable[[], CapturedPayload],
        response: CapturedPayload,
        *,
        inference_id: str | None,
        custom_attributes: str | None,
    ) -> None:
        """Capture an invocation that was answered well, if the endpoint's configuration says so."""


class AsyncWorker:
    """Works off the queues of one server."""

    def __init__(self, ctx: Context, hosting: AsyncHost) -> None:
        self._ctx = ctx
        self._hosting = hosting

    def capacity(self, endpoint: str) -> int:
        """See async_queue.QueueWorker."""
        with self._hosting.serving(endpoint) as fleet:
            if fleet is None or fleet.queued is None:
                return 0
            each = fleet.queued.get("ClientConfig", {}).get("MaxConcurrentInvocationsPerInstance", AT_ONCE)
            return int(each) * sum(len(v.instances) for v in fleet.variants)

    def work(self, endpoint: str, request: AsyncRequest, body: Path | None) -> bool:
        """See async_queue.QueueWorker."""
        began = time.perf_counter()
        waited = self._ctx.clock() - request.at
        variant, failure, model_seconds = "", None, 0.0
        with self._hosting.serving(endpoint) as fleet:
            if fleet is None:
                return False
            chosen = fleet.choose(None)
            assert chosen is not None  # only a named variant may be missing
            variant = chosen.name
            try:
                with self._payload(request, body) as payload:
                    asked = time.perf_counter()
                    answer = _ask(chosen, payload, request)
                    model_seconds = time.perf_counter() - asked
                    self._put(request.output, answer.body, answer.header("Content-Type"))
                    self._capture(fleet, variant, request, payload, answer)
            except InvocationFailed as error:
                if self._hosting.queues.closed:
                    return False  # it failed because the server ends: the next one tries again
                if error.later:
                    return False
                failure = error
                self._fail(endpoint, request, str(error), chosen)
        status = 200 if failure is None else failure.status
        self._hosting.metrics.record(
            AsyncInvocation(
                endpoint=endpoint,
                variant=variant,
                status=status,
                failed=failure is not None,
                model_seconds=model_seconds,
                waited_seconds=waited,
                total_seconds=waited + time.perf_counter() - began,
                backlog=self._hosting.queues.backlog(endpoint) - 1,
                at=self._ctx.clock(),
            )
        )
        return True

    def expire(self, endpoint: str, request: AsyncRequest) -> None:
        """See async_queue.QueueWorker."""
        text = f"The request was in the queue for more than {request.ttl:g} seconds."
        with self._hosting.serving(endpoint) as fleet:
            self._fail(endpoint, request, text, fleet.choose(None) if fleet else None)
        self._hosting.metrics.record(ExpiredInvocation(endpoint, self._ctx.clock()))

    def _capture(self, fleet: Fleet, variant: str, request: AsyncRequest, payload: BinaryIO, answer: Answer) -> None:
        def asked() -> CapturedPayload:
            payload.seek(0)
            return CapturedPayload(payload.read(), request.headers.get("Content-Type"))

        self._hosting.keep(
            fleet,
            variant,
            asked,
            CapturedPayload(answer.body, answer.header("Content-Type")),
            inference_id=request.inference_id,
            custom_attributes=request.headers.get("X-Amzn-SageMaker-Custom-Attributes"),
        )

    @contextmanager
    def _payload(self, request: AsyncRequest, body: Path | None) -> Iterator[BinaryIO]:
        if body is not None:
            with body.open("rb") as inline:
                yield inline
            return
        assert request.input is not None
        bucket, key = s3data.split(request.input)
        try:
            info, file = self._ctx.s3.open_object(bucket, key)
        except S3Error as error:
            raise InvocationFailed(f"The payload {request.input} cannot be read: {error}") from error
        with file:
            if info.size > MAX_BYTES:
                raise InvocationFailed(f"The payload {request.input} has {info.size} bytes, more than {MAX_BYTES}.")
            yield file

    def _put(self, uri: str, data: bytes, kind: str | None) -> None:
        bucket, key = s3data.split(uri)
        try:
            self._ctx.s3.put_bytes(bucket, key, data, content_type=kind)
        except S3Error as error:
            raise InvocationFailed(f"The answer cannot be written to {uri}: {error}") from error

    def _fail(self, endpoint: str, request: AsyncRequest, text: str, variant: Variant | None) -> None:
        LOG.warning("endpoint %s: asynchronous invocation %s failed: %s", endpoint, request.inference_id, text)
        if variant is not None:
            stream = f"{variant.last_stream}/data-log"
            at = datetime.fromtimestamp(self._ctx.clock(), UTC).isoformat(timespec="milliseconds")
            with self._ctx.logs.open(ENDPOINT.group_of(endpoint), stream) as log:
                log.write(f"{at.removesuffix('+00:00')}:[sagemaker logs] [{request.inference_id}] {text}")
        if request.failure is None:
            return
        try:
            self._put(request.failure, text.encode(), "text/plain; charset=utf-8")
        except InvocationFailed as error:
            LOG.warning("endpoint %s: %s", endpoint, error)


def _ask(variant: Variant, payload: BinaryIO, request: AsyncRequest) -> Answer:
    try:
        served = variant.invoke(payload, request.headers, request.timeout, MAX_BYTES)
    except AnswerTimeout:
        raise InvocationFailed(f"The container primary did not answer within {request.timeout:g} seconds.") from None
    except (AnswerTooLarge, NoAnswer) as error:
        later = isinstance(error, NoAnswer) and not error.sent
        raise InvocationFailed(f"The container primary gave no answer: {error}", later=later) from error
    answer = served.answer
    if answer.status >= 300:
        kind = "client" if answer.status < 500 else "server"
        text = answer.body.decode("utf-8", "replace")
        said = f'Received {kind} error ({answer.status}) from {answer.origin} with message "{text}".'
        raise InvocationFailed(said, answer.status)
    return answer
