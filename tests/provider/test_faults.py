"""What the provider makes of AWS's bad days: throttling, lost answers, capacity, quotas, exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.amazon.aws.hooks import sagemaker as sagemaker_hook
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerProcessingOperator,
    SageMakerTrainingOperator,
    SageMakerTransformOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerEndpointSensor
from botocore.exceptions import ClientError

from tests.provider.configs import (
    BUCKET,
    POLL,
    Names,
    endpoint_config_request,
    processing_request,
    training_request,
    transform_request,
)
from tests.provider.conftest import Aws


@pytest.fixture(autouse=True)
def _one_attempt(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """boto3 shows every error to the provider; no fault is left for another test."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield
    aws.endpoint.ctx.faults.clear()


def tagged(config: dict[str, Any], fault: str) -> dict[str, Any]:
    return config | {"Tags": [{"Key": "localaws:fault", "Value": fault}]}


def test_the_hook_waits_when_it_is_throttled(
    aws: Aws, names: Names, train_data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.sagemaker.create_processing_job(**processing_request(names("job"), train_data, f"s3://{BUCKET}/p/{names}/"))
    pauses: list[float] = []
    monkeypatch.setattr(sagemaker_hook, "time", SimpleNamespace(sleep=pauses.append))
    aws.endpoint.ctx.faults.add({"operation": "ListProcessingJobs", "calls": 3})
    assert SageMakerHook().count_processing_jobs_by_name(names("job")) == 1
    assert pauses == [2, 4, 8]
    aws.endpoint.ctx.faults.add({"operation": "ListProcessingJobs", "calls": 4})
    with pytest.raises(ClientError, match="ThrottlingException"):
        SageMakerHook().count_processing_jobs_by_name(names("job"))


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_a_throttled_look_is_not_taken_for_absence(aws: Aws, names: Names, train_data: str) -> None:
    aws.endpoint.ctx.faults.add({"operation": "DescribeTrainingJob"})
    train = SageMakerTrainingOperator(task_id="train", config=training_request(names("job"), train_data))
    with pytest.raises(ClientError, match="ThrottlingException"):
        train.execute({})
    assert aws.sagemaker.list_training_jobs(NameContains=names("job"))["TrainingJobSummaries"] == []


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_a_lost_answer(aws: Aws, names: Names, train_data: str) -> None:
    """The job was made, the operator does not know: its retry makes another with a time stamp in its name."""
    aws.endpoint.ctx.faults.add({"operation": "CreateTrainingJob", "error": "InternalFailure", "lost": True})

    def operator() -> SageMakerTrainingOperator:
        config = training_request(names("job"), train_data)
        return SageMakerTrainingOperator(task_id="t", config=config, print_log=False, check_interval=POLL)

    with pytest.raises(ClientError, match="InternalFailure"):
        operator().execute({})
    operator().execute({})
    assert len(aws.sagemaker.list_training_jobs(NameContains=names("job"))["TrainingJobSummaries"]) == 2


@pytest.mark.exercises("SageMakerTrainingOperator")
@pytest.mark.parametrize(("fault", "reason"), [("exit-code=7", "exit code: 7"), ("capacity", "CapacityError")])
def test_training(aws: Aws, names: Names, train_data: str, fault: str, reason: str) -> None:
    config = tagged(training_request(names("job"), train_data), fault)
    with pytest.raises(AirflowException, match=reason):
        SageMakerTrainingOperator(task_id="t", config=config, print_log=False, check_interval=POLL).execute({})
    assert aws.keys(f"models/{names('job')}/output/model") == []


@pytest.mark.exercises("SageMakerProcessingOperator")
@pytest.mark.parametrize(("fault", "reason"), [("exit-code=7", "exit code: 7"), ("capacity", "CapacityError")])
def test_processing(aws: Aws, names: Names, train_data: str, fault: str, reason: str) -> None:
    config = tagged(processing_request(names("job"), train_data, f"s3://{BUCKET}/p/{names}/"), fault)
    with pytest.raises(AirflowException, match=reason):
        SageMakerProcessingOperator(task_id="t", config=config, check_interval=POLL).execute({})


@pytest.mark.exercises("SageMakerTransformOperator")
def test_transform(aws: Aws, names: Names, model: str, train_data: str, context: dict[str, Any]) -> None:
    config = tagged(transform_request(names("job"), model, train_data, f"s3://{BUCKET}/s/{names}/"), "capacity")
    with pytest.raises(AirflowException, match="CapacityError"):
        SageMakerTransformOperator(task_id="t", config=config, check_interval=POLL).execute(context)
    assert aws.keys(f"s/{names}/") == []


@pytest.mark.exercises("SageMakerEndpointSensor")
def test_endpoint(aws: Aws, names: Names, model: str) -> None:
    aws.sagemaker.create_endpoint_config(**endpoint_config_request(names("c"), model))
    config = {"EndpointName": names("e"), "EndpointConfigName": names("c")}
    aws.sagemaker.create_endpoint(**tagged(config, "capacity"))
    aws.wait_failed("endpoint_in_service", EndpointName=names("e"))
    with pytest.raises(AirflowException, match="failed for the following reason: .*[Cc]apacity"):
        SageMakerEndpointSensor(task_id="t", endpoint_name=names("e")).poke({})
    aws.sagemaker.delete_endpoint(EndpointName=names("e"))


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_quota(aws: Aws, names: Names, train_data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = aws.endpoint.ctx.quotas.limits
    assert isinstance(limits, dict)
    monkeypatch.setitem(limits, ("ml.m5.large", "training"), 0)
    config = training_request(names("job"), train_data)
    with pytest.raises(ClientError, match="ResourceLimitExceeded.*'ml.m5.large for training job usage' is 0"):
        SageMakerTrainingOperator(task_id="t", config=config).execute({})
    assert aws.sagemaker.list_training_jobs(NameContains=names("job"))["TrainingJobSummaries"] == []
