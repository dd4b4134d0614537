"""One attempt of a training job on instances of its own: channels in, program on every host, model out."""

from __future__ import annotations

import shutil
import time
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
from localaws.jobs import channels, execution, s3data
from localaws.jobs.channels import Channel, ManifestItem
from localaws.jobs.cluster import ADDRESSES, Cluster, Host
from localaws.jobs.foldersync import PERIOD, FolderSync
from localaws.jobs.outcome import AttemptOutcome, Cause, ProgramEnd, decide
from localaws.jobs.pipes import Feeder
from localaws.jobs.program import JobProgram, ProgramTimer
from localaws.jobs.spot import TimeBudget
from localaws.jobs.training_steps import KIND, next_step
from localaws.kinds import TRAINING_JOB
from localaws.log_metrics import MetricReader
from localaws.logs import LogStream

CHECKPOINTS = "/opt/ml/checkpoints"  # CheckpointConfig.LocalPath when it is left out
FOLDERS = ("input/config", "input/data", "model", "output/data", "code", "checkpoints")
MODEL, OUTPUT, FAILURE = "model", "output/data", "output/failure"
# Not an end: the job goes on with another attempt.
INTERRUPTED = AttemptOutcome("fail", "Interrupted", "InternalServerError: the managed spot instances were taken away")

BEHAVIOURS = (
    Behaviour(
        "what all hosts have in /opt/ml/model makes one model.tar.gz, likewise output/data",
        "documented",
        "developer guide, How Amazon SageMaker Processes Training Output",
    ),
    Behaviour(
        "a job that leaves nothing in /opt/ml/model is `Completed` without an artifact, whose path is described",
        "seen",
        "sagemaker-python-sdk issues 3455 and 608",
    ),
    Behaviour("such a job has a line in its log that says so", "assumed"),
    Behaviour("a file that several hosts have is taken from the first of them", "assumed"),
    Behaviour("artifact at `<output>/<job>/output/model.tar.gz`, `output.tar.gz`", "assumed"),
    Behaviour("log streams `<job>/algo-N-<time>`; metrics are read from the logs of all hosts", "assumed"),
)


@dataclass
class _Place:
    """One host, its directory, and what of it is read-only."""

    host: Host
    root: Path
    bind: dict[Path, str] = field(default_factory=dict)


