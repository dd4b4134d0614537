"""The process between the guardian and one component: it makes clear whose an orphan is.

What a component leaves behind when it is killed (the workers of a scheduler, the jobs of the local AWS endpoint) may
have left its session and its environment; only descent still tells whose it was, and that is lost when the parent
ends. So every component has a keeper above it, a child subreaper that is forked from the guardian. Orphans of a living
component come to its keeper. When the component ends, its keeper ends in the same way, and what is left comes to the
guardian: **a child of the guardian that is no keeper is a leftover of a dead component**, and nothing else is.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.stack.processes import MARKER, become_subreaper, die_with_parent, reap

AWAITED = frozenset({signal.SIGTERM, signal.SIGCHLD})
"""What warden and keepers wait for; blocked from before there is a child, so that none is missed."""


@dataclass(frozen=True)
class KeptProgram:
    """What is to be run. `capture`: its standard output is read by the guardian instead of going to its log."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    log: str
    capture: bool


@dataclass(frozen=True)
class Kept:
    """A component that runs: its process, its keeper's, and where its standard output is read if that is captured."""

    pid: int
    keeper: int
    output: int | None


def start(program: KeptProgram, stack: str) -> Kept:
    """Start a component below a keeper of its own; OSError if it cannot be executed."""
    guardian = os.getpid()
    answer, answering = os.pipe()
    output, out = os.pipe() if program.capture else (None, None)
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)  # the guardian's handlers must not run in the keeper
    keeper = os.fork()
    if keeper == 0:
        try:
            _keep(program, stack, guardian, answering, out)
        finally:
            os._exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)
    os.close(answering)
    if out is not None:
        os.close(out)
    with os.fdopen(answer, "rb") as stream:
        said = stream.read()
    pid, number, name = json.loads(said) if said else (0, 0, "its keeper was killed")
    if pid:
        return Kept(pid, keeper, output)
    if output is not None:
        os.close(output)
    raise OSError(number, os.strerror(number) if number else name, name)


def _keep(program: KeptProgram, stack: str, guardian: int, answering: int, out: int | None) -> None:
    """Run the program, hand SIGTERM on to it, and end as it ends."""
    become_subreaper()
    die_with_parent(guardian)
    keeper = os.getpid()

    def in_child() -> None:
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)
        die_with_parent(keeper)

    try:
        with Path(program.log).open("ab") as log:
            popen = subprocess.Popen(
                program.argv,
                env={**program.env, MARKER: stack},
                cwd=program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log if out is None else out,
                stderr=log,
                preexec_fn=in_child,
            )  # referred to until the end: a Popen that nobody refers to reaps its process, and the exit code is lost
        said: tuple[int, int, str] = (popen.pid, 0, "")
    except OSError as error:
        said = (0, error.errno or 0, str(error.filename or program.argv[0]))
    os.write(answering, json.dumps(said).encode())
    os.close(answering)
    if out is not None:
        os.close(out)
    if not said[0]:
        return
    while (code := reap().get(popen.pid)) is None:
        if signal.sigwait(AWAITED) == signal.SIGTERM:
            os.kill(popen.pid, signal.SIGTERM)  # not reaped yet: the number stands for it and for nothing else
    _end_like(code)


def _end_like(code: int) -> None:
    """End with this exit code, or by this signal."""
    if code >= 0:
        os._exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # nobody handles SIGKILL
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
