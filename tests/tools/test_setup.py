"""tools/setup.sh: what it says when it cannot work, and that a finished set-up is left alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

STUB = """#!/bin/sh
# Stands in for a Python: `found` is the answer to the version test, anything else is written down.
case "$*" in
  *sys.exit*) exit {fits} ;;
  *ensurepip*) exit {has_venv} ;;
  *print*) echo '3\\.11' ;;
  --version) echo 'Python {version}' ;;
  *) echo "$0 $*" >>{log}; exit 3 ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with nothing but the script, a lock and a package."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/setup.sh", tmp_path / "tools")
    (tmp_path / "constraints.txt").write_text("uv==0.0.0\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "packages/one").mkdir(parents=True)
    (tmp_path / "packages/one/pyproject.toml").write_text('[project]\nname = "one"\n')
    return tmp_path


def stub(path: Path, *, fits: int = 0, has_venv: int = 0, version: str = "3.11.9") -> Path:
    """Write an executable that answers like a Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STUB.format(fits=fits, has_venv=has_venv, version=version, log=path.parent / "calls"))
    path.chmod(0o755)
    return path


def setup(project: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the script of `project`."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **env}
    command = [str(project / "tools/setup.sh"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_wrong_python_is_one_sentence(project: Path) -> None:
    done = setup(project, PYTHON=str(stub(project / "bin/old", fits=1, version="3.9.1")))
    assert done.returncode == 1
    refused = f"PYTHON={project}/bin/old is not a working Python 3.11 or 3.12"
    assert done.stderr == f"setup: {refused} (found: Python 3.9.1); name one that is.\n"


def test_no_python_is_one_sentence(project: Path) -> None:
    for name in ("python3.12", "python3.11", "python3"):
        stub(project / "bin" / name, fits=1)
    done = setup(project, PATH=f"{project}/bin:/usr/bin:/bin")
    assert done.returncode == 1
    assert done.stderr.startswith("setup: no Python 3.11 or 3.12 found")
    assert done.stderr.count("\n") == 1


def test_the_newest_that_fits_is_chosen(project: Path) -> None:
    stub(project / "bin/python3.12", fits=1)
    stub(project / "bin/python3.11")
    assert setup(project, "--which", PATH=f"{project}/bin:/usr/bin:/bin").stdout == "python3.11\n"


def test_a_python_without_venv_is_one_sentence(project: Path) -> None:
    done = setup(project, PYTHON=str(stub(project / "bin/bare", has_venv=1)))
    assert done.returncode == 1
    assert "has no venv module; install it" in done.stderr
    assert not (project / ".venv").exists()


def finished(project: Path) -> None:
    """A set-up that the script takes for done."""
    stub(project / ".venv/bin/python")
    stub(project / ".venv/bin/uv")
    (project / ".venv/pyvenv.cfg").write_text("version = 3.11.9\n")
    (project / ".venv/installed.txt").write_text(stamp(project, str(project)))


def stamp(project: Path, where: str) -> str:
    """What the script writes down of a checkout that it has set up at `where`."""
    names = ("constraints.txt", "pyproject.toml", "packages/one/pyproject.toml")
    read = [project / name for name in names]
    return "".join(file.read_text() for file in read) + f"# in {where}\n"


def test_a_finished_set_up_is_left_alone(project: Path) -> None:
    finished(project)
    done = setup(project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (project / ".venv/bin/calls").exists()


@pytest.mark.parametrize("damage", ["changed lock", "changed package", "interrupted", "moved", "no python"])
def test_what_is_not_finished_is_redone(project: Path, damage: str) -> None:
    finished(project)
    if damage == "changed lock":
        (project / "constraints.txt").write_text("uv==0.0.1\n")
    elif damage == "changed package":
        (project / "packages/one/pyproject.toml").write_text('[project]\nname = "two"\n')
    elif damage == "interrupted":
        (project / ".venv/installing").touch()
    elif damage == "moved":
        (project / ".venv/installed.txt").write_text(stamp(project, "/elsewhere"))
    else:
        (project / ".venv/bin/python").unlink()
    done = setup(project, PYTHON=str(stub(project / "bin/python3.11")))
    # The stub fails at its first real work, so the set-up must have begun and must not count as finished.
    assert done.returncode == 3
    assert not (project / ".venv/installed.txt").exists()
    assert (project / ".venv/installing").exists()
