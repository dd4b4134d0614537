"""The shared poller against a world of jobs whose lists can be late, out of order, throttled or incomplete."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagewind.facts.kinds import KINDS
from sagewind.triggers import poller
from sagewind.triggers.poller import JobPoller

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
KIND = KINDS["training"]


class World:
    """ListTrainingJobs over jobs that a test changes; time is what the test says it is."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.now = BEGIN
        self.hidden: set[str] = set()
        self.faults: list[Exception] = []
        self.asked: list[dict[str, Any]] = []
        self.dated = False

    def change(self, name: str, status: str, *, at: datetime | None = None) -> None:
        self.now += timedelta(seconds=1)
        self.jobs[name] = {
            "TrainingJobName": name,
            "TrainingJobStatus": status,
            "LastModifiedTime": at or self.now,
        }

    def list_training_jobs(self, MaxResults: int, NextToken: str = "0", **filters: Any) -> dict[str, Any]:
        self.asked.append(filters)
        if self.faults:
            raise self.faults.pop(0)
        found = [job for name, job in self.jobs.items() if name not in self.hidden]
        if "StatusEquals" in filters:
            found = [job for job in self.jobs.values() if job["TrainingJobStatus"] == filters["StatusEquals"]]
        if "LastModifiedTimeAfter" in filters:
            found = [job for job in found if job["LastModifiedTime"] > filters["LastModifiedTimeAfter"]]
        start = int(NextToken)
        page: dict[str, Any] = {"TrainingJobSummaries": found[start : start + MaxResults]}
        if self.dated:
            page["ResponseMetadata"] = {"HTTPHeaders": {"date": format_datetime(self.now, usegmt=True)}}
        return page | ({"NextToken": str(start + MaxResults)} if start + MaxResults < len(found) else {})


def error(code: str, status: int = 400) -> ClientError:
    response = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "ListTrainingJobs")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("POLL_FIRST", "POLL_LONGEST"):
        monkeypatch.setenv(f"AIRFLOW__SAGEWIND__{name}_SECONDS", "0.001")
    return World()


def run(world: World, scene: Callable[[JobPoller], Awaitable[None]]) -> JobPoller:
    made = JobPoller(lambda: SimpleNamespace(client=lambda _: world), KIND)  # type: ignore[arg-type,return-value]
    asyncio.run(asyncio.wait_for(scene(made), 600))
    return made


async def status_of(news: asyncio.Queue[Any]) -> str | None:
    heard = await news.get()
    if isinstance(heard, Exception):
        raise heard
    return None if heard is None else str(heard["TrainingJobStatus"])


async def polled(world: World, times: int) -> None:
    """Until so many more lists were asked for."""
    target = len(world.asked) + times
    while len(world.asked) < target:
        await asyncio.sleep(0)


def test_each_change_is_told_once_to_who_waits_for_it(world: World) -> None:
    world.change("a", "InProgress")
    world.change("b", "InProgress")

    async def scene(made: JobPoller) -> None:
        async with made.wait("a", BEGIN.timestamp()) as a, made.wait("b", BEGIN.timestamp()) as b:
            assert [await status_of(a), await status_of(b)] == ["InProgress", "InProgress"]
            world.change("a", "Completed")
            assert await status_of(a) == "Completed"
            await polled(world, 3)
            assert (a.qsize(), b.qsize()) == (0, 0)

    assert run(world, scene).waits == {}


def test_who_comes_late_hears_what_happened_before(world: World) -> None:
    """A triggerer that takes over waits for jobs which ended long ago."""
    world.change("old", "Completed")
    for number in range(50):
        world.now += timedelta(minutes=1)
        world.change(f"other-{number}", "Completed")

    async def scene(made: JobPoller) -> None:
        async with made.wait("other-49", world.now.timestamp() - 5) as first:
            assert await status_of(first) == "Completed"
            async with made.wait("old", BEGIN.timestamp()) as late:
                assert await status_of(late) == "Completed"

    run(world, scene)


