"""A savepoint that reads and then writes, as Airflow's backfill does, while another process writes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from tools.stack import savepoints


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "airflow.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE runs (name TEXT)")
    return path


@pytest.fixture
def listening() -> Iterator[None]:
    savepoints.write_from_the_start()
    savepoints.write_from_the_start()
    yield
    event.remove(Engine, "savepoint", savepoints._take_the_write_lock)
    event.remove(Engine, "connect", savepoints._wait_for_the_turn)


def add_if_absent(database: Path, between: AbstractContextManager[object]) -> list[str]:
    """In a savepoint: read, let another connection try to write (no time to wait), write. Returns all names."""
    engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 0})
    with engine.connect() as connection, connection.begin(), connection.begin_nested():
        assert connection.execute(text("SELECT name FROM runs")).all() == []
        with closing(sqlite3.connect(database, timeout=0)) as other, between, other:
            other.execute("INSERT INTO runs VALUES ('theirs')")
        connection.execute(text("INSERT INTO runs VALUES ('ours')"))
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT name FROM runs")).scalars())


def test_sqlite_refuses_a_savepoint_that_read_before_another_wrote(database: Path) -> None:
    with pytest.raises(OperationalError, match="database is locked"):
        add_if_absent(database, between=nullcontext())


@pytest.mark.usefixtures("listening")
def test_a_savepoint_writes_from_its_start_and_the_other_one_waits(database: Path) -> None:
    locked = pytest.raises(sqlite3.OperationalError, match="database is locked")
    assert add_if_absent(database, between=locked) == ["ours"]


@pytest.mark.usefixtures("listening")
def test_a_savepoint_inside_a_transaction_that_has_written_is_left_alone(database: Path) -> None:
    engine = create_engine(f"sqlite:///{database}")
    with engine.connect() as connection, connection.begin():
        connection.execute(text("INSERT INTO runs VALUES ('first')"))
        with connection.begin_nested(), connection.begin_nested():
            connection.execute(text("INSERT INTO runs VALUES ('second')"))
    with engine.connect() as connection:
        assert list(connection.execute(text("SELECT name FROM runs")).scalars()) == ["first", "second"]


@pytest.mark.usefixtures("listening")
def test_the_api_server_waits_less(database: Path) -> None:
    savepoints.write_from_the_start(savepoints.API_PATIENCE)
    with create_engine(f"sqlite:///{database}").connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == savepoints.API_PATIENCE


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("driver", ["sqlite", "sqlite+aiosqlite"])
def test_a_writer_waits_for_its_turn_longer_than_sqlite_by_itself(database: Path, driver: str) -> None:
    async def patience() -> int:
        engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
        async with engine.connect() as connection:
            found = int((await connection.exec_driver_sql("PRAGMA busy_timeout")).scalar_one())
        await engine.dispose()
        return found

    if driver == "sqlite":
        with create_engine(f"sqlite:///{database}").connect() as connection:
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == savepoints.PATIENCE
    else:
        assert asyncio.run(patience()) == savepoints.PATIENCE
