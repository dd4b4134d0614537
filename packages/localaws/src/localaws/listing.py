"""What all List operations have in common: filters, order and pages."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.profile import DEFAULT_PAGE
from localaws.store import Store, StoredResource, StoredRows
from localaws.store_query import Query

Summary = Callable[[StoredResource], dict[str, Any]]
NOT_PART_OF_QUERY = ("NextToken", "MaxResults")
BEHAVIOURS = (
    Behaviour("lists: the default order of each operation", "documented", "the List operations' SortBy and SortOrder"),
    Behaviour("lists: ten per page", "documented", "the List operations' MaxResults, where they give a default"),
    Behaviour(
        "ListTrainingJobs reads MaxResults jobs and then filters by status, so that pages may be empty; here with "
        "`--profile aws` only",
        "documented",
        "ListTrainingJobs",
    ),
    Behaviour("lists: bounds of times are exclusive, names are compared whatever the case", "assumed"),
    Behaviour("lists: a token keeps its place when resources come and go; with other filters it is refused", "assumed"),
    Behaviour("lists show a new resource at once (`--profile aws`: after a while, as AWS's may)", "assumed"),
)


def _digest(request: Mapping[str, Any]) -> str:
    query = {k: v for k, v in request.items() if k not in NOT_PART_OF_QUERY}
    return hashlib.sha256(json.dumps(query, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _encode(position: tuple[Any, str], request: Mapping[str, Any]) -> str:
    raw = json.dumps([*position, _digest(request)]).encode()
    return base64.urlsafe_b64encode(raw).decode()


def _decode(token: str, request: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        value, name, digest = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error):
        raise ValidationException("NextToken is not a token that this endpoint issued") from None
    if digest != _digest(request) or not isinstance(name, str):
        raise ValidationException("NextToken belongs to a request with other filters or another order")
    return value, name


def _sort_value(resource: StoredResource, sort_by: str) -> Any:
    if sort_by == "Name":
        return resource.name
    if sort_by == "Status":
        return resource.status
    if sort_by == "LastModifiedTime":
        return resource.modified
    if sort_by in ("CreationTime", "None"):
        return resource.created
    value = resource.body.get(sort_by)
    return "" if value is None else value


def _query(request: Mapping[str, Any], sort_by: str, descending: bool, name_key: str, status_key: str) -> Query:
    """The same request as the store understands it."""
    columns = {
        "Name": "name",
        "Status": "status",
        "LastModifiedTime": "modified",
        "CreationTime": "created",
        "None": "created",
    }
    token = request.get("NextToken")
    return Query(
        contains=request.get(name_key),
        status=request.get(status_key),
        created_after=request.get("CreationTimeAfter"),
        created_before=request.get("CreationTimeBefore"),
        modified_after=request.get("LastModifiedTimeAfter"),
        modified_before=request.get("LastModifiedTimeBefore"),
        sort=columns.get(sort_by, sort_by),
        descending=descending,
        after=_decode(token, request) if token else None,
        limit=request.get("MaxResults", DEFAULT_PAGE) + 1,
    )


def _matches(resource: StoredResource, request: Mapping[str, Any], name_key: str, status_key: str) -> bool:
    contains = request.get(name_key)
    if contains is not None and contains.lower() not in resource.name.lower():
        return False
    if request.get(status_key) not in (None, resource.status):
        return False
    for key, moment in (("CreationTime", resource.created), ("LastModifiedTime", resource.modified)):
        if moment <= request.get(f"{key}After", float("-inf")):
            return False
        if moment >= request.get(f"{key}Before", float("inf")):
            return False
    return True


def list_page(
    resources: Iterable[StoredResource],
    request: Mapping[str, Any],
    result_key: str,
    summary: Summary,
    *,
    name_key: str = "NameContains",
    status_key: str = "StatusEquals",
    default_order: str = "Ascending",
    default_sort: str = "CreationTime",
) -> dict[str, Any]:
    """One page of a List operation: `{result_key: [...], "NextToken": ...}`.

    Understands NameContains, StatusEquals, CreationTimeAfter/Before, LastModifiedTimeAfter/Before, SortBy,
    SortOrder, MaxResults and NextToken where the request has them. A token keeps its place when items are
    added or removed between two pages, and is refused with other filters than those it was issued for.
    """
    sort_by = request.get("SortBy", default_sort)
    descending = request.get("SortOrder", default_order) == "Descending"

    def key(resource: StoredResource) -> tuple[Any, str]:
        return _sort_value(resource, sort_by), resource.name

    if isinstance(resources, StoredRows):
        found = resources.page(_query(request, sort_by, descending, name_key, status_key))
    else:
        found = [r for r in resources if _matches(r, request, name_key, status_key)]
        found.sort(key=key, reverse=descending)
        if token := request.get("NextToken"):
            last = _decode(token, request)
            found = [r for r in found if (key(r) < last if descending else key(r) > last)]
    size = request.get("MaxResults", DEFAULT_PAGE)
    answer: dict[str, Any] = {result_key: [summary(r) for r in found[:size]]}
    if len(found) > size:
        answer["NextToken"] = _encode(key(found[size - 1]), request)
    return answer


class _Late(Store):
    """A store as it looked a while ago, as far as lists go: what is newer than `before` is not in them yet."""

    def __init__(self, store: Store, before: float) -> None:
        self.__dict__.update(store.__dict__)
        self._before = before

    def find(self, kind: str, query: Query) -> list[StoredResource]:
        bound = self._before if query.created_before is None else min(self._before, query.created_before)
        return super().find(kind, replace(query, created_before=bound))

    def all_of(self, kind: str) -> list[StoredResource]:
        return [r for r in super().all_of(kind) if r.created < self._before]

    def count(self, kind: str) -> int:
        return len(self.all_of(kind))


def as_listed(ctx: Context, operation: str) -> Context:
    """The context for an operation: List and Search operations may see new resources late (`Profile.list_lag`)."""
    if not ctx.profile.list_lag or not operation.startswith(("List", "Search")):
        return ctx
    return replace(ctx, store=_Late(ctx.store, ctx.clock() - ctx.profile.list_lag))
