"""One poller for all waits of a triggerer on jobs of one account, region and kind.

A wait alone would ask DescribeXJob every few seconds: a thousand waits are a thousand questions. This asks
ListXJobs for what changed since the last answer, whoever waits for it: the number of calls follows the changes in the
account, not the number of waits. A wait asks Describe once, when its job seems to have ended.

AWS's own times are used, never this machine's clock: `LastModifiedTimeAfter` is the newest time seen, in the list or
as the date of the last answer, less an overlap for lists that are eventually consistent. What such a list leaves out
all the same is found by the reconciliation: every few minutes the jobs that are alive are listed, and who waits for one
that is not among them is told to look for itself. So a wait ends even if the list never shows its job, and a deleted
job is noticed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from sagewind import settings
from sagewind.aws import AwsClients, is_passing
from sagewind.facts.kinds import ENDED, KINDS, JobApi, KindName

LOG = logging.getLogger(__name__)
#: Share of the youngest wait's age that passes between two polls: a young job changes often, an old one rarely.
PATIENCE = 0.15
#: One more second between polls for this many waits: many waits are never young all together.
CROWD = 100
OVERLAP = timedelta(seconds=30)
MOST_BACK_OFF = 32.0
PAGE = 100

Summary = dict[str, Any]
#: What a wait is told: the job's new summary; None: look for yourself; an error that will not pass.
News = Summary | None | Exception


@dataclass
class Wait:
    """One task's interest in one job."""

    name: str
    since: datetime
    news: asyncio.Queue[News] = field(default_factory=asyncio.Queue)
    began: float = field(default_factory=time.monotonic)
    newest: datetime | None = None
    status: str = ""


