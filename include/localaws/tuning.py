"""How a tuning job runs: training jobs side by side, each with hyperparameters chosen from what is known by then."""

from __future__ import annotations

import hashlib
import logging
import queue
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from include.localaws import training
from include.localaws.context import Context
from include.localaws.outcome import REASON_LENGTH
from include.localaws.resources import training_job
from include.localaws.scheduler import Ticket
from include.localaws.search import Search, make_search, read_ranges
from include.localaws.states import Transitions
from include.localaws.store import Resource

log = logging.getLogger("localaws.jobs")

KIND = "hyper-parameter-tuning-job"
TRANSITIONS = Transitions(
    {
        ("InProgress", "finish"): "Completed",
        ("InProgress", "fail"): "Failed",
        ("InProgress", "stop"): "Stopping",
        ("InProgress", "stopped"): "Stopped",  # at its time limit
        ("Stopping", "stopped"): "Stopped",
        ("Stopping", "fail"): "Failed",
    }
)
BLIND_JOBS = 5  # completed training jobs without the objective after which AWS gives up
ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
NO_OBJECTIVE = (
    "No objective metrics found after running {} training jobs. Please ensure that the algorithm is emitting "
    "the objective metric as defined by the regular expression provided."
)


@dataclass(frozen=True)
class Objective:
    """What is tuned for."""

    metric: str
    maximize: bool

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Objective:
        """The objective of a tuning job, which may stand in the training job definition."""
        given = request["HyperParameterTuningJobConfig"].get("HyperParameterTuningJobObjective")
        given = given or request["TrainingJobDefinition"]["TuningObjective"]
        return cls(given["MetricName"], given["Type"] == "Maximize")

    def value(self, child: Resource) -> float | None:
        """The final objective of a training job, None while or when there is none."""
        if child.status in ("Failed", "InProgress", "Stopping"):
            return None
        for metric in child.body.get("FinalMetricDataList", ()):
            if metric["MetricName"] == self.metric:
                return float(metric["Value"])
        return None

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is strictly better."""
        return value > other if self.maximize else value < other


def children(ctx: Context, arn: str) -> list[Resource]:
    """The training jobs of a tuning job, oldest first."""
    return [r for r in ctx.store.list(training.KIND) if r.body.get("TuningJobArn") == arn]


def best(objective: Objective, jobs: list[Resource]) -> Resource | None:
    """The training job with the best objective; of equals the one that came first."""
    found: tuple[float, Resource] | None = None
    for job in jobs:
        value = objective.value(job)
        if value is not None and (found is None or objective.better(value, found[0])):
            found = value, job
    return None if found is None else found[1]


def child_request(request: Mapping[str, Any], name: str, tuned: Mapping[str, str]) -> dict[str, Any]:
    """The CreateTrainingJob request of one training job of a tuning job."""
    definition = request["TrainingJobDefinition"]
    same = (
        "AlgorithmSpecification", "RoleArn", "InputDataConfig", "VpcConfig", "OutputDataConfig", "ResourceConfig",
        "StoppingCondition", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "RetryStrategy",
        "EnableManagedSpotTraining", "CheckpointConfig", "Environment",
    )  # fmt: skip
    made = {key: definition[key] for key in same if key in definition}
    if resources := definition.get("HyperParameterTuningResourceConfig"):
        made["ResourceConfig"] = resources
    values = {**definition.get("StaticHyperParameters", {}), **tuned}
    return {**made, "TrainingJobName": name, "HyperParameters": values}


def submit(ctx: Context, name: str) -> None:
    """Let a stored tuning job run; it waits for its training jobs and takes no slot of its own."""
    ctx.jobs.spawn(KIND, name, lambda ticket: _run(ctx, ticket))


def _run(ctx: Context, ticket: Ticket) -> None:
    try:
        Tuning(ctx, ticket).run()
    except Exception as error:
        if ticket.cause == "shutdown":  # no training job can be started any more; the next start goes on
            return
        log.exception("tuning job %s: fault of the endpoint", ticket.name)
        for child in children(ctx, ctx.config.arn(KIND, ticket.name)):
            training.stop(ctx, child.name)
        reason = f"InternalServerError: {type(error).__name__}: {error}"[:REASON_LENGTH]
        ctx.store.transition(
            KIND, ticket.name, TRANSITIONS, "fail", FailureReason=reason, HyperParameterTuningEndTime=ctx.clock()
        )


class _Waker:
    """What a stop ends: the pause of the tuning job."""

    def __init__(self, ended: queue.Queue[str | None]) -> None:
        self._ended = ended

    def terminate(self, grace: float) -> int:
        self._ended.put(None)
        return 0


class Tuning:
    """One tuning job at work."""

    def __init__(self, ctx: Context, ticket: Ticket) -> None:
        found = ctx.store.get(KIND, ticket.name)
        assert found is not None
        self.ctx, self.ticket, self.arn, self.request = ctx, ticket, found.arn, found.body
        self.created = found.created
        self.objective = Objective.of(self.request)
        config = self.request["HyperParameterTuningJobConfig"]
        limits = config["ResourceLimits"]
        self.total: int = self.request["TotalJobs"]
        self.parallel: int = limits["MaxParallelTrainingJobs"]
        self.limit: float = limits.get("MaxRuntimeInSeconds", float("inf"))
        self.criteria: Mapping[str, Any] = config.get("TuningJobCompletionCriteria", {})
        self.ended: queue.Queue[str | None] = queue.Queue()
        self.running: dict[str, dict[str, str]] = {}
        self.values: list[float | None] = []
        self.launched = 0
        self.search = self._search(config)

    def _search(self, config: Mapping[str, Any]) -> Search:
        earlier = children(self.ctx, self.arn)
        self.launched = len(earlier)
        search = make_search(
            config["Strategy"],
            read_ranges(config["ParameterRanges"]),
            maximize=self.objective.maximize,
            total=self.total,
            seed=config.get("RandomSeed"),
            skip=self.launched,
        )
        for child in earlier:
            tuned = child.body["TunedHyperParameters"]
            ticket = self.ctx.jobs.find(training.KIND, child.name)
            if ticket is not None:
                self._follow(child.name, tuned, ticket)
            else:  # it has ended, perhaps since the list was made
                self._learn(search, self.ctx.store.get(training.KIND, child.name) or child, tuned)
        return search

    def _follow(self, name: str, tuned: dict[str, str], ticket: Ticket) -> None:
        self.running[name] = tuned
        ticket.when_ended(partial(self.ended.put, name))

    def _learn(self, search: Search, child: Resource, tuned: Mapping[str, str]) -> None:
        value = self.objective.value(child)
        self.values.append(value)
        search.tell(tuned, value)

    def run(self) -> None:
        """Train until the work is done, the job is stopped, or the endpoint ends (then the next start goes on)."""
        self.ticket.attach(_Waker(self.ended))
        event = "finish"
        while True:
            if self.ticket.cause == "shutdown":
                return
            if self.ticket.stopping or self._overdue():
                event = "stopped"
            if event == "finish" and not self._enough():
                self._launch()
            if not self.running:
                break
            if event == "stopped" or self._enough(running=False):
                self._stop_children()
            self._wait()
        self._finish(event)

    def _overdue(self) -> bool:
        return self.ctx.clock() - self.created >= self.limit

    def _enough(self, *, running: bool = True) -> bool:
        """Whether no further training job is needed; with `running=False` whether even those at work are not."""
        if running and self.launched >= self.total:
            return True
        seen = [v for v in self.values if v is not None]
        if not seen:
            return len(self.values) >= BLIND_JOBS
        target = self.criteria.get("TargetObjectiveMetricValue")
        if target is not None and any(v == target or self.objective.better(v, target) for v in seen):
            return True
        patience = self.criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        if patience is None:
            return False
        top = 0
        for index, value in enumerate(seen):
            if self.objective.better(value, seen[top]):
                top = index
        return len(seen) - 1 - top >= int(patience)

    def _launch(self) -> None:
        while len(self.running) < self.parallel and self.launched < self.total:
            tuned = self.search.ask()
            self.launched += 1
            digest = hashlib.sha256(f"{self.arn}{self.created}{self.launched}".encode()).hexdigest()[:8]
            name = f"{self.ticket.name}-{self.launched:03d}-{digest}"
            request = child_request(self.request, name, tuned)
            request["Tags"] = [{"Key": k, "Value": v} for k, v in self.ctx.store.tags(self.arn).items()]
            training_job.create(self.ctx, request, TuningJobArn=self.arn, TunedHyperParameters=tuned)
            ticket = self.ctx.jobs.find(training.KIND, name)
            if ticket is None:  # it has ended already
                self.running[name] = tuned
                self.ended.put(name)
            else:
                self._follow(name, tuned, ticket)

    def _stop_children(self) -> None:
        for name in self.running:
            training.stop(self.ctx, name)

    def _wait(self) -> None:
        left = self.limit - (self.ctx.clock() - self.created)
        try:
            name = self.ended.get(timeout=None if left == float("inf") or left <= 0 else left)
        except queue.Empty:
            return
        if name is None:
            return
        tuned = self.running.pop(name)
        child = self.ctx.store.get(training.KIND, name)
        if child is not None:
            self._learn(self.search, child, tuned)

    def _finish(self, event: str) -> None:
        found = self.ctx.store.get(KIND, self.ticket.name)
        assert found is not None
        reason = None
        if found.status == "Stopping":
            event = "stopped"
        elif event == "finish" and all(v is None for v in self.values):
            event = "fail"
            done = [c for c in children(self.ctx, self.arn) if c.status == "Completed"]
            reason = NO_OBJECTIVE.format(len(self.values)) if done else ALL_FAILED
        now = self.ctx.clock()
        self.ctx.store.transition(
            KIND, self.ticket.name, TRANSITIONS, event, FailureReason=reason, HyperParameterTuningEndTime=now,
            ConsumedResources={"RuntimeInSeconds": int(now - self.created)},
        )  # fmt: skip
