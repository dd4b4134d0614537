"""Every way in which a job can end, and everything of ours that waits for jobs.

ENDINGS is what is expected: the cause, how the task ends (which exception, tried again or not) and the words that its
log holds. WAYS plays one ending on a SageMaker that follows a script.
"""

from __future__ import annotations

import asyncio
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred
from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent

from sagewind import aws, errors, joblogs
from sagewind.budget import TokenBucket
from sagewind.endings import EndingCause
from sagewind.facts.kinds import KINDS
from sagewind.operators.job import JobOperator
from sagewind.retrying import MOST_RETRIES
from sagewind.sensors.job import JobSensor
from sagewind.triggers import job as job_trigger
from sagewind.triggers import poller
from tests.plugins.conftest import Task
from tests.plugins.requests import REQUESTS
from tests.plugins.scripted import LINES, Script, World

NEVER, AGAIN = "not tried again", "tried again"
ALL = tuple(KINDS)


@dataclass(frozen=True)
class Ending:
    """One row: how a job ends and what must come of it. `pause`: seconds until the next try."""

    name: str
    script: Script
    cause: EndingCause | None = None
    raises: type[Exception] | None = None
    retry: str = NEVER
    pause: float = 0.0
    says: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ALL
    sensor_says: tuple[str, ...] | None = None

    @property
    def good(self) -> bool:
        return self.raises is None


def failed(reason: str) -> Script:
    return Script("Failed", "Failed", {"FailureReason": reason})


SAID = tuple(f"] {line}" for line in LINES)
USER = "AlgorithmError: ExecuteUserScriptError: exit code 1"
CAPACITY = "CapacityError: Unable to provision requested ML compute capacity. Please retry"
ALL_FAILED = "All training jobs failed. Please take a look at the training jobs failures to get more details."
AWS_ERROR = "InternalServerError: We encountered an internal error. Please try again."
REFUSED = "its log could not be read: An error occurred (AccessDeniedException)"
STOPS = ("Starting", "Starting", "Training", "Stopping")
GOOD = (" is Completed",)
ENDINGS = (
    Ending("completed", Script(), says=(*GOOD, *SAID)),
    Ending(
        "failed by user code", failed(USER), EndingCause.USER_CODE, errors.JobFailed, says=(f"failed: {USER}", *SAID)
    ),
    Ending(
        "failed for capacity",
        failed(CAPACITY),
        EndingCause.CAPACITY,
        errors.NoCapacity,
        AGAIN,
        60,
        says=(f"failed outside its code: {CAPACITY}", *SAID),
    ),
    Ending(
        "failed for capacity, all its trainings",
        Script("Failed", fields={"FailureReason": ALL_FAILED}, trainings=(CAPACITY, CAPACITY)),
        EndingCause.CAPACITY,
        errors.NoCapacity,
        AGAIN,
        60,
        says=(f"failed outside its code: {CAPACITY} ({ALL_FAILED})", *SAID),
        kinds=("tuning",),
    ),
    Ending(
        "failed by user code, one of its trainings",
        Script("Failed", fields={"FailureReason": ALL_FAILED}, trainings=(CAPACITY, USER)),
        EndingCause.USER_CODE,
        errors.JobFailed,
        says=(f"failed: {USER} ({ALL_FAILED})", *SAID),
        kinds=("tuning",),
    ),
    Ending(
        "failed by AWS",
        failed(AWS_ERROR),
        EndingCause.INFRASTRUCTURE,
        errors.JobLost,
        AGAIN,
        10,
        says=(f"failed outside its code: {AWS_ERROR}", *SAID),
    ),
    Ending(
        "stopped by a person",
        Script("Stopped", alive=STOPS),
        EndingCause.PERSON,
        errors.JobFailed,
        says=("was stopped by somebody", *SAID),
    ),
    Ending(
        "stopped at its time limit",
        Script("Stopped", "MaxRuntimeExceeded", alive=STOPS, ran=600),
        EndingCause.TIME_LIMIT,
        errors.JobFailed,
        says=("was stopped at its time limit", "raise max_minutes", *SAID),
        kinds=("processing", "training", "tuning"),
    ),
    Ending(
        "stopped at the spot limit",
        Script("Stopped", "MaxWaitTimeExceeded", alive=STOPS),
        EndingCause.SPOT_LIMIT,
        errors.JobFailed,
        says=("got no spot instance for long enough", "checkpoints are in s3://bucket/checkpoints", *SAID),
        kinds=("training",),
    ),
    Ending(
        "stopped while capacity was pending",
        Script("Stopped", alive=("Starting", "Starting", "Pending", "Pending", "Pending", "Stopping")),
        EndingCause.PENDING_LIMIT,
        errors.NoCapacity,
        AGAIN,
        60,
        says=("waited too long for capacity", *SAID),
        kinds=("training",),
    ),
    Ending(
        "stopped by us",
        Script("Stopped", alive=STOPS, stop_tag="task failed"),
        EndingCause.US,
        errors.JobFailed,
        says=("was stopped by Sagewind (task failed)", *SAID),
    ),
    Ending(
        "disappears",
        Script(deleted=True),
        EndingCause.DISAPPEARED,
        errors.JobLost,
        AGAIN,
        10,
        says=("has disappeared: somebody deleted it",),
        sensor_says=("does not exist",),
    ),
    Ending(
        "throttled, then completed",
        Script(faults=(("ThrottlingException", 400),) * 3),
        says=("AWS did not answer", "ThrottlingException", *GOOD),
    ),
    Ending(
        "5xx, then completed",
        Script(faults=(("InternalFailure", 500), ("ServiceUnavailable", 503))),
        says=("AWS did not answer", "InternalFailure", *GOOD),
    ),
    Ending(
        "completed, its log refused",
        Script(log_fault=("AccessDeniedException", 400)),
        says=(*GOOD, REFUSED),
        sensor_says=GOOD,
    ),
    Ending(
        "failed by user code, its log refused",
        Script("Failed", "Failed", {"FailureReason": USER}, log_fault=("AccessDeniedException", 400)),
        EndingCause.USER_CODE,
        errors.JobFailed,
        says=(f"failed: {USER}", REFUSED),
        sensor_says=(f"failed: {USER}",),
    ),
    Ending("slow", Script(alive=("Starting",) * 20 + ("Training",) * 60), says=GOOD),
    Ending(
        "lists out of order",
        # The list shows the end before Describe does, then older pictures, and tells the end only that once.
        Script(alive=("Starting",) * 4 + ("Training",) * 8, pictures=(0, 0, 2, 99, 1, 0, 5, 99)),
        says=GOOD,
    ),
)
CELLS = [(ending, kind) for ending in ENDINGS for kind in ending.kinds]


