"""The folder that holds a stack between commands: secrets, migrated database, one sub-folder per kind of stack.

    .sagewind/
      secrets.json            Fernet key, JWT secret, password of the user (mode 0600), made once
      template/airflow-<version>.db   a migrated, empty metadata database: every `run` starts from a copy
      run/ and up/            lock, stack.json, components.json, aws.env, logs/, airflow/ (AIRFLOW_HOME),
                              localaws/ (its --state)

A `run` begins with a new `run/` (a rehearsal must not meet what an earlier one left half-done); `up/` is kept.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from tools.stack.errors import StackError

JWT_SECRET_BYTES = 64
"""Airflow warns below 64 bytes (HS512)."""


@dataclass(frozen=True)
class AirflowSecrets:
    """What only this state folder's Airflow may know; never printed, except the password by `up` for its user."""

    fernet_key: str
    jwt_secret: str
    api_secret_key: str
    user: str
    password: str

    @classmethod
    def generate(cls) -> AirflowSecrets:
        """New secrets from the system's random source."""
        return cls(
            fernet_key=base64.urlsafe_b64encode(os.urandom(32)).decode(),
            jwt_secret=secrets.token_urlsafe(JWT_SECRET_BYTES),
            api_secret_key=secrets.token_urlsafe(32),
            user="sagewind",
            password=secrets.token_urlsafe(18),
        )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


@dataclass(frozen=True)
class StateFolder:
    """The state folder (`--state`)."""

    root: Path

    @property
    def id(self) -> str:
        """Twelve hex digits that stand for this folder in the marker of its processes."""
        return hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:12]

    def prepare(self) -> None:
        """Create the folder, readable by its owner only (it holds secrets and data)."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (FileExistsError, NotADirectoryError) as error:
            raise StackError(
                f"The state folder {self.root} is a file, not a folder: remove it or name another folder with --state."
            ) from error

    def secrets(self) -> AirflowSecrets:
        """The secrets of this folder, made at first use. Raises `StackError` if the file is damaged."""
        path = self.root / "secrets.json"
        try:
            text = path.read_text()
        except FileNotFoundError:
            made = AirflowSecrets.generate()
            write_private(path, json.dumps(asdict(made)))
            return made
        try:
            found = AirflowSecrets(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise self.damaged(path, "is not complete") from error
        if len(found.jwt_secret) < JWT_SECRET_BYTES or not all(asdict(found).values()):
            raise self.damaged(path, "holds secrets that are too short")
        return found

    def damaged(self, path: Path, how: str) -> StackError:
        """The sentence for a half-written file."""
        return StackError(
            f"The file {path} {how} (an interrupted or foreign write): delete the folder {self.root} and run again."
        )

    def template(self, version: str) -> Path:
        """Where the migrated empty database of an Airflow version is kept; its presence is the stamp."""
        return self.root / "template" / f"airflow-{version}.db"

    def check_database(self, path: Path) -> None:
        """Refuse a truncated or foreign SQLite file before Airflow trips over it with a traceback."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                whole = database.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
                migrated = whole and database.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.DatabaseError as error:
            raise self.damaged(path, f"is not a usable SQLite database ({error})") from error
        if not migrated:
            raise self.damaged(path, "is not a usable SQLite database (no migration is recorded in it)")


@dataclass(frozen=True)
class Home:
    """The sub-folder of one stack, `run` or `up`."""

    state: StateFolder
    kind: str

    @property
    def root(self) -> Path:
        """`<state>/<kind>`."""
        return self.state.root / self.kind

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.root / "airflow"

    @property
    def database(self) -> Path:
        """Airflow's metadata database."""
        return self.airflow / "airflow.db"

    @property
    def localaws(self) -> Path:
        """The state of the local AWS endpoint."""
        return self.root / "localaws"

    @property
    def logs(self) -> Path:
        """One log per component."""
        return self.root / "logs"

    @property
    def exports(self) -> Path:
        """The four `export NAME=value` lines of the local AWS endpoint, for a user's shell (mode 0600)."""
        return self.root / "aws.env"

    @property
    def record(self) -> Path:
        """The stack: where it is reached and who owns it. Written when it starts, removed when it has ended."""
        return self.root / "stack.json"

    @property
    def components(self) -> Path:
        """The guardian's record of the components: process ids, restarts, last ends (`restarts.read`)."""
        return self.root / "components.json"

    def renew(self) -> None:
        """Throw away what an earlier stack left, but not the lock, which is held."""
        for path in (self.airflow, self.localaws, self.logs):
            if path.exists():
                shutil.rmtree(path)
        self.exports.unlink(missing_ok=True)

    def make_folders(self) -> None:
        """Create what the components expect."""
        for path in (self.root, self.airflow, self.localaws, self.logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read_record(self) -> dict[str, Any] | None:
        """What `record` says, None if there is none; damaged ones count as none, processes are found without it."""
        try:
            found = json.loads(self.record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def remove_record(self) -> None:
        """With the stack gone, nothing is known of it any more; the guardian's record stays if it was killed."""
        self.record.unlink(missing_ok=True)
        self.components.unlink(missing_ok=True)

    def write_record(self, **facts: Any) -> None:
        """Replace the record."""
        write_private(self.record, json.dumps(facts, indent=1))


def process_facts(pid: int) -> dict[str, Any]:
    """A process in a form that recognises it later (process ids are used again)."""
    return {"pid": pid, "created": psutil.Process(pid).create_time()}


def same_process(facts: dict[str, Any] | None) -> bool:
    """Whether the process of `process_facts` is still known to the system, be it as a zombie."""
    if not facts:
        return False
    try:
        created = float(psutil.Process(int(facts["pid"])).create_time())
        known = float(facts["created"])
        return bool(-1.0 < created - known < 1.0)
    except (psutil.Error, KeyError, ValueError):
        return False


def is_alive(facts: dict[str, Any] | None) -> bool:
    """Whether the very process of `process_facts` still runs."""
    if facts is None or not same_process(facts):
        return False
    try:
        return bool(psutil.Process(int(facts["pid"])).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def take_lock(home: Home, seconds: float = 60.0) -> IO[str]:
    """Take the lock of a stack. Held by the front, the warden and the guardian: free only when all of them are gone.

    A stack whose front is dead is ending by itself: that is waited for. Any other holder is named in a `StackError`.
    """
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    stream = (home.root / "lock").open("a+")
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            record = home.read_record() or {}
            front = record.get("front")
            if record.get("detached") or is_alive(front) or time.monotonic() > deadline:
                stream.close()
                raise _held(home, record) from None
            time.sleep(0.1)
        else:
            return stream


def _held(home: Home, record: dict[str, Any]) -> StackError:
    if record.get("detached"):
        pid = (record.get("guardian") or record.get("warden") or {}).get("pid", "?")
        return StackError(
            f"A stack is already up on {home.root} (process {pid}, {record.get('url')}): "
            "use it, or end it with `make down`."
        )
    pid = (record.get("front") or {}).get("pid", "unknown")
    return StackError(
        f"The state folder {home.root} is in use by process {pid}: "
        "wait for it, end it, or use another folder with --state."
    )
