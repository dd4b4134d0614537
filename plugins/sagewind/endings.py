"""How a job ended badly and what may be done about it: one table of causes, read from the job's own description.

Where a rule comes from: texts of `FailureReason` are those of the developer guide's troubleshooting pages; secondary
statuses are those of DescribeTrainingJob. Kinds without a secondary status (processing, tuning, transform) do not say
why they were stopped: one that ran as long as its limit is taken to have reached it (assumed).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sagewind.facts.kinds import JobApi

#: Seconds by which a job may end before its limit and still have reached it: times are whole seconds in places.
_CLOSE = 1.5


class EndingCause(StrEnum):
    """Why a job did not complete."""

    USER_CODE = "user code"
    CAPACITY = "capacity"
    QUOTA = "quota"
    INFRASTRUCTURE = "infrastructure"
    PERSON = "stopped by a person"
    US = "stopped by us"
    TIME_LIMIT = "time limit"
    SPOT_LIMIT = "spot limit"
    PENDING_LIMIT = "pending limit"
    DISAPPEARED = "disappeared"


#: Causes that may be gone with more machines: another generation, with growing pauses, up to a deadline.
WAITS_FOR_CAPACITY = frozenset({EndingCause.CAPACITY, EndingCause.QUOTA, EndingCause.PENDING_LIMIT})
#: Causes that are nobody's fault here: another generation, a few times.
TRIED_AGAIN = frozenset({EndingCause.INFRASTRUCTURE, EndingCause.DISAPPEARED})

_REASONS: tuple[tuple[tuple[str, ...], EndingCause], ...] = (
    (("CapacityError", "Unable to provision requested ML compute capacity"), EndingCause.CAPACITY),
    (("ResourceLimitExceeded",), EndingCause.QUOTA),
    (
        ("InternalServerError", "InternalError", "Internal Error", "internal error", "Throttling"),
        EndingCause.INFRASTRUCTURE,
    ),
)
_SECONDARY = {
    "MaxRuntimeExceeded": EndingCause.TIME_LIMIT,
    "MaxWaitTimeExceeded": EndingCause.SPOT_LIMIT,
}


@dataclass(frozen=True)
class Ending:
    """Why a job did not complete, as a cause and as a sentence that says what to do."""

    cause: EndingCause
    sentence: str


def classify(kind: JobApi, description: Mapping[str, Any], stopped_by: str | None) -> Ending:
    """The ending of a job that is `Failed` or `Stopped`; `stopped_by` is the tag that whoever of us stops it leaves."""
    what = f"{kind.name} job {description[kind.name_field]}"
    if description[kind.status_field] == "Failed":
        return _failed(what, str(description.get("FailureReason") or ""), str(description.get("ExitMessage") or ""))
    return _stopped(kind, what, description, stopped_by)


def disappeared(kind: JobApi, name: str) -> Ending:
    """The ending of a job that cannot be found any more."""
    return Ending(
        EndingCause.DISAPPEARED, f"{kind.name} job {name} has disappeared: somebody deleted it, a retry starts it anew"
    )


def at_our_limit(kind: JobApi, name: str) -> Ending:
    """The ending of a job that was stopped because its task's wait for it was over."""
    return Ending(
        EndingCause.TIME_LIMIT, f"{kind.name} job {name} passed its time limit and was stopped: raise max_minutes"
    )


def of_reason(reason: str) -> EndingCause:
    """The cause that a `FailureReason` names."""
    for words, cause in _REASONS:
        # A prefix or a whole phrase: a user's own text may speak of errors too, but does not begin so.
        if any(reason.startswith(word) or (" " in word and word in reason) for word in words):
            return cause
    return EndingCause.USER_CODE


def _failed(what: str, reason: str, message: str) -> Ending:
    cause = of_reason(reason)
    if cause is not EndingCause.USER_CODE:
        return Ending(cause, f"{what} failed outside its code: {reason}")
    # A job program's own sentence says more than "AlgorithmError, see the log"; other failures have none.
    return Ending(cause, f"{what} failed: {message or reason or 'no reason given'}")


def _stopped(kind: JobApi, what: str, description: Mapping[str, Any], stopped_by: str | None) -> Ending:
    if stopped_by == "limit":
        return at_our_limit(kind, description[kind.name_field])
    if stopped_by:
        return Ending(EndingCause.US, f"{what} was stopped by Sagewind ({stopped_by}): its result is not there")
    cause = _SECONDARY.get(str(description.get("SecondaryStatus"))) or _by_transitions(description)
    if cause is None and _ran_to_limit(kind, description):
        cause = EndingCause.TIME_LIMIT
    if cause is EndingCause.TIME_LIMIT:
        kept = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        where = f", what it had written is in {kept}" if kept else ""
        return Ending(cause, f"{what} was stopped at its time limit{where}: raise max_minutes")
    if cause is EndingCause.SPOT_LIMIT:
        kept = description.get("CheckpointConfig", {}).get("S3Uri")
        where = f", its checkpoints are in {kept}" if kept else ", it wrote no checkpoints"
        return Ending(cause, f"{what} got no spot instance for long enough{where}: raise max_wait_minutes")
    if cause is EndingCause.PENDING_LIMIT:
        return Ending(cause, f"{what} was stopped because it waited too long for capacity")
    reason = str(description.get("FailureReason") or description.get("ExitMessage") or "no reason given")
    return Ending(EndingCause.PERSON, f"{what} was stopped by somebody ({reason}): its result is not there")


def _by_transitions(description: Mapping[str, Any]) -> EndingCause | None:
    """A job that was `Pending` until it was stopped had waited for MaxPendingTimeInSeconds (assumed)."""
    states = [item["Status"] for item in description.get("SecondaryStatusTransitions", ())]
    alive = [state for state in states if state not in ("Stopping", "Stopped")]
    return EndingCause.PENDING_LIMIT if alive and alive[-1] == "Pending" else None


def _ran_to_limit(kind: JobApi, description: Mapping[str, Any]) -> bool:
    limit = kind.own_limit(description)
    start, end = description.get(kind.started_field), description.get(kind.ended_field)
    return bool(limit and start and end and (end - start).total_seconds() >= limit - _CLOSE)
