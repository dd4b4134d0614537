"""The rows behind S3: buckets, objects, multipart uploads and their parts in one SQLite file.

One connection under one lock serves all threads (a statement takes microseconds); WAL with `synchronous=NORMAL`, so a
killed process loses nothing that was committed. Keys are BLOBs: SQLite compares them byte by byte, which is S3's order.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localaws.s3.objects import Bucket, Listing, ObjectInfo, ObjectMeta, Part, Upload

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
  name TEXT PRIMARY KEY, region TEXT NOT NULL, created REAL NOT NULL, tags TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
  bucket TEXT NOT NULL REFERENCES buckets, key BLOB NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
  modified INTEGER NOT NULL, meta TEXT NOT NULL, blob TEXT NOT NULL, stamp INTEGER NOT NULL,
  PRIMARY KEY (bucket, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
  id TEXT PRIMARY KEY, bucket TEXT NOT NULL REFERENCES buckets, key BLOB NOT NULL, created REAL NOT NULL,
  meta TEXT NOT NULL, algorithm TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
  upload TEXT NOT NULL REFERENCES uploads, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
  modified INTEGER NOT NULL, checksums TEXT NOT NULL, blob TEXT NOT NULL, PRIMARY KEY (upload, number)) WITHOUT ROWID;
"""

_OBJECT = "bucket, key, size, etag, modified, meta, blob, stamp"
_UPLOAD = "id, bucket, key, created, meta, algorithm"
_PART = "number, size, etag, modified, checksums, blob"

_ABOVE = b"\xff"  # no byte of UTF-8 is this high: prefix + _ABOVE is above every key with that prefix


