"""localaws's record of calls, read while it grows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagewind.facts.kinds import KINDS
from sagewind.facts.tags import full

CREATES, STOPS, DESCRIBES = (
    {f"{verb}{kind.stem}": kind.name for kind in KINDS.values()} for verb in ("Create", "Stop", "Describe")
)


@dataclass(frozen=True)
class Call:
    """One executed call of the SageMaker API."""

    time: float
    operation: str
    name: str
    tags: dict[str, str]
    outcome: str

    @property
    def ok(self) -> bool:
        """Whether it was not refused."""
        return self.outcome == "ok"

    def tag(self, key: str) -> str:
        """One of our owner tags; empty if the request has none."""
        return self.tags.get(full(key), "")


class CallFile:
    """Remembers how far it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def skip(self) -> None:
        """Only what comes from now on is of interest."""
        self._read = self._path.stat().st_size if self._path.exists() else 0

    def more(self) -> list[Call]:
        """What was written since the last time; a line that is not complete yet comes the next time."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as stream:
            stream.seek(self._read)
            whole, end, _ = stream.read().rpartition(b"\n")
        self._read += len(whole) + len(end)
        return [_call(json.loads(line)) for line in whole.splitlines()]


def _call(line: dict[str, Any]) -> Call:
    return Call(line["time"], line["operation"], line["name"], line["tags"], line["outcome"])
