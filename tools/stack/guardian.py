"""The process that owns all others of a stack; started by the front, it ends everything when the front goes.

Two processes run this program, both in a session of their own. The *warden* is the outer one: it only waits for the
guardian, and when that is killed (kill -9 included) it ends whatever is left. The *guardian* starts the components,
starts them again when they end (`restarts`), tells the front what happens to them, and ends them (SIGTERM, then
SIGKILL) when it is told to, gets a SIGTERM, or reads the end of file on its standard input: the pipe whose other end
only the front holds, so that the front's death in any way is seen at once. When the front is killed, the guardian
cleans up; when the guardian is, the warden does; when both are, the front does; when all three are, the kernel kills
the components (PR_SET_PDEATHSIG) and the next start sweeps the rest.

Arguments: the grace in seconds, and the file of the record that `make status` reads.
Standard input: one JSON object per line, `{"do": "start", ...}`, `{"do": "detach"}`, `{"do": "stop", "grace": 6}`.
Standard output: one JSON object per line, `guardian`, `started`, `output`, `exited`, `detached`, `ended`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.stack import keeper, restarts
from tools.stack.keeper import AWAITED, KeptProgram
from tools.stack.processes import (
    MARKER,
    Mark,
    become_subreaper,
    die_with_parent,
    end_all,
    end_foreign_children,
    members,
    reap,
)
from tools.stack.restarts import Life

DEFAULT_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL: the api-server and localaws need about three to end in order."""


@dataclass
class GuardedComponent:
    """One component, by the name under which the front knows it. `due`: when it is to be started (again)."""

    name: str
    program: KeptProgram
    life: Life
    keeper: int | None = None
    output: int | None = None
    begun: float = 0.0
    due: float | None = 0.0
    pending: bytearray = field(default_factory=bytearray)


