"""Seeded split of the rows into train, validation and test, with the classes in equal shares."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from sagewind.jobs.job import UserError


def split(strata: Sequence[int], names: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, list[int]]:
    """Row numbers of each part, in a random order that depends on `seed` alone.

    `strata` holds each row's stratum (class code; all 0 for regression) and `names` the strata's names for errors.
    Every stratum is divided by largest remainder, with at least one row in each part; UserError if it has fewer rows
    than there are parts. Python's `random.Random` gives the same order on every version and machine.
    """
    order = list(range(len(strata)))
    random.Random(seed).shuffle(order)  # noqa: S311 - a split, not a secret
    members: dict[int, list[int]] = {}
    for row in order:
        members.setdefault(strata[row], []).append(row)
    part_of = [""] * len(strata)
    for stratum, rows in members.items():
        start = 0
        for part, size in _sizes(len(rows), shares, names[stratum]).items():
            for row in rows[start : start + size]:
                part_of[row] = part
            start += size
    return {part: [row for row in order if part_of[row] == part] for part in shares}


def _sizes(count: int, shares: Mapping[str, float], name: str) -> dict[str, int]:
    if count < len(shares):
        raise UserError(
            f"{name} has {count} rows, too few for the {len(shares)} parts of data.split: "
            "give more rows, or drop the class"
        )
    sizes = {part: max(1, math.floor(count * share)) for part, share in shares.items()}
    by_remainder = sorted(shares, key=lambda part: sizes[part] - count * shares[part])
    position = 0
    while (left := count - sum(sizes.values())) != 0:
        part = by_remainder[position % len(by_remainder)] if left > 0 else max(sizes, key=lambda key: sizes[key])
        sizes[part] += 1 if left > 0 else -1
        position += 1
    return sizes
