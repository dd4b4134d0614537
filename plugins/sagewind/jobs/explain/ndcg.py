"""The drift of feature attributions: the nDCG of the current ranking, with the baseline's attributions as gains.

Developer guide, "Monitor feature attribution drift": with a(f) the attribution of feature f in the baseline, f'_i the
feature that is i-th now and f_i the one that was i-th, nDCG = DCG / iDCG, DCG = sum a(f'_i) / log2(i + 1) and
iDCG = sum a(f_i) / log2(i + 1). Below 0.9 it is a violation (documented). The guide names scikit-learn's ndcg_score as
its implementation, so features that are equal now share the mean of the places they hold together, and a baseline
without any attribution gives 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sagewind.jobs.metrics import Floats

THRESHOLD = 0.9


def ndcg(baseline: Mapping[str, float], current: Mapping[str, float]) -> float:
    """From 0 to 1, the same ranking. A feature that one side lacks has the attribution 0 there (ours).

    Negative attributions, which only the aggregation `median` can give, count by their size (ours).
    """
    names = sorted({*baseline, *current})
    gains = np.array([abs(baseline.get(name, 0.0)) for name in names], dtype=np.float64)
    scores = np.array([abs(current.get(name, 0.0)) for name in names], dtype=np.float64)
    ideal = _gain(gains, gains)
    return _gain(gains, scores) / ideal if ideal else 0.0


def _gain(gains: Floats, scores: Floats) -> float:
    """The discounted gain of the ranking by `scores`, averaged over the orders of equal scores."""
    discounts = 1.0 / np.log2(np.arange(2, len(gains) + 2))
    _, ties, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    mean_gains = np.bincount(ties, weights=gains) / sizes
    ends = np.cumsum(sizes)
    sums = np.append(0.0, np.cumsum(discounts))
    return float(np.sum(mean_gains * (sums[ends] - sums[ends - sizes])))
