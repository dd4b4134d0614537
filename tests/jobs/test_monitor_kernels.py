"""The two implementations of the kernels agree to the last bit, and both with Python's own `float`."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagewind.jobs.monitor import kll, scala_order
from sagewind.jobs.monitor.batches import texts_of
from sagewind.jobs.monitor.column import ColumnState
from sagewind.jobs.monitor.column_profile import profiles
from sagewind.jobs.monitor.texts import Texts, binary_of
from sagewind.jobs.monitor.vectorised import Vectorised, xxh64

pytest.importorskip("numba", reason="this image has no numba: there is nothing to compare")

from sagewind.jobs.monitor.native import Compiled

pytestmark = pytest.mark.timeout(300)  # the first use compiles

DECIMAL = st.from_regex(re.compile(r"[-+]?[ ]?[0-9]{1,25}(\.[0-9]{1,20})?([eE][-+]?[0-9]{1,3})?"), fullmatch=True)
CELLS = st.lists(
    st.one_of(
        DECIMAL,
        st.floats(allow_nan=False).map(repr),
        st.integers().map(str),
        st.text(max_size=70),
        st.sampled_from(
            ["", "true", "false", ".5", "5.", "1e", "-", "+", " ", "-0.0", "0.0", "- 5", "1 ", "nan", "inf"]
        ),
    ),
    max_size=40,
)
FINITE = st.floats(allow_nan=False, allow_infinity=False).map(repr)
NUMBERS = st.lists(st.one_of(DECIMAL, FINITE, st.integers().map(str)), max_size=60)
SIGNED = st.sampled_from([0.0, -0.0, 1.0, -1.0]) | st.floats(-5, 5)
ONCE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def state_of(pieces, kernels, domain=None) -> ColumnState:
    column = ColumnState("c", domain)
    for piece in pieces:
        column.add_texts(texts_of(piece), kernels)
    column.finish()
    return column


def described(column: ColumnState) -> str:
    counts = column.counts()
    return json.dumps(
        {
            "statistics": profiles([column])[0].statistics() if not np.isinf(column.moments).any() else None,
            "moments": column.moments.view(np.int64).tolist() if column.numeric else None,
            "kinds": [column.missing, column.integral, column.fractional, column.boolean, column.text],
            "counts": None if counts is None else sorted((k.decode("utf-8", "replace"), v) for k, v in counts.items()),
            "domain": sorted((k.decode(), v) for k, v in column.tally.domain.items()),
        },
        default=str,
    )


@ONCE
@given(st.lists(CELLS, max_size=3))
def test_any_texts(pieces) -> None:
    both = [described(state_of(pieces, kernels)) for kernels in (Compiled(), Vectorised())]
    assert both[0] == both[1]


@ONCE
@given(st.lists(NUMBERS, max_size=3))
def test_any_numbers(pieces) -> None:
    both = [described(state_of(pieces, kernels)) for kernels in (Compiled(), Vectorised())]
    assert both[0] == both[1]


@ONCE
@given(NUMBERS)
def test_numbers_are_pythons(cells) -> None:
    castable = [cell for cell in cells if not re.match(r"[-+] ", cell)]
    values = [value for value in map(float, castable) if np.isfinite(value)]
    column = state_of([castable], Compiled())
    assert column.sketch.data() == [values]


@pytest.mark.parametrize("size", [600, 5000])
def test_many_values_and_a_domain(size) -> None:
    """When the table is full only the domain is counted on."""
    draw = np.random.default_rng(size)
    pieces = [[f"v{number}" for number in draw.integers(0, size, 4000).tolist()] for _ in range(3)]
    domain = frozenset({"v1", "v2", "absent"})
    both = [state_of(pieces, kernels, domain) for kernels in (Compiled(), Vectorised())]
    flat = [cell for piece in pieces for cell in piece]
    assert described(both[0]) == described(both[1])
    assert both[0].tally.domain == {value.encode(): flat.count(value) for value in domain}


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5]) | st.floats(-5, 5), min_size=1, max_size=30),
    st.integers(1, 900),
)
def test_sketches(values, repeats) -> None:
    data = np.tile(np.array(values), repeats)
    both = [kll.Sketch(), kll.Sketch()]
    for sketch, kernels in zip(both, (Compiled(), Vectorised()), strict=True):
        for piece in np.array_split(data, 3):
            kernels.add_to_sketch(piece, sketch)
    for one, other in zip(*(sketch.split() for sketch in both), strict=True):
        assert one.view(np.int64).tolist() == other.view(np.int64).tolist()


def test_a_sketch_is_deequs_one_by_one() -> None:
    """Held against the algorithm in its plainest form: lists, one value at a time."""
    values = np.random.default_rng(3).normal(size=20_000)
    levels, counts, offsets = [[]], [0], [0]
    for value in values.tolist():
        levels[0].append(value)
        if sum(map(len, levels)) > sum(kll.capacity(level) for level in range(len(levels))):
            full = next(level for level, items in enumerate(levels) if len(items) >= kll.capacity(level))
            if full + 1 == len(levels):
                levels.append([]), counts.append(0), offsets.append(0)
            if counts[full] % 2 == 1:
                offsets[full] = 1 - offsets[full]
            counts[full] += 1
            even = len(levels[full]) - len(levels[full]) % 2
            levels[full + 1] += sorted(levels[full][:even])[offsets[full] :: 2]
            levels[full] = levels[full][even:]
    sketch = kll.Sketch()
    sketch.update(values)
    assert sketch.data() == levels


@pytest.mark.parametrize("kernels", [Compiled(), Vectorised()], ids=["compiled", "numpy"])
def test_typed_values_are_hashed_like_their_bytes(kernels) -> None:
    from sagewind.jobs.monitor import hyperloglog, vectorised

    values = np.array([0, 1, -1, 2**40, -(2**62)], dtype=np.int64)
    for words, short, width in (
        (values.view(np.uint64), False, 8),
        (np.array([7, 2**32 - 1], dtype=np.uint64), True, 4),
    ):
        one, other = hyperloglog.empty(), hyperloglog.empty()
        kernels.hash_words(words, short, one)
        vectorised.register(other, xxh64([int(word).to_bytes(width, "little") for word in words]))
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize("kernels", [Compiled(), Vectorised()], ids=["compiled", "numpy"])
def test_a_slice_with_nulls_and_empty_texts(kernels) -> None:
    array = pa.array(["x", None, "", "5", "y"]).slice(1)
    column = ColumnState("c")
    column.add_texts(Texts(array, False), kernels)
    column.finish()
    assert (column.missing, column.integral, column.text) == (1, 1, 2)
    assert column.counts() == {b"": 1, b"5": 1, b"y": 1}


def test_merged_states_are_those_of_all_rows() -> None:
    draw = np.random.default_rng(5)
    cells = [repr(value) for value in draw.normal(50, 9, 30_000).tolist()]
    whole = state_of([cells], Compiled())
    merged = state_of([cells[:11_000]], Compiled())
    for start, end in ((11_000, 19_000), (19_000, 30_000)):
        merged.merge(state_of([cells[start:end]], Compiled()))
    assert merged.registers.tolist() == whole.registers.tolist()
    assert merged.moments == pytest.approx(whole.moments, rel=1e-9)
    points = np.linspace(20, 80, 50)
    one, other = (kll.Distribution.of(column.sketch.data()) for column in (whole, merged))
    assert other.total == pytest.approx(30_000, abs=64)
    assert np.abs(one.at_most(points) - other.at_most(points)).max() / 30_000 < 0.005


def test_merging_with_nothing_changes_nothing() -> None:
    column, before = state_of([["1", "2.5", "x"]], Compiled()), state_of([["1", "2.5", "x"]], Compiled())
    column.merge(state_of([], Compiled()))
    assert described(column) == described(before)


def test_the_state_of_a_column_is_small() -> None:
    column = state_of([[repr(value) for value in np.random.default_rng(0).normal(size=20_000).tolist()]], Compiled())
    sketch = column.sketch
    arrays = [column.registers, column.moments, sketch.arena, sketch.lengths, sketch.compactions, sketch.offsets]
    assert sum(array.nbytes for array in arrays) < 100_000


def test_scala_hashes() -> None:
    """Values of Java 8 and Scala 2.12."""
    assert scala_order.java_hash("hello") == 99162322
    assert scala_order.java_hash("") == 0


def test_few_categories_keep_the_order_of_insertion_if_nothing_else_is_counted() -> None:
    assert scala_order.ordered("c", ["z", "a"], 2) == ["z", "a"]


def test_binaries_of_no_values() -> None:
    assert binary_of([]).to_pylist() == []
