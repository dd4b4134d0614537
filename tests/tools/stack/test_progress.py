"""Progress on a terminal and in a file."""

from __future__ import annotations

import io

from tests.tools.stack.recorded import task
from tools.stack.progress import PLAIN_STATUS_SECONDS, Printer, TaskProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_change_is_one_line() -> None:
    out = io.StringIO()
    progress = TaskProgress(Printer(out, clock=lambda: 0.0), lambda _: "[0]\tvalidation-auc:0.99\x1b[2J")
    for tasks in (
        [task("a", "queued"), task("b", None)],
        [task("a", "running", 0), task("b", None)],
        [task("a", "running", 0), task("b", None)],
        [task("a", "success", 0, 2), task("b", "running", 2)],
    ):
        progress.update(tasks)
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert [line[2:4] for line in lines] == [["a", "running"], ["a", "success"], ["b", "running"]]
    assert "validation-auc:0.99" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_status_is_drawn_over_on_a_terminal() -> None:
    out = Terminal()
    printer = Printer(out, clock=lambda: 0.0)
    printer.status("one")
    printer.status("two")
    printer.line("three")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().endswith("\r\x1b[2K[   0.0s] three\n")


def test_status_is_rare_in_a_file() -> None:
    now = [0.0]
    out = io.StringIO()
    printer = Printer(out, clock=lambda: now[0])
    for now[0] in range(0, int(PLAIN_STATUS_SECONDS * 2) + 1):
        printer.status("busy")
    assert len(out.getvalue().splitlines()) == 2
