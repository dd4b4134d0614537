"""How a processing job runs: inputs in, program on every host, outputs out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from include.localaws.context import Context
from include.localaws.coverage import Behaviour
from include.localaws.engine.runner import ProcessSpec
from include.localaws.engine.scheduler import Ticket
from include.localaws.faults import JobFaults
from include.localaws.jobs import execution, s3data
from include.localaws.jobs.cluster import ADDRESSES, Cluster, Host
from include.localaws.jobs.foldersync import PERIOD, FolderSync
from include.localaws.jobs.outcome import REASON_LENGTH, Cause, Ended, JobError, Outcome, decide
from include.localaws.jobs.program import Program, Timer
from include.localaws.jobs.s3data import Entry
from include.localaws.jobs.spot import NO_CAPACITY
from include.localaws.logs import LogStream
from include.localaws.monitoring import metrics as monitor_metrics
from include.localaws.states import Transitions
from include.localaws.store import Resource

KIND = "processing-job"
LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
LOCAL_ROOT = Path("/")  # where paths below /opt/ml are checked, before a job has a directory
TRANSITIONS = Transitions(
    {
        ("InProgress", "finish"): "Completed",
        ("InProgress", "fail"): "Failed",
        ("InProgress", "stop"): "Stopping",
        ("InProgress", "stopped"): "Stopped",  # at its time limit
        ("Stopping", "stopped"): "Stopped",
        ("Stopping", "finish"): "Completed",  # it had ended before the stop reached it
        ("Stopping", "fail"): "Failed",
    }
)
BEHAVIOURS = (
    Behaviour(
        "processing paths below `/opt/ml/processing`",
        "documented",
        "developer guide, Build your own processing container",
    ),
    Behaviour(
        "exit code and `/opt/ml/output/message` become status and ExitMessage", "documented", "DescribeProcessingJob"
    ),
    Behaviour("time limit of a processing job: `Stopped`, what it has written is kept", "assumed"),
    Behaviour("default limit of a processing job: 24 hours", "assumed"),
    Behaviour("all hosts upload to the one S3Uri; of files of the same name the last host's stays", "assumed"),
    Behaviour("of several hosts' messages the first host's is the ExitMessage", "assumed"),
)


def submit(ctx: Context, name: str) -> Ticket:
    """Put a stored job into the schedule."""
    found = ctx.store.get(KIND, name)
    assert found is not None
    demand = Cluster.of(found.body["ProcessingResources"]["ClusterConfig"]).demand
    return ctx.jobs.submit(KIND, name, lambda ticket: run(ctx, ticket), demand)


def stop(ctx: Context, name: str) -> bool:
    """Begin to stop a job; False when its status forbids it."""
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        if found is None or not TRANSITIONS.allows(found.status, "stop"):
            return False
        ctx.store.transition(KIND, name, TRANSITIONS, "stop")
    ctx.jobs.stop(KIND, name)
    return True


def run(ctx: Context, ticket: Ticket) -> None:
    """Do the whole work of a job and write its end."""
    found = ctx.store.get(KIND, ticket.name)
    assert found is not None
    try:
        work = Processing(ctx, ticket, found)
        outcome = execution.conclude(ctx, ticket, work.run)
        if ticket.cause == "shutdown" and not work.begun:
            return  # the next start goes on with it
        ctx.store.transition(
            KIND, ticket.name, TRANSITIONS, outcome.event, ProcessingEndTime=ctx.clock(),
            FailureReason=outcome.reason, ExitMessage=work.message() or None,
        )  # fmt: skip
    finally:
        execution.remove_root(ctx, KIND, ticket.name)


class Processing:
    """One processing job at work."""

    def __init__(self, ctx: Context, ticket: Ticket, found: Resource) -> None:
        self.ctx, self.ticket, self.request, self.arn = ctx, ticket, found.body, found.arn
        self.faults: JobFaults = ctx.faults.of(ctx.store.tags(found.arn))
        self.cluster = Cluster.of(found.body["ProcessingResources"]["ClusterConfig"])
        home = execution.job_home(ctx, KIND, found.name)
        self.begun = False
        self.places = [(host, execution.host_root(home, host.name)) for host in self.cluster.hosts]

    def message(self) -> str:
        """ExitMessage: what the program has left, "" for nothing."""
        found = (execution.read_text(root, "output/message") for _, root in self.places)
        return next((text for text in found if text), "")[:REASON_LENGTH]

    def run(self) -> Outcome:
        """Download, run, upload; raises JobError."""
        if self.ticket.wait_stop(self.ctx.profile.start + self.faults.slow_start):
            return decide(Ended(0, self.ticket.cause or "stop"))
        if self.faults.capacity:
            raise JobError("CapacityError", NO_CAPACITY)
        self.begun = True
        self.ctx.store.update(KIND, self.ticket.name, ProcessingStartTime=self.ctx.clock())
        inputs = [(given["S3Input"], self._entries(given["S3Input"])) for given in self._inputs]
        for number, (host, root) in enumerate(self.places):
            self._lay_out(host, root)
            for s3, entries in inputs:
                sharded = s3.get("S3DataDistributionType") == "ShardedByS3Key"
                mine = entries[number :: len(self.places)] if sharded else entries
                folder = execution.inside(root, s3["LocalPath"])
                s3data.link(self.ctx.s3, mine, folder)
                s3data.own(folder)
        syncs = [
            FolderSync(self.ctx.s3, root, execution.inside(root, s3["LocalPath"]), s3["S3Uri"], delete=False)
            for _, root in self.places
            for s3 in self._outputs("Continuous")
        ]
        ended = self._execute(syncs)
        for sync in syncs:
            sync.sync()
        monitor_metrics.publish(self.ctx, self.request.get("Environment", {}), [root for _, root in self.places])
        outcome = decide(ended, execution.read_text(self.places[ended.host][1], "output/failure"))
        if outcome.artifacts:
            for _, root in self.places:
                for s3 in self._outputs("EndOfJob"):
                    folder = execution.settled(root, execution.inside(root, s3["LocalPath"]))
                    s3data.upload_tree(self.ctx.s3, folder, s3["S3Uri"])
        return outcome

    @property
    def _inputs(self) -> Sequence[dict[str, Any]]:
        found: Sequence[dict[str, Any]] = self.request.get("ProcessingInputs", ())
        return found

    def _outputs(self, mode: str = "") -> list[dict[str, Any]]:
        """The S3 outputs of an upload mode, or all."""
        given = self.request.get("ProcessingOutputConfig", {}).get("Outputs", ())
        return [o["S3Output"] for o in given if mode in ("", o["S3Output"]["S3UploadMode"])]

    def _entries(self, s3: Mapping[str, Any]) -> list[Entry]:
        return s3data.entries(self.ctx.s3, s3["S3DataType"], s3["S3Uri"])

    def _lay_out(self, host: Host, root: Path) -> None:
        """The directories and configuration files of the container contract."""
        config = root / "config"
        execution.write_json(config / "processingjobconfig.json", {"ProcessingJobArn": self.arn, **self.request})
        execution.write_json(config / "resourceconfig.json", self.cluster.resource_config(host))
        (root / "output").mkdir()
        for s3 in self._outputs():
            execution.inside(root, s3["LocalPath"]).mkdir(parents=True, exist_ok=True)

    def _execute(self, syncs: Sequence[FolderSync]) -> Ended:
        with ExitStack() as stack:
            hosts = stack.enter_context(ADDRESSES.of(self.cluster))
            started = int(self.ctx.clock())
            specs = []
            for host, root in self.places:
                stream = f"{self.ticket.name}/{host.name}-{started}"
                log = stack.enter_context(self.ctx.logs.open(LOG_GROUP, stream))
                specs.append(self._spec(host, root, hosts, log))
            program = Program(self.ctx, self.ticket, specs, self.faults)
            return program.run(self.request["StoppingCondition"]["MaxRuntimeInSeconds"], self._timers(syncs))

    def _timers(self, syncs: Sequence[FolderSync]) -> list[Timer]:
        def synchronise() -> Cause | None:
            for sync in syncs:
                sync.sync()
            return None

        def stop_it() -> Cause | None:
            stop(self.ctx, self.ticket.name)
            return None

        timers = [Timer(PERIOD, synchronise, PERIOD)] if syncs else []
        if self.faults.stop_after is not None:
            timers.append(Timer(self.faults.stop_after, stop_it))
        return timers

    def _spec(self, host: Host, root: Path, hosts: Mapping[str, str], log: LogStream) -> ProcessSpec:
        application = self.request["AppSpecification"]
        image = self.ctx.images.resolve(application["ImageUri"])
        return ProcessSpec(
            argv=execution.command(
                image, "process", application.get("ContainerEntrypoint", ()), application.get("ContainerArguments", ())
            ),
            env={
                **execution.base_environment(self.ctx, host.name),
                "PROCESSING_JOB_NAME": self.ticket.name,
                "PROCESSING_JOB_ARN": self.arn,
                **self.request.get("Environment", {}),
            },
            root=root,
            image=image,
            on_line=log.write,
            network=not self.request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False),
            host=host.name,
            hosts=hosts,
        )
