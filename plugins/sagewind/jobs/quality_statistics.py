"""The metric blocks of SageMaker Model Monitor's ModelQuality statistics: every metric as `{"value",
"standard_deviation"}`. `evaluate` writes the same layout, so that evaluation.json serves as ModelStatistics.

The standard deviation is taken over five random draws of 80 % of the rows and is the text "NaN" below 200 rows
(documented; the draws themselves cannot be reproduced, ours follow `seed`). The "best constant classifier" always
predicts the rarest class (seen in three of AWS's outputs). Rows of a confusion matrix are actual, columns predicted.
A metric that is not defined, such as the area under a curve of one class, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sagewind.jobs import metrics
from sagewind.jobs.metrics import Codes, Floats, Ranking, confusion, f_score, threshold_metrics, weighted

DRAWS = 5
DRAWN_SHARE = 0.8
FEWEST_ROWS = 200
BETAS = {"f0_5": 0.5, "f1": 1.0, "f2": 2.0}
CONSTANT = "_best_constant_classifier"
RATES = ("true_positive_rate", "true_negative_rate", "false_positive_rate", "false_negative_rate")


def binary_block(
    actual: Codes, predicted: Codes, scores: Floats | None, seed: int, names: Sequence[str] = ("0", "1")
) -> dict[str, Any]:
    """The content of `binary_classification_metrics`; 1 is the positive class, `names` are those of 0 and 1.

    Without scores there are no curves and no areas under them.
    """
    rarest = int(actual.sum() * 2 < len(actual))

    def values(rows: Codes) -> dict[str, float]:
        return _binary_values(actual[rows], predicted[rows], None if scores is None else scores[rows], rarest)

    return {
        "confusion_matrix": _matrix(actual, predicted, names),
        **_with_deviation(values, len(actual), seed),
        **_curves(actual, scores),
    }


def _curves(actual: Codes, scores: Floats | None) -> dict[str, Any]:
    if scores is None or not 0 < actual.sum() < len(actual):
        return {}
    ranking = Ranking.of(actual, scores)
    false_rates, true_rates = metrics.thinned(*ranking.roc())
    recalls, precisions = metrics.thinned(*ranking.precision_recall())
    return {
        "receiver_operating_characteristic_curve": {
            "false_positive_rates": false_rates,
            "true_positive_rates": true_rates,
        },
        "precision_recall_curve": {"precisions": precisions, "recalls": recalls},
    }


def _binary_values(actual: Codes, predicted: Codes, scores: Floats | None, rarest: int) -> dict[str, float]:
    positives = float(actual.sum())
    negatives = len(actual) - positives
    chosen = predicted == 1
    at_threshold = threshold_metrics(
        float(np.sum(chosen & (actual == 1))), float(np.sum(chosen & (actual == 0))), positives, negatives
    )
    constant = threshold_metrics(rarest * positives, rarest * negatives, positives, negatives)
    result = {name: at_threshold[name] for name in ("recall", "precision", "accuracy", *RATES)}
    result |= {f"{name}{CONSTANT}": constant[name] for name in ("recall", "precision", "accuracy")}
    if scores is not None and positives and negatives:
        ranking = Ranking.of(actual, scores)
        result |= {"auc": ranking.auc(), "au_prc": ranking.average_precision()}
    for name, beta in BETAS.items():
        result[name] = f_score(at_threshold["precision"], at_threshold["recall"], beta)
        result[name + CONSTANT] = f_score(constant["precision"], constant["recall"], beta)
    return result


def multiclass_block(
    actual: Codes, predicted: Codes, classes: int, seed: int, names: Sequence[str] | None = None
) -> dict[str, Any]:
    """The content of `multiclass_classification_metrics`; classes go by `names`, or by their codes."""
    counts = np.bincount(actual, minlength=classes)
    rarest = int(np.argmin(np.where(counts > 0, counts, np.iinfo(np.int64).max)))

    def values(rows: Codes) -> dict[str, float]:
        constant = np.full(len(rows), rarest, dtype=np.int64)
        return {
            **_multiclass_values(confusion(actual[rows], predicted[rows], classes), ""),
            **_multiclass_values(confusion(actual[rows], constant, classes), CONSTANT),
        }

    return {
        "confusion_matrix": _matrix(actual, predicted, names or [str(code) for code in range(classes)]),
        **_with_deviation(values, len(actual), seed),
    }


def _multiclass_values(matrix: Codes, suffix: str) -> dict[str, float]:
    plain = metrics.from_confusion(matrix)
    result = {f"{name}{suffix}": plain[name] for name in ("accuracy", "weighted_recall", "weighted_precision")}
    for name, beta in BETAS.items():
        result[f"weighted_{name}{suffix}"] = weighted(matrix, _f_of(beta))
    return result


def _f_of(beta: float) -> Callable[[Mapping[str, float]], float]:
    return lambda entry: f_score(entry["precision"], entry["recall"], beta)


def regression_block(actual: Floats, predicted: Floats, seed: int) -> dict[str, Any]:
    """The content of `regression_metrics`."""
    return _with_deviation(lambda rows: metrics.regression(actual[rows], predicted[rows]), len(actual), seed)


def _matrix(actual: Codes, predicted: Codes, names: Sequence[str]) -> dict[str, dict[str, int]]:
    counts = confusion(actual, predicted, len(names)).tolist()
    return {names[row]: dict(zip(names, line, strict=True)) for row, line in enumerate(counts)}


def _with_deviation(values: Callable[[Codes], dict[str, float]], rows: int, seed: int) -> dict[str, dict[str, Any]]:
    whole = values(np.arange(rows))
    if rows < FEWEST_ROWS:
        return {name: {"value": value, "standard_deviation": "NaN"} for name, value in whole.items()}
    random = np.random.default_rng(seed)
    size = round(DRAWN_SHARE * rows)
    draws = [values(random.choice(rows, size, replace=False)) for _ in range(DRAWS)]
    # A draw may lack a class of very few rows and then has no AUC: it is left out of the deviation.
    deviations = {name: float(np.std([draw[name] for draw in draws if name in draw])) for name in whole}
    return {name: {"value": value, "standard_deviation": deviations[name]} for name, value in whole.items()}
