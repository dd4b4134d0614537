"""What the endpoint's owner asks of the endpoint itself, below `/_localaws/`. Signed like any call.

POST /_localaws/faults takes the members of `faults.CallFault` as JSON and answers 201 with the fault and its id,
GET lists what is still to come, DELETE forgets all, DELETE /_localaws/faults/ID one. POST /_localaws/reset ends all
work and empties the account; it is answered when that is done.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

from localaws.errors import ResourceNotFound, ValidationException
from localaws.faults import Faults
from localaws.front.auth import Environ, read_body

log = logging.getLogger("localaws.admin")

PREFIX = "/_localaws/"
RESET = "/_localaws/reset"
FAULTS = re.compile(r"/_localaws/faults(?:/(?P<id>[^/]+))?/?")


def answer(faults: Faults, reset: Callable[[], None], environ: Environ) -> tuple[int, dict[str, Any]]:
    """Status and document of an admin call whose caller has been let in; raises ApiError."""
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if path == RESET and method == "POST":
        reset()
        return 200, {}
    match = FAULTS.fullmatch(path)
    if match is None:
        raise ResourceNotFound(
            f"{method} {path} is not served here; there are /_localaws/faults and POST /_localaws/reset"
        )
    one = match["id"]
    if method == "GET" and one is None:
        return 200, {"Faults": faults.pending()}
    if method == "POST" and one is None:
        fault = faults.add(_document(environ))
        log.info("fault %s is asked for: %s of %s", fault.id, fault.error or "delay", fault.operation)
        return 201, vars(fault)
    if method == "DELETE":
        gone = faults.clear(None if one is None else [one])
        if one is not None and not gone:
            raise ResourceNotFound(f"There is no fault {one}: it was never asked for, or all its calls have come")
        return 200, {"Cleared": gone}
    raise ValidationException(f"{method} {path} is not possible: GET, POST and DELETE of /_localaws/faults are")


def _document(environ: Environ) -> dict[str, Any]:
    try:
        document = json.loads(read_body(environ) or b"{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ValidationException("The body of POST /_localaws/faults is not a JSON object")
    return document
