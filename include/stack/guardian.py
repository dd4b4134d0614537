"""The process that owns all others of a stack; started by the front, it ends everything when the front goes.

Two processes run this program, both in a session of their own. The *warden* is the outer one: it only waits for the
guardian, and when that is killed (kill -9 included) it ends whatever is left. The *guardian* starts the components,
tells the front what happens to them, and ends them (SIGTERM, then SIGKILL) when it is told to, gets a SIGTERM, or reads
the end of file on its standard input: the pipe whose other end only the front holds, so that the front's death in any
way is seen at once. When the front is killed, the guardian cleans up; when the guardian is, the warden does; when both
are, the front does; when all three are, the kernel kills the components (PR_SET_PDEATHSIG) and the next start sweeps
the rest.

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
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from include.stack.processes import (
    MARKER,
    Mark,
    become_subreaper,
    die_with_parent,
    end_all,
    members,
    reap,
)

AWAITED = frozenset({signal.SIGTERM, signal.SIGCHLD})
"""What the warden waits for; blocked from before there is a guardian, so that none is missed."""
DEFAULT_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL: the api-server and localaws need about three to end in order."""


@dataclass
class Component:
    """One process started for the front, by the name under which the front knows it."""

    name: str
    pid: int
    popen: subprocess.Popen[bytes]
    pending: bytearray = field(default_factory=bytearray)


class Guardian:
    """A single-threaded loop over commands, signals and component output (a thread would break PDEATHSIG and fork)."""

    def __init__(self, stack: str, warden: int, grace: float = DEFAULT_GRACE) -> None:
        self.grace = grace
        self.mark = Mark(stack, session=warden)
        self.warden = warden
        self.detached = False
        self.stopping_until: float | None = None
        self.components: dict[int, Component] = {}
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
            left = None if self.stopping_until is None else max(0.0, self.stopping_until - time.monotonic())
            for key, _ in self.selector.select(left):
                handle: Callable[[], None] = key.data
                handle()
            self._collect()
        survivors = end_all(self.mark, spare=[self.warden])
        self.tell(event="ended", survivors=survivors)

    def _finished(self) -> bool:
        if self.stopping_until is None:
            return False
        if time.monotonic() >= self.stopping_until:
            return True
        if self.components:
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
            with contextlib.suppress(ProcessLookupError):
                os.kill(component.pid, signal.SIGTERM)

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
                self._start(**command)
            case "start":
                self.tell(event="exited", name=command["name"], code=None)
            case "detach":
                self.detached = True
                self.tell(event="detached")
            case "stop":
                self.stop(float(command.get("grace", self.grace)))
            case other:
                raise ValueError(f"unknown command {other!r}")

    def _start(self, name: str, argv: list[str], env: dict[str, str], cwd: str, log: str, capture: bool) -> None:
        """Start one component; with `capture` its standard output is told line by line, all else goes to its log."""
        guardian = os.getpid()

        def in_child() -> None:
            signal.set_wakeup_fd(-1)
            die_with_parent(guardian)

        try:
            with Path(log).open("ab") as out:
                popen = subprocess.Popen(
                    argv,
                    env={**env, MARKER: self.mark.stack},
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE if capture else out,
                    stderr=out,
                    preexec_fn=in_child,
                )
        except OSError as error:
            self.tell(event="exited", name=name, code=None, reason=f"{error.strerror}: {error.filename or argv[0]}")
            return
        component = Component(name, popen.pid, popen)
        self.components[popen.pid] = component
        self.tell(event="started", name=name, pid=popen.pid)
        if popen.stdout is not None:
            os.set_blocking(popen.stdout.fileno(), False)
            self.selector.register(popen.stdout, selectors.EVENT_READ, lambda: self._forward(component))

    def _forward(self, component: Component) -> None:
        stream = component.popen.stdout
        if stream is None or stream.closed:
            return
        try:
            data = os.read(stream.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self.selector.unregister(stream)
            stream.close()
            return
        component.pending += data
        *lines, rest = component.pending.split(b"\n")
        component.pending = bytearray(rest)
        for line in lines:
            self.tell(event="output", name=component.name, line=line.decode(errors="replace"))

    def _collect(self) -> None:
        for pid, code in reap().items():
            component = self.components.pop(pid, None)
            if component is not None:
                component.popen.returncode = code
                self._forward(component)
                self.tell(event="exited", name=component.name, code=code)


def main() -> None:
    """Become warden and guardian. The environment carries `SAGEWIND_STACK`, the argument is the grace in seconds; the
    session is already our own."""
    stack, grace = os.environ[MARKER], float(sys.argv[1])
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
        Guardian(stack, warden, grace).run()
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
