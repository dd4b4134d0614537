"""The wheel as it is built, in an environment that knows nothing of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from localaws.engine import pip_settings
from tests.conftest import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]


def build(source: Path, folder: Path) -> Path:
    """The wheel of a distribution, alone in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", str(source), "--out-dir", str(folder)],
        env={**os.environ, **pip_settings.settings()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel `sagewind`."""
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


def linked(folder: Path, *wheels: Path) -> Path:
    """A Python environment with some wheels, and the packages of this one by links, without the checkout."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.lstrip("_").startswith(("sagewind-", "editable_impl_sagewind.pth")):
            (site / path.name).symlink_to(path)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)  # our own
    for point in metadata.entry_points(group="console_scripts"):
        if point.name not in ("airflow", "localaws", "sagewind"):
            continue
        script = folder / "bin" / point.name
        text = f"#!{folder}/bin/python\nimport sys\nfrom {point.module} import {point.attr}\nsys.exit({point.attr}())\n"
        script.write_text(text)
        script.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel."""
    return linked(tmp_path_factory.mktemp("environment"), wheel)


@pytest.fixture(scope="session")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has no wheel of ours."""
    return linked(tmp_path_factory.mktemp("without"))


@pytest.fixture(scope="session")
def site(environment: Path) -> Path:
    """Where the wheel's files lie."""
    (found,) = environment.glob("lib/python*/site-packages")
    return found


def runs(environment: Path, folder: Path) -> Run:
    """Runs an environment's Python in `folder`, with an Airflow home of its own."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        home = {"AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        command = [str(environment / "bin/python"), *arguments]
        return subprocess.run(
            command, env=kept | home | variables, cwd=folder, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def python(environment: Path, tmp_path: Path) -> Run:
    """Python of the environment with the wheel."""
    return runs(environment, tmp_path)


@pytest.fixture
def bare(without: Path, tmp_path: Path) -> Run:
    """Python of the environment that has no wheel."""
    return runs(without, tmp_path)
