"""What the API server says about a task instance, and what a job says about who holds it."""

from __future__ import annotations

from typing import Any

from sagewind import job_records, tags
from sagewind.aws import AwsClients, look
from sagewind.facts.kinds import JobApi
from sagewind.facts.tags import DAG, RUN, TASK, TRY

#: States of a task instance after which its job has no owner any more.
OVER = ("success", "failed", "skipped", "upstream_failed", "removed")


def task_state(owner: dict[str, Any]) -> str | None:
    """State of the task instance in the eyes of the API server; None if it waits to be scheduled again."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=owner["dag_id"],
        run_ids=[owner["run_id"]],
        task_ids=[owner["task_id"]],
        map_index=owner["map_index"] if owner["map_index"] >= 0 else None,
    )
    of_run = states.get(owner["run_id"], {})
    key = owner["task_id"] if owner["map_index"] < 0 else f"{owner['task_id']}_{owner['map_index']}"
    found = of_run.get(key)
    return None if found is None else str(getattr(found, "value", found))


def run_state(dag_id: str, run_id: str) -> str:
    """State of a DAG run in the eyes of the API server; AirflowRuntimeError if it knows none."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return str(RuntimeTaskInstance.get_dagrun_state(dag_id=dag_id, run_id=run_id))


def owner_of(marks: dict[str, str]) -> dict[str, Any]:
    """The task instance that a job's tags name."""
    task, _, index = marks[TASK].partition("/")
    return {
        "dag_id": marks[DAG],
        "run_id": marks[RUN],
        "task_id": task,
        "map_index": int(index) if index else -1,
        "try_number": int(marks.get(TRY, "1")),
    }


def newer_try(aws: AwsClients, kind: JobApi, name: str, owner: dict[str, Any]) -> bool:
    """True if a try after this one has attached to the job: each try writes its number on the job that it holds."""
    found = look(aws, kind, name)
    if found is None:
        return False
    held = tags.read(aws, found[kind.arn_field]).get(TRY, "0")
    return held.isdigit() and int(held) > int(owner["try_number"])


def stop_if_over(aws: AwsClients, kind: JobApi, name: str, owner: dict[str, Any]) -> str:
    """Stop the job of a task that is really over and that no newer try holds; returns what was done, as a sentence.

    To be called in a thread: Airflow cancels a trigger's `on_kill` after 30 seconds (`[triggerer]
    on_kill_timeout`), and a thread goes on where a chain of awaits would end between the question and the stop.
    """
    what, state = f"{kind.name} job {name}", task_state(owner)
    if state not in OVER:
        return f"{what} goes on: its task is {state or 'not over'}"
    if newer_try(aws, kind, name, owner):
        return f"{what} goes on: a newer try holds it"
    if job_records.stop(aws, kind, name, f"task {state}"):
        return f"{what} is being stopped: its task was ended as {state}"
    found = look(aws, kind, name)
    return f"there is no {what}" if found is None else f"{what} is {found[kind.status_field]} already"


def stop_and_tell(log: Any, aws: AwsClients, kind: JobApi, name: str, owner: dict[str, Any]) -> None:
    """`stop_if_over`, with what was done in the task's log; so is a refusal, which is raised too."""
    try:
        log.info(stop_if_over(aws, kind, name, owner))
    except Exception as error:
        what = f"{kind.name} job {name}"
        log.error("%s could not be stopped and may go on billing, stop it in AWS if it does: %s", what, error)
        raise
