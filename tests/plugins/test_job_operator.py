"""One task owns one job: counted in the endpoint's own list of jobs, not in Airflow."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import TaskSuccessEvent

from localaws_tests.conftest import IMAGE_URI, ROLE, wait_for
from sagewind import taskstate
from sagewind.errors import JobFailed, TaskRefused
from sagewind.operators.job import JobOperator
from sagewind.pipeline.names import run_hash
from sagewind.triggers import job as job_trigger


class Gate:
    """Programs that begin with `knock` go on when it is open: a job must not end before its task waits for it."""

    def __init__(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.knock = f"import socket; socket.create_connection(('127.0.0.1', {listener.getsockname()[1]})).recv(1)"
        self._open = threading.Event()
        self._open.set()
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            caller = listener.accept()[0]
            threading.Thread(target=self._let_in, args=(caller,), daemon=True).start()

    def _let_in(self, caller: socket.socket) -> None:
        with caller:
            self._open.wait()

    @contextmanager
    def closed(self) -> Iterator[None]:
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()


GATE = Gate()
QUICK = f"{GATE.knock}; print('hello')"
FAILING = f"{GATE.knock}; import sys; print('about to fail'); sys.exit(3)"
ENDLESS = "import signal; signal.pause()"


def operator(program: str = QUICK, **options: Any) -> JobOperator:
    request = {
        "AppSpecification": {"ImageUri": IMAGE_URI, "ContainerEntrypoint": ["python3", "-c", program]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    arguments = {"model": "m", "connection": "c", "plan_task": None, "kind": "processing", "step": "s", **options}
    return JobOperator(task_id="task", request=request, **arguments)


def start(task, **options: Any) -> Any:
    """Run execute() up to the deferral; returns the trigger."""
    with GATE.closed(), pytest.raises(TaskDeferred) as deferred:
        operator(**options).execute(task.context)
    return deferred.value.trigger


def event_of(trigger: Any) -> Any:
    async def first() -> Any:
        return await anext(aiter(trigger.run()))

    return asyncio.run(first())


def jobs_of(sagemaker, task) -> list[str]:
    found = sagemaker.list_processing_jobs(NameContains=run_hash("dag", task.ti.run_id), SortBy="CreationTime")
    return [item["ProcessingJobName"] for item in found["ProcessingJobSummaries"]]


def test_success_ends_the_task_in_the_triggerer_with_its_record(task) -> None:
    event = event_of(start(task))
    assert isinstance(event, TaskSuccessEvent)
    record = event.xcoms["return_value"]
    assert record["status"] == "Completed"
    assert record["generation"] == 1
    assert record["seconds"] >= 0


def test_a_retry_attaches_and_no_second_job_is_paid(sagemaker, task) -> None:
    first = start(task, program=ENDLESS)
    task.retry()
    second = start(task, program=ENDLESS)
    assert first.name == second.name
    assert jobs_of(sagemaker, task) == [first.name]
    sagemaker.stop_processing_job(ProcessingJobName=first.name)


def test_a_retry_after_a_crash_before_the_state_was_stored_attaches_too(sagemaker, task) -> None:
    first = start(task, program=ENDLESS)
    task.store.clear()
    assert start(task, program=ENDLESS).name == first.name
    assert jobs_of(sagemaker, task) == [first.name]
    sagemaker.stop_processing_job(ProcessingJobName=first.name)


def test_clearing_a_finished_task_starts_the_next_generation(sagemaker, task) -> None:
    first = event_of(start(task)).xcoms["return_value"]
    task.clear()
    second = event_of(start(task)).xcoms["return_value"]
    assert (first["generation"], second["generation"]) == (1, 2)
    assert len(jobs_of(sagemaker, task)) == 2
    task.retry()
    assert operator().execute(task.context)["name"] == second["name"]


def test_a_job_of_another_request_is_not_taken_for_ours(task, sagemaker) -> None:
    trigger = start(task, program=ENDLESS)
    task.retry()
    with pytest.raises(TaskRefused, match="was started from another request"):
        operator(program=QUICK).execute(task.context)
    sagemaker.stop_processing_job(ProcessingJobName=trigger.name)


def test_the_limit_stops_the_job_and_fails_the_task(task, sagemaker) -> None:
    trigger = start(task, program=ENDLESS)
    trigger.limit_at = 0.0
    event = event_of(trigger)
    assert event.payload["status"] == "TimedOut"
    wait_for(sagemaker, "processing_job_completed_or_stopped", ProcessingJobName=trigger.name)
    with pytest.raises(JobFailed, match="passed its time limit and was stopped: raise max_minutes"):
        operator().resume(task.context, event.payload)


@pytest.mark.parametrize(
    ("state", "stopped"), [("failed", True), ("success", True), ("deferred", False), (None, False)]
)
def test_a_kill_stops_the_job_only_if_the_task_is_really_over(
    task, sagemaker, monkeypatch: pytest.MonkeyPatch, state: str | None, stopped: bool
) -> None:
    trigger = start(task, program=ENDLESS)
    monkeypatch.setattr(taskstate, "task_state", lambda owner: state)
    asyncio.run(trigger.on_kill())
    status = sagemaker.describe_processing_job(ProcessingJobName=trigger.name)["ProcessingJobStatus"]
    assert (status in ("Stopping", "Stopped")) is stopped
    if not stopped:
        sagemaker.stop_processing_job(ProcessingJobName=trigger.name)


def test_starting_only_returns_the_record_of_a_running_job(task, sagemaker) -> None:
    record = operator(program=ENDLESS, wait=False).execute(task.context)
    assert record["status"] == "InProgress"
    sagemaker.stop_processing_job(ProcessingJobName=record["name"])


def test_triggers_survive_their_serialization(task, sagemaker) -> None:
    trigger = start(task, program=QUICK)
    path, arguments = trigger.serialize()
    assert path == "sagewind.triggers.job.JobTrigger"
    again = job_trigger.JobTrigger(**arguments)
    assert again.serialize() == trigger.serialize()
    assert isinstance(event_of(again), TaskSuccessEvent)


def test_a_run_that_version_0_1_planned_starts_no_new_job(task, sagemaker) -> None:
    task.xcoms["ingest"] = {"prefix": "s3://lake/run"}
    with pytest.raises(TaskRefused, match="planned by sagewind 0.1, .*: clear it from the task ingest on"):
        operator(plan_task="ingest").execute(task.context)
    assert jobs_of(sagemaker, task) == []


def test_a_running_job_of_a_run_that_version_0_1_planned_is_attached_to(task, sagemaker) -> None:
    """Its request did not change, so that its task goes on waiting for it after an upgrade."""
    trigger = start(task)
    task.xcoms["ingest"] = {"prefix": "s3://lake/run"}
    task.retry()
    with GATE.closed(), pytest.raises(TaskDeferred) as deferred:
        operator(plan_task="ingest").execute(task.context)
    assert deferred.value.trigger.name == trigger.name
    assert len(jobs_of(sagemaker, task)) == 1