class Index:
    """Queries and single-row changes; every method must run inside `transaction()` or on its own as one statement."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA foreign_keys=ON")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; later calls fail."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes of the block or none; also keeps other threads out, so that what was read stays true."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keeps changes out while a row and its file are taken together."""
        with self._lock:
            yield

    # --- buckets -----------------------------------------------------------------------------------------------

    def bucket(self, name: str) -> Bucket | None:
        """The bucket, or None."""
        with self._lock:
            row = self._db.execute("SELECT name, region, created, tags FROM buckets WHERE name=?", (name,)).fetchone()
        return None if row is None else _bucket(row)

    def buckets(self) -> list[Bucket]:
        """All buckets by name."""
        with self._lock:
            rows = self._db.execute("SELECT name, region, created, tags FROM buckets ORDER BY name").fetchall()
        return [_bucket(row) for row in rows]

    def add_bucket(self, bucket: Bucket) -> None:
        """A new row; the caller has checked that there is none."""
        self._db.execute("INSERT INTO buckets VALUES (?,?,?,?)", (bucket.name, bucket.region, bucket.created, None))

    def remove_bucket(self, name: str) -> None:
        """The row and its unfinished uploads; objects must be gone."""
        self._db.execute("DELETE FROM parts WHERE upload IN (SELECT id FROM uploads WHERE bucket=?)", (name,))
        self._db.execute("DELETE FROM uploads WHERE bucket=?", (name,))
        self._db.execute("DELETE FROM buckets WHERE name=?", (name,))

    def set_bucket_tags(self, name: str, tags: dict[str, str] | None) -> None:
        """Replace the tags; None removes them."""
        with self._lock:
            self._db.execute(
                "UPDATE buckets SET tags=? WHERE name=?", (None if tags is None else json.dumps(tags), name)
            )

    # --- objects -----------------------------------------------------------------------------------------------

    def object(self, bucket: str, key: bytes) -> ObjectInfo | None:
        """The object, or None."""
        with self._lock:
            row = self._db.execute(
                f"SELECT {_OBJECT} FROM objects WHERE bucket=? AND key=?",  # noqa: S608  # constant columns
                (bucket, key),
            ).fetchone()
        return None if row is None else _object(row)

    def has_objects(self, bucket: str) -> bool:
        """Whether the bucket holds anything."""
        return self._db.execute("SELECT 1 FROM objects WHERE bucket=? LIMIT 1", (bucket,)).fetchone() is not None

    def put_object(self, info: ObjectInfo) -> None:
        """Insert or replace."""
        self._db.execute(
            "INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?,?)",
            (
                info.bucket,
                info.key.encode(),
                info.size,
                info.etag,
                info.modified,
                info.meta.to_json(),
                info.blob,
                info.stamp,
            ),
        )

    def remove_object(self, bucket: str, key: bytes) -> None:
        """Delete the row if there is one."""
        self._db.execute("DELETE FROM objects WHERE bucket=? AND key=?", (bucket, key))

    def list_page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
        """A page of at most `limit` objects and common prefixes whose names come after `after` in byte order.

        When `after` is itself a common prefix, the whole group was in the page before and is skipped.
        """
        start, group = prefix.encode(), delimiter.encode()
        lower, above = start, start + _ABOVE
        if after:
            lower = max(lower, after.encode() + b"\0")
            if group and _common(after.encode(), start, group) == after.encode():
                lower = max(lower, after.encode() + _ABOVE)
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last = after
        with self._lock:
            rows = self._rows_from(bucket, lower, above)
            while limit > 0 and (row := rows.fetchone()) is not None:
                if len(objects) + len(prefixes) >= limit:
                    return Listing(objects, prefixes, True, last)
                common = _common(row[1], start, group) if group else None
                if common is None:
                    objects.append(_object(row))
                    last = objects[-1].key
                else:  # jump over the rest of the group
                    prefixes.append(common.decode())
                    last = prefixes[-1]
                    rows = self._rows_from(bucket, common + _ABOVE, above)
        return Listing(objects, prefixes, False, last)

    def _rows_from(self, bucket: str, lower: bytes, above: bytes) -> sqlite3.Cursor:
        return self._db.execute(
            f"SELECT {_OBJECT} FROM objects WHERE bucket=? AND key>=? AND key<? ORDER BY key",  # noqa: S608
            (bucket, lower, above),
        )

    # --- multipart uploads ---------------------------------------------------------------------------------------

    def add_upload(self, upload: Upload) -> None:
        """A new upload."""
        self._db.execute(
            "INSERT INTO uploads VALUES (?,?,?,?,?,?)",
            (
                upload.id,
                upload.bucket,
                upload.key.encode(),
                upload.created,
                upload.meta.to_json(),
                upload.algorithm,
            ),
        )

    def upload(self, upload_id: str) -> Upload | None:
        """The upload, or None."""
        with self._lock:
            row = self._db.execute(
                f"SELECT {_UPLOAD} FROM uploads WHERE id=?",  # noqa: S608  # constant columns
                (upload_id,),
            ).fetchone()
        return None if row is None else _upload(row)

    def uploads(self, bucket: str, prefix: str) -> list[Upload]:
        """The unfinished uploads of a bucket by key, then start."""
        start = prefix.encode()
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_UPLOAD} FROM uploads WHERE bucket=? AND key>=? AND key<? ORDER BY key, created, id",  # noqa: S608
                (bucket, start, start + _ABOVE),
            ).fetchall()
        return [_upload(row) for row in rows]

    def remove_upload(self, upload_id: str) -> None:
        """The upload and its parts."""
        self._db.execute("DELETE FROM parts WHERE upload=?", (upload_id,))
        self._db.execute("DELETE FROM uploads WHERE id=?", (upload_id,))

    def put_part(self, upload_id: str, part: Part) -> None:
        """Insert or replace."""
        self._db.execute(
            "INSERT OR REPLACE INTO parts VALUES (?,?,?,?,?,?,?)",
            (
                upload_id,
                part.number,
                part.size,
                part.etag,
                part.modified,
                json.dumps(part.checksums),
                part.blob,
            ),
        )

    def parts(self, upload_id: str) -> list[Part]:
        """The parts by number."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT {_PART} FROM parts WHERE upload=? ORDER BY number",  # noqa: S608  # constant columns
                (upload_id,),
            ).fetchall()
        return [_part(row) for row in rows]

    def referenced(self) -> set[str]:
        """Every blob that a row points to."""
        with self._lock:
            rows = self._db.execute("SELECT blob FROM objects UNION ALL SELECT blob FROM parts").fetchall()
        return {row[0] for row in rows}


def _common(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    if not key.startswith(prefix):
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def _bucket(row: tuple[str, str, float, str | None]) -> Bucket:
    return Bucket(row[0], row[1], row[2], None if row[3] is None else json.loads(row[3]))


def _object(row: tuple[str, bytes, int, str, int, str, str, int]) -> ObjectInfo:
    bucket, key, size, etag, modified, meta, blob, stamp = row
    return ObjectInfo(bucket, key.decode(), size, etag, modified, ObjectMeta.from_json(meta), blob, stamp)


def _upload(row: tuple[str, str, bytes, float, str, str | None]) -> Upload:
    return Upload(row[0], row[1], row[2].decode(), row[3], ObjectMeta.from_json(row[4]), row[5])


def _part(row: tuple[int, int, str, int, str, str]) -> Part:
    number, size, etag, modified, sums, blob = row
    return Part(number, size, etag, modified, json.loads(sums), blob)
