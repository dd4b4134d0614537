"""How a training job runs: it waits for instances, makes attempts, and ends; `training_attempt` is one attempt."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.engine.scheduler import Ticket
from localaws.jobs import execution, objective_feed, warmpool
from localaws.jobs.cluster import Cluster
from localaws.jobs.outcome import AttemptOutcome, Cause, ProgramEnd, decide
from localaws.jobs.program import ProgramTimer
from localaws.jobs.spot import TimeBudget
from localaws.jobs.training_attempt import INTERRUPTED, Attempt
from localaws.jobs.training_steps import (
    KIND,
    begin_stop,
    finish,
    next_step,
)
from localaws.kinds import TRAINING_JOB
from localaws.log_metrics import MetricReader, definitions
from localaws.states import JOB_TRANSITIONS
from localaws.store import StoredResource

METRIC_NAMESPACE = TRAINING_JOB.log_group  # AWS gives it the same name
RETRIED = "InternalServerError"  # what RetryStrategy is for

TRANSITIONS = JOB_TRANSITIONS
__all__ = ["KIND", "TRANSITIONS", "stop", "submit"]  # what tuning jobs, which start training jobs, need of them


def stop(ctx: Context, name: str) -> bool:
    """Begin to stop a job; False when its status forbids it."""
    if not begin_stop(ctx, name):
        return False
    ctx.jobs.stop(KIND, name)
    return True


def submit(ctx: Context, name: str) -> Ticket:
    """Put a stored job into the schedule."""
    return execution.submit(ctx, KIND, name, run, lambda body: Cluster.of(body["ResourceConfig"]).demand, _end)


def run(ctx: Context, ticket: Ticket) -> None:
    """Do the whole work of a job and write its end."""
    try:
        training = TrainingRun(ctx, ticket, execution.stored(ctx, KIND, ticket.name))
        outcome = training.run()
        if ticket.cause == "shutdown" and _goes_on(ctx, ticket.name, outcome):
            return
        metrics = training.reader.final() if training.reader else None
    finally:
        execution.remove_root(ctx, KIND, ticket.name)  # first, as it frees the disk that the end is written to
    _end(ctx, ticket, outcome, training.held, FinalMetricDataList=metrics or None)


def _end(ctx: Context, ticket: Ticket, outcome: AttemptOutcome, held: float | None = None, **changes: Any) -> None:
    with ctx.store.exclusive():  # who sees the job's end sees what became of its pool
        finish(ctx, ticket.name, outcome, held, **changes)
        warmpool.release(ctx, ticket.name, outcome)


def _body(ctx: Context, name: str) -> dict[str, Any]:
    """The job's document as it is now."""
    return execution.stored(ctx, KIND, name).body


def _goes_on(ctx: Context, name: str, outcome: AttemptOutcome) -> bool:
    """Whether the endpoint's next start goes on with a job that its end has cut off."""
    body = _body(ctx, name)
    if body["SecondaryStatus"] == "Starting":
        return True
    if outcome.event == "fail" and retries_left(body):
        begin_again(ctx, name)
        return True
    return False


def retries_left(body: dict[str, Any]) -> bool:
    """Whether RetryStrategy allows one more attempt."""
    return int(body.get("Retries", 0)) < int(body.get("RetryStrategy", {}).get("MaximumRetryAttempts", 0))


def begin_again(ctx: Context, name: str) -> None:
    """One more attempt after an internal error: Restarting, then Starting."""
    with ctx.store.exclusive():
        next_step(ctx, name, "Restarting", Retries=int(_body(ctx, name).get("Retries", 0)) + 1)
        next_step(ctx, name)


class TrainingRun:
    """One job over all its attempts."""

    def __init__(self, ctx: Context, ticket: Ticket, found: StoredResource) -> None:
        self.ctx, self.ticket, self.found = ctx, ticket, found
        self.name, self.request = found.name, found.body
        self.spot = bool(found.body.get("EnableManagedSpotTraining"))
        self.faults = ctx.faults.of(ctx.store.tags(found.arn))
        self.budget = TimeBudget.of(found.body, waited=max(0.0, ctx.clock() - found.created))
        self.reader: MetricReader | None = None
        self.first = True

    @property
    def held(self) -> float | None:
        """Seconds that are billed when they are not the whole time of the job."""
        return self.budget.held if self.spot else None

    def run(self) -> AttemptOutcome:
        """All attempts; the outcome of the last one."""
        while True:
            outcome = execution.conclude(self.ctx, self.ticket, self._attempt)
            self.first = False
            if outcome is INTERRUPTED:
                next_step(self.ctx, self.name, "Interrupted")
            elif self._retried(outcome):
                begin_again(self.ctx, self.name)
                continue
            else:
                return outcome
            next_step(self.ctx, self.name)

    def _retried(self, outcome: AttemptOutcome) -> bool:
        if outcome.event != "fail" or self.ticket.stopping or not (outcome.reason or "").startswith(RETRIED):
            return False
        return retries_left(_body(self.ctx, self.name))

    def _attempt(self) -> AttemptOutcome:
        if self.reader is None:
            self.reader = self._make_reader()
        ended = self._wait_for_instances()
        if ended is not None:
            return decide(ended)
        self.budget.hold()
        try:
            start = _body(self.ctx, self.name).get("TrainingStartTime") or self.ctx.clock()
            next_step(self.ctx, self.name, TrainingStartTime=start)
            return Attempt(
                self.ctx,
                self.ticket,
                self.request,
                self.found.arn,
                reader=self.reader,
                faults=self.faults,
                budget=self.budget,
                timers=self._fault_timers(),
            ).run()
        finally:
            self.budget.release()

    def _wait_for_instances(self) -> ProgramEnd | None:
        """The time in Starting; how the job has ended when there are none. Raises JobError (CapacityError)."""
        reused = self.first and warmpool.claim(self.ctx, self.found)
        delay = (0.0 if reused else self.ctx.profile.job_start) + (self.faults.slow_start if self.first else 0.0)
        if self.faults.capacity and self.spot:
            delay = float("inf")  # until MaxWaitTimeInSeconds is over
        left = self.budget.wait_left
        asked = self.faults.stop_after if self.faults.capacity else None
        if asked is not None and asked < min(delay, left) and not self.ticket.wait_stop(asked):
            stop(self.ctx, self.name)
        if delay >= left:
            return ProgramEnd(0, self.ticket.cause or "stop") if self.ticket.wait_stop(left) else ProgramEnd(0, "wait")
        return execution.await_start(self.ticket, delay, self.faults)

    def _fault_timers(self) -> list[ProgramTimer]:
        """What happens once in a job's life, in its first attempt."""

        def stop_it() -> Cause | None:
            stop(self.ctx, self.name)
            return None

        timers = []
        if self.first and self.faults.stop_after is not None:
            timers.append(ProgramTimer(self.faults.stop_after, stop_it))
        if self.first and self.spot and self.faults.interrupt_after is not None:
            timers.append(ProgramTimer(self.faults.interrupt_after, lambda: "interrupted"))
        return timers

    def _make_reader(self) -> MetricReader:
        algorithm = self.request["AlgorithmSpecification"]
        image = self.ctx.images.resolve(algorithm["TrainingImage"])

        def sink(name: str, value: float, moment: float) -> None:
            objective_feed.publish(self.ctx, self.name, name, value)  # a tuning job may be waiting for it
            dimensions = {TRAINING_JOB.name_member: self.name}
            self.ctx.metrics.put(METRIC_NAMESPACE, name, value, dimensions, timestamp=moment)

        return MetricReader(definitions(algorithm.get("MetricDefinitions", ()), image.metrics), sink)
