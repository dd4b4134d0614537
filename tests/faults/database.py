"""PostgreSQL from the system's package in a folder and on a port of its own, and what is asked of it past Airflow."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg2

from tests.compose.services import postgres_program

USER = "airflow"


def missing() -> str | None:
    """Why there can be no database here; None if there can."""
    if postgres_program("postgres") is None or postgres_program("initdb") is None:
        return "no PostgreSQL server on this machine (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "PostgreSQL refuses to run as root and there is no setpriv to lend it another user"
    return None


class Database:
    """The server's files and its command line; whoever starts processes starts it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._connection: Any = None

    @property
    def url(self) -> str:
        """For Airflow."""
        return f"postgresql+psycopg2://{USER}@127.0.0.1:{self.port}/postgres"

    def _as_other_user(self) -> list[str]:
        """The server refuses root; the user of the package owns its files then."""
        if os.geteuid() != 0:
            return []
        known = {entry.pw_name for entry in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
        if self.folder.stat().st_uid != user.pw_uid:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig", "KILL"]

    def create(self) -> None:
        """Make the files. Only this machine's own users reach the port; a test database holds nothing worth more."""
        self.folder.mkdir(mode=0o700)
        command = [*self._as_other_user(), str(postgres_program("initdb")), "--pgdata", str(self.folder)]
        command += ["--username", USER, "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C"]
        subprocess.run(command, cwd="/", check=True, capture_output=True)

    def command(self) -> list[str]:
        """Start the server: no socket file, no waiting for the disk, no shared memory outside its folder."""
        options = ["-p", str(self.port), "-k", "", "-h", "127.0.0.1", "-F", "-c", "dynamic_shared_memory_type=mmap"]
        return [*self._as_other_user(), str(postgres_program("postgres")), "-D", str(self.folder), *options]

    def answers(self) -> bool | None:
        """True once it takes connections."""
        try:
            self.rows("SELECT 1")
        except psycopg2.OperationalError:
            return None
        return True

    def stop(self, pid: int) -> None:
        """Ask for a fast end, which takes back the system's shared memory; kill -9 would leave it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The answer to one query, on a connection that stays open: the moment of a fault may depend on the answer."""
        if self._connection is None:
            self._connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, dbname="postgres")
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())

    def cut(self, ports: Iterable[int]) -> int:
        """End the connections that come from these local ports; how many there were."""
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port = ANY(%s)"
        return len(self.rows(query, list(ports)))
