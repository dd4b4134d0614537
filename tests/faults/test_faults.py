"""Faults on a real stack: a short run of random ones, and a triggerer that comes back after it was replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Checkout
from tests.faults import settings
from tests.faults.calls import CREATES, STOPS, Call, CallFile
from tests.faults.campaign import Campaign, say
from tests.faults.database import missing
from tests.faults.injector import tree
from tests.faults.stack import TRIGGERERS, Stack, poll, resume
from tests.faults.table import table

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

FAULTS, SEED = 8, 11
DAG, RUN = "held_lifecycle", "paused"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack(add=Checkout.add_held) as found:
        yield found


def test_a_triggerer_that_comes_back_after_it_was_replaced_stops_no_job(stack: Stack) -> None:
    stack.client("s3").create_bucket(Bucket="held")
    stack.ask(lambda api: api.unpause(DAG))
    stack.trigger(DAG, RUN, {})
    poll(lambda: holder_of(stack), "the trigger", settings.RUN_SECONDS)

    try:
        poll(lambda: replaced_and_back(stack), "on_kill of a triggerer that came back", settings.RUN_SECONDS)
        assert "on_kill() timed out" not in told(stack), "it proves nothing"
        assert stops(stack) == []
    finally:  # the next test's runs are counted too: a training that is held would be a leftover
        stack.client("s3").put_object(Bucket="held", Key="go on", Body=b"")

    def ended() -> str | None:
        state = stack.ask(lambda api: api.run_state(DAG, RUN))
        return state if state in ("success", "failed") else None

    assert poll(ended, "the run", settings.RUN_SECONDS, pause=0.5) == "success"
    assert stops(stack) == []
    trainings = [call for call in calls(stack) if call.operation == "CreateTrainingJob"]
    assert [(call.tag("generation"), call.outcome) for call in trainings] == [("1", "ok")]


def replaced_and_back(stack: Stack) -> bool:
    """Pause the triggerer that holds the trigger until the other one has it, then resume it; True if it ran `on_kill`.

    False is no fault: a triggerer that is paused within a transaction keeps the trigger's row locked, so that nobody
    takes it over; and one that is slow with its first trigger on a loaded machine has it taken back.
    """
    holder, processes = poll(lambda: pause_holder(stack), "a triggerer that holds the trigger", settings.START_SECONDS)
    try:
        poll(lambda: holder_of(stack) not in (None, holder), "the other triggerer", 5 * settings.TRIGGERER_SILENCE)
    except TimeoutError:
        return False
    finally:
        resume(processes)

    def outcome() -> str | None:
        _, called, after = told(stack).partition("invoking on_kill")
        if called:
            return "on_kill" if "trigger completed" in after else None
        return "taken back" if holder_of(stack) == holder else None

    return poll(outcome, f"on_kill of triggerer {holder} or its trigger", settings.START_SECONDS) == "on_kill"


def holder_of(stack: Stack) -> int | None:
    """The triggerer that holds the trigger of the training's task."""
    query = (
        "SELECT triggerer_id FROM trigger JOIN task_instance AS task ON task.trigger_id = trigger.id"
        " WHERE dag_id = %s AND run_id = %s AND task_id = 'train' AND task.state = 'deferred'"
    )
    found = stack.database.rows(query, DAG, RUN)
    return found[0][0] if found else None


def pause_holder(stack: Stack) -> tuple[int, list[psutil.Process]] | None:
    """Stop the triggerer that runs the trigger; None if it has not looked at the job once, or the trigger moves."""
    assert stops(stack) == [], "a move on a loaded machine is the very thing that must not stop a job"
    stack.revive()
    holder = holder_of(stack)
    process = None if holder is None else writer(stack, logs(stack, holder))
    if holder is None or process is None or "InProgress" not in told(stack, holder):
        return None  # until it has looked at the job once: then it has all it needs to stop one
    processes = tree(process)
    for part in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            part.suspend()
    if holder_of(stack) == holder:
        return holder, processes
    resume(processes)
    return None


def writer(stack: Stack, files: list[Path]) -> psutil.Process | None:
    """The triggerer that has one of these files open: Airflow's numbers of the triggerers are in its logs' names."""
    for name in TRIGGERERS:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself: `revive` starts it again
            if (process := stack.process(name)) and {Path(file.path) for file in process.open_files()} & set(files):
                return process
    return None


def logs(stack: Stack, holder: int | str) -> list[Path]:
    """The files into which a triggerer, or with `*` each of them, writes the log of the training's task."""
    folder = stack.home.airflow / f"logs/dag_id={DAG}/run_id={RUN}/task_id=train"
    return [path.resolve() for path in folder.glob(f"*.trigger.{holder}.log")]


def told(stack: Stack, holder: int | str = "*") -> str:
    """What is in them."""
    return "".join(path.read_text() for path in logs(stack, holder))


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
