"""A finished run of a lifecycle as Airflow's API and the local AWS endpoint describe it (shapes of real answers)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tools.stack.endpoint_client import JobRecord
from tools.stack.summary import Facts

BEGUN = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)


def task(task_id: str, state: str | None, start: float | None = None, end: float | None = None) -> dict[str, Any]:
    """One task instance; seconds after `BEGUN`."""

    def when(seconds: float | None) -> str | None:
        return None if seconds is None else (BEGUN + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

    return {
        "task_id": task_id,
        "map_index": -1,
        "state": state,
        "try_number": 1,
        "start_date": when(start),
        "end_date": when(end),
        "duration": 0.01,
    }


def job(kind: str, name: str, start: float, end: float, status: str = "Completed") -> JobRecord:
    """One job; seconds after `BEGUN`."""
    return JobRecord(kind, name, status, BEGUN + timedelta(seconds=start), BEGUN + timedelta(seconds=end))


def good_run(**changes: Any) -> Facts:
    """A run in which everything is as it should be."""
    facts = Facts(
        "tumor",
        "run-1",
        state="success",
        tasks=[
            task("deploy", "success", 20, 21),
            task("ingest", "success", 0, 2.5),
            task("prepare", "success", 3, 9.25),
            task("teardown", "success", 40, 41),
        ],
        xcoms={
            "gate": {
                "passed": True,
                "metrics": {"auc": 0.994, "accuracy": 0.965, "f1": 0.97},
                "gates": [{"metric": "auc", "rule": ">= 0.98", "value": 0.994, "passed": True}],
                "report": "s3://bucket/reports/run-1/report.html",
            },
            "deploy": {"name": "tumor-abc", "arn": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/tumor-abc"},
            "endpoint_ready": {"name": "tumor-abc", "status": "InService", "config": "tumor-abc"},
            "verify": {"rows_checked": 143, "requests": 3, "max_difference": 0.0},
            "batch_check": {"rows_in": 143, "rows_out": 143},
            "verdict_normal": {"verdict": "ok", "violations": [], "requests": 3},
            "verdict_shifted": {"verdict": "violations", "violations": [{"feature_name": "mean radius"}]},
            "teardown": {"deleted": [{"kind": "endpoint", "name": "tumor-abc"}], "kept": False},
        },
        jobs=[job("processing", "p", 3, 8), job("training", "t", 7, 12), job("transform", "x", 20, 22)],
        aws_asked=True,
        seconds_total=60.0,
        seconds_setup=10.0,
    )
    for name, value in changes.items():
        setattr(facts, name, value)
    return facts
