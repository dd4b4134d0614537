"""A job whose end the store does not take at first (a full disk): it gets one as soon as the store takes it."""

from __future__ import annotations

import os
import sqlite3
from typing import Any

import pytest

from localaws.server import Endpoint
from localaws_tests.conftest import poll, training_request
from localaws_tests.jobs.test_processing import request_of
from localaws_tests.tuning.test_tuning import tuning_request

FULL = "InternalServerError: OperationalError: database or disk is full"
REFUSED = 3  # writes of an end


@pytest.fixture
def name() -> str:
    """As short as a tuning job's has to be."""
    return f"broken-{os.urandom(6).hex()}"


@pytest.fixture
def left(endpoint: Endpoint, name: str, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Let the first writes of the end of the job `name` fail; says for each whether there was still a directory."""
    real = endpoint.ctx.store.transition
    seen: list[bool] = []

    def transition(kind: str, which: str, *arguments: Any, **changes: Any) -> Any:
        if which == name:
            seen.append((endpoint.ctx.config.state / "jobs" / kind / name).exists())
            if len(seen) <= REFUSED:
                raise sqlite3.OperationalError("database or disk is full")
        return real(kind, which, *arguments, **changes)

    monkeypatch.setattr(endpoint.ctx.store, "transition", transition)
    return seen


def test_training(sagemaker: Any, s3: Any, name: str, left: list[bool]) -> None:
    sagemaker.create_training_job(**training_request(name))
    job = poll(lambda: _ended(sagemaker.describe_training_job(TrainingJobName=name), "TrainingJobStatus"))
    assert (job["SecondaryStatus"], job["FailureReason"]) == ("Failed", FULL)
    assert left == [False] * (REFUSED + 1)


def test_processing(sagemaker: Any, s3: Any, name: str, left: list[bool]) -> None:
    sagemaker.create_processing_job(**request_of(name))
    job = poll(lambda: _ended(sagemaker.describe_processing_job(ProcessingJobName=name), "ProcessingJobStatus"))
    assert job["FailureReason"] == FULL
    assert job["ProcessingEndTime"] >= job["CreationTime"]
    assert left == [False] * (REFUSED + 1)


def test_tuning(sagemaker: Any, s3: Any, name: str, left: list[bool]) -> None:
    limits = {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1}
    sagemaker.create_hyper_parameter_tuning_job(**tuning_request(name, ResourceLimits=limits))
    asked = {"HyperParameterTuningJobName": name}
    job = poll(lambda: _ended(sagemaker.describe_hyper_parameter_tuning_job(**asked), "HyperParameterTuningJobStatus"))
    assert job["FailureReason"] == FULL
    assert len(left) == REFUSED + 1


def _ended(job: dict[str, Any], status: str) -> dict[str, Any] | None:
    return job if job[status] == "Failed" else None
