"""The summary says what was so, and a run is good only if there is evidence for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.stack.recorded import BEGUN, good_run, job, task
from tools.stack import summary as summaries
from tools.stack.endpoint_client import JobRecord, busy_seconds


def test_good_run() -> None:
    summary = summaries.build(good_run())
    assert summary["error"] is None
    assert summary["deployed"] is True
    assert summary["metrics"] == {"auc": 0.994, "accuracy": 0.965, "f1": 0.97}
    assert [(one["id"], one["seconds"]) for one in summary["tasks"]] == [
        ("ingest", 2.5),
        ("prepare", 6.25),
        ("deploy", 1.0),
        ("teardown", 1.0),
    ]
    assert summary["jobs"][0] == {"kind": "processing", "name": "p", "status": "Completed", "seconds": 5.0}
    assert summary["endpoint"] == {
        "name": "tumor-abc",
        "status": "InService",
        "predictions_checked": 143,
        "deleted": True,
    }
    assert summary["batch"] == {"rows_in": 143, "rows_out": 143}
    assert summary["monitor"]["shifted"] == {"verdict": "violations", "violations": [{"feature_name": "mean radius"}]}
    assert summary["seconds"] == {"total": 60.0, "setup": 10.0, "airflow": 39.0, "jobs": 11.0}


def test_keys_are_those_that_readers_of_the_file_know() -> None:
    assert list(summaries.build(good_run())) == [
        "model",
        "run_id",
        "state",
        "deployed",
        "error",
        "metrics",
        "gates",
        "tasks",
        "jobs",
        "endpoint",
        "batch",
        "monitor",
        "seconds",
    ]


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("verify", {"rows_checked": 0}, "no prediction of the endpoint was checked"),
        ("verify", None, "no prediction of the endpoint was checked"),
        ("batch_check", {"rows_in": 143, "rows_out": 142}, "got 143 rows and returned 142"),
        ("batch_check", None, "got None rows"),
        ("verdict_normal", {"verdict": "violations"}, "the normal data says violations, expected ok"),
        ("verdict_shifted", {"verdict": "ok"}, "the shifted data says ok, expected violations"),
        ("endpoint_ready", {"name": "tumor-abc", "status": "Creating"}, "no endpoint was ever in service"),
        ("gate", None, "The gate task returned nothing"),
    ],
)
def test_green_without_evidence_is_no_success(part: str, value: dict[str, Any] | None, said: str) -> None:
    facts = good_run()
    facts.xcoms[part] = value
    summary = summaries.build(facts)
    assert said in summary["error"]
    assert summary["state"] == "failed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoints_left": ["tumor-abc"], "endpoint_status": "InService"}, "still exist: tumor-abc"),
        ({"undeleted": ["model tumor-abc"]}, "deleted what still exists: model tumor-abc"),
        ({"aws_asked": False}, "could not be asked"),
        ({"jobs": [job("training", "t", 0, 1, "Stopped")]}, "did not complete: t"),
        ({"keep": True}, "should be kept but its status is not found"),
        ({"error": "The component localaws was killed by signal 9."}, "localaws was killed"),
    ],
)
def test_what_aws_says_counts(changes: dict[str, Any], said: str) -> None:
    assert said in summaries.build(good_run(**changes))["error"]


def test_kept_endpoint_is_no_leftover() -> None:
    facts = good_run(keep=True, endpoint_status="InService", endpoints_left=["tumor-abc"])
    summary = summaries.build(facts)
    assert summary["error"] is None
    assert summary["endpoint"]["deleted"] is False


def test_failed_gate_is_one_sentence_and_claims_no_deployment() -> None:
    facts = good_run(state="failed", tasks=[task("gate", "failed", 1, 2), task("deploy", "upstream_failed", 2, 2)])
    gate = {"metric": "auc", "rule": ">= 0.999", "value": 0.994, "passed": False}
    facts.xcoms = {"gate": {**facts.xcoms["gate"], "passed": False, "gates": [gate]}}
    summary = summaries.build(facts)
    assert summary["deployed"] is False
    assert summary["error"] == ("tumor did not pass its gate: auc is 0.994 and must be >= 0.999; nothing was deployed.")


def test_failed_task_is_named_with_its_reason() -> None:
    facts = good_run(state="failed", tasks=[task("prepare", "failed", 1, 2)], xcoms={})
    facts.reasons = {"prepare": "The column radius holds 'abc' in row 3."}
    assert summaries.build(facts)["error"] == (
        "Task prepare of tumor failed: The column radius holds 'abc' in row 3; nothing was deployed."
    )


def test_failed_task_in_a_run_that_airflow_calls_a_success() -> None:
    facts = good_run(tasks=[task("tune", "failed", 1, 2), task("teardown", "success", 3, 4)], xcoms={})
    summary = summaries.build(facts)
    assert summary["state"] == "failed"
    assert summary["error"] == "Task tune of tumor failed: its log says why; nothing was deployed."


def test_nothing_is_claimed_of_a_run_that_never_started() -> None:
    summary = summaries.build(summaries.Facts("tumor", "run-1", error="The component scheduler died."))
    assert summary["error"] == "The component scheduler died."
    assert summary["deployed"] is False
    assert summary["endpoint"]["deleted"] is False
    assert summary["tasks"] == []


def test_report_is_where_the_gate_says() -> None:
    assert summaries.report_uri(good_run()) == "s3://bucket/reports/run-1/report.html"
    assert summaries.report_uri(good_run(xcoms={})) is None


def test_overlapping_jobs_count_once() -> None:
    unstarted = JobRecord("training", "u", "Failed", None, BEGUN)
    assert busy_seconds([job("a", "1", 0, 10), job("a", "2", 2, 4), job("a", "3", 9, 12), unstarted]) == 12.0


@given(st.text())
def test_run_ids_make_safe_folders(name: str) -> None:
    safe = summaries.file_safe(name)
    assert safe
    assert len(safe) <= 120
    assert Path(safe).name == safe
    assert safe not in (".", "..")
    assert safe == summaries.file_safe(safe)


def test_written_file_reads_back(tmp_path: Path) -> None:
    summary = summaries.build(good_run())
    path = summaries.write(summary, tmp_path / "tumor" / "run-1")
    assert json.loads(path.read_text()) == summary
    assert [one.name for one in path.parent.iterdir()] == ["summary.json"]


def test_table_shows_gates_tasks_and_what_was_deleted() -> None:
    lines = "\n".join(summaries.table(summaries.build(good_run()), [{"kind": "endpoint", "name": "tumor-abc"}]))
    for expected in (
        "auc",
        ">= 0.98",
        "passed",
        "prepare",
        "6.2 s",
        "1 training",
        "deleted endpoint tumor-abc",
        "gone",
    ):
        assert expected in lines
