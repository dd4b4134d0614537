"""Where a run leads: the edges between tasks, the groups that the graph shows, and what starts a DAG."""

from __future__ import annotations

import graphlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowDagCycleException
from airflow.serialization.serialized_objects import DagSerialization

from sagewind.pipeline.spec import ModelSpec, MonitorSpec
from sagewind.workflows import graph
from sagewind.workflows.batch_scoring import batch_scoring_dag
from sagewind.workflows.lifecycle import lifecycle_dag
from sagewind.workflows.monitoring import monitoring_dag
from sagewind.workflows.training import training_dag
from tests.conftest import ROOT
from tests.models import load_model

Edges = set[tuple[str, str]]
FAMILIES: dict[str, Callable[[ModelSpec], DAG]] = {
    "lifecycle": partial(lifecycle_dag, project=ROOT),
    "training": partial(training_dag, project=ROOT),
    "batch_scoring": batch_scoring_dag,
    "monitoring": monitoring_dag,
}
#: A task is in the same group wherever it occurs.
GROUPS = {
    "data": {"ingest", "prepare", "newest", "traffic", "serving", "labelled_traffic", "judged_version"},
    "training": {"train", "tune", "evaluate", "baseline"},
    "release": {"gate", "register", "ask_approval", "approved", "publish"},
    "serving": {
        *("shall_deploy", "create_model", "endpoint_config", "deploy", "endpoint_ready", "verify", "approve"),
        *("deployed", "batch_transform"),
    },
    "checks": {
        *("batch_check", "captured", "monitor_normal", "verdict_normal"),
        *("shift_batch", "monitor_shifted", "verdict_shifted"),
        *("check", "verdict", "quality_check", "quality_verdict", "drift"),
    },
    "clean_up": {"restore", "teardown", "complete"},
}


def specs() -> dict[str, ModelSpec]:
    """Models that make every task: tuned and not, approved by a person, without an endpoint, judged by labels."""
    tumor, both = load_model("tumor"), ["data_quality", "model_quality"]
    monitor = MonitorSpec.model_validate(
        {"checks": both, "ground_truth": "s3://lake/labels", "on_violation": "retrain"}
    )
    return {
        "tumor": tumor,
        "census": load_model("census"),
        "trained once": tumor.model_copy(update={"tune": None}),
        "manual": tumor.model_copy(update={"approve": "manual"}),
        "no endpoint": tumor.model_copy(update={"deploy": tumor.deploy.model_copy(update={"mode": "none"})}),
        "labels": tumor.model_copy(update={"monitor": monitor}),
    }


MODELS = pytest.mark.parametrize("spec", specs().values(), ids=specs())
EVERY_FAMILY = pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)


def edges(dag: Any) -> Edges:
    return {(task.task_id, below) for task in dag.tasks for below in task.downstream_task_ids}


def chained(*tasks: str) -> Edges:
    return set(itertools.pairwise(tasks))


def ended(*leaves: str) -> Edges:
    return {(leaf, end) for leaf in leaves for end in ("teardown", "complete")}


def trained(fit: str) -> Edges:
    return chained("ingest", "prepare", fit, "evaluate", "gate", "register") | chained(
        "prepare", "baseline", "register"
    )


DEPLOYED = chained("create_model", "endpoint_config", "deploy", "endpoint_ready", "verify", "approve")
REHEARSED = (
    DEPLOYED
    | chained("create_model", "batch_transform", "batch_check")
    | chained("verify", "captured", "monitor_normal", "verdict_normal")
    | chained("prepare", "shift_batch", "monitor_shifted", "verdict_shifted")
    | chained("baseline", "monitor_shifted")
    | ended("gate", "approve", "batch_check", "verdict_normal", "verdict_shifted")
)
PRODUCED = (
    DEPLOYED
    | chained("shall_deploy", "create_model")
    | chained("approve", "deployed")
    | {(task, "restore") for task in ("deploy", "endpoint_ready", "verify")}
    | ended("gate", "register", "deployed", "restore")
)
ASKED = {("register", "ask_approval"), ("register", "approved")}
SCORED = chained("ingest", "newest", "create_model", "batch_transform", "batch_check", "publish") | ended("publish")