class Guardian:
    """A single-threaded loop over commands, signals and component output (a thread would break PDEATHSIG and fork)."""

    def __init__(self, stack: str, warden: int, record: Path, grace: float = DEFAULT_GRACE) -> None:
        self.grace = grace
        self.record = record
        self.mark = Mark(stack, session=warden)
        self.warden = warden
        self.detached = False
        self.stopping_until: float | None = None
        self.components: dict[str, GuardedComponent] = {}
        self.commands = bytearray()
        self.selector = selectors.DefaultSelector()
        self.wakeup, waker = socket.socketpair()
        for end in (self.wakeup, waker):
            end.setblocking(False)
        self._waker = waker
        signal.set_wakeup_fd(waker.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.stop(self.grace))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)  # those of the warden, from whom they were inherited
        os.set_blocking(sys.stdin.fileno(), False)
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._read_commands)
        self.selector.register(self.wakeup, selectors.EVENT_READ, self._drain_wakeup)

    def run(self) -> None:
        """Serve until told to stop and everything has ended."""
        self.tell(event="guardian", pid=os.getpid())
        while not self._finished():
            self._start_what_is_due()
            for key, _ in self.selector.select(self._patience()):
                handle: Callable[[], None] = key.data
                handle()
            self._collect()
        survivors = end_all(self.mark, spare=[self.warden])
        self.record.unlink(missing_ok=True)
        self.tell(event="ended", survivors=survivors)

    def _patience(self) -> float | None:
        """Seconds until something is to be done even if nothing happens."""
        times = [component.due for component in self.components.values()]
        if self.stopping_until is not None:
            times = [self.stopping_until]
        return min((max(0.0, at - time.monotonic()) for at in times if at is not None), default=None)

    def _finished(self) -> bool:
        if self.stopping_until is None:
            return False
        if time.monotonic() >= self.stopping_until:
            return True
        if any(component.keeper for component in self.components.values()):
            return False
        # What outlives the components has nobody to tell it to end (orphaned executor workers): a moment, no more.
        self.stopping_until = min(self.stopping_until, time.monotonic() + 1.0)
        return not any(members(self.mark, spare=[self.warden]))

    def tell(self, **event: Any) -> None:
        """Report to the front; it may be gone, which is dealt with where its end of file is read."""
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), (json.dumps(event) + "\n").encode())

    def stop(self, grace: float) -> None:
        """Ask every component to end and give them `grace` seconds; a second call can only shorten that."""
        until = time.monotonic() + grace
        if self.stopping_until is not None:
            self.stopping_until = min(self.stopping_until, until)
            return
        self.stopping_until = until
        for component in self.components.values():
            if component.keeper is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(component.keeper, signal.SIGTERM)  # which hands it on

    def _drain_wakeup(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.wakeup.recv(4096):
                pass

    def _read_commands(self) -> None:
        try:
            data = os.read(sys.stdin.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self.selector.unregister(sys.stdin.fileno())
            if not self.detached:
                self.stop(self.grace)
            return
        self.commands += data
        while b"\n" in self.commands:
            line, _, rest = self.commands.partition(b"\n")
            self.commands = bytearray(rest)
            self._obey(json.loads(line))

    def _obey(self, command: dict[str, Any]) -> None:
        match command.pop("do"):
            case "start" if self.stopping_until is None:
                self._add(**command)
            case "start":
                self.tell(event="exited", name=command["name"], code=None)
            case "detach":
                self.detached = True
                self.tell(event="detached")
            case "stop":
                self.stop(float(command.get("grace", self.grace)))
            case other:
                raise ValueError(f"unknown command {other!r}")

    def _add(self, name: str, ends: bool, **program: Any) -> None:
        """Take a component on, to be started at once."""
        self.components[name] = GuardedComponent(name, KeptProgram(**program), Life(program["log"], lasting=not ends))

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for component in self.components.values():
            if self.stopping_until is None and component.due is not None and component.due <= now:
                self._start(component)

    def _start(self, component: GuardedComponent) -> None:
        component.due = None
        component.begun = time.monotonic()
        try:
            kept = keeper.start(component.program, self.mark.stack)
        except OSError as error:
            self._ended(component, None, f"{error.strerror}: {error.filename}")
            return
        component.keeper, component.output = kept.keeper, kept.output
        component.life.begin(kept.pid, time.time())
        self._write_record()
        self.tell(event="started", name=component.name, pid=kept.pid)
        if kept.output is not None:
            os.set_blocking(kept.output, False)
            self.selector.register(kept.output, selectors.EVENT_READ, lambda: self._forward(component))

    def _forward(self, component: GuardedComponent) -> None:
        """Tell what has been written since the last time; closes the pipe when nobody holds its other end."""
        with contextlib.suppress(BlockingIOError):
            while component.output is not None:
                data = os.read(component.output, 65536)
                if not data:
                    self._close(component)
                component.pending += data
        *lines, rest = component.pending.split(b"\n")
        component.pending = bytearray(rest)
        for line in lines:
            self.tell(event="output", name=component.name, line=line.decode(errors="replace"))

    def _close(self, component: GuardedComponent) -> None:
        if component.output is not None:
            self.selector.unregister(component.output)
            os.close(component.output)
            component.output = None

    def _collect(self) -> None:
        ended = reap()
        for component in self.components.values():
            if component.keeper in ended:
                code, component.keeper = ended[component.keeper], None
                self._ended(component, code)

    def _ended(self, component: GuardedComponent, code: int | None, reason: str = "") -> None:
        """Note the end of a component. One that should run is tried again, and what it has left is ended before."""
        life = component.life
        life.end(code, reason, time.monotonic() - component.begun, time.time())
        again = life.lasting and self.stopping_until is None
        if again:
            self._end_leftovers()
        self._forward(component)
        self._close(component)
        component.pending.clear()
        if again:
            component.due = time.monotonic() + life.pause
        self._write_record()
        pause = life.pause if again else None
        self.tell(event="exited", name=component.name, code=code, reason=reason, pause=pause, in_a_row=life.in_a_row)

    def _end_leftovers(self) -> None:
        keepers = {component.keeper for component in self.components.values() if component.keeper is not None}
        if left := end_foreign_children(keepers):
            print(f"cannot be ended: {', '.join(left)}", file=sys.stderr, flush=True)

    def _write_record(self) -> None:
        lives = {name: component.life for name, component in self.components.items()}
        try:
            restarts.write(self.record, lives)
        except OSError as error:  # a full disk must not end the stack; `status` is then behind
            print(f"the record cannot be written: {error}", file=sys.stderr, flush=True)


def main() -> None:
    """Become warden and guardian. The environment carries `SAGEWIND_STACK`; the session is already our own."""
    stack, grace, record = os.environ[MARKER], float(sys.argv[1]), Path(sys.argv[2])
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    become_subreaper()
    warden = os.getpid()
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    child = os.fork()
    if child == 0:
        become_subreaper()
        die_with_parent(warden, signal.SIGTERM)
        Guardian(stack, warden, record, grace).run()
        return
    _ward(stack, child)


def _ward(stack: str, guardian: int) -> None:
    """Wait for the guardian to end, then end what it left. Holds none of its pipes, only the stack's lock."""
    for stream in (sys.stdin, sys.stdout):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream.fileno())
    # Taken by sigwait() and not by handlers: Python runs a handler for a signal that comes just before waitpid() only
    # when waitpid() has returned.
    while guardian not in reap():
        if signal.sigwait(AWAITED) == signal.SIGTERM:
            with contextlib.suppress(ProcessLookupError):
                os.kill(guardian, signal.SIGTERM)
    end_all(Mark(stack, session=os.getpid()))


if __name__ == "__main__":
    main()
