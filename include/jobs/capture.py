"""Reading what an endpoint's data capture wrote: JSON lines with the request's and the response's payload.

One line is one request and may hold several rows. Lines outside the window are left out; a line that cannot be read is
counted and shown, since one broken record must not hide the rest.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from include.jobs.config import parse_time
from include.jobs.job import UserError
from include.jobs.raw_files import positional_name

#: Corrupt lines that are shown one by one; all are counted.
SHOWN = 20


@dataclass(frozen=True)
class Window:
    """The times that count: start <= time < end; None is no bound."""

    start: datetime | None
    end: datetime | None

    def holds(self, moment: datetime) -> bool:
        """True if a request at `moment` counts."""
        return (self.start is None or self.start <= moment) and (self.end is None or moment < self.end)

    def words(self) -> str:
        """E.g. `from 2026-01-01T00:00:00+00:00 to 2026-01-02T00:00:00+00:00`."""
        start = self.start.isoformat() if self.start else "the beginning"
        end = self.end.isoformat() if self.end else "now"
        return f"from {start} to {end}"


@dataclass
class Captured:
    """Columns of all captured rows; `names` is None where the rows carried no names. An empty text is missing."""

    columns: list[list[str]] = field(default_factory=list)
    names: list[str] | None = None
    rows: int = 0
    requests: int = 0
    outside: int = 0
    excluded: int = 0
    corrupt: int = 0
    corrupt_lines: list[str] = field(default_factory=list)

    def named(self, known: Sequence[str]) -> dict[str, list[str]]:
        """The columns by name; rows without names take the known ones by position, and `_cN` beyond them."""
        names = self.names
        if names is None:
            names = [known[i] if i < len(known) else positional_name(i) for i in range(len(self.columns))]
        return dict(zip(names, self.columns, strict=True))

    def add(self, row: Sequence[str] | Mapping[str, str]) -> None:
        """Add a row; cells that it lacks are missing, and so are those of new columns in earlier rows."""
        if isinstance(row, Mapping):
            self.names = [] if self.names is None else self.names
            self.names.extend(name for name in row if name not in self.names)
            row = [row.get(name, "") for name in self.names]
        while len(self.columns) < len(row):
            self.columns.append([""] * self.rows)
        for index, cells in enumerate(self.columns):
            cells.append(row[index].strip() if index < len(row) else "")
        self.rows += 1


class _Corrupt(Exception):
    """A line that is no capture record; the text says why."""


def read(folder: Path, index_names: Sequence[str], window: Window, excluded_ids: str = "") -> Captured:
    """All captured rows below `folder` in the window; UserError if there is none.

    `index_names` are `endpointInput` and/or `endpointOutput`; with both, a row is its output's columns and then its
    input's (AWS's `output_columns_position` START). Requests whose inference id begins with `excluded_ids` are left
    out and counted.
    """
    captured = Captured()
    for path in sorted(folder.rglob("*.jsonl")) if folder.is_dir() else []:
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            if line.strip():
                _add_line(captured, line, f"line {number} of {path.name}", index_names, window, excluded_ids)
    if not captured.rows:
        raise UserError(
            f"no data: no captured request {window.words()} ({captured.outside} outside the window, "
            f"{captured.excluded} excluded, {captured.corrupt} unreadable): "
            "check that the endpoint captures data and was called"
        )
    return captured


def _add_line(
    captured: Captured, line: bytes, where: str, index_names: Sequence[str], window: Window, excluded_ids: str
) -> None:
    try:
        record = json.loads(line)
        moment = parse_time(str(record["eventMetadata"]["inferenceTime"]), f"inferenceTime in {where}")
        if not window.holds(moment):
            captured.outside += 1
            return
        if excluded_ids and str(record["eventMetadata"].get("inferenceId", "")).startswith(excluded_ids):
            captured.excluded += 1
            return
        rows = list(_rows(record["captureData"], index_names))
    except (ValueError, KeyError, TypeError, AttributeError, UserError, _Corrupt) as error:
        captured.corrupt += 1
        if len(captured.corrupt_lines) < SHOWN:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            captured.corrupt_lines.append(f"{where}: {reason}")
        return
    captured.requests += 1
    for row in rows:
        captured.add(row)


def _rows(data: Mapping[str, Any], index_names: Sequence[str]) -> Iterator[list[str] | dict[str, str]]:
    parts = [_payload(data[name]) for name in sorted(index_names, key=lambda name: name != "endpointOutput")]
    if len(parts) == 1:
        yield from parts[0]
        return
    if len({len(part) for part in parts}) != 1:
        raise _Corrupt(f"the request has {len(parts[1])} rows, the response {len(parts[0])}")
    for pieces in zip(*parts, strict=True):
        if any(isinstance(piece, dict) for piece in pieces):
            raise _Corrupt("rows with names cannot be joined to a response")
        yield [cell for piece in pieces for cell in piece]


def _payload(part: Mapping[str, Any]) -> list[list[str] | dict[str, str]]:
    """Rows of one payload, by its encoding; a BASE64 payload is read by its content type."""
    text, encoding = part["data"], str(part["encoding"]).upper()
    if encoding == "BASE64":
        text = base64.b64decode(text, validate=True).decode("utf-8")
        encoding = "JSON" if "json" in str(part.get("observedContentType")).lower() else "CSV"
    if encoding == "CSV":
        return [row for row in csv.reader(text.splitlines(), skipinitialspace=True, strict=True) if row]
    if encoding == "JSON":
        return _json_rows(json.loads(text) if isinstance(text, str) else text)
    raise _Corrupt(f"the encoding {encoding!r} is not known (CSV, JSON, BASE64)")


def _json_rows(value: Any) -> list[list[str] | dict[str, str]]:
    """Rows of a JSON payload: an object, a row, a list of either, or such a list under one of the usual keys."""
    if isinstance(value, dict):
        for key in ("instances", "predictions"):
            if isinstance(value.get(key), list):
                value = value[key]
                break
        else:
            value = [value]
    if isinstance(value, list) and value and not isinstance(value[0], list | dict):
        value = [value]
    return [_json_row(row) for row in value]


def _json_row(row: Any) -> list[str] | dict[str, str]:
    if isinstance(row, dict) and isinstance(row.get("features"), list):
        row = row["features"]
    if isinstance(row, dict):
        return {str(name): _cell(value) for name, value in row.items()}
    if isinstance(row, list):
        return [_cell(value) for value in row]
    raise _Corrupt(f"a row is a {type(row).__name__}, it must be a list or an object")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        raise _Corrupt(f"a cell is a {type(value).__name__}, it must be a single value")
    return repr(value) if isinstance(value, float) else str(value)
