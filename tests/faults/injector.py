"""Does one fault to the stack: kill -9, stop and go on, cut connections; then starts again what was ended."""

from __future__ import annotations

import contextlib
import time

import psutil

from tests.faults import settings
from tests.faults.plan import Fault
from tests.faults.stack import Stack, resume
from tests.faults.workers import Missed, Workers, busy


class Injector:
    """Faults, one after the other."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._workers = Workers(stack)

    def inject(self, fault: Fault) -> str:
        """Do it and return when the target goes on or was started again; what was hit. Raises Missed."""
        if fault.target in ("task", "worker"):
            return self._on_a_worker(fault)
        process = self.stack.process(fault.target)
        if process is None:
            raise Missed(f"{fault.target} does not run")
        _wait(fault.delay)
        if fault.kind == "kill":
            self._kill(fault, process)
        elif fault.kind == "pause":
            # The whole of it, as a stopped machine would; but the scheduler's workers are a target of their own.
            alone = fault.target in ("scheduler", "localaws")
            _pause([process] if alone else tree(process), fault.seconds)
        else:
            count = self.stack.database.cut(_ports(tree(process)))
            if not count:
                raise Missed(f"{fault.target} has no connection to the database")
            return f"{count} connections of {fault.target}"
        return f"{fault.target} ({process.pid})"

    def _kill(self, fault: Fault, process: psutil.Process) -> None:
        """kill -9, and what a service manager does then: end the rest of the group, start it anew."""
        rest = tree(process)[1:]
        process.kill()
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(10)
        if not fault.seconds:
            kill_all(rest)
        self.stack.start(fault.target)
        if fault.seconds:
            _wait(fault.seconds)
            kill_all(rest)

    def _on_a_worker(self, fault: Fault) -> str:
        running = self._workers.at(fault.moment, time.monotonic() + settings.MOMENT)
        if fault.moment == "any":
            _wait(fault.delay)
        process = running.worker if fault.target == "worker" else running.process
        if not process.is_running() or not busy(running.worker):
            raise Missed(f"{running.run}/{running.task} had ended")
        if fault.kind == "pause":
            _pause([process] if fault.target == "task" else tree(process), fault.seconds)
        else:
            process.kill()  # of a worker only itself: its task's process loses its supervisor
        return f"{running.run}/{running.task} ({process.pid})"


def _wait(seconds: float) -> None:
    """Part of a fault: how long it lasts, or when it strikes. Nothing else is waited for this way."""
    time.sleep(seconds)


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return next(iter(process.cmdline()), "")
    return ""


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all below it."""
    with contextlib.suppress(psutil.Error):
        return [process, *process.children(recursive=True)]
    return [process]


def _pause(processes: list[psutil.Process], seconds: float) -> None:
    try:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        _wait(seconds)
    finally:
        resume(processes)


def kill_all(processes: list[psutil.Process]) -> None:
    """kill -9; those that are gone need none."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _ports(processes: list[psutil.Process]) -> list[int]:
    """Local ports of all connections."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found += [connection.laddr.port for connection in process.net_connections("tcp") if connection.laddr]
    return found
