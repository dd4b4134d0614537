"""The record of calls: one JSON line for each call of the SageMaker API that was executed (`--call-log`)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from localaws.errors import ApiError

_VERBS = re.compile(r"^(Create|Describe|Stop|Delete|Update|Start)")
_ELSEWHERE = ("ResourceArn", "ModelPackageArn", "ModelPackageGroupName")


class CallLog:
    """Appends to one file; a line is one write, so that threads and a restarted endpoint never mix theirs."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._clock = clock

    @contextmanager
    def written(self, operation: str, body: bytes, agent: str = "") -> Iterator[None]:
        """Write the call down when the block ends, with the outcome."""
        outcome = "ok"
        try:
            yield
        except BaseException as error:
            outcome = error.code if isinstance(error, ApiError) else "InternalFailure"
            raise
        finally:
            request = _document(body)
            line = {
                "time": self._clock(),
                "operation": operation,
                "name": _name(operation, request),
                "tags": {tag["Key"]: tag["Value"] for tag in _tags(request)},
                "outcome": outcome,
                "agent": agent,
            }
            os.write(self._file, (json.dumps(line) + "\n").encode())


def _document(body: bytes) -> dict[str, Any]:
    """The request; whatever is not one has been refused and has neither name nor tags."""
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tags(request: dict[str, Any]) -> list[dict[str, str]]:
    tags = request.get("Tags")
    return [tag for tag in tags if isinstance(tag, dict) and {"Key", "Value"} <= set(tag)] if tags else []


def _name(operation: str, request: dict[str, Any]) -> str:
    own = _VERBS.sub("", operation) + "Name"
    return next((str(request[member]) for member in (own, *_ELSEWHERE) if member in request), "")
