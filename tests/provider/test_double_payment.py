"""One step executed twice with one config, as Airflow does after a crash of its worker: how many jobs are paid for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerProcessingOperator, SageMakerTrainingOperator
from airflow.sdk.exceptions import TaskDeferred

from sagewind import aws as sagewind_aws
from sagewind.operators.job import JobOperator
from tests.plugins.conftest import Task
from tests.provider.configs import BUCKET, Names, processing_request, training_request
from tests.provider.conftest import Aws, Gate

Request = dict[str, Any]


@pytest.fixture(autouse=True)
def _clients_of_this_endpoint() -> None:
    sagewind_aws._made.cache_clear()


@pytest.fixture(params=["training", "processing"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(kind: str, names: Names, train_data: str, gate: Gate) -> Request:
    """A job that runs until the gate opens."""
    if kind == "training":
        return training_request(names("job"), train_data, hold=gate.port)
    return processing_request(names("job"), train_data, f"s3://{BUCKET}/p/{names}/", f"--hold={gate.port}")


def running(aws: Aws, kind: str, name: str) -> list[str]:
    """The jobs whose names hold this one and that are running, and so paid for."""
    ask, found = {
        "training": (aws.sagemaker.list_training_jobs, "TrainingJobSummaries"),
        "processing": (aws.sagemaker.list_processing_jobs, "ProcessingJobSummaries"),
    }[kind]
    return [str(job) for job in ask(NameContains=name, StatusEquals="InProgress")[found]]


def twice(execute: Callable[[int], Any]) -> None:
    """The first try is lost while its job runs; the second one begins anew."""
    for number in (1, 2):
        with pytest.raises(TaskDeferred):
            execute(number)


def test_the_stock_operator_leaves_two_running_jobs(
    aws: Aws, kind: str, config: Request, names: Names, context: dict[str, Any]
) -> None:
    stock: Any = {"training": SageMakerTrainingOperator, "processing": SageMakerProcessingOperator}[kind]
    twice(
        lambda _: stock(task_id="step", config=copy.deepcopy(config), deferrable=True, print_log=False).execute(context)
    )
    assert len(running(aws, kind, str(names))) == 2


def test_ours_leaves_one(aws: Aws, kind: str, config: Request, names: Names) -> None:
    name_field = {"training": "TrainingJobName", "processing": "ProcessingJobName"}[kind]
    request = {key: value for key, value in config.items() if key != name_field}
    model, task = names("m")[:20].rstrip("-"), Task("run")

    def execute(number: int) -> Any:
        task.ti.try_number = number
        operator = JobOperator(
            task_id="task",
            model=model,
            connection="aws_default",
            plan_task=None,
            kind=kind,  # type: ignore[arg-type]
            step="step",
            request=copy.deepcopy(request),
        )
        return operator.execute(task.context)

    twice(execute)
    assert len(running(aws, kind, model)) == 1
