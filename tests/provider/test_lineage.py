"""OpenLineage's own extractor asks our operator and the provider's the same: both name the same data sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.provider.configs import processing_request, training_request, transform_request, tuning_request
from tests.provider.conftest import HERE, ROOT, packages_of

REQUESTS = {
    "processing": processing_request("p", "s3://lake/raw", "s3://lake/clean"),
    "training": training_request("t", "s3://lake/clean/train"),
    "tuning": tuning_request("u", "s3://lake/clean/train"),
    "transform": transform_request("x", "m", "s3://lake/batch", "s3://lake/scores"),
}


@pytest.fixture(scope="module")
def answers() -> dict:
    """Asked in a process of its own: what stands in for a missing OpenLineage is chosen at the first import."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "plugins", packages_of("openlineage")))),
    }
    done = subprocess.run(
        [sys.executable, HERE / "lineage_program.py"],
        input=json.dumps(REQUESTS), env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("kind", ["processing", "training", "transform"])
def test_the_data_sets_are_those_that_the_stock_operator_names(answers: dict, kind: str) -> None:
    assert all(answers[kind]["ours"]), "inputs and outputs"
    assert answers[kind]["ours"] == answers[kind]["stock"]


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_failed_task_names_them_too(answers: dict, kind: str) -> None:
    assert answers[kind]["ours, failed"] == answers[kind]["ours"]


def test_a_tuning_job_has_the_data_sets_of_its_trainings(answers: dict) -> None:
    path = REQUESTS["tuning"]["TrainingJobDefinition"]["OutputDataConfig"]["S3OutputPath"]
    bucket, _, key = path.removeprefix("s3://").partition("/")
    assert answers["tuning"]["ours"] == [[["s3://lake", "clean/train"]], [[f"s3://{bucket}", key]]]
