"""SageMakerConditionOperator on the metrics of a real training."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerConditionOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from tests.provider.conftest import Aws


class Skips:
    """A task instance that notes what is skipped."""

    def __init__(self, task: Any) -> None:
        self.task = task
        self.map_index = -1
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        self.pushed[key] = value


@pytest.mark.exercises("SageMakerConditionOperator")
@pytest.mark.parametrize(("limit", "taken"), [(0.1, "register"), (-1.0, "reject")])
def test_branch_by_a_trainings_error(
    aws: Aws, artifact: str, limit: float, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = aws.sagemaker.describe_training_job(TrainingJobName="shared-training")
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == artifact
    error = job["FinalMetricDataList"][0]["Value"]
    with DAG("branches", schedule=None):
        decide = SageMakerConditionOperator(
            task_id="decide",
            condition_type="LessThan",
            left_value=str(error),  # as a template renders it
            right_value=limit,
            if_task_ids="register",
            else_task_ids="reject",
        )
        decide >> [EmptyOperator(task_id="register"), EmptyOperator(task_id="reject")]
    skipped: list[Any] = []
    monkeypatch.setattr(SageMakerConditionOperator, "skip_all_except", lambda _, __, branches: skipped.append(branches))
    assert decide.execute({"ti": Skips(decide)}) == [taken]
    assert [set(branches) for branches in skipped] == [{taken}]


@pytest.mark.exercises("SageMakerConditionOperator")
def test_no_branch_left(aws: Aws) -> None:
    decide = SageMakerConditionOperator(
        task_id="decide", condition_type="Equals", left_value=1, right_value=2, if_task_ids="register"
    )
    with pytest.raises(AirflowFailException, match="Condition check failed"):
        decide.execute({})
