"""How a task of Sagewind ends badly. Each says in one sentence what, where, what was found and what to do."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException


class JobFailed(AirflowFailException):
    """The job's own code failed, or somebody stopped it: another try would pay for the same end."""


class JobLost(AirflowException):
    """The job ended for a reason outside the user's code: a retry starts the next generation.

    `times` counts such ends of this task, this one included.
    """

    def __init__(self, sentence: str, times: int = 1) -> None:
        super().__init__(sentence)
        self.times = times


class NoCapacity(JobLost):
    """There were no machines, or the account's quota is used up: tried again with growing pauses up to a deadline.

    `since` is when this task first met that (epoch seconds).
    """

    def __init__(self, sentence: str, times: int, since: float) -> None:
        super().__init__(sentence, times)
        self.since = since


class ResourceBusy(AirflowException):
    """Something else still holds the resource (an endpoint that is being updated): a retry may find it free."""


class TaskRefused(AirflowFailException):
    """The task may not go on: a gate is not met, a name is empty, a check found a difference."""


def break_of(error: Exception, next_kwargs: dict[str, Any] | None) -> str:
    """Why a trigger broke: the last line of its traceback, which comes beside Airflow's own "Trigger failure"."""
    lines = [line.strip() for line in (next_kwargs or {}).get("traceback") or () if line.strip()]
    return lines[-1].splitlines()[-1] if lines else str(error)
