"""The command `sagewind`: a project from nothing, a model in it, and what a person is told of a run."""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from sagewind.command import local, main, new_model, new_project
from sagewind.facts.version import VERSION
from sagewind.pipeline.project import MODELS, nearest
from sagewind.pipeline.spec import ModelSpec
from tests.conftest import ROOT
from tests.models import load_model, model_names


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A new project with the model `first`."""
    assert main.main(["new", str(tmp_path / "mine"), "--model", "first"]) == 0
    return tmp_path / "mine"


FILES = """
.gitignore .dockerignore Makefile README.md Dockerfile docker-compose.yaml wheels/README.md
requirements.txt requirements-local.txt constraints.txt
dags/first.py dags/housekeeping.py include/models/first.yaml
"""


def test_a_new_project_holds_what_it_needs_and_no_code_of_ours(tmp_path: Path, capsys) -> None:
    project = tmp_path / "mine"
    assert main.main(["new", str(project), "--model", "first"]) == 0
    written = {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}
    assert written == set(FILES.split())
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == f"next: cd {project} && make run"
    assert {line.removeprefix(f"wrote {project}/") for line in told[:-1]} == written
    texts = "".join((project / name).read_text() for name in written)
    assert re.findall(r"@[\w-]+@", texts) == [], "every place of the templates is filled"
    assert f"sagewind[data]>={VERSION}\n" in (project / "requirements.txt").read_text()
    assert "sagewind" not in (project / "constraints.txt").read_text(), "an upgrade is not held back"
    assert load_model("first", project / MODELS).name == "first"
    for path in (project / "dags").glob("*.py"):
        ast.parse(path.read_text())


def test_the_projects_constraints_are_what_is_installed(project: Path) -> None:
    lines = (project / "constraints.txt").read_text().splitlines()[1:]
    assert all(re.fullmatch(r"[a-z0-9.-]+==\S+", line) for line in lines)
    assert f"apache-airflow=={metadata.version('apache-airflow')}" in lines


@pytest.mark.parametrize("there", ["a file", "a full folder"])
def test_nothing_is_written_over_what_is_there(there: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "there"
    if there == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert main.main(["new", str(target)]) == 2
    assert sorted(tmp_path.rglob("*")) == before
    sentence = f"sagewind new: {target} is not an empty folder: name one that is empty or not there\n"
    assert capsys.readouterr().err == sentence


@pytest.mark.parametrize("place", ["file/mine", "link/mine"])
def test_a_place_that_cannot_be_written_is_one_sentence(place: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("/proc/nowhere")
    assert main.main(["new", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"sagewind new: cannot use {tmp_path / place.split('/')[0]}")
    assert error.count("\n") == 1


def test_wheels_are_brought_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheels = tmp_path / "dist"
    wheels.mkdir()
    assert main.main(["new", str(tmp_path / "mine"), "--wheels", str(wheels)]) == 2
    assert "holds no wheels (*.whl)" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()
    (wheels / "sagewind-9.9-py3-none-any.whl").write_bytes(b"zip")
    assert main.main(["new", str(tmp_path / "mine"), "--wheels", str(wheels)]) == 0
    assert (tmp_path / "mine/wheels/sagewind-9.9-py3-none-any.whl").read_bytes() == b"zip"


def test_a_second_model_is_valid(project: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(project / "dags")
    capsys.readouterr()
    assert main.main(["model", "second"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote include/models/second.yaml",
        "wrote dags/second.py",
        "next: make run MODEL=second",
    ]
    assert load_model("second", project / MODELS).name == "second"


def test_every_commented_line_of_the_template_is_a_key_that_exists() -> None:
    """Uncomment all optional lines: the template must not advertise what the loader refuses."""
    lines = new_model.TEMPLATE.read_text().replace("@NAME@", "first").splitlines()[2:]
    text = "\n".join(line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in lines)
    content = yaml.safe_load(text)
    del content["data"]["columns"], content["data"]["drop"]  # these name columns of another data set
    ModelSpec.model_validate(content)


@pytest.mark.parametrize("name", ["", "Churn", "9lives", "a b", "../x", "far-too-long-name", "x;reboot"])
def test_a_bad_name_is_one_sentence(project: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main.main(["model", name, "--project", str(project)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"sagewind model: the name of the model is {name!r}: it starts with a small letter")
    assert error.count("\n") == 1
    assert [path.stem for path in (project / MODELS).iterdir()] == ["first"]
    assert main.main(["new", str(project.parent / "other"), "--model", name]) == 2
    assert not (project.parent / "other").exists()


@pytest.mark.parametrize("there", ["include/models/second.yaml", "dags/second.py"])
def test_an_existing_file_is_never_touched(project: Path, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    (project / there).write_text("mine")
    capsys.readouterr()
    assert main.main(["model", "second", "--project", str(project)]) == 2
    assert capsys.readouterr().err == f"sagewind model: {there} exists: choose another name, or edit that file\n"
    both = [project / "include/models/second.yaml", project / "dags/second.py"]
    assert [path.read_text() for path in both if path.exists()] == ["mine"]


@pytest.mark.parametrize("model", model_names())
def test_the_projects_own_dag_files_are_what_the_command_writes(model: str) -> None:
    assert (ROOT / "dags" / f"{model}.py").read_text() == new_model.dag_file(model)
    assert (ROOT / "dags/housekeeping.py").read_text() == new_project.HOUSEKEEPING


@pytest.mark.parametrize("command", [["model", "x"], ["dry-run", "x"], ["run", "x"], ["up"]])
def test_outside_of_a_project_the_command_says_so(command, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert nearest(tmp_path) is None
    assert main.main(command) == 2
    assert capsys.readouterr().err == (
        f"sagewind {command[0]}: {tmp_path} is no project, as it has no include/models: go into one, name it with "
        "--project, or write one with `sagewind new DIR`\n"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing"], "include/models/nothing.yaml: there is no such model file (models: first)"),
        (["first", "--source", "ftp://x"], "use one of sklearn://"),
    ],
)
def test_a_run_that_cannot_work_starts_nothing(project, monkeypatch, capsys, arguments, says) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert main.main(["run", *arguments, "--project", str(project)]) == 2
    assert says in capsys.readouterr().err
    assert not (project / local.STATE).exists()


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_port_that_is_none_is_refused(port: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["up", f"--port={port}", "--project", str(project)])
    assert f"argument --port: {port!r} is no port: write a number from 1 to 65535" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told_before_anything_starts(project: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main.main(["up", "--port", str(port), "--project", str(project)]) == 2
    error = capsys.readouterr().err
    assert error == f"sagewind up: port {port} cannot be used: Address already in use: choose another with --port\n"


def test_what_a_command_misses_is_named(project, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main.main(["run", "first", "--project", str(project)]) == 2
    assert capsys.readouterr().err == (
        "sagewind run: the command localaws is not there: install sagewind-localaws beside sagewind\n"
    )


def test_an_endpoint_that_does_not_start_is_told_by_its_last_line(project, tmp_path, monkeypatch, capsys) -> None:
    program = tmp_path / "bin/localaws"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho first >&2\necho 'the state directory is in use' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    assert main.main(["run", "first", "--project", str(project)]) == 2
    error = capsys.readouterr().err
    assert "the local AWS endpoint did not start: the state directory is in use (its log: " in error


TIME = "2026-12-01T15:58:03.069557Z"
LOG = f"""\
{TIME} [info     ] [DAG TEST] starting task_id=gate map_index=-1 [airflow.sdk.definitions.dag] loc=a
{TIME} [info     ] Task started                   [airflow.api_fastapi.execution_api.routes] a=b
{TIME} [info     ] met: auc is 1, required >= 0.98 [airflow.task.operators.sagewind.operators.gate.X] loc=job.py:241
{TIME} [warning  ] a connection is slow [airflow.providers.amazon.x] loc=job.py:241
{TIME} [error    ] Task failed with exception [task] error_detail=[{{'exc': 1}}] loc=x
Traceback (most recent call last):
  a line of a traceback
sagewind.errors.TaskRefused: the metric is missing
{TIME} [info     ] Task instance state updated [airflow.api_fastapi.execution_api.routes] a=b
{TIME} [error    ] Something else [airflow.x] loc=x
"""


def test_a_person_is_told_the_tasks_what_our_operators_say_and_every_error() -> None:
    assert list(local.told(LOG.splitlines())) == [
        "gate",
        "  met: auc is 1, required >= 0.98",
        "  ERROR sagewind.errors.TaskRefused: the metric is missing",
        "  ERROR Something else",
    ]
