"""Kernel SHAP in numpy: attributions of any model, from what it answers to mixtures of a row with background rows.

The value of a set of features is the mean answer where these come from the row and the others from each background
row; attributions are the weighted least-squares fit to these values whose sum is exact (Lundberg and Lee, 2017). Where
all sets fit into the number of samples the result is the exact Shapley value, whatever implementation computes it.
The shap library, where it is installed, does the same; it is the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from sagewind.jobs.metrics import Floats

Bools = NDArray[np.bool_]
Score = Callable[[Floats], Floats]
#: Rows sent to the model in one call; a call costs more than the rows in it.
BATCH = 100_000


def default_samples(features: int) -> int:
    """The shap library's default number of sets."""
    return 2 * features + 2048


def coalitions(features: int, samples: int, random: np.random.Generator) -> tuple[Bools, Floats]:
    """Sets of features (one a row) and their weights, without the empty and the full set.

    All of them if there are at most `samples`; else whole sizes from the outside in, which weigh most, and then pairs
    of a random set and its complement.
    """
    sizes = np.arange(1, features)
    masses = (features - 1) / (sizes * (features - sizes))  # the kernel's weight of all sets of a size together
    masks: list[Bools] = []
    weights: list[float] = []
    left = samples
    open_sizes = set(sizes.tolist())
    for size in range(1, features // 2 + 1):
        pair = {size, features - size}
        needed = sum(comb(features, each) for each in pair)
        if needed > left:
            break
        for each in pair:
            weight = masses[each - 1] / comb(features, each)
            masks += [_mask(features, chosen) for chosen in combinations(range(features), each)]
            weights += [weight] * comb(features, each)
        left -= needed
        open_sizes -= pair
    if open_sizes:
        drawn = _drawn(features, sorted(open_sizes), masses, left, random)
        total = sum(masses[size - 1] for size in open_sizes)
        masks += drawn
        weights += [total / len(drawn)] * len(drawn)
    return np.array(masks, dtype=bool).reshape(-1, features), np.array(weights, dtype=np.float64)


def _mask(features: int, chosen: tuple[int, ...]) -> Bools:
    mask = np.zeros(features, dtype=bool)
    mask[list(chosen)] = True
    return mask


def _drawn(features: int, sizes: list[int], masses: Floats, count: int, random: np.random.Generator) -> list[Bools]:
    shares = np.array([masses[size - 1] for size in sizes])
    found = []
    for size in random.choice(sizes, max(count // 2, 1), p=shares / shares.sum()).tolist():
        mask = _mask(features, tuple(random.choice(features, size, replace=False).tolist()))
        found += [mask, ~mask]
    return found


def explain(
    score: Score, rows: Floats, background: Floats, samples: int, link: Callable[[Floats], Floats], seed: int
) -> tuple[Floats, Floats]:
    """Attributions (rows x features x outputs) and the expected value of each output, in units of `link`."""
    features = rows.shape[1]
    expected = link(_answers(score, background).mean(axis=0))
    full = link(_answers(score, rows)) - expected
    if features == 1:
        return full[:, None, :], expected
    masks, weights = coalitions(features, samples, np.random.default_rng(seed))
    # The last feature gets what is left, so that the sum is exact: what remains is an ordinary weighted fit.
    design = masks[:, :-1].astype(np.float64) - masks[:, -1:]
    scale = np.sqrt(weights)[:, None]
    solver = np.linalg.pinv(design * scale) * scale.T
    found = np.empty((len(rows), features, len(expected)))
    for index, row in enumerate(rows):
        values = link(_values(score, row, background, masks)) - expected
        first = solver @ (values - masks[:, -1:] * full[index])
        found[index, :-1] = first
        found[index, -1] = full[index] - first.sum(axis=0)
    return found, expected


def _values(score: Score, row: Floats, background: Floats, masks: Bools) -> Floats:
    """The mean answer for each set of features."""
    parts = []
    step = max(BATCH // len(background), 1)
    for start in range(0, len(masks), step):
        chosen = masks[start : start + step]
        mixed = np.where(chosen[:, None, :], row, background).reshape(-1, len(row))
        parts.append(_answers(score, mixed).reshape(len(chosen), len(background), -1).mean(axis=1))
    return np.concatenate(parts)


def _answers(score: Score, rows: Floats) -> Floats:
    answers = np.asarray(score(rows), dtype=np.float64)
    return answers[:, None] if answers.ndim == 1 else answers


def identity(values: Floats) -> Floats:
    """No link: attributions in the unit of the model's answer."""
    return values


def logit(values: Floats) -> Floats:
    """Log-odds of probabilities."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(values / (1 - values)), dtype=np.float64)
