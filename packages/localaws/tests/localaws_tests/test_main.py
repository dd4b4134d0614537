"""The command line: its help, its refusals, its log."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from localaws import __main__ as program
from localaws import faults_command
from localaws.logformat import HIDDEN, Lines
from localaws.server import Endpoint


@pytest.mark.parametrize("argv", [["--help"], ["pull", "--help"], ["faults", "--help"], ["faults", "add", "--help"]])
def test_help_says_what_every_option_is(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(argv)
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: localaws")
    for action in program._serve_parser()._actions:
        assert action.help, f"{action.option_strings} is not explained"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--state", "x", "--quota", "nonsense"], "--quota 'nonsense' is not of the form"),
        (["--state", "x", "--time", "job-start=soon"], "--time 'job-start=soon' is not of the form NAME=SECONDS"),
        (["--state", "x", "--images", "nowhere"], "the directory of images"),
        (["--region", "nowhere-1"], "--region nowhere-1 is no region of AWS; there are: af-south-1, "),
        (["--state", "file"], "/file is no directory that can be written to (File exists): name another"),
        (["--state", "x", "--port", "0", "--call-log", "no/log"], "--call-log no/log cannot be written (No such file"),
        (["--state", "x", "--port", "0", "--host", "203.0.113.7"], "port 0 of 203.0.113.7 cannot be listened on ("),
        (["start"], "there is no command 'start'; there are: serve, pull, faults, reset, page"),
        (["faults", "list"], "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY must be set"),
        (["page"], "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY must be set"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for name in faults_command.NEEDED:
        monkeypatch.delenv(name, raising=False)
    assert program.main(argv) == 1
    *notes, error = capsys.readouterr().err.splitlines()
    assert said in error
    assert all("the state is in" in note for note in notes)


@pytest.mark.parametrize(
    "argv",
    [
        ["--jobs", "0"],
        ["--cpus", "-1"],
        ["--memory", "nan"],
        ["--profile", "none"],
        ["--port", "99999"],
        ["--port", "abc"],
        ["--sandbox", "moved"],
    ],
)
def test_options_out_of_range(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["--state", "x", *argv])
    assert ended.value.code == 2
    assert argv[0] in capsys.readouterr().err


def record(message: str, *arguments: Any, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("localaws.x", logging.WARNING, __file__, 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_is_ever_in_the_log(as_json: bool) -> None:
    lines = Lines(as_json=as_json)
    hidden = 's3"cr\\et'
    lines.hide(hidden, "")
    try:
        raise RuntimeError(hidden)
    except RuntimeError:
        failed = logging.LogRecord("l", 40, __file__, 1, "failed", (), sys.exc_info())
    for written in (
        record("the key is %s, GET /?X-Amz-Signature=abcdef&X-Amz-Security-Token=tok%%2Fen", hidden),
        record("x", path="/" + hidden),
        failed,
    ):
        line = lines.format(written)
        for secret in (hidden, "abcdef", "tok", 's3\\"cr'):
            assert secret not in line
    assert HIDDEN in lines.format(record(hidden))


def test_json_lines_are_one_object_each() -> None:
    line = Lines(as_json=True).format(record("two\nlines %s", "é", status=200, milliseconds=1.5))
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "WARNING", "logger": "localaws.x", "message": "two\nlines é", "status": 200, "milliseconds": 1.5,
    }  # fmt: skip


def test_faults_by_command(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, value in endpoint.environment().items():
        monkeypatch.setenv(variable, value)
    assert program.main(["faults", "add", "Stop*", "--error", "none", "--delay", "2", "--calls", "3"]) == 0
    fault = json.loads(capsys.readouterr().out)
    assert (fault["error"], fault["delay"], fault["calls"]) == ("", 2.0, 3)
    assert program.main(["faults", "list"]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [fault["id"]]
    assert program.main(["faults", "clear", fault["id"]]) == 0
    assert json.loads(capsys.readouterr().out) == {"Cleared": 1}
    assert program.main(["faults", "clear", fault["id"]]) == 1
    assert capsys.readouterr().err.startswith("localaws: There is no fault f")


def signal_thread(process: int, thread: int, number: int) -> None:
    """tgkill(2), which Python has for threads of its own process only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.tgkill(process, thread, number):
        raise OSError(ctypes.get_errno(), "tgkill")


@pytest.mark.parametrize("argv", [[], ["serve"]])
def test_without_a_state_directory_nothing_stays(argv: list[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LOCALAWS_STATE"}
    with subprocess.Popen(
        [sys.executable, "-m", "localaws", *argv, "--port", "0"],
        env={**environment, "TMPDIR": str(tmp_path)}, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("export AWS_ENDPOINT_URL=")
            (state,) = tmp_path.glob("localaws-*")
            assert (state / "state.sqlite3").is_file()
            # To a thread, as the kernel may choose it: the main thread has to hear of it all the same.
            threads = sorted(int(path.name) for path in Path(f"/proc/{process.pid}/task").iterdir())
            signal_thread(process.pid, threads[-1], signal.SIGTERM)
            _, log = process.communicate()
        finally:
            process.kill()
    assert process.returncode == 0
    assert f"the state is in {state} and is deleted at the end" in log
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_that_cannot_be_made_ends_its_process(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LOCALAWS_SECRET_ACCESS_KEY"}
    done = subprocess.run(
        [sys.executable, "-m", "localaws", "--port", "0", "--state", str(tmp_path / "state")],
        env={**environment, "LOCALAWS_ACCESS_KEY_ID": "half"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "localaws: LOCALAWS_ACCESS_KEY_ID and LOCALAWS_SECRET_ACCESS_KEY go together: set both or neither\n"
    )


@pytest.mark.parametrize("command", [["page"], ["reset"], ["faults", "list"]])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("127.0.0.1:4566", "AWS_ENDPOINT_URL is '127.0.0.1:4566': write a URL such as http://127.0.0.1:4566"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1 does not answer ([Errno 111] Connection refused): is the endpoint"),
    ],
)
def test_an_endpoint_that_cannot_be_reached_is_named(
    command: list[str], url: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(faults_command.NEEDED, (url, "key", "secret"), strict=True):
        monkeypatch.setenv(name, value)
    assert program.main(command) == 1
    assert capsys.readouterr().err.startswith(f"localaws: {said}")


def test_a_port_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert program.main(["--port", str(port), "--state", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.startswith(f"localaws: port {port} of 127.0.0.1 is taken by another program, ")
