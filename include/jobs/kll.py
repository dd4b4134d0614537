"""Quantile sketch as AWS's analyzer keeps it: Deequ's KLL variant without randomness.

A value enters level 0; an item of level h stands for 2**h values. When the sketch holds more items than its levels'
capacities add up to, the first full level is sorted and every second item moves up. The offset (first or second of each
pair) flips on every second compaction of a level. With one partition the result depends on the order of the data alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIZE = 2048
SHRINK = 0.64
BUCKETS = 10


def capacity(level: int) -> int:
    """Items that a level holds before it counts as full."""
    return 2 * (math.ceil(SIZE * SHRINK**level / 2) + 1)


@dataclass
class _Level:
    items: Floats = field(default_factory=lambda: np.empty(0))
    compactions: int = 0
    offset: int = 0

    def compact(self) -> Floats:
        """Give up all items but an odd last one; returns those that move up."""
        if self.compactions % 2 == 1:
            self.offset = 1 - self.offset
        self.compactions += 1
        even = len(self.items) - len(self.items) % 2
        moved = np.sort(self.items[:even])[self.offset :: 2]
        self.items = self.items[even:]
        return moved


class Sketch:
    """A quantile sketch that values can be added to."""

    def __init__(self) -> None:
        self._levels = [_Level()]
        self._capacity = capacity(0)
        self._held = 0

    def update(self, values: Floats) -> None:
        """Add values in their order; the same as adding them one by one."""
        start = 0
        while start < len(values):
            room = max(1, self._capacity - self._held + 1)
            chunk = values[start : start + room]
            self._levels[0].items = np.concatenate([self._levels[0].items, chunk])
            self._held += len(chunk)
            start += len(chunk)
            if self._held > self._capacity:
                self._condense()

    def _condense(self) -> None:
        for number, level in enumerate(self._levels):
            if len(level.items) >= capacity(number):
                if number + 1 == len(self._levels):
                    self._levels.append(_Level())
                    self._capacity += capacity(number + 1)
                above = self._levels[number + 1]
                above.items = np.concatenate([above.items, level.compact()])
                self._held = sum(len(each.items) for each in self._levels)
                return

    def data(self) -> list[list[float]]:
        """Items by level, as statistics.json holds them."""
        return [level.items.tolist() for level in self._levels]


@dataclass(frozen=True)
class Distribution:
    """A sketch read for its distribution: sorted distinct items, and how many values are at most each of them."""

    items: Floats
    ranks: Floats

    @classmethod
    def of(cls, data: Sequence[Sequence[float]]) -> Distribution:
        """Read the levels of a sketch."""
        values = np.concatenate([np.asarray(level, dtype=np.float64) for level in data])
        weights = np.concatenate([np.full(len(level), 2.0**number) for number, level in enumerate(data)])
        order = np.argsort(values, kind="stable")
        values, ranks = values[order], np.cumsum(weights[order])
        last_of_tie = np.append(values[1:] != values[:-1], True) if len(values) else np.empty(0, dtype=bool)
        return cls(values[last_of_tie], ranks[last_of_tie])

    @property
    def total(self) -> float:
        """How many values the sketch stands for."""
        return float(self.ranks[-1]) if len(self.ranks) else 0.0

    def at_most(self, points: Floats) -> Floats:
        """How many values are <= each point."""
        return np.append(0.0, self.ranks)[np.searchsorted(self.items, points, side="right")]

    def below(self, points: Floats) -> Floats:
        """How many values are < each point."""
        return np.append(0.0, self.ranks)[np.searchsorted(self.items, points, side="left")]

    def buckets(self, low: float, high: float) -> list[dict[str, float]]:
        """Ten intervals of equal width from low to high with their counts; the last includes its upper bound."""
        bounds = [low + (high - low) * index / BUCKETS for index in range(BUCKETS)] + [high]
        below = self.below(np.array(bounds))
        below[-1] = self.total
        return [
            {
                "lower_bound": bounds[index],
                "upper_bound": bounds[index + 1],
                "count": float(below[index + 1] - below[index]),
            }
            for index in range(BUCKETS)
        ]
