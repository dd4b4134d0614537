"""The times that a run looks at, and the hour that a folder stands for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sagewind.facts import contract
from sagewind.jobs.config import parse_time

#: yyyy/mm/dd/hh, as data capture and ground truth lay out their folders.
HOUR_FOLDER = re.compile(r"(?:^|/)(\d{4})/(\d{2})/(\d{2})/(\d{2})(?:/|$)")


@dataclass(frozen=True)
class CaptureWindow:
    """The times that count: start <= time < end; None is no bound."""

    start: datetime | None
    end: datetime | None

    @classmethod
    def of_environment(cls) -> CaptureWindow:
        """From the settings `start_time` and `end_time`; UserError if one is no time."""
        start, end = (os.environ.get(name) for name in (contract.START_TIME, contract.END_TIME))
        return cls(
            parse_time(start, contract.START_TIME) if start else None,
            parse_time(end, contract.END_TIME) if end else None,
        )

    def holds(self, moment: datetime) -> bool:
        """True if a request at `moment` counts."""
        return (self.start is None or self.start <= moment) and (self.end is None or moment < self.end)

    def touches(self, path: Path) -> bool:
        """True unless the path's folder stands for an hour that lies outside."""
        found = HOUR_FOLDER.search(path.parent.as_posix())
        if found is None:
            return True
        try:
            hour = datetime(*map(int, found.groups()), tzinfo=timezone.utc)  # type: ignore[arg-type,misc]
        except ValueError:
            return True
        return (self.end is None or hour < self.end) and (self.start is None or self.start < hour + timedelta(hours=1))

    def words(self) -> str:
        """E.g. `from 2026-01-01T00:00:00+00:00 to 2026-01-02T00:00:00+00:00`."""
        start = self.start.isoformat() if self.start else "the beginning"
        end = self.end.isoformat() if self.end else "now"
        return f"from {start} to {end}"
