"""Live progress: one line per change of a task, and on a terminal a status line that is drawn again and again."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from tools.stack.rest import elapsed, seconds_of

PLAIN_STATUS_SECONDS = 15.0
"""How often a status is printed where lines cannot be drawn again (a file, a CI log)."""
TOLD_EVERY = 1.0
"""Seconds between two looks at what is awaited."""
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
SHOWN = frozenset({"success", "failed", "skipped", "running", "deferred", "up_for_retry", "awaiting_input"})
"""`upstream_failed` is left to the table: one failure would fill the screen with it."""
ACTIVE = frozenset({"running", "deferred", "up_for_retry", "awaiting_input"})


class Printer:
    """Writes lines and a status line, from any thread. On a terminal the status line stays at the bottom."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._clock = clock
        self._begun = clock()
        self._last_status = clock()
        self._drawn = False
        self._lock = threading.RLock()

    @property
    def seconds(self) -> float:
        """Since this printer was made: the time of the run."""
        return self._clock() - self._begun

    def line(self, text: str) -> None:
        """Print a line with the time since the start."""
        self.plain(f"[{self.seconds:6.1f}s] {text}")

    def plain(self, text: str) -> None:
        """Print text as it is."""
        with self._lock:
            self._clear()
            self._stream.write(f"{text}\n")
            self._stream.flush()

    def status(self, text: str, *, at_once: bool = False) -> None:
        """Show what is going on now; where lines cannot be drawn again only now and then, or `at_once`."""
        if self._terminal:
            width = shutil.get_terminal_size().columns
            with self._lock:
                self._stream.write("\r\x1b[2K" + f"[{self.seconds:6.1f}s] {text}"[: width - 1])
                self._stream.flush()
                self._drawn = True
        elif at_once or self._clock() - self._last_status >= PLAIN_STATUS_SECONDS:
            self.line(text)

    @contextmanager
    def awaiting(self, what: str, seconds: float, detail: Callable[[], str] = str) -> Iterator[None]:
        """Tell, from the first second of the block to its end, what is awaited, for how long already and for how long
        at most. What is there sooner is not worth a line. By a thread, because the block may wait for an answer."""
        begun, over = time.monotonic(), threading.Event()

        def tell() -> None:
            first = True
            while not over.wait(TOLD_EVERY):
                spent = time.monotonic() - begun
                self.status(f"waiting for {what}{detail()}: {spent:.0f} s, at most {seconds:.0f} s", at_once=first)
                first = False

        teller = threading.Thread(target=tell, name="teller", daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()

    def _clear(self) -> None:
        self._last_status = self._clock()
        if self._drawn:
            self._stream.write("\r\x1b[2K")
            self._drawn = False


class TaskProgress:
    """Turns polls of a run's task instances into lines."""

    def __init__(self, printer: Printer, log_of: Callable[[str], str | None]) -> None:
        self._printer = printer
        self._log_of = log_of
        self._states: dict[tuple[str, int], str | None] = {}
        self._said: dict[str, str] = {}

    def update(self, tasks: list[dict[str, Any]]) -> None:
        """Print what has changed since the last call and draw the status."""
        now = datetime.now(UTC)
        active = [task for task in tasks if task.get("state") in ACTIVE]
        for task in active:
            if line := self._log_of(task["task_id"]):
                self._said[task["task_id"]] = _printable(line)
        for task in sorted(tasks, key=lambda task: (task.get("end_date") or "~", task.get("start_date") or "~")):
            self._changed(task, now)
        if active:
            self._printer.status(self._status(tasks, active, now))

    def _changed(self, task: dict[str, Any], now: datetime) -> None:
        key = (task["task_id"], task.get("map_index", -1))
        state = task.get("state")
        if self._states.get(key) == state:
            return
        self._states[key] = state
        if state not in SHOWN:
            return
        spent = seconds_of(task) if state in ENDED else elapsed(task, now)
        said = self._said.get(task["task_id"], "") if state in ENDED else ""
        self._printer.line(f"{task['task_id']:<20} {state:<16} {spent or 0:6.1f} s  {said}".rstrip())

    def _status(self, tasks: list[dict[str, Any]], active: list[dict[str, Any]], now: datetime) -> str:
        done = sum(task.get("state") in ENDED for task in tasks)
        parts = [
            f"{task['task_id']} {_what(task)}{elapsed(task, now):.0f} s{_colon(self._said.get(task['task_id']))}"
            for task in active
        ]
        return f"{done}/{len(tasks)} done | " + " | ".join(parts)


def _what(task: dict[str, Any]) -> str:
    """A word for a task that waits for something other than its job."""
    return {"up_for_retry": "waits for its retry, ", "awaiting_input": "waits for a person, "}.get(task["state"], "")


def _colon(text: str | None) -> str:
    return f": {text}" if text else ""


def _printable(text: str) -> str:
    """A job's log line without control characters: it must not move the cursor of the user's terminal."""
    return "".join(char for char in text.strip() if char.isprintable())[:160]
