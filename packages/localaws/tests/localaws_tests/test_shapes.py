"""Validation against botocore's model; oracle: botocore's own validator and the patterns themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.model import ListShape, Shape, StructureShape
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from localaws import registry, resources, shapes
from localaws.errors import SerializationException, ValidationException
from localaws_tests.sample_requests import minimal

resources.load()
MODEL = shapes.service()
STRINGS = [
    shape
    for shape in map(MODEL.shape_for, MODEL.shape_names)
    if shape.type_name == "string" and shape.metadata.get("pattern")
]
PLAIN = [
    shape for shape in STRINGS if r"\p" not in shape.metadata["pattern"] and r"\u" not in shape.metadata["pattern"]
]


NESTED = re.compile(r"[*+}]\)+[*+{]")  # a repetition in a repetition: a text that does not match takes for ever
PLAIN = [shape for shape in PLAIN if not NESTED.search(shape.metadata["pattern"])]


def input_of(operation: str) -> StructureShape:
    return MODEL.operation_model(operation).input_shape


def test_every_pattern_of_the_model_compiles() -> None:
    assert len(STRINGS) > 400  # else the model was read wrongly, and nothing is looked at
    for shape in STRINGS:
        assert shapes.compile_pattern(shape.metadata["pattern"]).pattern


@settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_pattern_generates_is_accepted_and_a_line_end_after_it_is_not(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(PLAIN), label="shape")
    pattern = shape.metadata["pattern"]
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True), label="text")
    assert shapes.compile_pattern(pattern).fullmatch(text)
    longer = text + "\n"
    assert bool(shapes.compile_pattern(pattern).fullmatch(longer)) == bool(re.fullmatch(pattern, longer))


JAVA_ONLY = [
    (r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "größe 数据 1.5@x", "a,b"),
    (r"([\p{L}\p{Z}\p{N}_.:/=+\-]*)", "größe 数据 1.5", "a@b"),
    (r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,128}", "team/größe", "a,b"),
    (r"([\p{L}\p{Z}\p{N}_.:\/=+\-@]*)${1,256}", "team/größe", "a;b"),
    (r"[\p{L}\p{M}\p{S}\p{N}\p{P}]+", "größe€1.5!", "a b"),
    (r"[\p{L}\p{M}\p{Z}\p{N}\p{P}]{0,1024}", "größe 数据", "€"),
    (r"[\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]*", "größe 数据 1.5€", "\x00"),
    (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*", "a\t\U0001f600", "\x01"),
    (r"arn:[\p{Alnum}\-]+:lambda:[\p{Alnum}\-]+:[0-9]{12}:function:.*",
     "arn:aws:lambda:eu-west-1:123456789012:function:x", "arn:ä:lambda:eu-west-1:123456789012:function:x"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [*JAVA_ONLY, (r"\d+", "123", "\u0663")],
)
def test_java_syntax(pattern: str, good: str, bad: str) -> None:
    assert shapes.compile_pattern(pattern).fullmatch(good)
    assert not shapes.compile_pattern(pattern).fullmatch(bad)


def test_all_patterns_that_python_cannot_read_are_tested() -> None:
    unreadable = set()
    for shape in STRINGS:
        try:
            re.compile(shape.metadata["pattern"])
        except re.error:
            unreadable.add(shape.metadata["pattern"])
    assert unreadable == {pattern for pattern, _, _ in JAVA_ONLY}


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


MINE = sorted(name for name in registry.OPERATIONS if MODEL.operation_model(name).input_shape)


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


def leaves(shape: Shape, request: Any, path: str) -> Iterator[tuple[str, dict[str, Any], str, Shape]]:
    """Texts and numbers of a request that are members of objects: path in messages, object, member, shape."""
    if isinstance(shape, ListShape):
        for number, item in enumerate(request, 1):
            yield from leaves(shape.member, item, f"{path}.{number}.member")
    elif isinstance(shape, StructureShape):
        for name, value in request.items():
            below = f"{path}.{name[:1].lower()}{name[1:]}" if path else f"{name[:1].lower()}{name[1:]}"
            member = shape.members[name]
            if member.type_name in ("string", "integer", "long", "float", "double"):
                yield below, request, name, member
            else:
                yield from leaves(member, value, below)


def broken(shape: Shape) -> Iterator[tuple[Any, str]]:
    """Values that break one constraint of a shape, with the constraint's words."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if shape.type_name != "string":
        if low is not None:
            yield low - 1, f"Member must have value greater than or equal to {low}"
        if high is not None:
            yield high + 1, f"Member must have value less than or equal to {high}"
        return
    if shape.enum:
        yield "NoSuchValue", "Member must satisfy enum value set: ["
    if high is not None:
        yield "a" * (high + 1), f"Member must have length less than or equal to {high}"
    if low:
        yield "", f"Member must have length greater than or equal to {low}"
    if pattern := shape.metadata.get("pattern"):
        unfit = [text for text in ("\x00", " ", "a\nb") if not shapes.compile_pattern(pattern).fullmatch(text)]
        yield from ((text, f"Member must satisfy regular expression pattern: {pattern}") for text in unfit[:1])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_one_broken_constraint_is_named_with_its_path(data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(MINE))
    shape = input_of(operation)
    request = minimal(shape, optional=data.draw(st.sampled_from([0.0, 0.3, 1.0])), rng=data.draw(st.randoms()))
    assert shapes.validate(shape, request) == request, "the sample itself is valid"
    choices = [(leaf, wrong) for leaf in leaves(shape, request, "") for wrong in broken(leaf[3])]
    assume(choices)
    (path, holder, name, _), (value, words) = data.draw(st.sampled_from(choices))
    holder[name] = value
    text = refusal(operation, request)
    assert f"Value '{value}' at '{path}' failed to satisfy constraint: {words}" in text


