"""What a step costs that waits for a job: ours beside the provider's deferrable operator, in one Airflow, in turns.

Both wait for a processing job that does nothing for a second, with the same first pause between two looks; the
provider's reads no logs (its option), ours reads the job's last lines. The provider's triggers need aiobotocore, which
is installed without its dependencies into a folder of its own, on the path of this benchmark's Airflow only: its cap on
botocore lies below the botocore of the product's lock, which it works with all the same.
"""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import waiting_crowd
from benchmarks.waiting_stack import SECONDS, cpu_seconds, ready, stack
from localaws_benchmarks.jobs import TINY
from localaws_benchmarks.table import Row, render
from tools.stack.launch import Stack
from tools.stack.rest import TERMINAL_RUN_STATES

FLOOR = "the provider's deferrable operator (two worker processes a step), same scheduler, same endpoint"
STEPS = 5
JOB_SECONDS = 1.0
GOALS = {"wall": 0.8, "CPU": 0.65}
#: Whose CPU a step costs; the dag-processor parses meanwhile, whoever waits.
COUNTED = ("scheduler", "triggerer", "api-server")
DAGS = '''"""Chains of steps that each wait for a job: with the provider's operator and with ours."""

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerProcessingOperator
from airflow.sdk import DAG, chain

from sagewind.operators.job import JobOperator

REQUEST = {{
    "AppSpecification": {{
        "ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/tiny:1",
        "ContainerEntrypoint": ["python3", "-c", "import time; time.sleep({seconds})"],
    }},
    "ProcessingResources": {{
        "ClusterConfig": {{"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}}
    }},
    "RoleArn": "arn:aws:iam::123456789012:role/bench",
    "StoppingCondition": {{"MaxRuntimeInSeconds": 600}},
}}

with DAG("stock", schedule=None) as stock:
    chain(*(
        SageMakerProcessingOperator(
            task_id=f"step_{{n}}",
            config={{**REQUEST, "ProcessingJobName": f"stock-{{n}}-{{{{{{{{ run_id }}}}}}}}"}},
            deferrable=True,
            print_log=False,
            check_interval=0.4,
            max_attempts=1000,
        )
        for n in range({steps})
    ))

with DAG("ours", schedule=None) as ours:
    chain(*(
        JobOperator(
            task_id=f"step_{{n}}",
            model="bench",
            connection="aws_default",
            plan_task=None,
            kind="processing",
            step=f"step-{{n}}",
            request=REQUEST,
        )
        for n in range({steps})
    ))
'''


@dataclass
class WaitingSeconds:
    """Seconds per step of each DAG, run by run."""

    wall: dict[str, list[float]] = field(default_factory=lambda: {"stock": [], "ours": []})
    cpu: dict[str, list[float]] = field(default_factory=lambda: {"stock": [], "ours": []})

    def rows(self) -> list[Row]:
        """Wall and CPU."""
        return [
            Row(f"{name} per step", found["stock"], found["ours"])
            for name, found in (("wall", self.wall), ("CPU", self.cpu))
        ]


@contextmanager
def extended_path(folder: Path) -> Iterator[None]:
    """PYTHONPATH of what is started meanwhile, with one more folder at its end."""
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{before}{os.pathsep}{folder}"
    try:
        yield
    finally:
        os.environ["PYTHONPATH"] = before


def tiny_image(folder: Path) -> Path:
    """A directory of images with one whose jobs run this Python."""
    home = folder / "images" / "tiny"
    home.mkdir(parents=True)
    (home / "image.toml").write_text(TINY)
    for program in ("train", "process"):
        (home / program).write_text("pass\n")
    return home.parent


def run(stack: Stack, dag_id: str) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    api, run_id = stack.api, f"bench-{uuid.uuid4().hex[:12]}"
    pids = stack.supervision.pids()
    cpu, begun = cpu_seconds(pids, COUNTED), stack.printer.seconds
    api.trigger(dag_id, run_id, {})

    def ended() -> str | None:
        state = api.run_state(dag_id, run_id)
        return state if state in TERMINAL_RUN_STATES else None

    state = stack.supervision.wait(f"The run of {dag_id}", ended, SECONDS, poll=0.5)
    if state != "success":
        raise SystemExit(f"{dag_id} ended {state}: nothing was measured")
    return stack.printer.seconds - begun, cpu_seconds(pids, COUNTED) - cpu


def measure(rounds: int) -> WaitingSeconds:
    """Both DAGs in turns; the first run of each only warms up."""
    from tests.provider.conftest import packages_of

    measured = WaitingSeconds()
    with tempfile.TemporaryDirectory(prefix="sagewind-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command = (sys.executable, "-m", "localaws", "--images", str(tiny_image(folder)))
        dags = DAGS.format(seconds=JOB_SECONDS, steps=STEPS)
        with extended_path(packages_of("aiobotocore")), stack(dags, folder, command) as started:
            for dag_id in measured.wall:
                ready(started, dag_id)
                run(started, dag_id)
            for _ in range(rounds):
                for dag_id in measured.wall:
                    wall, cpu = run(started, dag_id)
                    measured.wall[dag_id].append(wall / STEPS)
                    measured.cpu[dag_id].append(cpu / STEPS)
    return measured


def bench(rounds: int, *, quick: bool) -> str:
    """The tables of waiting."""
    rows = measure(rounds).rows()
    title = f"A step that waits for a job of {JOB_SECONDS:g} s, seconds"
    text = render(title, FLOOR, rows)
    for row, (name, goal) in zip(rows, GOALS.items(), strict=True):
        verdict = "reached" if row.ratio <= goal else "missed"
        text += f"goal for {name}: {goal:g} times, {verdict}\n"
    return text + "\n" + waiting_crowd.bench(quick=quick)
