"""Statistics of one column as AWS's analyzer measures them (statistics.json, one entry of `features`).

A column is String if any present value is not a number, else Fractional if any has a fraction or an exponent, else
Integral; Unknown if it has no value. Sums run strictly from first to last and the deviation is Welford's, so that they
equal AWS's to the last bit for one file. A value counts as a number where Python and Deequ agree, and in the forms
`.5` and `5.`, which Deequ would call text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from include.jobs import kll
from include.jobs.hyperloglog import DistinctCounter

INTEGRAL, FRACTIONAL, STRING, UNKNOWN = "Integral", "Fractional", "String", "Unknown"
#: Above this estimate a text column is no longer described by its values (Deequ's low-cardinality threshold).
CATEGORIES = 120
#: Distinct values that are remembered while reading; more than this can never come out as at most `CATEGORIES`.
REMEMBERED = 4096
CHUNK = 50_000

_INTEGRAL = re.compile(r"^[-+]?[0-9]+$", re.MULTILINE)
_FRACTIONAL = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", re.MULTILINE)


class ColumnProfile:
    """Accumulates one column. An empty text is a missing value; values in `domain` are counted if one is given."""

    def __init__(self, name: str, domain: frozenset[str] | None = None) -> None:
        self.name = name
        self.domain = domain
        self.in_domain = 0
        self.missing = 0
        self.integral = 0
        self.fractional = 0
        self.text = 0
        self.sum = 0.0
        self.min = float("inf")
        self.max = float("-inf")
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._sketch = kll.Sketch()
        self._distinct = DistinctCounter()
        self._values: Counter[str] | None = Counter()

    @classmethod
    def of(cls, name: str, cells: Sequence[str], domain: frozenset[str] | None = None) -> ColumnProfile:
        """The profile of a whole column."""
        profile = cls(name, domain)
        for start in range(0, len(cells), CHUNK):
            profile.update(cells[start : start + CHUNK])
        return profile

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.integral + self.fractional + self.text

    @property
    def completeness(self) -> float:
        """Share of rows with a value; 1.0 of no rows."""
        rows = self.present + self.missing
        return self.present / rows if rows else 1.0

    @property
    def inferred_type(self) -> str:
        """Integral, Fractional, String or Unknown."""
        if self.text:
            return STRING
        if self.fractional:
            return FRACTIONAL
        return INTEGRAL if self.integral else UNKNOWN

    @property
    def numeric(self) -> bool:
        """True if every value is a number (and there is one)."""
        return self.inferred_type in (INTEGRAL, FRACTIONAL)

    @property
    def std_dev(self) -> float:
        """Population standard deviation of a numeric column."""
        return float(np.sqrt(self._squares / self._count)) if self._count else 0.0

    def update(self, cells: Sequence[str]) -> None:
        """Add cells in their order."""
        present = [cell for cell in cells if cell]
        self.missing += len(cells) - len(present)
        integral, fractional = count_numbers(present)
        self.integral += integral
        self.fractional += fractional
        self.text += len(present) - integral - fractional
        if self.domain is not None:
            self.in_domain += sum(cell in self.domain for cell in present)
        self._distinct.update(set(present))
        if self._values is not None:
            self._values.update(present)
            if len(self._values) > REMEMBERED:
                self._values = None
        if not self.text and present:
            self._add_numbers(np.array(list(map(float, present))))

    def _add_numbers(self, numbers: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        # numpy's sum is pairwise and Python 3.12's is compensated; a running sum is neither.
        self.sum = float(np.cumsum(np.append(self.sum, numbers))[-1])
        self.min, self.max = min(self.min, float(numbers.min())), max(self.max, float(numbers.max()))
        count, mean, squares = self._count, self._mean, self._squares
        for number in numbers.tolist():
            count += 1
            delta = number - mean
            step = delta / count
            mean += step
            squares += delta * (delta - step)
        self._count, self._mean, self._squares = count, mean, squares
        self._sketch.update(numbers)

    def distinct(self) -> int:
        """Approximate number of distinct values."""
        return self._distinct.estimate()

    def counts(self) -> dict[str, int] | None:
        """Values and their counts in the order of their first appearance; None if there are too many."""
        return None if self._values is None or self.distinct() > CATEGORIES else dict(self._values)

    def categories(self) -> dict[str, int] | None:
        """The counts of a column of texts; None for other columns, or too many values."""
        return self.counts() if self.inferred_type == STRING else None

    def share_of(self, expected: str) -> float:
        """Share of the values of the expected type: a whole number is a valid Fractional, anything a valid String."""
        if expected == STRING or not self.present:
            return 1.0
        return (self.integral + (self.fractional if expected == FRACTIONAL else 0)) / self.present

    def sketch(self) -> list[list[float]]:
        """The quantile sketch's items by level."""
        return self._sketch.data()

    def statistics(self) -> dict[str, Any]:
        """The entry of statistics.json. Unknown columns are reported like texts without values (our choice)."""
        entry: dict[str, Any] = {"name": self.name, "inferred_type": self.inferred_type}
        common = {"num_present": self.present, "num_missing": self.missing}
        if not self.numeric:
            texts: dict[str, Any] = {
                "common": common,
                "distinct_count": float(self.distinct()),
                "completeness": self.completeness,
            }
            categories = self.categories()
            if categories is not None:
                buckets = [{"value": value, "count": count} for value, count in categories.items()]
                texts["distribution"] = {"categorical": {"buckets": buckets}}
            return entry | {"string_statistics": texts}
        data = self.sketch()
        sketch = {"parameters": {"c": kll.SHRINK, "k": float(kll.SIZE)}, "data": data}
        return entry | {
            "numerical_statistics": {
                "common": common,
                "mean": self.sum / self.present,
                "sum": self.sum,
                "std_dev": self.std_dev,
                "min": self.min,
                "max": self.max,
                "approximate_num_distinct_values": self.distinct(),
                "completeness": self.completeness,
                "distribution": {
                    "kll": {"buckets": kll.Distribution.of(data).buckets(self.min, self.max), "sketch": sketch}
                },
            }
        }


def count_numbers(present: Sequence[str]) -> tuple[int, int]:
    """How many texts are whole numbers, and how many are numbers with a fraction or an exponent."""
    joined = "\n".join(present)
    if joined.count("\n") == len(present) - 1:
        # One search over all cells is several times faster than one match per cell.
        return len(_INTEGRAL.findall(joined)), len(_FRACTIONAL.findall(joined))
    single = [text for text in present if "\n" not in text]
    return count_numbers(single) if single else (0, 0)
