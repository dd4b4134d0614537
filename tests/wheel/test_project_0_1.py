"""A project as version 0.1 had it, untouched, on the wheel: its DAG files, and model files with the old paths."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.wheel.conftest import Run

PROGRAM = """
import json, pathlib, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
warned = [warning for found in bag.captured_warnings.values() for warning in found]
import sagewind.workflows
print(json.dumps({
    "dags": sorted(bag.dags), "errors": bag.import_errors, "warned": [str(warning) for warning in warned],
    "from": str(pathlib.Path(sagewind.workflows.__file__).parents[2]),
    "script": bag.dags["tumor_training"].get_task("ingest").spec.train.script,
}))
"""
KINDS = ("batch_scoring", "lifecycle", "monitoring", "training")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What a user of 0.1 had of his own."""
    return shutil.copytree(ROOT / "tests/data/project_0_1", tmp_path / "old")


def parsed(python: Run, project: Path) -> dict[str, Any]:
    done = python("-c", PROGRAM, str(project / "dags"))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_it_is_read_with_a_warning_that_says_what_to_write(python: Run, project: Path, site: Path) -> None:
    found = parsed(python, project)
    assert found["errors"] == {}
    assert found["dags"] == sorted(["sagemaker_housekeeping", *(f"tumor_{kind}" for kind in KINDS)])
    assert found["from"] == str(site)
    assert found["script"] == "sagewind:train"
    said = "\n".join(found["warned"])
    assert "write `from sagewind.workflows import model_dags`" in said
    for key, name in (("script", "train"), ("serve", "serve")):
        where = f"train.{key} is 'include/jobs/{name}.py', where version 0.1 had this program"
        assert f"{where}: sagewind:{name} is taken; write that, as version 0.3 will not know the path" in said


def test_a_script_of_the_users_own_at_the_old_path_is_his(python: Run, project: Path) -> None:
    (project / "include/jobs").mkdir()
    (project / "include/jobs/train.py").write_text("print('mine')\n")
    found = parsed(python, project)
    assert (found["errors"], found["script"]) == ({}, "include/jobs/train.py")


def test_a_project_of_today_is_read_without_a_warning_of_ours(python: Run, tmp_path: Path) -> None:
    for part in ("dags", "include"):
        shutil.copytree(ROOT / part, tmp_path / "new" / part, ignore=shutil.ignore_patterns("__pycache__"))
    found = parsed(python, tmp_path / "new")
    assert found["errors"] == {}
    assert not [text for text in found["warned"] if "0.1" in text or "0.3" in text]


@pytest.mark.long
def test_its_model_lives_its_whole_life_on_the_wheel(python: Run, project: Path) -> None:
    done = python("-m", "sagewind.command.main", "run", "tumor", "--project", str(project))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tumor_lifecycle: success" in done.stdout
    assert "  cleaned up: model package group tumor-rehearsal-" in done.stdout
