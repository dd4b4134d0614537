"""A job's program on all its hosts, attended to its end: by itself, a stop, a time limit, or a fault on request."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.engine.images import ImageError
from localaws.engine.runner import Process
from localaws.engine.scheduler import Ticket
from localaws.engine.spec import ProcessSpec
from localaws.faults import JobFaults
from localaws.jobs.outcome import Cause, JobError, ProgramEnd

PEER_GRACE = 5.0  # seconds that the other hosts have after one has failed
# What a program becomes that is to ignore SIGTERM and never to end; an ignored signal stays ignored in children.
HANG = ("sh", "-c", "trap '' TERM; \"$@\"; while :; do sleep 3600; done", "sh")

BEHAVIOURS = (
    Behaviour(
        "stop: SIGTERM, 120 s, then SIGKILL; what the program has saved is kept (training)",
        "documented",
        "StopTrainingJob",
    ),
    Behaviour("the same for processing jobs", "assumed"),
    Behaviour(
        "a job of several hosts has ended when all have; the first that fails fails the job, the others have "
        f"{PEER_GRACE:.0f} s to end",
        "assumed",
    ),
)


@dataclass(frozen=True)
class ProgramTimer:
    """Something to do `after` seconds from the start, and then every so often; a cause it returns ends the program."""

    after: float
    action: Callable[[], Cause | None]
    every: float | None = None


class JobProgram:
    """The processes of one job; stopping the ticket ends them all.

    `run` raises JobError when a process cannot be started, or the error that was handed to `fail`.
    """

    def __init__(self, ctx: Context, ticket: Ticket, specs: Sequence[ProcessSpec], faults: JobFaults) -> None:
        self._ctx = ctx
        self._ticket = ticket
        self._specs = specs
        self._faults = faults
        self._processes: list[Process] = []
        self._events: queue.Queue[tuple[int, int] | JobError] = queue.Queue()

    def fail(self, error: JobError) -> None:
        """End the program for trouble outside it; from any thread."""
        self._events.put(error)

    def terminate(self, grace: float) -> int:
        """SIGTERM to every host's program, SIGKILL after `grace` seconds; returns the first host's exit code."""
        enders = [threading.Thread(target=p.terminate, args=(grace,), daemon=True) for p in self._processes]
        for thread in enders:
            thread.start()
        for thread in enders:
            thread.join()
        return self._processes[0].wait() or 0

    def run(self, limit: float, timers: Sequence[ProgramTimer] = ()) -> ProgramEnd:
        """Run to the end; `limit` in seconds."""
        self._start()
        self._ticket.attach(self)
        try:
            return self._follow([*timers, *self._fault_timers(), ProgramTimer(limit, lambda: "limit")])
        except BaseException:
            self.terminate(PEER_GRACE)
            raise

    def _start(self) -> None:
        try:
            for spec in self._specs:
                argv = [*HANG, *spec.argv] if self._faults.hang else spec.argv
                process = self._ctx.runner.start(replace(spec, argv=argv))
                threading.Thread(target=self._wait, args=(len(self._processes), process), daemon=True).start()
                self._processes.append(process)
        except (ImageError, OSError) as error:
            if self._processes:
                self.terminate(PEER_GRACE)
            if isinstance(error, ImageError):
                raise JobError("ClientError", str(error)) from None
            raise JobError("InternalServerError", f"the program cannot be started: {error}") from None

    def _wait(self, host: int, process: Process) -> None:
        self._events.put((host, process.wait() or 0))

    def _fault_timers(self) -> list[ProgramTimer]:
        if self._faults.kill_after is None:
            return []

        def kill() -> None:
            self._processes[0].kill()

        return [ProgramTimer(self._faults.kill_after, kill)]

    def _follow(self, timers: list[ProgramTimer]) -> ProgramEnd:
        begun = time.monotonic()
        due = [(begun + timer.after, timer) for timer in timers]
        codes: dict[int, int] = {}
        while len(codes) < len(self._processes):
            event: tuple[int, int] | JobError | None = None
            with suppress(queue.Empty):
                event = self._events.get(timeout=max(0.0, min(moment for moment, _ in due) - time.monotonic()))
            if isinstance(event, JobError):
                raise event
            if event is not None:
                host, code = event
                codes[host] = code = self._said(code)
                if code != 0 and not self._ticket.stopping:
                    return self._finish(codes, "exit", host)
                continue
            if cause := _run_due(due):
                return self._finish(codes, cause, 0)
        worst = next((host for host in sorted(codes) if codes[host] != 0), 0)
        return ProgramEnd(codes[worst], self._ticket.cause or "exit", worst)

    def _finish(self, codes: dict[int, int], cause: Cause, host: int) -> ProgramEnd:
        """End what still runs; a failed host's peers quickly, else with the time that a stop gives."""
        if len(codes) < len(self._processes):
            grace = self._ctx.config.grace
            code = self.terminate(min(grace, PEER_GRACE) if cause == "exit" else grace)
            codes.setdefault(0, code)
        return ProgramEnd(codes[host], self._ticket.cause or cause, host)

    def _said(self, code: int) -> int:
        given = self._faults.exit_code
        return code if given is None or self._ticket.stopping else given


def _run_due(due: list[tuple[float, ProgramTimer]]) -> Cause | None:
    """Do what is due; the cause that one of them gives ends the program."""
    now = time.monotonic()
    for entry in [e for e in due if e[0] <= now]:
        due.remove(entry)
        timer = entry[1]
        if timer.every is not None:
            due.append((now + timer.every, timer))
        if cause := timer.action():
            return cause
    return None
