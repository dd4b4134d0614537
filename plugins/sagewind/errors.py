"""How a task of Sagewind ends badly. Each says in one sentence what, where, what was found and what to do."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowException, AirflowFailException


class JobFailed(AirflowFailException):
    """The job's own code failed, or somebody stopped it: another try would pay for the same end."""


class JobLost(AirflowException):
    """The job ended for a reason outside the user's code: a retry starts the next generation."""


class NotReady(AirflowException):
    """Something else still holds the resource (an endpoint that is being updated): a retry may find it free."""


class Refused(AirflowFailException):
    """The task may not go on: a gate is not met, a name is empty, a check found a difference."""
