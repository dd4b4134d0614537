"""Sketches and distances against published vectors, scipy and exact counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sagewind.jobs.monitor import drift, hyperloglog, kll, vectorised
from sagewind.jobs.monitor.batches import texts_of
from sagewind.jobs.monitor.column import ColumnState
from sagewind.jobs.monitor.column_profile import ColumnProfile, profiles
from sagewind.jobs.monitor.kll import Distribution, Sketch
from sagewind.jobs.monitor.vectorised import Vectorised, xxh64

FINITE = st.floats(-1e9, 1e9)
#: From the xxHash project's own test values and its specification.
VECTORS = {
    "": 0xEF46DB3751D8E999,
    "a": 0xD24EC4F1A98C6E5B,
    "abc": 0x44BC2CF5AD770999,
    "Nobody inspects the spammish repetition": 0xFBCEA83C8A378BF1,
}


def profile_of(cells) -> ColumnProfile:
    column = ColumnState("c")
    column.add_texts(texts_of(cells), Vectorised())
    return profiles([column])[0]


def distinct_of(values) -> int:
    registers = hyperloglog.empty()
    vectorised.register(registers, xxh64([value.encode() for value in values]))
    return hyperloglog.estimate(registers)


def test_xxh64_gives_the_published_values() -> None:
    assert xxh64([text.encode() for text in VECTORS], seed=0).tolist() == list(VECTORS.values())


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=20))
def test_xxh64_of_a_text_does_not_depend_on_the_others(values) -> None:
    assert xxh64(values).tolist() == [xxh64([value]).item() for value in values]


@pytest.mark.parametrize("distinct", [1, 10, 100, 399])
def test_small_numbers_of_distinct_values_are_counted_closely(distinct) -> None:
    values = [f"value {number}" for number in range(distinct)] * 2
    assert distinct_of(values) == pytest.approx(distinct, rel=0.1)


def test_nothing_has_no_distinct_values() -> None:
    assert hyperloglog.estimate(hyperloglog.empty()) == 0


@pytest.mark.parametrize("distinct", [700, 2_000, 20_000, 100_000])
def test_large_numbers_stay_within_three_standard_deviations(distinct) -> None:
    assert distinct_of(map(str, range(distinct))) == pytest.approx(distinct, rel=3 * 0.05)


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
        ([" 1", "- 2"], "Integral"),
        (["1", ".5"], "String"),
        (["1", "5."], "String"),
        (["1", "5 "], "String"),
        (["1", "x"], "String"),
        (["1", "2\n3"], "String"),
        (["1.2.3"], "String"),
        (["٣"], "String"),
        (["NaN"], "String"),
        (["true", "false"], "String"),
        (["true", "1"], "String"),
        (["", ""], "Unknown"),
        (["", "7"], "Integral"),
    ],
)
def test_inferred_type(cells, expected) -> None:
    assert profile_of(cells).inferred_type == expected


@settings(max_examples=30)
@given(st.lists(st.none() | FINITE, min_size=1, max_size=60))
def test_moments_are_numpys(values) -> None:
    profile = profile_of(["" if value is None else repr(value) for value in values])
    present = [value for value in values if value is not None]
    assert (profile.present, profile.missing) == (len(present), values.count(None))
    if present:
        numbers = profile.statistics()["numerical_statistics"]
        assert (numbers["min"], numbers["max"]) == (min(present), max(present))
        assert numbers["mean"] == pytest.approx(np.mean(present), rel=1e-9, abs=1e-6)
        assert numbers["std_dev"] == pytest.approx(np.std(present), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("low", [1.7e12, -5e9, 10.0])
def test_buckets_begin_where_deequs_do(low) -> None:
    """Its extremes start at the ends of a 32-bit integer."""
    values = [low, low + 5.0, low + 10.0]
    buckets = Distribution.of([values]).buckets(values[0], values[-1])
    assert buckets[0]["lower_bound"] == min(low, 2147483647.0)
    assert buckets[-1]["upper_bound"] == pytest.approx(max(low + 10.0, -2147483648.0))
    assert sum(bucket["count"] for bucket in buckets) == 3


def test_whole_numbers_are_added_as_integers() -> None:
    """In doubles, 2**53 + 1 is 2**53."""
    profile = profile_of([str(2**53), "1", "1"])
    assert (profile.sum, profile.inferred_type) == (float(2**53 + 2), "Integral")


def test_a_number_too_large_for_an_integer_is_added_as_a_double() -> None:
    assert profile_of([str(2**70), "1"]).sum == float(2**70)


def test_an_infinite_number_counts_as_missing() -> None:
    profile = profile_of(["1.5", "1e999"])
    assert (profile.present, profile.missing, profile.not_finite, profile.max) == (1, 1, 1, 1.5)
