"""Batch transform without the job around it: cut an object into requests, put the answers together.

Rules from the API reference of CreateTransformJob: with SplitType None an object is one request; else each record is
sent alone (SingleRecord) or as many together as MaxPayloadInMB allows (MultiRecord). AssembleWith Line ends every
answer with a newline, None concatenates the answers as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from localaws.coverage import Behaviour
from localaws.transform.data_processing import DataProcessing
from localaws.transform.record_split import blocks, lines_of, recordio, tfrecord

MEBIBYTE = 1024 * 1024
RECORDS_AT_ONCE = 4 * MEBIBYTE  # bytes of lines that are taken apart together
BEHAVIOURS = (
    Behaviour("transform: `.out` suffix; no partial objects", "documented", "API reference, TransformOutput"),
    Behaviour("transform: the path below the input prefix is kept below the output prefix; the example on that page "
              "has another path", "assumed"),
    Behaviour("transform: payload 6 MB, timeout 600 s, 3 retries unless said otherwise", "documented",
              "API reference, CreateTransformJob and ModelClientConfig"),
    Behaviour("transform: a record may have 1024 * 1024 bytes for each MB of MaxPayloadInMB", "assumed"),
    Behaviour("transform: mini-batches are as full as MaxPayloadInMB allows and never mix input files", "documented",
              "developer guide, Use Batch Transform"),
)  # fmt: skip


class RecordTooLarge(Exception):
    """A record, or an object that may not be split, does not fit in one request."""


@dataclass(frozen=True)
class RequestBatch:
    """One request to the model: its body, and the records it came from where they are needed again."""

    payload: bytes
    records: Sequence[bytes] = ()


@dataclass(frozen=True)
class TransformPlan:
    """How a transform job cuts, filters and assembles.

    `max_bytes` is the limit of one request body, None for none; `processing` is None when records and answers pass
    as they are.
    """

    split: str = "None"  # SplitType
    multi_record: bool = True
    max_bytes: int | None = 6 * MEBIBYTE
    assemble_lines: bool = False
    processing: DataProcessing | None = None

    def batches(self, source: BinaryIO) -> Iterator[RequestBatch]:
        """The requests of one object, in order.

        RecordTooLarge, record_split.BadFrames or csv_filter.FilterError when something does not fit.
        """
        if self.split == "None":
            yield self._whole(source)
        elif self.split in ("RecordIO", "TFRecord"):
            yield from self._framed(source)
        elif self.multi_record and (self.processing is None or self.processing.input_filter.whole):
            yield from self._blocks(source)
        else:
            yield from self._lines(source)

    def _whole(self, source: BinaryIO) -> RequestBatch:
        body = source.read() if self.max_bytes is None else source.read(self.max_bytes + 1)
        if self.max_bytes is not None and len(body) > self.max_bytes:
            raise RecordTooLarge(f"the object is larger than the {self.max_bytes} bytes that one request may have")
        if self.processing is None:
            return RequestBatch(body)
        # JSON lines may stay together: they are records nevertheless.
        records = lines_of(body) if self.processing.input_format == "lines" else [body]
        return RequestBatch(b"\n".join(self.processing.select(records)), records)

    def _framed(self, source: BinaryIO) -> Iterator[RequestBatch]:
        read = recordio if self.split == "RecordIO" else tfrecord
        if not self.multi_record:
            for number, record in enumerate(read(source), start=1):
                self._fits(record.bare, number)
                yield RequestBatch(record.bare)
            return
        for _, payload in self._pack(((r.framed, r.framed) for r in read(source)), b""):
            yield RequestBatch(payload)

    def _blocks(self, source: BinaryIO) -> Iterator[RequestBatch]:
        """Lines that are sent as they stand: whole blocks of them, not looked at one by one."""
        number = 1
        for block in blocks(source, self.max_bytes):
            self._fits(block, number)
            number += block.count(b"\n") + 1
            yield RequestBatch(block, lines_of(block + b"\n") if self._keeps() else ())

    def _lines(self, source: BinaryIO) -> Iterator[RequestBatch]:
        for records, payload in self._pack(self._selected(source), b"\n"):
            yield RequestBatch(payload, records if self._keeps() else ())

    def _keeps(self) -> bool:
        return self.processing is not None and self.processing.reshapes

    def _selected(self, source: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
        """Each line with what of it goes to the model."""
        for block in blocks(source, RECORDS_AT_ONCE):
            records = lines_of(block + b"\n")
            bodies = records if self.processing is None else self.processing.select(records)
            yield from zip(records, bodies, strict=True)

    def _fits(self, body: bytes, number: int) -> None:
        if self.max_bytes is not None and len(body) > self.max_bytes:
            raise RecordTooLarge(f"record {number} has {len(body)} bytes, a request may have {self.max_bytes}")

    def _pack(self, records: Iterable[tuple[bytes, bytes]], between: bytes) -> Iterator[tuple[list[bytes], bytes]]:
        """Group records greedily: the next one opens a new batch when it would not fit in the present one."""
        held: list[bytes] = []
        bodies: list[bytes] = []
        size, most = 0, float("inf") if self.max_bytes is None else self.max_bytes
        for number, (record, body) in enumerate(records, start=1):
            more = len(body) + (len(between) if bodies else 0)
            if bodies and (not self.multi_record or size + more > most):
                yield held, between.join(bodies)
                held, bodies, size, more = [], [], 0, len(body)
            if more > most:
                self._fits(body, number)
            size += more
            held.append(record)
            bodies.append(body)
        if bodies:
            yield held, between.join(bodies)

    def assemble(self, batch: RequestBatch, answer: bytes) -> bytes:
        """What a batch adds to the output object; FilterError when the answer cannot be told apart."""
        if self._keeps():
            assert self.processing is not None
            ending = b"\n" if self.assemble_lines or self.split != "None" else b""
            results = self.processing.results(batch.records, answer)
            return b"\n".join(results) + ending if results else b""
        if self.assemble_lines and not answer.endswith(b"\n"):
            return answer + b"\n"
        return answer


def output_key(input_prefix: str, input_key: str, output_prefix: str) -> str:
    """Where the result of an input object goes: its path below the input prefix, with `.out` appended.

    The prefix may name a folder (with or without the slash), one object, or the beginning of names.
    """
    base = output_prefix.rstrip("/")
    name = f"{relative_key(input_prefix, input_key)}.out"
    return f"{base}/{name}" if base else name


def relative_key(input_prefix: str, input_key: str) -> str:
    """The path of an input object below the folder that its prefix names or begins in."""
    folder = input_prefix.rstrip("/")
    if not folder:
        return input_key
    if input_key.startswith(folder + "/"):
        return input_key[len(folder) + 1 :]
    return input_key[input_prefix.rfind("/") + 1 :]
