"""Labels by identifier, on disk: the join of captured data with ground truth in memory that does not grow with either.

An index of SQLite in a temporary file; a million labels take about a hundred megabytes of disk.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Label:
    """A ground truth: its JSON as it came, and the end of the hour in which it was collected, if its path tells."""

    data: str
    known_by: datetime | None


class LabelIndex:
    """Ground truth by identifier, with what was asked of it."""

    def __init__(self, path: Path) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode = OFF")
        self.database.execute("PRAGMA synchronous = OFF")
        self.database.execute("CREATE TABLE label (id TEXT PRIMARY KEY, data TEXT, known_by TEXT) WITHOUT ROWID")
        self.database.execute("CREATE TABLE answered (id TEXT PRIMARY KEY) WITHOUT ROWID")
        self.database.execute("BEGIN")

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    def put(self, identifier: str, label: Label) -> bool | None:
        """Store a label; one that is there already is replaced.

        None if the identifier is new, True if the label changed, False if it was the same again.
        """
        known_by = label.known_by.isoformat() if label.known_by else None
        done = self.database.execute("INSERT OR IGNORE INTO label VALUES (?, ?, ?)", (identifier, label.data, known_by))
        if done.rowcount:
            return None
        (before,) = self.database.execute("SELECT data FROM label WHERE id = ?", (identifier,)).fetchone()
        if before == label.data:
            return False
        self.database.execute(
            "UPDATE label SET data = ?, known_by = ? WHERE id = ?", (label.data, known_by, identifier)
        )
        return True

    def find(self, identifier: str) -> Label | None:
        """The label of an identifier, or None."""
        found = self.database.execute("SELECT data, known_by FROM label WHERE id = ?", (identifier,)).fetchone()
        return None if found is None else Label(found[0], datetime.fromisoformat(found[1]) if found[1] else None)

    def first_time(self, identifier: str) -> bool:
        """True if this identifier of a captured request was not seen before."""
        done = self.database.execute("INSERT OR IGNORE INTO answered VALUES (?)", (identifier,))
        return bool(done.rowcount)

    def count(self) -> int:
        """How many identifiers have a label."""
        return int(self.database.execute("SELECT count(*) FROM label").fetchone()[0])

    def strangers(self) -> tuple[str | None, str | None]:
        """A request's identifier without a label, and a label's without a request: how they differ is often seen."""
        request = "SELECT min(id) FROM answered WHERE id NOT IN (SELECT id FROM label)"
        label = "SELECT min(id) FROM label WHERE id NOT IN (SELECT id FROM answered)"
        return self.database.execute(request).fetchone()[0], self.database.execute(label).fetchone()[0]

    def unused(self) -> int:
        """How many labels no captured request was found for."""
        query = "SELECT count(*) FROM label WHERE id NOT IN (SELECT id FROM answered)"
        return int(self.database.execute(query).fetchone()[0])