@dataclass
class Outcome:
    """How a task ended: its record, the error that a worker raised, and the XComs of a failed one."""

    record: dict[str, Any] | None = None
    raised: BaseException | None = None
    failed: bool = False
    xcoms: dict[str, Any] = field(default_factory=dict)


@dataclass
class Stage:
    """What one cell plays on."""

    world: World
    kind: str
    task: Task

    def operator(self) -> JobOperator:
        return JobOperator(
            task_id="task",
            model="m",
            connection="c",
            plan_task=None,
            kind=self.kind,  # type: ignore[arg-type]
            step="s",
            request=REQUESTS[self.kind],
        )

    def sensor(self, **options: Any) -> JobSensor:
        name = f"of-somebody-{self.kind}"
        self.world.start(self.kind, REQUESTS[self.kind], name)
        return JobSensor(task_id="wait", connection="c", kind=self.kind, job_name=name, **options)


def run_trigger(trigger: Any) -> Any:
    """The trigger's event, after it went through the database as Airflow sends it."""
    path, arguments = trigger.serialize()
    again = pkgutil.resolve_name(path)(**arguments)

    async def first() -> Any:
        return await anext(aiter(again.run()))

    return asyncio.run(asyncio.wait_for(first(), 600))


def by_operator(stage: Stage) -> Outcome:
    """A worker starts the job, the triggerer waits, a worker comes back if the end is bad."""
    operator = stage.operator()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(stage.task.context)
    event = run_trigger(deferred.value.trigger)
    if isinstance(event, TaskSuccessEvent):
        return Outcome(record=event.xcoms["return_value"])
    try:
        getattr(operator, deferred.value.method_name)(stage.task.context, event=event.payload)
    except Exception as error:
        return Outcome(raised=error, failed=True, xcoms=stage.task.xcoms)
    raise AssertionError("a bad end came back as a good one")


