"""The store without HTTP: what the job runner relies on, path safety, restarts and crashes."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localaws.s3 import ObjectMeta, S3Store, errors
from localaws.s3.checksums import Digests
from localaws.s3.conditions import Conditions

ABSENT = Conditions(None, "*", None, None).write_check()

# What could break out of a directory or confuse one, mixed with any text.
keys = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.lists(st.sampled_from(["..", ".", "", "a", "~", "%2e", "\x00", "\n", "con"]), min_size=2, max_size=8).map(
        "/".join
    ),
).filter(lambda key: 0 < len(key.encode()) <= 1024)


def files_of(root: Path) -> list[Path]:
    return [path for path in (root / "blobs").rglob("*") if path.is_file()]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(names=st.lists(keys, min_size=1, max_size=8, unique=True))
def test_any_key_is_safe_and_listed_in_order(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    outer = tmp_path_factory.mktemp("outer")
    store = S3Store(outer / "s3")
    store.create_bucket("bucket")
    for name in names:
        store.put_bytes("bucket", name, name.encode())
    assert {path.name for path in outer.iterdir()} == {"s3"}
    assert list(store.iter_keys("bucket")) == sorted(names, key=str.encode)
    for name in names:
        with store.open("bucket", name) as file:
            assert file.read() == name.encode()
        assert store.delete("bucket", name)
    assert files_of(outer / "s3") == []
    store.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    names=st.sets(st.text("ab/", min_size=1, max_size=5), max_size=25),
    prefix=st.text("ab/", max_size=2),
    delimiter=st.sampled_from(["", "/", "a", "b/"]),
    limit=st.integers(1, 5),
)
def test_pages_of_a_listing_add_up(names: set[str], prefix: str, delimiter: str, limit: int, store: S3Store) -> None:
    """Compared with grouping the sorted keys in memory, as the S3 user guide describes it."""
    bucket = "listing"
    store.create_bucket(bucket)
    for key in list(store.iter_keys(bucket)):
        store.delete(bucket, key)
    for name in names:
        store.put_bytes(bucket, name, b"")
    expected: list[str] = []
    for name in sorted(n for n in names if n.startswith(prefix)):
        at = name.find(delimiter, len(prefix)) if delimiter else -1
        entry = name if at < 0 else name[: at + len(delimiter)]
        if entry not in expected:
            expected.append(entry)
    found: list[str] = []
    after = ""
    while True:
        page = store.list_page(bucket, prefix, delimiter, after, limit)
        entries = sorted([o.key for o in page.objects] + page.prefixes)
        assert len(entries) <= limit
        found += entries
        if not page.truncated:
            break
        after = page.last
    assert found == expected


def test_a_job_input_is_a_read_only_hard_link(root: Path, tmp_path: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")
    store.put_bytes("bucket", "in/train.csv", b"1,2\n")
    dest = tmp_path / "ml" / "train.csv"
    store.link_into("bucket", "in/train.csv", dest)
    assert dest.read_bytes() == b"1,2\n"
    assert dest.stat().st_nlink == 2
    assert dest.stat().st_mode & 0o222 == 0
    store.put_bytes("bucket", "in/train.csv", b"new")
    assert dest.read_bytes() == b"1,2\n"


def test_bytes_changed_through_a_link_are_noticed(root: Path, tmp_path: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")
    store.put_bytes("bucket", "k", b"1,2\n")
    dest = tmp_path / "k"
    store.link_into("bucket", "k", dest)
    dest.chmod(0o644)
    with dest.open("ab") as file:
        file.write(b"3,4\n")
    with pytest.raises(errors.InternalError, match=r"s3://bucket/k were changed outside S3"):
        store.open("bucket", "k")
    with pytest.raises(errors.InternalError, match=r"changed outside S3"):
        store.link_into("bucket", "k", tmp_path / "again")


def test_a_job_output_is_renamed_into_the_store(root: Path, tmp_path: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")
    output = tmp_path / "model.tar.gz"
    output.write_bytes(b"weights")
    inode = output.stat().st_ino
    info = store.put_file("bucket", "out/model.tar.gz", output, metadata={"Job": "j"})
    assert not output.exists()
    assert [path.stat().st_ino for path in files_of(root)] == [inode]
    assert (info.size, info.etag, info.meta.user) == (7, hashlib.md5(b"weights").hexdigest(), {"job": "j"})


@pytest.mark.parametrize("move", [True, False])
def test_a_file_with_another_name_is_copied(root: Path, tmp_path: Path, move: bool) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")
    output, other = tmp_path / "output", tmp_path / "other"
    output.write_bytes(b"one")
    other.hardlink_to(output)
    store.put_file("bucket", "k", output, move=move)
    other.write_bytes(b"two!")
    assert store.open("bucket", "k").read() == b"one"
    assert output.exists() is not move


def test_links_and_devices_are_not_stored(root: Path, tmp_path: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")
    for name, kind in (("link", "symbolic link"), ("fifo", "not a regular file")):
        with pytest.raises(ValueError, match=kind):
            store.put_file("bucket", name, tmp_path / name)
    assert list(store.iter_keys("bucket")) == []


def test_a_restart_keeps_everything(root: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")
    store.put_bytes("bucket", "k", b"data", metadata={"a": "b"}, content_type="text/csv")
    before = store.head("bucket", "k")
    store.close()
    store = S3Store(root)
    assert store.head("bucket", "k") == before
    assert store.open("bucket", "k").read() == b"data"
    assert [b.name for b in store.buckets()] == ["bucket"]


def test_only_the_first_opener_sweeps(root: Path) -> None:
    first = S3Store(root)
    (root / "blobs" / "00" / ("0" * 30)).write_bytes(b"being written")
    second = S3Store(root)
    assert len(files_of(root)) == 1
    second.close()
    first.close()
    S3Store(root)
    assert files_of(root) == []


WRITER = """
import sys, itertools
from pathlib import Path
from localaws.s3 import S3Store
store = S3Store(Path(sys.argv[1]))
store.create_bucket("bucket")
for n in itertools.count():
    store.put_bytes("bucket", f"k{n % 50}", b"%d" % n * 1000)
    print(n, flush=True)
