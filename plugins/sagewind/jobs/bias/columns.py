"""A column as Clarify sees it, category or quantity, and which of its rows a value or a threshold selects.

Rules of Clarify's library: several given values make a column categorical; texts are categories; fractions are
quantities; whole numbers are quantities if at least 5 % of the values are distinct. A quantity is selected above the
threshold, up to its maximum. One rule is ours: a column of at most two distinct values that holds the given one is
categorical, because in a small sample the 5 % would make a threshold of 1 out of the label 1, and select nothing.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagewind.jobs.bias.metrics import Bools, Codes, Floats
from sagewind.jobs.columns import is_number
from sagewind.jobs.job import UserError

UNIQUE_SHARE = 0.05
MISSING = -1


@dataclass
class CodedColumn:
    """Cells by code: each distinct text once, -1 where a cell is empty."""

    name: str
    codes: array[int] = field(default_factory=lambda: array("q"))
    values: dict[str, int] = field(default_factory=dict)

    def add(self, cell: Any) -> None:
        """Append a cell."""
        text = text_of(cell)
        self.codes.append(self.values.setdefault(text, len(self.values)) if text else MISSING)

    @property
    def array(self) -> Codes:
        """The codes of all rows."""
        return np.frombuffer(self.codes, dtype=np.int64)

    @property
    def texts(self) -> list[str]:
        """The distinct values in the order in which they came."""
        return list(self.values)

    def numbers(self) -> Floats | None:
        """The cells as numbers; None if one is empty, no number or not finite."""
        if not all(map(is_number, self.values)) or (self.array == MISSING).any():
            return None
        distinct = np.array([float(text) for text in self.values], dtype=np.float64)
        return distinct[self.array] if np.isfinite(distinct).all() else None

    def quantity(self, given: Sequence[Any]) -> bool:
        """True if the column is compared with a threshold, False if with values."""
        if len(given) > 1 or not self.values or not all(map(is_number, self.values)):
            return False
        if len(self.values) <= 2 and any(text_of(value) in self.values for value in given):
            return False
        if any(not _whole(text) for text in self.values):
            return True
        present = int(np.sum(self.array != MISSING))
        return len(self.values) / present >= UNIQUE_SHARE


@dataclass(frozen=True)
class Selected:
    """Rows that a value or threshold selects, how analysis.json names them, and which rows have no value at all."""

    rows: Bools
    text: str
    missing: NDArray[np.bool_]


def select(column: CodedColumn, given: Sequence[Any], what: str, *, quantity: bool | None = None) -> Selected:
    """The rows of a column that `given` selects, perhaps none; UserError if a threshold cannot be compared.

    `quantity` decides how the values are taken where another column does (predictions are taken as labels are).
    """
    missing = column.array == MISSING
    if column.quantity(given) if quantity is None else quantity:
        return Selected(*_above(column, given, what), missing)
    wanted = [text_of(value) for value in given]
    chosen = np.array([*(text in wanted for text in column.values), False], dtype=bool)
    # The code of an empty cell is -1: it takes the last entry, which is False.
    return Selected(chosen[column.array], ",".join(wanted), missing)


def require_some(selected: Selected, column: CodedColumn, what: str) -> None:
    """UserError if nothing is selected, naming what the column holds."""
    if not selected.rows.any():
        shown = ", ".join(column.texts[:8]) or "nothing"
        raise UserError(
            f"{what} {column.name!r} has no row with {selected.text}: it holds {shown}; "
            "correct the analysis configuration"
        )


def _above(column: CodedColumn, given: Sequence[Any], what: str) -> tuple[Bools, str]:
    text = text_of(given[0])
    if not is_number(text):
        raise UserError(f"{what} {column.name!r} holds numbers: give a number as its threshold, not {given[0]!r}")
    if any(not is_number(value) for value in column.values):
        raise UserError(f"{what} {column.name!r} holds texts among numbers: a threshold cannot select any")
    threshold = float(text)
    distinct = np.array([float(value) for value in column.values], dtype=np.float64)
    most = float(np.max(distinct))
    whole = all(map(_whole, column.values)) and _whole(text)
    interval = f"({int(threshold)}, {int(most)}]" if whole else f"({threshold}, {most}]"
    return (distinct > threshold)[column.array] & (column.array != MISSING), interval


def text_of(cell: Any) -> str:
    """A cell as a text by which it is compared: `1`, `1.0` and `"1"` are one value; empty if there is none."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell)
    text = str(cell).strip()
    if not is_number(text):
        return text
    number = float(text)
    if not math.isfinite(number):
        return ""
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _whole(text: str) -> bool:
    return float(text).is_integer()
