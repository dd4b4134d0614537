"""The shape of `<model>_monitoring`: a branch per check, one event, one end."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from airflow.sdk import DAG, TriggerRule

from sagewind.pipeline.spec import MonitorSpec
from sagewind.workflows.monitoring import monitoring_dag
from tests.models import load_model

LABELS = "s3://lake/labels"
DATA = ["traffic", "serving", "check", "verdict"]
QUALITY = ["labelled_traffic", "judged_version", "quality_check", "quality_verdict"]


def dag_of(**monitor: Any) -> DAG:
    """The DAG of tumor with another monitor section."""
    spec = load_model("tumor").model_copy(update={"monitor": MonitorSpec(**monitor)})
    return monitoring_dag(spec)


def edges(dag: DAG) -> set[tuple[str, str]]:
    return {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}


def chained(*tasks: str) -> set[tuple[str, str]]:
    return set(itertools.pairwise(tasks))


def ended(*leaves: str) -> set[tuple[str, str]]:
    return {(leaf, end) for leaf in leaves for end in ("teardown", "complete")}


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        ({}, chained("ingest", *DATA) | ended("verdict")),
        (
            {"checks": ["model_quality"], "ground_truth": LABELS},
            chained("ingest", *QUALITY) | ended("quality_verdict"),
        ),
        (
            {"checks": ["data_quality", "model_quality"], "ground_truth": LABELS, "on_violation": "retrain"},
            chained("ingest", *DATA, "drift")
            | chained("ingest", *QUALITY, "drift")
            | ended("verdict", "quality_verdict"),
        ),
    ],
    ids=["data", "quality", "both"],
)
def test_each_check_is_a_branch_of_its_own(monitor: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert edges(dag_of(**monitor)) == expected


def test_a_check_that_is_skipped_or_fails_does_not_silence_the_other() -> None:
    both = dag_of(checks=["data_quality", "model_quality"], ground_truth=LABELS, on_violation="retrain")
    assert both.get_task("drift").trigger_rule == TriggerRule.ALL_DONE
    assert dag_of(on_violation="retrain").get_task("drift").trigger_rule == TriggerRule.ALL_SUCCESS
    assert both.get_task("complete").trigger_rule == TriggerRule.NONE_FAILED


def test_the_labels_and_their_delay_reach_the_tasks() -> None:
    dag = dag_of(checks=["model_quality"], ground_truth=LABELS, label_delay=36, quality_tolerance=0.1)
    labelled = dag.get_task("labelled_traffic")
    assert (labelled.ground_truth, labelled.delay_hours) == (LABELS, 36)
    request = dag.get_task("quality_check").request
    assert request["Environment"]["constraint_tolerance"] == "0.1"
    assert request["Environment"]["excluded_inference_id_prefix"] == "sagewind-verify"
