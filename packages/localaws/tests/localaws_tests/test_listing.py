"""Every List operation with every filter, order and page size that the service model has.

Oracle: the summaries of one unfiltered page, filtered and sorted in plain Python; default orders are read from the
documentation in the model. Resources are put into a store of their own, with times and statuses chosen here.
"""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import replace
from typing import Any

import pytest

from localaws import registry, resources, shapes
from localaws.errors import ValidationException
from localaws.listing import as_listed, list_page
from localaws.profile import Profile
from localaws.store import Store, StoredResource
from localaws_tests.sample_requests import minimal

resources.load()
MODEL = shapes.service()
# Enough of each kind that every filter keeps some and drops some.
NAMES = (
    "alpha",
    "Alpha-2",
    "beta",
    "gamma-alpha",
    "delta",
    "epsilon",
    "zeta-1",
    "zeta-2",
    "eta",
    "theta",
    "iota",
    "kappa",
)
JOB = ("Completed", "Failed", "InProgress", "Stopped")
PAGING = {"NextToken", "MaxResults", "SortBy", "SortOrder"}
START = 1_700_000_000.0


def created_by(operation: str, **more: Any) -> Any:
    """A body as the Create operation would leave it."""
    body = minimal(MODEL.operation_model(operation).input_shape)
    return lambda number: {**body, **more}


def definition(kind: str) -> tuple[str, tuple[str, ...], Any]:
    request = minimal(MODEL.operation_model(f"Create{kind}JobDefinition").input_shape)
    source = f"{kind}JobInput"

    def body(number: int) -> dict[str, Any]:
        endpoint = {"EndpointName": f"endpoint-{number % 2}", "LocalPath": "/opt/ml/processing/input"}
        return {**request, source: {"EndpointInput": endpoint}}

    return (KINDS_OF_DEFINITIONS[kind], ("Completed",), body)


KINDS_OF_DEFINITIONS = {
    "DataQuality": "data-quality-job-definition",
    "ModelQuality": "model-quality-job-definition",
    "ModelBias": "model-bias-job-definition",
    "ModelExplainability": "model-explainability-job-definition",
}


def tuning_job(number: int) -> dict[str, Any]:
    """One whose one training definition is given."""
    shape = MODEL.shape_for("HyperParameterTrainingJobDefinition")
    objective = {"Type": "Minimize", "MetricName": "loss"}
    return {
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1},
            "HyperParameterTuningJobObjective": objective,
            "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "depth", "Values": ["1"]}]},
        },
        "TrainingJobDefinition": minimal(shape),
    }


def package(number: int) -> dict[str, Any]:
    """Half of them versions of a group, half unversioned."""
    approval = ("Approved", "Rejected", "PendingManualApproval")[number % 3]
    return {"ModelApprovalStatus": approval} | ({"group": "grouped", "version": number + 1} if number % 2 else {})


def schedule(number: int) -> dict[str, Any]:
    return {
        "MonitoringScheduleConfig": {
            "MonitoringJobDefinitionName": f"definition-{number % 3}",
            "MonitoringType": ("DataQuality", "ModelQuality")[number % 2],
        },
        "EndpointName": f"endpoint-{number % 2}",
    }


def execution(number: int) -> dict[str, Any]:
    return {
        "MonitoringScheduleName": f"schedule-{number % 2}",
        "ScheduledTime": START + number % 5 * 3600,
        "EndpointName": f"endpoint-{number % 2}",
        "MonitoringJobDefinitionName": f"definition-{number % 3}",
        "MonitoringType": ("DataQuality", "ModelQuality")[number % 2],
    }


