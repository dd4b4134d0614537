"""What both benchmarks of waiting need: a stack with one file of DAGs, and what its components have used."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from tools.stack import ports
from tools.stack.launch import LaunchPlan, Stack
from tools.stack.progress import Printer
from tools.stack.rest import AirflowApi
from tools.stack.state import Home, StateFolder
from tools.stack.supervision import Signals

SECONDS = 900.0


@contextmanager
def stack(dags: str, folder: Path, localaws: tuple[str, ...], settings: str = "") -> Iterator[Stack]:
    """A stack with one file of DAGs, started; `settings` go to the end of its airflow.cfg."""
    (folder / "dags").mkdir()
    (folder / "dags" / "bench.py").write_text(dags)
    state = StateFolder(folder / "state")
    state.prepare()
    signals, printer = Signals(), Printer(sys.stderr)
    signals.install()
    port, aws_port = ports.choose(2)
    plan = LaunchPlan(Home(state, "run"), port=port, aws_port=aws_port, project=folder, localaws=localaws, pull=False)
    with Stack(plan, signals, printer) as made:
        # A crowd keeps the API busy for longer than a person would wait.
        made.api = AirflowApi(plan.url, httpx.Client(base_url=plan.url, trust_env=False, timeout=120))
        configuration = plan.home.airflow / "airflow.cfg"
        configuration.write_text(configuration.read_text() + settings)
        made.start()
        yield made


def cpu_seconds(pids: Mapping[str, int], names: tuple[str, ...]) -> float:
    """CPU that these components and all their processes have used, those that have ended and were reaped included."""
    total = 0.0
    for name in names:
        root = psutil.Process(pids[name])
        for process in [root, *root.children(recursive=True)]:
            try:
                total += sum(process.cpu_times()[:4])
            except psutil.NoSuchProcess:
                continue
    return total


def ready(stack: Stack, dag_id: str) -> None:
    """Wait until the DAG is known, and let it run."""
    stack.supervision.wait(f"The DAG {dag_id}", lambda: True if stack.api.dag(dag_id) else None, SECONDS)
    stack.api.unpause(dag_id)
