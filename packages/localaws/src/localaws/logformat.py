"""The endpoint's own log on standard error: sentences, or one JSON object per line. No secret is ever in it."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

access = logging.getLogger("localaws.access")
changes = logging.getLogger("localaws.resources")

TEXT = "localaws: %(levelname)s %(name)s: %(message)s"
OPERATION = "localaws.operation"  # member of a WSGI environ: the operation, once it is known
# What a record of a request has besides, and one of a resource whose status has changed.
FIELDS = ("operation", "method", "path", "status", "error", "milliseconds", "kind", "resource", "reason")
HIDDEN = "***"
_SIGNATURES = re.compile(r"((?:Signature|X-Amz-Security-Token|SessionToken)=)[^&\s,\"']+", re.IGNORECASE)

StartResponse = Callable[..., Any]
Environ = dict[str, Any]


class Lines(logging.Formatter):
    """Formats records as text, or as JSON; what `hide` was told is replaced by stars.

    JSON has `time` (UTC, ISO 8601), `level`, `logger`, `message`, for a failure `exception`, for a request
    or a resource FIELDS.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        super().__init__(TEXT)
        self._json = as_json
        self._hidden: tuple[str, ...] = ()

    def hide(self, *secrets: str) -> None:
        """Never write these texts."""
        self._hidden += tuple(secret for secret in secrets if secret)

    def _clean(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, HIDDEN)
        return _SIGNATURES.sub(rf"\g<1>{HIDDEN}", text)

    def format(self, record: logging.LogRecord) -> str:
        """One record."""
        if not self._json:
            return self._clean(super().format(record))
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._clean(record.getMessage()),
        }
        for name in FIELDS:
            if (value := getattr(record, name, None)) is not None:
                line[name] = self._clean(value) if isinstance(value, str) else value
        if record.exc_info:
            line["exception"] = self._clean(self.formatException(record.exc_info))
        return json.dumps(line)


def configure(*, as_json: bool = False) -> Lines:
    """Send the log of this process to standard error; requests are logged one by one only as JSON."""
    lines, handler = Lines(as_json=as_json), logging.StreamHandler()
    handler.setFormatter(lines)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    access.setLevel(logging.INFO if as_json else logging.WARNING)
    return lines


def changed(kind: str, name: str, status: str, reason: str | None = None) -> None:
    """A line about a resource that has come to a new status, with the reason if there is one."""
    fields = {"kind": kind, "resource": name, "status": status, "reason": reason}
    changes.info("%s %s: %s%s", kind, name, status, f" ({reason})" if reason else "", extra=fields)


def logged(
    app: Callable[[Environ, StartResponse], Iterable[bytes]], environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """The app's answer, and a line about it: what was asked for, the status, the time until the answer began.

    Neither query nor headers are written: presigned requests carry signatures there.
    """
    began, seen = time.perf_counter(), ["000", ""]

    def remember(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        seen[:] = [status, next((value for name, value in headers if name == "x-amzn-ErrorType"), "")]
        return start_response(status, headers, *rest)

    answer = app(environ, remember)
    took = (time.perf_counter() - began) * 1000
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    fields = {
        "operation": environ.get(OPERATION),
        "method": method,
        "path": path,
        "status": int(seen[0][:3]),
        "error": seen[1] or None,
        "milliseconds": round(took, 2),
    }
    access.info("%s %s: %s", method, path, seen[0], extra=fields)
    return answer
