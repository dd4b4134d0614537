"""Reading the raw input: CSV (any common delimiter, gzip too), JSON lines and Parquet, all as columns of text.

Cells are stripped of surrounding blanks and quotes are resolved; nothing is interpreted here. Rows remember the file
and the line they came from, so that an error about a value can name its place.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagewind.jobs.job import UserError

DELIMITERS = ",;\t|"
JSON_SUFFIXES = (".jsonl", ".ndjson")
#: Instead of column names: the files have no header, and their columns are called by position.
POSITIONAL: tuple[str, ...] = ()


@dataclass
class RawTable:
    """Columns of stripped text, equally long. `lines` holds each row's line (or record) number in its file."""

    columns: list[str]
    cells: list[list[str]]
    files: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    lines: array[int] = field(default_factory=lambda: array("Q"))
    blank_lines: int = 0

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        return self.cells[self.columns.index(name)]

    def place(self, row: int) -> str:
        """Where a row came from, e.g. `line 17 of adult.data`."""
        return f"line {self.lines[row]} of {self.files[bisect_right(self.starts, row) - 1]}"


def read_folder(folder: Path, names: Sequence[str] | None) -> RawTable:
    """All files below `folder` as one table; `names` are the columns of files without a header (or `POSITIONAL`).

    UserError if there is no file, no row, or a file that cannot be read or whose columns differ from the first's.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))
    if not files:
        raise UserError(f"the input {folder.name!r} holds no file: check the source of the data (data.source)")
    table = RawTable(columns=[], cells=[])
    for path in files:
        _append(table, path, names)
    if not len(table):
        raise UserError(f"{', '.join(table.files)} has a header but no rows: give a file with data")
    return table


def _append(table: RawTable, path: Path, names: Sequence[str] | None) -> None:
    header, rows = _rows(path, names)
    if not table.columns:
        table.columns = header
        table.cells = [[] for _ in header]
    if sorted(header) != sorted(table.columns):
        differing = ", ".join(sorted(set(header) ^ set(table.columns)))
        raise UserError(
            f"{path.name} has other columns than {table.files[0]} (differing: {differing}): "
            "give all files the same columns"
        )
    table.files.append(path.name)
    table.starts.append(len(table))
    collected: list[list[str]] = []
    for number, row in rows:
        if len(row) <= 1 and not "".join(row).strip() and (len(header) > 1 or not row):
            table.blank_lines += 1
            continue
        if len(row) != len(header):
            raise UserError(
                f"line {number} of {path.name} has {len(row)} cells where {len(header)} are expected: "
                "correct the line, or quote cells that hold the delimiter"
            )
        table.lines.append(number)
        collected.append(row)
    # zip(*rows) turns rows into columns in C, which is several times faster than appending cell by cell.
    for name, cells in zip(header, zip(*collected, strict=True), strict=True) if collected else ():
        table.column(name).extend([cell.strip() for cell in cells])


def _rows(path: Path, names: Sequence[str] | None) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    if path.stat().st_size == 0:
        raise UserError(f"{path.name} is empty: give a file with a header and rows")
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.suffix in JSON_SUFFIXES:
        return _json_lines(path)
    return _csv(path, names)


def _csv(path: Path, names: Sequence[str] | None) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    rows = _csv_rows(path)
    first_number, first = next(((number, row) for number, row in rows if "".join(row).strip()), (0, []))
    cells = [cell.strip() for cell in first]
    if not cells:
        raise UserError(f"{path.name} holds only blank lines: give a file with a header and rows")
    if names == POSITIONAL:
        names = [positional_name(index) for index in range(len(cells))]
    elif names is None or sorted(cells) == sorted(names):
        return _header(path, cells), rows
    if len(cells) != len(names):
        raise UserError(
            f"line {first_number} of {path.name} has {len(cells)} cells, data.columns names {len(names)}: "
            "make data.columns name every column of the file, in its order"
        )

    def with_first() -> Iterator[tuple[int, list[str]]]:
        yield first_number, first
        yield from rows

    return list(names), with_first()


def positional_name(index: int) -> str:
    """Name of a column that has none: `_c0`, `_c1`, ... (Spark's)."""
    return f"_c{index}"


def _header(path: Path, cells: list[str]) -> list[str]:
    header = [cell or f"column_{number}" for number, cell in enumerate(cells, start=1)]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"the header of {path.name} names the column {twice[0]!r} twice: give columns different names")
    return header


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as raw:
        first_line = raw.readline()
        raw.seek(0)
        delimiter = "," if b"," in first_line else max(DELIMITERS, key=lambda sign: first_line.count(sign.encode()))
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
        try:
            for row in reader:
                yield reader.line_num, row
        except UnicodeDecodeError as error:
            raise UserError(_encoding_sentence(path, opener)) from error
        except csv.Error as error:
            raise UserError(f"line {reader.line_num} of {path.name} is no CSV ({error}): correct it") from error


def _encoding_sentence(path: Path, opener: Any) -> str:
    """Say which line is not UTF-8, by decoding the file once more line by line."""
    advice = "save the file as UTF-8"
    with opener(path, "rb") as raw:
        for number, line in enumerate(raw, start=1):
            if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return f"{path.name} is UTF-16, not UTF-8: {advice}"
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"line {number} of {path.name} holds the byte 0x{line[error.start]:02x}, not UTF-8: {advice}"
    return f"{path.name} is not UTF-8: {advice}"


def _json_lines(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    records: list[tuple[int, dict[str, Any]]] = []
    header: dict[str, None] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise UserError(f"line {number} of {path.name} is not JSON ({error}): write one object per line") from error
        if not isinstance(record, dict):
            raise UserError(f"line {number} of {path.name} holds no JSON object: write one object per line")
        records.append((number, record))
        header.update(dict.fromkeys(record))
    columns = list(header)
    return columns, (
        (number, [_text(record.get(name), path, number, name) for name in columns]) for number, record in records
    )


def _parquet(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{path.name} cannot be read as Parquet ({error}): write it again") from error
    columns = list(file.schema_arrow.names)

    def rows() -> Iterator[tuple[int, list[str]]]:
        number = 0
        for batch in file.iter_batches():
            for record in _transposed(batch.to_pydict().values()):
                number += 1
                yield number, [_text(value, path, number, name) for name, value in zip(columns, record, strict=True)]

    return columns, rows()


def _transposed(columns: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    return zip(*columns, strict=True)


def _text(value: Any, path: Path, number: int, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list | bytes):
        raise UserError(
            f"column {name!r} in line {number} of {path.name} holds a {type(value).__name__}: "
            "give single values, or leave the column out (data.drop)"
        )
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return repr(value) if isinstance(value, float) else str(value)
