"""The one place that says how a job ended: from exit code, time limit, stop or trouble to status and reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from localaws.coverage import Behaviour

REASON_LENGTH = 1024  # characters: FailureReason and ExitMessage of the API
# "wait": MaxWaitTimeInSeconds is over; "interrupted": the spot instances are gone
Cause = Literal["exit", "stop", "limit", "shutdown", "wait", "interrupted"]
ErrorKind = Literal["ClientError", "AlgorithmError", "InternalServerError", "CapacityError"]
Event = Literal["finish", "fail", "stopped"]

SHUTDOWN_REASON = "InternalServerError: the local AWS endpoint was stopped while this job ran"
RESTART_REASON = "InternalServerError: the local AWS endpoint ended unexpectedly while this job ran"
BEHAVIOURS = (
    Behaviour(
        "exit code and `/opt/ml/output/failure` become status and `FailureReason`",
        "documented",
        "developer guide, How Amazon SageMaker Signals Algorithm Success and Failure",
    ),
    Behaviour("the form `AlgorithmError: ..., exit code: 1`", "assumed"),
)


class JobError(Exception):
    """Trouble before or after the program ran; the text is the FailureReason, e.g. `ClientError: ...`."""

    def __init__(self, kind: ErrorKind, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def said(error: Exception) -> str:
    """What an exception says, without the paths of the machine that an OSError names."""
    return error.strerror or "see the endpoint's log" if isinstance(error, OSError) else str(error)


@dataclass(frozen=True)
class ProgramEnd:
    """How the program ended: its exit code (128 + n after signal n), what made it end, and which host (from 0)."""

    code: int
    cause: Cause
    host: int = 0


@dataclass(frozen=True)
class AttemptOutcome:
    """The event for the state table, SecondaryStatus where a kind has it, and FailureReason."""

    event: Event
    secondary: str
    reason: str | None = None

    @property
    def artifacts(self) -> bool:
        """Whether what the job has written is uploaded: a stopped job keeps its work, as in AWS."""
        return self.event != "fail"


def decide(ended: ProgramEnd, failure: str = "") -> AttemptOutcome:
    """Map the end of a program to the end of its job; `failure` is what it wrote as its reason.

    A job at its time limit is Stopped with MaxRuntimeExceeded (CreateTrainingJob, StoppingCondition); what it
    had saved is uploaded. For processing jobs the same is assumed. Interrupted jobs go on, they are not decided here.
    """
    if ended.cause == "shutdown":
        return AttemptOutcome("fail", "Failed", SHUTDOWN_REASON)
    if ended.cause == "stop":
        return AttemptOutcome("stopped", "Stopped")
    if ended.cause == "wait":
        return AttemptOutcome("stopped", "MaxWaitTimeExceeded")
    if ended.cause == "limit":
        return AttemptOutcome("stopped", "MaxRuntimeExceeded")
    if ended.code == 0:
        return AttemptOutcome("finish", "Completed")
    said = failure.strip() or "Please refer to the job's logs for more information"
    tail = f", exit code: {ended.code}"
    return AttemptOutcome("fail", "Failed", f"AlgorithmError: {said}"[: REASON_LENGTH - len(tail)] + tail)


def from_error(error: JobError) -> AttemptOutcome:
    """The outcome of a job that could not be prepared, or whose results could not be stored."""
    return AttemptOutcome("fail", "Failed", str(error)[:REASON_LENGTH])