SEEDS: dict[str, tuple[str, tuple[str, ...], Any]] = {
    "ListTrainingJobs": ("training-job", JOB, created_by("CreateTrainingJob", SecondaryStatus="Completed")),
    "ListProcessingJobs": ("processing-job", JOB, created_by("CreateProcessingJob")),
    "ListTransformJobs": ("transform-job", JOB, created_by("CreateTransformJob")),
    "ListHyperParameterTuningJobs": (
        "hyper-parameter-tuning-job", JOB, tuning_job,
    ),
    "ListModels": ("model", ("Completed",), created_by("CreateModel")),
    "ListEndpointConfigs": ("endpoint-config", ("Completed",), created_by("CreateEndpointConfig")),
    "ListEndpoints": ("endpoint", ("Creating", "InService", "Failed"), lambda number: {"plan": {}}),
    "ListModelPackageGroups": ("model-package-group", ("Completed",), lambda number: {"versions": 0}),
    "ListModelPackages": ("model-package", ("Completed",), package),
    "ListMonitoringSchedules": ("monitoring-schedule", ("Scheduled", "Stopped", "Pending"), schedule),
    "ListMonitoringExecutions": (
        "monitoring-execution", ("Completed", "CompletedWithViolations", "Failed"), execution,
    ),
    **{f"List{kind}JobDefinitions": definition(kind) for kind in KINDS_OF_DEFINITIONS},
}  # fmt: skip
# Lists of what belongs to one resource: their own tests have them.
ELSEWHERE = {
    "ListTags": "test_tags.py",
    "ListTrainingJobsForHyperParameterTuningJob": "test_tuning*.py",
}
TESTED = sorted(name for name in SEEDS if name in registry.OPERATIONS)


def test_every_list_operation_is_tested_here_or_named_with_its_own_test():
    assert {n for n in registry.OPERATIONS if n.startswith("List")} <= set(SEEDS) | set(ELSEWHERE)


class Clock:
    """A clock that is set before each insert."""

    now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def seeded(endpoint, tmp_path_factory):
    """Operation to a context whose store holds that operation's resources."""
    contexts: dict[str, Any] = {}
    stores = []

    def of(operation: str) -> Any:
        if operation not in contexts:
            clock = Clock()
            store = Store(tmp_path_factory.mktemp("list") / "state.sqlite3", clock)
            stores.append(store)
            fill(store, clock, *SEEDS[operation])
            contexts[operation] = replace(endpoint.ctx, store=store)
        return contexts[operation]

    yield of
    for store in stores:
        store.close()


def fill(store: Store, clock: Clock, kind: str, statuses: tuple[str, ...], body: Any) -> None:
    if kind == "model-package":
        store.insert("model-package-group", "grouped", "arn:grouped", "Completed", {"versions": 99})
    for number, name in enumerate(random.Random(kind).sample(NAMES, len(NAMES))):
        clock.now = START + number // 2 * 60  # pairs of equal times: order must not depend on luck
        made = body(number)
        stored = f"grouped/{made['version']}" if "version" in made else name
        arn = f"arn:aws:sagemaker:us-east-1:123456789012:{kind}/{stored.lower()}"
        store.insert(kind, stored, arn, statuses[number % len(statuses)], made)
        clock.now += 1000 + (number * 7) % 11 * 60
        store.update(kind, stored, touched=number)


