"""Accumulates one column: bounded state (below 100 kB beside capped counts of values), whatever the number of rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sagewind.jobs.monitor import hyperloglog, kll
from sagewind.jobs.monitor.kernels import Kernels
from sagewind.jobs.monitor.tally import REMEMBERED, ValueTally
from sagewind.jobs.monitor.texts import Floats, Numbers, Texts
from sagewind.jobs.monitor.vectorised import wrapped

SUM, COUNT, MEAN, SQUARES, LEAST, MOST = range(6)


class ColumnState:
    """State of one column; values of `domain` are counted however many others there are."""

    def __init__(self, name: str, domain: Iterable[str] | None = None) -> None:
        self.name = name
        self.missing = 0
        self.integral = 0
        self.fractional = 0
        self.boolean = 0
        self.text = 0
        #: Numbers that are infinite or not a number: no value that could be averaged. They count as missing.
        self.not_finite = 0
        self.integer_sum = 0
        self.too_large = False
        self.registers = hyperloglog.empty()
        self.tally = ValueTally(domain or ())
        self.has_domain = domain is not None
        self.moments: Floats = np.array([0.0, 0.0, 0.0, 0.0, np.inf, -np.inf])
        self.sketch = kll.Sketch()

    @property
    def numeric(self) -> bool:
        """True while no value was seen that is not a number."""
        return not self.text and not self.boolean

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.integral + self.fractional + self.boolean + self.text

    def add_missing(self, rows: int) -> None:
        """Add rows that do not have this column."""
        self.missing += rows

    def add_texts(self, texts: Texts, kernels: Kernels) -> None:
        """Add rows in their order."""
        found = kernels.scan(texts, self.registers, self.tally, self.numeric)
        self.missing += found.missing
        self.integral += found.integral
        self.fractional += found.fractional
        self.boolean += found.boolean
        self.text += found.text
        self.integer_sum = wrapped(self.integer_sum + found.integer_sum)
        self.too_large |= found.too_large
        if self.numeric and len(found.values):
            finite = np.isfinite(found.values)
            if not finite.all():
                infinite = int(len(finite) - finite.sum())
                self.fractional -= infinite
                self.too_large = True
                self._lose(infinite)
            self._add_values(found.values if finite.all() else found.values[finite], kernels)

    def add_numbers(self, numbers: Numbers, kernels: Kernels) -> None:
        """Add the values of a typed column in their order."""
        self.missing += numbers.missing
        self.tally.close()
        if numbers.integer_sum is None:
            self.too_large = True
        else:
            self.integer_sum = wrapped(self.integer_sum + numbers.integer_sum)
        finite = np.isfinite(numbers.values)
        values, words = numbers.values, numbers.words
        if not finite.all():
            self._lose(int(len(finite) - finite.sum()))
            values, words = values[finite], words[finite]
        if numbers.integral:
            self.integral += len(values)
        else:
            self.fractional += len(values)
        if len(values):
            kernels.hash_words(words, numbers.short, self.registers)
            if self.numeric:
                self._add_values(values, kernels)

    def _lose(self, rows: int) -> None:
        self.not_finite += rows
        self.missing += rows

    def _add_values(self, values: Floats, kernels: Kernels) -> None:
        if not len(values):
            return
        kernels.add_moments(values, self.moments)
        kernels.add_to_sketch(values, self.sketch)

    def finish(self) -> None:
        """Make the state portable: counts out of the kernels' tables."""
        if self.tally.table is not None:
            self.tally.table.read(self.tally)
            self.tally.table = None

    def merge(self, later: ColumnState) -> None:
        """Take in the state of later rows: registers by maximum, moments as Spark merges them, sketches as Deequ does.

        Both must be finished.
        """
        np.maximum(self.registers, later.registers, out=self.registers)
        for name in ("missing", "integral", "fractional", "boolean", "text", "not_finite"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.integer_sum = wrapped(self.integer_sum + later.integer_sum)
        self.too_large |= later.too_large
        if not later.tally.open:
            self.tally.close()
        self.tally.add(later.tally.counts)
        self.tally.add(later.tally.domain)
        self._merge_moments(later.moments)
        if self.numeric and later.moments[COUNT]:
            self.sketch.merge(later.sketch)

    def _merge_moments(self, other: Floats) -> None:
        mine = self.moments
        count = mine[COUNT] + other[COUNT]
        if not count:
            return
        delta = other[MEAN] - mine[MEAN]
        step = delta / count
        mine[SQUARES] += other[SQUARES] + delta * step * mine[COUNT] * other[COUNT]
        mine[MEAN] += step * other[COUNT]
        mine[SUM] += other[SUM]
        mine[COUNT] = count
        mine[LEAST], mine[MOST] = min(mine[LEAST], other[LEAST]), max(mine[MOST], other[MOST])

    def distinct(self) -> int:
        """Approximate number of distinct values."""
        return hyperloglog.estimate(self.registers)

    def counts(self) -> dict[bytes, int] | None:
        """All values and their counts, or None if there were too many to remember. The column must be finished."""
        if not self.tally.open:
            return None
        seen = {value: count for value, count in self.tally.domain.items() if count}
        return {**seen, **self.tally.counts} if len(self.tally.counts) <= REMEMBERED else None
