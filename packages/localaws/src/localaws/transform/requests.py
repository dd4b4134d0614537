"""The requests of one instance of a transform job: objects in, model server, answers put together in order."""

from __future__ import annotations

import gzip
import io
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from localaws.engine.scheduler import Ticket
from localaws.jobs.s3data import Entry
from localaws.logs import LogStream
from localaws.s3 import S3Error, S3Store
from localaws.serving.http_pool import AnswerTimeout, Body, NoAnswer
from localaws.serving.model_server import ModelServer
from localaws.transform.csv_filter import FilterError
from localaws.transform.record_split import BadFrames
from localaws.transform.records import RecordTooLarge, RequestBatch, TransformPlan

DEFAULT_TIMEOUT = 600.0  # seconds; ModelClientConfig.InvocationsTimeoutInSeconds
DEFAULT_RETRIES = 3  # ModelClientConfig.InvocationsMaxRetries
UNREADABLE = (
    RecordTooLarge, BadFrames, FilterError, UnicodeDecodeError, OSError, EOFError, zlib.error, S3Error,
)  # fmt: skip


class ObjectFailed(Exception):
    """One input object could not be transformed; `kind` is whose fault it is in a FailureReason."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")


@dataclass
class TransformItem:
    """One input object on its way to `bucket` and `key`; `failed` is the first trouble with it."""

    entry: Entry
    bucket: str
    key: str
    path: Path
    failed: ObjectFailed | None = None
    done: bool = False
    sink: BinaryIO | None = field(default=None, repr=False)

    def fail(self, error: ObjectFailed) -> None:
        """Remember the first trouble."""
        self.failed = self.failed or error

    def write(self, data: bytes) -> None:
        """Add to the result."""
        if self.sink is None:
            self.sink = self.path.open("wb")
        self.sink.write(data)

    def close(self) -> None:
        """The result is whole; an empty input has an empty one."""
        if self.sink is None:
            self.path.touch()
        else:
            self.sink.close()


@dataclass(frozen=True)
class ModelClient:
    """How the model is asked: headers, seconds for an answer, tries, and whether bodies are sent in chunks."""

    headers: Mapping[str, str]
    timeout: float
    tries: int
    chunked: bool

    @classmethod
    def of(cls, request: Mapping[str, Any], parameters: Mapping[str, Any]) -> ModelClient:
        """From a CreateTransformJob request and the parameters that it or the container gives."""
        given = request.get("ModelClientConfig", {})
        said = {
            "Content-Type": request["TransformInput"].get("ContentType"),
            "Accept": request["TransformOutput"].get("Accept"),
        }
        chunked = int(parameters["MaxPayloadInMB"]) == 0
        if chunked:
            said["Transfer-Encoding"] = "chunked"
        return cls(
            headers={name: value for name, value in said.items() if value},
            timeout=float(given.get("InvocationsTimeoutInSeconds", DEFAULT_TIMEOUT)),
            tries=1 + int(given.get("InvocationsMaxRetries", DEFAULT_RETRIES)),
            chunked=chunked,
        )

    def ask(self, server: ModelServer, body: Callable[[], Body]) -> bytes:
        """The container's answer; tried again when the container fails, not when it refuses the request."""
        trouble = ObjectFailed("AlgorithmError", "no request was sent")
        for _ in range(self.tries):
            try:
                answer = server.invoke(body(), self.headers, self.timeout, None)
            except (NoAnswer, AnswerTimeout) as error:
                trouble = ObjectFailed("AlgorithmError", f"the model server does not answer: {error}")
                continue
            if answer.status < 300:
                return answer.body
            said = answer.body.decode("utf-8", "replace")
            kind = "ClientError" if 400 <= answer.status < 500 else "AlgorithmError"
            trouble = ObjectFailed(kind, f"the model answered {answer.status}: {said}")
            if kind == "ClientError":
                break
        raise trouble


class TransformShare:
    """The share of one instance: up to `concurrent` requests at a time, their answers put together in order."""

    def __init__(
        self,
        s3: S3Store,
        server: ModelServer,
        log: LogStream,
        *,
        plan: TransformPlan,
        client: ModelClient,
        concurrent: int,
        zipped: bool,
    ) -> None:
        self._s3, self._server, self._log = s3, server, log
        self._plan, self._client = plan, client
        self._concurrent = max(1, concurrent)
        self._zipped = zipped
        # An object that is one request and may have any size is passed through, never held as a whole.
        self._passed = client.chunked and plan.processing is None and (plan.split == "None" or plan.multi_record)

    def run(self, items: Sequence[TransformItem], ticket: Ticket) -> None:
        """Transform the items; what is wrong with one of them is in its `failed`."""
        window: deque[tuple[TransformItem, RequestBatch | None, Future[bytes] | None]] = deque()
        with ThreadPoolExecutor(self._concurrent, thread_name_prefix=ticket.name) as pool:
            for item, batch in self._requests(items):
                if ticket.stopping:
                    break
                asked = pool.submit(self._client.ask, self._server, self._body(item, batch)) if batch else None
                window.append((item, batch, asked))
                if len(window) > self._concurrent:
                    self._settle(*window.popleft())
            while window and not ticket.stopping:
                self._settle(*window.popleft())
            for _, _, asked in window:
                if asked is not None:
                    asked.cancel()

    def _body(self, item: TransformItem, batch: RequestBatch) -> Callable[[], Body]:
        if self._passed:
            return partial(self._open, item)
        if self._client.chunked:
            return lambda: io.BytesIO(batch.payload)
        return lambda: batch.payload

    def _open(self, item: TransformItem) -> BinaryIO:
        source = self._s3.open(item.entry.bucket, item.entry.key)
        return cast(BinaryIO, gzip.GzipFile(fileobj=source)) if self._zipped else source

    def _requests(self, items: Sequence[TransformItem]) -> Iterator[tuple[TransformItem, RequestBatch | None]]:
        """The batches of all objects in order; None after the last one of an object."""
        for item in items:
            try:
                for batch in self._batches(item):
                    if item.failed:
                        break
                    yield item, batch
            except UNREADABLE as error:
                item.fail(ObjectFailed("ClientError", str(error)))
            yield item, None

    def _batches(self, item: TransformItem) -> Iterator[RequestBatch]:
        if self._passed:
            self._s3.head(item.entry.bucket, item.entry.key)
            yield RequestBatch(b"")
            return
        with self._open(item) as source:
            yield from self._plan.batches(source)

    def _settle(self, item: TransformItem, batch: RequestBatch | None, answer: Future[bytes] | None) -> None:
        """Take over the answer to a batch, or end the object."""
        if batch is None or answer is None:
            self._end(item)
            return
        try:
            body = answer.result()
            if not item.failed:
                item.write(self._plan.assemble(batch, body))
        except ObjectFailed as error:
            item.fail(error)
        except UNREADABLE as error:
            item.fail(ObjectFailed("ClientError", str(error)))

    def _end(self, item: TransformItem) -> None:
        """Upload the result of an object that was transformed to its end; partial results stay here."""
        item.close()
        if item.failed is None:
            try:
                self._s3.put_file(item.bucket, item.key, item.path, move=True)
                item.done = True
            except (S3Error, OSError) as error:
                item.fail(ObjectFailed("ClientError", f"the result cannot be stored: {error}"))
        if item.failed is not None:
            self._log.write(f"[sagemaker logs]: {item.entry.bucket}/{item.entry.key}: {item.failed}")
