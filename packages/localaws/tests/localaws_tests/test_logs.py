"""Log streams: what is held in memory, what is read back at a start, and what goes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from moto.logs.models import LogEvent

from localaws import logs
from localaws.logs import EVENT, KEPT, Logs
from localaws.server import Endpoint
from localaws_tests.conftest import client_of

GROUP = "/aws/sagemaker/TrainingJobs"
LINE = "line {:04}"  # each takes EVENT + 9 bytes


@pytest.fixture
def stream() -> str:
    """A stream that no other test has."""
    return f"bounded/{os.urandom(4).hex()}"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """Streams that hold eighty lines at most; the answer is how many they keep when there are more."""
    monkeypatch.setattr(logs, "MOST", 80 * (EVENT + 9))
    return 70


def pages(client: Any, stream: str, token: str | None = None, limit: int = 50) -> tuple[list[str], str]:
    """All lines from the head, or from a token on, and the token for what comes later."""
    lines: list[str] = []
    while True:
        given = {"nextToken": token} if token else {}
        answer = client.get_log_events(
            logGroupName=GROUP, logStreamName=stream, startFromHead=True, limit=limit, **given
        )
        lines += [event["message"] for event in answer["events"]]
        if answer["nextForwardToken"] == token:
            return lines, answer["nextForwardToken"]
        token = answer["nextForwardToken"]


def numbered(first: int, after: int) -> list[str]:
    return [LINE.format(number) for number in range(first, after)]


def test_memory_is_bounded_and_the_file_has_all(endpoint: Endpoint, stream: str, small: int) -> None:
    with endpoint.ctx.logs.open(GROUP, stream) as log:
        for line in numbered(0, 1000):
            log.write(line)
    found, _ = pages(client_of(endpoint, "logs"), stream)
    assert small <= len(found) <= 80
    assert found == numbered(1000 - len(found), 1000)
    assert len(vars(LogEvent)["instances_tracked"]) < 80  # nothing else of moto's holds them
    assert len(endpoint.ctx.logs.file(GROUP, stream).read_text().splitlines()) == 1000


def test_who_follows_a_log_misses_nothing_when_old_lines_go(endpoint: Endpoint, stream: str, small: int) -> None:
    client = client_of(endpoint, "logs")
    with endpoint.ctx.logs.open(GROUP, stream) as log:
        followed: list[str] = []
        token = None
        for start in range(0, 300, 30):
            for line in numbered(start, start + 30):
                log.write(line)
            new, token = pages(client, stream, token, limit=20)
            followed += new
        assert followed == numbered(0, 300)
        # Who comes late gets what there is.
        for line in numbered(300, 1000):
            log.write(line)
        new, _ = pages(client, stream, token)
    assert new == numbered(1000 - len(new), 1000)
    assert len(new) >= small


def test_a_start_reads_the_newest_lines_back(
    start_endpoint: Callable[..., Endpoint], tmp_path: Path, stream: str, small: int
) -> None:
    first = start_endpoint(tmp_path / "state")
    with first.ctx.logs.open(GROUP, stream) as log:
        for line in numbered(0, 3000):
            log.write(line)
    _, token = pages(client_of(first, "logs"), stream)
    first.close()
    second = start_endpoint(tmp_path / "state")
    client = client_of(second, "logs")
    found, after = pages(client, stream)
    assert small <= len(found) <= 80
    assert found == numbered(3000 - len(found), 3000)
    assert (pages(client, stream, token), after) == (([], token), token)


def test_files_that_are_too_old_are_removed_at_a_start(endpoint: Endpoint, tmp_path: Path) -> None:
    moto = endpoint.ctx.logs._moto
    first = Logs(moto, tmp_path)
    for name in ("old", "new"):
        with first.open("/removed", name) as log:
            log.write("a line")
    old = time.time() - KEPT - 1
    os.utime(first.file("/removed", "old"), (old, old))
    Logs(moto, tmp_path).load()
    assert not first.file("/removed", "old").exists()
    assert first.file("/removed", "new").exists()
