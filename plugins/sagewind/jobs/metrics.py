"""Metrics of a model on scored rows, in numpy: equal to scikit-learn's, without its 3 seconds of import.

Conventions: a binary score is the probability of class 1 and the predicted class is 1 where `score >= threshold`;
multi-class probabilities are one column per class and the prediction is the first largest; a ratio whose denominator
is zero is 0.0 (scikit-learn's zero_division). `au_prc` is the average precision (no interpolation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Ranking:
    """How many rows of each class score at least as much as each distinct score, from the highest score down."""

    thresholds: Floats
    true_positives: Floats
    false_positives: Floats
    positives: float
    negatives: float

    @classmethod
    def of(cls, actual: Codes, scores: Floats) -> Ranking:
        """Rank the scores; rows with equal scores stand together, whatever their order."""
        order = np.argsort(-scores, kind="stable")
        ordered, hits = scores[order], actual[order] == 1
        last_of_tie = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        true_positives = np.cumsum(hits)[last_of_tie].astype(np.float64)
        return cls(
            thresholds=ordered[last_of_tie],
            true_positives=true_positives,
            false_positives=last_of_tie + 1.0 - true_positives,
            positives=float(hits.sum()),
            negatives=float(len(hits) - hits.sum()),
        )

    def roc(self) -> tuple[Floats, Floats]:
        """False and true positive rates from (0, 0) to (1, 1)."""
        return (
            np.append(0.0, self.false_positives / self.negatives),
            np.append(0.0, self.true_positives / self.positives),
        )

    def precision_recall(self) -> tuple[Floats, Floats]:
        """Recall and precision at each distinct score, from the highest score down."""
        return self.true_positives / self.positives, self.true_positives / (self.true_positives + self.false_positives)

    def auc(self) -> float:
        """Area under the ROC curve by the trapezoid rule, which counts a tie as one half."""
        false_rates, true_rates = self.roc()
        return float(np.sum(np.diff(false_rates) * (true_rates[1:] + true_rates[:-1]) / 2))

    def average_precision(self) -> float:
        """Precision averaged over the steps of recall."""
        recalls, precisions = self.precision_recall()
        return float(np.sum(np.diff(np.append(0.0, recalls)) * precisions))


def confusion(actual: Codes, predicted: Codes, classes: int) -> NDArray[np.int64]:
    """Counts; rows are the actual class, columns the predicted one."""
    return np.bincount(actual * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def ratio(numerator: float, denominator: float) -> float:
    """A share that is 0.0 where there is nothing to share."""
    return float(numerator / denominator) if denominator else 0.0


def f_score(precision: float, recall: float, beta: float = 1.0) -> float:
    """Weighted harmonic mean of precision and recall."""
    return ratio((1 + beta**2) * precision * recall, beta**2 * precision + recall)


def threshold_metrics(true_pos: float, false_pos: float, positives: float, negatives: float) -> dict[str, float]:
    """The binary metrics that follow from the four counts at one threshold."""
    precision, recall = ratio(true_pos, true_pos + false_pos), ratio(true_pos, positives)
    specificity = ratio(negatives - false_pos, negatives)
    return {
        "accuracy": ratio(true_pos + negatives - false_pos, positives + negatives),
        "precision": precision,
        "recall": recall,
        "f1": f_score(precision, recall),
        "balanced_accuracy": (recall + specificity) / 2,
        "true_positive_rate": recall,
        "true_negative_rate": specificity,
        "false_positive_rate": 1 - specificity if negatives else 0.0,
        "false_negative_rate": 1 - recall if positives else 0.0,
    }


def binary(actual: Codes, scores: Floats, threshold: float) -> dict[str, float]:
    """All binary metrics; both classes must occur in `actual`."""
    ranking = Ranking.of(actual, scores)
    chosen = scores >= threshold
    at_threshold = threshold_metrics(
        float(np.sum(chosen & (actual == 1))),
        float(np.sum(chosen & (actual == 0))),
        ranking.positives,
        ranking.negatives,
    )
    both = np.column_stack([1 - scores, scores])
    return {
        "auc": ranking.auc(),
        **at_threshold,
        "au_prc": ranking.average_precision(),
        "logloss": logloss(actual, both),
    }


def logloss(actual: Codes, probabilities: Floats) -> float:
    """Mean negative log likelihood of the actual class; probabilities are kept one float64 step off 0 and 1."""
    step = np.finfo(np.float64).eps
    likelihood = probabilities[np.arange(len(actual)), actual]
    return float(-np.mean(np.log(np.clip(likelihood, step, 1 - step))))


def per_class(matrix: NDArray[np.int64]) -> list[dict[str, float]]:
    """Precision, recall and rows of each class of a confusion matrix."""
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    return [
        {
            "precision": ratio(matrix[code, code], columns[code]),
            "recall": ratio(matrix[code, code], rows[code]),
            "rows": float(rows[code]),
        }
        for code in range(len(matrix))
    ]


def weighted(matrix: NDArray[np.int64], value: Callable[[Mapping[str, float]], float]) -> float:
    """A per-class value averaged with the number of actual rows as weight."""
    classes = per_class(matrix)
    return ratio(sum(value(entry) * entry["rows"] for entry in classes), float(matrix.sum()))


def from_confusion(matrix: NDArray[np.int64]) -> dict[str, float]:
    """The multi-class metrics that need the predicted classes only."""
    recalls = [entry["recall"] for entry in per_class(matrix) if entry["rows"]]
    return {
        "accuracy": ratio(float(np.trace(matrix)), float(matrix.sum())),
        "balanced_accuracy": float(np.mean(recalls)),
        "weighted_precision": weighted(matrix, lambda entry: entry["precision"]),
        "weighted_recall": weighted(matrix, lambda entry: entry["recall"]),
        "weighted_f1": weighted(matrix, lambda entry: f_score(entry["precision"], entry["recall"])),
    }


def multiclass(actual: Codes, probabilities: Floats) -> dict[str, float]:
    """All multi-class metrics."""
    matrix = confusion(actual, probabilities.argmax(axis=1), probabilities.shape[1])
    return {**from_confusion(matrix), "logloss": logloss(actual, probabilities)}


def regression(actual: Floats, predicted: Floats) -> dict[str, float]:
    """All regression metrics; rmse and mae in the target's unit. r2 of a constant target is 0.0, or 1.0 if exact."""
    errors = predicted - actual
    squared = float(np.mean(errors**2))
    spread = float(np.sum((actual - actual.mean()) ** 2))
    missed = float(np.sum(errors**2))
    r2 = 1 - missed / spread if spread else float(missed == 0.0)
    return {"rmse": squared**0.5, "mae": float(np.mean(np.abs(errors))), "mse": squared, "r2": r2}


