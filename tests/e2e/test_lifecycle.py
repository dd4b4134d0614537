"""`make run`: the whole chain through a real scheduler, in one command, leaving nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import pytest

from tests.e2e.conftest import ROOT, Checkout, leftovers
from tools.stack.airflow_settings import LocalAwsAccess

pytestmark = pytest.mark.timeout(1800)


def test_tumor_from_data_to_teardown(make_checkout: Callable[[], Checkout], tmp_path: Path) -> None:
    checkout, state = make_checkout(), tmp_path / "state"
    done = checkout.stack("run", "--model", "tumor", "--state", str(state))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    (path,) = (checkout.root / "reports/tumor").glob("*/summary.json")
    summary = json.loads(path.read_text())

    assert summary["model"] == "tumor"
    assert (summary["state"], summary["deployed"], summary["error"]) == ("success", True, None)
    assert summary["metrics"]["auc"] >= 0.98
    assert {gate["metric"] for gate in summary["gates"]} >= {"auc", "accuracy"}
    assert all(gate["passed"] for gate in summary["gates"])
    assert all(task["state"] == "success" for task in summary["tasks"])
    assert {job["kind"] for job in summary["jobs"]} == {"processing", "training", "tuning", "transform"}
    assert all(job["status"] == "Completed" for job in summary["jobs"])
    assert summary["endpoint"]["predictions_checked"] >= 100
    assert summary["endpoint"]["deleted"] is True
    assert summary["batch"]["rows_out"] == summary["batch"]["rows_in"] > 0
    assert summary["monitor"]["normal"]["verdict"] == "ok"
    assert summary["monitor"]["shifted"]["verdict"] == "violations"
    assert len({item["feature_name"] for item in summary["monitor"]["shifted"]["violations"]}) == 2
    assert {"total", "setup", "airflow", "jobs"} == set(summary["seconds"])
    report = path.with_name("report.html").read_text()
    assert "<svg" in report
    assert "http://" not in report.replace("http://www.w3.org", "")
    assert leftovers(state) == []
    nothing_left(state)


def nothing_left(state: Path) -> None:
    """A restarted endpoint lists nothing of the run."""
    command = [sys.executable, "-m", "localaws", "--port", "0", "--state", str(state / "run/localaws")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        aws = LocalAwsAccess.from_exports([server.stdout.readline() for _ in range(4)])
        assert aws is not None
        session = boto3.Session(aws.access_key, aws.secret_key, region_name=aws.region)
        sagemaker = session.client("sagemaker", endpoint_url=aws.endpoint_url)
        assert sagemaker.list_endpoints()["Endpoints"] == []
        assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
        assert sagemaker.list_models()["Models"] == []
        assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
        assert sagemaker.list_processing_jobs()["ProcessingJobSummaries"] != []
        server.terminate()
