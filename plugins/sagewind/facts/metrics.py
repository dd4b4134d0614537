"""Problems, what the evaluation measures of each, and how Model Monitor names them.

Gates and champions may name these metrics; the job `evaluate` writes them under `metrics` in evaluation.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

Problem = Literal["binary", "multiclass", "regression"]
PROBLEMS: tuple[Problem, ...] = get_args(Problem)

#: Problem -> problem type of Model Monitor.
MONITOR_TYPES: Mapping[str, str] = {
    "binary": "BinaryClassification",
    "multiclass": "MulticlassClassification",
    "regression": "Regression",
}

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
BY_PROBLEM: Mapping[str, Mapping[str, bool]] = {"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION}

#: Metrics that lie between 0 and 1.
SHARES = frozenset({*BINARY, *MULTICLASS} - {"logloss"})


def larger_is_better(problem: str, metric: str) -> bool:
    """Direction of `metric` for `problem`; KeyError if the evaluation does not measure it."""
    return BY_PROBLEM[problem][metric]
