"""SageMakerTuningOperator, its sensor, trigger and waiter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTuningOperator
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerTuningSensor
from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger
from botocore.exceptions import WaiterError

from tests.provider.configs import BUCKET, PATIENT, POLL, Names, tuning_request
from tests.provider.conftest import FAST, Aws, Gate, event_of


def operator(config: dict[str, Any], check_interval: float = POLL, **options: Any) -> SageMakerTuningOperator:
    return SageMakerTuningOperator(task_id="tune", config=config, check_interval=check_interval, **options)


def check_best(aws: Aws, tuning: dict[str, Any]) -> None:
    """The best training is the one of least error, it has the least `shrink`, and its model is in S3."""
    children = aws.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=tuning["HyperParameterTuningJobName"], SortBy="FinalObjectiveMetricValue"
    )["TrainingJobSummaries"]
    assert len(children) == 3
    by_error = sorted(children, key=lambda child: child["FinalHyperParameterTuningJobObjectiveMetric"]["Value"])
    best = tuning["BestTrainingJob"]
    assert best["TrainingJobName"] == by_error[0]["TrainingJobName"]
    shrinks = [float(child["TunedHyperParameters"]["shrink"]) for child in by_error]
    assert shrinks == sorted(shrinks)
    job = aws.sagemaker.describe_training_job(TrainingJobName=best["TrainingJobName"])
    assert aws.read(job["ModelArtifacts"]["S3ModelArtifacts"])


@pytest.mark.exercises("SageMakerTuningOperator")
def test_the_best_training(aws: Aws, names: Names, train_data: str, context: dict[str, Any]) -> None:
    config = tuning_request(names("t"), train_data)
    limits = config["HyperParameterTuningJobConfig"]["ResourceLimits"]
    limits |= {key: str(value) for key, value in limits.items()}
    config["TrainingJobDefinition"]["ResourceConfig"]["InstanceCount"] = "1"
    check_best(aws, operator(config).execute(context)["Tuning"])


@pytest.mark.exercises(
    "SageMakerTuningOperator", "SageMakerTuningOperator.execute_complete", "SageMakerTrigger", "TuningJobComplete"
)
def test_deferred(aws: Aws, names: Names, train_data: str, gate: Gate, finish: Callable[..., Any]) -> None:
    config = tuning_request(names("t"), train_data, hold=gate.port)
    # Its trigger looks 480 times: at the pace of the other tests not even for half a minute.
    check_best(aws, finish(operator(config, deferrable=True, check_interval=1), gate.open)["Tuning"])


@pytest.mark.exercises("SageMakerTuningSensor", "TuningJobComplete")
def test_sensor(aws: Aws, names: Names, train_data: str, gate: Gate, context: dict[str, Any]) -> None:
    aws.sagemaker.create_hyper_parameter_tuning_job(**tuning_request(names("t"), train_data, hold=gate.port))
    sensor = SageMakerTuningSensor(task_id="wait", job_name=names("t"))
    assert sensor.poke(context) is False
    gate.open()
    hook = SageMakerHook()
    hook.get_waiter("TuningJobComplete").wait(HyperParameterTuningJobName=names("t"), WaiterConfig=FAST)
    assert sensor.poke(context) is True
    check_best(aws, hook.describe_tuning_job(names("t")))


@pytest.mark.exercises("SageMakerTuningOperator", "SageMakerTuningSensor")
def test_failure(aws: Aws, names: Names, train_data: str, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowException, match="SageMaker resource failed because .+"):
        operator(tuning_request(names("t"), train_data, fail="crooked")).execute(context)
    with pytest.raises(AirflowException, match="failed for the following reason: .+"):
        SageMakerTuningSensor(task_id="wait", job_name=names("t")).poke(context)
    assert not [key for key in aws.keys("models/") if key.startswith(names("t"))]


@pytest.mark.exercises("SageMakerTrigger", "TuningJobComplete")
def test_stopped(aws: Aws, names: Names, train_data: str, gate: Gate, aiobotocore_path: None) -> None:
    aws.sagemaker.create_hyper_parameter_tuning_job(**tuning_request(names("t"), train_data, hold=gate.port))
    aws.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=names("t"))
    event = event_of(SageMakerTrigger(job_name=names("t"), job_type="tuning", **PATIENT))
    assert (event["status"], event["job_name"]) == ("stopped", names("t"))
    with pytest.raises(WaiterError, match="terminal failure"):
        SageMakerHook().get_waiter("TuningJobComplete").wait(HyperParameterTuningJobName=names("t"), WaiterConfig=FAST)
    children = aws.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(HyperParameterTuningJobName=names("t"))
    assert len(children["TrainingJobSummaries"]) < 3  # the third was never started


@pytest.mark.exercises("SageMakerTuningOperator")
def test_input_that_is_not_there(aws: Aws, names: Names, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowException, match="input S3 Key or Prefix .*/nowhere/ does not exist"):
        operator(tuning_request(names("t"), f"s3://{BUCKET}/nowhere/")).execute(context)
