"""Batch transform without the job around it: cut an object into requests, put the answers together.

Rules from the API reference of CreateTransformJob: with SplitType None an object is one request; with Line
each line is a record, sent alone (SingleRecord) or as many together as MaxPayloadInMB allows (MultiRecord).
AssembleWith Line ends every answer with a newline, None concatenates the answers as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from include.localaws.csv_filter import ColumnPath, join_records, parse_path, select_record

MEBIBYTE = 1024 * 1024


class RecordTooLarge(Exception):
    """A record, or an object that may not be split, does not fit in one request."""


@dataclass(frozen=True)
class Batch:
    """One request to the model: its body and the records it came from (none when nothing is split)."""

    records: tuple[bytes, ...]
    payload: bytes


@dataclass(frozen=True)
class Plan:
    """How a transform job cuts, filters and assembles. `max_bytes` is the limit of one request body."""

    split: bool
    multi_record: bool
    max_bytes: int
    assemble_lines: bool
    input_filter: ColumnPath
    output_filter: ColumnPath
    join: bool

    @classmethod
    def of(
        cls,
        *,
        split: bool,
        multi_record: bool,
        max_bytes: int,
        assemble_lines: bool,
        input_filter: str = "$",
        output_filter: str = "$",
        join: bool = False,
    ) -> Plan:
        """Build a plan from the words of the request; FilterError for a path that is not supported."""
        return cls(
            split=split,
            multi_record=multi_record,
            max_bytes=max_bytes,
            assemble_lines=assemble_lines,
            input_filter=parse_path(input_filter),
            output_filter=parse_path(output_filter),
            join=join,
        )

    def batches(self, source: BinaryIO) -> Iterator[Batch]:
        """The requests of one object, in order; RecordTooLarge when something does not fit."""
        if not self.split:
            yield self._whole(source)
            return
        yield from _pack(lines(source), self)

    def _whole(self, source: BinaryIO) -> Batch:
        payload = source.read(self.max_bytes + 1)
        if len(payload) > self.max_bytes:
            raise RecordTooLarge(f"the object is larger than the {self.max_bytes} bytes that one request may have")
        return Batch((), payload)

    def assemble(self, batch: Batch, answer: bytes) -> bytes:
        """What a batch adds to the output object."""
        if self.join or not self.output_filter.whole:
            outputs = list(lines_of(answer))
            return b"".join(
                line + b"\n" for line in join_records(batch.records, outputs, self.output_filter, self.join)
            )
        if self.assemble_lines and not answer.endswith(b"\n"):
            return answer + b"\n"
        return answer


def lines(source: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream without their endings; a final newline does not start another record."""
    for line in source:
        yield line.removesuffix(b"\n").removesuffix(b"\r")


def lines_of(body: bytes) -> Iterator[bytes]:
    """The lines of a body in memory, by the same rule as `lines`."""
    if not body:
        return
    for line in body.removesuffix(b"\n").split(b"\n"):
        yield line.removesuffix(b"\r")


def _pack(records: Iterable[bytes], plan: Plan) -> Iterator[Batch]:
    """Group records greedily: the next one opens a new batch when it would not fit in the present one."""
    held: list[bytes] = []
    bodies: list[bytes] = []
    size = 0
    for number, record in enumerate(records, start=1):
        body = select_record(plan.input_filter, record)
        if len(body) > plan.max_bytes:
            raise RecordTooLarge(f"record {number} has {len(body)} bytes, a request may have {plan.max_bytes}")
        if bodies and (not plan.multi_record or size + 1 + len(body) > plan.max_bytes):
            yield Batch(tuple(held), b"\n".join(bodies))
            held, bodies, size = [], [], 0
        size += len(body) + (1 if bodies else 0)
        held.append(record)
        bodies.append(body)
    if bodies:
        yield Batch(tuple(held), b"\n".join(bodies))


def output_key(input_prefix: str, input_key: str, output_prefix: str) -> str:
    """Where the result of an input object goes: its path below the input prefix, with `.out` appended.

    The prefix may name a folder (with or without the slash), one object, or the beginning of names.
    """
    folder = input_prefix.rstrip("/")
    if not folder:
        relative = input_key
    elif input_key.startswith(folder + "/"):
        relative = input_key[len(folder) + 1 :]
    else:
        relative = input_key[input_prefix.rfind("/") + 1 :]
    base = output_prefix.rstrip("/")
    return f"{base}/{relative}.out" if base else f"{relative}.out"
