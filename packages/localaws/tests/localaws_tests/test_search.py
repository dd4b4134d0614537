"""Search: operators, nested filters, order and pages. Oracle: the same question in plain Python over the records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localaws import registry, resources, shapes
from localaws.errors import ValidationException
from localaws.search_query import compile_expression, find_property
from localaws.store import Store
from localaws_tests.conftest import training_request
from localaws_tests.test_listing import Clock

resources.load()
MODEL = shapes.service()
JOB = MODEL.shape_for("SearchRecord").members["TrainingJob"]
START = 1_700_000_000.0
CHANNELS = [
    [("train", "s3://a/train"), ("test", "s3://b/test")],
    [("train", "s3://b/test"), ("test", "s3://a/train")],
    [],
]


def channel(name: str, uri: str) -> dict[str, Any]:
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


def body(number: int) -> dict[str, Any]:
    request = training_request(f"job-{number}", HyperParameters={"eta": f"0.{number}", "booster": "gbtree"})
    channels = [channel(*pair) for pair in CHANNELS[number % 3]]
    metrics = [{"MetricName": "validation:auc", "Value": 0.5 + number / 100, "Timestamp": START}]
    return {
        **request,
        **({"InputDataConfig": channels} if channels else {}),
        **({"FinalMetricDataList": metrics} if number % 2 else {}),
        "SecondaryStatus": "Completed",
        "SecondaryStatusTransitions": [],
        "ModelArtifacts": {"S3ModelArtifacts": "s3://a/m"},
        "EnableNetworkIsolation": number == 4,
        "BillableTimeInSeconds": number * 10,
    }


@pytest.fixture(scope="module")
def ctx(endpoint, tmp_path_factory):
    """Seven training jobs, two groups, three versions, with times and tags that are chosen here."""
    clock = Clock()
    store = Store(tmp_path_factory.mktemp("search") / "state.sqlite3", clock)
    arn = "arn:aws:sagemaker:us-east-1:123456789012"
    for number in range(7):
        clock.now = START + number * 60
        status = "Completed" if number % 2 else "Failed"
        tags = {"project": f"p{number % 3}"} if number else {}
        store.insert("training-job", f"job-{number}", f"{arn}:training-job/job-{number}", status, body(number), tags)
    for name in ("alpha", "beta"):
        store.insert("model-package-group", name, f"{arn}:model-package-group/{name}", "Completed", {"versions": 3})
    for version in (1, 2, 3):
        approval = "Approved" if version == 2 else "Rejected"
        document = {"group": "alpha", "version": version, "ModelApprovalStatus": approval}
        store.insert("model-package", f"alpha/{version}", f"{arn}:model-package/alpha/{version}", "Completed", document)
    yield replace(endpoint.ctx, store=store)
    store.close()


def ask(ctx: Any, resource: str = "TrainingJob", **request: Any) -> dict[str, Any]:
    model = MODEL.operation_model("Search")
    valid = shapes.validate(model.input_shape, {"Resource": resource, **request})
    return shapes.answer(model.output_shape, registry.OPERATIONS["Search"](ctx, valid))


def numbers(ctx: Any, *filters: dict[str, Any], **more: Any) -> list[int]:
    found = ask(ctx, SearchExpression={"Filters": list(filters), **more}, MaxResults=100, SortOrder="Ascending")
    return [int(r["TrainingJob"]["TrainingJobName"][4:]) for r in found["Results"]]


def where(name: str, operator: str | None = None, value: str | None = None) -> dict[str, Any]:
    given = {"Name": name, "Operator": operator, "Value": value}
    return {key: text for key, text in given.items() if text is not None}


@pytest.mark.executes("Search")
@pytest.mark.parametrize(
    ("condition", "found"),
    [
        (where("TrainingJobName", "Equals", "job-3"), [3]),
        (where("TrainingJobName", None, "job-3"), [3]),
        (where("TrainingJobName", "NotEquals", "job-3"), [0, 1, 2, 4, 5, 6]),
        (where("TrainingJobName", "Contains", "b-5"), [5]),
        (where("TrainingJobName", "In", "job-1, job-4,nobody"), [1, 4]),
        (where("TrainingJobStatus", "Equals", "Completed"), [1, 3, 5]),
        (where("BillableTimeInSeconds", "GreaterThan", "40"), [5, 6]),
        (where("BillableTimeInSeconds", "GreaterThanOrEqualTo", "40"), [4, 5, 6]),
        (where("BillableTimeInSeconds", "LessThan", "10"), [0]),
        (where("BillableTimeInSeconds", "LessThanOrEqualTo", "10"), [0, 1]),
        (where("BillableTimeInSeconds", "Equals", "20.0"), [2]),
        (where("CreationTime", "GreaterThan", "2023-11-14T22:17:20"), [5, 6]),
        (where("CreationTime", "LessThanOrEqualTo", "2023-11-14T22:14:20"), [0, 1]),
        (where("EnableNetworkIsolation", "Equals", "true"), [4]),
        (where("HyperParameters.eta", "Equals", "0.2"), [2]),
        (where("HyperParameters.eta", "LessThan", "0.15"), [0, 1]),
        (where("HyperParameters.eta", "Exists"), [0, 1, 2, 3, 4, 5, 6]),
        (where("HyperParameters.alpha", "Exists"), []),
        (where("InputDataConfig", "NotExists"), [2, 5]),
        (where("InputDataConfig.ChannelName", "Equals", "test"), [0, 1, 3, 4, 6]),
        (where("Tags.project", "Equals", "p2"), [2, 5]),
        (where("Tags.project", "NotExists"), [0]),
        (where("Metrics.validation:auc", "GreaterThan", "0.52"), [3, 5]),
        (where("Metrics.validation:auc", "NotExists"), [0, 2, 4, 6]),
        (where("AlgorithmSpecification.TrainingInputMode", "Equals", "File"), [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_operators(ctx, condition, found):
    assert numbers(ctx, condition) == found


def test_nested_filters_hold_for_one_element(ctx):
    name, uri = "InputDataConfig.ChannelName", "InputDataConfig.DataSource.S3DataSource.S3Uri"
    both = [where(name, "Equals", "train"), where(uri, "Equals", "s3://a/train")]
    assert numbers(ctx, *both) == [0, 1, 3, 4, 6], "each by some channel"
    nested = {"NestedFilters": [{"NestedPropertyName": "InputDataConfig", "Filters": both}]}
    found = ask(ctx, SearchExpression=nested, SortOrder="Ascending")
    assert [r["TrainingJob"]["TrainingJobName"] for r in found["Results"]] == ["job-0", "job-3", "job-6"]


def test_expressions_combine(ctx):
    one, two = where("TrainingJobName", "Equals", "job-1"), where("TrainingJobName", "Equals", "job-2")
    assert numbers(ctx, one, two) == []
    assert numbers(ctx, one, two, Operator="Or") == [1, 2]
    completed = where("TrainingJobStatus", "Equals", "Completed")
    assert numbers(ctx, completed, SubExpressions=[{"Filters": [one, two], "Operator": "Or"}]) == [1]


def test_order_pages_and_totals(ctx):
    newest = ask(ctx, MaxResults=3)
    assert [r["TrainingJob"]["TrainingJobName"] for r in newest["Results"]] == ["job-6", "job-5", "job-4"]
    assert newest["TotalHits"] == {"Value": 7, "Relation": "EqualTo"}
    names, token = [], {}
    for _ in range(3):
        page = ask(ctx, MaxResults=3, SortBy="Metrics.validation:auc", SortOrder="Descending", **token)
        names += [r["TrainingJob"]["TrainingJobName"] for r in page["Results"]]
        token = {"NextToken": page.get("NextToken")}
    assert names[:3] == ["job-5", "job-3", "job-1"], "those without the metric come last"
    assert sorted(names) == [f"job-{n}" for n in range(7)]
    assert token == {"NextToken": None}
    with pytest.raises(ValidationException, match="other filters or another order"):
        ask(ctx, SortBy="TrainingJobName", NextToken=newest["NextToken"])


def test_other_resources(ctx):
    found = ask(ctx, "ModelPackage", SearchExpression={"Filters": [where("ModelApprovalStatus", "Equals", "Approved")]})
    assert [r["ModelPackage"]["ModelPackageVersion"] for r in found["Results"]] == [2]
    found = ask(ctx, "ModelPackageGroup", SortBy="ModelPackageGroupName", SortOrder="Ascending")
    assert [r["ModelPackageGroup"]["ModelPackageGroupName"] for r in found["Results"]] == ["alpha", "beta"]
    assert ask(ctx, "ModelPackageGroup")["TotalHits"]["Value"] == 2
    assert ask(ctx, "Endpoint")["Results"] == []
    assert ask(ctx, CrossAccountFilterOption="CrossAccount")["Results"] == []


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"Filters": [where("Flavour", "Equals", "x")]}, "Unknown property name: Flavour"),
        ({"Filters": [where("ResourceConfig.Flavour", "Exists")]}, "Unknown property name: ResourceConfig.Flavour"),
        ({"Filters": [where("TrainingJobName", "GreaterThan", "x")]}, "not supported for the string property"),
        ({"Filters": [where("BillableTimeInSeconds", "Contains", "1")]}, "supported for text only"),
        ({"Filters": [where("BillableTimeInSeconds", "Equals", "many")]}, "is no integer"),
        ({"Filters": [where("CreationTime", "LessThan", "yesterday")]}, "is no timestamp"),
        ({"Filters": [where("EnableNetworkIsolation", "Equals", "maybe")]}, "neither true nor false"),
        ({"Filters": [where("TrainingJobName", "Equals")]}, "needs a Value"),
        ({"Filters": [where("ResourceConfig", "Equals", "x")]}, "has no value of its own"),
        ({"Filters": [where("TrainingJobName", "Contains", x) for x in "ab"]}, "'CONTAINS' operator usage limit of 1"),
        ({"SubExpressions": [{"Filters": [where("TrainingJobName", "Exists")] * 20}] * 3}, "has 63 conditions"),
        ({"Operator": "Or"}, "at least one filter"),
        (
            {
                "NestedFilters": [
                    {"NestedPropertyName": "ResourceConfig", "Filters": [where("ResourceConfig.x", "Exists")]}
                ]
            },
            "is no list of objects",
        ),
        (
            {
                "NestedFilters": [
                    {"NestedPropertyName": "InputDataConfig", "Filters": [where("TrainingJobName", "Exists")]}
                ]
            },
            "must begin with InputDataConfig.",
        ),
    ],
)
def test_expressions_that_make_no_sense_are_named(ctx, expression, message):
    with pytest.raises(ValidationException, match=message):
        ask(ctx, SearchExpression=expression)


def test_resources_that_are_not_here_are_refused_by_name(ctx):
    for resource in ("Pipeline", "Experiment", "Model"):
        with pytest.raises(ValidationException, match=f"Search for the Resource {resource} is not supported"):
            ask(ctx, resource)


# Expressions of any depth, against the plain reading of And and Or over three numbers.
LEAVES = st.tuples(
    st.sampled_from(["TrainingTimeInSeconds", "BillableTimeInSeconds"]),
    st.sampled_from(["Equals", "NotEquals", "GreaterThan", "LessThanOrEqualTo", "Exists", "NotExists"]),
    st.integers(0, 3),
)
TREES = st.recursive(
    LEAVES,
    lambda below: st.tuples(st.sampled_from(["And", "Or"]), st.lists(below, min_size=1, max_size=3)),
    max_leaves=8,
)


def as_expression(tree: Any) -> dict[str, Any]:
    if isinstance(tree[1], str):
        name, operator, value = tree
        return {"Filters": [where(name, operator, None if "Exists" in operator else str(value))]}
    operator, below = tree
    return {"Operator": operator, "SubExpressions": [as_expression(each) for each in below]}


def truth(tree: Any, record: dict[str, int]) -> bool:
    if not isinstance(tree[1], str):
        return (any if tree[0] == "Or" else all)(truth(each, record) for each in tree[1])
    name, operator, value = tree
    found = record.get(name)
    if operator in ("Exists", "NotExists"):
        return (found is not None) == (operator == "Exists")
    if operator in ("Equals", "NotEquals"):
        return (found == value) == (operator == "Equals")
    return found is not None and (found > value if operator == "GreaterThan" else found <= value)


@settings(max_examples=200)
@given(
    tree=TREES,
    record=st.dictionaries(st.sampled_from(["TrainingTimeInSeconds", "BillableTimeInSeconds"]), st.integers(0, 3)),
)
def test_any_expression_means_what_it_says(tree, record):
    assert compile_expression(JOB, as_expression(tree))(record) == truth(tree, record)


def test_keys_with_dots_are_whole():
    assert find_property(JOB, "HyperParameters.a.b").path == ("HyperParameters", "a.b")
    assert find_property(JOB, "Tags.a.b").path == ("Tags", "a.b")
