"""Reading what data capture wrote: JSON lines with the request's and the response's payload.

One line is one request and may hold several rows. Lines outside the window are left out, whichever hour their folder
stands for; a line that cannot be read is counted and shown, since one broken record must not hide the rest.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.config import parse_time
from sagewind.jobs.job import UserError
from sagewind.jobs.monitor.batches import ReaderRemarks
from sagewind.jobs.monitor.read_csv import opened
from sagewind.jobs.monitor.rows import Row, UnreadableRecord, text_of
from sagewind.jobs.monitor.scripts import InferenceRecord

ENDPOINT_INPUT, ENDPOINT_OUTPUT = "endpointInput", "endpointOutput"
BATCH_OUTPUT = "batchTransformOutput"
INDEXES = (ENDPOINT_INPUT, ENDPOINT_OUTPUT, BATCH_OUTPUT)
OUTPUTS = (ENDPOINT_OUTPUT, BATCH_OUTPUT)


@dataclass
class Captured:
    """Reads captured requests; the counts grow while it reads.

    `index_names` are the sides whose columns make a row: an output's come first (`output_columns_position` START)
    unless `output_last`. Requests whose inference id begins with `excluded` are left out and counted. `preprocess`
    makes the rows of a record in the place of our own reading of its payloads.
    """

    index_names: Sequence[str]
    window: CaptureWindow
    excluded: str = ""
    output_last: bool = False
    preprocess: Callable[[InferenceRecord], list[Row]] | None = None
    rows: int = 0
    requests: int = 0
    outside: int = 0
    left_out: int = 0
    corrupt: int = 0

    def read(self, paths: Sequence[Path], seen: ReaderRemarks) -> Iterator[Row]:
        """All rows in the window, file by file."""
        for path in paths:
            with opened(path) as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield from self._line(line, f"line {number} of {path.name}", seen)

    def _line(self, line: bytes, where: str, seen: ReaderRemarks) -> list[Row]:
        try:
            rows = self._record(json.loads(line), where)
        # A user's script may raise anything; what it cannot read is a bad record like any other.
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            self.corrupt += 1
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            seen.add("captured lines could not be read", f"{where}: {reason}")
            return []
        self.rows += len(rows)
        return rows

    def _record(self, record: Any, where: str) -> list[Row]:
        if not isinstance(record, dict):
            raise UnreadableRecord(f"it holds a {type(record).__name__}, no object")
        metadata = record["eventMetadata"]
        moment = parse_time(str(metadata["inferenceTime"]), f"inferenceTime in {where}")
        if not self.window.holds(moment):
            self.outside += 1
            return []
        if self.excluded and str(metadata.get("inferenceId", "")).startswith(self.excluded):
            self.left_out += 1
            return []
        if self.preprocess is not None:
            rows = self.preprocess(InferenceRecord(record))
        else:
            rows = list(_rows(record["captureData"], self._ordered()))
        self.requests += 1
        return rows

    def _ordered(self) -> list[str]:
        return sorted(self.index_names, key=lambda name: (name in OUTPUTS) == self.output_last)

    def notes(self) -> list[str]:
        """What was read and what was left out."""
        notes = [f"{self.rows} rows of {self.requests} captured requests"]
        if self.outside:
            notes.append(f"{self.outside} requests lie outside the window")
        if self.left_out:
            notes.append(f"{self.left_out} requests are excluded by their inference id")
        return notes

    def refuse_nothing(self) -> None:
        """UserError if there was no row."""
        if not self.rows:
            raise UserError(
                f"no data: no captured request {self.window.words()} ({self.outside} outside the window, "
                f"{self.left_out} excluded, {self.corrupt} unreadable): "
                "check that the endpoint captures data and was called"
            )


def _rows(data: Mapping[str, Any], index_names: Sequence[str]) -> Iterator[Row]:
    parts = [_payload(data[name]) for name in index_names]
    if len(parts) == 1:
        yield from parts[0]
        return
    if len({len(part) for part in parts}) != 1:
        raise UnreadableRecord(
            f"{' and '.join(index_names)} have {' and '.join(str(len(part)) for part in parts)} rows"
        )
    for pieces in zip(*parts, strict=True):
        if all(isinstance(piece, Mapping) for piece in pieces):
            yield {name: cell for piece in pieces if isinstance(piece, Mapping) for name, cell in piece.items()}
        elif any(isinstance(piece, Mapping) for piece in pieces):
            raise UnreadableRecord("a side with names cannot be joined to one without")
        else:
            yield [cell for piece in pieces for cell in piece]


def _payload(part: Mapping[str, Any]) -> list[Row]:
    """Rows of one payload, by its encoding; a BASE64 payload is read by its content type."""
    text, encoding = part["data"], str(part["encoding"]).upper()
    if encoding == "BASE64":
        text = base64.b64decode(text, validate=True).decode("utf-8")
        encoding = "JSON" if "json" in str(part.get("observedContentType")).lower() else "CSV"
    if encoding == "CSV":
        return [
            [cell.strip() for cell in row]
            for row in csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
            if row
        ]
    if encoding == "JSON":
        return _json_rows(json.loads(text) if isinstance(text, str) else text)
    raise UnreadableRecord(f"the encoding {encoding!r} is not known (CSV, JSON, BASE64)")


def _json_rows(value: Any) -> list[Row]:
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


def _json_row(row: Any) -> Row:
    if isinstance(row, dict) and isinstance(row.get("features"), list):
        row = row["features"]
    if isinstance(row, dict):
        return {str(name): text_of(value) for name, value in row.items()}
    if isinstance(row, list):
        return [text_of(value) for value in row]
    raise UnreadableRecord(f"a row is a {type(row).__name__}, it must be a list or an object")
