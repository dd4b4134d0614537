"""The front's end of a stack: starts the guardian and, through it, components; waits for their reports; ends them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from include.stack.errors import ComponentDied, Interrupted, StackError
from include.stack.guardian import DEFAULT_GRACE
from include.stack.processes import MARKER, Mark, become_subreaper, end_all

PROJECT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 25.0
"""How long the guardian may take to end everything before the front does it by force (a run is gone within 30 s)."""

T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """What to start. `capture`: its standard output is read (`Supervision.output`) instead of going to its log."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    cwd: Path = PROJECT
    capture: bool = False


@dataclass
class _Seen:
    """What the guardian has reported; guarded by the condition of the `Supervision`."""

    pids: dict[str, int] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    exits: dict[str, tuple[int | None, str]] = field(default_factory=dict)
    detached: bool = False
    ended: bool = False
    survivors: list[str] = field(default_factory=list)


class Signals:
    """SIGINT, SIGTERM and SIGHUP become `Interrupted` in the main thread, once; later ones are ignored, because what
    follows the first is the clean-up, which is bounded."""

    def __init__(self) -> None:
        self._held = False
        self._pending: int | None = None
        self._raised = False

    def install(self) -> None:
        """Replace the handlers of this process."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._arrived)

    def _arrived(self, signum: int, _frame: object) -> None:
        if self._raised:
            return
        if self._held:
            self._pending = signum
            return
        self._raised = True
        raise Interrupted(signum)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Delay a signal to the end of the block, where a process exists that nothing refers to yet."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending is not None and not self._raised:
            self._raised = True
            raise Interrupted(self._pending)

    def done(self) -> None:
        """From here on signals are ignored: only clean-up is left."""
        self._raised = True


class Supervision:
    """All processes of one stack. Use as a context manager: leaving it ends them, unless they were detached.

    `grace`: seconds between SIGTERM and SIGKILL, whoever asks for the end.
    """

    def __init__(self, stack: str, lock: IO[str], signals: Signals, log: Path, grace: float = DEFAULT_GRACE) -> None:
        self.stack = stack
        self.signals = signals
        self.log = log
        self._seen = _Seen()
        self._news = threading.Condition()
        self._expected_to_end: set[str] = set()
        self._logs: dict[str, Path] = {}
        self._stopped = False
        become_subreaper()
        self._reader = threading.Thread(target=self._read, name="guardian", daemon=True)
        try:
            with signals.held(), log.open("ab") as errors:
                self._warden = subprocess.Popen(
                    [sys.executable, "-m", "include.stack.guardian", str(grace)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    cwd=PROJECT,
                    env={**os.environ, MARKER: stack},
                    start_new_session=True,
                    pass_fds=[lock.fileno()],
                )
                self._reader.start()
        except Interrupted:
            self.stop()
            raise

    @staticmethod
    def new_id(state_id: str) -> str:
        """A fresh value of the marker: the state folder's id and a random part."""
        return f"{state_id}.{secrets.token_hex(6)}"

    @property
    def detached(self) -> bool:
        """Whether the stack lives on without this process."""
        return self._seen.detached

    @property
    def warden(self) -> int:
        """The process id of the warden, which is also the session of all components."""
        return self._warden.pid

    def __enter__(self) -> Supervision:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, component: Component, *, ends: bool = False) -> None:
        """Start `component`; with `ends` it is a step that is expected to end (migration, image build)."""
        self._logs[component.name] = component.log
        if ends:
            self._expected_to_end.add(component.name)
        self._command(
            do="start",
            name=component.name,
            argv=list(component.argv),
            env=dict(component.env),
            cwd=str(component.cwd),
            log=str(component.log),
            capture=component.capture,
        )

    def wait(self, what: str, ready: Callable[[], T | None], seconds: float, *, poll: float = 0.1) -> T:
        """Poll `ready` until it returns something; a component that dies meanwhile, or the time, ends the wait.

        Raises `ComponentDied` naming the component, its last log lines and its log; `StackError` at the limit.
        """
        deadline = time.monotonic() + seconds
        while True:
            result = ready()
            if result is not None:
                return result
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{what} was not ready after {seconds:.0f} s: see the logs in {self.log.parent}.")
            with self._news:
                self._news.wait(poll)

    def check(self) -> None:
        """Raise if a component that should run has ended, or the guardian has."""
        with self._news:
            exits = dict(self._seen.exits)
            ended = self._seen.ended
        for name, (code, reason) in exits.items():
            if name not in self._expected_to_end or code not in (0,):
                raise ComponentDied(death_sentence(name, code, reason, self._logs[name]))
        if ended:
            raise ComponentDied(death_sentence("guardian", None, "", self.log))

    def exited(self, name: str) -> int | None:
        """Exit code of a component that has ended; None while it runs."""
        with self._news:
            seen = self._seen.exits.get(name)
        return None if seen is None or seen[0] is None else seen[0]

    def output(self, name: str) -> list[str]:
        """The lines a captured component has written to its standard output so far."""
        with self._news:
            return list(self._seen.lines.get(name, []))

    def pids(self) -> dict[str, int]:
        """Process ids of what was started, by component."""
        with self._news:
            return dict(self._seen.pids)

    def detach(self) -> None:
        """Leave the stack running when this process ends."""
        self._command(do="detach")
        self.wait("The guardian", lambda: True if self._seen.detached else None, 60)

    def stop(self, grace: float | None = None) -> list[str]:
        """End everything; returns what could not be ended (empty: nothing is left), nothing when detached.

        `grace`: seconds that components get to end in order, when they have nothing to lose (default: the guardian's).
        """
        self.signals.done()
        if self._seen.detached or self._stopped:
            return []
        self._stopped = True
        if grace is not None:
            with contextlib.suppress(ComponentDied):
                self._command(do="stop", grace=grace)
        if self._warden.stdin is not None:
            with contextlib.suppress(OSError):
                self._warden.stdin.close()
        deadline = time.monotonic() + STOP_SECONDS
        while not self._warden_ended():
            if time.monotonic() > deadline:
                self._warden.kill()
            time.sleep(0.05)
        # Not yet waited for: until it is, its number stands for its session and for nothing else.
        left = end_all(Mark(self.stack, session=self._warden.pid))
        self._warden.wait()
        return left

    def _warden_ended(self) -> bool:
        try:
            return os.waitid(os.P_PID, self._warden.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _command(self, **command: object) -> None:
        stream = self._warden.stdin
        if stream is None:
            raise RuntimeError("the guardian has no standard input")
        try:
            stream.write((json.dumps(command) + "\n").encode())
            stream.flush()
        except OSError as error:
            raise ComponentDied(death_sentence("guardian", None, "", self.log)) from error

    def _read(self) -> None:
        stream = self._warden.stdout
        if stream is None:
            raise RuntimeError("the guardian has no standard output")
        for line in stream:
            with self._news:
                self._note(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._seen.ended = True
            self._news.notify_all()

    def _note(self, event: dict[str, object]) -> None:
        seen = self._seen
        name = str(event.get("name", ""))
        match event["event"]:
            case "guardian":
                seen.pids["guardian"] = int(str(event["pid"]))
            case "started":
                seen.pids[name] = int(str(event["pid"]))
            case "output":
                seen.lines.setdefault(name, []).append(str(event["line"]))
            case "exited":
                code = event["code"]
                seen.exits[name] = (None if code is None else int(str(code)), str(event.get("reason", "")))
            case "detached":
                seen.detached = True
            case "ended":
                seen.survivors = [str(item) for item in event["survivors"]]  # type: ignore[attr-defined]


def death_sentence(name: str, code: int | None, reason: str, log: Path, lines: int = 3) -> str:
    """What ended, how, the last lines of its log and where the log is."""
    how = reason or ("ended unexpectedly" if code is None else _how(code))
    last = last_lines(log, lines)
    said = f"; its last lines: {' | '.join(last)}" if last else "; its log is empty"
    return f"The component {name} {how}{said} (log: {log})."


def _how(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def last_lines(log: Path, count: int, width: int = 240) -> list[str]:
    """The last non-empty lines of a log, each cut to `width` characters; empty if there is no log."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 16384))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return [line[:width] for line in kept[-count:]]
