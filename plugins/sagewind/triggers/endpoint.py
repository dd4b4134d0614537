"""Waits until an endpoint serves with one config; an endpoint that went back to another config is a failure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from sagewind import endpoints
from sagewind.triggers.waiting import WaitingTrigger, pauses


class EndpointTrigger(WaitingTrigger):
    """Ends the task in the triggerer: green only if the endpoint is InService with the config that was asked for."""

    def __init__(self, *, endpoint: str, config: str, **waiting: Any) -> None:
        super().__init__(**waiting)
        self.endpoint = endpoint
        self.config = config

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Path and arguments from which another triggerer makes the same trigger."""
        return (
            "sagewind.triggers.endpoint.EndpointTrigger",
            {
                "endpoint": self.endpoint,
                "config": self.config,
                **self.waiting_arguments(),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the endpoint is settled; one event."""
        said = ""
        async for _ in pauses():
            found = await self.call(endpoints.look, self.aws, self.endpoint)
            verdict, sentence = endpoints.judge(found, self.endpoint, self.config)
            if sentence != said:
                self.log.info(sentence)
                said = sentence
            if verdict == "serving":
                record = {"name": self.endpoint, "status": "InService", "config": self.config}
                yield TaskSuccessEvent(xcoms={"return_value": record})
                return
            if verdict == "failed" or self.timed_out:
                self.log.error("not in service as asked: %s", sentence)
                yield TaskFailedEvent()
                return
