"""What the executor's workers run at this moment, found fast enough to hit a task between two of its calls."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass

import psutil

from tests.faults.calls import CREATES, DESCRIBES, Call, CallFile
from tests.faults.plan import Moment
from tests.faults.stack import Stack

#: Titles that Airflow 3.3 gives its processes: a worker names the task instance it runs, the task's own process too.
WORKER = re.compile(r"airflow worker -- LocalExecutor: ([0-9a-f-]{36})")
LOOK_EVERY = 0.05  # at the processes; at the record of calls much more often


class Missed(Exception):
    """The moment of a fault did not come: nothing was done."""


@dataclass(frozen=True)
class Running:
    """A job task on a worker: the worker's process, and the one that runs the task's code."""

    run: str
    task: str
    worker: psutil.Process
    process: psutil.Process


class Workers:
    """Knows the job tasks that run, as of the last look."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._calls = CallFile(stack.calls)
        self._job_tasks: dict[str, tuple[str, str] | None] = {}  # instance -> run and task, None for other operators
        self._running: list[Running] = []

    def at(self, moment: Moment, deadline: float) -> Running:
        """Wait for the moment; the task that it is the moment of. Missed if it does not come."""
        self._calls.skip()
        looked = 0.0
        while time.monotonic() < deadline:
            if time.monotonic() - looked > LOOK_EVERY:
                self._look()
                looked = time.monotonic()
            if found := self._running[:1] if moment == "any" else self._that(moment):
                return found[0]
            time.sleep(0.002)
        raise Missed("its moment did not come")

    def _that(self, moment: Moment) -> list[Running]:
        """The tasks that have just looked for their job in vain, or just created it."""
        wanted = CREATES if moment == "created" else DESCRIBES
        calls = [call for call in self._calls.more() if call.operation in wanted and call.ok == (moment == "created")]
        return [running for call in calls for running in self._running if _owns(running, call)]

    def _look(self) -> None:
        scheduler = self.stack.process("scheduler")
        found = []
        with contextlib.suppress(psutil.Error):
            for worker in scheduler.children() if scheduler else []:
                title = WORKER.match(_title(worker))
                if title and (owner := self._owner(title.group(1))):
                    found += [Running(*owner, worker, child) for child in _children(worker)[:1]]
        self._running = found

    def _owner(self, instance: str) -> tuple[str, str] | None:
        if instance not in self._job_tasks:
            query = "SELECT run_id, task_id FROM task_instance WHERE id = %s AND operator = 'JobOperator'"
            found = self.stack.database.rows(query, instance)
            self._job_tasks[instance] = (found[0][0], found[0][1]) if found else None
        return self._job_tasks[instance]


def busy(worker: psutil.Process) -> bool:
    """Whether a worker still runs a task.

    An idle one is not killed: it may hold the lock of the executor's queue, which then nobody ever gets again, and the
    LocalExecutor of Airflow 3.3.2 runs no task until the scheduler is restarted (seen).
    """
    return WORKER.match(_title(worker)) is not None


def _owns(running: Running, call: Call) -> bool:
    """A Create carries its owner's tags; a Describe has none, but the step is part of the job's name."""
    if call.tags:
        return (call.tag("run"), call.tag("task")) == (running.run, running.task)
    return f"-{running.task.replace('_', '-')}-" in call.name


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return next(iter(process.cmdline()), "")
    return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
    return []
