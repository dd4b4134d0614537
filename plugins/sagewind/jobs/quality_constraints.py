"""Constraints of model quality: which metric may not fall below, or rise above, its value in the baseline.

Operators of binary and multi-class metrics are as seen in AWS's outputs, those of regression follow them (errors may
not rise, r2 may not fall; secondary sources). A violation is a value beyond the threshold, without allowance for the
standard deviation, and its text is as seen. `au_prc` and the constant classifiers carry no constraint, as seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sagewind.jobs.job import UserError

LESS, GREATER = "LessThanThreshold", "GreaterThanThreshold"
VERSION = 0.0
#: By problem type: the keys of the blocks in statistics.json and constraints.json.
METRICS = {
    "BinaryClassification": "binary_classification_metrics",
    "MulticlassClassification": "multiclass_classification_metrics",
    "Regression": "regression_metrics",
}
CONSTRAINTS = {problem: block.replace("_metrics", "_constraints") for problem, block in METRICS.items()}
OPERATORS: dict[str, dict[str, str]] = {
    "BinaryClassification": {
        "recall": LESS,
        "precision": LESS,
        "accuracy": LESS,
        "true_positive_rate": LESS,
        "true_negative_rate": LESS,
        "false_positive_rate": GREATER,
        "false_negative_rate": GREATER,
        "auc": LESS,
        "f0_5": LESS,
        "f1": LESS,
        "f2": LESS,
    },
    "MulticlassClassification": dict.fromkeys(
        ("accuracy", "weighted_recall", "weighted_precision", "weighted_f0_5", "weighted_f1", "weighted_f2"), LESS
    ),
    "Regression": {"mae": GREATER, "mse": GREATER, "rmse": GREATER, "r2": LESS},
}
#: Metrics in the unit of the target, or its square: an allowance is a share of them.
ERRORS = ("mae", "mse", "rmse")
#: Names that violations spell otherwise than statistics do (seen for these four).
SPELT = {
    "true_positive_rate": "truePositiveRate",
    "true_negative_rate": "trueNegativeRate",
    "false_positive_rate": "falsePositiveRate",
    "false_negative_rate": "falseNegativeRate",
}


#: What rows of one class alone say nothing about.
OF_POSITIVES = ("recall", "precision", "true_positive_rate", "false_negative_rate", "f0_5", "f1", "f2")
OF_NEGATIVES = ("true_negative_rate", "false_positive_rate")


@dataclass(frozen=True)
class MetricConstraint:
    """A metric (by its name in statistics.json), the value it may not go beyond, and in which direction."""

    metric: str
    threshold: float
    operator: str

    def violated_by(self, value: float) -> bool:
        """True if `value` lies beyond the threshold; the threshold itself is allowed."""
        return value < self.threshold if self.operator == LESS else value > self.threshold


@dataclass(frozen=True)
class ModelQualityViolation:
    """One entry of constraint_violations.json."""

    metric: str
    operator: str
    description: str

    def record(self) -> dict[str, str]:
        """The entry as JSON."""
        return {
            "constraint_check_type": self.operator,
            "description": self.description,
            "metric_name": SPELT.get(self.metric, self.metric),
        }


def suggest(problem: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """constraints.json of a baseline: each metric's value is its threshold; an undefined metric gets none."""
    return {
        "version": VERSION,
        CONSTRAINTS[problem]: {
            name: {"threshold": block[name]["value"], "comparison_operator": operator}
            for name, operator in OPERATORS[problem].items()
            if name in block
        },
    }


def read(document: Mapping[str, Any], problem: str) -> list[MetricConstraint]:
    """The constraints of a constraints.json; UserError if it is of another problem or an entry is malformed."""
    entries = document.get(CONSTRAINTS[problem])
    if not isinstance(entries, Mapping):
        found = ", ".join(sorted(document)) or "nothing"
        raise UserError(
            f"the baseline's constraints hold {found}, a {problem} needs {CONSTRAINTS[problem]!r}: "
            "give the constraints of a model-quality baseline of the same problem"
        )
    return [_constraint(str(name), entry) for name, entry in entries.items()]


def _constraint(name: str, entry: Any) -> MetricConstraint:
    threshold = entry.get("threshold") if isinstance(entry, Mapping) else None
    operator = entry.get("comparison_operator") if isinstance(entry, Mapping) else None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or operator not in (LESS, GREATER):
        raise UserError(
            f"the baseline's constraint of {name!r} is {entry!r}: "
            f"give a number as threshold and {LESS} or {GREATER} as comparison_operator"
        )
    return MetricConstraint(name, float(threshold), str(operator))


def loosened(constraints: Sequence[MetricConstraint], tolerance: float) -> list[MetricConstraint]:
    """The constraints with an allowance (ours): `tolerance` of the metric's unit, of an error that share."""
    return [replace(constraint, threshold=_loose(constraint, tolerance)) for constraint in constraints]


def _loose(constraint: MetricConstraint, tolerance: float) -> float:
    allowance = tolerance * (abs(constraint.threshold) if constraint.metric in ERRORS else 1.0)
    return constraint.threshold + (allowance if constraint.operator == GREATER else -allowance)


def defined(problem: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """The block without the rates of a class that no label of a binary problem has: they are 0 for want of rows."""
    if problem != "BinaryClassification":
        return dict(block)
    # The matrix lists the negative class first.
    negatives, positives = (sum(row.values()) for row in block["confusion_matrix"].values())
    without = {*(OF_POSITIVES if not positives else ()), *(OF_NEGATIVES if not negatives else ())}
    return {name: entry for name, entry in block.items() if name not in without}


def check(
    constraints: Sequence[MetricConstraint], block: Mapping[str, Any]
) -> tuple[list[ModelQualityViolation], list[str]]:
    """The violations, and the names of the metrics that have a constraint but no value in this run."""
    found, unchecked = [], []
    for constraint in constraints:
        measured = block.get(constraint.metric)
        if not isinstance(measured, Mapping) or "value" not in measured:
            unchecked.append(constraint.metric)
        elif constraint.violated_by(measured["value"]):
            found.append(_violation(constraint, measured))
    return found, unchecked


def _violation(constraint: MetricConstraint, measured: Mapping[str, Any]) -> ModelQualityViolation:
    name = SPELT.get(constraint.metric, constraint.metric)
    text = (
        f"Metric {name} with {measured['value']} +/- {measured['standard_deviation']} "
        f"was {constraint.operator} '{constraint.threshold}'"
    )
    return ModelQualityViolation(constraint.metric, constraint.operator, text)
