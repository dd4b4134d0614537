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
from typing import IO, Any, TypeVar

from tools.stack.errors import ComponentDied, Interrupted, StackError, Unanswered
from tools.stack.guardian import DEFAULT_GRACE
from tools.stack.processes import MARKER, Mark, become_subreaper, end_all
from tools.stack.progress import Printer
from tools.stack.restarts import AGAIN_AND_AGAIN, death_sentence, how_it_ended

PROJECT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 25.0
"""How long the guardian may take to end everything before the front does it by force (a run is gone within 30 s)."""
SILENCE_SECONDS = 300.0
"""How long a server may give no answer: it is started again and, on a loaded machine, takes its time for that."""
HOPELESS = 8
"""So many ends of a component in a row end what is watched here, although the guardian would go on: that is after two
minutes of pauses alone."""

T = TypeVar("T")


@dataclass(frozen=True)
class ComponentSpec:
    """What to start. `capture`: its standard output is read (`Supervision.output`) instead of going to its log."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    cwd: Path = PROJECT
    capture: bool = False


@dataclass(frozen=True)
class _End:
    """An end of a component. `pause`: seconds after which it is started again, None if it is not."""

    code: int | None
    reason: str = ""
    pause: float | None = None
    in_a_row: int = 1


@dataclass
class _Seen:
    """What the guardian has reported; guarded by the condition of the `Supervision`."""

    pids: dict[str, int] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    exits: dict[str, _End] = field(default_factory=dict)
    news: list[str] = field(default_factory=list)
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

    `log` and `record` are the guardian's: what it writes, and what it notes of the components (`restarts.read`).
    `grace`: seconds between SIGTERM and SIGKILL, whoever asks for the end. `printer`: tells of waits and restarts.
    """

    def __init__(
        self,
        stack: str,
        lock: IO[str],
        signals: Signals,
        log: Path,
        record: Path,
        *,
        grace: float = DEFAULT_GRACE,
        printer: Printer | None = None,
    ) -> None:
        self.stack = stack
        self.signals = signals
        self.log = log
        self._printer = printer
        self._allowed_ends = AGAIN_AND_AGAIN
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
                    [sys.executable, "-m", "tools.stack.guardian", str(grace), str(record)],
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

    def start(self, component: ComponentSpec, *, ends: bool = False) -> None:
        """Start `component`, again and again if it ends; with `ends` it is a step that is expected to end (migration,
        image build), or one that the caller starts anew."""
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
            ends=ends,
        )

    def wait(
        self,
        what: str,
        ready: Callable[[], T | None],
        seconds: float,
        *,
        poll: float = 0.1,
        shown: bool = True,
        detail: Callable[[], str] = str,
    ) -> T:
        """Poll `ready` until it returns something. A server that does not answer (`Unanswered`) is asked again.

        With `shown` the screen tells what is awaited, with `detail`, for how long already and for how long at most.
        Raises `StackError` at the limit, or when a server has been silent for too long; `ComponentDied` if a component
        ends again and again, naming it, its last log lines and its log.
        """
        printer = self._printer if shown else None
        with printer.awaiting(what, seconds, detail) if printer else contextlib.nullcontext():
            return self._poll(what, ready, seconds, poll)

    def _poll(self, what: str, ready: Callable[[], T | None], seconds: float, poll: float) -> T:
        begun = time.monotonic()
        silent: tuple[float, Unanswered] | None = None
        while True:
            try:
                result, silent_now = ready(), None
            except Unanswered as error:
                result, silent_now = None, error
            if result is not None:
                return result
            self.check()
            now = time.monotonic()
            silent = None if silent_now is None else (silent[0] if silent else now, silent_now)
            if now - begun > seconds:
                said = f" The last answer: {silent[1]}" if silent else ""
                raise StackError(
                    f"{what[:1].upper()}{what[1:]} was not ready after {seconds:.0f} s: see the logs in "
                    f"{self.log.parent}.{said}"
                )
            if silent and now - silent[0] > SILENCE_SECONDS:
                raise silent[1]
            with self._news:
                self._news.wait(poll)

    def ask(self, what: str, question: Callable[[], T]) -> T:
        """The answer to a question to `what`, which is waited for while it does not answer."""
        return self.wait(what, lambda: (question(),), SILENCE_SECONDS)[0]

    def check(self) -> None:
        """Tell what has ended and was started again. Raise if that is hopeless, if a step of the start has failed, or
        if the guardian has ended."""
        with self._news:
            exits = dict(self._seen.exits)
            ended = self._seen.ended
            news, self._seen.news = self._seen.news, []
        for sentence in news:
            if self._printer is not None:
                self._printer.line(sentence)
        for name, end in exits.items():
            hopeless = end.in_a_row >= self._allowed_ends
            if end.code != 0 if name in self._expected_to_end else hopeless:
                raise ComponentDied(death_sentence(name, how_it_ended(end.code, end.reason), self._logs[name]))
        if ended:
            raise ComponentDied(death_sentence("guardian", how_it_ended(None), self.log))

    def settled(self) -> None:
        """The stack has started: from here on a component is given more time to come back."""
        self._allowed_ends = HOPELESS

    def exited(self, name: str) -> int | None:
        """Exit code of a component that has ended; None while it runs."""
        with self._news:
            seen = self._seen.exits.get(name)
        return None if seen is None else seen.code

    def output(self, name: str) -> list[str]:
        """The lines a captured component has written to its standard output so far."""
        with self._news:
            return list(self._seen.lines.get(name, []))

    def pids(self) -> dict[str, int]:
        """Process ids of what was started last, by component."""
        with self._news:
            return dict(self._seen.pids)

    def detach(self) -> None:
        """Leave the stack running when this process ends."""
        self._command(do="detach")
        self.wait("the guardian", lambda: True if self._seen.detached else None, 60, shown=False)

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
            raise ComponentDied(death_sentence("guardian", how_it_ended(None), self.log)) from error

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

    def _note(self, event: dict[str, Any]) -> None:
        seen = self._seen
        name = str(event.get("name", ""))
        match event["event"]:
            case "guardian":
                seen.pids["guardian"] = int(str(event["pid"]))
            case "started":
                again = seen.exits.pop(name, None)
                if again is not None:
                    seen.news.append(f"{name} runs again")
                seen.pids[name] = int(str(event["pid"]))
            case "output":
                seen.lines.setdefault(name, []).append(str(event["line"]))
            case "exited":
                end = _End(**{key: event[key] for key in ("code", "reason", "pause", "in_a_row") if key in event})
                seen.exits[name] = end
                if end.pause is not None:
                    how = how_it_ended(end.code, end.reason)
                    seen.news.append(f"{name} {how}: started again in {end.pause:.0f} s (log: {self._logs[name]})")
            case "detached":
                seen.detached = True
            case "ended":
                seen.survivors = [str(item) for item in event["survivors"]]
