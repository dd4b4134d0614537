"""Validation against botocore's model; oracle: botocore's own validator and the patterns themselves."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.model import Shape, StructureShape
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from include.localaws import registry, shapes
from include.localaws.errors import SerializationException, ValidationException

registry.load()
MODEL = shapes.service()
STRINGS = [
    shape
    for shape in map(MODEL.shape_for, MODEL.shape_names)
    if shape.type_name == "string" and shape.metadata.get("pattern")
]
PLAIN = [
    shape for shape in STRINGS if r"\p" not in shape.metadata["pattern"] and r"\u" not in shape.metadata["pattern"]
]


def input_of(operation: str) -> StructureShape:
    return MODEL.operation_model(operation).input_shape


def test_every_pattern_of_the_model_compiles() -> None:
    for shape in STRINGS:
        shapes.compile_pattern(shape.metadata["pattern"])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_pattern_generates_is_accepted_and_a_line_end_after_it_is_not(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(PLAIN), label="shape")
    pattern = shape.metadata["pattern"]
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True), label="text")
    assert shapes.compile_pattern(pattern).fullmatch(text)
    longer = text + "\n"
    assert bool(shapes.compile_pattern(pattern).fullmatch(longer)) == bool(re.fullmatch(pattern, longer))


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"[\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]*", "größe 数据 1.5€", "\x00"),
        (r"arn:[\p{Alnum}\-]+:lambda:.*", "arn:aws:lambda:x", "arn:ä:lambda:x"),
        (r"\d+", "123", "\u0663"),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", "a\t\U0001f600", "\x01"),
    ],
)
def test_java_syntax(pattern: str, good: str, bad: str) -> None:
    assert shapes.compile_pattern(pattern).fullmatch(good)
    assert not shapes.compile_pattern(pattern).fullmatch(bad)


def values(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of the right JSON type, not necessarily within the constraints."""
    kind = shape.type_name
    if kind == "structure":
        members = {
            name: values(member, depth + 1)
            for name, member in shape.members.items()
            if name in shape.required_members or depth < 2
        }
        required = {n: m for n, m in members.items() if n in shape.required_members}
        optional = {n: m for n, m in members.items() if n not in required}
        return st.fixed_dictionaries(required, optional=dict(list(optional.items())[:4]))
    if kind == "list":
        return st.lists(values(shape.member, depth + 1), max_size=2)
    if kind == "map":
        return st.dictionaries(st.text("ab", min_size=1, max_size=3), values(shape.value, depth + 1), max_size=2)
    if kind == "string":
        return st.sampled_from(shape.enum) if shape.enum else st.text("aZ1-/: ", max_size=8)
    if kind in ("integer", "long"):
        return st.integers(-2, 100)
    if kind in ("float", "double"):
        return st.floats(-2, 2)
    return st.booleans() if kind == "boolean" else st.just(1.5e9)


MINE = ["CreateTrainingJob", "CreateProcessingJob", "CreateHyperParameterTuningJob", "ListTrainingJobs", "AddTags"]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_botocore_refuses_is_refused_here(data: st.DataObject) -> None:
    shape = input_of(data.draw(st.sampled_from(MINE)))
    request = data.draw(values(shape))
    refused_there = ParamValidator().validate(request, shape).has_errors()
    if refused_there:
        with pytest.raises(ValidationException, match="validation error"):
            shapes.validate(shape, request)
        return
    try:
        assert shapes.validate(shape, request) == request
    except ValidationException:
        event("refused here only: botocore does not look at patterns and enumerations")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), wrong=st.sampled_from([[], {}, "text", True, 7, 1.5]))
def test_a_wrong_json_type_is_a_serialization_error(data: st.DataObject, wrong: object) -> None:
    shape = input_of("CreateTrainingJob")
    name = data.draw(st.sampled_from(sorted(shape.members)))
    kinds = {"structure": dict, "map": dict, "list": list, "string": str, "boolean": bool}
    assume(type(wrong) is not kinds[shape.members[name].type_name])
    with pytest.raises(SerializationException, match="must be"):
        shapes.validate(shape, {name: wrong})


def test_messages_in_the_style_of_aws() -> None:
    with pytest.raises(ValidationException) as error:
        shapes.validate(input_of("ListTrainingJobs"), {"MaxResults": 101, "SortOrder": "Up"})
    assert error.value.message == (
        "2 validation errors detected: Value '101' at 'maxResults' failed to satisfy constraint: "
        "Member must have value less than or equal to 100; Value 'Up' at 'sortOrder' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Ascending, Descending]"
    )
    with pytest.raises(ValidationException) as error:
        shapes.validate(input_of("AddTags"), {"ResourceArn": "x" * 257, "Tags": [{"Key": "", "Value": "v"}]})
    assert "at 'tags.1.member.key' failed to satisfy constraint: Member must have length greater" in error.value.message


def test_unknown_members_and_nulls() -> None:
    with pytest.raises(ValidationException, match="'Max' is no member of ListTrainingJobsRequest"):
        shapes.validate(input_of("ListTrainingJobs"), {"Max": 1})
    assert shapes.validate(input_of("ListTrainingJobs"), {"MaxResults": None, "CreationTimeAfter": 5}) == {
        "CreationTimeAfter": 5.0
    }


def test_answers_are_cut_to_the_output_shape_and_checked() -> None:
    shape = MODEL.shape_for("TrainingJobSummary")
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    whole = {
        "TrainingJobName": "a", "TrainingJobArn": "arn", "CreationTime": moment, "TrainingJobStatus": "Completed",
    }  # fmt: skip
    cut = shapes.answer(shape, {**whole, "Secret": 1, "TrainingEndTime": None})
    assert cut == {**whole, "CreationTime": moment.timestamp()}
    with pytest.raises(TypeError, match="lacks TrainingJobName"):
        shapes.answer(shape, {"TrainingJobArn": "arn"})
    with pytest.raises(TypeError, match="TrainingJobName must be string"):
        shapes.answer(shape, {**whole, "TrainingJobName": 5})


def test_every_registered_operation_is_one_of_aws() -> None:
    assert set(registry.OPERATIONS) <= set(MODEL.operation_names)