class Attempt:
    """The work between two waits for instances; `run` returns INTERRUPTED when the instances are taken away."""

    def __init__(
        self,
        ctx: Context,
        ticket: Ticket,
        request: Mapping[str, Any],
        arn: str,
        *,
        reader: MetricReader,
        faults: JobFaults,
        budget: TimeBudget,
        timers: Sequence[ProgramTimer],
    ) -> None:
        self.ctx, self.ticket, self.request, self.arn = ctx, ticket, request, arn
        self.reader, self.faults, self.budget, self.timers = reader, faults, budget, timers
        self.cluster = Cluster.of(request["ResourceConfig"])
        mode = request["AlgorithmSpecification"]["TrainingInputMode"]
        self.channels = [Channel.of(given, mode) for given in request.get("InputDataConfig", ())]
        self.home = execution.job_home(ctx, KIND, ticket.name)
        self.streams: list[str] = []  # one for each host, once the programs run

    def run(self) -> AttemptOutcome:
        """Download, train, upload; raises JobError."""
        name = self.ticket.name
        places = [_Place(host, execution.host_root(self.home, host.name)) for host in self.cluster.hosts]
        items = {channel.name: channel.items(self.ctx.s3) for channel in self.channels}
        for place in places:
            self._lay_out(place, items)
        syncs = [self._checkpoints(place) for place in places] if "CheckpointConfig" in self.request else []
        for sync in syncs:
            sync.restore()
        next_step(self.ctx, name)
        ended = self._train(places, items, syncs)
        for sync in syncs:
            sync.sync()
        if ended.cause == "interrupted":
            return INTERRUPTED
        outcome = decide(ended, execution.read_text(places[ended.host].root, FAILURE))
        if outcome.artifacts:
            next_step(self.ctx, name)
            self._upload([place.root for place in places])
        return outcome

    def _lay_out(self, place: _Place, items: Mapping[str, Sequence[ManifestItem]]) -> None:
        """The directories, configuration files and File channels of the container contract."""
        for folder in FOLDERS:
            (place.root / folder).mkdir(parents=True, exist_ok=True)
        config = place.root / "input" / "config"
        mine = [c for c in self.channels if place.host in self.cluster.in_groups(c.groups)]
        execution.write_json(config / "hyperparameters.json", self.request.get("HyperParameters", {}))
        execution.write_json(config / "inputdataconfig.json", {c.name: c.described for c in mine})
        execution.write_json(config / "resourceconfig.json", self.cluster.resource_config(place.host))
        if given := self.request.get("CheckpointConfig"):
            execution.write_json(config / "checkpointconfig.json", {"LocalPath": CHECKPOINTS, **given})
        for channel in mine:
            if channel.mode != "Pipe":
                share = channel.share(items[channel.name], self.cluster, place.host)
                place.bind |= channels.lay_files(self.ctx.s3, channel, share, place.root)

    def _checkpoints(self, place: _Place) -> FolderSync:
        given = self.request["CheckpointConfig"]
        folder = execution.inside(place.root, given.get("LocalPath", CHECKPOINTS))
        return FolderSync(self.ctx.s3, place.root, folder, given["S3Uri"], delete=True)

    def _train(
        self, places: Sequence[_Place], items: Mapping[str, Sequence[ManifestItem]], syncs: Sequence[FolderSync]
    ) -> ProgramEnd:
        def synchronise() -> Cause | None:
            for sync in syncs:
                sync.sync(running=True)
            return None

        timers = [*self.timers, *([ProgramTimer(PERIOD, synchronise, PERIOD)] if syncs else [])]
        if self.budget.wait_left != float("inf"):
            timers.append(ProgramTimer(self.budget.wait_left, lambda: "wait"))
        with ExitStack() as stack:
            hosts = stack.enter_context(ADDRESSES.of(self.cluster))
            started = int(self.ctx.clock())
            self.streams = [f"{self.ticket.name}/{place.host.name}-{started}" for place in places]
            specs = []
            for place, stream in zip(places, self.streams, strict=True):
                log = stack.enter_context(self.ctx.logs.open(TRAINING_JOB.log_group, stream))
                specs.append(self._spec(place, hosts, log))
            program = JobProgram(self.ctx, self.ticket, specs, self.faults)
            for feeder in self._feeders(places, items, program):
                feeder.start()
                stack.callback(feeder.stop)
            begun = time.monotonic()
            try:
                return program.run(self.budget.runtime_left, timers)
            finally:
                self.budget.used += time.monotonic() - begun

    def _spec(self, place: _Place, hosts: Mapping[str, str], log: LogStream) -> ProcessSpec:
        algorithm = self.request["AlgorithmSpecification"]
        image = self.ctx.images.resolve(algorithm["TrainingImage"])

        def on_line(line: str) -> None:
            log.write(line)
            self.reader.feed(line, self.ctx.clock())

        return ProcessSpec(
            argv=execution.command(
                image, "train", algorithm.get("ContainerEntrypoint", ()), algorithm.get("ContainerArguments", ())
            ),
            env={
                **execution.base_environment(self.ctx, place.host.name),
                "TRAINING_JOB_NAME": self.ticket.name,
                "TRAINING_JOB_ARN": self.arn,
                **self.request.get("Environment", {}),
            },
            root=place.root,
            image=image,
            on_line=on_line,
            network=not self.request.get("EnableNetworkIsolation", False),
            bind=execution.read_only(self.ctx, place.bind),
            host=place.host.name,
            hosts=hosts,
        )

    def _feeders(
        self, places: Sequence[_Place], items: Mapping[str, Sequence[ManifestItem]], program: JobProgram
    ) -> list[Feeder]:
        return [
            Feeder(self.ctx.s3, channel, items[channel.name], (self.cluster, place.host, place.root), program.fail)
            for channel in self.channels
            for place in places
            if channel.mode == "Pipe" and place.host in self.cluster.in_groups(channel.groups)
        ]

    def _upload(self, roots: Sequence[Path]) -> None:
        for folder in (MODEL, OUTPUT):
            for root in roots:
                execution.settled(root, root / folder)
            for root in roots[1:]:
                gather(root / folder, roots[0] / folder)
        if filled(roots[0] / MODEL):
            self._upload_model(roots[0] / MODEL)
        else:
            with self.ctx.logs.open(TRAINING_JOB.log_group, self.streams[0]) as log:
                log.write("WARNING: no model artifact is saved under /opt/ml/model: none is uploaded")
        output = roots[0] / OUTPUT
        if filled(output):
            where = output_uri(self.request)
            if model_uri(self.request).endswith(".tar.gz"):
                s3data.put(self.ctx.s3, f"{where}/output.tar.gz", s3data.pack(output, self.home / "output.tar.gz"))
            else:
                s3data.upload_tree(self.ctx.s3, output, f"{where}/output/")

    def _upload_model(self, model: Path) -> None:
        uri = model_uri(self.request)
        if uri.endswith(".tar.gz"):
            archive = s3data.pack(model, self.home / "model.tar.gz")
            if self.faults.corrupt_artifact:
                halve(archive)
            s3data.put(self.ctx.s3, uri, archive)
            return
        for path in s3data.files(model) if self.faults.corrupt_artifact else ():
            halve(path)
        s3data.upload_tree(self.ctx.s3, model, uri)


def filled(folder: Path) -> bool:
    """Whether there is anything in a directory; the program may have removed it."""
    return folder.is_dir() and any(folder.iterdir())


def output_uri(request: Mapping[str, Any]) -> str:
    """The prefix of all that a job leaves in S3."""
    return s3data.join(request["OutputDataConfig"]["S3OutputPath"], request["TrainingJobName"], "output")


def model_uri(request: Mapping[str, Any]) -> str:
    """Where the model goes: an archive, or a prefix when it is not to be packed."""
    packed = request["OutputDataConfig"].get("CompressionType", "GZIP") == "GZIP"
    return f"{output_uri(request)}/{'model.tar.gz' if packed else 'model/'}"


def gather(source: Path, target: Path) -> None:
    """Move the entries of one directory into another; what is there already stays."""
    for entry in sorted(source.iterdir()) if source.is_dir() else ():
        place = target / entry.name
        both = entry.is_dir() and not entry.is_symlink() and place.is_dir() and not place.is_symlink()
        if both:
            gather(entry, place)
        elif not place.exists() and not place.is_symlink():
            target.mkdir(parents=True, exist_ok=True)
            shutil.move(entry, place)


def halve(path: Path) -> None:
    """Cut a file in half, as a broken upload would."""
    with path.open("r+b") as handle:
        handle.truncate(path.stat().st_size // 2)
