"""Why a job did not complete, read from its description."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sagewind import endings
from sagewind.endings import EndingCause, classify
from sagewind.facts.kinds import KINDS

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def description(kind: str, status: str, *, ran: float = 10, limit: int = 600, **fields: Any) -> dict[str, Any]:
    known = KINDS[kind]
    found: dict[str, Any] = {
        known.name_field: "j",
        known.status_field: status,
        known.started_field: BEGIN,
        known.ended_field: BEGIN + timedelta(seconds=ran),
        **fields,
    }
    if kind == "tuning":
        found["HyperParameterTuningJobConfig"] = {"ResourceLimits": {"MaxRuntimeInSeconds": limit}}
    elif kind != "transform":
        found["StoppingCondition"] = {"MaxRuntimeInSeconds": limit}
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("AlgorithmError: ExecuteUserScriptError: CapacityError in my own code, exit code: 1", EndingCause.USER_CODE),
        ("ClientError: No S3 objects found under S3 URL", EndingCause.USER_CODE),
        ("", EndingCause.USER_CODE),
        ("CapacityError: Unable to provision requested ML compute capacity. Please retry", EndingCause.CAPACITY),
        ("ResourceLimitExceeded: The account-level service limit is 1 Instances", EndingCause.QUOTA),
        ("InternalServerError: We encountered an internal error. Please try again.", EndingCause.INFRASTRUCTURE),
    ],
)
def test_a_failed_job(kind: str, reason: str, cause: EndingCause) -> None:
    ending = classify(KINDS[kind], description(kind, "Failed", FailureReason=reason), None)
    assert ending.cause is cause
    assert f"{kind} job j failed" in ending.sentence
    assert (reason or "no reason given") in ending.sentence


def test_a_programs_own_sentence_is_the_reason() -> None:
    found = description("processing", "Failed", FailureReason="AlgorithmError: exit code 1", ExitMessage="column x")
    assert classify(KINDS["processing"], found, None).sentence == "processing job j failed: column x"


@pytest.mark.parametrize(
    ("fields", "stopped_by", "cause", "says"),
    [
        ({"SecondaryStatus": "Stopped"}, None, EndingCause.PERSON, "stopped by somebody"),
        ({"SecondaryStatus": "Stopped"}, "teardown", EndingCause.US, "stopped by Sagewind (teardown)"),
        ({"SecondaryStatus": "Stopped"}, "limit", EndingCause.TIME_LIMIT, "raise max_minutes"),
        (
            {"SecondaryStatus": "MaxRuntimeExceeded", "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"}},
            None,
            EndingCause.TIME_LIMIT,
            "s3://b/model.tar.gz",
        ),
        (
            {"SecondaryStatus": "MaxWaitTimeExceeded", "CheckpointConfig": {"S3Uri": "s3://b/checkpoints"}},
            None,
            EndingCause.SPOT_LIMIT,
            "s3://b/checkpoints",
        ),
        (
            {"SecondaryStatusTransitions": [{"Status": s} for s in ("Starting", "Pending", "Stopping", "Stopped")]},
            None,
            EndingCause.PENDING_LIMIT,
            "waited too long for capacity",
        ),
    ],
)
def test_a_stopped_training(fields: dict[str, Any], stopped_by: str | None, cause: EndingCause, says: str) -> None:
    ending = classify(KINDS["training"], description("training", "Stopped", **fields), stopped_by)
    assert ending.cause is cause
    assert says in ending.sentence


@pytest.mark.parametrize("kind", ["processing", "tuning"])
@pytest.mark.parametrize(("ran", "cause"), [(599.2, EndingCause.TIME_LIMIT), (300.0, EndingCause.PERSON)])
def test_kinds_without_a_secondary_status_are_judged_by_their_time(kind: str, ran: float, cause: EndingCause) -> None:
    assert classify(KINDS[kind], description(kind, "Stopped", ran=ran), None).cause is cause


def test_every_cause_has_a_way_to_go_on() -> None:
    assert endings.WAITS_FOR_CAPACITY.isdisjoint(endings.TRIED_AGAIN)
    assert {
        EndingCause.USER_CODE,
        EndingCause.PERSON,
        EndingCause.US,
        EndingCause.TIME_LIMIT,
        EndingCause.SPOT_LIMIT,
    } == (set(EndingCause) - endings.WAITS_FOR_CAPACITY - endings.TRIED_AGAIN)
