"""The part of JSONPath that batch transform applies to CSV records, and the join of inputs with outputs.

SageMaker's data processing addresses the columns of a CSV record from zero: `$` is the whole record, `$[0]` the first
column, `$[-1]` the last, `$[1:]` all but the first, `$[0,5:7]` a choice of them with one range at most. Regular
expressions, filter expressions and paths into JSON are not part of it and are refused when the job is created.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from localaws.coverage import Behaviour

_ITEM = r"(?:-?\d+|(?:-?\d+)?:(?:-?\d+)?)"
_PATH = re.compile(rf"\$(?:\[\s*({_ITEM}(?:\s*,\s*{_ITEM})*)\s*\])?")
_ALL = re.compile(r"\$(?:\[\s*\*\s*\]|\.\*)")
# A cell is quoted text (in which a doubled quote stands for one quote) or anything without a comma, so it
# matches at every position; a quote that is never closed counts as an ordinary character.
_CELL = re.compile(r'("(?:[^"]|"")*"[^,]*|[^,]*)(,|\Z)')

_Cell = TypeVar("_Cell", str, bytes)
BEHAVIOURS = (
    Behaviour(
        "a filter with two ranges (`$[0:2,246:]`) is refused, here when the job is created, by AWS when it runs",
        "seen",
        "aws/sagemaker-python-sdk issue 1112",
    ),
)


class FilterError(Exception):
    """A filter that cannot be understood, or that names a column a record does not have."""


@dataclass(frozen=True)
class ColumnPath:
    """A parsed column choice; `items` is None for `$`, which leaves a record untouched."""

    text: str
    items: tuple[int | slice, ...] | None

    @property
    def whole(self) -> bool:
        """Whether the path is `$`, so that records need not be taken apart."""
        return self.items is None

    def select(self, cells: Sequence[_Cell]) -> list[_Cell]:
        """The chosen cells in the order of the path.

        FilterError if a column is missing or nothing is left.
        """
        if self.items is None:
            return list(cells)
        chosen: list[_Cell] = []
        for item in self.items:
            if isinstance(item, slice):
                chosen.extend(cells[item])
                continue
            if not -len(cells) <= item < len(cells):
                raise FilterError(
                    f"the filter {self.text} names column {item}, but the record has {len(cells)} columns"
                )
            chosen.append(cells[item])
        if not chosen:
            raise FilterError(f"the filter {self.text} leaves nothing of a record with {len(cells)} columns")
        return chosen


def parse_path(text: str) -> ColumnPath:
    """Read a column path; FilterError says what is allowed when it is anything else."""
    if _ALL.fullmatch(text.strip()):
        return ColumnPath(text, (slice(None),))
    match = _PATH.fullmatch(text.strip())
    if match is None:
        raise FilterError(
            f"{text!r} is not a column path for CSV; "
            "allowed are $, $[*], $[0], $[-1], $[1:] and lists of these such as $[0,2:4]"
        )
    if match[1] is None:
        return ColumnPath(text, None)
    check_ranges(text, match[1])
    return ColumnPath(text, tuple(_item(part.strip()) for part in match[1].split(",")))


def check_ranges(text: str, items: str) -> None:
    """FilterError, in AWS's words, for a choice that holds more than one range."""
    if items.count(":") > 1:
        raise FilterError(
            f"Invalid JsonPath: {text}: only single range filters of format (eg: [1:5]) are supported. "
            f"Format [{items}] is not supported"
        )


def _item(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    start, stop = text.split(":")
    return slice(int(start) if start else None, int(stop) if stop else None)


def split_cells(record: str) -> list[str]:
    """The cells of a CSV record exactly as written, quotes included: joined by comma they give it back."""
    cells: list[str] = []
    at = 0
    while match := _CELL.match(record, at):
        cells.append(match[1])
        at = match.end()
        if not match[2]:
            break
    return cells


def select_record(path: ColumnPath, record: bytes) -> bytes:
    """The record with only the columns of the path."""
    if path.whole:
        return record
    return ",".join(path.select(split_cells(record.decode()))).encode()


def select_records(path: ColumnPath, records: Sequence[bytes]) -> list[bytes]:
    """Every record with only the columns of the path; quick where no cell is quoted.

    FilterError if a record lacks a column.
    """
    if path.items is None:
        return list(records)
    if any(b'"' in record for record in records):
        return [select_record(path, record) for record in records]
    if len(path.items) == 1:
        only = path.items[0]
        if isinstance(only, slice) and only.stop is None and (only.start or 0) > 0:
            return _without_first(path, records, only.start)
        if only == -1:
            return [record.rpartition(b",")[2] for record in records]
    return [b",".join(path.select(record.split(b","))) for record in records]


def _without_first(path: ColumnPath, records: Sequence[bytes], count: int) -> list[bytes]:
    cut = [record.split(b",", count) for record in records]
    for cells in cut:
        if len(cells) <= count:
            path.select(cells)  # which raises, as nothing is left
    return [cells[count] for cells in cut]
