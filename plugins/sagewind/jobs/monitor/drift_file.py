"""drift.json: further distances of our own, so that AWS's files stay AWS's.

Population stability index and Jensen-Shannon distance compare shares: of ten intervals between the baseline's deciles
for numbers, of the values for categories. Wasserstein's distance is the area between the two cumulative shares, also
divided by the baseline's deviation, so that columns can be compared. All are taken from the files' own sketches and
counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sagewind.jobs.monitor import drift
from sagewind.jobs.monitor.checks import Distance, category_counts
from sagewind.jobs.monitor.kll import Distribution, Floats

VERSION = 1.0
BINS = 10
#: The share that an empty interval is given; the index is infinite without it.
LEAST_SHARE = 1e-4
Document = Mapping[str, Any]


def document(
    baseline: Mapping[str, Document], statistics: Document, distances: Mapping[str, Distance]
) -> dict[str, Any]:
    """The whole file; `baseline` holds the baseline's statistics by feature."""
    entries = [_entry(feature, baseline.get(str(feature["name"])), distances) for feature in statistics["features"]]
    return {"version": VERSION, "features": [entry for entry in entries if entry is not None]}


def _entry(feature: Document, before: Document | None, distances: Mapping[str, Distance]) -> dict[str, Any] | None:
    if before is None:
        return None
    name = str(feature["name"])
    found = _numbers(before, feature) or _categories(before, feature)
    if found is None:
        return None
    distance = distances.get(name)
    compared = None
    if distance is not None:
        compared = {
            "method": distance.method,
            "distance": distance.value,
            "threshold": distance.threshold,
            "exceeded": distance.exceeded,
        }
    return {"name": name, "comparison": compared, **found}


def _numbers(before: Document, now: Document) -> dict[str, Any] | None:
    before, now = before.get("numerical_statistics") or {}, now.get("numerical_statistics") or {}
    if not before or not now:
        return None
    one, other = (Distribution.of(entry["distribution"]["kll"]["sketch"]["data"]) for entry in (before, now))
    if not one.total or not other.total:
        return None
    shares = decile_shares(one, other)
    distance = wasserstein(one, other)
    deviation = float(before["std_dev"])
    return {
        "kind": "numerical",
        "linf_simple": drift.numeric(one, other, drift.SIMPLE),
        "linf_robust": drift.numeric(one, other, drift.ROBUST),
        "psi": psi(*shares),
        "jensen_shannon": jensen_shannon(*shares),
        "wasserstein": distance,
        "wasserstein_normalised": distance / deviation if deviation else None,
    }


def _categories(before: Document, now: Document) -> dict[str, Any] | None:
    one, other = category_counts(before), category_counts(now)
    if not one or not other:
        return None
    values = sorted({*one, *other})
    shares = [np.array([counts.get(value, 0.0) for value in values]) for counts in (one, other)]
    statistic, p_value = drift.chi_squared(other, one)
    return {
        "kind": "categorical",
        "linf_simple": drift.categorical(one, other, drift.SIMPLE),
        "linf_robust": drift.categorical(one, other, drift.ROBUST),
        "chi_squared": None if math.isnan(statistic) else {"statistic": statistic, "p_value": p_value},
        "psi": psi(shares[0] / shares[0].sum(), shares[1] / shares[1].sum()),
        "jensen_shannon": jensen_shannon(shares[0] / shares[0].sum(), shares[1] / shares[1].sum()),
    }


def decile_shares(one: Distribution, other: Distribution) -> tuple[Floats, Floats]:
    """Shares of both between the deciles of the first."""
    wanted = one.total * np.arange(1, BINS) / BINS
    edges = np.unique(one.items[np.searchsorted(one.ranks, wanted, side="left")])
    shares = []
    for each in (one, other):
        ranks = np.concatenate([[0.0], each.at_most(edges), [each.total]])
        shares.append(np.diff(ranks) / each.total)
    return shares[0], shares[1]


def psi(expected: Floats, actual: Floats) -> float:
    """Population stability index: sum of (q - p) * ln(q / p); 0.1 is called a small change, 0.25 a large one."""
    p, q = np.maximum(expected, LEAST_SHARE), np.maximum(actual, LEAST_SHARE)
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(one: Floats, other: Floats) -> float:
    """Jensen-Shannon distance to the base 2: 0 for equal shares, 1 for none in common."""
    middle = (one + other) / 2
    return math.sqrt(max(0.0, (_divergence(one, middle) + _divergence(other, middle)) / 2))


def _divergence(one: Floats, other: Floats) -> float:
    some = one > 0
    return float(np.sum(one[some] * np.log2(one[some] / other[some])))


def wasserstein(one: Distribution, other: Distribution) -> float:
    """The mean distance that values must be moved by to make one distribution of the other, in the column's unit."""
    points = np.union1d(one.items, other.items)
    gaps = np.abs(one.at_most(points[:-1]) / one.total - other.at_most(points[:-1]) / other.total)
    return float(np.sum(gaps * np.diff(points)))
