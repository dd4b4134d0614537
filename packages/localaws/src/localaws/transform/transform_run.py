"""How a transform job runs: model servers of its own, objects in, requests to the servers, `.out` objects out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.engine import instances
from localaws.engine.scheduler import Ticket
from localaws.faults import JobFaults
from localaws.jobs import execution, s3data
from localaws.jobs.outcome import REASON_LENGTH, AttemptOutcome, JobError, ProgramEnd, decide
from localaws.jobs.s3data import Entry
from localaws.kinds import TRANSFORM_JOB
from localaws.logs import LogStream
from localaws.s3 import S3Error
from localaws.serving.http_pool import AnswerTimeout, NoAnswer
from localaws.serving.model_data import ServedModel
from localaws.serving.model_server import Cancelled, ModelServer, ModelServerError, ServerSpec
from localaws.store import StoredResource
from localaws.transform import batch_capture, data_processing
from localaws.transform.data_processing import DataProcessing
from localaws.transform.records import MEBIBYTE, TransformPlan, output_key
from localaws.transform.requests import ModelClient, TransformItem, TransformShare

KIND = TRANSFORM_JOB.word
DEFAULT_PARAMETERS = {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 6, "BatchStrategy": "MULTI_RECORD"}
STRATEGIES = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}  # API name: container's name
CREATE = "API reference, CreateTransformJob"
BEHAVIOURS = (
    Behaviour("transform: `/execution-parameters` is asked for what the request leaves open", "documented", CREATE),
    Behaviour("transform: with several instances each input file is one instance's work", "documented",
              "developer guide, Use Batch Transform"),
    Behaviour("transform: never more model servers are started than there are input files", "assumed"),
    Behaviour("transform: MaxPayloadInMB 0 sends bodies of any size in chunks", "documented", CREATE),
    Behaviour("transform: a file that fails leaves no output, the others are still transformed, the job is Failed",
              "documented", "developer guide, Use Batch Transform"),
    Behaviour("transform: the form of FailureReason, and the data-log stream of the job's log", "assumed"),
)  # fmt: skip


def submit(ctx: Context, name: str) -> Ticket:
    """Put a stored job into the schedule."""
    return execution.submit(ctx, KIND, name, run, _demand)


def _demand(body: Mapping[str, Any]) -> instances.Demand:
    resources = body["TransformResources"]
    return instances.of(resources["InstanceType"], resources["InstanceCount"])


def stop(ctx: Context, name: str) -> bool:
    """Begin to stop a job; False when its status forbids it."""
    return execution.stop(ctx, KIND, name)


def run(ctx: Context, ticket: Ticket) -> None:
    """Do the whole work of a job and write its end."""
    execution.attend(ctx, ticket, _TransformRun(ctx, ticket, execution.stored(ctx, KIND, ticket.name)))


class _Servers:
    """The model servers of a job, one for each instance at work; what a stop ends."""

    def __init__(self, servers: Sequence[ModelServer]) -> None:
        self.all = servers

    def terminate(self, grace: float) -> int:
        """End them side by side."""
        with ThreadPoolExecutor(len(self.all)) as pool:
            list(pool.map(lambda server: server.terminate(grace), self.all))
        return 0


class _TransformRun:
    """One transform job at work."""

    def __init__(self, ctx: Context, ticket: Ticket, found: StoredResource) -> None:
        self.ctx, self.ticket, self.request = ctx, ticket, found.body
        self.faults: JobFaults = ctx.faults.of(ctx.store.tags(found.arn))
        self.begun = False
        self.started = ctx.clock()

    def end(self) -> dict[str, Any]:
        """When it ended."""
        return {"TransformEndTime": self.ctx.clock()}

    def run(self) -> AttemptOutcome:
        """The whole work; raises JobError."""
        ended = execution.await_start(self.ticket, self.ctx.profile.job_start + self.faults.slow_start, self.faults)
        if ended is not None:
            return decide(ended)
        self.begun = True
        self.home = execution.job_home(self.ctx, KIND, self.ticket.name)
        self.started = self.ctx.clock()
        self.ctx.store.update(KIND, self.ticket.name, TransformStartTime=self.started)
        timer = self._stopper()
        try:
            self._transform()
        except Cancelled:
            if self.ticket.cause is None:
                raise JobError("InternalServerError", "a model server was stopped by nobody's wish") from None
        except ModelServerError as error:
            if self.ticket.cause is None:
                raise JobError("AlgorithmError", str(error)) from error
        except JobError:
            if self.ticket.cause is None:  # else it failed because its server was ended
                raise
        finally:
            if timer is not None:
                timer.cancel()
        return decide(ProgramEnd(0, self.ticket.cause or "exit"))

    def _stopper(self) -> threading.Timer | None:
        """The fault `stop`: as if somebody stopped the job."""
        if self.faults.stop_after is None:
            return None
        timer = threading.Timer(self.faults.stop_after, stop, (self.ctx, self.ticket.name))
        timer.daemon = True
        timer.start()
        return timer

    def _transform(self) -> None:
        items = self._items()
        count = min(self.request["TransformResources"]["InstanceCount"], len(items))
        stream = f"{self.ticket.name}/algo-{{}}-{int(self.started)}"
        with ExitStack() as stack:
            logs = [
                stack.enter_context(self.ctx.logs.open(TRANSFORM_JOB.log_group, stream.format(n + 1)))
                for n in range(count)
            ]
            data_log = stack.enter_context(self.ctx.logs.open(TRANSFORM_JOB.log_group, f"{stream.format(1)}/data-log"))
            servers = [ModelServer(self.ctx, self._server_spec(n, logs[n])) for n in range(count)]
            for server in servers:
                stack.callback(server.stop)
            self.ticket.attach(_Servers(servers))
            _side_by_side(self._start, servers)
            self._feed(servers, items, data_log)
        self._capture(items)
        _judge(items)

    def _start(self, server: ModelServer) -> None:
        server.start()
        if self.faults.fail_health_check:
            raise ModelServerError(
                f"The primary container for {server.spec.label} did not pass the ping health check. "
                "Please check CloudWatch logs. The job's tag localaws:fault asks for this."
            )
        server.wait_healthy(lambda: self.ticket.stopping)

    def _feed(self, servers: Sequence[ModelServer], items: Sequence[TransformItem], log: LogStream) -> None:
        parameters = read_parameters(servers[0], self.request)
        log.write("[sagemaker logs]: " + ", ".join(f"{key}={value}" for key, value in parameters.items()))
        plan = plan_of(self.request, parameters, batch_capture.moment(self.started))
        client = ModelClient.of(self.request, parameters)
        zipped = self.request["TransformInput"].get("CompressionType") == "Gzip"

        def work(number: int) -> None:
            transformation = TransformShare(
                self.ctx.s3, servers[number], log, plan=plan, client=client,
                concurrent=int(parameters["MaxConcurrentTransforms"]), zipped=zipped,
            )  # fmt: skip
            transformation.run(items[number :: len(servers)], self.ticket)

        _side_by_side(work, range(len(servers)))

    def _items(self) -> list[TransformItem]:
        to_bucket, to_prefix = s3data.split(self.request["TransformOutput"]["S3OutputPath"])
        source = self.request["TransformInput"]["DataSource"]["S3DataSource"]
        try:
            self.ctx.s3.bucket(to_bucket)
        except S3Error as error:
            raise JobError("ClientError", str(error)) from error
        results = self.home / "results"
        results.mkdir()
        found = s3data.entries(self.ctx.s3, source["S3DataType"], source["S3Uri"])
        if not found:
            raise JobError("ClientError", f"the manifest {source['S3Uri']} lists no objects")
        return [
            TransformItem(entry, to_bucket, _target(source, entry, to_prefix), results / str(number))
            for number, entry in enumerate(found)
        ]

    def _server_spec(self, number: int, log: LogStream) -> ServerSpec:
        request = self.request
        given = {
            "SAGEMAKER_BATCH": "true",
            "SAGEMAKER_MAX_PAYLOAD_IN_MB": request.get("MaxPayloadInMB"),
            "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": request.get("MaxConcurrentTransforms"),
            "SAGEMAKER_BATCH_STRATEGY": STRATEGIES.get(request.get("BatchStrategy", "")),
        }
        model = ServedModel.from_document(request["served"])
        base = execution.base_environment(self.ctx, f"algo-{number + 1}")
        return ServerSpec(
            label=f"transform job {self.ticket.name}",
            model=replace(model, environment={**model.environment, **request.get("Environment", {})}),
            home=self.home / f"server-{number + 1}",
            on_line=log.write,
            environment={**base, **{k: str(v) for k, v in given.items() if v is not None}},
        )

    def _capture(self, items: Sequence[TransformItem]) -> None:
        config = self.request.get("DataCaptureConfig")
        done = [item for item in items if item.done]
        if config is None or not done:
            return
        into = s3data.join(self.request["TransformOutput"]["S3OutputPath"], "")
        _, prefix = s3data.split(into)
        outputs = [item.key.removeprefix(prefix) for item in done]
        first = done[0]
        relative = outputs[0].removesuffix(".out")
        base = first.entry.uri.removesuffix(relative)
        batch_capture.write(
            self.ctx.s3, config, self.ticket.name, self.started,
            (base, [item.entry.uri.removeprefix(base) for item in done]), (into, outputs),
        )  # fmt: skip


def _side_by_side(work: Callable[[Any], None], inputs: Sequence[Any]) -> None:
    """Do the work for each input in a thread of its own; the first error is raised when all have ended."""
    if len(inputs) == 1:
        work(inputs[0])
        return
    with ThreadPoolExecutor(len(inputs)) as pool:
        list(pool.map(work, inputs))


def _target(source: Mapping[str, Any], entry: Entry, to_prefix: str) -> str:
    if source["S3DataType"] == "ManifestFile":
        return output_key("", str(entry.place), to_prefix)
    return output_key(s3data.split(source["S3Uri"])[1], entry.key, to_prefix)


def _judge(items: Sequence[TransformItem]) -> None:
    """JobError when an object could not be transformed (those that could are uploaded)."""
    failed = [item for item in items if item.failed]
    if not failed:
        return
    more = f" ({len(failed)} of {len(items)} objects failed)" if len(items) > 1 else ""
    text = f"{failed[0].failed} at {failed[0].entry.uri}{more}"[: REASON_LENGTH - 40]
    kind, _, reason = f"{text}. See job logs for more information".partition(": ")
    raise JobError("ClientError" if kind == "ClientError" else "AlgorithmError", reason)


def read_parameters(server: ModelServer, request: Mapping[str, Any]) -> dict[str, Any]:
    """What the request says, else what the container says at /execution-parameters, else the defaults."""
    said: Any = {}
    try:
        answer = server.get("/execution-parameters")
        if answer.status == 200:
            said = json.loads(answer.body)
    except (NoAnswer, AnswerTimeout, ValueError) as error:
        raise JobError("AlgorithmError", f"the container's /execution-parameters cannot be read: {error}") from error
    if not isinstance(said, dict):
        raise JobError("AlgorithmError", f"the container's /execution-parameters answer is no JSON object: {said!r}")
    given = {key: request[key] for key in ("MaxConcurrentTransforms", "MaxPayloadInMB") if key in request}
    if not given.get("MaxConcurrentTransforms", 1):
        del given["MaxConcurrentTransforms"]  # 0 is the same as unset
    if "BatchStrategy" in request:
        given["BatchStrategy"] = STRATEGIES[request["BatchStrategy"]]
    return {key: given.get(key, said.get(key, default)) for key, default in DEFAULT_PARAMETERS.items()}


def plan_of(request: Mapping[str, Any], parameters: Mapping[str, Any], inference_time: str = "") -> TransformPlan:
    """The plan of a request; ValidationException for a processing that is not possible."""
    processing: DataProcessing | None = data_processing.read(request, inference_time)
    if processing is not None and processing.input_filter.whole and not processing.reshapes:
        processing = None
    return TransformPlan(
        split=request["TransformInput"].get("SplitType", "None"),
        multi_record=parameters["BatchStrategy"] == "MULTI_RECORD",
        max_bytes=int(parameters["MaxPayloadInMB"]) * MEBIBYTE or None,
        assemble_lines=request["TransformOutput"].get("AssembleWith", "None") == "Line",
        processing=processing,
    )
