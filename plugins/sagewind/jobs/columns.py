"""What a column is: numbers or categories, declared or inferred, and the numbers in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sagewind.jobs.job import UserError

NUMERIC = "numeric"
CATEGORICAL = "categorical"
#: A column with at most this share of texts among its values was meant to be numeric; guessing "categories" would
#: silently turn every number into a category of its own.
STRAY_TEXT = 0.1
NAN = float("nan")


@dataclass(frozen=True)
class FeatureColumn:
    """A feature column of the cleaned rows: `numbers` (missing: NaN) or `texts` (missing: None), as `kind` says."""

    name: str
    kind: str
    numbers: Sequence[float] = ()
    texts: Sequence[str | None] = ()

    @property
    def missing(self) -> list[bool]:
        """For each row, whether it has no value."""
        if self.kind == NUMERIC:
            return [math.isnan(value) for value in self.numbers]
        return [text is None for text in self.texts]

    def take(self, rows: Sequence[int]) -> FeatureColumn:
        """The same column with these rows only, in this order."""
        numbers = [self.numbers[row] for row in rows] if self.kind == NUMERIC else ()
        texts = [self.texts[row] for row in rows] if self.kind == CATEGORICAL else ()
        return FeatureColumn(self.name, self.kind, numbers, texts)


def is_number(text: str) -> bool:
    """True for what a data file may call a number: Python's float without its underscores and infinities."""
    try:
        return not math.isinf(float(text)) and "_" not in text
    except ValueError:
        return False


def read(
    name: str, cells: Sequence[str], place: Callable[[int], str], *, declared: str | None, na_values: frozenset[str]
) -> FeatureColumn:
    """Decide the kind of a column and convert it. The empty cell, `na_values` and NaN (in numbers) are missing.

    UserError names the first offending value and its place if a column declared numeric holds text, if a column
    that is nearly all numbers holds some, or if a column holds no value at all.
    """
    texts = [None if not cell or cell in na_values else cell for cell in cells]
    values = set(texts) - {None}
    if not values:
        raise UserError(f"column {name!r} has no value in any of {len(cells)} rows: leave it out (data.drop)")
    if declared == CATEGORICAL:
        return FeatureColumn(name, CATEGORICAL, texts=texts)
    strays = {text for text in values if text is not None and not is_number(text)}
    if strays:
        _refuse_strays(name, texts, strays, place, declared)
        return FeatureColumn(name, CATEGORICAL, texts=texts)
    return FeatureColumn(name, NUMERIC, numbers=[NAN if text is None else float(text) for text in texts])


def _refuse_strays(
    name: str, texts: Sequence[str | None], strays: set[str], place: Callable[[int], str], declared: str | None
) -> None:
    rows = [row for row, text in enumerate(texts) if text in strays]
    present = sum(text is not None for text in texts)
    found = f"column {name!r} holds {texts[rows[0]]!r} in {place(rows[0])}"
    if declared == NUMERIC:
        raise UserError(f"{found}, which is not a number: correct it, or add it to data.na_values")
    if len(rows) <= STRAY_TEXT * present:
        raise UserError(
            f"{found}; {len(rows)} of its {present} values are text, the rest numbers: correct it, "
            "add it to data.na_values, or declare the column in data.categorical"
        )
