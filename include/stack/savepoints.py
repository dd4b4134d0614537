"""SQLite that waits for the database instead of failing.

Python's sqlite3 begins a transaction before the first write, but a SAVEPOINT begins one by itself, as a reader. A
reader that later writes is refused at once with "database is locked" if any other process wrote in between, whatever
the time-out (sqlite.org/rescode.html, SQLITE_BUSY_SNAPSHOT). Airflow opens a savepoint, looks for a run and then adds
one for every date of a backfill, while the scheduler writes heartbeats: seen, `airflow backfill create` died of it.

Any other writer waits for its turn, by default for five seconds. On a machine with other work they can pass while the
process that writes is not let run.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

PATIENCE = 60_000
"""Milliseconds that a writer waits for its turn."""


def write_from_the_start() -> None:
    """Let every outermost SQLite savepoint of this process take the write lock, for which it waits like any write."""
    if not event.contains(Engine, "connect", _wait_for_the_turn):
        event.listen(Engine, "connect", _wait_for_the_turn)
    if not event.contains(Engine, "savepoint", _take_the_write_lock):
        event.listen(Engine, "savepoint", _take_the_write_lock)


def _take_the_write_lock(connection: Connection, name: str) -> None:
    driver = connection.connection.driver_connection
    if connection.dialect.driver == "pysqlite" and driver is not None and not driver.in_transaction:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _wait_for_the_turn(connection: Any, _record: object) -> None:
    if "sqlite" in type(connection).__module__:  # sqlite3 itself, or what makes aiosqlite look like it
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {PATIENCE}")
        cursor.close()
