"""Distances against scipy, and Deequ's regrouping on tables worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from sagewind.jobs.monitor import drift, drift_file
from sagewind.jobs.monitor.kll import Distribution, Sketch
from tests.jobs.test_monitor import SMALL, Monitor, as_lines, ordinary

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=80)
COUNTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 500), min_size=2, max_size=8)


@pytest.fixture
def monitor(container) -> Monitor:
    return Monitor(container)


def distribution(values) -> Distribution:
    sketch = Sketch()
    sketch.update(np.array(values, dtype=np.float64))
    return Distribution.of(sketch.data())


@settings(max_examples=60)
@given(VALUES, VALUES)
def test_wasserstein_is_scipys(one, other) -> None:
    found = drift_file.wasserstein(distribution(one), distribution(other))
    assert found == pytest.approx(stats.wasserstein_distance(one, other), rel=1e-9, abs=1e-6)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=12))
def test_jensen_shannon_is_scipys(pairs) -> None:
    p, q = (np.array(side, dtype=float) for side in zip((1, 1), *pairs, strict=True))
    p, q = p / p.sum(), q / q.sum()
    assert drift_file.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)


def test_large_samples_are_as_far_apart_as_their_data() -> None:
    draw = np.random.default_rng(7)
    one, other = draw.normal(0, 1, 60_000), draw.normal(0.4, 1.2, 40_000)
    found = drift.numeric(distribution(one), distribution(other), drift.SIMPLE)
    assert found == pytest.approx(stats.ks_2samp(one, other).statistic, abs=0.006)
    moved = drift_file.wasserstein(distribution(one), distribution(other))
    assert moved == pytest.approx(stats.wasserstein_distance(one, other), abs=0.01)


@settings(max_examples=80)
@given(COUNTS, st.integers(0, 2**32 - 1))
def test_chi_squared_is_scipys_where_nothing_is_regrouped(expected, seed) -> None:
    draw = np.random.default_rng(seed)
    sample = dict(zip(expected, draw.integers(100, 300, len(expected)).tolist(), strict=True))
    left, scaled = drift.regrouped(sample, expected)
    if len(scaled) < len(expected):
        return
    statistic, p_value = drift.chi_squared(sample, expected)
    reference = stats.chisquare([left[name] for name in scaled], list(scaled.values()))
    assert statistic == pytest.approx(reference.statistic, rel=1e-9)
    assert p_value == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-12)


def test_small_categories_join_the_next_smallest() -> None:
    """Ten rows on a baseline of 100: c (0.5 expected) goes to b, then b (2.5) to a; one category is no test."""
    left, scaled = drift.regrouped({"a": 6, "b": 3, "c": 1}, {"a": 75, "b": 20, "c": 5})
    assert (left, scaled) == ({"a": 10}, {"a": 10.0})
    assert all(map(math.isnan, drift.chi_squared({"a": 6, "b": 3, "c": 1}, {"a": 75, "b": 20, "c": 5})))


def test_a_fifth_of_many_categories_may_be_small() -> None:
    expected = {"a": 40, "b": 30, "c": 20, "d": 7, "e": 3}
    assert drift.regrouped(dict.fromkeys(expected, 20), expected)[1] == pytest.approx(expected)
    smaller = {"a": 40, "b": 30, "c": 23, "d": 4, "e": 3}
    assert drift.regrouped(dict.fromkeys(smaller, 20), smaller)[1] == {"a": 40.0, "b": 30.0, "c": 23.0, "d": 7.0}


def test_categories_that_the_baseline_lacks_do_not_scale_it() -> None:
    left, scaled = drift.regrouped({"a": 60, "b": 40, "new": 100}, {"a": 500, "b": 500})
    assert scaled == {"a": 50.0, "b": 50.0}
    assert left["new"] == 100


def test_stability_index_of_hand() -> None:
    found = drift_file.psi(np.array([0.5, 0.5]), np.array([0.8, 0.2]))
    assert found == pytest.approx(0.3 * math.log(1.6) - 0.3 * math.log(0.4))
    assert drift_file.psi(np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0.0
    assert math.isfinite(drift_file.psi(np.array([1.0, 0.0]), np.array([0.0, 1.0])))


def test_deciles_of_the_baseline_hold_a_tenth_each() -> None:
    shares = drift_file.decile_shares(distribution(range(1000)), distribution(range(500)))
    assert shares[0] == pytest.approx(np.full(10, 0.1), abs=0.002)
    assert shares[1][:5].sum() == pytest.approx(1.0, abs=0.01)


def test_the_drift_file_lists_what_both_sides_describe(monitor, container) -> None:
    monitor.baseline(SMALL)
    monitor.check(as_lines([[row[0], "a"] for row in ordinary()]))
    entries = {entry["name"]: entry for entry in container.json("drift.json")["features"]}
    assert set(entries) == {"n", "c"}
    assert entries["n"]["comparison"]["exceeded"] is False
    assert entries["n"]["wasserstein"] == 0.0
    assert entries["c"]["comparison"] == {
        "method": "Robust",
        "distance": pytest.approx(0.5 - 1.8 * math.sqrt(200 / 10_000)),
        "threshold": 0.1,
        "exceeded": True,
    }
    assert entries["c"]["linf_simple"] == 0.5


@pytest.mark.parametrize(("share", "violated"), [(50, False), (80, True)])
def test_chi_squared_by_the_setting(monitor, share, violated) -> None:
    monitor.baseline(SMALL)
    rows = [[f"{at}.5", "a" if at < share else "b"] for at in range(100)]
    monitor.check(as_lines(rows), categorical_drift_method="ChiSquared")
    assert (("c", "baseline_drift_check") in monitor.violations()) is violated


def test_the_setting_is_written_into_a_baseline(container) -> None:
    (container.input("dataset") / "d.csv").write_text(SMALL)
    settings_ = {"dataset_format": '{"csv": {"header": true}}', "categorical_drift_method": "ChiSquared"}
    folder = "/opt/ml/processing"
    assert (
        container.run("monitor", dataset_source=f"{folder}/input/dataset", output_path=f"{folder}/output", **settings_)
        == 0
    )
    config = json.loads((container.output("") / "constraints.json").read_text())["monitoring_config"]
    assert config["distribution_constraints"]["categorical_drift_method"] == "ChiSquared"
