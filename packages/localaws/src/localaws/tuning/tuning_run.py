"""How a tuning job runs: training jobs side by side, each with hyperparameters chosen from what is known by then."""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.engine.scheduler import Ticket
from localaws.errors import ResourceLimitExceeded
from localaws.jobs import objective_feed, training, training_request
from localaws.jobs.execution import fault
from localaws.jobs.outcome import REASON_LENGTH
from localaws.kinds import TUNING_JOB
from localaws.states import Transitions
from localaws.store import StoredResource
from localaws.tuning import warm_start as tuning_warm
from localaws.tuning.stop import Stopper, make_stopper
from localaws.tuning.strategies import TrialSearch, make_search
from localaws.tuning.trials import (
    Trials,
    child_name,
    final_value,
    not_improving,
    numbered,
)  # fmt: skip
from localaws.tuning.tuning_request import TrainingDefinition

log = logging.getLogger("localaws.jobs")

KIND = TUNING_JOB.word
TRANSITIONS = Transitions(
    {
        ("InProgress", "finish"): "Completed",
        ("InProgress", "fail"): "Failed",
        ("InProgress", "stop"): "Stopping",
        ("Stopping", "stopped"): "Stopped",
        ("Stopping", "fail"): "Failed",
    }
)
BLIND_JOBS = 5  # ended training jobs without the objective after which AWS gives up
CONVERGED = 10  # training jobs without significant improvement that count as convergence
ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
NO_OBJECTIVE = (
    "No objective metrics found after running {} training jobs. Please ensure that the algorithm is emitting "
    "the objective metric as defined by the regular expression provided."
)
CRITERIA = "developer guide, Track and set completion criteria for your tuning job"
BEHAVIOURS = (
    Behaviour("tuning fails after five trainings without the objective", "assumed"),
    Behaviour(
        "tags of a tuning job are those of its trainings", "documented", "API reference, CreateHyperParameterTuningJob"
    ),
    Behaviour("a target value, MaxNumberOfTrainingJobsNotImproving and MaxRuntimeInSeconds end the search",
              "documented", CRITERIA),
    Behaviour("a tuning job that a completion criterion ended is Completed, its running trainings are stopped",
              "assumed"),
    Behaviour(f"CompleteOnConvergence: {CONVERGED} trainings in turn without an improvement of more than 1 %",
              "assumed"),
    Behaviour("a training that a quota forbids waits for the next of the tuning job's trainings to end", "assumed"),
)  # fmt: skip


def submit(ctx: Context, name: str) -> None:
    """Let a stored tuning job run; it waits for its training jobs and takes no slot of its own."""
    ctx.jobs.spawn(KIND, name, lambda ticket: _run(ctx, ticket), lambda ticket, error: _fail(ctx, ticket, error))


def stop(ctx: Context, name: str) -> bool:
    """Begin to stop all training jobs of a tuning job, and start no more; False when its status forbids it."""
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        if found is None or not TRANSITIONS.allows(found.status, "stop"):
            return False
        ctx.store.transition(KIND, name, TRANSITIONS, "stop")
    ctx.jobs.stop(KIND, name)
    return True


def _run(ctx: Context, ticket: Ticket) -> None:
    try:
        TuningRun(ctx, ticket).run()
    except Exception:
        if ticket.cause != "shutdown":  # no training job can be started any more; the next start goes on
            raise


def _fail(ctx: Context, ticket: Ticket, error: Exception) -> None:
    """Write the end of a tuning job for a fault of the endpoint, unless it has one."""
    found = ctx.store.get(KIND, ticket.name)
    if found is None or found.status in TRANSITIONS.terminal:
        return
    for child in numbered(ctx, found):
        if child is not None:
            training.stop(ctx, child.name)
    ctx.store.transition(
        KIND, ticket.name, TRANSITIONS, "fail", FailureReason=fault(error).reason,
        HyperParameterTuningEndTime=ctx.clock(),
    )  # fmt: skip


@dataclass
class _Lane:
    """One training definition with its search and its rule for stopping; `asked` counts its trials."""

    definition: TrainingDefinition
    search: TrialSearch
    stopper: Stopper | None
    asked: int = 0

    @property
    def exhausted(self) -> bool:
        return self.search.size is not None and self.asked >= self.search.size


@dataclass
class _Trial:
    """One training job: number `number` of the tuning job, trial `index` of its definition."""

    number: int
    lane: _Lane
    index: int
    tuned: Mapping[str, str]
    values: list[float] = field(default_factory=list)  # of the objective, while a stopper looks at them
    given_up: bool = False


@dataclass(frozen=True)
class _Event:
    """A training job has ended (`value` None) or printed its objective."""

    name: str
    value: float | None = None


class _Waker:
    """What a stop ends: the pause of the tuning job."""

    def __init__(self, events: queue.Queue[_Event | None]) -> None:
        self._events = events

    def terminate(self, grace: float) -> int:
        self._events.put(None)
        return 0


