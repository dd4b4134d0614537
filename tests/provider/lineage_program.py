"""Run by test_lineage.py with the OpenLineage provider on its path: what it learns of our task and of the stock one."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

from airflow.providers.amazon.aws.operators import sagemaker as stock
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.utils.state import TaskInstanceState

from sagewind.operators.job import JobOperator


def seen(operator: Any, state: TaskInstanceState) -> list[list[list[str]]]:
    """Inputs and outputs that OpenLineage finds out about a task, as namespace and name."""
    run = SimpleNamespace(run_id="r")
    found = ExtractorManager().extract_metadata(run, operator, state, SimpleNamespace())
    return [[[item.namespace, item.name] for item in side] for side in (found.inputs, found.outputs)]


def stock_operator(kind: str, request: dict[str, Any]) -> Any:
    """The provider's operator after its job has ended; what it kept of the job's description is the request."""
    operator: Any
    if kind == "processing":
        operator = stock.SageMakerProcessingOperator(task_id="operator", config=request)
        operator.serialized_job = request
    elif kind == "training":
        operator = stock.SageMakerTrainingOperator(task_id="operator", config=request)
        path = request["OutputDataConfig"]["S3OutputPath"]
        operator.serialized_training_data = {**request, "ModelArtifacts": {"S3ModelArtifacts": path}}
    else:
        operator = stock.SageMakerTransformOperator(task_id="operator", config=request)
        operator.serialized_model, operator.serialized_transform = {}, request
    return operator


def main() -> None:
    """Requests by kind on standard input; answers on standard output."""
    answers = {}
    for kind, request in json.load(sys.stdin).items():
        ours = JobOperator(task_id="t", model="m", connection="c", plan_task=None, kind=kind, step="s", request=request)
        answers[kind] = {
            "ours": seen(ours, TaskInstanceState.RUNNING),
            "ours, failed": seen(ours, TaskInstanceState.FAILED),
            "stock": None if kind == "tuning" else seen(stock_operator(kind, request), TaskInstanceState.SUCCESS),
        }
    sys.stdout.write("\n" + json.dumps(answers))


if __name__ == "__main__":
    main()
