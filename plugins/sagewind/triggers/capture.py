"""Waits until an endpoint's captured requests have reached S3; the service writes them with a delay."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from sagewind import capture
from sagewind.triggers.waiting import WaitingTrigger, pauses


class CaptureTrigger(WaitingTrigger):
    """Ends the task in the triggerer once at least `requests` requests lie below `folder`."""

    def __init__(self, *, folder: str, requests: int, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.folder = folder
        self.requests = requests

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Path and arguments from which another triggerer makes the same trigger."""
        return (
            "sagewind.triggers.capture.CaptureTrigger",
            {"folder": self.folder, "requests": self.requests, **self.waiting_arguments()},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Count until there are enough; one event."""
        async for _ in pauses():
            found = await self.call(capture.count_requests, self.aws, self.folder)
            if found >= self.requests:
                self.log.info("%d captured requests below %s", found, self.folder)
                yield TaskSuccessEvent(xcoms={"return_value": {"requests": found, "folder": self.folder}})
                return
            if self.timed_out:
                self.log.error("%d captured requests below %s, expected %d", found, self.folder, self.requests)
                yield TaskFailedEvent()
                return
