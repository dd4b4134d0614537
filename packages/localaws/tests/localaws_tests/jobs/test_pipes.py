"""Feeders of Pipe channels whose program removes or replaces its FIFOs: nothing else is written to, nothing hangs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localaws.jobs import pipes
from localaws.jobs.channels import DATA, Channel
from localaws.jobs.cluster import Cluster
from localaws.jobs.outcome import JobError
from localaws.jobs.pipes import Feeder
from localaws.s3.store import S3Store
from localaws_tests.conftest import channel, poll

LARGE = bytes(range(256)) * 4096  # much more than a pipe holds
Start = Callable[[], Feeder]


@pytest.fixture
def troubles() -> list[JobError]:
    return []


@pytest.fixture
def start(tmp_path: Path, troubles: list[JobError]) -> Iterator[Start]:
    """Start the feeder of a channel `c` with one large object, of a job whose root is `tmp_path`."""
    s3 = S3Store(tmp_path / "s3")
    s3.create_bucket("data")
    s3.put_bytes("data", "c/object", LARGE)
    cluster = Cluster.of({"InstanceType": "ml.m5.large", "InstanceCount": 1})
    given = Channel.of(channel("c", "s3://data/c/"), "Pipe")
    made: list[Feeder] = []

    def begin() -> Feeder:
        feeder = Feeder(s3, given, given.items(s3), (cluster, cluster.hosts[0], tmp_path), troubles.append)
        made.append(feeder)
        feeder.start()
        return feeder

    yield begin
    for feeder in made:
        feeder.stop()
    s3.close()


def fifo(root: Path, epoch: int) -> Path:
    return root / DATA / f"c_{epoch}"


def feeding() -> bool:
    return any(thread.name == "pipe c" for thread in threading.enumerate())


def test_each_epoch_has_all_and_one_that_is_closed_early_is_over(
    start: Start, tmp_path: Path, troubles: list[JobError]
) -> None:
    start()
    with fifo(tmp_path, 0).open("rb") as pipe:
        assert pipe.read(10) == LARGE[:10]
    for epoch in (1, 2):
        poll(fifo(tmp_path, epoch).exists)
        assert fifo(tmp_path, epoch).read_bytes() == LARGE
    assert troubles == []


def test_a_link_in_the_place_of_a_fifo_is_not_followed(start: Start, tmp_path: Path, troubles: list[JobError]) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    start()
    with fifo(tmp_path, 0).open("rb") as pipe:  # the FIFO of the next epoch is there by now
        fifo(tmp_path, 1).unlink()
        fifo(tmp_path, 1).symlink_to(victim)
        assert pipe.read() == LARGE
    poll(lambda: not feeding())
    assert victim.read_text() == "precious"
    assert troubles == []


def test_a_file_in_the_place_of_a_fifo_is_not_written_to(start: Start, tmp_path: Path) -> None:
    start()
    with fifo(tmp_path, 0).open("rb") as pipe:
        fifo(tmp_path, 1).unlink()
        fifo(tmp_path, 1).write_text("mine")
        assert pipe.read() == LARGE
    poll(lambda: not feeding())
    assert fifo(tmp_path, 1).read_text() == "mine"


def test_a_link_in_the_place_of_the_directory_makes_nothing_elsewhere(start: Start, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    start()
    with fifo(tmp_path, 0).open("rb") as pipe:
        (tmp_path / DATA).rename(tmp_path / "aside")
        (tmp_path / DATA).symlink_to(elsewhere)
        assert pipe.read() == LARGE
    poll((tmp_path / "aside" / "c_2").exists)  # the feeder stays with the directory that it was given
    assert list(elsewhere.iterdir()) == []


def test_removed_fifos_end_the_feed(start: Start, tmp_path: Path, troubles: list[JobError]) -> None:
    feeder = start()
    poll(fifo(tmp_path, 1).exists)
    for epoch in (0, 1):
        fifo(tmp_path, epoch).unlink()
    poll(lambda: not feeding())
    feeder.stop()
    assert troubles == []


def test_a_stop_ends_a_feeder_that_waits_for_a_reader_or_for_one_that_reads(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes, "STOP_TIME", 120.0)
    start().stop()
    assert not feeding()
    fifo(tmp_path, 0).unlink()
    fifo(tmp_path, 1).unlink(missing_ok=True)
    feeder = start()
    reader = os.open(fifo(tmp_path, 0), os.O_RDONLY)
    assert os.read(reader, 1) == LARGE[:1]
    feeder.stop()
    assert not feeding()
    os.close(reader)


def test_a_stop_waits_no_longer_than_it_may(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go = threading.Event(), threading.Event()
    monkeypatch.setattr(pipes, "STOP_TIME", 0.01)

    def busy(*_: object) -> None:
        inside.set()
        assert go.wait(240)

    monkeypatch.setattr(Feeder, "_send_epoch", busy)
    feeder = start()
    reader = os.open(fifo(tmp_path, 0), os.O_RDONLY)
    assert inside.wait(240)
    feeder.stop()
    assert feeding()
    go.set()
    poll(lambda: not feeding())
    os.close(reader)
