"""Rows that arrive one by one (JSON lines, captured requests, what a user's script returns), gathered to batches."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sagewind.jobs.monitor.batches import ColumnBatch, ReaderRemarks, texts_of
from sagewind.jobs.monitor.read_csv import opened
from sagewind.jobs.raw_files import positional_name

ROWS = 20_000
#: Keys that batch transform adds to a record for monitoring; they are no features.
ADDED_KEYS = ("SageMakerInferenceId", "SageMakerInferenceTime")
Row = Mapping[str, str] | Sequence[str]


class UnreadableRecord(Exception):
    """A record that cannot be read; the text says why."""


def text_of(value: Any) -> str:
    """A JSON value as the text that is analysed; null, NaN and infinities are missing. UnreadableRecord if nested."""
    if value is None:
        return ""
    if isinstance(value, list | dict):
        raise UnreadableRecord(f"a cell is a {type(value).__name__}, it must be a single value")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if value - value == 0 else ""
    return str(value)


def gathered(rows: Iterable[Row], known: Sequence[str] = ()) -> Iterator[ColumnBatch]:
    """Batches of rows; a row without names takes the known ones by position, and `_cN` beyond them."""
    cells: dict[str, list[str]] = {}
    count = 0
    for row in rows:
        _add(cells, count, row, known)
        count += 1
        if count == ROWS:
            yield _batch(cells, count)
            cells, count = {}, 0
    if count:
        yield _batch(cells, count)


def _add(cells: dict[str, list[str]], count: int, row: Row, known: Sequence[str]) -> None:
    if not isinstance(row, Mapping):
        row = {known[at] if at < len(known) else positional_name(at): cell for at, cell in enumerate(row)}
    for name, cell in row.items():
        column = cells.setdefault(name, [])
        column.extend([""] * (count - len(column)))
        column.append(cell)


def _batch(cells: Mapping[str, list[str]], count: int) -> ColumnBatch:
    return ColumnBatch(count, {name: texts_of(column + [""] * (count - len(column))) for name, column in cells.items()})


def json_lines(path: Path, lines: bool, seen: ReaderRemarks) -> Iterator[Row]:
    """Records of a file of JSON objects: one a line, or (without `lines`) one document that is an object or a list."""
    with opened(path) as file:
        records = _by_line(file, path, seen) if lines else _document(file, path, seen)
        for where, record in records:
            try:
                if not isinstance(record, dict):
                    raise UnreadableRecord(f"it holds a {type(record).__name__}, no object")
                yield {str(name): text_of(cell) for name, cell in record.items() if name not in ADDED_KEYS}
            except UnreadableRecord as error:
                seen.add("records could not be read and are left out", f"{where}: {error}")


def _by_line(file: Any, path: Path, seen: ReaderRemarks) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            where = f"line {number} of {path.name}"
            try:
                yield where, json.loads(line)
            except ValueError as error:
                seen.add("records could not be read and are left out", f"{where}: not JSON ({error})")


def _document(file: Any, path: Path, seen: ReaderRemarks) -> Iterator[tuple[str, Any]]:
    data = file.read()
    try:
        value = json.loads(data)
    except ValueError:
        # A file of lines that was announced as one document: read it as what it is.
        yield from _by_line(data.splitlines(), path, seen)
        return
    for number, record in enumerate(value if isinstance(value, list) else [value], start=1):
        yield f"record {number} of {path.name}", record
