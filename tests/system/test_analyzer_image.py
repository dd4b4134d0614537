"""AWS's own analyzer image, by its URI: a processing job with no program of its own, and the files that it leaves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localaws.engine.images import default_cache
from localaws.server import Endpoint, Options
from localaws_tests.conftest import ROLE, client_of, wait_for
from tests.conftest import ROOT

pytestmark = pytest.mark.long

IMAGES = (ROOT / "plugins/sagewind/images",)
URI = "156813124566.dkr.ecr.us-east-1.amazonaws.com/sagemaker-model-monitor-analyzer"
ROWS = "age,job\n" + "".join(f"{20 + number % 50},{'clerk' if number % 3 else 'nurse'}\n" for number in range(300))
SHIFTED = "age,job\n" + "".join(f"{60 + number % 50},{'clerk' if number % 3 else 'nurse'}\n" for number in range(300))
INPUT, OUTPUT = "/opt/ml/processing/input", "/opt/ml/processing/output"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    state = tmp_path_factory.mktemp("state")
    started = Endpoint(Options(state=state, images=IMAGES, cache=default_cache(), port=0, grace=2.0))
    started.start()
    yield started
    started.close()


def analyse(endpoint: Endpoint, name: str, rows: str, baseline: bool = False) -> dict[str, Any]:
    """Run the image over rows; returns the job's description."""
    s3, sagemaker = client_of(endpoint, "s3"), client_of(endpoint, "sagemaker")
    s3.put_object(Bucket="analyzer", Key=f"{name}/in/rows.csv", Body=rows.encode())
    inputs = {"dataset": f"s3://analyzer/{name}/in"} | ({"baseline": "s3://analyzer/base/out"} if baseline else {})
    settings = {
        "dataset_source": f"{INPUT}/dataset",
        "dataset_format": '{"csv": {"header": true}}',
        "output_path": OUTPUT,
    }
    if baseline:
        settings |= {f"baseline_{part}": f"{INPUT}/baseline/{part}.json" for part in ("constraints", "statistics")}
    sagemaker.create_processing_job(
        ProcessingJobName=name,
        AppSpecification={"ImageUri": URI},
        Environment={**settings, "publish_cloudwatch_metrics": "Disabled"},
        ProcessingInputs=[
            {
                "InputName": part,
                "S3Input": {
                    "S3Uri": uri,
                    "LocalPath": f"{INPUT}/{part}",
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                },
            }
            for part, uri in inputs.items()
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "result",
                    "S3Output": {"S3Uri": f"s3://analyzer/{name}/out", "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"},
                }
            ]
        },
        ProcessingResources={
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 20}
        },
        RoleArn=ROLE,
    )
    wait_for(sagemaker, "processing_job_completed_or_stopped", ProcessingJobName=name)
    return dict(sagemaker.describe_processing_job(ProcessingJobName=name))


def document(endpoint: Endpoint, key: str) -> Any:
    return json.loads(client_of(endpoint, "s3").get_object(Bucket="analyzer", Key=key)["Body"].read())


def test_the_uri_of_awss_analyzer_makes_a_baseline_and_finds_the_drift(endpoint: Endpoint) -> None:
    client_of(endpoint, "s3").create_bucket(Bucket="analyzer")
    made = analyse(endpoint, "base", ROWS)
    assert made["ExitMessage"] == "Completed: Job completed successfully with no violations."
    statistics = document(endpoint, "base/out/statistics.json")
    assert statistics["dataset"]["item_count"] == 300
    assert [feature["inferred_type"] for feature in statistics["features"]] == ["Integral", "String"]
    checked = analyse(endpoint, "shifted", SHIFTED, baseline=True)
    assert checked["ExitMessage"] == "CompletedWithViolations: Job completed successfully with 1 violations."
    found = document(endpoint, "shifted/out/constraint_violations.json")["violations"]
    assert [(item["feature_name"], item["constraint_check_type"]) for item in found] == [
        ("age", "baseline_drift_check")
    ]
