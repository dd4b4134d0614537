from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagewind.jobs.job import UserError
from sagewind.jobs.splitting import split

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}


@given(
    counts=st.lists(st.integers(3, 60), min_size=1, max_size=5),
    train=st.floats(0.1, 0.8),
    seed=st.integers(0, 2**32),
)
def test_parts_are_a_partition_with_every_class_in_its_share(counts, train, seed) -> None:
    shares = {"train": train, "validation": (1 - train) / 2, "test": (1 - train) / 2}
    strata = [code for code, count in enumerate(counts) for _ in range(count)]
    parts = split(strata, [str(code) for code in range(len(counts))], shares, seed)
    assert sorted(row for rows in parts.values() for row in rows) == list(range(len(strata)))
    for code, count in enumerate(counts):
        for part, share in shares.items():
            held = sum(strata[row] == code for row in parts[part])
            assert held >= 1
            assert abs(held - count * share) < 2, "off by rounding, and by the one row that each part must have"


def test_the_seed_alone_decides() -> None:
    strata = [0] * 50 + [1] * 50
    assert split(strata, ["a", "b"], SHARES, 1) == split(strata, ["a", "b"], SHARES, 1)
    assert split(strata, ["a", "b"], SHARES, 1) != split(strata, ["a", "b"], SHARES, 2)


def test_rows_are_mixed() -> None:
    train = split([0] * 50 + [1] * 50, ["a", "b"], SHARES, 1)["train"]
    assert train != sorted(train)


def test_too_small_a_class_is_named() -> None:
    with pytest.raises(UserError, match="class 'b' has 2 rows, too few for the 3 parts"):
        split([0] * 50 + [1] * 2, ["class 'a'", "class 'b'"], SHARES, 1)