class TuningRun:
    """One tuning job at work."""

    def __init__(self, ctx: Context, ticket: Ticket) -> None:
        found = ctx.store.get(KIND, ticket.name)
        assert found is not None
        self.ctx, self.ticket, self.found = ctx, ticket, found
        config = found.body["HyperParameterTuningJobConfig"]
        limits = config["ResourceLimits"]
        self.total: int = found.body["TotalJobs"]
        self.parallel: int = limits["MaxParallelTrainingJobs"]
        self.limit: float = limits.get("MaxRuntimeInSeconds", float("inf"))
        self.criteria: Mapping[str, Any] = config.get("TuningJobCompletionCriteria", {})
        self.events: queue.Queue[_Event | None] = queue.Queue()
        self.running: dict[str, _Trial] = {}
        self.values: list[float | None] = []
        self.launched = 0
        self.waiting: _Trial | None = None  # one that a quota did not allow yet
        self.trouble: str | None = None
        self.lanes = [self._lane(config, n, each) for n, each in enumerate(Trials(ctx, found).definitions)]
        self.objective = self.lanes[0].definition.objective
        self._resume()

    def _lane(self, config: Mapping[str, Any], index: int, definition: TrainingDefinition) -> _Lane:
        maximize, seed = definition.objective.maximize, config.get("RandomSeed")
        earlier = tuning_warm.parents(self.ctx, self.found.body, KIND)
        search = make_search(
            config["Strategy"],
            definition.ranges,
            maximize=maximize,
            total=self.total,
            parallel=self.parallel,
            seed=None if seed is None else seed + index,
            known=tuning_warm.observations(earlier, lambda p: Trials(self.ctx, p).observations(), definition),
        )
        return _Lane(definition, search, make_stopper(config, definition.static, maximize=maximize))

    def _resume(self) -> None:
        """Go through what an earlier run of the endpoint began, and follow what still runs."""
        jobs = numbered(self.ctx, self.found)
        trials: list[_Trial] = []
        for job in jobs:
            lane = self._next_lane()
            assert lane is not None, "more training jobs than there can be"
            trials.append(_Trial(len(trials) + 1, lane, lane.asked, job.body["TunedHyperParameters"] if job else {}))
            lane.asked += 1
            self.launched += 1
        for trial, job in zip(trials, jobs, strict=True):
            if job is None:
                self._learn(trial, None)
            elif (ticket := self.ctx.jobs.find(training.KIND, job.name)) is not None:
                self._follow(job.name, trial, ticket)
            else:  # it has ended, perhaps since the list was made
                self._learn(trial, self.ctx.store.get(training.KIND, job.name))
        for trial, job in zip(trials, jobs, strict=True):
            trial.lane.search.replay(trial.tuned)
            self._review(trial, job)

    def _review(self, trial: _Trial, job: StoredResource | None) -> None:
        """Tell the stopper of a trial of an earlier run of the endpoint."""
        stopper = trial.lane.stopper
        if stopper is None:
            return
        stopper.begin(trial.index)
        history = job.body.get("ObjectiveHistory", []) if job else []
        for count in range(1, len(history) + 1):
            stopper.report(trial.index, history[:count])
        if job and job.status == "Completed" and history:
            stopper.complete(trial.index, history)

    def _next_lane(self) -> _Lane | None:
        """The definition whose turn it is; None when all combinations were begun."""
        open_ = [lane for lane in self.lanes if not lane.exhausted]
        return min(open_, key=lambda lane: lane.asked) if open_ else None  # the first of equals

    def _follow(self, name: str, trial: _Trial, ticket: Ticket) -> None:
        self.running[name] = trial
        ticket.when_ended(partial(self.events.put, _Event(name)))

    def _learn(self, trial: _Trial, child: StoredResource | None) -> None:
        value = None if child is None else final_value(trial.lane.definition.objective, child)
        self.values.append(value)
        trial.lane.search.tell(trial.index, value)

    def run(self) -> None:
        """Train until the work is done, the job is stopped, or the endpoint ends (then the next start goes on)."""
        self.ticket.attach(_Waker(self.events))
        over = False
        while True:
            if self.ticket.cause == "shutdown":
                return
            over = over or self.ticket.stopping or self._overdue() or self.trouble is not None
            if not over and not self._enough():
                self._launch()
            if not self.running:
                if over or self.trouble is not None or self._enough():
                    break
                continue
            if over or self._enough(running=False):
                self._stop_children()
            self._wait()
        self._finish()

    def _overdue(self) -> bool:
        return self.ctx.clock() - self.found.created >= self.limit

    def _enough(self, *, running: bool = True) -> bool:
        """Whether no further training job is needed; with `running=False` whether even those at work are not."""
        if running and self.waiting is None and (self.launched >= self.total or self._next_lane() is None):
            return True
        seen = [v for v in self.values if v is not None]
        if not seen:
            return len(self.values) >= BLIND_JOBS
        target = self.criteria.get("TargetObjectiveMetricValue")
        if target is not None and any(v == target or self.objective.better(v, target) for v in seen):
            return True
        patience = self.criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving")
        idle = not_improving(self.objective, seen)
        return (patience is not None and idle >= int(patience)) or (self._converges() and idle >= CONVERGED)

    def _converges(self) -> bool:
        return bool(self.criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled")

    def _launch(self) -> None:
        while len(self.running) < self.parallel:
            trial = self.waiting or self._ask()
            if trial is None:
                return
            try:
                self._start(trial)
                self.waiting = None
            except ResourceLimitExceeded as error:
                self.waiting = trial
                if not self.running:
                    self.trouble = f"ClientError: {error.message}"
                return

    def _ask(self) -> _Trial | None:
        """The next trial; None when there is no further one, or not before another has ended."""
        lane = self._next_lane() if self.launched < self.total else None
        if lane is None or not lane.search.ready():
            return None
        self.launched += 1
        trial = _Trial(self.launched, lane, lane.asked, lane.search.ask())
        lane.asked += 1
        return trial

    def _start(self, trial: _Trial) -> None:
        lane = trial.lane
        name = child_name(self.found, trial.number)
        request = lane.definition.child_request(name, trial.tuned)
        request["Tags"] = [{"Key": k, "Value": v} for k, v in self.ctx.store.tags(self.found.arn).items()]
        if lane.stopper is not None:
            objective_feed.watch(self.ctx, name, partial(self._printed, name, lane.definition.objective.metric))
        try:
            training_request.create(
                self.ctx, request, TuningJobArn=self.found.arn, TunedHyperParameters=dict(trial.tuned),
                TuningDefinition=self.lanes.index(lane),
            )  # fmt: skip
        except ResourceLimitExceeded:
            objective_feed.unwatch(self.ctx, name)
            raise
        if lane.stopper is not None:
            lane.stopper.begin(trial.index)
        self.ctx.store.update(KIND, self.found.name, LaunchedTrainingJobs=trial.number)
        ticket = self.ctx.jobs.find(training.KIND, name)
        if ticket is None:  # it has ended already
            self.running[name] = trial
            self.events.put(_Event(name))
        else:
            self._follow(name, trial, ticket)

    def _printed(self, name: str, objective: str, metric: str, value: float) -> None:
        if metric == objective:
            self.events.put(_Event(name, value))

    def _stop_children(self) -> None:
        for name in self.running:
            training.stop(self.ctx, name)

    def _wait(self) -> None:
        left = self.limit - (self.ctx.clock() - self.found.created)
        try:
            event = self.events.get(timeout=None if left == float("inf") or left <= 0 else left)
        except queue.Empty:
            return
        if event is None or event.name not in self.running:
            return
        if event.value is None:
            self._ended(event.name)
        else:
            self._judge(event.name, event.value)

    def _judge(self, name: str, value: float) -> None:
        """A running training job has printed its objective: is it worth going on?"""
        trial = self.running[name]
        if trial.given_up or trial.lane.stopper is None:
            return
        trial.values.append(value)
        if trial.lane.stopper.report(trial.index, trial.values):
            trial.given_up = True
            training.stop(self.ctx, name)

    def _ended(self, name: str) -> None:
        trial = self.running.pop(name)
        objective_feed.unwatch(self.ctx, name)
        child = self.ctx.store.get(training.KIND, name)
        self._learn(trial, child)
        if child is None or trial.lane.stopper is None or not trial.values:
            return
        if child.status == "Completed":
            trial.lane.stopper.complete(trial.index, trial.values)
        try:
            self.ctx.store.update(training.KIND, name, ObjectiveHistory=trial.values)
        except KeyError:
            log.info("training job %s was deleted as soon as it had ended", name)

    def _finish(self) -> None:
        found = self.ctx.store.get(KIND, self.found.name)
        assert found is not None
        now, seen = self.ctx.clock(), [v for v in self.values if v is not None]
        event, reason = "finish", None
        if found.status == "Stopping":
            event = "stopped"
        elif self.trouble is not None:
            event, reason = "fail", self.trouble[:REASON_LENGTH]
        elif not seen:
            done = [c for c in numbered(self.ctx, found) if c is not None and c.status == "Completed"]
            event, reason = "fail", NO_OBJECTIVE.format(len(self.values)) if done else ALL_FAILED
        converged = self._converges() and not_improving(self.objective, seen) >= CONVERGED
        self.ctx.store.transition(
            KIND, self.found.name, TRANSITIONS, event, FailureReason=reason, HyperParameterTuningEndTime=now,
            ConsumedResources={"RuntimeInSeconds": int(now - self.found.created)},
            ConvergenceDetectedTime=now if converged else None,
        )  # fmt: skip
