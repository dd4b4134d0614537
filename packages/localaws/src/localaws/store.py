"""Resources and tags in one SQLite file, so that a restart loses nothing."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, overload

from localaws import logformat
from localaws.errors import ResourceInUse, ValidationException
from localaws.states import Transitions
from localaws.store_query import INDEXES, Query

SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL, name TEXT NOT NULL, arn TEXT NOT NULL UNIQUE, status TEXT NOT NULL,
    created REAL NOT NULL, modified REAL NOT NULL, body TEXT NOT NULL,
    UNIQUE (kind, name));
CREATE TABLE IF NOT EXISTS tags (
    arn TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (arn, key));
"""
SCHEMA_VERSION = 1
FIELDS = "kind, name, arn, status, created, modified, body"


@dataclass(frozen=True)
class StoredResource:
    """One stored thing; `created` and `modified` are epoch seconds, `body` is its JSON document."""

    kind: str
    name: str
    arn: str
    status: str
    created: float
    modified: float
    body: dict[str, Any]


def _epoch(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _dump(body: Mapping[str, Any]) -> str:
    return json.dumps(body, default=_epoch, separators=(",", ":"))


def _resource(row: tuple[str, str, str, str, float, float, str]) -> StoredResource:
    kind, name, arn, status, created, modified, body = row
    return StoredResource(kind, name, arn, status, created, modified, json.loads(body))


Found = list[StoredResource]  # `list` is a method's name in Store


class StoredRows(Sequence[StoredResource]):
    """All resources of a kind, oldest first; read when they are looked at, or page by page with `page`."""

    def __init__(self, store: Store, kind: str) -> None:
        self._store = store
        self._kind = kind

    def page(self, query: Query) -> list[StoredResource]:
        """Only those that the query asks for, in its order."""
        return self._store.find(self._kind, query)

    def __iter__(self) -> Iterator[StoredResource]:
        return iter(self._store.all_of(self._kind))

    def __len__(self) -> int:
        return self._store.count(self._kind)

    @overload
    def __getitem__(self, index: int) -> StoredResource: ...
    @overload
    def __getitem__(self, index: slice) -> list[StoredResource]: ...
    def __getitem__(self, index: int | slice) -> StoredResource | list[StoredResource]:
        return self._store.all_of(self._kind)[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # compared by what it holds now


class Store:
    """Thread-safe access to the state file; every method is one transaction.

    The name is unique within a kind and the ARN overall. Documents are JSON; datetimes become epoch floats.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in (0, SCHEMA_VERSION):
            raise RuntimeError(
                f"{path} has layout {version}, this program knows {SCHEMA_VERSION}: use another --state directory"
            )
        self._db.executescript(SCHEMA + INDEXES)
        self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other threads out, so that what is read here is still true when it is written back."""
        with self._lock:
            yield

    def close(self) -> None:
        """Close the file; later calls fail."""
        with self._lock:
            self._db.close()

    def insert(
        self,
        kind: str,
        name: str,
        arn: str,
        status: str,
        body: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        *,
        taken: str = "",
    ) -> StoredResource:
        """Add a resource with its tags.

        When the name or ARN is taken it raises ResourceInUse naming it; given `taken`, a ValidationException that says
        this, as AWS does for some kinds.
        """
        now = self._clock()
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.execute(
                    "INSERT INTO resources (kind, name, arn, status, created, modified, body)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (kind, name, arn, status, now, now, _dump(body)),
                )
                self._db.executemany(
                    "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)",
                    [(arn, key, value) for key, value in (tags or {}).items()],
                )
                self._db.execute("COMMIT")
            except sqlite3.IntegrityError:
                self._db.execute("ROLLBACK")
                if taken:
                    raise ValidationException(taken) from None
                thing = kind.replace("-", " ")
                raise ResourceInUse(
                    f"{thing.capitalize()} names must be unique within an AWS account and region, "
                    f"or a {thing} with this name already exists ({arn})"
                ) from None
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return StoredResource(kind, name, arn, status, now, now, json.loads(_dump(body)))

    def _one(self, where: str, values: tuple[str, ...]) -> StoredResource | None:
        with self._lock:
            row = self._db.execute(
                f"SELECT {FIELDS} FROM resources WHERE " + where,  # noqa: S608
                values,
            ).fetchone()
        return None if row is None else _resource(row)

    def get(self, kind: str, name: str) -> StoredResource | None:
        """The resource, or None."""
        return self._one("kind = ? AND name = ?", (kind, name))

    def by_arn(self, arn: str) -> StoredResource | None:
        """The resource with this ARN, or None."""
        return self._one("arn = ?", (arn,))

    def update(self, kind: str, name: str, *, status: str | None = None, **body_changes: Any) -> StoredResource:
        """Replace the status and top-level members of the body; a member set to None is removed.

        Raises KeyError when the resource does not exist (any more).
        """
        with self._lock:
            old = self.get(kind, name)
            if old is None:
                raise KeyError(f"{kind} {name} does not exist")
            body = {k: v for k, v in {**old.body, **body_changes}.items() if v is not None}
            now = self._clock()
            self._db.execute(
                "UPDATE resources SET status = ?, modified = ?, body = ? WHERE kind = ? AND name = ?",
                (status or old.status, now, _dump(body), kind, name),
            )
        return StoredResource(kind, name, old.arn, status or old.status, old.created, now, json.loads(_dump(body)))

    def transition(self, kind: str, name: str, table: Transitions, event: str, **body_changes: Any) -> StoredResource:
        """Move along a state table and change the body in the same step; raises IllegalTransition."""
        with self._lock:
            old = self.get(kind, name)
            if old is None:
                raise KeyError(f"{kind} {name} does not exist")
            new = self.update(kind, name, status=table.next(old.status, event), **body_changes)
        said = body_changes.get("FailureReason") or body_changes.get("ExitMessage")
        logformat.changed(kind, name, new.status, said)
        return new

    def delete(self, kind: str, name: str) -> bool:
        """Remove the resource and its tags; False when there was none."""
        with self._lock:
            old = self.get(kind, name)
            if old is None:
                return False
            self._db.execute("DELETE FROM tags WHERE arn = ?", (old.arn,))
            self._db.execute("DELETE FROM resources WHERE kind = ? AND name = ?", (kind, name))
        return True

    def list(self, kind: str) -> StoredRows:
        """All resources of a kind, oldest first; nothing is read before it is looked at."""
        return StoredRows(self, kind)

    def all_of(self, kind: str) -> Found:
        """All resources of a kind as they are now, oldest first."""
        with self._lock:
            rows = self._db.execute(f"SELECT {FIELDS} FROM resources WHERE kind = ? ORDER BY seq", (kind,)).fetchall()  # noqa: S608
        return [_resource(row) for row in rows]

    def count(self, kind: str) -> int:
        """How many resources of a kind there are."""
        with self._lock:
            (number,) = self._db.execute("SELECT count(*) FROM resources WHERE kind = ?", (kind,)).fetchone()
        return int(number)

    def find(self, kind: str, query: Query) -> Found:
        """The resources of a kind that the query asks for."""
        text, values = query.sql(kind)
        with self._lock:
            rows = self._db.execute(f"SELECT {FIELDS} FROM resources {text}", values).fetchall()  # noqa: S608
        return [_resource(row) for row in rows]

    def set_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add or replace tags."""
        with self._lock:
            self._db.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", [(arn, k, v) for k, v in tags.items()])

    def tags(self, arn: str) -> dict[str, str]:
        """The tags of an ARN, by key."""
        with self._lock:
            rows = self._db.execute("SELECT key, value FROM tags WHERE arn = ? ORDER BY key", (arn,)).fetchall()
        return dict(rows)

    def delete_tags(self, arn: str, keys: Iterable[str]) -> None:
        """Remove tags; keys that are not there are no error, as in AWS."""
        with self._lock:
            self._db.executemany("DELETE FROM tags WHERE arn = ? AND key = ?", [(arn, key) for key in keys])
