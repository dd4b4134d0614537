"""AddTags, ListTags and DeleteTags for every resource that has an ARN."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ResourceNotFound, ValidationException
from localaws.member_checks import tag_map
from localaws.registry import operation

MOST_TAGS = 50  # per resource, as in AWS
PAGE = 50
GENERAL = "AWS General Reference, Tagging AWS resources"
BEHAVIOURS = (
    Behaviour("tags: at most 50 per resource, keys that begin with aws: are reserved", "documented", GENERAL),
    Behaviour("tags of a resource go with it; a key given twice is refused", "assumed"),
    Behaviour("AddTags answers with all tags of the resource, in the order of their keys", "assumed"),
    Behaviour("tags of an unknown resource: `ResourceNotFound`", "assumed"),
)


def _existing(ctx: Context, arn: str) -> str:
    resource = ctx.store.by_arn(arn)
    if resource is None:
        raise ResourceNotFound(f"Could not find a resource with ARN {arn}")
    return resource.arn


def _as_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


@operation("AddTags")
def add_tags(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Add or replace tags."""
    arn = _existing(ctx, request["ResourceArn"])
    with ctx.store.exclusive():
        tags = ctx.store.tags(arn) | tag_map(request)
        if len(tags) > MOST_TAGS:
            raise ValidationException(f"{arn} would have {len(tags)} tags, at most {MOST_TAGS} are possible")
        ctx.store.set_tags(arn, tags)
    return {"Tags": _as_list(tags)}


@operation("ListTags")
def list_tags(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The tags of a resource, in key order; the token is the last key of the page before."""
    tags = _as_list(ctx.store.tags(_existing(ctx, request["ResourceArn"])))
    rest = [tag for tag in tags if tag["Key"] > request.get("NextToken", "")]
    size = request.get("MaxResults", PAGE)
    return {"Tags": rest[:size], "NextToken": rest[size - 1]["Key"] if len(rest) > size else None}


@operation("DeleteTags")
def delete_tags(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove tags by key."""
    ctx.store.delete_tags(_existing(ctx, request["ResourceArn"]), request["TagKeys"])
    return {}
