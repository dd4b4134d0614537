"""The .env of docker-compose.yaml: strong values, owner only, never overwritten."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tools import make_env


def values(path: Path) -> dict[str, str]:
    """The file's variables."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_written_once_and_for_the_owner_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / ".env"
    assert make_env.main(path) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_text()
    capsys.readouterr()
    assert make_env.main(path) == 1
    assert path.read_text() == first
    assert capsys.readouterr().err == f"make env: {path} exists and is not overwritten; move it away first.\n"


def test_values(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    make_env.write(path)
    make_env.write(other)
    found = values(path)
    assert len(found["AIRFLOW_JWT_SECRET"].encode()) >= 64
    Fernet(found["AIRFLOW_FERNET_KEY"])
    assert not set(found.values()) & set(values(other).values())


def test_nothing_secret_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_env.main(tmp_path / ".env")
    out = capsys.readouterr().out
    assert not [value for value in values(tmp_path / ".env").values() if value in out]
