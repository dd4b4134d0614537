"""Faults on a real stack: a short run of random ones, and a triggerer that comes back after it was replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Checkout
from tests.faults import settings
from tests.faults.calls import CREATES, STOPS, Call, CallFile
from tests.faults.campaign import Campaign, say
from tests.faults.database import missing
from tests.faults.injector import kill_all, tree
from tests.faults.stack import Stack, poll, resume
from tests.faults.table import table

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

FAULTS, SEED = 8, 11
MARK = 'if __name__ == "__main__":\n'
#: A training that goes on until an object is there, so that the test decides when the job ends.
HELD = f"""
def _hold() -> None:
    import time

    import boto3

    deadline = time.monotonic() + 300
    while not boto3.client("s3").list_objects_v2(Bucket="held").get("KeyCount") and time.monotonic() < deadline:
        time.sleep(0.5)


{MARK}    _hold()
"""
DAG, RUN = "held_lifecycle", "paused"


def add_held(checkout: Checkout) -> None:
    text = (checkout.root / "include/jobs/train.py").read_text()
    assert MARK in text
    train = {
        "framework": "sklearn",
        "script": checkout.add_script("held.py", text.replace(MARK, HELD)),
        "serve": "include/jobs/serve.py",
        "hyperparameters": {"estimator": "logistic_regression", "problem": "binary"},
    }
    checkout.add_model("held", train=train)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(add=add_held) as found:
        yield found


def test_a_triggerer_that_comes_back_after_it_was_replaced_stops_no_job(stack: Stack) -> None:
    stack.client("s3").create_bucket(Bucket="held")
    away, stays = "triggerer-1", "triggerer-2"
    other = stack.process(stays)
    assert other is not None
    kill_all(tree(other))  # so that the trigger cannot but go to the one that will be paused
    poll(lambda: stack.process(stays) is None, stays, 20)
    stack.ask(lambda api: api.unpause(DAG))
    stack.ask(lambda api: api.trigger(DAG, RUN, {}))
    holder = poll(lambda: holder_of(stack), "the trigger", settings.RUN_SECONDS)
    stack.start(stays)
    poll(lambda: living(stack, holder), stays, settings.START_SECONDS)

    paused = stack.process(away)
    assert paused is not None
    processes = tree(paused)
    try:
        for process in processes:
            process.suspend()
        poll(lambda: holder_of(stack) not in (None, holder), "the other triggerer", 20 * settings.TRIGGERER_SILENCE)
    finally:
        resume(processes)
    poll(lambda: on_kill_is_over(stack, holder), "on_kill of the triggerer that came back", settings.START_SECONDS)
    assert stops(stack) == []

    stack.client("s3").put_object(Bucket="held", Key="go on", Body=b"")

    def ended() -> str | None:
        state = stack.ask(lambda api: api.run_state(DAG, RUN))
        return state if state in ("success", "failed") else None

    assert poll(ended, "the run", settings.RUN_SECONDS, pause=0.5) == "success"
    assert stops(stack) == []
    trainings = [call for call in calls(stack) if call.operation == "CreateTrainingJob"]
    assert [(call.tag("generation"), call.outcome) for call in trainings] == [("1", "ok")]


def holder_of(stack: Stack) -> int | None:
    """The triggerer that holds the trigger of the training's task."""
    query = (
        "SELECT triggerer_id FROM trigger JOIN task_instance AS task ON task.trigger_id = trigger.id"
        " WHERE dag_id = %s AND run_id = %s AND task_id = 'train' AND task.state = 'deferred'"
    )
    found = stack.database.rows(query, DAG, RUN)
    return found[0][0] if found else None


def living(stack: Stack, holder: int) -> bool:
    """Whether another triggerer than the holder lives."""
    query = (
        "SELECT 1 FROM job WHERE job_type = 'TriggererJob' AND state = 'running' AND id <> %s"
        " AND latest_heartbeat > now() - interval '3 seconds'"
    )
    return bool(stack.database.rows(query, holder))


def on_kill_is_over(stack: Stack, holder: int) -> bool:
    """Airflow has called it on the triggerer that came back, and it has returned."""
    folder = stack.home.airflow / f"logs/dag_id={DAG}/run_id={RUN}/task_id=train"
    text = "".join(path.read_text() for path in Path(folder).glob(f"*.trigger.{holder}.log"))
    called, _, after = text.partition("invoking on_kill")
    return bool(called) and "trigger completed" in after


def calls(stack: Stack) -> list[Call]:
    """Calls about jobs of the run that were not only looks."""
    names = {**CREATES, **STOPS}
    found = [call for call in CallFile(stack.calls).more() if call.operation in names]
    of_run = {call.name for call in found if call.tag("run") == RUN}
    return [call for call in found if call.name in of_run]


def stops(stack: Stack) -> list[Call]:
    return [call for call in calls(stack) if call.operation in STOPS]


def test_a_short_fault_run_breaks_no_rule(stack: Stack) -> None:
    result = Campaign(stack, faults=FAULTS, seed=SEED, parallel=2, say=say).run()
    assert result.broken == [], table(result)
    assert len(result.injected) == FAULTS
    assert result.facts is not None
    assert {run.state for run in result.facts.runs} <= {"success", "failed"}
    say(table(result))
