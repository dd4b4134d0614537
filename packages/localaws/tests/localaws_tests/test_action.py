"""The GitHub Action's shell steps and the compose file's service, run here as GitHub and an engine would run them."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from localaws_tests.conftest import PACKAGE, SAMPLE_IMAGES, poll
from localaws_tests.serving_fixtures import make_client

ACTION = yaml.safe_load((PACKAGE / "action.yml").read_text())
COMPOSE = yaml.safe_load((PACKAGE / "compose.yaml").read_text())
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"]}
NAMES = ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"]


class Runner:
    """What a runner gives a step: its shell, its inputs, and the files in which it leaves variables and outputs."""

    def __init__(self, directory: Path) -> None:
        self.temp = directory / "temp"
        self.temp.mkdir()
        self.env, self.output = directory / "env", directory / "output"
        self.env.touch()
        self.output.touch()

    def run(self, step: str, *, token: str = "", **inputs: str) -> subprocess.CompletedProcess[str]:
        def given(match: re.Match[str]) -> str:
            return inputs.get(match[1], ACTION["inputs"][match[1]]["default"])

        declared = STEPS[step].get("env", {})
        values = {name: re.sub(r"\$\{\{ inputs\.([a-z]+) \}\}", given, text) for name, text in declared.items()}
        assert not any("${{" in text for text in [*values.values(), STEPS[step]["run"]]), "an unknown expression"
        assert STEPS[step]["shell"] == "bash"
        script = self.temp / f"{step}.sh"
        script.write_text(STEPS[step]["run"])
        runner = {"RUNNER_TEMP": self.temp, "GITHUB_ENV": self.env, "GITHUB_OUTPUT": self.output}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the install step's part
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],  # GitHub's `shell: bash`
            env={
                **os.environ,
                **values,
                "AWS_SESSION_TOKEN": token,
                "PATH": path,
                **{k: str(v) for k, v in runner.items()},
            },
            capture_output=True,
            text=True,
            timeout=300,
        )

    def variables(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.env.read_text().splitlines())


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(tmp_path)
    yield made
    pid = int((made.temp / "localaws" / "pid").read_text())
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    signal.pidfd_send_signal(handle, signal.SIGTERM)
    poll(lambda: not _answers(made.variables().get("AWS_ENDPOINT_URL", "")))
    os.close(handle)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_localaws/health") as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def test_the_endpoint_answers_the_steps_that_follow(runner: Runner) -> None:
    images = f"{SAMPLE_IMAGES}\n"
    done = runner.run("start", token="old", port="0", images=images, arguments="--region eu-west-1 --jobs 1")
    assert done.returncode == 0, done.stderr
    found = runner.variables()
    assert list(found) == [*NAMES, "AWS_SESSION_TOKEN"]
    assert found["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert found["AWS_SESSION_TOKEN"] == ""
    assert runner.output.read_text() == f"endpoint-url={found['AWS_ENDPOINT_URL']}\n"
    printed = done.stdout.splitlines()
    assert printed == [
        f"::add-mask::{found['AWS_SECRET_ACCESS_KEY']}",
        f"localaws answers at {found['AWS_ENDPOINT_URL']}",
    ]
    assert make_client(found, "s3", 1).list_buckets()["Buckets"] == []
    assert (runner.temp / "localaws" / "exports").stat().st_mode & 0o077 == 0


def test_a_start_that_fails_says_why_and_shows_the_log(runner: Runner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = runner.run("start", port=str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert done.stdout.startswith("::error::localaws did not start: localaws: port ")
    assert runner.variables() == {}
    assert STEPS["log"]["if"] == "${{ failure() }}"
    assert "is taken by another program" in runner.run("log").stdout


def test_what_the_action_installs_is_this_distribution() -> None:
    assert '"$GITHUB_ACTION_PATH"' in STEPS["install"]["run"]
    assert (PACKAGE / "pyproject.toml").is_file()  # beside action.yml
    assert list(STEPS) == ["install", "start", "log"]
    assert ACTION["outputs"]["endpoint-url"]["value"] == "${{ steps.start.outputs.endpoint-url }}"


def test_the_service_of_the_compose_file_starts(tmp_path: Path) -> None:
    service: dict[str, Any] = COMPOSE["services"]["localaws"]
    assert service["ports"] == ["127.0.0.1:4566:4566"]
    mounted = service["volumes"][0].split(":")
    assert mounted[0] in COMPOSE["volumes"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    here = [part.replace(mounted[1], str(tmp_path)).replace("4566", port) for part in service["command"]]
    assert [value for value in service["environment"].values() if not value.startswith("${LOCALAWS_")] == []
    credentials = dict.fromkeys(service["environment"], "given")
    # Loopback only: the test publishes nothing.
    argv = [*service["entrypoint"], *(part.replace("0.0.0.0", "127.0.0.1") for part in here)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = subprocess.Popen(argv, env={**os.environ, **credentials, "PATH": path}, stdout=subprocess.PIPE)
    try:
        check = [part.replace("4566", port) for part in service["healthcheck"]["test"][1:]]
        poll(lambda: subprocess.run([sys.executable, *check[1:]], capture_output=True).returncode == 0)
        values = {**dict.fromkeys(NAMES, "given"), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        values["AWS_DEFAULT_REGION"] = "us-east-1"
        assert make_client(values, "s3", 1).list_buckets()["Buckets"] == []
    finally:
        process.terminate()
        process.communicate()
    assert (tmp_path / "state" / "state.sqlite3").exists()
