"""Does one fault to the stack: kill -9, stop and go on, cut connections; then starts again what was ended."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator

import psutil

from tests.faults import settings
from tests.faults.calls import CREATES, DESCRIBES, Call, CallFile
from tests.faults.plan import Fault
from tests.faults.stack import Stack, poll, resume

#: Titles that Airflow 3.3 gives its processes: a worker names the task instance it runs, the task's own process too.
WORKER = re.compile(r"airflow worker -- LocalExecutor: ([0-9a-f-]{36})")
TASK = re.compile(r"airflow worker -- ([0-9a-f-]{36})")


class Missed(Exception):
    """The moment of a fault did not come: nothing was done."""


class Injector:
    """Faults, one after the other."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._calls = CallFile(stack.calls)

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
            # The whole of it, as a stopped machine would; of the scheduler not its workers, which are a target of their own.
            alone = fault.target in ("scheduler", "localaws")
            _pause([process] if alone else _tree(process), fault.seconds)
        else:
            return f"{self.stack.database.cut(_ports(_tree(process)))} connections of {fault.target}"
        return f"{fault.target} ({process.pid})"

    def _kill(self, fault: Fault, process: psutil.Process) -> None:
        """kill -9, and what a service manager does then: end the rest of the group, start it anew."""
        rest = _tree(process)[1:]
        process.kill()
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(10)
        if not fault.seconds:
            _end(rest)
        self.stack.start(fault.target)
        if fault.seconds:
            _wait(fault.seconds)
            _end(rest)

    def _on_a_worker(self, fault: Fault) -> str:
        deadline = time.monotonic() + settings.MOMENT
        if fault.moment == "any":
            instance = poll_until(deadline, lambda: next(self._job_tasks(), None))
            _wait(fault.delay)
        else:
            self._calls.skip()
            instance = poll_until(deadline, lambda: self._task_that(fault.moment), pause=0.003)
        process = self._process_of(instance, WORKER if fault.target == "worker" else TASK)
        if process is None:
            raise Missed(f"the process of {instance} was gone")
        hit = [process] if fault.target == "task" else _tree(process)
        if fault.kind == "pause":
            _pause(hit, fault.seconds)
        else:
            process.kill()  # of a worker only itself: its task's process loses its supervisor
        return f"{fault.target} of {self._task_id(instance)} ({process.pid})"

    def _workers(self) -> Iterator[psutil.Process]:
        scheduler = self.stack.process("scheduler")
        if scheduler is not None:
            with contextlib.suppress(psutil.Error):
                yield from scheduler.children()

    def _running(self) -> Iterator[str]:
        """Ids of the task instances that workers run."""
        for worker in self._workers():
            if found := WORKER.match(_title(worker)):
                yield found.group(1)

    def _job_tasks(self) -> Iterator[str]:
        for instance in self._running():
            query = "SELECT 1 FROM task_instance WHERE id = %s AND operator = 'JobOperator'"
            if self.stack.database.rows(query, instance):
                yield instance

    def _process_of(self, instance: str, title: re.Pattern[str]) -> psutil.Process | None:
        for worker in self._workers():
            for process in [worker] if title is WORKER else _tree(worker)[1:]:
                found = title.match(_title(process))
                if found and found.group(1) == instance:
                    return process
        return None

    def _task_that(self, moment: str) -> str | None:
        """The task instance that has just looked for its job in vain, or just created it."""
        for call in self._calls.more():
            if moment == "created" and call.operation in CREATES and call.ok:
                return self._instance_of(call)
            if moment == "described" and call.operation in DESCRIBES and not call.ok:
                return self._instance_named(call.name)
        return None

    def _instance_named(self, job: str) -> str | None:
        """A Describe has no tags: the task whose step is part of the job's name and that runs on a worker."""
        running = ((instance, self._task_id(instance)) for instance in self._job_tasks())
        steps = ((instance, task.rpartition("/")[2].replace("_", "-")) for instance, task in running)
        return next((instance for instance, step in steps if f"-{step}-" in job), None)

    def _instance_of(self, call: Call) -> str | None:
        query = "SELECT id FROM task_instance WHERE dag_id = %s AND run_id = %s AND task_id = %s"
        found = self.stack.database.rows(query, call.tag("dag"), call.tag("run"), call.tag("task"))
        return str(found[0][0]) if found else None

    def _task_id(self, instance: str) -> str:
        found = self.stack.database.rows("SELECT run_id, task_id FROM task_instance WHERE id = %s", instance)
        return "/".join(found[0]) if found else instance


def poll_until(deadline: float, question: object, pause: float = 0.02) -> str:
    """The answer, or Missed at the deadline."""
    try:
        return poll(question, "", deadline - time.monotonic(), pause)  # type: ignore[arg-type]
    except TimeoutError:
        raise Missed("its moment did not come") from None


def _wait(seconds: float) -> None:
    """Part of a fault: how long it lasts, or when it strikes. Nothing else is waited for this way."""
    time.sleep(seconds)


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return next(iter(process.cmdline()), "")
    return ""


def _tree(process: psutil.Process) -> list[psutil.Process]:
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


def _end(processes: list[psutil.Process]) -> None:
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
