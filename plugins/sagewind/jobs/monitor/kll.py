"""Quantile sketch as AWS's analyzer keeps it: Deequ's KLL variant without randomness (QuantileNonSample).

A value enters level 0; an item of level h stands for 2**h values. When the sketch holds more items than its levels'
capacities add up to, the first full level is sorted and every second item moves up. The offset (first or second of each
pair) flips on every second compaction of a level. With one partition the result depends on the order of the data alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SIZE = 2048
SHRINK = 0.64
BUCKETS = 10
#: Two to this power values fill the last level; more than any data holds.
LEVELS = 48
#: Deequ starts its search for the extremes here (Int.MaxValue, Int.MinValue), and so do the bounds of its buckets.
FIRST_LEAST, FIRST_MOST = 2147483647.0, -2147483648.0


def capacity(level: int) -> int:
    """Items that a level holds before it counts as full."""
    return 2 * (math.ceil(SIZE * SHRINK**level / 2) + 1)


SIZES: Counts = np.array([capacity(level) for level in range(LEVELS)], dtype=np.int64)
#: A sketch never holds more: the capacity of all levels, and one.
ROOM = int(SIZES.sum()) + 2


class Sketch:
    """A quantile sketch in one array of fixed size: the highest level first, level 0 last, where values arrive."""

    def __init__(self) -> None:
        self.arena: Floats = np.empty(ROOM)
        self.lengths: Counts = np.zeros(LEVELS, dtype=np.int64)
        self.compactions: Counts = np.zeros(LEVELS, dtype=np.int64)
        self.offsets: Counts = np.zeros(LEVELS, dtype=np.int64)
        self.meta: Counts = np.array([1, 0, SIZES[0]], dtype=np.int64)

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return int(self.meta[0])

    def update(self, values: Floats) -> None:
        """Add values in their order; the same as adding them one by one."""
        taken = 0
        while taken < len(values):
            held, room = int(self.meta[1]), int(self.meta[2])
            piece = values[taken : taken + max(1, room - held + 1)]
            self.arena[held : held + len(piece)] = piece
            self.lengths[0] += len(piece)
            self.meta[1] += len(piece)
            taken += len(piece)
            if self.meta[1] > room:
                self._condense()

    def _condense(self) -> None:
        full = np.flatnonzero(self.lengths[: self.levels] >= SIZES[: self.levels])
        if not len(full):
            return
        level = int(full[0])
        if level + 1 == self.levels:
            self.meta[0] += 1
            self.meta[2] += SIZES[level + 1]
        self._compact(level)

    def _compact(self, level: int) -> None:
        start = int(self.lengths[level + 1 :].sum())
        if self.compactions[level] % 2 == 1:
            self.offsets[level] = 1 - self.offsets[level]
        self.compactions[level] += 1
        length, end = int(self.lengths[level]), int(self.meta[1])
        even, half = length - length % 2, length // 2
        moved = _sorted(self.arena[start : start + even])[int(self.offsets[level]) :: 2]
        rest = self.arena[start + even : end].copy()
        self.arena[start : start + half] = moved
        self.arena[start + half : start + half + len(rest)] = rest
        self.lengths[level + 1] += half
        self.lengths[level] -= even
        self.meta[1] -= half

    def merge(self, other: Sketch) -> None:
        """Take in another sketch as Deequ merges them: level by level, then compacted until it fits.

        Compactions of this sketch go on counting, the other's are forgotten, as there.
        """
        levels = max(self.levels, other.levels)
        mine, theirs = self.split(levels), other.split(levels)
        joined = [np.concatenate(pair) for pair in zip(mine, theirs, strict=True)]
        self.meta[:] = levels, sum(map(len, joined)), int(SIZES[:levels].sum())
        arena = self.arena
        self.arena = np.empty(2 * ROOM)  # two full sketches fit, before they are compacted
        self.lengths[:levels] = [len(items) for items in joined]
        self.arena[: self.meta[1]] = np.concatenate(joined[::-1])
        while self.meta[1] >= self.meta[2]:
            before = int(self.meta[1])
            self._condense()
            if self.meta[1] == before:
                break
        arena[: self.meta[1]] = self.arena[: self.meta[1]]
        self.arena = arena

    def split(self, levels: int | None = None) -> list[Floats]:
        """The items of each level, from level 0."""
        found, end = [], int(self.meta[1])
        for level in range(self.levels if levels is None else levels):
            start = end - int(self.lengths[level])
            found.append(self.arena[start:end].copy())
            end = start
        return found

    def data(self) -> list[list[float]]:
        """Items by level, as statistics.json holds them."""
        return [items.tolist() for items in self.split()]


def _sorted(items: Floats) -> Floats:
    """Sorted as Java sorts doubles: -0.0 before 0.0.

    Numpy takes them for equal, and its vectorised sort may even make one of the other.
    """
    ordered = np.sort(items)
    low, high = np.searchsorted(ordered, 0.0, side="left"), np.searchsorted(ordered, 0.0, side="right")
    if high - low > 1:
        negative = int(np.signbit(items[items == 0.0]).sum())
        ordered[low : low + negative] = -0.0
        ordered[low + negative : high] = 0.0
    return ordered


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

    def buckets(self, least: float, most: float) -> list[dict[str, float]]:
        """Ten intervals of equal width with their counts, as Deequ computes them.

        Its least and greatest value start at the ends of a 32-bit integer, so data beyond them (milliseconds since
        1970) are counted from there; and its last bound is computed like the others, not set to the greatest value.
        """
        low, high = min(FIRST_LEAST, least), max(FIRST_MOST, most)
        bounds = np.array([low + (high - low) * index / float(BUCKETS) for index in range(BUCKETS + 1)])
        below = self.below(bounds)
        upper = np.append(below[1:-1], self.at_most(bounds[-1:]))
        return [
            {
                "lower_bound": float(bounds[index]),
                "upper_bound": float(bounds[index + 1]),
                "count": float(upper[index] - below[index]),
            }
            for index in range(BUCKETS)
        ]
