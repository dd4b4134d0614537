"""Who may run now: as many jobs as the machine has room for, the rest wait in the order they came."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from localaws.coverage import Behaviour
from localaws.engine.instances import Demand, machine_cores, machine_memory
from localaws.profile import FAST

log = logging.getLogger("localaws.scheduler")

BEHAVIOURS = (
    Behaviour(
        "a job waits in `Starting` until the machine has room for its instances, in the order in which jobs came",
        "assumed",
    ),
    Behaviour(
        "a job whose end cannot be written (disk full) ends as Failed, InternalServerError, as soon as it can be",
        "assumed",
    ),
)
Cause = Literal["stop", "shutdown"]
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0  # seconds between two tries to write the end of a job whose work broke


class Stoppable(Protocol):
    """What a ticket can end; `runner.Process` is one."""

    def terminate(self, grace: float) -> int:
        """Ask, wait `grace` seconds, then force."""


class Ticket:
    """One job's place in the schedule, and the way to stop it from any thread.

    `cause` is None while nobody asked for an end, else who asked first: "stop" (the API) or "shutdown".
    """

    def __init__(self, kind: str, name: str, grace: float, shutdown_grace: float = FAST.shutdown_grace) -> None:
        self.kind = kind
        self.name = name
        self.ended = threading.Event()
        self._listeners: list[Callable[[], None]] = []
        self._grace = grace
        self._shutdown_grace = shutdown_grace
        self._cause: Cause | None = None
        self._process: Stoppable | None = None
        self._lock = threading.Lock()
        self._asked = threading.Event()

    @property
    def cause(self) -> Cause | None:
        """Why the job is to end, or None."""
        return self._cause

    @property
    def stopping(self) -> bool:
        """Whether an end was asked for."""
        return self._asked.is_set()

    def attach(self, process: Stoppable) -> None:
        """Name the process that a stop has to end; if a stop was asked for before, it is ended now."""
        with self._lock:
            self._process = process
            asked = self._asked.is_set()
        if asked:
            self._end(process)

    def stop(self, cause: Cause) -> None:
        """Ask for the end of the job; returns at once. The first cause stays."""
        with self._lock:
            if self._asked.is_set():
                return
            self._cause = cause
            self._asked.set()
            process = self._process
        if process is not None:
            self._end(process)

    def _end(self, process: Stoppable) -> None:
        grace = self._grace if self._cause == "stop" else min(self._grace, self._shutdown_grace)
        threading.Thread(target=process.terminate, args=(grace,), daemon=True).start()

    def when_ended(self, listener: Callable[[], None]) -> None:
        """Call the listener once the job's end is written; at once when it is."""
        with self._lock:
            if not self.ended.is_set():
                self._listeners.append(listener)
                return
        listener()

    def finish(self) -> None:
        """The scheduler's word that the work is over."""
        with self._lock:
            self.ended.set()
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def wait_stop(self, timeout: float) -> bool:
        """Sleep up to `timeout` seconds, less when a stop is asked for; tells whether it was."""
        return self._asked.wait(timeout)


Work = Callable[[Ticket], None]
Broken = Callable[[Ticket, Exception], None]  # writes the end of a job whose work has raised
OVERCOMMIT = 2  # a job seldom keeps the cores and the memory of its instance busy all the time


@dataclass(frozen=True)
class _Waiting:
    """A job that has no thread yet, and what it will take."""

    ticket: Ticket
    work: Work
    demand: Demand
    broken: Broken | None