def of_sensor(event: Any) -> Outcome:
    assert isinstance(event, TaskSuccessEvent | TaskFailedEvent)
    xcoms = event.xcoms or {}
    return Outcome(record=xcoms.get("return_value"), failed=isinstance(event, TaskFailedEvent), xcoms=xcoms)


def in_triggerer(stage: Stage) -> Outcome:
    """The scheduler starts the sensor's trigger by itself; no worker is used."""
    sensor = stage.sensor()
    assert sensor.start_from_trigger
    made = sensor.start_trigger_args
    return of_sensor(run_trigger(pkgutil.resolve_name(made.trigger_cls)(**made.trigger_kwargs)))


def by_mapped_sensor(stage: Stage) -> Outcome:
    """A mapped sensor comes to a worker first, which defers with the same trigger."""
    stage.task.ti.map_index = 2
    with pytest.raises(TaskDeferred) as deferred:
        stage.sensor().execute(stage.task.context)
    return of_sensor(run_trigger(deferred.value.trigger))


def by_mapped_operator(stage: Stage) -> Outcome:
    """Two mapped tasks of one run at once: each has a job of its own."""
    stage.task.ti.map_index = 0
    with pytest.raises(TaskDeferred):
        stage.operator().execute(stage.task.context)
    other = set(stage.world.jobs)
    stage.task.ti.map_index = 1
    stage.task.store.clear()
    outcome = by_operator(stage)
    assert outcome.record is None or outcome.record["name"] not in other
    return outcome


def on_worker(mode: str) -> Callable[[Stage], Outcome]:
    """Where there is no triggerer a worker looks again and again, and is free in between in reschedule mode."""

    def play(stage: Stage) -> Outcome:
        sensor = stage.sensor(mode=mode, poke_interval=0.0)
        while True:
            try:
                return Outcome(record=sensor.execute(stage.task.context))
            except AirflowRescheduleException:
                assert mode == "reschedule"
            except Exception as error:
                return Outcome(raised=error, failed=True, xcoms=stage.task.xcoms)

    return play


WAYS: dict[str, Callable[[Stage], Outcome]] = {
    "operator": by_operator,
    "mapped operator": by_mapped_operator,
    "sensor": in_triggerer,
    "mapped sensor": by_mapped_sensor,
    "no triggerer, reschedule": on_worker("reschedule"),
    "no triggerer, poke": on_worker("poke"),
}
OPERATORS = ("operator", "mapped operator")


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Pauses are as short as may be set; pollers of another event loop are forgotten."""
    for name in ("POLL_FIRST", "POLL_LONGEST", "POLL_AHEAD", "FAULT_FIRST", "FAULT_LONGEST"):
        patch.setenv(f"AIRFLOW__SAGEWIND__{name}_SECONDS", "0.001")
    patch.setattr(poller, "_POLLERS", {})
    plenty = TokenBucket(rate=1e6, burst=1_000_000)
    patch.setattr(joblogs, "LOGS", plenty)
    patch.setattr(job_trigger, "PROGRESS", plenty)


def set_stage(ending: Ending, kind: str, way: str, patch: pytest.MonkeyPatch) -> Stage:
    """A world with that ending, to which every connection leads, and a task instance."""
    world = World(ending.script)
    patch.setattr(aws, "_client", lambda connection, region, service: world.client(service))
    patch.setenv("AIRFLOW__SAGEWIND__TRIGGERER", str(not way.startswith("no triggerer")))
    if ending.script.deleted:  # which only the reconciliation finds
        patch.setenv("AIRFLOW__SAGEWIND__POLL_RECONCILE_SECONDS", "0")
    task = Task("run")
    task.ti.max_tries = MOST_RETRIES
    task.ti.get_first_reschedule_date = lambda context: None
    return Stage(world, kind, task)
