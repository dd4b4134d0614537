"""Secrets, databases and locks of the state folder."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tools.stack import ports
from tools.stack.errors import StackError, check_free_space, disk_full
from tools.stack.state import JWT_SECRET_BYTES, Home, StateFolder, is_alive, process_facts, take_lock


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    secrets = state.secrets()
    assert secrets == state.secrets()
    assert len(base64.urlsafe_b64decode(secrets.fernet_key)) == 32
    assert len(secrets.jwt_secret.encode()) >= JWT_SECRET_BYTES
    assert (state.root / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert state.root.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fernet_key": "a"}', "null"])
def test_half_written_secrets_name_the_folder_to_delete(tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets.json").write_text(text)
    with pytest.raises(StackError, match=f"delete the folder {tmp_path}"):
        StateFolder(tmp_path).secrets()


def test_truncated_database_names_the_folder_to_delete(tmp_path: Path) -> None:
    database = tmp_path / "airflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('1')")
        connection.execute("CREATE TABLE many (text TEXT)")
        connection.executemany("INSERT INTO many VALUES (?)", [("x" * 1000,)] * 200)
        connection.commit()
    StateFolder(tmp_path).check_database(database)
    os.truncate(database, database.stat().st_size // 2)
    with pytest.raises(StackError, match=f"delete the folder {tmp_path}"):
        StateFolder(tmp_path).check_database(database)
    database.write_bytes(b"")
    with pytest.raises(StackError, match="not a usable SQLite database"):
        StateFolder(tmp_path).check_database(database)


def test_state_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StackError, match="is a file, not a folder"):
        StateFolder(tmp_path / "state").prepare()


def test_full_disk(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="MiB are free on the disk of .*--state"):
        check_free_space(tmp_path / "not" / "yet", minimum=2**62)
    check_free_space(tmp_path, minimum=1)
    with pytest.raises(OSError, match="No space left") as caught:
        Path("/dev/full").write_text("x" * 100000)
    sentence = disk_full(caught.value, tmp_path)
    assert sentence is not None
    assert str(sentence).startswith("The disk is full (writing")
    assert disk_full(OSError(2, "no such file"), tmp_path) is None


def test_lock_names_its_holder(tmp_path: Path) -> None:
    home = Home(StateFolder(tmp_path), "run")
    with closing(take_lock(home)):
        home.write_record(front=process_facts(os.getpid()), detached=False)
        with pytest.raises(StackError, match=f"in use by process {os.getpid()}"):
            take_lock(home)
        home.write_record(guardian=process_facts(os.getpid()), detached=True, url="http://127.0.0.1:8080")
        with pytest.raises(StackError, match="already up .* `make down`"):
            take_lock(home)
    take_lock(home).close()


def test_a_process_is_recognised_by_more_than_its_number() -> None:
    facts = process_facts(os.getpid())
    assert is_alive(facts)
    assert not is_alive({**facts, "created": facts["created"] - 100})
    ended = subprocess.Popen([sys.executable, "-c", ""])
    facts = process_facts(ended.pid)
    ended.wait()
    assert not is_alive(facts)
    assert not is_alive(None)


def test_damaged_record_counts_as_none(tmp_path: Path) -> None:
    home = Home(StateFolder(tmp_path), "run")
    home.root.mkdir()
    home.record.write_text('{"front": ')
    assert home.read_record() is None
    home.record.write_text(json.dumps([1]))
    assert home.read_record() is None


def test_ports() -> None:
    chosen = ports.choose(3)
    assert len(set(chosen)) == 3
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", chosen[0]))
        taken.listen()
        expected = rf"port {chosen[0]} of Airflow's UI is taken by .*process {os.getpid()}.*--port"
        with pytest.raises(StackError, match=expected):
            ports.require(chosen[0], "Airflow's UI", "--port")
        assert ports.wait_free(chosen, 0) == [chosen[0]]
    assert ports.require(chosen[0], "Airflow's UI", "--port") == chosen[0]


@pytest.mark.parametrize("text", ["abc", "70000", "-1", "", "1.5", "٣"])
def test_what_is_no_port_is_named(text: str) -> None:
    assert (ports.parse("0", "PORT"), ports.parse("8080", "PORT")) == (0, 8080)
    with pytest.raises(StackError, match=re.escape(f"PORT is {text!r}: give a number from 1 to 65535, or 0")):
        ports.parse(text, "PORT")
