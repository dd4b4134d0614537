"""Cutting an object into records: lines, RecordIO and TFRecord.

A record has two forms: `framed`, as it stands in the object, and `bare`, without what frames it. Rule (API reference,
TransformInput, SplitType): the padding of binary formats is removed with SingleRecord and kept with MultiRecord.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from localaws.coverage import Behaviour

MAGIC = 0xCED7230A  # of MXNet's RecordIO
BEHAVIOURS = (
    Behaviour(
        "SplitType RecordIO and TFRecord: records are sent bare with SingleRecord, with their frames with MultiRecord",
        "documented",
        "API reference, TransformInput, SplitType",
    ),
    Behaviour("checksums of TFRecords are not compared; a record that is cut off fails its object", "assumed"),
)


class BadFrames(Exception):
    """The object is not in the format that SplitType says; the text is fit for a FailureReason."""


@dataclass(frozen=True)
class SplitRecord:
    """One record in both forms."""

    framed: bytes
    bare: bytes


def _exactly(source: BinaryIO, size: int, number: int, kind: str) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise BadFrames(f"the object is no {kind} file: record {number} is cut off")
    return data


def recordio(source: BinaryIO) -> Iterator[SplitRecord]:
    """The records of a RecordIO file (MXNet): magic, flag and length, data, padding to four bytes.

    Data that contain the magic number are kept in several parts, between which it belongs.
    """
    framed, parts, number = b"", [], 1
    while head := source.read(8):
        if len(head) != 8:
            raise BadFrames(f"the object is no RecordIO file: record {number} is cut off")
        magic, word = struct.unpack("<II", head)
        if magic != MAGIC:
            raise BadFrames(f"the object is no RecordIO file: record {number} begins with {head[:4].hex()}")
        flag, length = word >> 29, word & (1 << 29) - 1
        body = _exactly(source, length + -length % 4, number, "RecordIO")
        framed += head + body
        parts.append(body[:length])
        if flag in (0, 3):
            yield SplitRecord(framed, struct.pack("<I", MAGIC).join(parts))
            framed, parts, number = b"", [], number + 1
    if parts:
        raise BadFrames(f"the object is no RecordIO file: record {number} is cut off")


def tfrecord(source: BinaryIO) -> Iterator[SplitRecord]:
    """The records of a TFRecord file: length, its checksum, data, their checksum."""
    number = 1
    while head := source.read(12):
        if len(head) != 12:
            raise BadFrames(f"the object is no TFRecord file: record {number} is cut off")
        (length,) = struct.unpack("<Q", head[:8])
        rest = _exactly(source, length + 4, number, "TFRecord")
        yield SplitRecord(head + rest, rest[:length])
        number += 1


def blocks(source: BinaryIO, size: int | None) -> Iterator[bytes]:
    """A file of lines in blocks of at most `size` bytes that end with a line, without the last line's ending.

    Each block holds as many lines as fit; line endings of Windows become plain ones. A line that is longer than
    `size` is a block by itself; with `size` None the whole file is one block.
    """
    if size is None:
        if whole := source.read():
            yield _plain(whole.removesuffix(b"\n"))
        return
    rest, ended = b"", False
    while True:
        while not ended and len(rest) < size + 2:
            got = source.read(max(size + 2 - len(rest), 1 << 16))
            rest, ended = rest + got, not got
        if not rest:
            return
        if ended and len(rest) <= size:
            yield _plain(rest.removesuffix(b"\n"))
            return
        cut = rest.rfind(b"\n", 0, size + (2 if rest[size : size + 1] == b"\r" else 1))
        while cut < 0 and (cut := rest.find(b"\n")) < 0 and not ended:  # too long a line: find its end
            got = source.read(1 << 16)
            rest, ended = rest + got, not got
        yield _plain(rest if cut < 0 else rest[:cut])
        rest = b"" if cut < 0 else rest[cut + 1 :]


def _plain(block: bytes) -> bytes:
    return block.replace(b"\r\n", b"\n").removesuffix(b"\r") if b"\r" in block else block


def lines_of(body: bytes) -> list[bytes]:
    """The lines of a body in memory, without their endings; a final newline does not start another line."""
    if not body:
        return []
    return _plain(body).removesuffix(b"\n").split(b"\n")
