"""Waits for a job: ends the task in the triggerer on success, hands a bad end to a worker, stops the job on a kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from sagewind import job_records, joblogs, settings
from sagewind.aws import look
from sagewind.budget import PROGRESS
from sagewind.facts.kinds import KINDS, KindName
from sagewind.taskstate import stop_and_tell
from sagewind.triggers.poller import has_ended, poller_of
from sagewind.triggers.waiting import WaitingTrigger

#: Seconds without news after which a wait looks whether its limit is over.
_BREATH = 30.0


class JobWait(WaitingTrigger):
    """The common half: news of one job from the shared poller, its progress told in the task's log."""

    kind: KindName
    name: str
    since: float | None

    @property
    def breath(self) -> float:
        """Seconds without news after which the wait looks around."""
        return _BREATH

    async def ended(self) -> dict[str, Any] | None:
        """The job's description once it has ended; None if it is gone; TimeoutError at the limit."""
        kind, said = KINDS[self.kind], ""
        since = self.since if self.since is not None else await self._created()
        if since is None:
            return None
        async with poller_of(self.connection, self.region, self.kind).wait(self.name, since) as news:
            while True:
                if self.timed_out:
                    raise TimeoutError
                await self.look_around()
                try:
                    summary = await asyncio.wait_for(news.get(), min(self.breath, self.seconds_left))
                except TimeoutError:
                    continue
                if isinstance(summary, Exception):
                    raise summary
                if summary is None or has_ended(kind, summary):
                    found = await self.call(look, self.aws, kind, self.name)
                    if found is None or job_records.ended(kind, found):
                        return found
                    if summary is not None:
                        # The list is ahead of Describe. The poller will not tell the same end again: keep it in mind.
                        await asyncio.sleep(settings.POLL_AHEAD.read())
                        news.put_nowait(summary)
                    continue
                line = await self._progress(summary)
                if line != said:
                    self.log.info("%s job %s: %s", self.kind, self.name, line)
                    said = line

    async def look_around(self) -> None:
        """Called between two news; what reads the job's log live does it here."""

    async def _created(self) -> float | None:
        found = await self.call(look, self.aws, KINDS[self.kind], self.name)
        return None if found is None else float(found["CreationTime"].timestamp())

    async def _progress(self, summary: dict[str, Any]) -> str:
        kind = KINDS[self.kind]
        if kind.of_trainings and PROGRESS.take():
            # The summary does not hold the best training; when many tune at once, their lines do without it.
            found = await self.call(look, self.aws, kind, self.name)
            summary = found or summary
        return job_records.progress(kind, summary)


class JobTrigger(JobWait):
    """The waiting half of a job operator: it owns the job, so a kill of the task stops the job."""

    def __init__(
        self,
        *,
        kind: KindName,
        name: str,
        generation: int,
        since: float,
        task: dict[str, Any],
        logs: str = "end",
        **waiting: Any,
    ) -> None:
        super().__init__(**waiting)
        self.kind = kind
        self.name = name
        self.generation = generation
        self.since = since
        self.owner = task
        self.logs = logs
        self._tail = joblogs.Tail()

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Path and arguments from which another triggerer makes the same trigger."""
        return (
            "sagewind.triggers.job.JobTrigger",
            {
                "kind": self.kind,
                "name": self.name,
                "generation": self.generation,
                "since": self.since,
                "logs": self.logs,
                **self.waiting_arguments(),
                "task": self.owner,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait until the job has ended; one event."""
        try:
            found = await self.ended()
        except TimeoutError:
            if await self.call(job_records.stop, self.aws, KINDS[self.kind], self.name, "limit"):
                yield TriggerEvent({"status": "TimedOut", "name": self.name, "generation": self.generation})
                return
            found = await self.call(look, self.aws, KINDS[self.kind], self.name)  # it ended just now
        if found is None:
            yield TriggerEvent({"status": "Disappeared", "name": self.name, "generation": self.generation})
            return
        record = await self.call(job_records.record, self.aws, KINDS[self.kind], found, self.generation)
        if record["status"] != "Completed":
            yield TriggerEvent(record)
            return
        await self.look_around()
        lines = 0 if self.logs == "live" else joblogs.GOOD_LINES
        for line in await self.call(joblogs.last_words, self.aws, KINDS[self.kind], record, lines):
            self.log.info(line)
        # Written before the task is told: a clear from now on means the job was used and another one is wanted.
        await self.call(job_records.hand_over, self.aws, record)
        yield TaskSuccessEvent(xcoms={"return_value": record})

    @property
    def breath(self) -> float:
        """Shorter where log lines are told as they come."""
        return settings.LIVE_LOG.read() if self.logs == "live" else super().breath

    async def look_around(self) -> None:
        """With `logs="live"`, tell what the job has written since."""
        if self.logs == "live":
            for line in await self.call(joblogs.fresh, self.aws, KINDS[self.kind], self.name, self._tail):
                self.log.info(line)

    async def on_kill(self) -> None:
        """Stop the job, but only if the API server says that its task is really over and no newer try holds the job.

        Airflow calls this for mark-failed, mark-success and clear, and also for a live task when a paused triggerer
        comes back after another one took its triggers over (apache/airflow#73454). A cleared or live task still owns
        its job: the next try attaches to it.
        """
        await self.call(stop_and_tell, self.log, self.aws, KINDS[self.kind], self.name, self.owner)
