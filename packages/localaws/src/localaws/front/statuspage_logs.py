"""Log files for the status page: the streams of a job, and the end of one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from localaws.logs import Logs

MOST_STREAMS = 50
TAIL_BYTES = 256 * 1024
TAIL_LINES = 1000


@dataclass(frozen=True)
class Stream:
    """One log stream: its name, and its file (JSON array [epoch milliseconds, text] per line)."""

    name: str
    file: Path


def streams(logs: Logs, group: str, prefix: str) -> list[Stream]:
    """The streams of a group whose name starts with `prefix`, by name; at most 50."""
    folder = logs.file(group, "x").parent
    start = quote(prefix, safe="")
    # No pattern: a name may hold what glob takes for one.
    files = sorted(f for f in folder.iterdir() if f.name.startswith(start)) if folder.is_dir() else []
    return [Stream(unquote(file.name.removesuffix(".jsonl")), file) for file in files[:MOST_STREAMS]]


def tail(file: Path) -> tuple[list[tuple[float, str]], bool]:
    """The last lines as (epoch seconds, text), and whether there are more before them."""
    size = file.stat().st_size
    with file.open("rb") as source:
        source.seek(max(0, size - TAIL_BYTES))
        raw = source.read(TAIL_BYTES).split(b"\n")
    cut = size > TAIL_BYTES
    lines: list[tuple[float, str]] = []
    for line in raw[1:] if cut else raw:
        try:
            moment, text = json.loads(line)
        except ValueError:
            continue  # the last line while it is being written
        lines.append((moment / 1000, text))
    return lines[-TAIL_LINES:], cut or len(lines) > TAIL_LINES
