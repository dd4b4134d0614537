"""JSON paths of batch transform against another implementation of JSONPath."""

from __future__ import annotations

import json
from typing import Any

import jsonpath_ng
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localaws.transform.csv_filter import FilterError
from localaws.transform.json_path import parse

NAMES = ["id", "a", "features"]
VALUES = st.recursive(
    st.integers(-9, 9) | st.sampled_from(["x", None, True]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)
INDEX = st.integers(-4, 3)
SLICE = st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 4))


def text_of(piece: Any) -> str:
    kind, value = piece
    if kind == "name":
        return f".{value}"
    if kind == "quoted":
        return f"['{value}']"
    if kind == "index":
        return f"[{value}]"
    if kind == "slice":
        return f"[{'' if value[0] is None else value[0]}:{'' if value[1] is None else value[1]}]"
    return "[*]"


PIECES = st.one_of(
    st.tuples(st.just("name"), st.sampled_from(NAMES)),
    st.tuples(st.just("quoted"), st.sampled_from(NAMES)),
    st.tuples(st.just("index"), INDEX),
    st.tuples(st.just("slice"), SLICE),
)


@given(VALUES, st.lists(PIECES, max_size=4))
def test_a_path_meets_what_another_implementation_meets(value: Any, pieces: list[Any]) -> None:
    text = "$" + "".join(text_of(piece) for piece in pieces)
    expected = [match.value for match in jsonpath_ng.parse(text).find(value)]
    definite = all(kind != "slice" for kind, _ in pieces)
    try:
        found = parse(text).select(value)
    except FilterError:
        assert not expected  # what does not fit is an error for us, and nothing for them
        return
    assert (found if not definite else [found]) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", {"id": 1, "features": [1, 2, 3], "deep": {"a": [{"b": 4}, {"b": 5}]}}),
        ("$.features", [1, 2, 3]),
        ("$['id']", 1),
        ("$['id','features']", {"id": 1, "features": [1, 2, 3]}),
        ('$["id", "features"]', {"id": 1, "features": [1, 2, 3]}),
        ("$.features[0]", 1),
        ("$.features[-1]", 3),
        ("$.features[1:]", [2, 3]),
        ("$.features[0,2]", [1, 3]),
        ("$.features[0,1:]", [1, 2, 3]),
        ("$.features.*", [1, 2, 3]),
        ("$.deep.a[*].b", [4, 5]),
        ("$.deep.['a']", [{"b": 4}, {"b": 5}]),
        ("$.deep.a[0]['b']", 4),
        ("$.deep.*", [[{"b": 4}, {"b": 5}]]),
    ],
)
def test_what_a_path_gives(path: str, expected: Any) -> None:
    value = {"id": 1, "features": [1, 2, 3], "deep": {"a": [{"b": 4}, {"b": 5}]}}
    assert parse(path).select(json.loads(json.dumps(value))) == expected


@pytest.mark.parametrize("path", ["$.b", "$['id','b']", "$.id[0]", "$.list[7]", "$.list.*.x[0].y.z", "$.id.*"])
def test_what_is_not_there_is_an_error_unless_a_choice_led_there(path: str) -> None:
    value = {"id": 1, "list": [1, 2]}
    if "*.x" in path:
        assert parse(path).select(value) == []
        return
    with pytest.raises(FilterError, match="the filter"):
        parse(path).select(value)


@pytest.mark.parametrize(
    "path", ["", "id", "$..id", "$[?(@.id>1)]", "$['a','b", "$[]", "$.", "$[0:2:1]", "$.f()", "$['a.b'][", "$ .a"]
)
def test_other_operators_are_refused(path: str) -> None:
    with pytest.raises(FilterError, match="is not a path that batch transform knows"):
        parse(path)
