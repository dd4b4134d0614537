"""Runs one Airflow command with its heavy imports done first: `python -m tools.stack.component scheduler [options]`.

Airflow's executor forks a worker per slot, and that forks a process per task, which imports the task runtime and the
Amazon provider again each time (measured: 3 s of a core per task). What the scheduler has imported before it forks is
there already, shared by copy on write. The dag-processor forks a process per file and gains the same.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable

from tools.stack import savepoints

PRELOAD = (
    "airflow.sdk",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.execution_time.supervisor",
    "airflow.providers.amazon.aws.hooks.base_aws",
    "airflow.providers.amazon.aws.operators.sagemaker",
    "airflow.providers.standard.operators.python",
    "boto3",
    "pydantic",
    "yaml",
)
"""What the project's DAGs and tasks import of others."""
PRELOADED_COMMANDS = ("scheduler", "dag-processor")


def preload() -> None:
    """Import `PRELOAD`; a module that is missing is named in the log and left to whoever needs it."""
    for name in PRELOAD:
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"not imported in advance: {name} ({error})", file=sys.stderr)


def main() -> None:
    """Run the Airflow command given by the arguments in this process."""
    arguments = sys.argv[1:]
    savepoints.write_from_the_start(savepoints.API_PATIENCE if "api-server" in arguments else savepoints.PATIENCE)
    airflow: Callable[[], None] = importlib.import_module("airflow.__main__").main
    if arguments and arguments[0] in PRELOADED_COMMANDS:
        preload()
    sys.argv = ["airflow", *arguments]
    airflow()


if __name__ == "__main__":
    main()
