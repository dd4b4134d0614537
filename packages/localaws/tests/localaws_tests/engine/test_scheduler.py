"""Slots, order, stops and the end of the schedule."""

from __future__ import annotations

import threading

import pytest

from localaws.engine import instances
from localaws.engine.instances import Demand
from localaws.engine.scheduler import Scheduler, Ticket


class Running:
    """A work that runs until it is let go; `terminate` notes the grace it was given."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()
        self.grace: float | None = None

    def __call__(self, ticket: Ticket) -> None:
        ticket.attach(self)
        self.began.set()
        assert self.go.wait(240)

    def terminate(self, grace: float) -> int:
        self.grace = grace
        self.go.set()
        return 0


def test_no_more_than_the_limit_run_and_the_rest_keep_their_order() -> None:
    scheduler, order = Scheduler(limit=2), []
    works = [Running(), Running()]
    for number, work in enumerate(works):
        scheduler.submit("k", str(number), work)
    for work in works:
        assert work.began.wait(240)
    later = [scheduler.submit("k", str(n), lambda ticket: order.append(ticket.name)) for n in range(2, 6)]
    assert order == []
    works[0].go.set()
    for ticket in later:
        assert ticket.ended.wait(240)
    assert order == ["2", "3", "4", "5"]
    works[1].go.set()


def test_a_spawned_work_takes_no_slot() -> None:
    scheduler, busy, beside = Scheduler(limit=1), Running(), Running()
    scheduler.submit("k", "busy", busy)
    scheduler.spawn("k", "beside", beside)
    assert busy.began.wait(240)
    assert beside.began.wait(240)
    busy.go.set()
    beside.go.set()


def test_stop_of_a_running_work_ends_its_process_with_the_grace() -> None:
    scheduler, work = Scheduler(limit=1, grace=7.0), Running()
    ticket = scheduler.submit("k", "a", work)
    assert work.began.wait(240)
    assert scheduler.stop("k", "a") is ticket
    assert ticket.ended.wait(240)
    assert (work.grace, ticket.cause) == (7.0, "stop")
    assert scheduler.stop("k", "a") is None


def test_stop_of_a_waiting_work_reaches_it_at_once() -> None:
    scheduler, busy = Scheduler(limit=1), Running()
    scheduler.submit("k", "busy", busy)
    seen: list[bool] = []
    waiting = scheduler.submit("k", "waiting", lambda ticket: seen.append(ticket.stopping))
    scheduler.stop("k", "waiting")
    assert waiting.ended.wait(240)
    assert seen == [True]
    busy.go.set()


def test_a_stop_before_the_process_is_known_is_not_lost() -> None:
    ticket, work = Ticket("k", "a", 3.0), Running()
    ticket.stop("stop")
    ticket.attach(work)
    assert work.go.wait(240)


def test_the_first_cause_stays() -> None:
    ticket = Ticket("k", "a", 3.0)
    ticket.stop("stop")
    ticket.stop("shutdown")
    assert ticket.cause == "stop"


def test_shutdown_ends_what_runs_and_leaves_what_waits() -> None:
    scheduler, work, touched = Scheduler(limit=1, shutdown_grace=30.0), Running(), threading.Event()
    running = scheduler.submit("k", "running", work)
    assert work.began.wait(240)
    waiting = scheduler.submit("k", "waiting", lambda _: touched.set())
    scheduler.shutdown()
    assert running.ended.is_set()
    assert running.cause == "shutdown"
    assert waiting.ended.is_set()
    assert not touched.is_set()
    with pytest.raises(RuntimeError, match="shutting down"):
        scheduler.submit("k", "late", work)


def test_a_work_that_breaks_gives_its_slot_back(caplog: pytest.LogCaptureFixture) -> None:
    scheduler = Scheduler(limit=1)
    broken = scheduler.submit("k", "broken", lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    assert broken.ended.wait(240)
    assert "k broken: the work itself broke" in caplog.text
    assert scheduler.submit("k", "next", lambda _: None).ended.wait(240)


def test_the_end_of_a_broken_work_is_tried_until_it_is_written_and_its_slot_is_free_meanwhile() -> None:
    scheduler, said, go = Scheduler(limit=1), [], threading.Event()

    def end(ticket: Ticket, error: Exception) -> None:
        said.append((ticket.name, type(error)))
        assert go.wait(240)
        if len(said) < 3:
            raise OSError("the disk is full")

    broken = scheduler.submit("k", "broken", lambda _: 1 / 0, broken=end)  # type: ignore[arg-type]
    assert scheduler.submit("k", "next", lambda _: None).ended.wait(240)
    assert not broken.ended.is_set()
    assert scheduler.find("k", "broken") is broken
    go.set()
    assert broken.ended.wait(240)
    assert said == [("broken", ZeroDivisionError)] * 3


def test_shutdown_tries_an_end_once_more_and_leaves_it_to_the_next_start() -> None:
    scheduler, tried = Scheduler(limit=1, shutdown_grace=30.0), threading.Event()

    def end(ticket: Ticket, error: Exception) -> None:
        tried.set()
        raise OSError("the disk is full")

    ticket = scheduler.spawn("k", "broken", lambda _: 1 / 0, broken=end)  # type: ignore[arg-type]
    assert tried.wait(240)
    scheduler.shutdown()
    assert ticket.ended.is_set()


def test_shutdown_waits_no_longer_for_many_than_for_one() -> None:
    scheduler, go, waits = Scheduler(limit=1, shutdown_grace=0.1), threading.Event(), []

    class Noted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return super().wait(timeout)

    def deaf(ticket: Ticket) -> None:
        assert go.wait(240)

    tickets = [scheduler.spawn("k", str(n), deaf) for n in range(50)]
    for ticket in tickets:
        ticket.ended = Noted()
    scheduler.shutdown()
    assert len(waits) == 50
    assert sum(waits) < 1.0  # 50 times as long would be 10 s
    assert not any(ticket.ended.is_set() for ticket in tickets)
    go.set()
    for ticket in tickets:
        assert ticket.ended.wait(240)


def test_listeners_hear_of_the_end_once_also_when_they_come_late() -> None:
    scheduler, heard = Scheduler(limit=1), []
    work = Running()
    ticket = scheduler.submit("k", "a", work)
    both = threading.Barrier(2)
    ticket.when_ended(lambda: (heard.append("early"), both.wait(240)))  # type: ignore[arg-type,func-returns-value]
    work.go.set()
    both.wait(240)
    ticket.when_ended(lambda: heard.append("late"))
    assert heard == ["early", "late"]


def test_two_hundred_queued_jobs_cost_no_thread_and_all_end_in_order() -> None:
    scheduler, order, busy = Scheduler(limit=1), [], Running()
    scheduler.submit("k", "busy", busy)
    assert busy.began.wait(240)
    before = set(threading.enumerate())
    tickets = [scheduler.submit("k", str(n), lambda ticket: order.append(ticket.name)) for n in range(200)]
    # Threads of earlier tests may still be ending, or a server that they share may begin some.
    assert len(set(threading.enumerate()) - before) < 20
    busy.go.set()
    for ticket in tickets:
        assert ticket.ended.wait(240)
    assert order == [str(n) for n in range(200)]


def test_cores_and_memory_are_a_budget_and_nobody_overtakes() -> None:
    scheduler = Scheduler(limit=10, cpus=4, memory=16.0)
    first, large, small = Running(), Running(), Running()
    scheduler.submit("k", "first", first, Demand(2.0, 8.0))
    scheduler.submit("k", "large", large, Demand(1.0, 12.0))
    scheduler.submit("k", "small", small, Demand(1.0, 1.0))
    assert first.began.wait(240)
    assert not large.began.is_set()
    assert not small.began.is_set()
    first.go.set()
    assert large.began.wait(240)
    assert small.began.wait(240)
    large.go.set()
    small.go.set()


def test_a_job_larger_than_the_machine_runs_alone() -> None:
    scheduler, huge, small = Scheduler(limit=3, cpus=2, memory=4.0), Running(), Running()
    scheduler.submit("k", "huge", huge, instances.of("ml.p4d.24xlarge", 4))
    scheduler.submit("k", "small", small)
    assert huge.began.wait(240)
    assert not small.began.is_set()
    huge.go.set()
    assert small.began.wait(240)
    small.go.set()


def test_stopping_the_one_that_blocks_the_queue_lets_the_next_in() -> None:
    scheduler, busy, small = Scheduler(limit=10, cpus=2), Running(), Running()
    scheduler.submit("k", "busy", busy)
    scheduler.submit("k", "large", lambda _: None, Demand(2.0))
    scheduler.submit("k", "small", small)
    stopped = scheduler.stop("k", "large")
    assert stopped is not None
    assert small.began.wait(240)
    assert stopped.ended.wait(240)
    busy.go.set()
    small.go.set()


@pytest.mark.parametrize(
    ("name", "cores", "memory"),
    [
        # Amazon SageMaker AI instance types: vCPU and GiB, of two threads a core
        ("ml.m5.large", 1, 8),
        ("ml.m5.xlarge", 2, 16),
        ("ml.m5.4xlarge", 8, 64),
        ("ml.c5.xlarge", 2, 8),
        ("ml.c5.9xlarge", 18, 72),
        ("ml.r5.2xlarge", 4, 64),
        ("ml.t3.medium", 1, 4),
        ("ml.t3.large", 1, 8),
        ("ml.t3.2xlarge", 4, 32),
        ("ml.p3.2xlarge", 4, 64),
    ],
)
def test_demand_of_instance_types(name: str, cores: float, memory: float) -> None:
    assert instances.of(name) == Demand(cores, memory)
    assert instances.of(name, 3) == Demand(3 * cores, 3 * memory, 3)
