"""A user's project from an empty folder: it runs from the wheels, and a newer wheel is all that an upgrade needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sagewind.facts.version import VERSION
from tests.conftest import ROOT
from tests.wheel.conftest import Run, build

NEWER = f"{VERSION}.post1"


def newer_wheel(folder: Path) -> Path:
    """The wheel of this code under a later version."""
    source = folder / "source"
    shutil.copytree(ROOT / "plugins", source / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    version = source / "plugins/sagewind/facts/version.py"
    version.write_text(version.read_text().replace(VERSION, NEWER))
    return build(source, folder / "newer")


def digest(project: Path) -> str:
    """Of what a user writes."""
    files = sorted(path for part in ("dags", "include") for path in (project / part).rglob("*.*") if path.is_file())
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.suffix != ".pyc")).hexdigest()


def make(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make` as a user calls it, with nothing of the checkout in its environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON", "MAKE"))}
    for name in ("MODEL", "NAME", "SOURCE", "MFLAGS"):
        kept.pop(name, None)
    return subprocess.run(["make", *arguments], cwd=project, env=kept, capture_output=True, text=True, check=False)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_an_empty_folder_becomes_a_project_that_runs_and_is_upgraded(python: Run, wheel: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "dist"
    wheels.mkdir()
    shutil.copy(wheel, wheels)
    shutil.copy(build(ROOT / "packages/localaws", tmp_path / "endpoint"), wheels)
    project = tmp_path / "mine"
    made = python("-m", "sagewind.command.main", "new", str(project), "--wheels", str(wheels))
    assert made.returncode == 0, made.stderr

    done = make(project, "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tumor_lifecycle: success" in done.stdout
    assert "  cleaned up: endpoint tumor-rehearsal-" in done.stdout

    before = digest(project)
    shutil.copy(newer_wheel(tmp_path), project / "wheels")
    done = make(project, "dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "## train: CreateTrainingJob" in done.stdout
    version = subprocess.run([project / ".venv/bin/sagewind", "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"sagewind {NEWER}\n"
    assert digest(project) == before
