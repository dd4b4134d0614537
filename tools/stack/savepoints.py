"""SQLite that waits for the database instead of failing.

Python's sqlite3 begins a transaction before the first write, but a SAVEPOINT begins one by itself, as a reader. A
reader that later writes is refused at once with "database is locked" if any other process wrote in between, whatever
the time-out (sqlite.org/rescode.html, SQLITE_BUSY_SNAPSHOT). Airflow opens a savepoint, looks for a run and then adds
one for every date of a backfill, while the scheduler writes heartbeats: seen, `airflow backfill create` died of it.

Any other writer waits for its turn, by default for five seconds. On a machine with other work they can pass while the
process that writes is not let run.

The api-server must not wait long. Airflow 3.3.2 writes its log of who asked for what on the event loop
(`api_fastapi.logging.decorators.log_action`), and while that waits, no other request of the process can end its
transaction: the one that holds the lock neither. Seen: a run was marked failed while a task told its end, and for the
whole patience nobody could write.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

PATIENCE = 60_000
"""Milliseconds that a writer waits for its turn."""
API_PATIENCE = 3_000
"""The same in the api-server. Who is refused then asks again: tasks by themselves, the stack by `AirflowApi.change`."""
_patience = PATIENCE


def write_from_the_start(patience: int = PATIENCE) -> None:
    """Let every outermost SQLite savepoint of this process take the write lock, for which it waits like any write: for
    `patience` milliseconds."""
    global _patience
    _patience = patience
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
        cursor.execute(f"PRAGMA busy_timeout = {_patience}")
        cursor.close()
