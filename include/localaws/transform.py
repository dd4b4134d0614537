"""How a transform job runs: a model server of its own, objects in, requests to the server, `.out` objects out."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from include.localaws import execution, s3data
from include.localaws.context import Context
from include.localaws.csv_filter import FilterError
from include.localaws.http_pool import AnswerTimeout, NoAnswer
from include.localaws.logs import LogStream
from include.localaws.model_data import ServedModel
from include.localaws.model_server import Cancelled, ModelServer, ModelServerError, ServerSpec
from include.localaws.outcome import REASON_LENGTH, Ended, JobError, Outcome, decide
from include.localaws.s3 import S3Error
from include.localaws.scheduler import Ticket
from include.localaws.states import Transitions
from include.localaws.transform_records import MEBIBYTE, Batch, Plan, RecordTooLarge, output_key

KIND = "transform-job"
LOG_GROUP = "/aws/sagemaker/TransformJobs"
TRANSITIONS = Transitions(
    {
        ("InProgress", "finish"): "Completed",
        ("InProgress", "fail"): "Failed",
        ("InProgress", "stop"): "Stopping",
        ("Stopping", "stopped"): "Stopped",
        ("Stopping", "finish"): "Completed",  # it had ended before the stop reached it
        ("Stopping", "fail"): "Failed",
    }
)
DEFAULT_TIMEOUT = 600.0  # seconds; ModelClientConfig.InvocationsTimeoutInSeconds
DEFAULT_RETRIES = 3  # ModelClientConfig.InvocationsMaxRetries
DEFAULT_PARAMETERS = {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 6, "BatchStrategy": "MULTI_RECORD"}
STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}  # API name: container's name


class ObjectFailed(Exception):
    """One input object could not be transformed; `kind` is whose fault it is in a FailureReason."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")


@dataclass
class _Item:
    """One input object on its way; `failed` is the first trouble with it."""

    key: str
    target: str
    path: Path
    failed: ObjectFailed | None = None
    sink: BinaryIO | None = field(default=None, repr=False)

    def write(self, data: bytes) -> None:
        if self.sink is None:
            self.sink = self.path.open("wb")
        self.sink.write(data)

    def close(self) -> None:
        if self.sink is None:
            self.path.touch()  # an empty input has an empty result
        else:
            self.sink.close()


def submit(ctx: Context, name: str) -> None:
    """Put a stored job into the schedule."""
    ctx.jobs.submit(KIND, name, lambda ticket: run(ctx, ticket))


def run(ctx: Context, ticket: Ticket) -> None:
    """Do the whole work of a job and write its end."""
    name = ticket.name
    found = ctx.store.get(KIND, name)
    assert found is not None
    try:
        outcome = execution.conclude(ctx, ticket, lambda: _work(ctx, ticket, found.body))
        ctx.store.transition(
            KIND, name, TRANSITIONS, outcome.event, TransformEndTime=ctx.clock(), FailureReason=outcome.reason
        )
    finally:
        execution.remove_root(ctx, KIND, name)


def _work(ctx: Context, ticket: Ticket, request: dict[str, Any]) -> Outcome:
    ctx.store.update(KIND, ticket.name, TransformStartTime=ctx.clock())
    stream = f"{ticket.name}/algo-1-{int(ctx.clock())}"
    with ctx.logs.open(LOG_GROUP, stream) as log, ctx.logs.open(LOG_GROUP, f"{stream}/data-log") as data_log:
        root = execution.job_root(ctx, KIND, ticket.name)
        server = ModelServer(ctx, _server_spec(ctx, ticket.name, request, log))
        try:
            ticket.attach(server)
            server.start()
            server.wait_healthy(lambda: ticket.stopping)
            parameters = _parameters(server, request)
            said = ", ".join(f"{key}={value}" for key, value in parameters.items())
            data_log.write(f"[sagemaker logs]: {said}")
            _Transformation(ctx, request, parameters, server, data_log, root).run(ticket)
        except Cancelled:
            pass
        except ModelServerError as error:
            if ticket.cause is None:
                raise JobError("AlgorithmError", str(error)) from error
        except JobError:
            if ticket.cause is None:  # else it failed because its server was ended
                raise
        finally:
            server.stop()
    return decide(Ended(0, ticket.cause or "exit"))


