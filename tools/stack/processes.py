"""Finding and ending every process of a stack, whatever it did to its environment, session or parents.

Three marks are used, because each has a hole: *descent* (with a child subreaper orphans stay descendants; lost when
the subreaper itself is killed), the *environment* variable `SAGEWIND_STACK` (lost by programs started with a clean
environment, unreadable in Airflow's workers, which make themselves non-dumpable), and the *session* of the warden (lost
by `setsid`). Only processes that carry one of them are ever signalled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psutil

MARKER = "SAGEWIND_STACK"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    """Call prctl(2); on systems without it (macOS) descent and session marks have to do."""
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become_subreaper(enabled: bool = True) -> None:
    """Orphans among the descendants of this process become its children instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(enabled))


def die_with_parent(parent: int, signum: int = signal.SIGKILL) -> None:
    """Ask the kernel to send `signum` to this process when `parent` ends; ends at once if that is past already."""
    _prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:
        os._exit(1)


@dataclass(frozen=True)
class Mark:
    """What identifies the processes of one stack: `stack` is the marker's value, or its beginning when `any_run` is set
    (all stacks of a state folder); `session` is the warden's process id, None when that number may belong to somebody
    else by now; processes begun before `since` (epoch seconds) are not of that session."""

    stack: str
    session: int | None = None
    any_run: bool = False
    since: float = 0.0

    def carried_by(self, process: psutil.Process) -> bool:
        """Whether `process` belongs to the stack by session or environment."""
        with contextlib.suppress(psutil.Error, OSError):
            if self.session is not None and os.getsid(process.pid) == self.session:
                return float(process.create_time()) >= self.since
        try:
            value = str(process.environ().get(MARKER, ""))
        except (psutil.Error, OSError):
            return False
        return value.startswith(self.stack) if self.any_run else value == self.stack


def members(mark: Mark | None, *, descendants: bool = True, spare: Iterable[int] = ()) -> Iterator[psutil.Process]:
    """Every living process of the stack: this process's descendants and all that carry `mark`."""
    spared = {os.getpid(), *spare}
    found: dict[int, psutil.Process] = {}
    if descendants:
        found.update((child.pid, child) for child in psutil.Process().children(recursive=True))
    if mark is not None:
        found.update((other.pid, other) for other in psutil.process_iter() if mark.carried_by(other))
    for process in found.values():
        if process.pid not in spared and _alive(process):
            yield process


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def reap() -> dict[int, int]:
    """Collect all children that have ended; exit codes by process id (negative = signal)."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def end_all(
    mark: Mark | None, *, descendants: bool = True, spare: Iterable[int] = (), seconds: float = 15.0
) -> list[str]:
    """Kill every process of the stack until none is left; what still lives after `seconds` is returned by name.

    SIGKILL at once: whoever deserved a SIGTERM had one. Repeats, because a process may fork while the list is made.
    """
    deadline = time.monotonic() + seconds
    while True:
        alive = list(members(mark, descendants=descendants, spare=spare))
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if not alive or time.monotonic() > deadline:
            return [describe(process) for process in alive]
        psutil.wait_procs(alive, timeout=0.2)
        if descendants:
            reap()


def end_foreign_children(spare: Iterable[int], seconds: float = 5.0) -> list[str]:
    """Kill the children of this process that are not in `spare`, and all below them, until none is left; what still
    lives after `seconds` is returned by name. Reaps no child of `spare`: their exit codes are the caller's."""
    spared = set(spare)
    deadline = time.monotonic() + seconds
    while True:
        foreign = [child for child in psutil.Process().children() if child.pid not in spared]
        below = [other for child in foreign for other in _below(child)]
        alive = [process for process in (*foreign, *below) if _alive(process)]
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if not alive or time.monotonic() > deadline:
            return [describe(process) for process in alive]
        psutil.wait_procs(alive, timeout=0.2)


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return found


def describe(process: psutil.Process) -> str:
    """`name (process 123)`, for sentences."""
    try:
        return f"{process.name()} (process {process.pid})"
    except psutil.Error:
        return f"process {process.pid}"
