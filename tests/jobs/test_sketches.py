"""Sketches and distances against published vectors, scipy and exact counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from include.jobs import drift, kll
from include.jobs.hyperloglog import DistinctCounter, xxh64
from include.jobs.kll import Distribution, Sketch
from include.jobs.profile import ColumnProfile, count_numbers

FINITE = st.floats(-1e9, 1e9)
#: From the xxHash project's own test values and its specification.
VECTORS = {
    "": 0xEF46DB3751D8E999,
    "a": 0xD24EC4F1A98C6E5B,
    "abc": 0x44BC2CF5AD770999,
    "Nobody inspects the spammish repetition": 0xFBCEA83C8A378BF1,
}


def test_xxh64_gives_the_published_values() -> None:
    assert xxh64(list(VECTORS), seed=0).tolist() == list(VECTORS.values())


@given(st.lists(st.text(max_size=80), min_size=1, max_size=20))
def test_xxh64_of_a_text_does_not_depend_on_the_others(values) -> None:
    assert xxh64(values).tolist() == [xxh64([value]).item() for value in values]


@pytest.mark.parametrize("distinct", [0, 1, 10, 100, 399])
def test_small_numbers_of_distinct_values_are_counted_closely(distinct) -> None:
    counter = DistinctCounter()
    counter.update([f"value {number}" for number in range(distinct)] * 2)
    assert counter.estimate() == pytest.approx(distinct, rel=0.1)


@pytest.mark.parametrize("distinct", [700, 2_000, 20_000, 100_000])
def test_large_numbers_stay_within_three_standard_deviations(distinct) -> None:
    counter = DistinctCounter()
    for start in range(0, distinct, 5000):
        counter.update([str(number) for number in range(start, min(start + 5000, distinct))])
    assert counter.estimate() == pytest.approx(distinct, rel=3 * 0.05)


def sketch_of(values) -> Sketch:
    sketch = Sketch()
    sketch.update(np.array(values, dtype=np.float64))
    return sketch


@settings(max_examples=30)
@given(st.lists(FINITE, min_size=1, max_size=300))
def test_a_small_sketch_is_the_data(values) -> None:
    assert sketch_of(values).data() == [values]
    distribution = Distribution.of([values])
    points = np.array(values)
    assert distribution.at_most(points).tolist() == [sum(other <= value for other in values) for value in values]
    assert distribution.below(points).tolist() == [sum(other < value for other in values) for value in values]


def test_adding_one_by_one_is_adding_all() -> None:
    values = np.random.default_rng(0).normal(size=12_000)
    single = Sketch()
    for value in values:
        single.update(np.array([value]))
    assert single.data() == sketch_of(values).data()


@pytest.mark.parametrize("count", [5_000, 60_000])
def test_ranks_of_a_large_sketch_are_close(count) -> None:
    values = np.random.default_rng(1).gamma(2.0, size=count)
    distribution = Distribution.of(sketch_of(values).data())
    assert distribution.total == count
    points = np.quantile(values, np.linspace(0, 1, 101))
    exact = np.searchsorted(np.sort(values), points, side="right")
    assert np.abs(distribution.at_most(points) - exact).max() / count < 0.005


def test_buckets_hold_every_value() -> None:
    values = np.random.default_rng(2).random(3_000) * 10
    buckets = Distribution.of(sketch_of(values).data()).buckets(float(values.min()), float(values.max()))
    assert len(buckets) == kll.BUCKETS
    assert sum(bucket["count"] for bucket in buckets) == 3_000
    assert [bucket["upper_bound"] for bucket in buckets[:-1]] == [bucket["lower_bound"] for bucket in buckets[1:]]


@pytest.mark.filterwarnings("ignore:ks_2samp")
@settings(max_examples=60)
@given(st.lists(FINITE, min_size=1, max_size=80), st.lists(FINITE, min_size=1, max_size=80))
def test_simple_distance_is_the_two_sample_kolmogorov_smirnov_statistic(one, other) -> None:
    measured = drift.numeric(Distribution.of([one]), Distribution.of([other]), drift.SIMPLE)
    assert measured == pytest.approx(stats.ks_2samp(one, other, method="exact").statistic)
    slack = 1.8 * np.sqrt((len(one) + len(other)) / (len(one) * len(other)))
    robust = drift.numeric(Distribution.of([one]), Distribution.of([other]), drift.ROBUST)
    assert robust == pytest.approx(max(0.0, measured - slack))


def test_distance_of_categories() -> None:
    assert drift.categorical({"a": 50, "b": 50}, {"a": 20, "c": 20}, drift.SIMPLE) == 0.5
    assert drift.categorical({"a": 5, "b": 5}, {"a": 50, "b": 50}, drift.SIMPLE) == 0.0
    robust = drift.categorical({"a": 50, "b": 50}, {"a": 20, "c": 20}, drift.ROBUST)
    assert robust == pytest.approx(0.5 - 1.8 * np.sqrt(140 / 4000))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-2", "+3"], "Integral"),
        (["1", "2.0"], "Fractional"),
        (["1e5", "2E-3", "-1.5e+10"], "Fractional"),
        ([".5", "5."], "Fractional"),
        (["1", "x"], "String"),
        (["1", "2\n3"], "String"),
        (["1.2.3"], "String"),
        (["٣"], "String"),
        (["NaN"], "String"),
        (["", ""], "Unknown"),
        (["", "7"], "Integral"),
    ],
)
def test_inferred_type(cells, expected) -> None:
    assert ColumnProfile.of("c", cells).inferred_type == expected


@given(st.lists(st.integers() | FINITE, min_size=1, max_size=50))
def test_every_number_that_python_writes_is_a_number(values) -> None:
    integral, fractional = count_numbers([repr(value) for value in values])
    assert integral == sum(isinstance(value, int) for value in values)
    assert integral + fractional == len(values)


@settings(max_examples=30)
@given(st.lists(st.none() | FINITE, min_size=1, max_size=60))
def test_moments_are_numpys(values) -> None:
    profile = ColumnProfile.of("c", ["" if value is None else repr(value) for value in values])
    present = [value for value in values if value is not None]
    assert (profile.present, profile.missing) == (len(present), values.count(None))
    if present:
        numbers = profile.statistics()["numerical_statistics"]
        assert (numbers["min"], numbers["max"]) == (min(present), max(present))
        assert numbers["mean"] == pytest.approx(np.mean(present), rel=1e-9, abs=1e-6)
        assert numbers["std_dev"] == pytest.approx(np.std(present), rel=1e-6, abs=1e-6)
