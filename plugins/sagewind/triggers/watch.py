"""The trigger of every sensor: looks again and again and ends the task in the triggerer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from sagewind.triggers.job import JobWait
from sagewind.triggers.waiting import WaitingTrigger, pauses
from sagewind.watches import WATCHES, Seen, job_ended


class WatchTrigger(WaitingTrigger):
    """Ends the task green or red as the look named `watch` says; red when the limit is over.

    `arguments` are the look's; templates in them are rendered by the triggerer, so they are read only in `run`.
    """

    def __init__(self, *, watch: str, arguments: dict[str, Any], **waiting: Any) -> None:
        super().__init__(**waiting)
        self.watch = watch
        self.arguments = arguments

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Path and arguments from which another triggerer makes the same trigger."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"watch": self.watch, "arguments": self.arguments, **self.waiting_arguments()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is a verdict; one event."""
        said = ""
        async for _ in pauses():
            seen = await self.call(WATCHES[self.watch], self.aws, **self.arguments)
            if seen.verdict != "waiting" or self.timed_out:
                yield self.verdict(seen)
                return
            if seen.line != said:
                self.log.info(seen.line)
                said = seen.line

    def verdict(self, seen: Seen) -> TriggerEvent:
        """The event that ends the task, and its last line."""
        xcoms = {"return_value": seen.record} if seen.record else None
        if seen.verdict == "good":
            self.log.info(seen.line)
            return TaskSuccessEvent(xcoms=xcoms)
        if seen.verdict == "waiting":
            self.log.error("not within this sensor's limit: %s", seen.line)
        else:
            self.log.error(seen.line)
        return TaskFailedEvent(xcoms=xcoms)


class WatchJobTrigger(WatchTrigger, JobWait):
    """The same for a job, which hears of its changes from the shared poller instead of asking by itself."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait for the job's end; one event."""
        self.kind, self.name, self.since = self.arguments["kind"], self.arguments["job_name"], None
        try:
            found = await self.ended()
        except TimeoutError:
            yield self.verdict(Seen("waiting", f"{self.kind} job {self.name} has not ended"))
            return
        if found is None:
            yield self.verdict(Seen("bad", f"{self.kind} job {self.name} does not exist"))
            return
        yield self.verdict(await self.call(job_ended, self.aws, self.kind, found))
