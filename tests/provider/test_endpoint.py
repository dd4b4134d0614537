"""SageMakerEndpointConfigOperator, SageMakerEndpointOperator, the sensor, trigger and waiters of endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
)
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerEndpointSensor

from tests.provider.configs import POLL, Names, endpoint_config_request, model_request, training_request
from tests.provider.conftest import Aws, Gate


@pytest.fixture(autouse=True)
def _remove(aws: Aws, names: Names) -> Iterator[None]:
    """No endpoint of a test is left."""
    yield
    found = aws.sagemaker.list_endpoints(NameContains=names)["Endpoints"]
    for endpoint in found:
        aws.sagemaker.delete_endpoint(EndpointName=endpoint["EndpointName"])


@pytest.fixture(scope="session")
def half_artifact(aws: Aws, train_data: str) -> str:
    """A model of half the slope."""
    aws.sagemaker.create_training_job(**training_request("half-training", train_data, shrink="1"))
    aws.wait("training_job_completed_or_stopped", TrainingJobName="half-training")
    uri: str = aws.sagemaker.describe_training_job(TrainingJobName="half-training")["ModelArtifacts"][
        "S3ModelArtifacts"
    ]
    return uri


def operator(config: dict[str, Any], check_interval: float = POLL, **options: Any) -> SageMakerEndpointOperator:
    return SageMakerEndpointOperator(task_id="deploy", config=config, check_interval=check_interval, **options)


def names_of(names: Names, config: str = "config") -> dict[str, Any]:
    return {"EndpointName": names("endpoint"), "EndpointConfigName": names(config)}


@pytest.mark.exercises("SageMakerEndpointConfigOperator", "SageMakerEndpointOperator")
def test_config_and_endpoint(aws: Aws, names: Names, model: str, context: dict[str, Any]) -> None:
    config = endpoint_config_request(names("config"), model)
    config["ProductionVariants"][0]["InitialInstanceCount"] = "1"
    made = SageMakerEndpointConfigOperator(task_id="configure", config=config).execute(context)
    assert made["EndpointConfig"]["ProductionVariants"][0]["InitialInstanceCount"] == 1
    result = operator(names_of(names)).execute(context)
    assert result["Endpoint"]["ProductionVariants"][0]["VariantName"] == "only"
    assert aws.predict(names("endpoint"), "2\n5\n") == "6\n15\n"


@pytest.mark.exercises("SageMakerEndpointOperator")
def test_all_three_at_once_then_again_and_update(
    aws: Aws, names: Names, artifact: str, half_artifact: str, context: dict[str, Any]
) -> None:
    def config(which: str, data: str) -> dict[str, Any]:
        return {
            "Model": model_request(names(which), data),
            "EndpointConfig": endpoint_config_request(names(f"c-{which}"), names(which)),
            "Endpoint": names_of(names, f"c-{which}"),
        }

    operator(config("full", artifact)).execute(context)
    assert aws.predict(names("endpoint"), "4\n") == "12\n"
    again = config("half", half_artifact)
    again["Endpoint"]["Tags"] = [{"Key": "ignored", "Value": "by the update"}]
    operator(again).execute(context)  # it exists: the provider recognises AWS's sentence and updates
    assert aws.predict(names("endpoint"), "4\n") == "6\n"
    result = operator(names_of(names, "c-full"), operation="update").execute(context)
    assert result["EndpointConfig"]["EndpointConfigName"] == names("c-full")
    assert aws.predict(names("endpoint"), "4\n") == "12\n"


@pytest.mark.exercises(
    "SageMakerEndpointOperator", "SageMakerEndpointOperator.execute_complete", "SageMakerTrigger", "EndpointInService"
)
def test_deferred(aws: Aws, names: Names, artifact: str, gate: Gate, finish: Callable[..., Any]) -> None:
    model = model_request(names("held"), artifact)
    model["PrimaryContainer"]["Environment"] = {"HOLD": gate.port}
    config = {
        "Model": model,
        "EndpointConfig": endpoint_config_request(names("config"), names("held")),
        "Endpoint": names_of(names),
    }
    # Its trigger looks 480 times: at the pace of the other tests not even for half a minute.
    result = finish(operator(config, deferrable=True, check_interval=1), gate.open)
    assert result["Endpoint"]["EndpointName"] == names("endpoint")
    assert aws.predict(names("endpoint"), "1\n") == "3\n"


@pytest.mark.exercises("SageMakerEndpointOperator", "SageMakerEndpointSensor", "EndpointInService", "EndpointDeleted")
def test_sensor_and_waiters(aws: Aws, names: Names, artifact: str, gate: Gate, context: dict[str, Any]) -> None:
    model = model_request(names("held"), artifact)
    model["PrimaryContainer"]["Environment"] = {"HOLD": gate.port}
    aws.sagemaker.create_model(**model)
    aws.sagemaker.create_endpoint_config(**endpoint_config_request(names("config"), names("held")))
    operator(names_of(names), wait_for_completion=False).execute(context)
    sensor = SageMakerEndpointSensor(task_id="wait", endpoint_name=names("endpoint"))
    assert sensor.poke(context) is False
    gate.open()
    aws.wait("endpoint_in_service", EndpointName=names("endpoint"))
    assert sensor.poke(context) is True
    assert aws.predict(names("endpoint"), "7\n") == "21\n"
    aws.sagemaker.delete_endpoint(EndpointName=names("endpoint"))
    aws.wait("endpoint_deleted", EndpointName=names("endpoint"))
    assert aws.sagemaker.list_endpoints(NameContains=names)["Endpoints"] == []
    with pytest.raises(aws.runtime.exceptions.ClientError, match="not found"):
        aws.predict(names("endpoint"), "7\n")


@pytest.mark.exercises("SageMakerEndpointSensor")
def test_sensor_of_a_failure(aws: Aws, names: Names, context: dict[str, Any]) -> None:
    """A model archive without the model's file: the server cannot start."""
    empty = aws.put(f"models/{names}/model.tar.gz", "no archive at all")
    aws.sagemaker.create_model(**model_request(names("broken"), empty))
    aws.sagemaker.create_endpoint_config(**endpoint_config_request(names("config"), names("broken")))
    aws.sagemaker.create_endpoint(**names_of(names))
    aws.wait_failed("endpoint_in_service", EndpointName=names("endpoint"))
    with pytest.raises(AirflowException, match="failed for the following reason: .+"):
        SageMakerEndpointSensor(task_id="wait", endpoint_name=names("endpoint")).poke(context)
    with pytest.raises(aws.runtime.exceptions.ClientError):
        aws.predict(names("endpoint"), "1\n")
