"""SageMakerProcessingOperator, its sensor, trigger and waiters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerProcessingOperator
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerProcessingSensor
from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger
from botocore.exceptions import WaiterError

from tests.provider.configs import BUCKET, LOOKS, PATIENT, POLL, Names, processing_request
from tests.provider.conftest import FAST, Aws, Gate, event_of


def operator(config: dict[str, Any], **options: Any) -> SageMakerProcessingOperator:
    return SageMakerProcessingOperator(
        task_id="process", config=config, check_interval=POLL, max_attempts=LOOKS, **options
    )


def request(names: Names, data: str, *arguments: str, name: str = "job") -> dict[str, Any]:
    return processing_request(names(name), data, f"s3://{BUCKET}/processed/{names(name)}/", *arguments)


def summary(aws: Aws, name: str) -> dict[str, Any]:
    """What the program wrote."""
    value: dict[str, Any] = json.loads(aws.read(f"s3://{BUCKET}/processed/{name}/summary.json"))
    return value


@pytest.mark.exercises("SageMakerProcessingOperator")
def test_output_files_as_results(aws: Aws, names: Names, train_data: str, context: dict[str, Any]) -> None:
    wanted = [
        {"result_name": name, "output_name": "output", "file_name": file}
        for name, file in (("summary", "summary.json"), ("note", "note.txt"), ("absent", "absent.json"))
    ]
    config = request(names, train_data, "--say", "hello")
    config["ProcessingResources"]["ClusterConfig"] |= {"InstanceCount": "1", "VolumeSizeInGB": "2"}
    result = operator(config, output_files_to_xcom=wanted).execute(context)
    assert result["OutputFiles"]["summary"] == {"lines": 10, "arguments": ["--say", "hello"]}
    assert result["OutputFiles"]["note"]["_error"].startswith("Invalid JSON at")
    assert result["OutputFiles"]["absent"]["_error"].startswith("File not found")
    assert result["Processing"]["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] == 2


@pytest.mark.exercises("SageMakerProcessingOperator")
def test_a_name_that_is_taken(aws: Aws, names: Names, train_data: str, context: dict[str, Any]) -> None:
    for _ in range(2):
        result = operator(request(names, train_data)).execute(context)
    second = result["Processing"]["ProcessingJobName"]
    assert second.startswith(f"{names('job')}-")
    hook = SageMakerHook()
    assert hook.count_processing_jobs_by_name(names("job")) == 1
    assert hook.count_processing_jobs_by_name(names("job"), "-[0-9]+") == 2
    found = hook.list_processing_jobs(NameContains=names("job"), SortBy="Name", SortOrder="Ascending")
    assert [job["ProcessingJobName"] for job in found] == [names("job"), second]


@pytest.mark.exercises(
    "SageMakerProcessingOperator",
    "SageMakerProcessingOperator.execute_complete",
    "SageMakerTrigger",
    "ProcessingJobComplete",
)
def test_deferred(aws: Aws, names: Names, train_data: str, gate: Gate, finish: Callable[..., Any]) -> None:
    config = request(names, train_data, f"--hold={gate.port}")
    wanted = [{"result_name": "summary", "output_name": "output", "file_name": "summary.json"}]
    result = finish(operator(config, deferrable=True, output_files_to_xcom=wanted), gate.open)
    assert result["OutputFiles"]["summary"]["lines"] == 10


@pytest.mark.exercises("SageMakerProcessingOperator", "SageMakerProcessingOperator.execute_complete")
def test_failures(aws: Aws, names: Names, train_data: str, gate: Gate, finish: Callable[..., Any]) -> None:
    with pytest.raises(AirflowException, match="exit code: 3"):
        operator(request(names, train_data, "--fail", name="a")).execute({})
    config = request(names, train_data, f"--hold={gate.port}", "--fail", name="b")
    with pytest.raises(AirflowException, match="'status': 'failed'.*exit code: 3"):
        finish(operator(config, deferrable=True), gate.open)
    assert aws.keys(f"processed/{names('a')}/") == aws.keys(f"processed/{names('b')}/") == []


@pytest.mark.exercises("SageMakerProcessingSensor", "ProcessingJobCompletedOrStopped")
def test_sensor(aws: Aws, names: Names, train_data: str, gate: Gate, context: dict[str, Any]) -> None:
    aws.sagemaker.create_processing_job(**request(names, train_data, f"--hold={gate.port}"))
    sensor = SageMakerProcessingSensor(task_id="wait", job_name=names("job"))
    assert sensor.poke(context) is False
    assert aws.keys(f"processed/{names('job')}/") == []
    gate.open()
    aws.wait("processing_job_completed_or_stopped", ProcessingJobName=names("job"))
    assert sensor.poke(context) is True
    assert summary(aws, names("job"))["lines"] == 10


@pytest.mark.exercises("SageMakerProcessingSensor", "ProcessingJobComplete", "SageMakerTrigger")
def test_stopped(
    aws: Aws, names: Names, train_data: str, gate: Gate, context: dict[str, Any], aiobotocore_path: None
) -> None:
    aws.sagemaker.create_processing_job(**request(names, train_data, f"--hold={gate.port}"))
    aws.sagemaker.stop_processing_job(ProcessingJobName=names("job"))
    event = event_of(SageMakerTrigger(job_name=names("job"), job_type="processing", **PATIENT))
    assert (event["status"], event["job_name"]) == ("stopped", names("job"))
    with pytest.raises(WaiterError, match="terminal failure"):
        SageMakerHook().get_waiter("ProcessingJobComplete").wait(ProcessingJobName=names("job"), WaiterConfig=FAST)
    with pytest.raises(AirflowException, match="Sagemaker job failed"):
        SageMakerProcessingSensor(task_id="wait", job_name=names("job")).poke(context)
    assert "summary.json" not in aws.keys(f"processed/{names('job')}/")
