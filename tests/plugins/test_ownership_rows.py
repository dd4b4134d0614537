"""Rows of the ownership table with real jobs, counted in the endpoint's own list and not in Airflow."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.bases.operator import BaseOperator, TriggerFailureReason
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowTaskTimeout, TaskDeferralTimeout, TaskDeferred
from botocore.exceptions import ClientError

from localaws_tests.conftest import wait_for
from sagewind import job_records, taskstate
from sagewind.errors import JobFailed, JobLost, NoCapacity, ResourceBusy, TaskRefused
from sagewind.facts.kinds import KINDS
from sagewind.operators import job as job_operator
from sagewind.operators.base import pulled
from sagewind.sensors.job import JobSensor
from tests.plugins.test_job_operator import ENDLESS, FAILING, QUICK, event_of, jobs_of, operator, start

KIND = KINDS["processing"]


def status(sagemaker: Any, name: str) -> str:
    return str(sagemaker.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"])


def ended(sagemaker: Any, name: str) -> None:
    wait_for(sagemaker, "processing_job_completed_or_stopped", ProcessingJobName=name)


def faulty(words: str, **options: Any) -> Any:
    """An operator whose job has a fault of the local endpoint."""
    made = operator(**options)
    made.request["Tags"] = [{"Key": "localaws:fault", "Value": words}]
    return made


def lose(task: Any, made: Any) -> BaseException:
    """Run to the end of the job and back on the worker; returns the error."""
    # A job that ends at once is judged by the worker that started it.
    with pytest.raises((TaskDeferred, JobFailed, JobLost)) as first:
        made.execute(task.context)
    if not isinstance(first.value, TaskDeferred):
        return first.value
    event = event_of(first.value.trigger)
    with pytest.raises((JobFailed, JobLost)) as caught:
        made.resume(task.context, event.payload)
    return caught.value


def test_o5_a_crash_before_a_bad_end_was_judged_pays_for_no_second_job(sagemaker, task) -> None:
    trigger = start(task, program=FAILING)
    event_of(trigger)
    task.retry()
    with pytest.raises(JobFailed, match="failed: "):
        operator(program=FAILING).execute(task.context)
    assert jobs_of(sagemaker, task) == [trigger.name]


def test_o8_a_completed_job_that_was_never_handed_over_is_not_paid_for_again(sagemaker, task) -> None:
    trigger = start(task)
    ended(sagemaker, trigger.name)
    task.clear()
    assert operator().execute(task.context)["name"] == trigger.name
    assert jobs_of(sagemaker, task) == [trigger.name]


def test_o9_clearing_after_a_failed_job_starts_the_next_generation(sagemaker, task) -> None:
    lose(task, operator(program=FAILING))
    task.clear()
    assert start(task, program=FAILING).generation == 2


def test_o10_a_kill_on_the_worker_stops_the_job_once_and_says_why(sagemaker, task, monkeypatch) -> None:
    made = operator(program=ENDLESS, wait=False)
    record = made.execute(task.context)
    for state in ("running", None, "restarting"):
        monkeypatch.setattr(taskstate, "task_state", lambda owner, state=state: state)
        made.on_kill()
        assert status(sagemaker, record["name"]) == "InProgress"
    monkeypatch.setattr(taskstate, "task_state", lambda owner: "failed")
    made.on_kill()
    ended(sagemaker, record["name"])
    marks = sagemaker.list_tags(ResourceArn=record["arn"])["Tags"]
    assert {"Key": "sagewind:stop", "Value": "task failed"} in marks


def test_o11_a_kill_of_an_older_try_leaves_the_job_to_the_newer(sagemaker, task, monkeypatch) -> None:
    old = start(task, program=ENDLESS)
    task.retry()
    new = start(task, program=ENDLESS)
    monkeypatch.setattr(taskstate, "task_state", lambda owner: "failed")
    asyncio.run(old.on_kill())
    assert status(sagemaker, old.name) == "InProgress"
    asyncio.run(new.on_kill())
    ended(sagemaker, old.name)


@pytest.mark.parametrize(("try_number", "stopped"), [(1, False), (61, True)])
def test_o12_o13_an_execution_timeout_stops_the_job_on_the_last_try_only(
    sagemaker, task, monkeypatch, try_number: int, stopped: bool
) -> None:
    task.ti.max_tries, task.ti.try_number = 60, try_number
    made = operator(program=ENDLESS)

    def while_it_waits(*_: Any) -> None:
        raise AirflowTaskTimeout

    with monkeypatch.context() as patch:
        patch.setattr(made, "_wait_in_triggerer", while_it_waits)
        with pytest.raises(AirflowTaskTimeout):
            made.execute(task.context)
    (name,) = jobs_of(sagemaker, task)
    assert (status(sagemaker, name) in ("Stopping", "Stopped")) is stopped


@pytest.mark.parametrize("program", [ENDLESS, QUICK], ids=["endless", "quick"])
def test_o14_without_a_triggerer_a_worker_stops_the_job_at_its_limit(sagemaker, task, monkeypatch, program) -> None:
    trigger = start(task, program=program)
    made = operator(program=program)

    def give_up(*_: Any) -> None:
        raise TaskDeferralTimeout("Trigger timeout")

    monkeypatch.setattr(BaseOperator, "resume_execution", give_up)
    if program == QUICK:  # it had ended before anybody looked: that is a success
        ended(sagemaker, trigger.name)
        assert made.resume_execution("__fail__", {}, task.context)["status"] == "Completed"
        return
    with pytest.raises(JobFailed, match="passed its time limit and was stopped: raise max_minutes"):
        made.resume_execution("__fail__", {}, task.context)
    ended(sagemaker, trigger.name)


#: What Airflow hands over of a trigger that raised.
BROKEN = {"error": "Trigger failure", "traceback": ["Traceback:\n", "  File ...\n", "ValueError: no region\n"]}


def test_a_watch_that_broke_off_says_why(task) -> None:
    watch = JobSensor(task_id="watch", connection="c", kind="processing", job_name="n")
    with pytest.raises(TaskRefused, match=r"the watch broke off \(ValueError: no region\): clear this task"):
        watch.resume_execution("__fail__", BROKEN, task.context)


def test_a_watch_that_broke_off_at_its_limit_stays_a_timeout(task) -> None:
    watch = JobSensor(task_id="watch", connection="c", kind="processing", job_name="n")
    with pytest.raises(AirflowSensorTimeout):
        watch.resume_execution("__fail__", {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, task.context)


def test_the_record_of_a_task_that_was_marked_successful_is_missed_with_a_sentence(task) -> None:
    with pytest.raises(
        TaskRefused, match="task train left no record, as it did not run or was marked successful by hand"
    ):
        pulled(task.context, "train")


def test_a_wait_that_broke_off_is_tried_again_and_attaches(sagemaker, task, monkeypatch) -> None:
    trigger = start(task, program=ENDLESS)
    with pytest.raises(ResourceBusy, match=r"broke off \(ValueError: no region\): the next try attaches"):
        operator(program=ENDLESS).resume_execution("__fail__", BROKEN, task.context)
    task.retry()
    assert start(task, program=ENDLESS).name == trigger.name
    sagemaker.stop_processing_job(ProcessingJobName=trigger.name)


def test_o16_a_job_without_capacity_is_followed_by_the_next_generation(sagemaker, task) -> None:
    made = faulty("capacity")
    error = lose(task, made)
    assert isinstance(error, NoCapacity)
    assert error.times == 1
    decision = made.retry_policy.evaluate(error, 1, 60, task.context)
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(minutes=1))
    task.retry()
    again = lose(task, made)
    assert isinstance(again, NoCapacity)
    assert (again.times, again.since) == (2, error.since)
    assert len(jobs_of(sagemaker, task)) == 2
    assert task.xcoms["job"]["cause"] == "capacity"
    task.clear()
    anew = lose(task, made)
    assert isinstance(anew, NoCapacity)
    assert anew.times == 1
    assert anew.since > error.since


def test_o16_create_refused_for_the_quota_keeps_the_generation(sagemaker, task, monkeypatch) -> None:
    from botocore.exceptions import ClientError

    from sagewind import aws

    client = aws._client("c", None, "sagemaker")
    refusal = ClientError({"Error": {"Code": "ResourceLimitExceeded", "Message": "quota"}}, "CreateProcessingJob")

    def refuse(**_: Any) -> None:
        raise refusal

    before = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(client, "create_processing_job", refuse)
        with pytest.raises(NoCapacity, match="could not be started") as caught:
            operator().execute(task.context)
    assert before <= caught.value.since <= time.time()
    task.retry()
    assert start(task).generation == 1


def test_o18_a_job_that_somebody_stopped_fails_at_once(sagemaker, task) -> None:
    trigger = start(task, program=ENDLESS)
    sagemaker.stop_processing_job(ProcessingJobName=trigger.name)
    event = event_of(trigger)
    with pytest.raises(JobFailed, match="was stopped by somebody"):
        operator(program=ENDLESS).resume(task.context, event.payload)
    assert task.xcoms["job"]["cause"] == "stopped by a person"


def test_o22_a_job_that_disappeared_is_started_anew_under_its_name(sagemaker, task) -> None:
    trigger = start(task, program=ENDLESS)
    task.store["sagewind_job"]["generation"] = 7  # a name that no job has
    made = operator(program=ENDLESS)
    with pytest.raises(JobLost, match="has disappeared"):
        made.resume(task.context, {"status": "Disappeared"})
    task.retry()
    assert start(task, program=ENDLESS).generation == 7
    for name in jobs_of(sagemaker, task):
        sagemaker.stop_processing_job(ProcessingJobName=name)
    assert trigger.name in jobs_of(sagemaker, task)


def test_o30_a_clear_while_our_stop_is_under_way_waits_for_its_end(sagemaker, task) -> None:
    slow = "import signal, time; signal.signal(signal.SIGTERM, lambda *a: (time.sleep(1), exit(0))); signal.pause()"
    trigger = start(task, program=slow)
    wait_until_running(sagemaker, trigger.name)
    assert job_records.stop(operator().aws, KIND, trigger.name, "task failed")
    task.clear()
    second = start(task, program=slow)
    assert (trigger.generation, second.generation) == (1, 2)
    assert status(sagemaker, trigger.name) in ("Stopped", "Completed")
    sagemaker.stop_processing_job(ProcessingJobName=second.name)


def wait_until_running(sagemaker: Any, name: str) -> None:
    deadline = time.monotonic() + 300
    while "ProcessingStartTime" not in sagemaker.describe_processing_job(ProcessingJobName=name):
        assert time.monotonic() < deadline, f"{name} does not start"
        time.sleep(0.05)


def test_a_run_of_the_same_id_as_a_deleted_one_does_not_take_its_result(sagemaker, task) -> None:
    first = event_of(start(task)).xcoms["return_value"]
    task.store.clear()  # Airflow deletes it with the run
    task.ti.try_number = 1
    assert start(task).name != first["name"]


def test_o10_a_kill_while_create_is_on_its_way_stops_the_job_that_then_appears(sagemaker, task, monkeypatch) -> None:
    made = operator(program=ENDLESS)
    create, looks = made.aws.client("sagemaker").create_processing_job, job_operator.look
    monkeypatch.setattr(taskstate, "task_state", lambda owner: "failed")

    def killed_meanwhile(**request: Any) -> Any:
        seen = []

        def look(*arguments: Any) -> Any:
            seen.append(found := looks(*arguments))
            if len(seen) == 1:
                create(**request)  # it arrives when it has been looked for in vain
            return found

        with monkeypatch.context() as patch:
            patch.setattr(job_operator, "look", look)
            made.on_kill()
        assert seen[0] is None
        raise AirflowTaskTimeout  # Airflow ends the process

    with monkeypatch.context() as patch:
        patch.setattr(made.aws.client("sagemaker"), "create_processing_job", killed_meanwhile)
        with pytest.raises(AirflowTaskTimeout):
            made.execute(task.context)
    (name,) = jobs_of(sagemaker, task)
    ended(sagemaker, name)
    assert status(sagemaker, name) == "Stopped"


@pytest.mark.parametrize("where", ["triggerer", "worker"])
def test_a_stop_that_is_refused_is_told_and_leaves_no_mark_on_the_job(
    sagemaker, endpoint, task, monkeypatch, capsys, where: str
) -> None:
    made = operator(program=ENDLESS)
    with pytest.raises(TaskDeferred) as deferred:
        made.execute(task.context)
    (name,) = jobs_of(sagemaker, task)
    monkeypatch.setattr(taskstate, "task_state", lambda owner: "failed")
    endpoint.ctx.faults.add({"operation": "StopProcessingJob", "error": "AccessDeniedException", "calls": 1})
    with pytest.raises(ClientError, match="AccessDenied"):
        asyncio.run(deferred.value.trigger.on_kill()) if where == "triggerer" else made.on_kill()
    assert (
        f"processing job {name} could not be stopped and may go on billing, stop it in AWS" in capsys.readouterr().out
    )
    sagemaker.stop_processing_job(ProcessingJobName=name)
    ended(sagemaker, name)
    with pytest.raises(JobFailed, match="was stopped by somebody"):
        operator(program=ENDLESS).resume(task.context, {})


def test_a_stop_whose_answer_was_lost_is_a_stop(sagemaker, endpoint, task) -> None:
    trigger = start(task, program=ENDLESS)
    wait_until_running(sagemaker, trigger.name)
    endpoint.ctx.faults.add({"operation": "StopProcessingJob", "error": "AccessDeniedException", "lost": True})
    assert job_records.stop(operator().aws, KIND, trigger.name, "teardown")
    ended(sagemaker, trigger.name)
    with pytest.raises(JobFailed, match=r"was stopped by Sagewind \(teardown\)"):
        operator(program=ENDLESS).resume(task.context, {})
