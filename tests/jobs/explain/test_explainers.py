"""Attributions and drift against outside oracles: Shapley's formula, the shap library, scikit-learn, the guide."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagewind.jobs.explain import explainers, kernel
from sagewind.jobs.explain.ndcg import ndcg

GUIDE_BEFORE = {"SAT score": 0.70, "GPA": 0.50, "Class rank": 0.05}
GUIDE_NOW = {"SAT score": 0.10, "GPA": 0.20, "Class rank": 0.70}


def test_the_guides_ndcg_example() -> None:
    """Live order: class rank, GPA, SAT score. The guide gives 0.69."""
    gain = 0.05 / math.log2(2) + 0.50 / math.log2(3) + 0.70 / math.log2(4)
    ideal = 0.70 / math.log2(2) + 0.50 / math.log2(3) + 0.05 / math.log2(4)
    assert ndcg(GUIDE_BEFORE, GUIDE_NOW) == pytest.approx(gain / ideal, abs=1e-15)
    assert round(ndcg(GUIDE_BEFORE, GUIDE_NOW), 2) == 0.69
    assert ndcg(GUIDE_BEFORE, {name: 2 * value for name, value in GUIDE_BEFORE.items()}) == 1.0


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(st.tuples(*[st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]) | st.floats(0, 1)] * 2), min_size=2))
def test_ndcg_is_scikit_learns(pairs) -> None:
    from sklearn.metrics import ndcg_score

    before, now = np.array(pairs).T
    names = [f"f{index:03}" for index in range(len(pairs))]
    measured = ndcg(dict(zip(names, before, strict=True)), dict(zip(names, now, strict=True)))
    assert measured == pytest.approx(ndcg_score([before], [now]), abs=1e-12)


def test_ndcg_of_missing_features_and_of_nothing() -> None:
    assert ndcg({"a": 1.0, "b": 0.5}, {"b": 1.0}) == pytest.approx((0.5 + 1 / math.log2(3)) / (1 + 0.5 / math.log2(3)))
    assert ndcg({"a": 0.0}, {"a": 1.0}) == 0.0


def shapley(score, row, background) -> np.ndarray:
    """Shapley's formula, term by term."""
    features = len(row)

    def value(chosen) -> float:
        mixed = background.copy()
        mixed[:, list(chosen)] = row[list(chosen)]
        return float(score(mixed).mean())

    found = np.zeros(features)
    for feature in range(features):
        others = [each for each in range(features) if each != feature]
        for size in range(features):
            weight = math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
            for chosen in itertools.combinations(others, size):
                found[feature] += weight * (value((*chosen, feature)) - value(chosen))
    return found


def interacting(rows: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(rows[:, 0] * rows[:, 1] - 2 * rows[:, 2] + np.sin(rows[:, 3]) * rows[:, 0])))


RANDOM = np.random.default_rng(11)
ROWS, BACKGROUND = RANDOM.normal(size=(6, 5)), RANDOM.normal(size=(4, 5))


def test_kernel_shap_is_exact_where_all_sets_fit() -> None:
    values, expected = kernel.explain(interacting, ROWS, BACKGROUND, 2048, kernel.identity, 0)
    assert values.shape == (6, 5, 1)
    exact = np.array([shapley(interacting, row, BACKGROUND) for row in ROWS])
    assert values[:, :, 0] == pytest.approx(exact, abs=1e-10)
    assert exact[:, 4] == pytest.approx(np.zeros(6), abs=1e-12)  # the model does not look at the fifth feature
    assert expected == pytest.approx(interacting(BACKGROUND).mean())


