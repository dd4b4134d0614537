"""Which bad ends of a job task are tried again, how often and after what pause (Airflow 3.3's RetryPolicy)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from sagewind import settings
from sagewind.errors import JobLost, NoCapacity

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

#: `retries` of a job task: enough for every pause up to the deadline; the policy ends it sooner.
MOST_RETRIES = 60


class JobRetryPolicy(RetryPolicy):
    """Capacity and quota: growing pauses up to `capacity_hours`. Everything else: `others` more tries (a setting).

    A job that failed by its own code raises AirflowFailException, which Airflow never retries and never asks about.
    """

    def __init__(self, *, capacity_hours: float = 12, others: int | None = None) -> None:
        self.capacity_hours = capacity_hours
        self.others = settings.RETRIES.count() if others is None else others

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Retry or fail, with the pause and the reason for the log."""
        if isinstance(exception, NoCapacity):
            return self._capacity(exception)
        if isinstance(exception, JobLost):
            return self._counted(exception.times, "AWS lost the job")
        # Tries since the task was last cleared (a clear raises max_tries by `retries`), less those that waited for
        # machines: other faults must not live off the many retries that capacity needs.
        done = try_number - max(0, max_tries - MOST_RETRIES) - waited(context)
        return self._counted(done, type(exception).__name__)

    def _capacity(self, ending: NoCapacity) -> RetryDecision:
        hours = (time.time() - ending.since) / 3600
        if hours >= self.capacity_hours:
            return RetryDecision.fail(f"no machines for {hours:.1f} hours, the limit is {self.capacity_hours:g}")
        pause = pause_after(ending.times, settings.CAPACITY_FIRST, settings.CAPACITY_LONGEST)
        return RetryDecision.retry(timedelta(seconds=pause), f"no machines, again in {pause / 60:.0f} minutes")

    def _counted(self, times: int, what: str) -> RetryDecision:
        if times > self.others:
            return RetryDecision.fail(f"{what}, {times} times")
        pause = pause_after(times, settings.RETRY_DELAY, settings.RETRY_DELAY_LONGEST)
        return RetryDecision.retry(timedelta(seconds=pause), f"{what}, try {times} of {self.others + 1}")


def pause_after(times: int, first: settings.Number, longest: settings.Number) -> float:
    """Seconds to wait after the nth bad end: twice as long each time."""
    return float(min(longest.read(), first.read() * 2 ** min(times - 1, 20)))


def waited(context: Any) -> int:
    """How many tries of the task ended for want of machines."""
    store = (context or {}).get("task_state_store")
    known = store.get(STATE_KEY) if store is not None else None
    return int((known or {}).get("no_capacity", 0))


#: Key of a job task's record in the task state store: {generation, max_tries, judged, lost, no_capacity, since}.
STATE_KEY = "sagewind_job"