"""


def test_kill_nine_loses_nothing_that_was_answered(root: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 300:
            process.send_signal(signal.SIGKILL)
            break
    last = max([300, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.stdout.close()
    process.wait()
    store = S3Store(root)
    assert len(list(store.iter_keys("bucket"))) == 50
    for info in store.iter_objects("bucket"):
        number = int(info.key[1:])
        body = store.open("bucket", info.key).read()
        written = int(body[: len(body) // 1000])
        assert body == b"%d" % written * 1000
        assert written % 50 == number
        assert written >= last - 49
    assert len(files_of(root)) == 50


def test_threads_agree_on_who_was_first(root: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")
    outcomes: list[str] = []

    def put(number: int) -> None:
        try:
            store.put_stream("bucket", "k", [b"%d" % number], verify=_no_checks, check=ABSENT)
            outcomes.append(f"{number}")
        except errors.PreconditionFailed:
            outcomes.append("refused")

    threads = [threading.Thread(target=put, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome != "refused"]
    assert len(outcomes) == 16
    assert [store.open("bucket", "k").read().decode()] == winners
    assert len(files_of(root)) == 1


def _no_checks(_digests: object, _size: int) -> ObjectMeta:
    return ObjectMeta()


def test_a_failed_write_leaves_no_file(root: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")

    def broken() -> Iterator[bytes]:
        yield b"first"
        raise OSError("the client went away")

    with pytest.raises(OSError, match="went away"):
        store.put_stream("bucket", "k", broken(), verify=_no_checks)
    with pytest.raises(errors.NoSuchBucket):
        store.put_bytes("absent", "k", b"")
    assert files_of(root) == []


@pytest.mark.parametrize("size", [0, 1 << 20, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 20 << 20])
def test_large_objects_have_the_right_digests(root: Path, size: int) -> None:
    """From 8 MiB on they are computed on a thread of their own."""
    store = S3Store(root)
    store.create_bucket("bucket")
    data = os.urandom(1 << 16) * (size // (1 << 16)) + b"x" * (size % (1 << 16))
    seen = {}

    def verify(digests: Digests, found: int) -> ObjectMeta:
        seen[found] = digests.value("sha256")
        return ObjectMeta()

    blocks = [data[at : at + (1 << 20)] for at in range(0, len(data), 1 << 20)]
    info = store.put_stream("bucket", "k", blocks, verify=verify, algorithms={"sha256"})
    assert info.etag == hashlib.md5(data).hexdigest()
    assert seen == {size: base64.b64encode(hashlib.sha256(data).digest()).decode()}


def test_a_large_write_that_fails_leaves_neither_file_nor_thread(root: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")

    def broken() -> Iterator[bytes]:
        for _ in range(12):
            yield b"x" * (1 << 20)
        raise OSError("the client went away")

    with pytest.raises(OSError, match="went away"):
        store.put_stream("bucket", "k", broken(), verify=_no_checks)
    assert files_of(root) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "digests"]


def test_errors_carry_the_wire_code(root: Path) -> None:
    store = S3Store(root)
    store.create_bucket("bucket")
    with pytest.raises(errors.NoSuchKey) as caught:
        store.head("bucket", "absent")
    assert (caught.value.code, caught.value.status, caught.value.extra) == ("NoSuchKey", 404, {"Key": "absent"})
    with pytest.raises(errors.KeyTooLong):
        store.put_bytes("bucket", "é" * 513, b"")
    with pytest.raises(errors.InvalidURI):
        store.head("bucket", "\ud800")
    for name in ("ab", "Upper", "192.168.0.1", "a..b", "-a-", "x" * 64):
        with pytest.raises(errors.InvalidBucketName):
            store.create_bucket(name)
