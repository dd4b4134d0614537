"""What all operations ask of a request: members that are not done here are refused by name, others are needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from localaws.errors import ValidationException


def refuse(request: Mapping[str, Any], *names: str) -> None:
    """Raise ValidationException for members that this endpoint cannot honour, given as dotted paths.

    A list on the way is searched in each of its elements; a member that is absent, false or empty is no matter.
    """
    for name in names:
        if _present(request, name.split(".")):
            raise ValidationException(f"{name} is not supported by the local AWS endpoint: leave it out")


def _present(value: Any, path: Sequence[str]) -> bool:
    if isinstance(value, list):
        return any(_present(v, path) for v in value)
    if not path:
        return bool(value)
    return isinstance(value, Mapping) and _present(value.get(path[0]), path[1:])


def refuse_value(given: Mapping[str, Any], member: str, allowed: Iterable[str], where: str = "") -> None:
    """ValidationException when the member has a value other than the allowed ones; absent is allowed."""
    value = given.get(member)
    choices = list(allowed)
    if value is not None and value not in choices:
        path = f"{where}.{member}" if where else member
        raise ValidationException(
            f"'{path}' is {value!r}, which the local endpoint does not support; it supports {', '.join(choices)}"
        )


def require(request: Mapping[str, Any], *names: str) -> None:
    """Raise ValidationException for a member that the model leaves optional but the operation needs here."""
    for name in names:
        if name not in request:
            raise ValidationException(f"{name} is required")


def tag_map(request: Mapping[str, Any]) -> dict[str, str]:
    """The Tags member as a mapping; a key that is there twice is an error, as in AWS."""
    tags: dict[str, str] = {}
    for tag in request.get("Tags", ()):
        if tag["Key"] in tags:
            raise ValidationException(f"Tags holds the key '{tag['Key']}' more than once")
        if tag["Key"].lower().startswith("aws:"):
            raise ValidationException(f"The tag key '{tag['Key']}' begins with aws:, which is reserved for system use")
        tags[tag["Key"]] = tag["Value"]
    return tags
