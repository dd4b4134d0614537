"""A real stack (Airflow's four processes and localaws) on a copy of the project with more models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
import yaml

from tools.stack import ports
from tools.stack.airflow_settings import LocalAwsAccess
from tools.stack.rest import AirflowApi
from tools.stack.state import Home, StateFolder

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 1500.0  # several runs share a machine that may be slow
MAIN = 'if __name__ == "__main__":\n'
#: Put before that: a training that goes on until an object is there, so that the test decides when the job ends.
HELD = f"""
def _hold() -> None:
    import time

    import boto3

    deadline = time.monotonic() + 3000
    while not boto3.client("s3").list_objects_v2(Bucket="held").get("KeyCount") and time.monotonic() < deadline:
        time.sleep(0.5)


{MAIN}    _hold()
"""


class Checkout:
    """A project apart from the product, to which tests add models; `settings` are variables of its environment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings: dict[str, str] = {}
        for part in ("dags", "include"):
            shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))

    def add_model(self, name: str, **changes: Any) -> None:
        """A model like tumor, without tuning and cron, with whole sections changed."""
        content = yaml.safe_load((ROOT / "include/models/tumor.yaml").read_text())
        del content["tune"], content["batch"], content["monitor"]
        content |= {"name": name, "schedule": None, **changes}
        (self.root / f"include/models/{name}.yaml").write_text(yaml.safe_dump(content))
        (self.root / f"dags/{name}.py").write_text((ROOT / "dags/tumor.py").read_text().replace("tumor", name))

    def add_families(self) -> None:
        """Every family of DAGs twice: `plain` without a cron, `timed` with one; drift events start both trainings."""
        cron, monitor = "30 3 * * *", {"on_violation": "retrain"}
        self.add_model("plain", monitor=monitor)
        self.add_model("timed", schedule=cron, batch={"schedule": cron}, monitor={**monitor, "schedule": cron})

    def add_script(self, name: str, text: str) -> str:
        """A script below the project; returns the path that a model file names."""
        path = self.root / "include/models" / name
        path.write_text(text)
        return f"include/models/{name}"

    def add_held(self) -> None:
        """A model `held` whose training goes on until there is an object in the bucket of that name (or is stopped)."""
        text = (ROOT / "plugins/sagewind/jobs/train.py").read_text()
        assert MAIN in text
        train = {
            "framework": "sklearn",
            "script": self.add_script("held.py", text.replace(MAIN, HELD)),
            "serve": "sagewind:serve",
            "hyperparameters": {"estimator": "logistic_regression", "problem": "binary"},
        }
        self.add_model("held", train=train)

    def _of_this(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        command, *options = arguments
        if command in ("run", "drift", "up", "airflow"):
            options = ["--project", str(self.root), *options]
        if "--state" not in options:
            options = ["--state", str(self.root / ".sagewind"), *options]
        return (command, *options)

    def stack(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the stack's command line on this project."""
        environment = {**os.environ, **self.settings, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "tools.stack", *self._of_this(arguments)],
            cwd=ROOT,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
            **options,
        )


def first_task(dag: str) -> str:
    """The task that every run of a DAG begins with."""
    return "sweep-aws-default" if dag == "sagemaker_housekeeping" else "ingest"


def leftovers(state: Path) -> list[str]:
    """Processes whose environment or command line belongs to a stack's state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get("SAGEWIND_STACK", "").startswith(StateFolder(state).id)
            if (marked or str(state) in " ".join(process.cmdline())) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="session")
def make_checkout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Checkout]:
    return lambda: Checkout(tmp_path_factory.mktemp("checkout"))


class Running:
    """A stack that is up."""

    def __init__(self, checkout: Checkout, state: Path) -> None:
        self.checkout = checkout
        self.state = state
        home = Home(StateFolder(state), "up")
        record = home.read_record()
        assert record is not None
        self.secrets = home.state.secrets()
        self.api = AirflowApi(record["url"])
        self.api.login(self.secrets.user, self.secrets.password)
        aws = LocalAwsAccess.from_exports(home.exports.read_text().splitlines())
        assert aws is not None
        self.session = boto3.Session(aws.access_key, aws.secret_key, region_name=aws.region)
        self.endpoint_url = aws.endpoint_url
        self.sagemaker = self.client("sagemaker")

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.endpoint_url)

    def airflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """An Airflow command of the stack."""
        return self.checkout.stack("airflow", "--state", str(self.state), *arguments)

    def begin(self, dag_id: str, run_id: str, **conf: Any) -> None:
        """Trigger a run, whose end a test waits for while others go on."""
        self.unpause(dag_id)
        self.api.trigger(dag_id, run_id, conf)

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run, once it is parsed."""
        wait_for(lambda: self.parsed(dag_id), f"DAG {dag_id}")
        self.api.unpause(dag_id)

    def patch(self, path: str, **content: Any) -> None:
        """Change something through Airflow's API."""
        self.api.change("PATCH", path, content)

    def run(self, dag_id: str, run_id: str, **conf: Any) -> str:
        """Trigger and wait; returns the state of the run."""
        self.begin(dag_id, run_id, **conf)
        return self.wait(dag_id, run_id)

    def parsed(self, dag_id: str) -> bool:
        """Whether the DAG is there; an import error fails the test at once."""
        assert self.api.import_errors() == []
        return self.api.dag(dag_id) is not None

    def wait(self, dag_id: str, run_id: str) -> str:
        def ended() -> str | None:
            state = self.api.run_state(dag_id, run_id)
            return state if state in ("success", "failed") else None

        return str(wait_for(ended, f"{dag_id} {run_id}"))

    def states(self, dag_id: str, run_id: str) -> dict[str, str]:
        """Task id -> state."""
        return {item["task_id"]: item["state"] for item in self.api.task_instances(dag_id, run_id)}

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """The whole log of a task: of all its tries, as the first one may have met a fault that passed."""
        (task,) = [item for item in self.api.task_instances(dag_id, run_id) if item["task_id"] == task_id]
        tries = range(1, int(task["try_number"]) + 1)
        return json.dumps([self.api.task_log(dag_id, run_id, task_id, number) for number in tries])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """All runs of a DAG."""
        found: list[dict[str, Any]] = self.api._call("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
        return found

    def backfills_are_complete(self, dag_id: str) -> bool:
        """Whether Airflow has closed every backfill of a DAG."""
        found = self.api._call("GET", "/api/v2/backfills", params={"dag_id": dag_id})["backfills"]
        return all(item["completed_at"] for item in found)

    def jobs(self, contains: str) -> list[str]:
        """Names of all jobs whose name contains a text."""
        names = [item["ProcessingJobName"] for item in self._all("list_processing_jobs", "ProcessingJobSummaries")]
        names += [item["TrainingJobName"] for item in self._all("list_training_jobs", "TrainingJobSummaries")]
        return [name for name in names if contains in name]

    def alive(self, contains: str) -> list[str]:
        """Jobs that still run and whose name contains a text: what would be billing."""
        found = self._all("list_processing_jobs", "ProcessingJobSummaries", StatusEquals="InProgress")
        found += self._all("list_training_jobs", "TrainingJobSummaries", StatusEquals="InProgress")
        return [name for item in found if contains in (name := str(item))]

    def _all(self, operation: str, field: str, **filters: Any) -> list[dict[str, Any]]:
        pages = self.sagemaker.get_paginator(operation).paginate(**filters)
        return [item for page in pages for item in page[field]]


def wait_for(condition: Callable[[], Any], what: str, seconds: float = RUN_SECONDS) -> Any:
    """Ask until there is an answer; the pause only saves the processor, the condition decides."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.3)
    raise TimeoutError(f"{what} took longer than {seconds} s")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Checkout], Running]]:
    """Start a stack on a checkout; ended at the end of the module."""
    started: list[tuple[Checkout, Path]] = []

    def start(checkout: Checkout) -> Running:
        state = tmp_path_factory.mktemp("state")
        port, aws_port = ports.choose(2)
        started.append((checkout, state))
        done = checkout.stack("up", "--state", str(state), "--port", str(port), "--aws-port", str(aws_port))
        assert done.returncode == 0, done.stdout + done.stderr
        return Running(checkout, state)

    yield start
    for checkout, state in started:
        checkout.stack("down", "--state", str(state))
