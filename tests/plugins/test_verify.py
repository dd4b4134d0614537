"""Mini-batches and answers of endpoints."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagewind.errors import TaskRefused
from sagewind.operators.verify import difference, mini_batches, numbers, score_lines


@given(st.integers(1, 500), st.integers(1, 50), st.integers(0, 200))
def test_every_row_is_sent_and_enough_requests(rows: int, size: int, requests: int) -> None:
    batches = mini_batches(rows, size, requests)
    assert sorted({index for batch in batches for index in batch}) == list(range(rows))
    assert len(batches) >= requests
    assert all(1 <= len(batch) <= size for batch in batches)
    assert batches == mini_batches(rows, size, requests)


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30))
def test_both_ways_to_write_single_scores_are_read(scores: list[float]) -> None:
    expected = [[score] for score in scores]
    for body in ("\n".join(map(repr, scores)), ",".join(map(repr, scores)), "\n".join(map(repr, scores)) + "\n"):
        assert score_lines(body, len(scores)) == expected


def test_a_line_per_row_keeps_its_classes_together() -> None:
    assert score_lines("0.1,0.9\n0.2,0.8\n", 2) == [[0.1, 0.9], [0.2, 0.8]]


@pytest.mark.parametrize("body", ["", "0.1\n0.2", "0.1,0.2,0.3,0.4"])
def test_another_number_of_scores_is_refused(body: str) -> None:
    with pytest.raises(TaskRefused, match="3 rows were sent"):
        score_lines(body, 3)


def test_difference() -> None:
    assert difference([1.0, 2.0], [1.0, 2.5]) == 0.5
    assert difference([1.0], [1.0, 2.0]) == math.inf
    assert numbers("0.25,1e-3") == [0.25, 0.001]
