"""CSV in record batches of raw bytes: nothing is interpreted, so that values are hashed as they are written.

Rules are Spark's, on which AWS's analyzer reads (CSVOptions): comma, double quotes, blanks kept, blank lines skipped,
an empty cell is missing, a short row lacks its last cells and a long one loses what is too much. Such rows are
counted and shown. Quotes inside quotes are doubled (RFC 4180).
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from sagewind.jobs.job import UserError
from sagewind.jobs.monitor.batches import ColumnBatch, ReaderRemarks, texts_of, utf8
from sagewind.jobs.monitor.texts import Texts
from sagewind.jobs.raw_files import positional_name

#: Blocks that stay in the processor's cache are read three times faster than such that do not.
BLOCK = 4 << 20
PROBE = 1 << 20
#: Rows with another number of cells that are kept aside until the end of the file.
ASIDE = 50_000
DELIMITERS = ",;\t|"
RAGGED = "rows have another number of cells than the header: missing cells are empty, surplus ones are dropped"


@dataclass(frozen=True)
class CsvPart:
    """A file, or the bytes from `start` up to `end` of it; `wanted` are the columns to read (None: all)."""

    path: Path
    names: tuple[str, ...]
    delimiter: str
    start: int
    end: int | None
    quoted: bool
    wanted: tuple[str, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return self.names if self.wanted is None else self.wanted

    def only(self, wanted: Sequence[str]) -> CsvPart:
        """The same rows with some of the columns."""
        return replace(self, wanted=tuple(wanted))


class _Range(io.RawIOBase):
    """A file from `start` up to `end`, read as a stream."""

    def __init__(self, part: CsvPart) -> None:
        self._file = opened(part.path)
        self._file.seek(part.start)
        self._left = None if part.end is None else part.end - part.start

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        data: bytes = self._file.read(size)
        if self._left is not None:
            self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()


def _stream(part: CsvPart) -> Any:
    """The part's bytes; Arrow reads a plain file up to its end itself, without the interpreter."""
    if part.end is not None or part.path.suffix == ".gz":
        return pa.PythonFile(_Range(part), mode="r")
    file = pa.OSFile(str(part.path))
    file.seek(part.start)
    return file


def opened(path: Path) -> Any:
    """The file's content as a binary stream."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def whole(path: Path, header: bool, known: Sequence[str] = ()) -> CsvPart | None:
    """The file as one part, or None if it holds nothing; UserError if it cannot be CSV.

    A file without header takes the `known` names by position, and `_cN` beyond them.
    """
    with opened(path) as file:
        probe: bytes = file.read(PROBE)
    if not probe.strip():
        return None
    if probe[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in probe[:4096]:
        raise UserError(f"{path.name} is UTF-16 or no text, not UTF-8: save the file as CSV in UTF-8")
    start = 3 if probe.startswith(b"\xef\xbb\xbf") else 0
    end = _record_end(probe, start)
    first_line = probe[start:end]
    delimiter = "," if b"," in first_line else max(DELIMITERS, key=lambda sign: first_line.count(sign.encode()))
    text = first_line.decode("utf-8", "replace").strip("\r\n")
    cells = next(csv.reader([text], delimiter=delimiter), [])
    if header:
        return CsvPart(path, _header(path, cells), delimiter, end, None, b'"' in probe)
    names = tuple(known[index] if index < len(known) else positional_name(index) for index in range(len(cells)))
    return CsvPart(path, names, delimiter, start, None, b'"' in probe)


def _record_end(data: bytes, start: int) -> int:
    """Where the first record ends: behind a line break that is in no quotes."""
    at = start
    while True:
        at = data.find(b"\n", at) + 1
        if at == 0:
            return len(data)
        if data.count(b'"', start, at) % 2 == 0 and data[start:at].strip():
            return at


def _header(path: Path, cells: Sequence[str]) -> tuple[str, ...]:
    names = tuple(cell or positional_name(index) for index, cell in enumerate(cells))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"the header of {path.name} names the column {twice[0]!r} twice: give columns different names")
    return names


def split(part: CsvPart, pieces: int) -> list[CsvPart]:
    """The part cut into about equal pieces at line ends outside quotes; compressed files stay whole."""
    size = part.path.stat().st_size
    if part.path.suffix == ".gz" or pieces < 2 or size < 2 * BLOCK:
        return [part]
    targets = [part.start + (size - part.start) * piece // pieces for piece in range(1, pieces)]
    edges, quotes, at = [part.start], 0, part.start
    with part.path.open("rb") as file:
        file.seek(at)
        for target in targets:
            while at < target:
                data = file.read(min(BLOCK, target - at))
                quotes += data.count(b'"')
                at += len(data)
            line = file.readline()
            while line:
                quotes += line.count(b'"')
                at += len(line)
                if quotes % 2 == 0:
                    break
                line = file.readline()
            edges.append(at)
    quoted = part.quoted or quotes > 0
    return [
        replace(part, start=low, end=high, quoted=quoted)
        for low, high in zip(edges, [*edges[1:], None], strict=True)
        if high is None or low < high
    ]


def read(part: CsvPart, seen: ReaderRemarks) -> Iterator[ColumnBatch]:
    """The part's rows in their order; ragged ones come last."""
    wanted = part.columns
    aside: list[str] = []

    def ragged(row: Any) -> str:
        aside.append(row.text)
        return "skip"

    try:
        reader = pacsv.open_csv(
            _stream(part),
            read_options=pacsv.ReadOptions(column_names=list(part.names), block_size=BLOCK, use_threads=True),
            parse_options=pacsv.ParseOptions(
                delimiter=part.delimiter, newlines_in_values=part.quoted, invalid_row_handler=ragged
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(part.names, pa.binary()),
                include_columns=list(wanted),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return
        raise UserError(f"{part.path.name} cannot be read as CSV ({_first_line(error)}): correct the file") from error
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            break
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{part.path.name} cannot be read as CSV ({_first_line(error)}): correct the file"
            ) from error
        yield _batch(batch, seen)
        if len(aside) > ASIDE:
            yield _repaired(part, wanted, aside, seen)
    if aside:
        yield _repaired(part, wanted, aside, seen)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _batch(batch: pa.RecordBatch, seen: ReaderRemarks) -> ColumnBatch:
    names = batch.schema.names
    columns = {name: Texts(utf8(name, batch.column(at), seen), True) for at, name in enumerate(names)}
    return ColumnBatch(batch.num_rows, columns)


def _repaired(part: CsvPart, wanted: Sequence[str], aside: list[str], seen: ReaderRemarks) -> ColumnBatch:
    width = len(part.names)
    rows = []
    for row in csv.reader(aside, delimiter=part.delimiter):
        seen.add(
            RAGGED,
            f"a row of {part.path.name} has {len(row)} cells where {width} are expected: "
            f"{part.delimiter.join(row)[:80]}",
        )
        rows.append([*row, *[""] * (width - len(row))][:width])
    aside.clear()
    columns = dict(zip(part.names, zip(*rows, strict=True), strict=True))
    return ColumnBatch(len(rows), {name: texts_of(columns[name]) for name in wanted})
