"""Distance between two distributions as AWS's analyzer measures it (Deequ's Distance).

L-infinity is the largest difference between the two cumulative shares (numbers, from the sketches) or shares
(categories). `Simple` is that; `Robust` takes off what samples of these sizes differ by from chance alone:
1.8 * sqrt((n + m) / (n * m)), and is never below zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from include.jobs.kll import Distribution

SIMPLE, ROBUST = "Simple", "Robust"
METHODS = (SIMPLE, ROBUST)
C_ALPHA = 1.8


def numeric(one: Distribution, other: Distribution, method: str) -> float:
    """Distance of two numeric columns; both must hold values."""
    points = np.union1d(one.items, other.items)
    shares = one.at_most(points) / one.total, other.at_most(points) / other.total
    return corrected(float(np.max(np.abs(shares[0] - shares[1]))), one.total, other.total, method)


def categorical(one: Mapping[str, float], other: Mapping[str, float], method: str) -> float:
    """Distance of two columns of categories, given their counts; both must hold values."""
    n, m = float(sum(one.values())), float(sum(other.values()))
    distance = max(abs(one.get(value, 0) / n - other.get(value, 0) / m) for value in {*one, *other})
    return corrected(distance, n, m, method)


def corrected(distance: float, n: float, m: float, method: str) -> float:
    """The distance under a comparison method, for samples of n and m values."""
    if method == SIMPLE:
        return distance
    return max(0.0, distance - C_ALPHA * math.sqrt((n + m) / (n * m)))
