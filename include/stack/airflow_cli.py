"""`airflow ...` against the stack that is up: the same settings, database and connection as its processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from include.stack import airflow_settings
from include.stack.errors import StackError
from include.stack.launch import LaunchPlan
from include.stack.state import Home, StateFolder, is_alive


def run_airflow(state: StateFolder, arguments: Sequence[str]) -> int:
    """Run one Airflow command; StackError if no stack is up. Returns the command's exit code."""
    for kind in ("up", "run"):
        home = Home(state, kind)
        record = home.read_record()
        if record and is_alive(record.get("warden")):
            return _run(home, int(record["ports"][0]), arguments)
    raise StackError(f"No stack is up on {state.root}: start one with `make up`.")


def _run(home: Home, port: int, arguments: Sequence[str]) -> int:
    plan = LaunchPlan(home, port=port, aws_port=0)
    env = airflow_settings.environment(home, project=plan.dags.parent, dags=plan.dags, plugins=plan.plugins, port=port)
    aws = airflow_settings.LocalAwsAccess.from_exports(home.exports.read_text().splitlines())
    if aws is not None:
        env["AIRFLOW_CONN_AWS_DEFAULT"] = aws.connection()
    command = [sys.executable, "-m", "include.stack.component", *arguments]
    return subprocess.run(command, env=env, check=False).returncode
