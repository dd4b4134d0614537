"""Blocks of lines, RecordIO and TFRecord, against formats written down here a second time."""

from __future__ import annotations

import io
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localaws.transform.record_split import BadFrames, blocks, recordio, tfrecord
from localaws.transform.records import RecordTooLarge, TransformPlan

MAGIC = bytes.fromhex("0a23d7ce")


def recordio_of(records: list[bytes]) -> list[bytes]:
    """Each record in the framing of dmlc-core's RecordIOWriter: data that hold the magic number are cut there."""
    framed = []
    for record in records:
        parts = record.split(MAGIC)
        frames = b""
        for number, part in enumerate(parts):
            flag = 0 if len(parts) == 1 else 1 if number == 0 else 3 if number == len(parts) - 1 else 2
            frames += MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + bytes(-len(part) % 4)
        framed.append(frames)
    return framed


def tfrecord_of(records: list[bytes]) -> list[bytes]:
    return [struct.pack("<QI", len(r), 1) + r + struct.pack("<I", 2) for r in records]


WRITERS = {"RecordIO": (recordio_of, recordio), "TFRecord": (tfrecord_of, tfrecord)}
RECORDS = st.lists(st.binary(max_size=20) | st.just(b"a" + MAGIC + b"b" + MAGIC), max_size=8)


@pytest.mark.parametrize("kind", WRITERS)
@given(records=RECORDS)
def test_records_come_back_bare_and_framed(kind: str, records: list[bytes]) -> None:
    write, read = WRITERS[kind]
    framed = write(records)
    found = list(read(io.BytesIO(b"".join(framed))))
    assert [r.bare for r in found] == records
    assert [r.framed for r in found] == framed


@pytest.mark.parametrize("kind", WRITERS)
def test_single_records_are_bare_and_batches_keep_their_frames(kind: str) -> None:
    records = [b"one", b"three", b"", b"x" * 30]
    framed = WRITERS[kind][0](records)
    source = b"".join(framed)
    single = TransformPlan(split=kind, multi_record=False, max_bytes=30).batches(io.BytesIO(source))
    assert [batch.payload for batch in single] == records
    multi = list(TransformPlan(split=kind, max_bytes=50).batches(io.BytesIO(source)))
    assert b"".join(batch.payload for batch in multi) == source
    assert all(len(batch.payload) <= 50 for batch in multi)
    assert len(multi) < len(records)
    with pytest.raises(RecordTooLarge, match="record 4 has 30 bytes"):
        list(TransformPlan(split=kind, multi_record=False, max_bytes=29).batches(io.BytesIO(source)))


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("cut", [1, 9, -1])
def test_a_file_that_is_cut_off_is_an_error(kind: str, cut: int) -> None:
    write, read = WRITERS[kind]
    with pytest.raises(BadFrames, match=f"no {kind} file: record 1 is cut off"):
        list(read(io.BytesIO(write([b"abcde"])[0][:cut])))


def test_what_is_no_recordio_is_an_error() -> None:
    with pytest.raises(BadFrames, match="record 1 begins with 312c322c"):
        list(recordio(io.BytesIO(b"1,2,3,4,5,6\n")))
    begun = MAGIC + struct.pack("<I", 1 << 29 | 4) + b"abcd"
    with pytest.raises(BadFrames, match="is cut off"):
        list(recordio(io.BytesIO(begun)))


LINE = st.text("ab", max_size=9).map(str.encode)


@given(st.lists(LINE, max_size=40), st.integers(9, 40), st.booleans())
def test_blocks_hold_all_lines_and_as_many_as_fit(lines: list[bytes], size: int, final: bool) -> None:
    body = b"\n".join(lines) + (b"\n" if final and lines else b"")
    expected = body.split(b"\n")[: -1 if body.endswith(b"\n") or not body else None]
    found = list(blocks(io.BytesIO(body), size))
    assert [line for block in found for line in (block + b"\n").split(b"\n")[:-1]] == expected
    assert all(len(block) <= size for block in found)
    for block, following in itertools.pairwise(found):
        assert len(block) + 1 + len(following.split(b"\n")[0]) > size


def test_a_line_that_is_too_long_is_a_block_of_its_own() -> None:
    body = b"a\n" + b"b" * 200_000 + b"\nc\n" + b"d" * 100_000
    assert [len(block) for block in blocks(io.BytesIO(body), 10)] == [1, 200_000, 1, 100_000]
    assert [len(block) for block in blocks(io.BytesIO(body), None)] == [len(body)]
