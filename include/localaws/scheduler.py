"""Who may run now: at most N jobs at once, the rest wait in the order they came."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

log = logging.getLogger("localaws.scheduler")

Cause = Literal["stop", "shutdown"]
SHUTDOWN_GRACE = 5.0  # seconds a job has when the endpoint itself is told to end


class Stoppable(Protocol):
    """What a ticket can end; `runner.Process` is one."""

    def terminate(self, grace: float) -> int:
        """Ask, wait `grace` seconds, then force."""


class Ticket:
    """One job's place in the schedule, and the way to stop it from any thread.

    `cause` is None while nobody asked for an end, else who asked first: "stop" (the API) or "shutdown".
    """

    def __init__(self, kind: str, name: str, grace: float) -> None:
        self.kind = kind
        self.name = name
        self.ended = threading.Event()
        self._listeners: list[Callable[[], None]] = []
        self._grace = grace
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
        grace = self._grace if self._cause == "stop" else min(self._grace, SHUTDOWN_GRACE)
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


class Scheduler:
    """Runs works on threads of their own: `submit` waits for one of `limit` slots, `spawn` takes none.

    A work is called in any case, also when it was stopped while it waited (`ticket.stopping` is then true):
    it alone writes the job's end.
    """

    def __init__(self, limit: int | None = None, grace: float = 120.0) -> None:
        self.limit = limit or (os.cpu_count() or 1) + 1
        self.grace = grace
        self._free = self.limit
        self._waiting: deque[Ticket] = deque()
        self._tickets: dict[tuple[str, str], Ticket] = {}
        self._changed = threading.Condition()
        self._closed = False

    def submit(self, kind: str, name: str, work: Work) -> Ticket:
        """Run the work when a slot is free."""
        return self._begin(kind, name, work, slot=True)

    def spawn(self, kind: str, name: str, work: Work) -> Ticket:
        """Run the work at once, beside the slots: for those that only wait for other jobs."""
        return self._begin(kind, name, work, slot=False)

    def _begin(self, kind: str, name: str, work: Work, *, slot: bool) -> Ticket:
        ticket = Ticket(kind, name, self.grace)
        with self._changed:
            if self._closed:
                raise RuntimeError("the endpoint is shutting down: no job is started any more")
            self._tickets[kind, name] = ticket
            if slot:
                self._waiting.append(ticket)
        threading.Thread(target=self._run, args=(ticket, work, slot), name=f"{kind}/{name}", daemon=True).start()
        return ticket

    def _run(self, ticket: Ticket, work: Work, slot: bool) -> None:
        held = slot and self._acquire(ticket)
        try:
            if not (slot and not held and ticket.cause == "shutdown"):
                work(ticket)
        except Exception:
            log.exception("%s %s: the work itself broke", ticket.kind, ticket.name)
        finally:
            with self._changed:
                self._free += held
                self._tickets.pop((ticket.kind, ticket.name), None)
                self._changed.notify_all()
            ticket.finish()

    def _acquire(self, ticket: Ticket) -> bool:
        with self._changed:
            while not ticket.stopping and not (self._free > 0 and self._waiting[0] is ticket):
                self._changed.wait()
            self._waiting.remove(ticket)
            self._changed.notify_all()
            if ticket.stopping:
                return False
            self._free -= 1
            return True

    def find(self, kind: str, name: str) -> Ticket | None:
        """The ticket of a job that waits or runs."""
        with self._changed:
            return self._tickets.get((kind, name))

    def stop(self, kind: str, name: str, cause: Cause = "stop") -> Ticket | None:
        """Ask a waiting or running job to end; None when there is none."""
        ticket = self.find(kind, name)
        if ticket is not None:
            ticket.stop(cause)
            with self._changed:
                self._changed.notify_all()
        return ticket

    def shutdown(self) -> None:
        """End all running jobs and wait for them; waiting ones stay as they are in the store, for the next start."""
        with self._changed:
            self._closed = True
            # Those that wait first: a slot that a running one frees must not go to one of them any more.
            tickets = [*self._waiting, *(t for t in self._tickets.values() if t not in self._waiting)]
        for ticket in tickets:
            ticket.stop("shutdown")
        with self._changed:
            self._changed.notify_all()
        for ticket in tickets:
            ticket.ended.wait(SHUTDOWN_GRACE * 2)
