"""A run survives `kill -9` of the stack's processes without a command typed: the guardian starts them again."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from sagewind.pipeline.names import run_hash
from tests.e2e.conftest import Checkout, Running, wait_for
from tools.stack import restarts
from tools.stack.airflow_settings import LocalAwsAccess
from tools.stack.endpoint_client import Job, StackAws
from tools.stack.errors import Unanswered
from tools.stack.restarts import Life
from tools.stack.state import Home, StateFolder

pytestmark = [pytest.mark.alone, pytest.mark.timeout(3600)]

DAG, RUN = "held_lifecycle", "mended"
KILLED = ("triggerer", "localaws", "api-server", "scheduler")


class Mending:
    """A stack that is up, and its processes."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.home = Home(StateFolder(running.state), "up")
        aws = LocalAwsAccess.from_exports(self.home.exports.read_text().splitlines())
        assert aws is not None
        self.aws = StackAws(aws)

    def life(self, name: str) -> Life:
        return restarts.read(self.home.components)[name]

    def kill(self, name: str) -> None:
        """`kill -9`, and wait until somebody has started it again."""
        pid = self.life(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.life(name).restarts == 1 and self.life(name).pid, f"the restart of {name}")

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait for something, asking again while a server does not answer."""

        def asked() -> Any:
            try:
                return condition()
            except (Unanswered, BotoCoreError):
                return None

        return wait_for(asked, what)

    def states(self) -> dict[str, str]:
        return self.running.states(DAG, RUN)

    def until_active(self, task: str) -> None:
        """Wait until a task has been given to a worker."""
        self.until(lambda: self.states()[task] not in (None, "scheduled"), f"the start of {task}")

    def trainings(self) -> list[dict[str, Any]]:
        """The run's training jobs as described, the oldest first."""
        return [self.described(job) for job in self.aws.jobs(RUN) if job.kind.name == "training"]

    def described(self, job: Job) -> dict[str, Any]:
        describe = getattr(self.running.sagemaker, job.kind.describe)
        found: dict[str, Any] = describe(**{job.kind.name_field: job.name})
        return found

    def training(self, count: int) -> bool:
        """Whether the run's training number `count` is at work."""
        found = self.trainings()
        return len(found) == count and found[-1]["SecondaryStatus"] == "Training"

    def generation(self, training: dict[str, Any]) -> str:
        return self.aws.tags(training["TrainingJobArn"])["sagewind:generation"]


@pytest.fixture(scope="module")
def stack(make_checkout: Callable[[], Checkout], up: Callable[[Checkout], Running]) -> Mending:
    checkout = make_checkout()
    checkout.add_held()
    for other in ("census", "tumor"):  # parsing them would only take time
        (checkout.root / f"dags/{other}.py").unlink()
    running = up(checkout)
    running.client("s3").create_bucket(Bucket="held")
    return Mending(running)


def test_a_run_goes_on_to_success_after_each_part_of_the_stack_was_killed(stack: Mending) -> None:
    secret = (stack.home.exports).read_text()
    stack.running.begin(DAG, RUN)
    stack.until(lambda: stack.training(1), "the training")
    # All that runs beside the training has ended: the endpoint then takes this one job with it and no other.
    stack.until(lambda: stack.states()["verdict_shifted"] == "success", "the check of the shifted batch")
    stack.until(lambda: stack.states()["train"] == "deferred", "the wait for the training")

    stack.kill("triggerer")  # which waits for the training
    stack.kill("localaws")  # while the training job is InProgress
    stack.until(lambda: stack.training(2), "the second training")
    stack.running.client("s3").put_object(Bucket="held", Key="go", Body=b"")
    stack.until_active("evaluate")
    stack.kill("api-server")  # which a worker may be talking to
    stack.until_active("create_model")
    stack.kill("scheduler")  # with the workers that run its tasks

    assert stack.until(lambda: run_ended(stack), "the end of the run") == "success"
    assert set(stack.states().values()) <= {"success", "skipped"}
    assert stack.home.exports.read_text() == secret
    check_jobs(stack)
    check_status(stack)


def run_ended(stack: Mending) -> str | None:
    state = stack.running.api.run_state(DAG, RUN)
    return state if state in ("success", "failed") else None


def check_jobs(stack: Mending) -> None:
    """The job that died with the endpoint has one further job; every other step has one job."""
    jobs = stack.aws.jobs(RUN)
    assert Counter(job.task for job in jobs) == {
        "prepare": 1,
        "baseline": 1,
        "train": 2,
        "evaluate": 1,
        "batch_transform": 1,
        "monitor_normal": 1,
        "monitor_shifted": 1,
    }
    first, second = stack.trainings()
    assert [stack.generation(job) for job in (first, second)] == ["1", "2"]
    assert [job["TrainingJobStatus"] for job in (first, second)] == ["Failed", "Completed"]
    assert "the local AWS endpoint ended unexpectedly while this job ran" in first["FailureReason"]
    ended = [stack.described(job)[f"{job.kind.stem}Status"] for job in jobs if job.task != "train"]
    assert set(ended) == {"Completed"}
    assert stack.running.alive(run_hash(DAG, RUN)) == []
    assert stack.running.sagemaker.list_endpoints()["Endpoints"] == []


def check_status(stack: Mending) -> None:
    """`make status` tells of every restart: how often, why, and where the log is."""
    done = stack.running.checkout.stack("status", "--state", str(stack.running.state))
    assert done.returncode == 0, done.stdout + done.stderr
    for name in KILLED:
        (said,) = [line for line in done.stdout.splitlines() if line.startswith(f"up: {name} was started again once")]
        assert said.endswith(f"because it was killed by signal 9 (log: {log(stack, name)}).")
    assert "dag-processor was started again" not in done.stdout


def log(stack: Mending, name: str) -> Path:
    return stack.home.logs / f"{name}.log"
