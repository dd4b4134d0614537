"""`run` when the model is not good enough, on the real Airflow and the real local AWS endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import leftovers

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PROJECT = Path(__file__).resolve().parents[3]


def stack(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tools.stack", *arguments, "--state", str(tmp_path / "state")]
    return subprocess.run(
        argv, cwd=PROJECT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def only_summary(reports: Path) -> dict[str, Any]:
    (path,) = reports.glob("*/*/summary.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_data_without_a_pattern_fails_at_the_gate_and_says_so(tmp_path: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True).frame
    data["target"] = data["target"].sample(frac=1, random_state=1).to_numpy()
    data.to_csv(tmp_path / "shuffled.csv", index=False)
    reports = tmp_path / "reports"
    ended = stack(tmp_path, "run", "--source", (tmp_path / "shuffled.csv").as_uri(), "--reports", str(reports))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    summary = only_summary(reports)
    assert (summary["state"], summary["deployed"]) == ("failed", False)
    assert "did not pass its gate" in summary["error"]
    assert summary["error"].endswith("nothing was deployed.")
    assert not all(gate["passed"] for gate in summary["gates"])
    assert leftovers(tmp_path / "state") == []
