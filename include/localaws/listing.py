"""What all List operations have in common: filters, order and pages."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from include.localaws.errors import ValidationException
from include.localaws.store import Resource

Summary = Callable[[Resource], dict[str, Any]]
PAGE_SIZE = 10  # the API's default for MaxResults
NOT_PART_OF_QUERY = ("NextToken", "MaxResults")


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


def _sort_value(resource: Resource, sort_by: str) -> Any:
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


def _matches(resource: Resource, request: Mapping[str, Any], name_key: str, status_key: str) -> bool:
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
    resources: Iterable[Resource],
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

    def key(resource: Resource) -> tuple[Any, str]:
        return _sort_value(resource, sort_by), resource.name

    found = [r for r in resources if _matches(r, request, name_key, status_key)]
    found.sort(key=key, reverse=descending)
    if token := request.get("NextToken"):
        last = _decode(token, request)
        found = [r for r in found if (key(r) < last if descending else key(r) > last)]
    size = request.get("MaxResults", PAGE_SIZE)
    answer: dict[str, Any] = {result_key: [summary(r) for r in found[:size]]}
    if len(found) > size:
        answer["NextToken"] = _encode(key(found[size - 1]), request)
    return answer
