"""The flows of the Airflow provider's public SageMaker system tests, as DAGs in Airflow's own task runner.

AutoML and the experiment of the originals are refused here (tests/provider/test_refused.py); instead of a Docker build
an image directory answers for the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localaws.engine.images import SHIPPED, default_cache
from localaws.server import Endpoint, Options

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUN_SECONDS = 1800

pytestmark = [pytest.mark.long, pytest.mark.timeout(RUN_SECONDS)]


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of an endpoint with the real images and the one that stands for a build."""
    cache = default_cache()
    images = (SHIPPED, HERE / "images")
    endpoint = Endpoint(
        Options(state=tmp_path_factory.mktemp("system") / "state", images=images, cache=cache, grace=5.0)
    )
    endpoint.start()
    yield endpoint.environment()
    endpoint.close()


@pytest.fixture(scope="module")
def sagemaker(values: dict[str, str]) -> Any:
    return boto3.client(
        "sagemaker",
        endpoint_url=values["AWS_ENDPOINT_URL"],
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        region_name=values["AWS_DEFAULT_REGION"],
    )


@pytest.fixture(scope="module")
def airflow(
    values: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Airflow's command line with a database of its own; AWS is known by the endpoint's four variables only."""
    home = tmp_path_factory.mktemp("airflow")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))},
        **values,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home),
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=environment | more,
            cwd=home,
            text=True,
            capture_output=True,
            check=False,
            timeout=RUN_SECONDS,
        )

    made = run("db", "migrate")
    assert made.returncode == 0, made.stderr[-3000:]
    return run


def run_dag(
    airflow: Callable[..., subprocess.CompletedProcess[str]], dag: str, env_id: str, folder: Path
) -> dict[str, Any]:
    """Run the DAG to its end; returns what its tasks noted."""
    notes = folder / "notes.json"
    done = airflow("dags", "test", dag, SYSTEM_TESTS_ENV_ID=env_id, SYSTEM_TESTS_NOTES=str(notes))
    _, _, failure = done.stdout.partition("Task failed with exception")
    assert done.returncode == 0, f"{failure[:6000]}\n{done.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(notes.read_text())
    return found


def documents(text: str) -> Iterator[dict[str, Any]]:
    """The JSON documents that stand one after the other in a text."""
    decoder, rest = json.JSONDecoder(), text.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        yield document
        rest = rest[end:].strip()


def test_lifecycle(airflow: Callable[..., subprocess.CompletedProcess[str]], sagemaker: Any, tmp_path: Path) -> None:
    seen = run_dag(airflow, "knn_lifecycle", "env1a2b3c", tmp_path)
    assert seen["train"] == 420
    assert len(seen["test"]) == 180
    predictions = [p["predicted_label"] for d in documents(seen["scores"]) for p in d["predictions"]]
    assert len(predictions) == 180
    # Rows i and 600 - i with class i % 100: the nearest training rows are next to i, so is their class.
    near = [
        min(abs(label - float(row.split(",")[0]) % 100), 100 - abs(label - float(row.split(",")[0]) % 100))
        for row, label in zip(seen["test"], predictions, strict=True)
    ]
    assert max(near) <= 4
    assert seen["artifact"] > 0
    assert seen["package"].endswith("/env1a2b3c-train/output/model.tar.gz")
    assert seen["experiment"] == {"ExperimentName": "env1a2b3c-experiment"}
    assert seen["counters"]["Completed"] == 10
    assert seen["objectives"] == sorted(seen["objectives"], reverse=True)
    assert seen["best"] == pytest.approx(seen["objectives"][0])
    assert (seen["ProcessingJobs"], seen["TrainingJobs"]) == (1, 11)
    with pytest.raises(ClientError, match="ValidationException"):
        sagemaker.describe_model(ModelName="env1a2b3c-KNN-model")
    groups = sagemaker.list_model_package_groups(NameContains="env1a2b3c")
    assert groups["ModelPackageGroupSummaryList"] == []


def test_endpoint(airflow: Callable[..., subprocess.CompletedProcess[str]], sagemaker: Any, tmp_path: Path) -> None:
    seen = run_dag(airflow, "knn_endpoint", "env4d5e6f", tmp_path)
    assert [p["predicted_label"] for p in seen["predictions"]] in ([0.0], [1.0])  # three of four rows vote
    sagemaker.get_waiter("endpoint_deleted").wait(
        EndpointName="env4d5e6f-endpoint", WaiterConfig={"Delay": 1, "MaxAttempts": 300}
    )
    assert sagemaker.list_models(NameContains="env4d5e6f")["Models"] == []
