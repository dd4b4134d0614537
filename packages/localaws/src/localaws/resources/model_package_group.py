"""Model package groups: the named rows of model versions."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ConflictException, ValidationException
from localaws.kinds import MODEL_PACKAGE, MODEL_PACKAGE_GROUP
from localaws.listing import list_page
from localaws.member_checks import refuse, tag_map
from localaws.registry import operation
from localaws.store import StoredResource

KIND = MODEL_PACKAGE_GROUP.word
STATUS = "Completed"  # a group is complete when it is there: nothing about it takes time
UNSUPPORTED = ("ManagedConfiguration",)
ECHOED = ("ModelPackageGroupDescription",)
BEHAVIOURS = (
    Behaviour(
        "creating an existing package group: `Model Package Group already exists`",
        "seen",
        "the Airflow provider matches on it",
    ),
    Behaviour("only an empty package group can be deleted (`ConflictException`)", "assumed"),
    Behaviour("a package group is there at once; AWS shows `Pending` for a moment", "assumed"),
)


def group_name(ctx: Context, reference: str) -> str:
    """The name of a group given by name or ARN; an ARN of elsewhere names nothing here."""
    if not reference.startswith("arn:"):
        return reference
    found = ctx.store.by_arn(reference)
    if found is None or found.kind != KIND:
        raise ValidationException(f"Model Package Group {reference} does not exist.")
    return found.name


def find_group(ctx: Context, reference: str) -> StoredResource:
    """The group of a name or ARN; raises ValidationException when there is none."""
    found = ctx.store.get(KIND, group_name(ctx, reference))
    if found is None:
        raise ValidationException(f"Model Package Group {ctx.config.arn(KIND, reference)} does not exist.")
    return found


@operation("CreateModelPackageGroup")
def create_model_package_group(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """A taken name is a ValidationException whose text clients match on (the Airflow provider does)."""
    refuse(request, *UNSUPPORTED)
    name = request["ModelPackageGroupName"]
    arn = ctx.config.arn(KIND, name)
    body = {"description": request.get("ModelPackageGroupDescription"), "versions": 0}
    tags = tag_map(request)
    ctx.store.insert(KIND, name, arn, STATUS, body, tags, taken=f"Model Package Group already exists: {arn}")
    return {"ModelPackageGroupArn": arn}


def _summary(group: StoredResource) -> dict[str, Any]:
    return {
        "ModelPackageGroupName": group.name,
        "ModelPackageGroupArn": group.arn,
        "ModelPackageGroupDescription": group.body.get("description"),
        "CreationTime": group.created,
        "ModelPackageGroupStatus": group.status,
    }


@operation("DescribeModelPackageGroup")
def describe_model_package_group(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The group, by name or ARN."""
    return {**_summary(find_group(ctx, request["ModelPackageGroupName"])), "CreatedBy": {}}


@operation("ListModelPackageGroups")
def list_model_package_groups(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """All groups of the account."""
    if request.get("CrossAccountFilterOption") == "CrossAccount":
        return {"ModelPackageGroupSummaryList": []}  # there is one account here
    return list_page(ctx.store.list(KIND), request, MODEL_PACKAGE_GROUP.summaries, _summary)


@operation("DeleteModelPackageGroup")
def delete_model_package_group(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Only an empty group can be deleted."""
    group = find_group(ctx, request["ModelPackageGroupName"])
    versions = [p for p in ctx.store.list(MODEL_PACKAGE.word) if p.body.get("group") == group.name]
    if versions:
        raise ConflictException(
            f"Model Package Group {group.arn} cannot be deleted while it has {len(versions)} model packages; "
            "delete them first."
        )
    ctx.store.delete(KIND, group.name)
    return {}
