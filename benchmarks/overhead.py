"""What a task of ours costs over Airflow's own floor: a lifecycle beside an empty DAG of the same shape.

Both run in turns under one scheduler on the same machine. The empty DAG has the same task ids and edges, and every task
is a Python function that does nothing: the least that Airflow itself spends. From ours the time is taken off during
which at least one SageMaker job was running; what is left is start of tasks, calls, polling, checks, and the start of
the endpoint.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from localaws_benchmarks.table import Row
from tools.stack import ports
from tools.stack.endpoint_client import StackAws
from tools.stack.launch import LaunchPlan, Stack
from tools.stack.progress import Printer
from tools.stack.rest import TERMINAL_RUN_STATES
from tools.stack.state import Home, StateFolder
from tools.stack.supervision import Signals

EMPTY = '''"""An Airflow DAG that does nothing, in the shape of {dag_id}."""

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG


def nothing() -> None:
    pass


with DAG("empty_{dag_id}", schedule=None) as dag:
    tasks = {{name: PythonOperator(task_id=name, python_callable=nothing) for name in {names!r}}}
    for before, after in {edges!r}:
        tasks[before] >> tasks[after]
'''
SECONDS = 1800.0


@dataclass
class OverheadSeconds:
    """What `measure` has found, in seconds."""

    start: float = 0.0
    tasks: int = 0
    ours: list[float] = field(default_factory=list)
    jobs: list[float] = field(default_factory=list)
    empty: list[float] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """A whole run without its jobs, and one task of it."""
        rest = [total - jobs for total, jobs in zip(self.ours, self.jobs, strict=True)]
        each = [[seconds / self.tasks for seconds in values] for values in (self.empty, rest)]
        return [Row("a run without its jobs", self.empty, rest), Row("one task of it", each[0], each[1])]


def empty_dag(dag: Any) -> str:
    """The source of an empty DAG in the shape of `dag`."""
    edges = [(task.task_id, after) for task in dag.tasks for after in sorted(task.downstream_task_ids)]
    return EMPTY.format(dag_id=dag.dag_id, names=[task.task_id for task in dag.tasks], edges=edges)


def union_seconds(intervals: Iterable[tuple[datetime, datetime]]) -> float:
    """How long at least one of the intervals lasted."""
    total, end = 0.0, None
    for begun, ended in sorted(intervals):
        if end is None or begun > end:
            total += (ended - begun).total_seconds()
        elif ended > end:
            total += (ended - end).total_seconds()
        end = ended if end is None else max(end, ended)
    return total


def measure(root: Path, model: str, rounds: int) -> OverheadSeconds:
    """Start a stack of its own and run both DAGs in turns."""
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(root / "dags" / f"{model}.py").dags[f"{model}_lifecycle"]
    measured = OverheadSeconds(tasks=len(dag.tasks))
    signals, printer = Signals(), Printer()
    signals.install()
    with tempfile.TemporaryDirectory(prefix="sagewind-bench-", ignore_cleanup_errors=True) as folder:
        project = Path(folder)
        dags = project / "dags"
        dags.mkdir()
        shutil.copytree(root / "include", project / "include")
        shutil.copy(root / "dags" / f"{model}.py", dags)
        (dags / "empty.py").write_text(empty_dag(dag))
        state = StateFolder(Path(folder) / "state")
        state.prepare()
        port, aws_port = ports.choose(2)
        plan = LaunchPlan(Home(state, "run"), port=port, aws_port=aws_port, project=project)
        with Stack(plan, signals, printer) as stack:
            aws = StackAws(stack.start())
            measured.start = printer.seconds - stack.setup_seconds
            for _ in range(rounds):
                measured.empty.append(_run(stack, f"empty_{dag.dag_id}")[0])
                seconds, run_id = _run(stack, dag.dag_id)
                measured.ours.append(seconds)
                measured.jobs.append(union_seconds(_intervals(aws, run_id)))
    return measured


def _intervals(aws: StackAws, run_id: str) -> list[tuple[datetime, datetime]]:
    records = [aws.record(job) for job in aws.jobs(run_id)]
    return [(record.started, record.ended) for record in records if record.started and record.ended]


def _run(stack: Stack, dag_id: str) -> tuple[float, str]:
    """Trigger a DAG, wait for its end; how long it took and its run id."""
    api, run_id = stack.api, f"bench-{uuid.uuid4().hex[:12]}"
    stack.supervision.wait(f"The DAG {dag_id}", lambda: True if api.dag(dag_id) else None, SECONDS)
    api.unpause(dag_id)
    api.trigger(dag_id, run_id, {})
    begun = stack.printer.seconds

    def ended() -> str | None:
        state = api.run_state(dag_id, run_id)
        return state if state in TERMINAL_RUN_STATES else None

    state = stack.supervision.wait(f"The run of {dag_id}", ended, SECONDS)
    seconds = stack.printer.seconds - begun
    bad = [task["task_id"] for task in api.task_instances(dag_id, run_id) if task["state"] != "success"]
    if state != "success" or bad:
        raise SystemExit(f"{dag_id} ended {state} (without success: {', '.join(bad)}): nothing was measured")
    return seconds, run_id


def summary(measured: OverheadSeconds) -> Mapping[str, str]:
    """The numbers that have no floor of their own."""
    jobs = " ".join(f"{seconds:.1f}" for seconds in measured.jobs)
    return {
        "start of Airflow and the local endpoint": f"{measured.start:.1f} s",
        "tasks of a run": str(measured.tasks),
        "SageMaker jobs of a run (at least one running)": f"{jobs} s",
    }
