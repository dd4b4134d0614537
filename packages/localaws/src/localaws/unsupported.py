"""Refusal of values that this endpoint does not act on: named, never ignored (whole members: execution.refuse)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from localaws.errors import ValidationException


def refuse_value(given: Mapping[str, Any], member: str, allowed: Iterable[str], where: str = "") -> None:
    """ValidationException when the member has a value other than the allowed ones; absent is allowed."""
    value = given.get(member)
    choices = list(allowed)
    if value is not None and value not in choices:
        path = f"{where}.{member}" if where else member
        raise ValidationException(
            f"'{path}' is {value!r}, which the local endpoint does not support; it supports {', '.join(choices)}"
        )