def test_attributions_of_a_linear_model_are_coefficient_times_distance() -> None:
    """Also where the sets do not fit, since a linear model leaves the fit no error."""
    coefficients = np.arange(1.0, 15.0)
    random = np.random.default_rng(2)
    rows, background = random.normal(size=(3, 14)), random.normal(size=(2, 14))
    values, _ = kernel.explain(lambda data: data @ coefficients, rows, background, 300, kernel.identity, 7)
    assert values[:, :, 0] == pytest.approx((rows - background.mean(axis=0)) * coefficients, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(features=st.integers(1, 13), samples=st.integers(4, 200), seed=st.integers(0, 99))
def test_attributions_add_up_to_the_answer(features, samples, seed) -> None:
    random = np.random.default_rng(seed)
    rows, background = random.normal(size=(2, features)), random.normal(size=(3, features))

    def score(data: np.ndarray) -> np.ndarray:
        first = np.tanh(data.sum(axis=1) + data[:, 0] ** 2)
        return np.column_stack([first, -first])

    values, expected = kernel.explain(score, rows, background, samples, kernel.identity, seed)
    assert values.sum(axis=1) + expected == pytest.approx(score(rows), abs=1e-9)
    assert values[:, :, 0] == pytest.approx(-values[:, :, 1], abs=1e-9)


def test_sampled_sets_come_close_to_the_exact_values() -> None:
    random = np.random.default_rng(5)
    rows, background = random.normal(size=(4, 12)), random.normal(size=(2, 12))

    def score(data: np.ndarray) -> np.ndarray:
        return data[:, 0] * data[:, 1] + data[:, 2:6].prod(axis=1) + data[:, 6:].sum(axis=1)

    exact, _ = kernel.explain(score, rows, background, 2**12, kernel.identity, 0)
    sampled, _ = kernel.explain(score, rows, background, 800, kernel.identity, 0)
    again, _ = kernel.explain(score, rows, background, 800, kernel.identity, 0)
    assert np.abs(sampled - exact).max() < 0.15
    assert (sampled == again).all()


# Computed by shap 0.51.0, KernelExplainer(interacting, BACKGROUND, link="logit").shap_values(ROWS[:2], l1_reg=False).
BY_SHAP = {
    "values": [
        [-0.204696631332, -0.145009325891, -1.78485719684, 0.017079176162, 0.0],
        [-0.298084245848, -0.394628596624, 0.58037170094, -0.132110697756, 0.0],
    ],
    "expected": -0.3021659419432764,
}


def test_the_shap_librarys_numbers() -> None:
    values, expected = kernel.explain(interacting, ROWS[:2], BACKGROUND, 2048, kernel.logit, 0)
    assert values[:, :, 0] == pytest.approx(np.array(BY_SHAP["values"]), abs=1e-9)
    assert expected[0] == pytest.approx(BY_SHAP["expected"], abs=1e-12)


@pytest.mark.parametrize("use_logit", [False, True])
def test_the_shap_library_where_it_is_installed(use_logit) -> None:
    pytest.importorskip("shap", reason="the shap library is not installed: its numbers are in the test above")
    how = explainers.Kernel(BACKGROUND, 2048, use_logit, 0)
    by_library = explainers.kernel_shap(interacting, ROWS, how)
    assert by_library.implementation.startswith("shap ")
    link = kernel.logit if use_logit else kernel.identity
    values, expected = kernel.explain(interacting, ROWS, BACKGROUND, 2048, link, 0)
    assert by_library.values == pytest.approx(values, abs=1e-9)
    assert by_library.expected == pytest.approx(expected)


@pytest.mark.parametrize(
    ("objective", "outputs"), [("binary:logistic", 1), ("multi:softprob", 3), ("reg:squarederror", 1)]
)
def test_trees_are_explained_by_xgboost_itself(tmp_path, objective, outputs) -> None:
    """Attributions and expected value add up to the margin; the shap library's TreeExplainer agrees."""
    xgboost = pytest.importorskip("xgboost", reason="xgboost is not installed here")
    random = np.random.default_rng(1)
    features = random.normal(size=(200, 4))
    labels = np.digitize(features[:, 0] + features[:, 1], [-0.5, 0.5])
    labels = labels if outputs > 1 else (labels > 0).astype(int)
    parameters = {"objective": objective, "max_depth": 3} | ({"num_class": 3} if outputs > 1 else {})
    booster = xgboost.train(parameters, xgboost.DMatrix(features, labels), 8)
    booster.save_model(tmp_path / "model.ubj")
    (tmp_path / "model.ubj").rename(tmp_path / "xgboost-model")
    found = explainers.tree(tmp_path, features[:20])
    assert found.values.shape == (20, 4, outputs)
    margin = booster.predict(xgboost.DMatrix(features[:20]), output_margin=True).reshape(20, -1)
    assert found.values.sum(axis=1) + found.expected == pytest.approx(margin, abs=1e-4)
    shap = pytest.importorskip("shap", reason="the shap library is not installed")
    other = np.asarray(shap.TreeExplainer(booster).shap_values(features[:20])).reshape(20, 4, -1)
    assert found.values == pytest.approx(other, abs=1e-4)
