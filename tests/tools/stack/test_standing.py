"""What `make status` says of a stack that is up."""

from __future__ import annotations

import io
import os
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from tools.stack import restarts, standing
from tools.stack.progress import Printer
from tools.stack.restarts import Life
from tools.stack.state import Home, StateFolder, process_facts

URL = "http://127.0.0.1:8080"
PAGE = "http://aws:secret@127.0.0.1:4566/"
NOW = time.mktime((2026, 11, 20, 12, 0, 0, 0, 0, -1))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A stack whose guardian is this process, at noon."""
    made = Home(StateFolder(tmp_path), "up")
    made.make_folders()
    me = process_facts(os.getpid())
    made.write_record(guardian=me, warden=me, detached=True, url=URL, aws="http://127.0.0.1:4566", page=PAGE)
    monkeypatch.setattr(time, "time", lambda: NOW)
    return made


def status(home: Home, **lives: Life) -> tuple[int, str]:
    restarts.write(home.components, lives)
    out = io.StringIO()
    code = standing.show_status(home.state, Printer(out))
    return code, out.getvalue()


def life(home: Home, **facts: Any) -> Life:
    return Life(**{"log": str(home.logs / "x.log"), "lasting": True, "pid": 7, "since": NOW - 30, **facts})


def test_a_stack_without_ends_shows_its_links_and_nothing_else(home: Home) -> None:
    done = life(home, lasting=False, pid=None, code=0, ended=NOW - 50, in_a_row=1)
    code, said = status(home, localaws=life(home), images=done)
    assert code == 0
    password = home.state.secrets().password
    assert f"Airflow:   {URL}   user sagewind, password {password}\n" in said
    assert f"its page:  {PAGE}" in said
    assert "report:" not in said
    assert f"make down STATE={shlex.quote(str(home.state.root))}" in said
    assert "again" not in said


def test_the_report_of_a_kept_run_is_a_link(home: Home) -> None:
    home.write_record(**{**(home.read_record() or {}), "report": "file:///reports/report.html"})
    assert "report:    file:///reports/report.html\n" in status(home)[1]


def test_restarts_are_told_with_how_often_when_last_and_why(home: Home) -> None:
    code, said = status(home, triggerer=life(home, restarts=2, in_a_row=1, ended=NOW - 31, code=-9))
    assert code == 0
    log = home.logs / "x.log"
    assert (
        f"up: triggerer was started again twice, last at 11:59:30, because it was killed by signal 9 (log: {log}).\n"
        in said
    )


def test_a_component_that_keeps_dying_is_named_with_its_log_and_the_next_try(home: Home) -> None:
    (home.logs / "x.log").write_text("cannot bind\n")
    dead = life(home, pid=None, restarts=6, in_a_row=7, ended=NOW - 20, code=1)
    code, said = status(home, localaws=dead, scheduler=life(home))
    assert code == 1
    assert (
        "DOWN: The component localaws ended with exit code 1; its last lines: cannot bind "
        f"(log: {home.logs / 'x.log'}). Last end: 11:59:40, number 7 in a row; it is tried again at 12:00:40.\n"
    ) in said
    dead.begin(8, now=NOW - 5)
    code, said = status(home, localaws=dead)
    assert code == 1
    assert "; it has just been tried again.\n" in said


def test_what_does_not_run_stands_first_and_the_log_of_a_killed_one_is_not_quoted(home: Home) -> None:
    (home.logs / "x.log").write_text("GET /health 200\n")
    dead = life(home, pid=None, in_a_row=1, ended=NOW - 1, code=-9)
    code, said = status(home, localaws=life(home), triggerer=dead)
    assert code == 1
    log = home.logs / "x.log"
    assert said.startswith(f"DOWN: The component triggerer was killed by signal 9 (log: {log}). Last end: 11:59:59, ")
    assert "GET" not in said


def test_a_killed_guardian_is_named(home: Home) -> None:
    home.write_record(**{**(home.read_record() or {}), "guardian": None})
    code, said = status(home)
    assert code == 1
    assert said.startswith("DOWN: the guardian of this stack (up) was killed")
