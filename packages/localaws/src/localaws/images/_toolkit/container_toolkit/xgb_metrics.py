"""The evaluation metrics that AWS's XGBoost container adds to XGBoost's own.

They are computed here with NumPy: importing scikit-learn would take longer than most local trainings.
"""

from collections.abc import Callable
from typing import Any


def _confusion(truth: Any, found: Any) -> Any:
    """Counts by true class (row) and predicted class (column)."""
    import numpy as np

    size = int(max(truth.max(), found.max())) + 1
    return np.bincount(truth * size + found, minlength=size * size).reshape(size, size)


def _per_class(matrix: Any) -> tuple[Any, Any, Any]:
    """Precision, recall and F1 of each class that occurs; 0 where undefined, as scikit-learn has it."""
    import numpy as np

    hits, truth, found = matrix.diagonal().astype(float), matrix.sum(axis=1), matrix.sum(axis=0)
    present = (truth + found) > 0
    hits, truth, found = hits[present], truth[present], found[present]
    precision = np.divide(hits, found, out=np.zeros_like(hits), where=found > 0)
    recall = np.divide(hits, truth, out=np.zeros_like(hits), where=truth > 0)
    return precision, recall, 2 * hits / (truth + found)


def _accuracy(matrix: Any) -> float:
    return float(matrix.trace() / matrix.sum())


def _balanced_accuracy(matrix: Any) -> float:
    truth = matrix.sum(axis=1)
    return float((matrix.diagonal()[truth > 0] / truth[truth > 0]).mean())


def _binary(position: int) -> Callable[[Any], float]:
    def score(matrix: Any) -> float:
        if matrix.shape[0] > 2:
            raise ValueError("Target is multiclass but average='binary'")
        if matrix.shape[0] < 2:
            return 0.0  # only class 0 occurs
        hits = float(matrix[1, 1])
        found, truth = matrix[:, 1].sum(), matrix[1].sum()
        below = (found, truth, (found + truth) / 2)[position]
        return hits / float(below) if below else 0.0

    return score


def _macro(position: int) -> Callable[[Any], float]:
    return lambda matrix: float(_per_class(matrix)[position].mean())


CLASSIFICATION: dict[str, Callable[[Any], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _macro(2),
    "f1_binary": _binary(2),
    "f1_macro": _macro(2),
    "precision": _binary(0),
    "precision_macro": _macro(0),
    "precision_micro": _accuracy,
    "recall": _binary(1),
    "recall_macro": _macro(1),
    "recall_micro": _accuracy,
}


def _mse(truth: Any, found: Any) -> float:
    return float(((truth - found) ** 2).mean())


def _r2(truth: Any, found: Any) -> float:
    total = float(((truth - truth.mean()) ** 2).sum())
    rest = float(((truth - found) ** 2).sum())
    return 1 - rest / total if total else float(rest == 0)


REGRESSION: dict[str, Callable[[Any, Any], float]] = {"mse": _mse, "r2": _r2}

NAMES = frozenset(CLASSIFICATION) | frozenset(REGRESSION)


def classes(predictions: Any, objective: str) -> Any:
    """The predicted class of each row, from what XGBoost predicts under the objective."""
    if predictions.ndim == 2:
        return predictions.argmax(axis=1)
    if objective == "multi:softmax":
        return predictions.astype(int)
    return (predictions > (0.0 if objective == "binary:logitraw" else 0.5)).astype(int)


def evaluator(names: list[str], objective: str) -> Callable[[Any, Any], list[tuple[str, float]]]:
    """A `custom_metric` for xgboost.train that computes all of `names`."""

    def evaluate(predictions: Any, matrix: Any) -> list[tuple[str, float]]:
        truth = matrix.get_label().astype(float)  # sums of single precision would lose digits that are printed
        confusion = None
        if any(name in CLASSIFICATION for name in names):
            confusion = _confusion(truth.astype(int), classes(predictions, objective))
        return [
            (name, CLASSIFICATION[name](confusion) if name in CLASSIFICATION else REGRESSION[name](truth, predictions))
            for name in names
        ]

    return evaluate