def refusal(operation: str, request: dict[str, Any]) -> str:
    with pytest.raises(ValidationException) as error:
        shapes.validate(input_of(operation), request)
    return error.value.message


def test_texts_seen_on_aws() -> None:
    """The sentences of public reports: sagemaker-python-sdk 384 and 314, zenml 1502, detectron2 10."""
    name = "health_and_personal_care"
    text = refusal("DescribeTrainingJob", {"TrainingJobName": name})
    assert text == (
        f"1 validation error detected: Value '{name}' at 'trainingJobName' failed to satisfy constraint: "
        "Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    )
    long = "basic-zenml-project-pipeline-2023-04-24-12-22-59-886794-step-show-sagemaker-s3-link"
    text = refusal("DescribeTrainingJob", {"TrainingJobName": long})
    assert text.startswith("2 validation errors detected: ")
    assert f"Value '{long}' at 'trainingJobName' failed to satisfy constraint: " in text
    assert "Member must have length less than or equal to 63" in text
    required = dict.fromkeys(input_of("CreateTrainingJob").required_members)
    given = {"HyperParameters": {"epochs": "10", "labels": "x" * 2501}}
    text = refusal("CreateTrainingJob", required | given)
    assert (
        f"Value '{{epochs=10, labels={'x' * 2501}}}' at 'hyperParameters' failed to satisfy constraint: "
        "Map value must satisfy constraint: [Member must have length less than or equal to 2500, "
        "Member must have length greater than or equal to 0, "
        "Member must satisfy regular expression pattern: .*]"
    ) in text


def test_lists_and_objects_are_shown_whole() -> None:
    vpc = {"SecurityGroupIds": ["sg-1", "not good"], "Subnets": ["s"]}
    text = refusal("CreateModel", {"ModelName": "m", "VpcConfig": vpc})
    assert text == (
        "1 validation error detected: Value '[sg-1, not good]' at 'vpcConfig.securityGroupIds' failed to satisfy "
        "constraint: Member must satisfy constraint: [Member must have length less than or equal to 32, "
        "Member must have length greater than or equal to 0, "
        "Member must satisfy regular expression pattern: [-0-9a-zA-Z]+]"
    )
    many = [{"Key": f"k{n}", "Value": "v"} for n in range(51)]
    text = refusal("AddTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:123456789012:model/m", "Tags": many})
    assert text.startswith("1 validation error detected: Value '[Tag(key=k0, value=v), Tag(key=k1, value=v), ")
    assert text.endswith("at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50")


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