@pytest.mark.parametrize(
    ("model", "family", "expected"),
    [
        ("tumor", "lifecycle", trained("tune") | chained("register", "create_model") | REHEARSED),
        ("trained once", "lifecycle", trained("train") | chained("register", "create_model") | REHEARSED),
        ("manual", "lifecycle", trained("tune") | ASKED | chained("approved", "create_model") | REHEARSED),
        ("tumor", "training", trained("tune") | chained("register", "shall_deploy") | PRODUCED),
        ("manual", "training", trained("tune") | ASKED | chained("approved", "shall_deploy") | PRODUCED),
        ("no endpoint", "training", trained("tune") | chained("register", "shall_deploy") | PRODUCED),
        ("census", "batch_scoring", SCORED),
    ],
)
def test_edges_are_exactly_these(model: str, family: str, expected: Edges) -> None:
    """Of the monitoring: see test_monitoring.py."""
    assert edges(FAMILIES[family](specs()[model])) == expected


@dataclass(frozen=True)
class Instance:
    """As much of a task instance as Airflow needs to say whether it counts."""

    task_id: str
    state: None = None


@MODELS
@EVERY_FAMILY
def test_a_run_is_judged_by_its_end(make: Callable[[ModelSpec], DAG], spec: ModelSpec) -> None:
    """Read as the scheduler reads it: out of the database, where groups and teardowns are as they were."""
    dag = make(spec)
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert edges(stored) == edges(dag)
    instances = [Instance(task_id) for task_id in stored.task_ids]
    leaves = {each.task_id for each in DagRun._tis_for_dagrun_state(None, dag=stored, tis=instances)}
    # The end, and what nothing follows: a question, whose answer is awaited in the registry, and a drift event.
    assert leaves == {"complete", "teardown", "ask_approval", "drift"} & set(stored.task_ids)


@MODELS
@EVERY_FAMILY
def test_every_task_is_in_the_group_of_its_name(make: Callable[[ModelSpec], DAG], spec: ModelSpec) -> None:
    dag = make(spec)
    found = {group.group_id: set(group.children) for group in dag.task_group.children.values()}
    expected = {name: ids & set(dag.task_ids) for name, ids in GROUPS.items()}
    assert found == {name: ids for name, ids in expected.items() if ids}


@MODELS
@EVERY_FAMILY
def test_collapsed_groups_lead_one_way(make: Callable[[ModelSpec], DAG], spec: ModelSpec) -> None:
    """Groups that wait for each other cannot be ordered: Airflow then shows neither graph nor grid."""
    dag = make(spec)
    group_of = {task: name for name, ids in GROUPS.items() for task in ids}
    between = {(group_of[above], group_of[below]) for above, below in edges(dag)}
    before: dict[str, set[str]] = {}
    for above, below in between:
        if above != below:
            before.setdefault(below, set()).add(above)
    order = [*graphlib.TopologicalSorter(before).static_order()]
    assert (order[0], order[-1]) == ("data", "clean_up")


def test_groups_that_wait_for_each_other_are_refused_when_the_dag_is_made() -> None:
    with DAG("d", schedule=None) as dag:
        data, checks = graph.group("data"), graph.group("checks")
        first, last = (EmptyOperator(task_id=name, task_group=data) for name in ("first", "last"))
        first >> EmptyOperator(task_id="check", task_group=checks) >> last
    with pytest.raises(AirflowDagCycleException):
        graph.about(dag)


def test_a_dag_tells_what_starts_it_and_its_groups_in_the_order_of_a_run() -> None:
    doc = training_dag(load_model("tumor"), ROOT).doc_md
    assert "\nStarts by cron `0 3 * * 1` (UTC), on the event `drift://tumor`, or by hand.\n" in doc
    shown = [line.partition("**: ")[0] for line in doc.splitlines() if line.startswith("- **")]
    assert shown == ["- **data", "- **training", "- **release", "- **serving", "- **clean-up"]
    assert f"- **release**: {graph.TOOLTIPS['release']}.\n" in doc


CRON = CronDataIntervalTimetable("@daily", timezone="UTC")
EVENT = Asset("drift://m")


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (None, "by hand"),
        (CRON, "by cron `0 0 * * *` (UTC), or by hand"),
        ([EVENT], "on the event `drift://m`, or by hand"),
        (
            AssetOrTimeSchedule(timetable=CRON, assets=[EVENT]),
            "by cron `0 0 * * *` (UTC), on the event `drift://m`, or by hand",
        ),
    ],
)
def test_what_starts_a_dag(schedule: Any, said: str) -> None:
    assert graph.starters(DAG("d", schedule=schedule).schedule) == said