def _server_spec(ctx: Context, name: str, request: dict[str, Any], log: LogStream) -> ServerSpec:
    given = {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": request.get("MaxPayloadInMB"),
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": request.get("MaxConcurrentTransforms"),
        "SAGEMAKER_BATCH_STRATEGY": STRATEGIES.get(request.get("BatchStrategy", "")),
    }
    model = ServedModel.from_document(request["served"])
    environment = {**model.environment, **request.get("Environment", {})}
    return ServerSpec(
        label=f"transform job {name}",
        model=ServedModel(model.image, model.artifact, environment),
        home=ctx.config.state / "jobs" / KIND / name / "server",
        on_line=log.write,
        environment={**execution.base_environment(ctx), **{k: str(v) for k, v in given.items() if v is not None}},
    )


def _parameters(server: ModelServer, request: dict[str, Any]) -> dict[str, Any]:
    """What the request says, else what the container says at /execution-parameters, else the defaults."""
    said: dict[str, Any] = {}
    try:
        answer = server.get("/execution-parameters")
        if answer.status == 200:
            said = json.loads(answer.body)
    except (NoAnswer, AnswerTimeout, ValueError) as error:
        raise JobError("AlgorithmError", f"the container's /execution-parameters cannot be read: {error}") from error
    if not isinstance(said, dict):
        raise JobError("AlgorithmError", f"the container's /execution-parameters answer is no JSON object: {said!r}")
    given: dict[str, Any] = {
        key: request[key] for key in ("MaxConcurrentTransforms", "MaxPayloadInMB") if key in request
    }
    if "BatchStrategy" in request:
        given["BatchStrategy"] = STRATEGIES[request["BatchStrategy"]]
    return {key: given.get(key, said.get(key, default)) for key, default in DEFAULT_PARAMETERS.items()}


def plan_of(request: dict[str, Any], parameters: dict[str, Any]) -> Plan:
    """The plan of a request; FilterError for a filter that is not supported."""
    processing = request.get("DataProcessing", {})
    return Plan.of(
        split=request["TransformInput"].get("SplitType", "None") == "Line",
        multi_record=parameters["BatchStrategy"] == "MULTI_RECORD",
        max_bytes=int(parameters["MaxPayloadInMB"]) * MEBIBYTE,
        assemble_lines=request["TransformOutput"].get("AssembleWith", "None") == "Line",
        input_filter=processing.get("InputFilter", "$"),
        output_filter=processing.get("OutputFilter", "$"),
        join=processing.get("JoinSource", "None") == "Input",
    )


