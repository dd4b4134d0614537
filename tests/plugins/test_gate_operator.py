"""The gate: what passes, what does not, and the champion."""

from __future__ import annotations

from typing import Any

import pytest

from sagewind import packages, s3
from sagewind.aws import AwsClients
from sagewind.errors import TaskRefused
from sagewind.operators.gate import GateOperator
from sagewind.pipeline.spec import ChampionSpec

AWS = AwsClients("c", None)
FOLDER = "s3://gates/evaluation"


@pytest.fixture(autouse=True)
def bucket(connection: None) -> None:
    AWS.client("s3").create_bucket(Bucket="gates")
    s3.put_json(AWS, f"{FOLDER}/evaluation.json", {"metrics": {"auc": 0.97, "logloss": 0.2}})


def judge(task, rules: dict[str, str], champion: ChampionSpec | None = None, folder: str = FOLDER) -> dict[str, Any]:
    operator = GateOperator(
        task_id="gate",
        model="m",
        connection="c",
        plan_task=None,
        folder=folder,
        problem="binary",
        rules=rules,
        champion=champion,
        champion_group="m",
    )
    return operator.execute(task.context)


def test_met_gates_pass_with_their_metrics(task) -> None:
    found = judge(task, {"auc": ">= 0.95", "logloss": "< 0.3"})
    assert found["passed"]
    assert found["metrics"]["auc"] == 0.97
    assert found["report"] == f"{FOLDER}/report.html"


def test_a_missed_gate_says_so_and_leaves_its_outcome(task) -> None:
    with pytest.raises(TaskRefused, match=r"not deployed: auc is 0.97, required >= 0.98"):
        judge(task, {"auc": ">= 0.98", "logloss": "< 0.3"})
    assert task.xcoms["outcome"]["passed"] is False
    assert [gate["passed"] for gate in task.xcoms["outcome"]["gates"]] == [False, True]


def test_an_evaluation_that_is_missing_or_broken_never_passes(task) -> None:
    with pytest.raises(TaskRefused, match="is not there"):
        judge(task, {}, folder="s3://gates/nowhere")
    s3.put_text(AWS, "s3://gates/broken/evaluation.json", "{")
    with pytest.raises(TaskRefused, match="is not JSON"):
        judge(task, {}, folder="s3://gates/broken")
    s3.put_json(AWS, "s3://gates/empty/evaluation.json", {})
    with pytest.raises(TaskRefused, match="has no metrics"):
        judge(task, {}, folder="s3://gates/empty")


def champion_with(monkeypatch: pytest.MonkeyPatch, metrics: dict[str, Any] | None) -> None:
    found: dict[str, Any] = {"ModelPackageArn": "arn:champion"}
    if metrics is not None:
        s3.put_json(AWS, "s3://gates/champion.json", {"metrics": metrics})
        found["ModelMetrics"] = {"ModelQuality": {"Statistics": {"S3Uri": "s3://gates/champion.json"}}}
    monkeypatch.setattr(packages, "newest_approved", lambda *_: found)


@pytest.mark.parametrize(("champion", "passes"), [(0.975, True), (0.99, False)])
def test_a_candidate_may_be_worse_by_the_tolerance(task, monkeypatch, champion: float, passes: bool) -> None:
    champion_with(monkeypatch, {"auc": champion})
    rule = ChampionSpec(metric="auc", tolerance=0.01)
    if passes:
        assert judge(task, {}, rule)["passed"]
    else:
        with pytest.raises(TaskRefused, match="auc is 0.97, required >= 0.98"):
            judge(task, {}, rule)


@pytest.mark.parametrize("metrics", [None, {}, {"auc": None}])
def test_a_champion_that_cannot_be_read_is_named(task, monkeypatch, metrics) -> None:
    champion_with(monkeypatch, metrics)
    with pytest.raises(TaskRefused, match="champion arn:champion has no auc to compare with"):
        judge(task, {}, ChampionSpec(metric="auc"))


def test_a_backfill_is_not_held_against_todays_champion(task, monkeypatch) -> None:
    champion_with(monkeypatch, {"auc": 1.0})
    task.run_type = "backfill"
    assert judge(task, {}, ChampionSpec(metric="auc"))["passed"]