class Scheduler:
    """Runs works on threads of their own: `submit` waits for a share of the capacity, `spawn` takes none.

    The capacity is `limit` processes (CPUs + 1 when not given), `cpus` cores and `memory` GiB, each twice the machine's
    own when not given. A job that asks for more than the whole is counted as the whole: it runs alone. Nobody
    overtakes: while the first in the queue does not fit, all wait. One that waits costs no thread.

    A work is called in any case, also when it was stopped while it waited (`ticket.stopping` is then true):
    it alone writes the job's end. When it raises, `broken` is called to write one, again and again until it does not
    raise: what broke the work (a full disk) may be what keeps the end from being written.
    """

    def __init__(
        self,
        limit: int | None = None,
        grace: float = 120.0,
        *,
        shutdown_grace: float = FAST.shutdown_grace,
        cpus: float | None = None,
        memory: float | None = None,
    ) -> None:
        self.limit = limit or machine_cores() + 1
        self.cpus = cpus or OVERCOMMIT * machine_cores()
        self.memory = memory or OVERCOMMIT * machine_memory()
        self.grace = grace
        self.shutdown_grace = shutdown_grace
        self._used = Demand(0.0, 0.0, 0)
        self._waiting: deque[_Waiting] = deque()
        self._stopped: deque[_Waiting] = deque()
        self._ender: threading.Thread | None = None
        self._tickets: dict[tuple[str, str], Ticket] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()

    def submit(
        self, kind: str, name: str, work: Work, demand: Demand | None = None, broken: Broken | None = None
    ) -> Ticket:
        """Run the work when its demand (default: one core) fits into what is free."""
        ticket = Ticket(kind, name, self.grace, self.shutdown_grace)
        with self._lock:
            self._register(ticket)
            self._waiting.append(_Waiting(ticket, work, self._cap(demand or Demand()), broken))
            self._admit()
        return ticket

    def spawn(self, kind: str, name: str, work: Work, broken: Broken | None = None) -> Ticket:
        """Run the work at once, beside the capacity: for those that only wait for other jobs."""
        ticket = Ticket(kind, name, self.grace, self.shutdown_grace)
        with self._lock:
            self._register(ticket)
            self._begin(_Waiting(ticket, work, Demand(0.0, 0.0, 0), broken))
        return ticket

    def _register(self, ticket: Ticket) -> None:
        if self._closed.is_set():
            raise RuntimeError("the endpoint is shutting down: no job is started any more")
        self._tickets[ticket.kind, ticket.name] = ticket

    def _cap(self, demand: Demand) -> Demand:
        return Demand(
            min(demand.cores, self.cpus), min(demand.memory, self.memory), min(max(demand.instances, 1), self.limit)
        )

    def _admit(self) -> None:
        """Start those at the head of the queue that fit; called with the lock held."""
        while self._waiting and not self._closed.is_set() and self._fits(self._waiting[0].demand):
            self._begin(self._waiting.popleft())

    def _fits(self, demand: Demand) -> bool:
        return (
            self._used.instances + demand.instances <= self.limit
            and self._used.cores + demand.cores <= self.cpus
            and self._used.memory + demand.memory <= self.memory
        )

    def _take(self, demand: Demand, sign: int) -> None:
        used = self._used
        instances = used.instances + sign * demand.instances
        # Sums of fractions: with nobody there nothing is used, whatever was rounded.
        cores = used.cores + sign * demand.cores if instances else 0.0
        self._used = Demand(cores, used.memory + sign * demand.memory if instances else 0.0, instances)

    def _begin(self, entry: _Waiting) -> None:
        self._take(entry.demand, 1)
        name = f"{entry.ticket.kind}/{entry.ticket.name}"
        threading.Thread(target=self._run, args=(entry,), name=name, daemon=True).start()

    def _run(self, entry: _Waiting) -> None:
        try:
            self._work(entry)
        finally:
            with self._lock:
                self._take(entry.demand, -1)
                self._admit()

    def _work(self, entry: _Waiting) -> None:
        ticket = entry.ticket
        try:
            entry.work(ticket)
        except Exception as error:
            log.exception("%s %s: the work itself broke", ticket.kind, ticket.name)
            if entry.broken is not None:
                # On a thread of its own, however long it takes: neither the job's slot nor the next one's end waits.
                name = f"{ticket.kind}/{ticket.name} broken"
                args = (ticket, entry.broken, error)
                threading.Thread(target=self._end_broken, args=args, name=name, daemon=True).start()
                return
        self._forget(ticket)

    def _end_broken(self, ticket: Ticket, broken: Broken, error: Exception) -> None:
        """Try until the end is written; when the endpoint ends once more, then it is up to the next start."""
        pause, last = FIRST_PAUSE, False
        try:
            while not last:
                last = self._closed.is_set()
                try:
                    broken(ticket, error)
                    return
                except Exception as trouble:
                    if pause == FIRST_PAUSE:
                        log.error("%s %s: its end cannot be written yet: %s", ticket.kind, ticket.name, trouble)
                self._closed.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._forget(ticket)

    def _forget(self, ticket: Ticket) -> None:
        with self._lock:
            if self._tickets.get((ticket.kind, ticket.name)) is ticket:
                del self._tickets[ticket.kind, ticket.name]
        ticket.finish()

    def find(self, kind: str, name: str) -> Ticket | None:
        """The ticket of a job that waits or runs."""
        with self._lock:
            return self._tickets.get((kind, name))

    def stop(self, kind: str, name: str, cause: Cause = "stop") -> Ticket | None:
        """Ask a waiting or running job to end; None when there is none. One that waits is called out of the queue."""
        with self._lock:
            ticket = self._tickets.get((kind, name))
        if ticket is None:
            return None
        ticket.stop(cause)
        with self._lock:
            if entry := next((w for w in self._waiting if w.ticket is ticket), None):
                self._waiting.remove(entry)
                self._stopped.append(entry)
                self._admit()
                if self._ender is None:
                    self._ender = threading.Thread(target=self._end_stopped, name="end-stopped", daemon=True)
                    self._ender.start()
        return ticket

    def _end_stopped(self) -> None:
        """The works of jobs that were stopped while they waited, one after the other: they only write an end."""
        while True:
            with self._lock:
                if not self._stopped:
                    self._ender = None
                    return
                entry = self._stopped.popleft()
            self._work(entry)

    def shutdown(self) -> None:
        """End all running jobs and wait for them; waiting ones stay as they are in the store, for the next start."""
        deadline = time.monotonic() + self.shutdown_grace * 2  # of all together
        with self._lock:
            self._closed.set()
            waiting = [w.ticket for w in self._waiting]
            self._waiting.clear()
            running = [t for t in self._tickets.values() if t not in waiting]
        for ticket in waiting:
            ticket.stop("shutdown")
            self._forget(ticket)
        for ticket in running:
            ticket.stop("shutdown")
        for ticket in running:
            ticket.ended.wait(max(0.0, deadline - time.monotonic()))
