"""Distance between two distributions as AWS's analyzer measures it (Deequ's Distance).

L-infinity is the largest difference between the two cumulative shares (numbers, from the sketches) or shares
(categories). `Simple` is that; `Robust` takes off what samples of these sizes differ by from chance alone:
1.8 * sqrt((n + m) / (n * m)), and is never below zero.

`ChiSquared` tests the categories' counts against the baseline's shares, after small categories are joined as Deequ
joins them; its value is a p-value. How AWS's analyzer holds that against its threshold is not known: here a p-value
below the threshold is a violation, which is what a test at that level means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from sagewind.jobs.monitor.kll import Distribution

SIMPLE, ROBUST = "Simple", "Robust"
METHODS = (SIMPLE, ROBUST)
L_INFINITY, CHI_SQUARED = "LInfinity", "ChiSquared"
CATEGORICAL_METHODS = (L_INFINITY, CHI_SQUARED)
C_ALPHA = 1.8
#: With two categories each needs that many expected values (Cochran 1952), with more at most a fifth may have fewer
#: than five (Yates, Moore & McCabe 1999).
COCHRAN, YATES, YATES_SHARE = 10, 5, 0.2


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


def regrouped(sample: Mapping[str, float], expected: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Sample and expected counts with the smallest expected category joined to the next until the test is allowed."""
    known, wanted = sum(sample.get(value, 0) for value in expected), sum(expected.values())
    left = dict(sample)
    scaled = {value: count / wanted * known for value, count in expected.items()}
    while len(scaled) >= 2:
        least, allowed = (COCHRAN, 0) if len(scaled) == 2 else (YATES, int(YATES_SHARE * len(scaled)))
        if sum(count < least for count in scaled.values()) <= allowed:
            break
        smallest = min(scaled, key=scaled.__getitem__)
        count, seen = scaled.pop(smallest), left.pop(smallest, 0)
        target = min(scaled, key=scaled.__getitem__)
        scaled[target] += count
        left[target] = left.get(target, 0) + seen
    return left, scaled


def chi_squared(sample: Mapping[str, float], expected: Mapping[str, float]) -> tuple[float, float]:
    """Statistic and p-value of the sample's counts against the expected ones; NaN with fewer than two categories."""
    left, scaled = regrouped(sample, expected)
    if len(scaled) < 2:
        return math.nan, math.nan
    from scipy.special import chdtrc

    observed = np.array([left.get(value, 0) for value in scaled], dtype=np.float64)
    wanted = np.array(list(scaled.values()), dtype=np.float64)
    # Spark scales the expected counts to the sample's sum once more (ChiSqTest).
    wanted *= observed.sum() / wanted.sum()
    statistic = float(np.sum((observed - wanted) ** 2 / wanted))
    return statistic, float(chdtrc(len(scaled) - 1, statistic))
