"""What every trigger of Sagewind shares: calls in threads, growing pauses, faults that pass, a limit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from airflow.triggers.base import BaseTrigger

from sagewind import settings
from sagewind.aws import AwsClients, is_passing

T = TypeVar("T")


async def pauses() -> AsyncIterator[float]:
    """Seconds to wait before each look: short while what is looked at is young, longer later."""
    pause, longest = settings.POLL_FIRST.read(), settings.POLL_LONGEST.read()
    while True:
        await asyncio.sleep(pause)
        yield pause
        pause = min(longest, pause * 1.15)


class WaitingTrigger(BaseTrigger):
    """A trigger that looks at AWS until something has happened. It never creates anything.

    The limit is a moment (`limit_at`, epoch seconds) for an operator, which knows when it started its job, and a span
    (`limit_seconds`) for a sensor, whose arguments are fixed when the DAG is parsed.
    """

    def __init__(
        self,
        *,
        connection: str,
        region: str | None,
        limit_at: float | None = None,
        limit_seconds: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if (limit_at is None) == (limit_seconds is None):
            raise ValueError("a trigger takes either limit_at or limit_seconds")
        self.connection = connection
        self.region = region
        self.limit_at = limit_at
        self.limit_seconds = limit_seconds

    def waiting_arguments(self) -> dict[str, Any]:
        """Arguments of this base, for `serialize()`."""
        return {
            "connection": self.connection,
            "region": self.region,
            "limit_at": self.limit_at,
            "limit_seconds": self.limit_seconds,
        }

    @property
    def aws(self) -> AwsClients:
        """Clients of the task's connection."""
        return AwsClients(self.connection, self.region)

    @property
    def timed_out(self) -> bool:
        """True once the limit is over; a span counts from the first question."""
        if self.limit_at is None:
            self.limit_at = time.time() + float(self.limit_seconds or 0)
            self.limit_seconds = None
        return time.time() > self.limit_at

    @property
    def seconds_left(self) -> float:
        """Seconds until the limit, at least a moment."""
        return max(0.05, (self.limit_at or time.time()) - time.time())

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a blocking call in a thread; faults that pass by themselves are waited out up to the limit."""
        pause = 0.0
        while True:
            try:
                return await asyncio.to_thread(function, *args, **kwargs)
            except Exception as error:
                if not is_passing(error) or self.timed_out:
                    raise
                pause = min(settings.FAULT_LONGEST.read(), pause * 2 or settings.FAULT_FIRST.read())
                self.log.warning("AWS did not answer (%s), asking again in %.1f s", error, pause)
            await asyncio.sleep(pause)
