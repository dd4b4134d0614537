"""`airflow ...` against the stack that is up: the same settings, database and connection as its processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.stack import airflow_settings
from tools.stack.errors import StackError
from tools.stack.state import Home, StateFolder, is_alive


def run_airflow(state: StateFolder, project: Path, arguments: Sequence[str]) -> int:
    """Run one Airflow command; StackError if no stack is up. Returns the command's exit code."""
    for kind in ("up", "run"):
        home = Home(state, kind)
        record = home.read_record()
        if record and is_alive(record.get("warden")):
            return _run(home, project, int(record["ports"][0]), arguments)
    raise StackError(f"No stack is up on {state.root}: start one with `make up`.")


def _run(home: Home, project: Path, port: int, arguments: Sequence[str]) -> int:
    env = airflow_settings.environment(home, project=project, port=port)
    aws = airflow_settings.LocalAwsAccess.from_exports(home.exports.read_text().splitlines())
    if aws is not None:
        env["AIRFLOW_CONN_AWS_DEFAULT"] = aws.connection()
    command = [sys.executable, "-m", "tools.stack.component", *arguments]
    return subprocess.run(command, env=env, check=False).returncode
