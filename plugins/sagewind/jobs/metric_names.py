"""Names of the metrics that `evaluate` writes under `metrics` in evaluation.json, per problem."""

from __future__ import annotations

BINARY = (
    "auc",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "au_prc",
    "balanced_accuracy",
    "true_positive_rate",
    "true_negative_rate",
    "false_positive_rate",
    "false_negative_rate",
    "logloss",
)
MULTICLASS = (
    "accuracy",
    "balanced_accuracy",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "logloss",
)
REGRESSION = ("rmse", "mae", "mse", "r2")
BY_PROBLEM = {"binary": BINARY, "multiclass": MULTICLASS, "regression": REGRESSION}
