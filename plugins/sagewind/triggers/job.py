"""Waits for a job: ends the task in the triggerer on success, hands a bad end to a worker, stops the job on a kill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from sagewind import jobs
from sagewind.kinds import KINDS, KindName
from sagewind.triggers.waiting import WaitingTrigger, pauses

#: States of a task instance after which its job has no owner any more.
OVER = ("success", "failed", "skipped", "upstream_failed", "removed")


class JobTrigger(WaitingTrigger):
    """The waiting half of a job operator: it owns the job, so a kill of the task stops the job."""

    def __init__(
        self,
        *,
        kind: KindName,
        name: str,
        generation: int,
        task: dict[str, Any],
        **waiting: Any,
    ) -> None:
        super().__init__(**waiting)
        self.kind = kind
        self.name = name
        self.generation = generation
        self.owner = task

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Path and arguments from which another triggerer makes the same trigger."""
        return (
            "sagewind.triggers.job.JobTrigger",
            {
                "kind": self.kind,
                "name": self.name,
                "generation": self.generation,
                **self.waiting_arguments(),
                "task": self.owner,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the job until it has ended; one event."""
        kind, said = KINDS[self.kind], ""
        async for _ in pauses():
            found = await self.call(jobs.look, self.aws, kind, self.name)
            if found is None:
                yield TriggerEvent({"status": "Disappeared", "name": self.name, "generation": self.generation})
                return
            line = jobs.progress(kind, found)
            if line != said:
                self.log.info("%s job %s: %s", self.kind, self.name, line)
                said = line
            if jobs.ended(kind, found):
                record = await self.call(jobs.record, self.aws, kind, found, self.generation)
                if record["status"] == "Completed":
                    yield TaskSuccessEvent(xcoms={"return_value": record})
                else:
                    yield TriggerEvent(record)
                return
            if self.timed_out:
                await self.call(jobs.stop, self.aws, kind, self.name)
                yield TriggerEvent({"status": "TimedOut", "name": self.name, "generation": self.generation})
                return

    async def on_kill(self) -> None:
        """Stop the job, but only if the API server says that its task instance is really over.

        Airflow calls this for mark-failed, mark-success and clear, and also for a live task when a paused triggerer
        comes back after another one took its triggers over (apache/airflow#73454). A cleared or live task still owns
        its job: the next try attaches to it.
        """
        state = await self.call(task_state, self.owner)
        if state not in OVER:
            self.log.info("%s job %s goes on: its task is %s", self.kind, self.name, state or "not over")
            return
        if await self.call(jobs.stop, self.aws, KINDS[self.kind], self.name):
            self.log.info("%s job %s is being stopped: its task was ended as %s", self.kind, self.name, state)


class ObserveJobTrigger(WaitingTrigger):
    """The sensor's trigger: watches a job that another task owns, and never stops it."""

    def __init__(self, *, kind: KindName, job_name: str, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.kind = kind
        self.job_name = job_name

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Path and arguments from which another triggerer makes the same trigger."""
        return (
            "sagewind.triggers.job.ObserveJobTrigger",
            {
                "kind": self.kind,
                "job_name": self.job_name,
                **self.waiting_arguments(),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the job has ended; the task ends here, green only if the job is `Completed`."""
        kind, said = KINDS[self.kind], ""
        async for _ in pauses():
            found = await self.call(jobs.look, self.aws, kind, self.job_name)
            if found is None:
                self.log.error("%s job %s does not exist", self.kind, self.job_name)
                yield TaskFailedEvent()
                return
            line = jobs.progress(kind, found)
            if line != said:
                self.log.info("%s job %s: %s", self.kind, self.job_name, line)
                said = line
            if jobs.ended(kind, found):
                record = await self.call(jobs.record, self.aws, kind, found, 0)
                if record["status"] == "Completed":
                    yield TaskSuccessEvent(xcoms={"return_value": record})
                    return
                self.log.error("%s job %s is %s: %s", self.kind, self.job_name, record["status"], record["reason"])
                yield TaskFailedEvent(xcoms={"return_value": record})
                return
            if self.timed_out:
                self.log.error("%s job %s has not ended within this sensor's limit", self.kind, self.job_name)
                yield TaskFailedEvent()
                return


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