def best_thresholds(actual: Codes, scores: Floats) -> list[dict[str, Any]]:
    """For each goal, the threshold among the scores that reaches it best, with what else it gives."""
    ranking = Ranking.of(actual, scores)
    true_pos, false_pos = ranking.true_positives, ranking.false_positives
    recalls, _ = ranking.precision_recall()
    goals = {
        "accuracy": true_pos + ranking.negatives - false_pos,
        "f1": 2 * true_pos / (true_pos + false_pos + ranking.positives),
        "balanced_accuracy": recalls - false_pos / ranking.negatives,
    }
    table = []
    for goal, values in goals.items():
        best = int(np.argmax(values))
        facts = threshold_metrics(float(true_pos[best]), float(false_pos[best]), ranking.positives, ranking.negatives)
        table.append({"goal": goal, "threshold": float(ranking.thresholds[best]), **facts})
    return table


def thinned(x: Floats, y: Floats, most: int = 200) -> tuple[list[float], list[float]]:
    """At most `most` points of a curve, evenly spaced along its length, both ends kept. For pictures, not for areas."""
    if len(x) <= most:
        return x.tolist(), y.tolist()
    length = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    picked = np.unique(np.searchsorted(length, np.linspace(0.0, length[-1], most)))
    return x[picked].tolist(), y[picked].tolist()
