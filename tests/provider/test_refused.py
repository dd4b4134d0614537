"""The kinds that are refused fail at once with a sentence that names the operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook
from airflow.providers.amazon.aws.operators import sagemaker as operators
from airflow.providers.amazon.aws.sensors import sagemaker as sensors
from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerPipelineTrigger
from botocore.exceptions import ClientError, WaiterError

from tests.provider.configs import ROLE
from tests.provider.conftest import Aws, event_of
from tests.provider.inventory import REFUSED

EXECUTION = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p/execution/abcdefabcdef"


def auto_ml(**options: Any) -> Any:
    return operators.SageMakerAutoMLOperator(
        task_id="t", job_name="job", target_attribute="y", role_arn=ROLE, **options
    )


# name -> (operation that is refused, how to call it)
CALLS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "SageMakerAutoMLOperator": (
        "CreateAutoMLJob",
        lambda data: auto_ml(s3_input=data, s3_output=data).execute({}),
    ),
    "SageMakerAutoMLSensor": (
        "DescribeAutoMLJob",
        lambda _: sensors.SageMakerAutoMLSensor(task_id="t", job_name="job").poke({}),
    ),
    "SageMakerCreateExperimentOperator": (
        "CreateExperiment",
        lambda _: operators.SageMakerCreateExperimentOperator(task_id="t", name="e").execute({}),
    ),
    "SageMakerCreateNotebookOperator": (
        "CreateNotebookInstance",
        lambda _: operators.SageMakerCreateNotebookOperator(
            task_id="t", instance_name="n", instance_type="ml.t3.medium", role_arn=ROLE
        ).execute({}),
    ),
    "SageMakerStartNoteBookOperator": (
        "StartNotebookInstance",
        lambda _: operators.SageMakerStartNoteBookOperator(task_id="t", instance_name="n").execute({}),
    ),
    "SageMakerStopNotebookOperator": (
        "StopNotebookInstance",
        lambda _: operators.SageMakerStopNotebookOperator(task_id="t", instance_name="n").execute({}),
    ),
    "SageMakerDeleteNotebookOperator": (
        "DeleteNotebookInstance",
        lambda _: operators.SageMakerDeleteNotebookOperator(task_id="t", instance_name="n").execute({}),
    ),
    "SageMakerStartPipelineOperator": (
        "StartPipelineExecution",
        lambda _: operators.SageMakerStartPipelineOperator(task_id="t", pipeline_name="p").execute({}),
    ),
    "SageMakerStopPipelineOperator": (
        "StopPipelineExecution",
        lambda _: operators.SageMakerStopPipelineOperator(task_id="t", pipeline_exec_arn=EXECUTION).execute({}),
    ),
    "SageMakerPipelineSensor": (
        "DescribePipelineExecution",
        lambda _: sensors.SageMakerPipelineSensor(task_id="t", pipeline_exec_arn=EXECUTION, verbose=False).poke({}),
    ),
}
WAITERS = {
    "PipelineExecutionComplete": {"PipelineExecutionArn": EXECUTION},
    "PipelineExecutionStopped": {"PipelineExecutionArn": EXECUTION},
    "ImageCreated": {"ImageName": "i"},
    "ImageDeleted": {"ImageName": "i"},
    "ImageUpdated": {"ImageName": "i"},
    "ImageVersionCreated": {"ImageName": "i"},
    "ImageVersionDeleted": {"ImageName": "i"},
    "NotebookInstanceInService": {"NotebookInstanceName": "n"},
    "NotebookInstanceStopped": {"NotebookInstanceName": "n"},
}


def refusal(operation: str) -> str:
    return f"ValidationException.*The operation {operation} is not supported by the local AWS endpoint"


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.exercises(n)) for n in CALLS])
def test_operators_and_sensors(aws: Aws, train_data: str, name: str) -> None:
    operation, call = CALLS[name]
    with pytest.raises(ClientError, match=refusal(operation)):
        call(train_data)


@pytest.mark.exercises("SageMakerPipelineTrigger", "PipelineExecutionComplete")
def test_trigger(aws: Aws, aiobotocore_path: None) -> None:
    trigger = SageMakerPipelineTrigger(
        SageMakerPipelineTrigger.Type.COMPLETE,
        pipeline_execution_arn=EXECUTION,
        waiter_delay=0,
        waiter_max_attempts=1,
        aws_conn_id="aws_default",
    )
    with pytest.raises(KeyError, match="PipelineExecutionStatus"):  # the trigger logs the status of what was refused
        event_of(trigger)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.exercises(n)) for n in WAITERS])
def test_waiters(aws: Aws, name: str) -> None:
    waiter = SageMakerHook().get_waiter(name if name.startswith("Pipeline") else snake(name))
    with pytest.raises(WaiterError) as caught:
        waiter.wait(**WAITERS[name], WaiterConfig={"Delay": 0, "MaxAttempts": 1})
    assert "is not supported by the local AWS endpoint" in caught.value.last_response["Error"]["Message"]


@pytest.mark.exercises("NotebookInstanceDeleted")
def test_waiter_that_takes_every_refusal_for_gone(aws: Aws) -> None:
    """On AWS too this error code means that there is no such notebook."""
    aws.wait("notebook_instance_deleted", NotebookInstanceName="n")
    with pytest.raises(ClientError, match=refusal("DescribeNotebookInstance")):
        aws.sagemaker.describe_notebook_instance(NotebookInstanceName="n")


def snake(name: str) -> str:
    """boto3's method name of a waiter."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).strip("_")


def test_all_refused_kinds_are_tried() -> None:
    assert {*CALLS, *WAITERS, "SageMakerPipelineTrigger", "NotebookInstanceDeleted"} == REFUSED
