"""The container's own metrics against scikit-learn, which AWS's container computes them with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from container_toolkit.xgb_metrics import CLASSIFICATION, NAMES, REGRESSION, evaluator
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle


def _averaged(function: Callable[..., float], average: str) -> Callable[[Any, Any], float]:
    return lambda truth, found: function(truth, found, average=average, zero_division=0)


ORACLE: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": oracle.accuracy_score,
    "balanced_accuracy": oracle.balanced_accuracy_score,
    "f1": _averaged(oracle.f1_score, "macro"),
    "f1_binary": _averaged(oracle.f1_score, "binary"),
    "f1_macro": _averaged(oracle.f1_score, "macro"),
    "precision": _averaged(oracle.precision_score, "binary"),
    "precision_macro": _averaged(oracle.precision_score, "macro"),
    "precision_micro": _averaged(oracle.precision_score, "micro"),
    "recall": _averaged(oracle.recall_score, "binary"),
    "recall_macro": _averaged(oracle.recall_score, "macro"),
    "recall_micro": _averaged(oracle.recall_score, "micro"),
    "mse": oracle.mean_squared_error,
    "r2": oracle.r2_score,
}
BINARY_ONLY = {"f1_binary", "precision", "recall"}


class Matrix:
    def __init__(self, labels: list[float]) -> None:
        self._labels = np.array(labels, dtype=np.float32)

    def get_label(self) -> np.ndarray:
        return self._labels


def test_every_metric_has_its_oracle() -> None:
    assert set(ORACLE) == NAMES == set(CLASSIFICATION) | set(REGRESSION)


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore:y_pred contains", "ignore:A single label"
)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1, width=32)), min_size=2, max_size=20))
def test_binary(rows: list[tuple[int, float]]) -> None:
    truth, scores = [t for t, _ in rows], np.array([s for _, s in rows], dtype=np.float32)
    found = dict(evaluator(sorted(CLASSIFICATION), "binary:logistic")(scores, Matrix(truth)))
    for name, value in found.items():
        assert value == pytest.approx(ORACLE[name](truth, (scores > 0.5).astype(int))), name


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label")
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_several_classes(rows: list[tuple[int, int]]) -> None:
    truth, found = [t for t, _ in rows], [f for _, f in rows]
    names = sorted(set(CLASSIFICATION) - BINARY_ONLY)
    for objective, scores in (("multi:softmax", np.array(found, float)), ("multi:softprob", np.eye(4)[found])):
        for name, value in evaluator(names, objective)(scores, Matrix(truth)):
            assert value == pytest.approx(ORACLE[name](truth, found)), (objective, name)


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=20))
def test_regression(rows: list[tuple[int, int]]) -> None:
    truth, found = np.array(rows, dtype=float).T
    for name, value in evaluator(sorted(REGRESSION), "reg:squarederror")(found, Matrix(list(truth))):
        assert value == pytest.approx(ORACLE[name](truth, found)), name


def test_a_binary_metric_of_several_classes_is_the_users_error() -> None:
    with pytest.raises(ValueError, match="Target is multiclass but average='binary'"):
        evaluator(["f1_binary"], "multi:softmax")(np.array([2.0]), Matrix([1]))
