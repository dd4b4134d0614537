"""Scikit-learn is the oracle of every metric."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from sagewind.facts import metrics as facts
from sagewind.jobs import metrics

# Few distinct scores, so that ties are the rule.
SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.25, 0.5, 0.5, 0.75, 0.9, 1.0])


@st.composite
def binary_data(draw):
    rows = draw(st.lists(st.tuples(st.integers(0, 1), SCORES | st.floats(0, 1)), min_size=2, max_size=80))
    labels = [label for label, _ in rows]
    labels[0], labels[1] = 0, 1
    return np.array(labels), np.array([score for _, score in rows])


@settings(max_examples=60)
@given(data=binary_data(), threshold=st.sampled_from([0.1, 0.25, 0.5, 0.9]))
def test_binary(data, threshold) -> None:
    actual, scores = data
    predicted = (scores >= threshold).astype(int)
    matrix = oracle.confusion_matrix(actual, predicted, labels=[0, 1])
    rates = matrix / matrix.sum(axis=1, keepdims=True)
    expected = {
        "auc": oracle.roc_auc_score(actual, scores),
        "accuracy": oracle.accuracy_score(actual, predicted),
        "precision": oracle.precision_score(actual, predicted, zero_division=0),
        "recall": oracle.recall_score(actual, predicted),
        "f1": oracle.f1_score(actual, predicted, zero_division=0),
        "au_prc": oracle.average_precision_score(actual, scores),
        "balanced_accuracy": oracle.balanced_accuracy_score(actual, predicted),
        "true_positive_rate": rates[1, 1],
        "true_negative_rate": rates[0, 0],
        "false_positive_rate": rates[0, 1],
        "false_negative_rate": rates[1, 0],
        "logloss": oracle.log_loss(actual, scores),
    }
    measured = metrics.binary(actual, scores, threshold)
    assert sorted(measured) == sorted(facts.BINARY)
    assert measured == pytest.approx(expected, abs=1e-12)
    assert metrics.confusion(actual, predicted, 2).tolist() == matrix.tolist()


@settings(max_examples=40)
@given(data=binary_data())
def test_curves(data) -> None:
    actual, scores = data
    ranking = metrics.Ranking.of(actual, scores)
    false_rates, true_rates, _ = oracle.roc_curve(actual, scores, drop_intermediate=False)
    assert ranking.roc()[0] == pytest.approx(false_rates)
    assert ranking.roc()[1] == pytest.approx(true_rates)
    precisions, recalls, _ = oracle.precision_recall_curve(actual, scores)
    assert ranking.precision_recall()[0] == pytest.approx(recalls[:-1][::-1])
    assert ranking.precision_recall()[1] == pytest.approx(precisions[:-1][::-1])


@settings(max_examples=40)
@given(data=binary_data())
def test_best_thresholds_are_the_best_of_all(data) -> None:
    actual, scores = data
    for entry in metrics.best_thresholds(actual, scores):
        every = [metrics.binary(actual, scores, threshold)[entry["goal"]] for threshold in np.unique(scores)]
        assert entry[entry["goal"]] == pytest.approx(max(every))
        assert metrics.binary(actual, scores, entry["threshold"])[entry["goal"]] == pytest.approx(max(every))


@settings(max_examples=50)
@given(rows=st.lists(st.tuples(st.integers(0, 3), st.tuples(*[st.floats(0.01, 1)] * 4)), min_size=1, max_size=60))
def test_multiclass(rows) -> None:
    actual = np.array([label for label, _ in rows])
    raw = np.array([weights for _, weights in rows])
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        precision, recall, f1, _ = oracle.precision_recall_fscore_support(
            actual, predicted, average="weighted", zero_division=0
        )
        expected = {
            "accuracy": oracle.accuracy_score(actual, predicted),
            "balanced_accuracy": oracle.balanced_accuracy_score(actual, predicted),
            "weighted_precision": precision,
            "weighted_recall": recall,
            "weighted_f1": f1,
            "logloss": oracle.log_loss(actual, probabilities, labels=range(4)),
        }
    measured = metrics.multiclass(actual, probabilities)
    assert sorted(measured) == sorted(facts.MULTICLASS)
    assert measured == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50)
@given(rows=st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=60))
def test_regression(rows) -> None:
    actual, predicted = np.array(rows).T
    expected = {
        "rmse": oracle.root_mean_squared_error(actual, predicted),
        "mae": oracle.mean_absolute_error(actual, predicted),
        "mse": oracle.mean_squared_error(actual, predicted),
        "r2": oracle.r2_score(actual, predicted),
    }
    measured = metrics.regression(actual, predicted)
    assert sorted(measured) == sorted(facts.REGRESSION)
    assert measured == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_thinned_curve_keeps_its_ends_and_its_shape() -> None:
    random = np.random.default_rng(1)
    actual = random.integers(0, 2, 20_000)
    scores = random.random(20_000) * 0.5 + actual * 0.3
    ranking = metrics.Ranking.of(actual, scores)
    x, y = metrics.thinned(*ranking.roc())
    assert len(x) <= 200
    assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert np.trapezoid(y, x) == pytest.approx(ranking.auc(), abs=0.002)