def test_a_poll_asks_for_what_changed_and_not_for_each_wait(world: World) -> None:
    for number in range(250):
        world.change(f"job-{number}", "InProgress")

    async def scene(made: JobPoller) -> None:
        waits = [made.wait(f"job-{number}", BEGIN.timestamp()) for number in range(250)]
        queues = [await wait.__aenter__() for wait in waits]
        for queue in queues:
            await status_of(queue)
        first = len(world.asked)
        assert first <= 4  # three pages for 250 changes, and one poll that may have come between
        world.now += timedelta(minutes=5)
        world.change("job-7", "Completed")
        before = len(world.asked)
        assert await status_of(queues[7]) == "Completed"
        assert len(world.asked) - before <= 4  # the overlap may still hold the first 250 once
        await polled(world, 1)
        pages = len(world.asked)
        await polled(world, 3)
        assert len(world.asked) - pages == 3  # one call a poll, whatever number waits
        for wait in waits:
            await wait.__aexit__(None, None, None)

    run(world, scene)


def test_a_crowd_that_changed_at_once_is_not_listed_for_ever(world: World) -> None:
    """Nothing changes after it, so only the date of the answers tells that it has been heard."""
    for number in range(250):
        world.change(f"job-{number}", "InProgress", at=BEGIN)
    world.dated = True

    async def scene(made: JobPoller) -> None:
        async with made.wait("job-7", BEGIN.timestamp()) as news:
            assert await status_of(news) == "InProgress"
            world.now += timedelta(minutes=5)
            await polled(world, 3 + 3 + 1)  # pages of a poll that was under way, of one that looks back, and one more
            assert world.asked[-1]["LastModifiedTimeAfter"] > BEGIN
            world.change("job-7", "Completed")
            assert await status_of(news) == "Completed"

    run(world, scene)


def test_an_older_picture_after_a_newer_one_is_no_news(world: World) -> None:
    async def scene(made: JobPoller) -> None:
        world.change("a", "Stopping")
        async with made.wait("a", BEGIN.timestamp()) as news:
            assert await status_of(news) == "Stopping"
            world.change("a", "InProgress", at=world.now - timedelta(seconds=10))
            await polled(world, 3)
            assert news.qsize() == 0
            world.change("a", "Stopped")
            assert await status_of(news) == "Stopped"

    run(world, scene)


@pytest.mark.parametrize("fault", [error("ThrottlingException"), error("InternalFailure", 500)])
def test_o26_faults_that_pass_slow_the_polls_down_and_lose_nothing(world: World, fault: ClientError) -> None:
    world.faults = [fault] * 4
    world.change("a", "Completed")

    async def scene(made: JobPoller) -> None:
        async with made.wait("a", BEGIN.timestamp()) as news:
            assert await status_of(news) == "Completed"
            assert world.faults == []

    made = run(world, scene)
    assert 1 < made._back_off < poller.MOST_BACK_OFF  # it was doubled four times and is shrinking again


def test_a_fault_that_does_not_pass_reaches_who_waits(world: World) -> None:
    world.faults = [error("AccessDeniedException")]

    async def scene(made: JobPoller) -> None:
        async with made.wait("a", BEGIN.timestamp()) as news:
            with pytest.raises(ClientError, match="AccessDenied"):
                await status_of(news)

    run(world, scene)


@pytest.mark.parametrize("why", ["deleted", "left out by the list"])
def test_o22_a_job_that_no_list_shows_is_looked_for(world: World, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    monkeypatch.setenv("AIRFLOW__SAGEWIND__POLL_RECONCILE_SECONDS", "0")
    world.change("alive", "InProgress")
    if why != "deleted":
        world.change("a", "Completed")
        world.hidden.add("a")

    async def scene(made: JobPoller) -> None:
        async with made.wait("a", BEGIN.timestamp()) as news, made.wait("alive", BEGIN.timestamp()) as alive:
            assert await status_of(news) is None
            assert await status_of(alive) == "InProgress"

    run(world, scene)
