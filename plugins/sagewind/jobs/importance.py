"""Which features a model leans on: its own measure, or by shuffling one feature at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sagewind.jobs.metrics import Floats
from sagewind.jobs.scoring import Scorer

SAMPLE_ROWS = 2000
REPEATS = 3


def importances(
    scorer: Scorer,
    names: Sequence[str],
    rows: Floats,
    quality: Callable[[Floats, Floats], float],
    actual: Floats,
    seed: int,
) -> dict[str, Any]:
    """`{"measure", "features": [{"feature", "importance", "share"}]}`, most important first.

    `quality(actual, scores)` is larger for a better model; permutation importance is how much of it is lost.
    """
    measure, values = scorer.native, scorer.importance
    if measure is None or values is None:
        measure, values = "permutation", permutation(scorer.score, rows, quality, actual, seed)
    total = sum(max(value, 0.0) for value in values)
    features = [
        {"feature": name, "importance": value, "share": max(value, 0.0) / total if total else 0.0}
        for name, value in zip(names, values, strict=True)
    ]
    return {"measure": measure, "features": sorted(features, key=lambda entry: -float(str(entry["importance"])))}


def permutation(
    score: Callable[[Floats], Floats],
    rows: Floats,
    quality: Callable[[Floats, Floats], float],
    actual: Floats,
    seed: int,
) -> list[float]:
    """Mean loss of quality over a few shuffles of each feature, on at most `SAMPLE_ROWS` rows."""
    random = np.random.default_rng(seed)
    if len(rows) > SAMPLE_ROWS:
        sample = random.choice(len(rows), SAMPLE_ROWS, replace=False)
        rows, actual = rows[sample], actual[sample]
    best = quality(actual, score(rows))
    losses = []
    for column in range(rows.shape[1]):
        # All shuffles of a feature in one call: a call costs a model more than the rows in it.
        shuffled = np.tile(rows, (REPEATS, 1))
        shuffled[:, column] = np.concatenate([random.permutation(rows[:, column]) for _ in range(REPEATS)])
        qualities = [quality(actual, part) for part in np.split(score(shuffled), REPEATS)]
        losses.append(float(best - np.mean(qualities)))
    return losses
