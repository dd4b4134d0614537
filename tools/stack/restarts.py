"""When a component that has ended is started again, and the record of it: written by the guardian, read by `status`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.stack.state import write_private

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before a component is started again: doubled each time."""
LIVED = 60.0
"""A component that has run for so many seconds has started well: after its next end the pauses begin anew."""
AGAIN_AND_AGAIN = 3
"""So many ends in a row, none of them after a good start, and a component counts as one that cannot run."""


@dataclass
class Life:
    """One component: what runs now, and how it ended last. Times are epoch seconds, as people read them."""

    log: str
    lasting: bool
    """Whether it runs as long as the stack; steps of the start end by themselves and are not started again."""
    pid: int | None = None
    since: float | None = None
    restarts: int = 0
    in_a_row: int = 0
    ended: float | None = None
    code: int | None = None
    reason: str = ""

    @property
    def pause(self) -> float:
        """Seconds from its last end to its next start."""
        return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.in_a_row - 1, 10)))

    def begin(self, pid: int, now: float) -> None:
        """It runs."""
        self.restarts += self.ended is not None
        self.pid, self.since = pid, now

    def end(self, code: int | None, reason: str, lived: float, now: float) -> None:
        """It has ended after `lived` seconds; without a code it could not be executed, for `reason`."""
        self.in_a_row = 1 if lived >= LIVED else self.in_a_row + 1
        self.pid, self.code, self.reason, self.ended = None, code, reason, now

    def how(self) -> str:
        """How it ended last: the predicate of a sentence about it."""
        return how_it_ended(self.code, self.reason)

    def fails(self, now: float) -> bool:
        """Whether it should run and does not, or has only just been started after it ended again and again."""
        if not self.lasting:
            return False
        young = self.since is None or now - self.since < LIVED
        return self.pid is None or (young and self.in_a_row >= AGAIN_AND_AGAIN)


def how_it_ended(code: int | None, reason: str = "") -> str:
    """The predicate for an exit code (negative: a signal), or for the reason why there is none."""
    if code is None:
        return f"could not be started ({reason})" if reason else "ended unexpectedly"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def write(path: Path, lives: Mapping[str, Life]) -> None:
    """Replace the record, whole or not at all."""
    write_private(path, json.dumps({name: asdict(life) for name, life in lives.items()}, indent=1))


def read(path: Path) -> dict[str, Life]:
    """What the guardian has written; empty before its first component."""
    try:
        return {name: Life(**life) for name, life in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}


def death_sentence(name: str, how: str, log: Path, lines: int = 3) -> str:
    """What ended, how (a predicate), the last `lines` of its log and where the log is."""
    if not lines:
        return f"The component {name} {how} (log: {log})."
    last = last_lines(log, lines)
    said = f"; its last lines: {' | '.join(last)}" if last else "; its log is empty"
    return f"The component {name} {how}{said} (log: {log})."


def last_lines(log: Path, count: int, width: int = 240) -> list[str]:
    """The last non-empty lines of a log, each cut to `width` characters; empty if there is no log."""
    try:
        with log.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 16384))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return [line[:width] for line in kept[-count:]]
