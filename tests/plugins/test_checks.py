"""The shifted batch of a rehearsal."""

from __future__ import annotations

import pytest

from sagewind.errors import TaskRefused
from sagewind.operators.checks import shift_columns

FEATURES = [
    {"name": "flag", "kind": "numeric"},
    {"name": "age", "kind": "numeric"},
    {"name": "city", "kind": "categorical"},
    {"name": "income", "kind": "numeric"},
]


def table() -> list[list[str]]:
    return [["0", "20", "1", "1.5"], ["1", "30", "2", "2.5"], ["0", "50", "0", "9.0"], ["1", "", "1", "4.0"]]


def test_varying_numeric_columns_move_out_of_their_range_and_keep_their_type() -> None:
    rows = table()
    assert shift_columns(rows, FEATURES, 2) == ["income", "age"]
    assert [row[0] for row in rows] == ["0", "1", "0", "1"]
    assert [row[2] for row in rows] == ["1", "2", "0", "1"]
    assert min(float(row[3]) for row in rows) > 9
    assert all(int(row[1]) > 50 for row in rows[:3])
    assert rows[3][1] == ""


def test_too_few_varying_columns_is_said() -> None:
    with pytest.raises(TaskRefused, match="2 numeric columns vary, 3 are needed"):
        shift_columns(table(), FEATURES, 3)
