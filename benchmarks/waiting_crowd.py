"""A thousand waits in one triggerer: worker slots, CPU, memory, and how often AWS is asked for 10, 100 and 1,000.

The jobs are those of `benchmarks.endless`, which never end and count their calls. The other curve is what a wait of the
provider's trigger does: one Describe every 30 seconds, its default; it is calculated, not measured.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
import urllib.request
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.waiting_stack import SECONDS, cpu_seconds, ready, stack
from tools.stack.errors import StackError
from tools.stack.launch import Stack

WIDTH = 25
#: Waits at each stage; the last one is the crowd whose CPU and memory are measured.
STAGES, QUICK_STAGES = (10, 100, 1000), (10, 50, 100)
SETTLE, WINDOW = 60.0, 60.0
STOCK_PER_MINUTE = 2.0
GOAL_CORES, GOAL_MIB = 0.5, 300.0
SETTINGS = """
[triggerer]
capacity = 2000
"""
DAGS = f'''"""Waits for jobs that somebody else has started."""

from airflow.sdk import DAG

from sagewind.sensors.job import JobSensor


def waits(dag_id: str, count: int) -> DAG:
    with DAG(dag_id, schedule=None, max_active_runs=100, max_active_tasks=5000) as dag:
        for n in range(count):
            name = "{{{{ run_id }}}}-" + str(n)
            JobSensor(task_id=f"wait_{{n}}", connection="aws_default", kind="training", job_name=name)
    return dag


few = waits("few", 10)
wide = waits("wide", {WIDTH})
'''


@dataclass
class Crowd:
    """What was found; `calls` are those of a minute, by number of waits."""

    calls: dict[int, float] = field(default_factory=dict)
    slots: int = 0
    cores: float = 0.0
    mib: float = 0.0
    seconds: float = 0.0


class Watch:
    """Looks at the endpoint's counts, at Airflow's database and at the triggerer's processes."""

    def __init__(self, started: Stack) -> None:
        self.stack = started
        self.url = f"http://127.0.0.1:{started.plan.aws_port}"
        self.pids = started.supervision.pids()

    def calls(self) -> int:
        """Calls that the endpoint has answered."""
        with urllib.request.urlopen(f"{self.url}/calls", timeout=30) as answer:
            return sum(json.load(answer).values())

    def finish(self, prefix: str) -> None:
        """Complete jobs."""
        request = urllib.request.Request(f"{self.url}/finish/{prefix}", data=b"", method="POST")
        urllib.request.urlopen(request, timeout=30).close()

    def states(self) -> dict[str, int]:
        """How many task instances are in each state."""
        path = f"file:{self.stack.plan.home.database}?mode=ro"
        with closing(sqlite3.connect(path, uri=True, timeout=60)) as database:
            rows = database.execute("SELECT state, count(*) FROM task_instance GROUP BY state").fetchall()
        return {str(state): int(count) for state, count in rows}

    def memory(self) -> float:
        """Resident memory of the triggerer and its runner, in MiB."""
        root = psutil.Process(self.pids["triggerer"])
        return float(sum(p.memory_info().rss for p in [root, *root.children(recursive=True)])) / 2**20

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass; a component that dies meanwhile ends the benchmark."""
        until = time.monotonic() + seconds
        self.stack.supervision.wait("The window", lambda: time.monotonic() > until or None, seconds + 60, poll=1)

    def deferred(self, count: int) -> None:
        """Until so many tasks wait in the triggerer, each of which has asked for its job."""

        def all_wait() -> bool | None:
            states = self.states()
            if states.get("failed"):
                raise SystemExit(f"{states['failed']} waits failed: nothing was measured")
            return (states.get("deferred", 0) == count and self.calls() >= count) or None

        self.stack.supervision.wait(f"{count} waits", all_wait, SECONDS, poll=1)


def trigger(started: Stack, dag_id: str, run_id: str) -> None:
    """Start a run; SQLite refuses a writer now and then while a crowd is being deferred."""

    def begun() -> bool | None:
        try:
            started.api.trigger(dag_id, run_id, {})
        except StackError as error:
            return True if " 409: " in str(error) else None  # the run is there: it was made all the same
        return True

    started.supervision.wait(f"The start of {run_id}", begun, SECONDS, poll=2)


def measure(stages: tuple[int, ...]) -> Crowd:
    """All stages in one Airflow, the small ones first."""
    found = Crowd()
    with (
        tempfile.TemporaryDirectory(prefix="sagewind-bench-", ignore_cleanup_errors=True) as name,
        stack(DAGS, Path(name), (sys.executable, "-m", "benchmarks.endless"), SETTINGS) as started,
    ):
        watch = Watch(started)
        for dag_id in ("few", "wide"):
            ready(started, dag_id)
        idle = watch.memory()
        trigger(started, "few", "few-0")
        found.calls[stages[0]] = _calls_of(watch, stages[0])
        watch.finish("few")
        runs = 0
        for stage in stages[1:]:
            begun = time.monotonic()
            while runs * WIDTH < stage:
                trigger(started, "wide", f"wide-{runs}")
                runs += 1
            watch.deferred(stage)
            found.seconds = time.monotonic() - begun
            found.calls[stage] = _calls_of(watch, stage, found)
        found.mib = watch.memory() - idle
        states = watch.states()
        found.slots = sum(states.get(state, 0) for state in ("running", "queued", "scheduled"))
    return found


def _calls_of(watch: Watch, count: int, found: Crowd | None = None) -> float:
    """Calls of a minute once the waits have settled, and the triggerer's CPU meanwhile."""
    watch.deferred(count)
    watch.pass_seconds(SETTLE)
    calls, cpu, begun = watch.calls(), cpu_seconds(watch.pids, ("triggerer",)), time.monotonic()
    watch.pass_seconds(WINDOW)
    seconds = time.monotonic() - begun
    if found is not None:
        found.cores = (cpu_seconds(watch.pids, ("triggerer",)) - cpu) / seconds
    return (watch.calls() - calls) * 60 / seconds


def bench(*, quick: bool) -> str:
    """The crowd's numbers and the two curves."""
    stages = QUICK_STAGES if quick else STAGES
    found = measure(stages)
    lines = [
        f"{stages[-1]} waits in one triggerer, {SETTLE:.0f} s after the last was deferred",
        f"{'worker slots held':34} {found.slots:8d}      goal 0",
        f"{'triggerer CPU, cores':34} {found.cores:8.2f}      goal {GOAL_CORES:g}",
        f"{'memory over an idle triggerer, MiB':34} {found.mib:8.0f}      goal {GOAL_MIB:.0f}",
        f"{'seconds until all were deferred':34} {found.seconds:8.0f}",
        "",
        "AWS calls per minute",
        f"{'waits':>6} {'ours, measured':>16} {'one Describe per wait every 30 s':>34}  ratio",
    ]
    for count, calls in found.calls.items():
        stock = count * STOCK_PER_MINUTE
        lines.append(f"{count:6d} {calls:16.1f} {stock:34.0f}  {calls / stock:.3f}")
    return "\n".join(lines) + "\n"
