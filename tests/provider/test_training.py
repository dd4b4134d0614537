"""SageMakerTrainingOperator, its sensor, trigger and waiters."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.providers.amazon.aws.sensors.sagemaker import SageMakerTrainingSensor
from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger
from botocore.exceptions import WaiterError

from tests.provider.configs import BUCKET, LOOKS, PATIENT, POLL, Names, training_request
from tests.provider.conftest import FAST, Aws, Gate, event_of


def slope(aws: Aws, job: dict[str, Any]) -> float:
    """What the trained model holds."""
    with tarfile.open(fileobj=io.BytesIO(aws.read(job["ModelArtifacts"]["S3ModelArtifacts"]))) as archive:
        file = archive.extractfile("line.json")
        assert file is not None
        value: float = json.loads(file.read())["slope"]
    return value


def operator(config: dict[str, Any], **options: Any) -> SageMakerTrainingOperator:
    return SageMakerTrainingOperator(task_id="train", config=config, check_interval=POLL, max_attempts=LOOKS, **options)


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_the_model_and_the_log_of_a_training(
    aws: Aws, names: Names, train_data: str, context: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    job = operator(training_request(names("job"), train_data, shrink="0.5")).execute(context)["Training"]
    assert slope(aws, job) == pytest.approx(2)
    assert job["FinalMetricDataList"][0]["Value"] == pytest.approx(5.5)
    printed = capsys.readouterr().out
    assert 'training with {"shrink": "0.5"}' in printed  # the job's own line, through CloudWatch Logs
    assert "Billable seconds: " in printed


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_values_rendered_as_text_a_role_name_and_a_name_that_is_taken(
    aws: Aws, names: Names, train_data: str, context: dict[str, Any]
) -> None:
    iam = aws.client("iam")
    role = iam.create_role(RoleName=names("role"), AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    config = training_request(names("job"), train_data) | {"RoleArn": names("role")}
    config["ResourceConfig"] |= {"InstanceCount": "1", "VolumeSizeInGB": "2"}
    config["StoppingCondition"]["MaxRuntimeInSeconds"] = "50"
    first = operator(dict(config), print_log=False).execute(context)["Training"]
    assert first["RoleArn"] == role
    assert first["ResourceConfig"]["VolumeSizeInGB"] == 2
    second = operator(dict(config), print_log=False).execute(context)["Training"]
    assert second["TrainingJobName"].startswith(f"{names('job')}-")
    assert slope(aws, second) == slope(aws, first) == 3
    with pytest.raises(AirflowException, match="already exists"):
        operator(dict(config), action_if_job_exists="fail").execute(context)


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_the_connections_endpoint_url_is_enough(
    aws: Aws, names: Names, train_data: str, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    job = operator(training_request(names("job"), train_data)).execute(context)["Training"]
    assert slope(aws, job) == 3


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_s3_operations_before_a_training(aws: Aws, names: Names, tmp_path: Path, context: dict[str, Any]) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "rows.csv").write_text("8,2\n")
    bucket = names("bucket")
    config = training_request(names("job"), f"s3://{bucket}/train/") | {
        "S3Operations": {
            "S3CreateBucket": [{"Bucket": bucket}],
            "S3Upload": [
                {"Path": str(tmp_path / "more" / "rows.csv"), "Bucket": bucket, "Key": "train/rows.csv", "Tar": False},
                {"Path": str(tmp_path / "more"), "Bucket": bucket, "Key": "packed.tar.gz", "Tar": True},
            ],
        }
    }
    assert slope(aws, operator(config, print_log=False).execute(context)["Training"]) == 4
    with tarfile.open(fileobj=io.BytesIO(aws.read(f"s3://{bucket}/packed.tar.gz"))) as archive:
        assert archive.getnames() == ["rows.csv"]


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_input_that_is_not_there(aws: Aws, names: Names, context: dict[str, Any]) -> None:
    with pytest.raises(AirflowException, match="input S3 Key or Prefix .*/nowhere/ does not exist"):
        operator(training_request(names("job"), f"s3://{BUCKET}/nowhere/")).execute(context)
    with pytest.raises(AirflowException, match="S3 Bucket no-such-bucket does not exist"):
        operator(training_request(names("job"), "s3://no-such-bucket/train/")).execute(context)


@pytest.mark.exercises("SageMakerTrainingOperator")
def test_a_failure_carries_the_programs_own_words(
    aws: Aws, names: Names, train_data: str, context: dict[str, Any]
) -> None:
    config = training_request(names("job"), train_data, fail="the rows are crooked")
    with pytest.raises(AirflowException, match="the rows are crooked"):
        operator(config).execute(context)


@pytest.mark.exercises(
    "SageMakerTrainingOperator", "SageMakerTrainingOperator.execute_complete", "SageMakerTrigger", "TrainingJobComplete"
)
def test_deferred(aws: Aws, names: Names, train_data: str, gate: Gate, finish: Callable[..., Any]) -> None:
    config = training_request(names("job"), train_data, hold=gate.port)
    assert slope(aws, finish(operator(config, deferrable=True), gate.open)["Training"]) == 3


@pytest.mark.exercises("SageMakerTrainingOperator", "SageMakerTrainingOperator.execute_complete", "SageMakerTrigger")
def test_deferred_to_a_failure(aws: Aws, names: Names, train_data: str, gate: Gate, finish: Callable[..., Any]) -> None:
    config = training_request(names("job"), train_data, hold=gate.port, fail="the rows are crooked")
    with pytest.raises(AirflowException, match="'status': 'failed'.*the rows are crooked"):
        finish(operator(config, deferrable=True), gate.open)


@pytest.mark.exercises("SageMakerTrigger", "TrainingJobComplete")
def test_trigger_of_a_stopped_training(
    aws: Aws, names: Names, train_data: str, gate: Gate, aiobotocore_path: None
) -> None:
    aws.sagemaker.create_training_job(**training_request(names("job"), train_data, hold=gate.port))
    short = SageMakerTrigger(job_name=names("job"), job_type="training", waiter_delay=0, waiter_max_attempts=1)
    assert event_of(short)["status"] == "timeout"
    aws.sagemaker.stop_training_job(TrainingJobName=names("job"))
    event = event_of(SageMakerTrigger(job_name=names("job"), job_type="training", **PATIENT))
    assert (event["status"], event["job_name"]) == ("stopped", names("job"))
    assert aws.keys(f"models/{names('job')}/") == []  # it had saved nothing when it was stopped


@pytest.mark.exercises("SageMakerTrainingSensor", "TrainingJobCompletedOrStopped")
@pytest.mark.parametrize("print_log", [True, False])
def test_sensor(
    aws: Aws,
    names: Names,
    train_data: str,
    gate: Gate,
    context: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    print_log: bool,
) -> None:
    aws.sagemaker.create_training_job(**training_request(names("job"), train_data, hold=gate.port))
    sensor = SageMakerTrainingSensor(task_id="wait", job_name=names("job"), print_log=print_log)
    assert sensor.poke(context) is False
    gate.open()
    aws.wait("training_job_completed_or_stopped", TrainingJobName=names("job"))
    assert sensor.poke(context) is True
    assert sensor.poke(context) is True
    assert ("validation-error=" in capsys.readouterr().out) is print_log
    assert sensor.last_description is not None
    assert slope(aws, sensor.last_description) == 3


@pytest.mark.exercises("SageMakerTrainingSensor")
def test_sensor_of_a_failure(aws: Aws, names: Names, train_data: str, context: dict[str, Any]) -> None:
    aws.sagemaker.create_training_job(**training_request(names("job"), train_data, fail="the rows are crooked"))
    aws.wait_failed("training_job_completed_or_stopped", TrainingJobName=names("job"))
    sensor = SageMakerTrainingSensor(task_id="wait", job_name=names("job"))
    with pytest.raises(AirflowException, match="failed for the following reason: .*the rows are crooked"):
        sensor.poke(context)


@pytest.mark.exercises("TrainingJobComplete")
def test_the_providers_waiter(aws: Aws, names: Names, train_data: str, gate: Gate) -> None:
    waiter = SageMakerHook().get_waiter("TrainingJobComplete")
    aws.sagemaker.create_training_job(**training_request(names("a"), train_data))
    waiter.wait(TrainingJobName=names("a"), WaiterConfig=FAST)
    assert slope(aws, aws.sagemaker.describe_training_job(TrainingJobName=names("a"))) == 3
    aws.sagemaker.create_training_job(**training_request(names("b"), train_data, hold=gate.port))
    aws.sagemaker.stop_training_job(TrainingJobName=names("b"))
    with pytest.raises(WaiterError, match="terminal failure"):
        waiter.wait(TrainingJobName=names("b"), WaiterConfig=FAST)
