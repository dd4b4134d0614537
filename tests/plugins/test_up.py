"""`sagewind run` and `sagewind up` as processes, with stand-ins for `airflow` and `localaws`: how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sagewind.command import main
from tests.conftest import ROOT
from tools.stack import ports

#: Seconds until a test that hangs is given up; a slow machine is waited for.
PATIENCE = 600
#: Ends with its standard input, as the endpoint does.
LOCALAWS = """\
import sys
print("export AWS_ENDPOINT_URL=http://127.0.0.1:1", "export AWS_ACCESS_KEY_ID=k", "export AWS_SECRET_ACCESS_KEY=s",
      "export AWS_DEFAULT_REGION=us-east-1", sep="\\n", flush=True)
sys.stdin.read()
"""
#: The API answers; everything else waits for a signal, with a child of its own, until the file `stop` says which ends.
AIRFLOW = """\
import http.server, os, pathlib, subprocess, sys, time
if sys.argv[1] == "db":
    sys.exit()
try:
    child = subprocess.Popen(["sleep", "600"])
    if sys.argv[1] == "api-server":
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200); self.end_headers()
        http.server.HTTPServer(("127.0.0.1", int(os.environ["AIRFLOW__API__PORT"])), Handler).serve_forever()
    while not pathlib.Path(os.environ["AIRFLOW_HOME"], f"stop-{sys.argv[1]}").exists():
        time.sleep(0.05)
    sys.exit(3)
except KeyboardInterrupt:
    child.terminate()
    child.wait()
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the command in a new project; its environment's programs are the stand-ins."""
    assert main.main(["new", str(tmp_path / "mine"), "--model", "first"]) == 0
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("localaws", LOCALAWS), ("airflow", AIRFLOW)):
        (programs / name).write_text(f"#!{sys.executable}\n{text}")
        (programs / name).chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.executable = {str(programs / 'python')!r}\n"
        "from sagewind.command.main import main; sys.exit(main(sys.argv[1:]))"
    )

    def started(command: str, *arguments: str) -> subprocess.Popen[str]:
        options = ["--port", str(ports.choose(1)[0])] if command == "up" else []
        return subprocess.Popen(
            [sys.executable, "-c", program, command, *arguments, *options, "--project", str(tmp_path / "mine")],
            env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")}, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return started


def until(process: subprocess.Popen[str], words: str) -> None:
    """Read what the command tells until a line holds the words."""
    assert process.stdout
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError((process.stderr.read() if process.stderr else "", process.wait()))


def below(process: subprocess.Popen[str], least: int = 1 + 4 * 2) -> list[psutil.Process]:
    """What the command has started, once all of it is there: the endpoint, and four parts with a child each."""
    while len(found := psutil.Process(process.pid).children(recursive=True)) < least:
        assert process.poll() is None, process.stderr and process.stderr.read()
        threading.Event().wait(0.05)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_ends_everything_when_it_is_asked_to(start, number: signal.Signals) -> None:
    process = start("up")
    until(process, "Ctrl-C ends both")
    children = below(process)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 0
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []


def test_up_ends_with_one_of_its_parts_and_says_which(start, tmp_path: Path) -> None:
    process = start("up")
    until(process, "Ctrl-C ends both")
    children = below(process)
    (tmp_path / "mine/.sagewind/airflow").mkdir()
    (tmp_path / "mine/.sagewind/airflow/stop-scheduler").touch()
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    log = tmp_path / "mine/.sagewind/scheduler.log"
    assert error == f"sagewind up: Airflow's scheduler has ended with 3: read {log}\n"
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []


@pytest.mark.parametrize(
    ("arguments", "words", "least"), [(["up"], "Ctrl-C ends both", 9), (["run", "first"], "the whole log:", 3)]
)
def test_nothing_outlives_a_command_that_is_killed(start, arguments: list[str], words: str, least: int) -> None:
    process = start(*arguments)
    until(process, words)
    children = below(process, least)
    process.kill()
    process.wait(PATIENCE)
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []


def test_up_ends_with_the_endpoint_and_says_so(start, tmp_path: Path) -> None:
    process = start("up")
    until(process, "Ctrl-C ends both")
    children = below(process)
    next(child for child in children if "localaws" in " ".join(child.cmdline())).kill()
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    log = tmp_path / "mine/.sagewind/endpoint.log"
    assert error == f"sagewind up: the local AWS endpoint has ended with -9: read {log}, then start again\n"
    assert psutil.wait_procs(children, timeout=PATIENCE)[1] == []


def test_a_project_is_run_once_at_a_time(start) -> None:
    first = start("run", "first")
    until(first, "the whole log:")
    second = start("up")
    _, error = second.communicate(timeout=PATIENCE)
    assert second.returncode == 2
    words = f"this project is in use by another `sagewind run` or `up` (process {first.pid}): end that first"
    assert error == f"sagewind up: {words}\n"
    first.send_signal(signal.SIGINT)
    assert first.wait(PATIENCE) == 130
    third = start("run", "first")
    until(third, "the whole log:")
    third.send_signal(signal.SIGINT)
    assert third.wait(PATIENCE) == 130


def test_a_run_that_is_interrupted_ends_what_it_started(start) -> None:
    process = start("run", "first")
    until(process, "the whole log:")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert error == "sagewind run: interrupted; what it had started is ended\n"
