"""An environment like Amazon MWAA's: its packages, its folders, and what `make mwaa` wrote for this repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localaws.engine import pip_settings
from sagewind.command import mwaa
from tests.conftest import ROOT
from tests.wheel.conftest import build

PINS = Path(__file__).with_name("mwaa-3.3.1.txt")
#: What MWAA installs before a user's requirements; without psycopg2 and pycurl, which are compiled there.
INSTALLED = (
    "apache-airflow[celery,statsd]",
    "apache-airflow-providers-amazon[aiobotocore]",
    "apache-airflow-providers-fab",
    "apache-airflow-providers-standard",
)
#: For the tests that run inside it; the endpoint is a tool of theirs, and wants a newer boto3 than MWAA has.
TEST_TOOLS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "numba", "pyarrow")


def run(command: list[str], environment: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    """What a command prints; the test fails with all of it if the command does."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-20000:]}\n{done.stderr[-20000:]}"
    return done.stdout


def uv(*arguments: str) -> str:
    """A uv command with the package index of this machine; uv keeps what it has fetched, so that a rerun is quick."""
    environment = {**os.environ, **pip_settings.settings(), "UV_PYTHON_DOWNLOADS": "never"}
    return run([sys.executable, "-m", "uv", *arguments], environment)


def a_python() -> str:
    """MWAA's Python 3.12, else 3.11; pyenv hides those that are not chosen."""
    for version in ("3.12", "3.11"):
        found = subprocess.run([f"python{version}", "-c", "import sys; print(sys.executable)"], capture_output=True,
                               text=True, check=False, env={**os.environ, "PYENV_VERSION": version})  # fmt: skip
        if found.returncode == 0:
            return found.stdout.strip()
    raise AssertionError("neither python3.12 nor python3.11 is on the path")


@dataclass(frozen=True)
class Environment:
    """An Airflow home laid out as MWAA lays it out, and the Python that has MWAA's packages."""

    home: Path
    python: Path

    def airflow(self, *arguments: str, **variables: str) -> str:
        """An Airflow command there: no PYTHONPATH, and nothing of the developer's own Airflow."""
        environment = {
            "PATH": f"{self.python.parent}:/usr/bin:/bin",
            "HOME": str(self.home),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER": "True",
            "AWS_EC2_METADATA_DISABLED": "true",
            **variables,
        }
        return run([str(self.python), "-m", "airflow", *arguments], environment, self.home)

    def table(self, *arguments: str) -> list[dict[str, Any]]:
        """The rows that an Airflow command lists."""
        said = self.airflow(*arguments, "--output", "json")
        lines = said.splitlines()
        first = next((number for number, line in enumerate(lines) if line.startswith("[")), None)  # after warnings
        if first is None:
            assert lines[-1] == "No data found", said
            return []
        rows: list[dict[str, Any]] = json.loads("\n".join(lines[first:]))
        return rows


def install(python: Path, requirements: Path, *more: str) -> None:
    """MWAA's packages, and then what is asked for under their versions."""
    uv("venv", "--quiet", "--python", a_python(), str(python.parents[1]))
    pip = ("pip", "install", "--quiet", "--python", str(python), "--constraints", str(PINS))
    uv(*pip, *INSTALLED)
    uv(*pip, "--requirements", str(requirements), *more)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    home = tmp_path_factory.mktemp("mwaa")
    written = home / "written"
    mwaa.write(ROOT, build(ROOT, home / "wheel"), written)
    airflow_home = home / "airflow"
    airflow_home.mkdir()
    (written / "dags").rename(airflow_home / "dags")
    of_0_1 = (
        airflow_home / "dags" / "census.py"
    )  # the wheel's package `include` and the folder `dags/include` meet there
    of_0_1.write_text(of_0_1.read_text().replace("from sagewind.workflows", "from include.workflows"))
    with zipfile.ZipFile(written / "plugins.zip") as archive:
        archive.extractall(airflow_home / "plugins")
    text = (written / "requirements.txt").read_text()
    (airflow_home / "requirements.txt").write_text(text.replace(mwaa.HOME, str(airflow_home)))
    python = home / "venv" / "bin" / "python"
    install(python, airflow_home / "requirements.txt")
    made = Environment(airflow_home, python)
    made.airflow("db", "migrate")
    yield made
    shutil.rmtree(home / "venv")  # pytest would keep its 700 MB


@pytest.fixture(scope="session")
def python_with_tests(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A second Python with the same packages, and what the tests need besides."""
    folder = tmp_path_factory.mktemp("tests")
    lock = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    (folder / "tools.txt").write_text("".join(f"{name}=={lock[name]}\n" for name in TEST_TOOLS))
    (folder / "overrides.txt").write_text("".join(re.findall(r"^boto.*\n", PINS.read_text(), re.MULTILINE)))
    python = folder / "venv" / "bin" / "python"
    install(
        python, environment.home / "requirements.txt",
        "--requirements", str(folder / "tools.txt"), "--overrides", str(folder / "overrides.txt"),
        str(ROOT / "packages" / "localaws"),
    )  # fmt: skip
    yield python
    shutil.rmtree(folder / "venv")