def call(ctx: Any, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    model = MODEL.operation_model(operation)
    answer = registry.OPERATIONS[operation](ctx, shapes.validate(model.input_shape, request))
    return shapes.answer(model.output_shape, answer)


def rows_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    (rows,) = (value for key, value in answer.items() if key != "NextToken")
    return rows


def everything(ctx: Any, operation: str, request: dict[str, Any], size: int = 100) -> list[dict[str, Any]]:
    """All pages."""
    rows: list[dict[str, Any]] = []
    token: dict[str, Any] = {}
    for _ in range(len(NAMES) + 1):
        answer = call(ctx, operation, {**request, "MaxResults": size, **token})
        assert len(rows_of(answer)) <= size
        rows += rows_of(answer)
        if "NextToken" not in answer:
            return rows
        token = {"NextToken": answer["NextToken"]}
    raise AssertionError("the pages do not end")


def default_of(operation: str, member: str) -> str:
    """What the documentation of the model gives as the default."""
    shape = MODEL.operation_model(operation).input_shape.members[member]
    text = re.sub("<[^>]+>", "", shape.documentation)
    found = re.search(r"[Tt]he default is (\w+)", text)
    assert found, f"{operation}.{member}: {text}"
    return found[1]


def base_of(operation: str) -> dict[str, Any]:
    """A request that shows everything."""
    return {"ModelPackageType": "Both"} if operation == "ListModelPackages" else {}


def identity(row: dict[str, Any]) -> str:
    """What tells rows apart: the resource's own ARN."""
    for key in ("MonitoringScheduleArn", "ProcessingJobArn", "MonitoringJobDefinitionArn"):
        if key in row and "MonitoringExecutionStatus" not in row:
            return str(row[key])
    if "MonitoringExecutionStatus" in row:
        return str((row["MonitoringScheduleName"], row["ScheduledTime"], row["CreationTime"], row["LastModifiedTime"]))
    return next(str(value) for key, value in row.items() if key.endswith("Arn"))


def field(row: dict[str, Any], end: str) -> Any:
    """The member whose name ends so, e.g. the one that holds the status."""
    if end == "Name" and "ModelPackageVersion" in row:
        return row["ModelPackageGroupName"]
    exact = {"Name": ("MonitoringScheduleName", "MonitoringJobDefinitionName")}.get(end, ())
    keys = [k for k in exact if k in row] or [k for k in row if k.endswith(end) and k != "SecondaryStatus"]
    return row[keys[0]]


def keeps(row: dict[str, Any], member: str, value: Any) -> bool:
    """Whether a filter, as its documentation says it, keeps this row."""
    if member in ("NameContains",):
        return value.lower() in field(row, "Name").lower()
    if member == "StatusEquals":
        return field(row, "Status") == value
    if match := re.fullmatch(r"(\w+Time)(After|Before)", member):
        moment = row[match[1]]
        return moment > value if match[2] == "After" else moment < value
    if member == "ModelPackageType":
        versioned = "ModelPackageGroupName" in row
        return value == "Both" or (value == "Versioned") == versioned
    if member == "CrossAccountFilterOption":
        return value == "SameAccount"
    key = {"MonitoringTypeEquals": "MonitoringType"}.get(member, member)
    return row.get(key) == value


UNTESTED = {"TrainingPlanArnEquals", "WarmPoolStatusEquals"}  # refused, or tested with what makes them true


def values_of(operation: str, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """For each filter of the request: values that keep some rows and drop others."""
    found: dict[str, list[Any]] = {}
    for member, shape in MODEL.operation_model(operation).input_shape.members.items():
        if member in PAGING | UNTESTED:
            continue
        if match := re.fullmatch(r"(\w+Time)(After|Before)", member):
            moments = sorted({row[match[1]] for row in rows})
            found[member] = [moments[0], moments[len(moments) // 2], moments[-1]]
        elif member == "NameContains":
            found[member] = ["alpha", "2", "nothing"]
        elif shape.enum:
            found[member] = list(shape.enum)
        elif member == "ModelPackageGroupName":
            found[member] = ["grouped"]
        else:
            found[member] = sorted({row[member] for row in rows})
    return found


def expected(operation: str, rows: list[dict[str, Any]], request: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that fit, in the asked order; rows with equal keys in any order."""
    filters = {k: v for k, v in request.items() if k not in PAGING}
    if "ModelPackageGroupName" in filters:
        filters.pop("ModelPackageType", None)  # a group has versions only
    return [row for row in rows if all(keeps(row, member, value) for member, value in filters.items())]


def check(ctx: Any, operation: str, rows: list[dict[str, Any]], request: dict[str, Any], size: int) -> None:
    found = everything(ctx, operation, request, size)
    wanted = expected(operation, rows, request)
    assert sorted(map(identity, found)) == sorted(map(identity, wanted)), request
    sort = request.get("SortBy") or default_of(operation, "SortBy")
    order = request.get("SortOrder") or default_of(operation, "SortOrder")
    if operation == "ListMonitoringSchedules" and "SortBy" not in request:
        sort = "CreationTime"
    keys = [field(row, sort) for row in found]
    assert keys == sorted(keys, reverse=order == "Descending"), (request, sort, order)


@pytest.mark.executes("ListTrainingJobs", "ListProcessingJobs", "ListTransformJobs", "ListHyperParameterTuningJobs")
@pytest.mark.executes("ListModels", "ListEndpointConfigs", "ListEndpoints", "ListModelPackageGroups")
@pytest.mark.executes("ListModelPackages", "ListMonitoringSchedules", "ListMonitoringExecutions")
@pytest.mark.executes("ListDataQualityJobDefinitions", "ListModelQualityJobDefinitions")
@pytest.mark.executes("ListModelBiasJobDefinitions", "ListModelExplainabilityJobDefinitions")
@pytest.mark.parametrize("operation", TESTED)
def test_filters_orders_and_pages(seeded, operation):
    ctx = seeded(operation)
    rows = everything(ctx, operation, base_of(operation))
    assert len(rows) == len(NAMES)
    filters = values_of(operation, rows)
    for member, values in filters.items():
        counts = {len(expected(operation, rows, {**base_of(operation), member: value})) for value in values}
        assert counts != {len(rows)} or member == "ModelPackageType", f"{member} is not put to the test"
    members = MODEL.operation_model(operation).input_shape.members
    sorts, orders = [None, *members["SortBy"].enum], [None, *members["SortOrder"].enum]
    for sort, order in itertools.product(sorts, orders):
        request = {**base_of(operation), "SortBy": sort, "SortOrder": order}
        check(ctx, operation, rows, {k: v for k, v in request.items() if v is not None}, size=100)
    singles = [(member, value) for member, values in filters.items() for value in values]
    rng = random.Random(operation)
    for number, (member, value) in enumerate(singles):
        request = {**base_of(operation), member: value}
        check(ctx, operation, rows, request, size=number % 3 + 1)
        other, second = rng.choice(singles)
        pair = {**request, other: second, "SortBy": rng.choice(sorts[1:]), "SortOrder": rng.choice(orders[1:])}
        check(ctx, operation, rows, pair, size=rng.randint(1, 5))


@pytest.mark.parametrize("operation", TESTED)
def test_a_page_has_ten_rows_unless_asked_otherwise_and_a_token_belongs_to_its_request(seeded, operation):
    ctx = seeded(operation)
    request = base_of(operation)
    answer = call(ctx, operation, request)
    assert len(rows_of(answer)) == 10
    with pytest.raises(ValidationException, match="NextToken belongs to a request with other filters"):
        call(ctx, operation, {**request, "SortOrder": "Ascending", "NextToken": answer["NextToken"]})
    with pytest.raises(ValidationException, match="NextToken is not a token"):
        call(ctx, operation, {**request, "NextToken": "bm9uc2Vuc2U"})


def resource(name: str, created: float) -> StoredResource:
    return StoredResource("kind", name, f"arn:{name}", "Completed", created, created, {})


def test_a_token_keeps_its_place_when_rows_come_and_go():
    rows = [resource(f"n{i}", float(i)) for i in range(6)]
    request = {"MaxResults": 2, "SortOrder": "Descending", "SortBy": "CreationTime"}

    def page(resources, **token):
        answer = list_page(resources, {**request, **token}, "Rows", lambda r: {"name": r.name})
        return [row["name"] for row in answer["Rows"]], answer.get("NextToken")

    names, token = page(rows)
    assert names == ["n5", "n4"]
    changed = [r for r in rows if r.name != "n4"] + [resource("n9", 9.0)]
    assert page(changed, NextToken=token)[0] == ["n3", "n2"]


@pytest.mark.parametrize("operation", ["ListModels", "ListModelPackages"])
def test_under_a_profile_with_late_lists_new_resources_are_not_shown_yet(seeded, operation):
    ctx = seeded(operation)
    rows = everything(ctx, operation, base_of(operation))
    moments = sorted(row["CreationTime"] for row in rows)
    late = replace(ctx, profile=Profile("late", list_lag=60.0), clock=lambda: moments[-1] + 60.0)
    shown = everything(as_listed(late, operation), operation, base_of(operation), size=3)
    assert [r["CreationTime"] for r in shown] == [m for m in [r["CreationTime"] for r in shown] if m < moments[-1]]
    assert len(shown) == len([m for m in moments if m < moments[-1]])
    assert as_listed(late, "DescribeModel") is late
    assert as_listed(ctx, operation) is ctx


def test_under_the_aws_profile_training_jobs_are_filtered_by_status_after_a_page_was_read(seeded):
    ctx = replace(seeded("ListTrainingJobs"), profile=Profile("short", page=2))
    request = {"StatusEquals": "Failed", "MaxResults": 2}
    pages, token = [], {}
    for _ in range(len(NAMES) // 2):
        answer = call(ctx, "ListTrainingJobs", {**request, **token})
        pages.append([row["TrainingJobStatus"] for row in rows_of(answer)])
        token = {"NextToken": answer.get("NextToken")}
    assert token == {"NextToken": None}
    assert [] in pages, "a page without any match is followed by others"
    assert [status for page in pages for status in page] == ["Failed"] * (len(NAMES) // len(JOB))
