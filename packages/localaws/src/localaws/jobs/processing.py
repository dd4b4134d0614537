"""How a processing job runs: inputs in, program on every host, outputs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.engine.scheduler import Ticket
from localaws.engine.spec import ProcessSpec
from localaws.faults import JobFaults
from localaws.jobs import execution, monitoring_metrics, s3data
from localaws.jobs.cluster import ADDRESSES, Cluster, Host
from localaws.jobs.foldersync import PERIOD, FolderSync
from localaws.jobs.outcome import REASON_LENGTH, AttemptOutcome, Cause, ProgramEnd, decide
from localaws.jobs.program import JobProgram, ProgramTimer
from localaws.jobs.s3data import Entry
from localaws.kinds import PROCESSING_JOB
from localaws.logs import LogStream
from localaws.store import StoredResource

KIND = PROCESSING_JOB.word
BEHAVIOURS = (
    Behaviour(
        "processing paths below `/opt/ml/processing`",
        "documented",
        "developer guide, Build your own processing container",
    ),
    Behaviour(
        "exit code and `/opt/ml/output/message` become status and ExitMessage", "documented", "DescribeProcessingJob"
    ),
    Behaviour(
        "an input of a processing job of more than 32 MiB is read-only (on AWS it is a copy that can be written to)",
        "assumed",
    ),
    Behaviour("time limit of a processing job: `Stopped`, what it has written is kept", "assumed"),
    Behaviour("default limit of a processing job: 24 hours", "assumed"),
    Behaviour("all hosts upload to the one S3Uri; of files of the same name the last host's stays", "assumed"),
    Behaviour("of several hosts' messages the first host's is the ExitMessage", "assumed"),
)


def submit(ctx: Context, name: str) -> Ticket:
    """Put a stored job into the schedule."""
    return execution.submit(ctx, KIND, name, run, lambda body: _cluster(body).demand)


def stop(ctx: Context, name: str) -> bool:
    """Begin to stop a job; False when its status forbids it."""
    return execution.stop(ctx, KIND, name)


def run(ctx: Context, ticket: Ticket) -> None:
    """Do the whole work of a job and write its end."""
    execution.attend(ctx, ticket, ProcessingRun(ctx, ticket, execution.stored(ctx, KIND, ticket.name)))


def _cluster(body: Mapping[str, Any]) -> Cluster:
    return Cluster.of(body["ProcessingResources"]["ClusterConfig"])


@dataclass
class _Place:
    """One host, its directory, and what of it is read-only."""

    host: Host
    root: Path
    bind: dict[Path, str] = field(default_factory=dict)


class ProcessingRun:
    """One processing job at work."""

    def __init__(self, ctx: Context, ticket: Ticket, found: StoredResource) -> None:
        self.ctx, self.ticket, self.request, self.arn = ctx, ticket, found.body, found.arn
        self.faults: JobFaults = ctx.faults.of(ctx.store.tags(found.arn))
        self.cluster = _cluster(found.body)
        self.begun = False
        self.places: list[_Place] = []

    def end(self) -> dict[str, Any]:
        """When it ended, and what the program has left as its message."""
        found = (execution.read_text(place.root, "output/message") for place in self.places)
        message = next((text for text in found if text), "")[:REASON_LENGTH]
        return {"ProcessingEndTime": self.ctx.clock(), "ExitMessage": message or None}

    def run(self) -> AttemptOutcome:
        """Download, run, upload; raises JobError."""
        ended = execution.await_start(self.ticket, self.ctx.profile.job_start + self.faults.slow_start, self.faults)
        if ended is not None:
            return decide(ended)
        self.begun = True
        self.ctx.store.update(KIND, self.ticket.name, ProcessingStartTime=self.ctx.clock())
        home = execution.job_home(self.ctx, KIND, self.ticket.name)
        self.places = [_Place(host, execution.host_root(home, host.name)) for host in self.cluster.hosts]
        self._lay_out()
        syncs = [
            FolderSync(
                self.ctx.s3, place.root, execution.inside(place.root, s3["LocalPath"]), s3["S3Uri"], delete=False
            )
            for place in self.places
            for s3 in self._outputs("Continuous")
        ]
        ended = self._execute(syncs)
        for sync in syncs:
            sync.sync()
        roots = [place.root for place in self.places]
        monitoring_metrics.publish(self.ctx, self.request.get("Environment", {}), roots)
        outcome = decide(ended, execution.read_text(roots[ended.host], "output/failure"))
        for root in roots if outcome.artifacts else ():
            for s3 in self._outputs("EndOfJob"):
                folder = execution.settled(root, execution.inside(root, s3["LocalPath"]))
                s3data.upload_tree(self.ctx.s3, folder, s3["S3Uri"])
        return outcome

    def _outputs(self, mode: str = "") -> list[dict[str, Any]]:
        """The S3 outputs of an upload mode, or all."""
        given = self.request.get("ProcessingOutputConfig", {}).get("Outputs", ())
        return [o["S3Output"] for o in given if mode in ("", o["S3Output"]["S3UploadMode"])]

    def _entries(self, s3: Mapping[str, Any]) -> list[Entry]:
        return s3data.entries(self.ctx.s3, s3["S3DataType"], s3["S3Uri"])

    def _lay_out(self) -> None:
        """The directories, configuration files and inputs of the container contract, for every host."""
        inputs = [given["S3Input"] for given in self.request.get("ProcessingInputs", ())]
        entries = [self._entries(s3) for s3 in inputs]
        for number, place in enumerate(self.places):
            config = place.root / "config"
            execution.write_json(config / "processingjobconfig.json", {"ProcessingJobArn": self.arn, **self.request})
            execution.write_json(config / "resourceconfig.json", self.cluster.resource_config(place.host))
            (place.root / "output").mkdir()
            for s3 in self._outputs():
                execution.inside(place.root, s3["LocalPath"]).mkdir(parents=True, exist_ok=True)
            for s3, found in zip(inputs, entries, strict=True):
                sharded = s3.get("S3DataDistributionType") == "ShardedByS3Key"
                mine = found[number :: len(self.places)] if sharded else found
                folder = execution.inside(place.root, s3["LocalPath"])
                place.bind |= s3data.lay(self.ctx.s3, mine, folder, str(Path(s3["LocalPath"])))

    def _execute(self, syncs: Sequence[FolderSync]) -> ProgramEnd:
        with ExitStack() as stack:
            hosts = stack.enter_context(ADDRESSES.of(self.cluster))
            started = int(self.ctx.clock())
            specs = []
            for place in self.places:
                stream = f"{self.ticket.name}/{place.host.name}-{started}"
                log = stack.enter_context(self.ctx.logs.open(PROCESSING_JOB.log_group, stream))
                specs.append(self._spec(place, hosts, log))
            program = JobProgram(self.ctx, self.ticket, specs, self.faults)
            return program.run(self.request["StoppingCondition"]["MaxRuntimeInSeconds"], self._timers(syncs))

    def _timers(self, syncs: Sequence[FolderSync]) -> list[ProgramTimer]:
        def synchronise() -> Cause | None:
            for sync in syncs:
                sync.sync(running=True)
            return None

        def stop_it() -> Cause | None:
            stop(self.ctx, self.ticket.name)
            return None

        timers = [ProgramTimer(PERIOD, synchronise, PERIOD)] if syncs else []
        if self.faults.stop_after is not None:
            timers.append(ProgramTimer(self.faults.stop_after, stop_it))
        return timers

    def _spec(self, place: _Place, hosts: Mapping[str, str], log: LogStream) -> ProcessSpec:
        application = self.request["AppSpecification"]
        image = self.ctx.images.resolve(application["ImageUri"])
        return ProcessSpec(
            argv=execution.command(
                image, "process", application.get("ContainerEntrypoint", ()), application.get("ContainerArguments", ())
            ),
            env={
                **execution.base_environment(self.ctx, place.host.name),
                "PROCESSING_JOB_NAME": self.ticket.name,
                "PROCESSING_JOB_ARN": self.arn,
                **self.request.get("Environment", {}),
            },
            root=place.root,
            image=image,
            on_line=log.write,
            network=not self.request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
            bind=execution.read_only(self.ctx, place.bind),
            host=place.host.name,
            hosts=hosts,
        )
