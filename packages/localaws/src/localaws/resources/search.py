"""Search over the resources that are here; the records are what Describe says, with the tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localaws import shapes
from localaws.context import Context
from localaws.errors import ApiError, ValidationException
from localaws.kinds import ENDPOINT, MODEL_PACKAGE, MODEL_PACKAGE_GROUP, TRAINING_JOB, TUNING_JOB, ResourceKind
from localaws.listing import list_page
from localaws.member_checks import refuse
from localaws.registry import Handler, operation
from localaws.resources import (
    endpoint,
    hyper_parameter_tuning_job,
    model_package,
    model_package_group,
    training_job,
)
from localaws.search_query import Property, check_limits, compile_expression, find_property
from localaws.store import StoredResource


@dataclass(frozen=True)
class _Searched:
    """A kind that can be searched, with the answer to its Describe, which tells its properties."""

    kind: ResourceKind
    describe: Handler
    by_arn: bool = False


SEARCHED = {
    each.kind.noun: each
    for each in (
        _Searched(TRAINING_JOB, training_job.describe_training_job),
        _Searched(TUNING_JOB, hyper_parameter_tuning_job.describe_tuning_job),
        _Searched(ENDPOINT, endpoint.describe_endpoint),
        _Searched(MODEL_PACKAGE, model_package.describe_model_package, by_arn=True),
        _Searched(MODEL_PACKAGE_GROUP, model_package_group.describe_model_package_group),
    )
}


def _records(ctx: Context, searched: _Searched) -> Iterator[tuple[StoredResource, dict[str, Any]]]:
    for found in ctx.store.list(searched.kind.word):
        try:
            name = found.arn if searched.by_arn else found.name
            record = searched.describe(ctx, {searched.kind.name_member: name})
        except ApiError:
            continue  # deleted since the list was read
        tags = [{"Key": key, "Value": value} for key, value in ctx.store.tags(found.arn).items()]
        yield found, {"LastModifiedTime": found.modified, **record, "Tags": tags}


def _rank(record: dict[str, Any], order: Property) -> list[Any]:
    """What records are sorted by: those without the property count as the lowest."""
    values = order.values(record)
    return [1, values[0]] if values else [0, ""]


@operation("Search")
def search(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The records that satisfy the expression; newest change first unless asked otherwise."""
    refuse(request, "VisibilityConditions")
    name = request["Resource"]
    searched = SEARCHED.get(name)
    if searched is None:
        raise ValidationException(
            f"Search for the Resource {name} is not supported by the local AWS endpoint; it knows {', '.join(SEARCHED)}"
        )
    if request.get("CrossAccountFilterOption") == "CrossAccount":
        return {"Results": [], "TotalHits": {"Value": 0, "Relation": "EqualTo"}}  # there is one account here
    shape: Any = shapes.service().shape_for("SearchRecord")
    shape = shape.members[name]
    default = "LastModifiedTime" if "LastModifiedTime" in shape.members else "CreationTime"
    order = find_property(shape, request.get("SortBy", default))
    if order.kind in ("structure", "map"):
        raise ValidationException(f"SortBy {order.name} has no value of its own: name one of its members")
    test = None
    if (expression := request.get("SearchExpression")) is not None:
        check_limits(expression)
        test = compile_expression(shape, expression)
    found = [
        StoredResource(name, resource.arn, resource.arn, "", 0.0, 0.0, {"rank": _rank(record, order), "record": record})
        for resource, record in _records(ctx, searched)
        if test is None or test(record)
    ]
    page = list_page(
        found,
        {**request, "SortBy": "rank", "asked": request.get("SortBy")},
        "Results",
        lambda resource: {name: resource.body["record"]},
        default_order="Descending",
    )
    return {**page, "TotalHits": {"Value": len(found), "Relation": "EqualTo"}}
