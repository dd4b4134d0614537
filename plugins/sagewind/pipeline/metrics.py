"""Metrics that the evaluation measures, per problem: what gates and champions may name.

The same names are written by `sagewind.jobs.evaluate`; a test holds the two lists equal.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Metric name -> True if a larger value is better.
BINARY: Mapping[str, bool] = {
    "auc": True,
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "au_prc": True,
    "balanced_accuracy": True,
    "true_positive_rate": True,
    "true_negative_rate": True,
    "false_positive_rate": False,
    "false_negative_rate": False,
    "logloss": False,
}
MULTICLASS: Mapping[str, bool] = {
    "accuracy": True,
    "balanced_accuracy": True,
    "weighted_precision": True,
    "weighted_recall": True,
    "weighted_f1": True,
    "logloss": False,
}
REGRESSION: Mapping[str, bool] = {"rmse": False, "mae": False, "mse": False, "r2": True}

#: Metrics that lie between 0 and 1.
SHARES = frozenset({*BINARY, *MULTICLASS} - {"logloss"})

BY_PROBLEM: Mapping[str, Mapping[str, bool]] = {
    "binary": BINARY,
    "multiclass": MULTICLASS,
    "regression": REGRESSION,
}


def larger_is_better(problem: str, metric: str) -> bool:
    """Direction of `metric` for `problem`; KeyError if the evaluation does not measure it."""
    return BY_PROBLEM[problem][metric]
