"""Why a job did not complete, read from its description."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sagewind import endings
from sagewind.endings import Cause, classify
from sagewind.kinds import KINDS

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
        ("AlgorithmError: ExecuteUserScriptError: CapacityError in my own code, exit code: 1", Cause.USER_CODE),
        ("ClientError: No S3 objects found under S3 URL", Cause.USER_CODE),
        ("", Cause.USER_CODE),
        ("CapacityError: Unable to provision requested ML compute capacity. Please retry", Cause.CAPACITY),
        ("ResourceLimitExceeded: The account-level service limit is 1 Instances", Cause.QUOTA),
        ("InternalServerError: We encountered an internal error. Please try again.", Cause.INFRASTRUCTURE),
    ],
)
def test_a_failed_job(kind: str, reason: str, cause: Cause) -> None:
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
        ({"SecondaryStatus": "Stopped"}, None, Cause.PERSON, "stopped by somebody"),
        ({"SecondaryStatus": "Stopped"}, "teardown", Cause.US, "stopped by Sagewind (teardown)"),
        ({"SecondaryStatus": "Stopped"}, "limit", Cause.TIME_LIMIT, "raise max_minutes"),
        (
            {"SecondaryStatus": "MaxRuntimeExceeded", "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"}},
            None,
            Cause.TIME_LIMIT,
            "s3://b/model.tar.gz",
        ),
        (
            {"SecondaryStatus": "MaxWaitTimeExceeded", "CheckpointConfig": {"S3Uri": "s3://b/checkpoints"}},
            None,
            Cause.SPOT_LIMIT,
            "s3://b/checkpoints",
        ),
        (
            {"SecondaryStatusTransitions": [{"Status": s} for s in ("Starting", "Pending", "Stopping", "Stopped")]},
            None,
            Cause.PENDING_LIMIT,
            "waited too long for capacity",
        ),
    ],
)
def test_a_stopped_training(fields: dict[str, Any], stopped_by: str | None, cause: Cause, says: str) -> None:
    ending = classify(KINDS["training"], description("training", "Stopped", **fields), stopped_by)
    assert ending.cause is cause
    assert says in ending.sentence


@pytest.mark.parametrize("kind", ["processing", "tuning"])
@pytest.mark.parametrize(("ran", "cause"), [(599.2, Cause.TIME_LIMIT), (300.0, Cause.PERSON)])
def test_kinds_without_a_secondary_status_are_judged_by_their_time(kind: str, ran: float, cause: Cause) -> None:
    assert classify(KINDS[kind], description(kind, "Stopped", ran=ran), None).cause is cause


def test_every_cause_has_a_way_to_go_on() -> None:
    assert endings.WAITS_FOR_CAPACITY.isdisjoint(endings.TRIED_AGAIN)
    assert {Cause.USER_CODE, Cause.PERSON, Cause.US, Cause.TIME_LIMIT, Cause.SPOT_LIMIT} == (
        set(Cause) - endings.WAITS_FOR_CAPACITY - endings.TRIED_AGAIN
    )
