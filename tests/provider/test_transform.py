"""SageMakerTransformOperator, its sensor, trigger and waiters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTransformOperator
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerTransformSensor
from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger
from botocore.exceptions import WaiterError

from tests.provider.configs import BUCKET, LOOKS, PATIENT, POLL, Names, model_request, transform_request
from tests.provider.conftest import FAST, Aws, Gate, event_of


@pytest.fixture(scope="module")
def data(aws: Aws) -> str:
    aws.put("input/batch/a.csv", "1\n2\n3\n")
    aws.put("input/batch/b.csv", "10\n")
    return f"s3://{BUCKET}/input/batch/"


def operator(config: dict[str, Any], **options: Any) -> SageMakerTransformOperator:
    return SageMakerTransformOperator(
        task_id="transform", config=config, check_interval=POLL, max_attempts=LOOKS, **options
    )


def request(names: Names, model: str, data: str) -> dict[str, Any]:
    return transform_request(names("job"), model, data, f"s3://{BUCKET}/scored/{names}/")


def held_model(aws: Aws, names: Names, artifact: str, gate: Gate) -> str:
    """A model whose server does not start before the gate is opened."""
    config = model_request(names("held"), artifact)
    config["PrimaryContainer"]["Environment"] = {"HOLD": gate.port}
    aws.sagemaker.create_model(**config)
    return names("held")


def check_scores(aws: Aws, names: Names) -> None:
    """Each input file has its predictions under its own name: three times each value."""
    scored = {
        key.rsplit("/", 1)[-1]: aws.read(f"s3://{BUCKET}/scored/{names}/{key}").decode().split()
        for key in aws.keys(f"scored/{names}/")
    }
    assert scored == {"a.csv.out": ["3", "6", "9"], "b.csv.out": ["30"]}


@pytest.mark.exercises("SageMakerTransformOperator")
def test_model_and_predictions(aws: Aws, names: Names, artifact: str, data: str, context: dict[str, Any]) -> None:
    transform = request(names, names("model"), data) | {"MaxConcurrentTransforms": "2", "MaxPayloadInMB": "1"}
    config = {"Model": model_request(names("model"), artifact), "Transform": transform}
    result = operator(config).execute(context)
    check_scores(aws, names)
    assert result["Model"]["PrimaryContainer"]["ModelDataUrl"] == artifact
    assert result["Transform"]["MaxConcurrentTransforms"] == 2
    link = context["ti"].pushed["sagemaker_transform_job_details"]
    assert (link["job_name"], link["aws_domain"]) == (names("job"), "aws.amazon.com")


@pytest.mark.exercises("SageMakerTransformOperator")
def test_names_that_are_taken(aws: Aws, names: Names, artifact: str, data: str, context: dict[str, Any]) -> None:
    for _ in range(2):
        transform = request(names, names("model"), data)
        config = {"Model": model_request(names("model"), artifact), "Transform": transform}
        result = operator(config).execute(context)
    second = result["Transform"]
    assert second["TransformJobName"].startswith(f"{names('job')}-")
    assert second["ModelName"] == result["Model"]["ModelName"] != names("model")
    check_scores(aws, names)
    found = SageMakerHook().list_transform_jobs(name_contains=names("job"), SortOrder="Ascending")
    assert [job["TransformJobName"] for job in found] == [names("job"), second["TransformJobName"]]
    for option in ("action_if_job_exists", "action_if_model_exists"):
        config = {
            "Model": model_request(names("model"), artifact),
            "Transform": request(names, names("model"), data),
        }
        with pytest.raises(AirflowException, match="already exists"):
            operator(config, **{option: "fail"}).execute(context)


@pytest.mark.exercises(
    "SageMakerTransformOperator",
    "SageMakerTransformOperator.execute_complete",
    "SageMakerTrigger",
    "TransformJobComplete",
)
def test_deferred(aws: Aws, names: Names, artifact: str, data: str, gate: Gate, finish: Callable[..., Any]) -> None:
    config = request(names, held_model(aws, names, artifact, gate), data)
    result = finish(operator(config, deferrable=True), gate.open)
    assert result["Model"]["ModelName"] == names("held")
    check_scores(aws, names)


@pytest.mark.exercises("SageMakerTransformSensor", "TransformJobCompletedOrStopped", "TransformJobComplete")
def test_sensor(aws: Aws, names: Names, artifact: str, data: str, gate: Gate, context: dict[str, Any]) -> None:
    aws.sagemaker.create_transform_job(**request(names, held_model(aws, names, artifact, gate), data))
    sensor = SageMakerTransformSensor(task_id="wait", job_name=names("job"))
    assert sensor.poke(context) is False
    gate.open()
    aws.wait("transform_job_completed_or_stopped", TransformJobName=names("job"))
    SageMakerHook().get_waiter("TransformJobComplete").wait(TransformJobName=names("job"), WaiterConfig=FAST)
    assert sensor.poke(context) is True
    check_scores(aws, names)


@pytest.mark.exercises("SageMakerTransformOperator", "SageMakerTransformSensor")
def test_failure(aws: Aws, names: Names, model: str, context: dict[str, Any]) -> None:
    uri = aws.put(f"input/{names}/words.csv", "no number\n")
    with pytest.raises(AirflowException, match="SageMaker resource failed because .+"):
        operator(request(names, model, uri)).execute(context)
    with pytest.raises(AirflowException, match="failed for the following reason: .+"):
        SageMakerTransformSensor(task_id="wait", job_name=names("job")).poke(context)
    assert aws.keys(f"scored/{names}/") == []


@pytest.mark.exercises("SageMakerTrigger", "TransformJobComplete")
def test_stopped(aws: Aws, names: Names, artifact: str, data: str, gate: Gate, aiobotocore_path: None) -> None:
    aws.sagemaker.create_transform_job(**request(names, held_model(aws, names, artifact, gate), data))
    aws.sagemaker.stop_transform_job(TransformJobName=names("job"))
    event = event_of(SageMakerTrigger(job_name=names("job"), job_type="transform", **PATIENT))
    assert (event["status"], event["job_name"]) == ("stopped", names("job"))
    with pytest.raises(WaiterError, match="terminal failure"):
        SageMakerHook().get_waiter("TransformJobComplete").wait(TransformJobName=names("job"), WaiterConfig=FAST)
    assert aws.keys(f"scored/{names}/") == []
