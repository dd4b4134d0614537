"""Shifted traffic for the drift demonstration: what changes in the rows, and which columns must be named for it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tools.stack.errors import StackError

TableRows = list[list[str]]
#: What the preparing job writes for a category that training has not seen (ordinal encoding).
UNSEEN = "-1.0"
YEARS = 15.0
NULL_SHARE = 0.03
SEED = 7


def shift(rows: TableRows, features: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Change `rows` in place; returns column -> what was done to it. StackError if the model has too few columns.

    A number moves up (an `age` by 15 years, any other by its own spread), the most frequent category of a column gets a
    name that training has not seen, and 3 % of another number's cells become empty.
    """
    numbers = _numbers(rows, features)
    categories = [index for index, feature in enumerate(features) if feature["kind"] == "categorical"]
    if len(numbers) < 2:
        raise StackError(f"{len(numbers)} columns of the model hold varying numbers; the demonstration needs two.")
    aged = next((index for index in numbers if features[index]["name"] == "age"), numbers[0])
    emptied = next(index for index in numbers if index != aged)
    done = {features[aged]["name"]: _move(rows, aged, features[aged]["name"])}
    if categories:
        renamed = max(categories, key=lambda index: _most_frequent(rows, index)[1])
        done[features[renamed]["name"]] = _rename(rows, renamed)
    done[features[emptied]["name"]] = _empty(rows, emptied)
    return done


def _numbers(rows: TableRows, features: Sequence[dict[str, Any]]) -> list[int]:
    """Columns of numbers, those with the most different values first."""
    found = []
    for index, feature in enumerate(features):
        different = len({row[index] for row in rows})
        if feature["kind"] == "numeric" and different > 2:
            found.append((-different, index))
    return [index for _, index in sorted(found)]


def _move(rows: TableRows, index: int, name: str) -> str:
    values = [float(row[index]) for row in rows if row[index]]
    by = YEARS if name == "age" else max(values) - min(values)
    _each(rows, index, lambda cell: repr(float(cell) + by) if cell else cell)
    return f"+ {by:g}"


def _most_frequent(rows: TableRows, index: int) -> tuple[str, int]:
    return Counter(row[index] for row in rows).most_common(1)[0]


def _rename(rows: TableRows, index: int) -> str:
    common, count = _most_frequent(rows, index)
    _each(rows, index, lambda cell: UNSEEN if cell == common else cell)
    return f"its most frequent category renamed ({count / len(rows):.0%} of the rows)"


def _empty(rows: TableRows, index: int) -> str:
    chance = random.Random(SEED)  # noqa: S311 - a repeatable sample, not a secret
    for row in chance.sample(rows, max(1, round(len(rows) * NULL_SHARE))):
        row[index] = ""
    return f"{NULL_SHARE:.0%} empty"


def _each(rows: TableRows, index: int, change: Callable[[str], str]) -> None:
    for row in rows:
        row[index] = change(row[index])
