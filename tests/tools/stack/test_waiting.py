"""What a command tells and decides while it waits for the stack; the guardian is real, its reports are made up."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import wait_for
from tools.stack.errors import ComponentDied, StackError, Unanswered
from tools.stack.progress import Printer
from tools.stack.state import Home, StateFolder, take_lock
from tools.stack.supervision import HOPELESS, ComponentSpec, Signals, Supervision


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervision(tmp_path: Path, screen: io.StringIO) -> Iterator[Supervision]:
    home = Home(StateFolder(tmp_path), "run")
    home.make_folders()
    log, printer = home.logs / "guardian.log", Printer(screen, clock=lambda: 0.0)
    with (
        take_lock(home) as lock,
        Supervision("test." + home.state.id, lock, Signals(), log, home.components, printer=printer) as made,
    ):
        made._logs["x"] = log  # as if it had been started
        yield made


def ended(**facts: Any) -> dict[str, Any]:
    return {"event": "exited", "name": "x", "code": -9, "pause": 4.0, "in_a_row": 3, **facts}


def test_what_is_there_at_once_is_not_waited_for(supervision: Supervision, screen: io.StringIO) -> None:
    assert supervision.wait("the thing", lambda: 7, 300, shown=False) == 7
    assert screen.getvalue() == ""


def test_a_wait_tells_for_what_and_how_long_while_the_question_is_not_answered_yet(
    supervision: Supervision, screen: io.StringIO
) -> None:
    def ready() -> int:
        wait_for(screen.getvalue, "the telling")
        return 7

    assert supervision.wait("the thing", ready, 300, detail=lambda: " (slow)") == 7
    assert re.fullmatch(r"\[   0.0s\] waiting for the thing \(slow\): \d+ s, at most 300 s\n", screen.getvalue())


def test_a_silent_server_is_asked_again(supervision: Supervision) -> None:
    answers: list[int | None] = [None, None, 7]

    def ready() -> int:
        answer = answers.pop(0)
        if answer is None:
            raise Unanswered("busy")
        return answer

    assert supervision.ask("the thing", ready) == 7


def test_the_limit_of_a_wait_names_the_last_answer(supervision: Supervision) -> None:
    def ready() -> int:
        raise Unanswered("Airflow's API did not answer.")

    with pytest.raises(StackError, match=r"^The thing was not ready after 0 s: see .* Airflow's API did not answer\.$"):
        supervision.wait("the thing", ready, 0)
    with pytest.raises(StackError, match="refused"):
        supervision.wait("the thing", refused, 300)


def refused() -> int:
    raise StackError("refused")


def test_a_start_gives_up_a_component_that_ended_three_times_a_run_later(
    supervision: Supervision, screen: io.StringIO
) -> None:
    supervision._note(ended(in_a_row=2, pause=2.0))
    supervision.check()
    supervision._note({"event": "started", "name": "x", "pid": 5})
    supervision.check()
    assert "x was killed by signal 9: started again in 2 s (log: " in screen.getvalue()
    assert screen.getvalue().endswith("] x runs again\n")
    supervision._note(ended())
    with pytest.raises(ComponentDied, match="^The component x was killed by signal 9"):
        supervision.check()
    supervision.settled()
    supervision.check()
    supervision._note(ended(in_a_row=HOPELESS))
    with pytest.raises(ComponentDied):
        supervision.check()


def test_a_step_may_end_well_and_no_other_way(supervision: Supervision, tmp_path: Path) -> None:
    for name in map(str, range(20)):  # some of them end before anybody waits for their end
        step = ComponentSpec(name, ["true"], {"PATH": "/usr/bin:/bin"}, tmp_path / "step.log")
        supervision.start(step, ends=True)
        assert supervision.wait("the step", partial(supervision.exited, name), 300) == 0
    supervision.start(ComponentSpec("bad", ["/no/such/program"], {}, tmp_path / "bad.log"), ends=True)
    with pytest.raises(ComponentDied, match=r"^The component bad could not be started \(No such file .*/no/such/prog"):
        supervision.wait("the step", lambda: supervision.exited("bad"), 300)
