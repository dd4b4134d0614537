"""The rows to explain: the model's inputs as numbers, a random sample of them where there are too many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sagewind.jobs.analysis import records
from sagewind.jobs.analysis.payload import UnusableRecord, number
from sagewind.jobs.analysis.records import RecordSource, RecordTally
from sagewind.jobs.job import UserError
from sagewind.jobs.metrics import Floats


@dataclass
class Sampler:
    """A uniform sample of at most `most` rows, taken in one pass (reservoir sampling)."""

    most: int
    random: np.random.Generator
    names: list[str] = field(default_factory=list)
    rows: list[Floats] = field(default_factory=list)
    seen: int = 0

    def add(self, row: Floats) -> None:
        """Offer a row."""
        self.seen += 1
        if len(self.rows) < self.most:
            self.rows.append(row)
            return
        place = int(self.random.integers(self.seen))
        if place < self.most:
            self.rows[place] = row

    def take(self, count: int) -> Floats:
        """At most `count` of the sampled rows, chosen at random, in the order in which they were kept."""
        if len(self.rows) <= count:
            return np.stack(self.rows)
        return np.stack([self.rows[index] for index in np.sort(self.random.permutation(len(self.rows))[:count])])


def sample(where: RecordSource, left_out: Sequence[str | int], most: int, seed: int, tally: RecordTally) -> Sampler:
    """A sample of the source's rows; a row with a cell that is no number is rejected, an empty cell is NaN."""
    sampler = Sampler(most, np.random.default_rng(seed))
    for row in records.read(where, tally):
        if not sampler.names:
            sampler.names = _names(list(row.inputs), left_out)
        try:
            sampler.add(_numbers(row.inputs, sampler.names))
        except UnusableRecord as error:
            tally.reject(row.where, str(error))
            continue
        tally.used += 1
    tally.require_rows("model inputs")
    return sampler


def column_names(columns: Sequence[str], chosen: Sequence[str | int]) -> set[str]:
    """The names of columns given by name or by index."""
    return {columns[each] if isinstance(each, int) and each < len(columns) else str(each) for each in chosen}


def _names(columns: list[str], left_out: Sequence[str | int]) -> list[str]:
    dropped = column_names(columns, left_out)
    names = [name for name in columns if name not in dropped]
    if not names:
        raise UserError(
            "no column is left to explain: correct label and excluded_columns of the analysis configuration"
        )
    return names


def _numbers(row: Mapping[str, Any], names: Sequence[str]) -> Floats:
    missing = [name for name in names if name not in row]
    if missing:
        raise UnusableRecord(f"the feature {missing[0]!r} is missing")
    return np.array([_cell(row[name], name) for name in names], dtype=np.float64)


def _cell(value: Any, name: str) -> float:
    if value is None or value == "":
        return float("nan")
    return float(value) if isinstance(value, bool) else number(value, f"feature {name!r}")