class JobPoller:
    """Asks for the changes of one kind of job and tells those who wait for them. Lives while somebody waits."""

    def __init__(self, aws: Callable[[], AwsClients], kind: JobApi) -> None:
        self.aws = aws
        self.kind = kind
        self.waits: dict[str, list[Wait]] = {}
        self.calls = 0
        self._shortest = self._longest = self._reconcile_after = 0.0
        self._after: datetime | None = None
        self._late: datetime | None = None
        self._back_off = 1.0
        self._polled = -math.inf
        self._reconciled = time.monotonic()
        self._came = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def wait(self, name: str, since: float) -> AsyncIterator[asyncio.Queue[News]]:
        """The news about one job; `since` (epoch seconds) is not later than its creation."""
        # Read here: a value that is not allowed ends this wait with its sentence, not the task that polls for all.
        self._shortest, self._longest = settings.POLL_FIRST.read(), settings.POLL_LONGEST.read()
        self._reconcile_after = settings.POLL_RECONCILE.read()
        wait = Wait(name, datetime.fromtimestamp(since, UTC) - timedelta(seconds=1))
        self.waits.setdefault(name, []).append(wait)
        # Who comes late (a triggerer that takes over) must hear what happened before it came.
        self._late = min(self._late, wait.since) if self._late else wait.since
        self._came.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield wait.news
        finally:
            self.waits[name].remove(wait)
            if not self.waits[name]:
                del self.waits[name]
            if not self.waits and self._task is not None:
                self._task.cancel()
                self._task = None

    def pause(self) -> float:
        """Seconds until the next poll."""
        everybody = self._everybody()
        youngest = min(time.monotonic() - wait.began for wait in everybody)
        least = self._shortest + len(everybody) / CROWD
        return min(self._longest, max(least, PATIENCE * youngest)) * self._back_off

    def _everybody(self) -> list[Wait]:
        return [wait for waits in self.waits.values() for wait in waits]

    async def _run(self) -> None:
        while self.waits:
            # The least pause is kept in any case, or a stream of newcomers would poll; else they are heard at once.
            await asyncio.sleep(max(0.0, self._shortest * self._back_off - self._quiet()))
            rest = self.pause() - self._quiet()
            if rest > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._came.wait(), rest)
            self._came.clear()
            await self._poll()
            self._polled = time.monotonic()

    def _quiet(self) -> float:
        """Seconds since the last poll."""
        return time.monotonic() - self._polled

    async def _poll(self) -> None:
        # Taken before the call: who comes during it must not be taken for somebody whose past was asked for.
        late, self._late = self._late, None
        after = min(moment for moment in (late, self._after) if moment is not None)
        try:
            summaries, asked = await self._list(LastModifiedTimeAfter=after)
            for summary in summaries:
                self._tell(summary)
            # What changed before this answer has been heard: a crowd that changed at once is not listed for ever.
            known = (after, self._after, asked and asked - OVERLAP)
            self._after = max(moment for moment in known if moment is not None)
            if time.monotonic() - self._reconciled > self._reconcile_after:
                await self._reconcile()
        except Exception as error:
            if late is not None:
                self._late = min(late, self._late) if self._late else late
            if is_passing(error):
                self._back_off = min(MOST_BACK_OFF, self._back_off * 2)
                LOG.warning("AWS did not answer (%s); the next poll waits %.0f times as long", error, self._back_off)
                return
            for wait in self._everybody():
                wait.news.put_nowait(error)
            return
        self._back_off = max(1.0, self._back_off / 2)

    async def _list(self, **filters: Any) -> tuple[list[Summary], datetime | None]:
        return await asyncio.to_thread(self._pages, filters)

    def _pages(self, filters: dict[str, Any]) -> tuple[list[Summary], datetime | None]:
        """All pages, and AWS's own time when it answered the first of them."""
        call = getattr(self.aws().client("sagemaker"), self.kind.list)
        found: list[Summary] = []
        token: dict[str, str] = {}
        asked: datetime | None = None
        while True:
            self.calls += 1
            page = call(MaxResults=PAGE, **filters, **token)
            asked = asked or answered_at(page)
            found += page[self.kind.summaries]
            if not page.get("NextToken"):
                return found, asked
            token = {"NextToken": page["NextToken"]}

    def _tell(self, summary: Summary) -> None:
        modified, status = summary.get("LastModifiedTime"), str(summary[self.kind.status_field])
        if modified is not None and (self._after is None or modified - OVERLAP > self._after):
            self._after = modified - OVERLAP
        for wait in self.waits.get(summary[self.kind.name_field], ()):
            # An older picture of the job after a newer one (eventual lists) is no news.
            if wait.newest is not None and modified is not None and modified < wait.newest:
                continue
            if (modified, status) != (wait.newest, wait.status) or self.kind.of_trainings:
                wait.newest, wait.status = modified or wait.newest, status
                wait.news.put_nowait(summary)

    async def _reconcile(self) -> None:
        """Tell those whose job is not among the living to look for themselves."""
        self._reconciled = time.monotonic()
        living, _ = await self._list(StatusEquals="InProgress")
        alive = {item[self.kind.name_field] for item in living}
        for wait in self._everybody():
            if wait.name not in alive:
                wait.news.put_nowait(None)


_POLLERS: dict[tuple[str, str | None, str, int], JobPoller] = {}


def poller_of(connection: str, region: str | None, kind: KindName) -> JobPoller:
    """The poller of this process and event loop for one connection, region and kind of job."""
    key = (connection, region, kind, id(asyncio.get_running_loop()))
    if key not in _POLLERS:
        _POLLERS[key] = JobPoller(lambda: AwsClients(connection, region), KINDS[kind])
    return _POLLERS[key]


def answered_at(answer: dict[str, Any]) -> datetime | None:
    """The `Date` of an answer: AWS's clock, not this machine's."""
    text = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return parsedate_to_datetime(text) if text else None


def has_ended(kind: JobApi, summary: Summary) -> bool:
    """True if the summary says that the job has ended; Describe has the last word."""
    return summary[kind.status_field] in ENDED
