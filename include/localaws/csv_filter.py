"""The part of JSONPath that batch transform applies to CSV records, and the join of inputs with outputs.

SageMaker's data processing addresses the columns of a CSV record from zero: `$` is the whole record, `$[0]`
the first column, `$[-1]` the last, `$[1:]` all but the first, `$[0,5:7]` a choice of them. Regular
expressions, filter expressions and paths into JSON are not part of it here and are refused when the job is
created.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ITEM = r"(?:-?\d+|(?:-?\d+)?:(?:-?\d+)?)"
_PATH = re.compile(rf"\$(?:\[\s*({_ITEM}(?:\s*,\s*{_ITEM})*)\s*\])?")
# A cell is quoted text (in which a doubled quote stands for one quote) or anything without a comma, so it
# matches at every position; a quote that is never closed counts as an ordinary character.
_CELL = re.compile(r'("(?:[^"]|"")*"[^,]*|[^,]*)(,|\Z)')


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

    def select(self, cells: Sequence[str]) -> list[str]:
        """The chosen cells in the order of the path.

        FilterError if a column is missing or nothing is left.
        """
        if self.items is None:
            return list(cells)
        chosen: list[str] = []
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
    match = _PATH.fullmatch(text.strip())
    if match is None:
        raise FilterError(
            f"{text!r} is not a column path for CSV; "
            "allowed are $, $[0], $[-1], $[1:] and lists of these such as $[0,2:4]"
        )
    if match[1] is None:
        return ColumnPath(text, None)
    return ColumnPath(text, tuple(_item(part.strip()) for part in match[1].split(",")))


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


def join_records(
    inputs: Sequence[bytes], outputs: Sequence[bytes], output_filter: ColumnPath, join: bool
) -> list[bytes]:
    """One result per record: input columns first when joined, then the answer's, then the output filter.

    FilterError when the model did not answer with one line for each record, since no line could then be
    told to belong to an input.
    """
    if len(inputs) != len(outputs):
        raise FilterError(
            f"the model answered {len(outputs)} lines to a request of {len(inputs)} records; "
            "joining and output filters need one line for each record"
        )
    if not join:
        return [select_record(output_filter, out) for out in outputs]
    return [select_record(output_filter, source + b"," + out) for source, out in zip(inputs, outputs, strict=True)]
