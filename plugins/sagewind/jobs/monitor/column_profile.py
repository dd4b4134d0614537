"""Statistics of one column as AWS's analyzer measures them (statistics.json, one entry of `features`).

Types are Deequ's: a column is String if any present value is not a number by its patterns (StatefulDataType), else
Fractional if any has a fraction or an exponent, else Integral; Unknown if it has no value. Deequ's Boolean is
reported as String, since AWS's files know no such type. Sums run strictly from first to last (whole columns of
integers are added as 64-bit integers) and the deviation is Welford's, so that they equal AWS's to the last bit for
one file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sagewind.jobs.monitor import kll, scala_order
from sagewind.jobs.monitor.column import COUNT, LEAST, MOST, SQUARES, SUM, ColumnState

INTEGRAL, FRACTIONAL, STRING, UNKNOWN = "Integral", "Fractional", "String", "Unknown"
#: Above this estimate a text column is not described by its values (ColumnProfiler.DEFAULT_CARDINALITY_THRESHOLD).
CATEGORIES = 120
#: What Deequ counts rows without a value as, among the categories of a column (Histogram.NullFieldReplacement).
NULL = "NullValue"


class ColumnProfile:
    """A column that has been read to its end; `all_values` is how many values all columns' maps hold (scala_order)."""

    def __init__(self, column: ColumnState, all_values: int = 0) -> None:
        self.name = column.name
        self.present = column.present
        self.missing = column.missing
        self.integral, self.fractional = column.integral, column.fractional
        self.not_finite = column.not_finite
        self.has_domain = column.has_domain
        self.in_domain = sum(column.tally.domain.values())
        self._column = column
        self._all_values = all_values
        self._distinct = column.distinct()

    @property
    def completeness(self) -> float:
        """Share of rows with a value; 1.0 of no rows."""
        rows = self.present + self.missing
        return self.present / rows if rows else 1.0

    @property
    def inferred_type(self) -> str:
        """Integral, Fractional, String or Unknown."""
        if not self._column.numeric:
            return STRING
        if self.fractional:
            return FRACTIONAL
        return INTEGRAL if self.integral else UNKNOWN

    @property
    def numeric(self) -> bool:
        """True if every value is a number (and there is one)."""
        return self.inferred_type in (INTEGRAL, FRACTIONAL)

    @property
    def sum(self) -> float:
        """Sum of a numeric column."""
        if self.inferred_type == INTEGRAL and not self._column.too_large:
            return float(self._column.integer_sum)
        return float(self._column.moments[SUM])

    @property
    def mean(self) -> float:
        """Mean of a numeric column."""
        count = float(self._column.moments[COUNT])
        return self.sum / count if count else math.nan

    @property
    def min(self) -> float:
        """Least value of a numeric column."""
        return float(self._column.moments[LEAST])

    @property
    def max(self) -> float:
        """Greatest value of a numeric column."""
        return float(self._column.moments[MOST])

    @property
    def std_dev(self) -> float:
        """Population standard deviation of a numeric column."""
        count = float(self._column.moments[COUNT])
        return math.sqrt(float(self._column.moments[SQUARES]) / count) if count else 0.0

    def distinct(self) -> int:
        """Approximate number of distinct values."""
        return self._distinct

    def counts(self) -> dict[str, int] | None:
        """Values and their counts in AWS's order; None if there are too many (or the column is typed numbers)."""
        counts = self._column.counts()
        if counts is None or self._distinct > CATEGORIES:
            return None
        texts = {value.decode("utf-8", "replace"): count for value, count in counts.items()}
        if self.missing and self.inferred_type == STRING:
            texts[NULL] = texts.get(NULL, 0) + self.missing
        return scala_order.arrange(self.name, texts, self._all_values)

    def categories(self) -> dict[str, int] | None:
        """The counts of a column of texts; None for other columns, or too many values."""
        return self.counts() if self.inferred_type == STRING else None

    def share_of(self, expected: str) -> float:
        """Share of the values of the expected type: a whole number is a valid Fractional, anything a valid String."""
        if expected not in (INTEGRAL, FRACTIONAL) or not self.present:
            return 1.0
        return (self.integral + (self.fractional if expected == FRACTIONAL else 0)) / self.present

    def sketch(self) -> list[list[float]]:
        """The quantile sketch's items by level."""
        return self._column.sketch.data()

    def statistics(self) -> dict[str, Any]:
        """The entry of statistics.json. Unknown columns are reported like texts without values (our choice)."""
        entry: dict[str, Any] = {"name": self.name, "inferred_type": self.inferred_type}
        common = {"num_present": self.present, "num_missing": self.missing}
        kind, block = (
            ("numerical_statistics", self._numerical(common))
            if self.numeric
            else ("string_statistics", self._string(common))
        )
        return {**entry, kind: block}

    def _string(self, common: dict[str, int]) -> dict[str, Any]:
        block: dict[str, Any] = {
            "common": common,
            "distinct_count": float(self._distinct),
            "completeness": self.completeness,
        }
        categories = self.categories()
        if categories:
            buckets = [{"value": value, "count": count} for value, count in categories.items()]
            block["distribution"] = {"categorical": {"buckets": buckets}}
        return block

    def _numerical(self, common: dict[str, int]) -> dict[str, Any]:
        data = self.sketch()
        sketch = {"parameters": {"c": kll.SHRINK, "k": float(kll.SIZE)}, "data": data}
        buckets = kll.Distribution.of(data).buckets(self.min, self.max)
        return {
            "common": common,
            "mean": written(self.mean),
            "sum": written(self.sum),
            "std_dev": written(self.std_dev),
            "min": self.min,
            "max": self.max,
            "approximate_num_distinct_values": self._distinct,
            "completeness": self.completeness,
            "distribution": {"kll": {"buckets": buckets, "sketch": sketch}},
        }


def written(value: float) -> float | str:
    """The number as JSON holds it: sums of huge numbers may be infinite, which Jackson writes as texts."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def profiles(columns: Sequence[ColumnState]) -> list[ColumnProfile]:
    """The profiles of columns that were read together."""
    for column in columns:
        column.finish()
    counted = [column for column in columns if column.present and column.distinct() <= CATEGORIES]
    maps = [(column.counts(), bool(column.missing)) for column in counted]
    total = sum(len(counts) + nulls for counts, nulls in maps if counts is not None)
    return [ColumnProfile(column, total) for column in columns]