class _Transformation:
    """The requests of a job, up to MaxConcurrentTransforms at a time, their answers put together in order."""

    def __init__(
        self,
        ctx: Context,
        request: dict[str, Any],
        parameters: dict[str, Any],
        server: ModelServer,
        log: LogStream,
        root: Path,
    ) -> None:
        self._s3 = ctx.s3
        self._server = server
        self._log = log
        self._root = root
        self._plan = plan_of(request, parameters)
        self._concurrent = max(1, int(parameters["MaxConcurrentTransforms"]))
        self._gzip = request["TransformInput"].get("CompressionType") == "Gzip"
        self._bucket, self._prefix = s3data.split(request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        self._to_bucket, self._to_prefix = s3data.split(request["TransformOutput"]["S3OutputPath"])
        client = request.get("ModelClientConfig", {})
        self._timeout = float(client.get("InvocationsTimeoutInSeconds", DEFAULT_TIMEOUT))
        self._tries = 1 + int(client.get("InvocationsMaxRetries", DEFAULT_RETRIES))
        said = {
            "Content-Type": request["TransformInput"].get("ContentType"),
            "Accept": request["TransformOutput"].get("Accept"),
        }
        self._headers = {name: value for name, value in said.items() if value}

    def run(self, ticket: Ticket) -> None:
        """Transform everything; JobError when an object could not be (those that could are uploaded)."""
        items = self._items()
        window: deque[tuple[_Item, Batch | None, Future[bytes] | None]] = deque()
        with ThreadPoolExecutor(self._concurrent, thread_name_prefix=ticket.name) as pool:
            for item, batch in self._requests(items):
                if ticket.stopping:
                    break
                window.append((item, batch, pool.submit(self._send, batch.payload) if batch else None))
                if len(window) > self._concurrent:
                    self._settle(*window.popleft())
            while window and not ticket.stopping:
                self._settle(*window.popleft())
        failed = [item for item in items if item.failed]
        if failed:
            more = f" ({len(failed)} of {len(items)} objects failed)" if len(items) > 1 else ""
            first = f"{failed[0].failed} at s3://{self._bucket}/{failed[0].key}{more}"
            raise _job_error(f"{first[: REASON_LENGTH - 40]}. See job logs for more information")

    def _items(self) -> list[_Item]:
        try:
            self._s3.bucket(self._to_bucket)
            keys = [key for key in self._s3.iter_keys(self._bucket, self._prefix) if not key.endswith("/")]
        except S3Error as error:
            raise JobError("ClientError", str(error)) from error
        if not keys:
            raise JobError("ClientError", f"No S3 objects found under S3 URL s3://{self._bucket}/{self._prefix}")
        targets = [output_key(self._prefix, key, self._to_prefix) for key in keys]
        pairs = enumerate(zip(keys, targets, strict=True))
        return [_Item(key, target, self._root / str(number)) for number, (key, target) in pairs]

    def _requests(self, items: list[_Item]) -> Iterator[tuple[_Item, Batch | None]]:
        """The batches of all objects in order; None after the last one of an object."""
        for item in items:
            try:
                with self._s3.open(self._bucket, item.key) as source:
                    plain = cast(BinaryIO, gzip.GzipFile(fileobj=source)) if self._gzip else source
                    for batch in self._plan.batches(plain):
                        if item.failed:
                            break
                        yield item, batch
            except (RecordTooLarge, FilterError, UnicodeDecodeError, OSError, EOFError, zlib.error, S3Error) as error:
                item.failed = item.failed or ObjectFailed("ClientError", str(error))
            yield item, None

    def _settle(self, item: _Item, batch: Batch | None, answer: Future[bytes] | None) -> None:
        """Take over the answer to a batch, or end the object."""
        if batch is None or answer is None:
            self._end(item)
            return
        try:
            body = answer.result()
            if not item.failed:
                item.write(self._plan.assemble(batch, body))
        except ObjectFailed as error:
            item.failed = item.failed or error
        except (FilterError, UnicodeDecodeError) as error:
            item.failed = item.failed or ObjectFailed("ClientError", str(error))

    def _end(self, item: _Item) -> None:
        """Upload the result of an object that was transformed to its end; partial results stay here."""
        item.close()
        if item.failed is None:
            try:
                self._s3.put_file(self._to_bucket, item.target, item.path)
            except (S3Error, OSError) as error:
                item.failed = ObjectFailed("ClientError", f"the result cannot be stored: {error}")
        if item.failed is not None:
            self._log.write(f"[sagemaker logs]: {self._bucket}/{item.key}: {item.failed}")

    def _send(self, payload: bytes) -> bytes:
        """The container's answer; tried again when the container fails, not when it refuses the request."""
        trouble = ObjectFailed("AlgorithmError", "no request was sent")
        for _ in range(self._tries):
            try:
                answer = self._server.invoke(payload, self._headers, self._timeout, None)
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


def _job_error(reason: str) -> JobError:
    if reason.startswith("ClientError: "):
        return JobError("ClientError", reason.removeprefix("ClientError: "))
    return JobError("AlgorithmError", reason.removeprefix("AlgorithmError: "))
