"""A directory that its program changes while it is looked at: no file from elsewhere, nothing lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localaws.jobs import foldersync
from localaws.jobs.foldersync import FolderSync
from localaws.jobs.outcome import JobError
from localaws.s3.store import S3Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[S3Store]:
    made = S3Store(tmp_path / "s3")
    made.create_bucket("data")
    yield made
    made.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ml" / "a" / "ck"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def sync(store: S3Store, tmp_path: Path, root: Path) -> FolderSync:
    return FolderSync(store, tmp_path / "ml", root, "s3://data/ck", delete=True)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the machine that is none of the job's."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "file").write_text("a secret of the machine")
    return folder


def held(store: S3Store) -> dict[str, bytes]:
    found = {}
    for key in store.iter_keys("data", "ck/"):
        with store.open("data", key) as file:
            found[key.removeprefix("ck/")] = file.read()
    return found


def before_open(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[], Any]) -> None:
    """Do something once just before `name` is opened: what a program does between a look and an open."""
    real = os.open
    done: list[Any] = []

    def changed(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path).name == name and not done:
            done.append(path)
            change()
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", changed)


def swap(place: Path, target: Path) -> None:
    """Put a link in the place of a file or directory."""
    place.rename(place.with_name("aside"))
    place.symlink_to(target)


def test_files_of_all_directories_are_uploaded_changed_and_deleted(
    sync: FolderSync, store: S3Store, root: Path, host: Path
) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    (root / "deep" / "er" / "x").write_text("1")
    (root / "y").write_text("2")
    (root / "link").symlink_to(host / "file")
    (root / "links").symlink_to(host)
    os.mkfifo(root / "fifo")
    sync.sync(running=True)
    assert held(store) == {"deep/er/x": b"1", "y": b"2"}
    (root / "y").unlink()
    (root / "deep" / "er" / "x").write_text("333")
    sync.sync(running=True)
    assert held(store) == {"deep/er/x": b"333"}


@pytest.mark.parametrize("running", [True, False])
def test_a_directory_swapped_for_a_link_shows_no_file_of_the_machine(
    sync: FolderSync, store: S3Store, root: Path, host: Path, running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "d").mkdir()
    (root / "d" / "file").write_text("mine")
    before_open(monkeypatch, "file", lambda: swap(root / "d", host))
    sync.sync(running=running)
    assert held(store) == {"d/file": b"mine"}


def test_a_file_swapped_for_a_link_shows_no_file_of_the_machine(
    sync: FolderSync, store: S3Store, root: Path, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "x").write_text("mine")
    before_open(monkeypatch, "x", lambda: swap(root / "x", host / "file"))
    sync.sync(running=True)
    assert held(store) == {}


def test_a_directory_above_swapped_for_a_link_is_an_error(
    sync: FolderSync, store: S3Store, root: Path, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host / "ck").mkdir()
    (host / "ck" / "file").write_text("a secret of the machine")
    before_open(monkeypatch, "a", lambda: swap(root.parent, host))
    with pytest.raises(JobError, match="/opt/ml/a/ck is or lies behind a symbolic link"):
        sync.sync(running=True)
    assert held(store) == {}


def test_a_file_that_is_renamed_between_look_and_open_stays_in_s3_and_fails_nothing(
    sync: FolderSync, store: S3Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "last").write_text("1")
    sync.sync(running=True)
    (root / "last").write_text("22")
    before_open(monkeypatch, "last", lambda: (root / "last").rename(root / "aside"))
    sync.sync(running=True)
    assert held(store) == {"last": b"1"}
    (root / "aside").rename(root / "last")
    sync.sync(running=True)
    assert held(store) == {"last": b"22"}


def test_the_last_look_is_strict(sync: FolderSync, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "last").write_text("1")
    before_open(monkeypatch, "last", (root / "last").unlink)
    with pytest.raises(JobError, match="Upload to s3://data/ck/last failed"):
        sync.sync()


def test_a_directory_that_vanishes_deletes_nothing_before_the_next_look(
    sync: FolderSync, store: S3Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "d").mkdir()
    (root / "d" / "x").write_text("1")
    sync.sync(running=True)
    before_open(monkeypatch, "d", lambda: (root / "d").rename(root / "e"))
    sync.sync(running=True)
    assert held(store) == {"d/x": b"1"}
    sync.sync(running=True)
    assert held(store) == {"e/x": b"1"}


def test_a_removed_root_empties_the_prefix_at_the_end(sync: FolderSync, store: S3Store, root: Path) -> None:
    (root / "x").write_text("1")
    sync.sync(running=True)
    (root / "x").unlink()
    root.rmdir()
    sync.sync(running=True)
    assert held(store) == {"x": b"1"}
    sync.sync()
    assert held(store) == {}


def test_directories_too_deep_within_each_other_are_an_error(sync: FolderSync, root: Path) -> None:
    (root / Path(*"d" * (foldersync.DEEPEST + 1))).mkdir(parents=True)
    with pytest.raises(JobError, match="more than 100 directories"):
        sync.sync(running=True)
