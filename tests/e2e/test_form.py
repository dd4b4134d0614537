"""Airflow's trigger form, clicked in a browser: what a person gets who leaves it as it is, or fills it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.e2e import browser
from tests.e2e.browser import Browser
from tests.e2e.conftest import Checkout, Running, first_task, wait_for

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(browser.missing()), reason=f"not installed here: {', '.join(browser.missing())}"),
]

#: DAG -> titles of its fields.
FIELDS = {
    "plain_lifecycle": ("Data source", "Keep everything"),
    "plain_training": ("Data source", "Deploy"),
    "plain_batch_scoring": ("Rows to score",),
    "plain_monitoring": ("Window from", "Window to"),
    "timed_monitoring": ("Window from", "Window to"),
    "sagemaker_housekeeping": ("Dry run",),
}


@pytest.fixture(scope="module")
def stack(make_checkout: Callable[[], Checkout], up: Callable[[Checkout], Running]) -> Running:
    checkout = make_checkout()
    checkout.add_families()
    running = up(checkout)
    for dag in FIELDS:
        wait_for(lambda dag=dag: running.parsed(dag), f"DAG {dag}")
    return running


@pytest.fixture(scope="module")
def page(stack: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(stack, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def submitted(stack: Running, page: Browser, dag: str) -> dict[str, Any]:
    """Press Trigger; the run that it makes."""
    before = {run["dag_run_id"] for run in stack.runs(dag)}

    def made() -> list[dict[str, Any]]:
        return [run for run in stack.runs(dag) if run["dag_run_id"] not in before and run["run_type"] == "manual"]

    page.submit()
    page.until(lambda _: page.form_is_closed(), "the form to close")
    (run,) = wait_for(made, f"the run of {dag}")
    return run


def first_ends(stack: Running, dag: str, run: dict[str, Any]) -> str:
    """How the run's first task ends; the run is ended then, as its jobs are other tests' matter."""
    run_id, task = run["dag_run_id"], first_task(dag)

    def ended() -> str | None:
        state = stack.states(dag, run_id).get(task)
        return state if state in ("success", "failed", "upstream_failed", "skipped") else None

    state = wait_for(ended, f"{dag} {task}")
    stack.patch(f"/api/v2/dags/{dag}/dagRuns/{run_id}", state="failed")
    return str(state)


@pytest.mark.parametrize("dag", FIELDS)
def test_the_form_as_it_is_starts_a_run(stack: Running, page: Browser, dag: str) -> None:
    page.open_form(dag, FIELDS[dag])
    run = submitted(stack, page, dag)
    assert run["triggered_by"] == "ui"
    assert run["logical_date"] is not None, "the form prefills it: what this test is about"
    assert first_ends(stack, dag, run) == "success", stack.log(dag, run["dag_run_id"], first_task(dag))


def test_a_wrong_source_is_told_in_the_form_and_starts_nothing(stack: Running, page: Browser) -> None:
    dag = "plain_lifecycle"
    before = {run["dag_run_id"] for run in stack.runs(dag)}
    page.open_form(dag, FIELDS[dag])
    page.fill("source", "/data/churn.csv")
    page.submit()
    page.until(lambda _: "Invalid input for param source: '/data/churn.csv' does not match" in page.text(), "the error")
    assert not page.form_is_closed()
    assert {run["dag_run_id"] for run in stack.runs(dag)} == before
    page.fill("source", "sklearn://breast_cancer")
    run = submitted(stack, page, dag)
    assert run["conf"] == {"source": "sklearn://breast_cancer", "keep": False}
    assert first_ends(stack, dag, run) == "success"


def test_a_time_of_the_forms_calendar_is_the_window(stack: Running, page: Browser) -> None:
    dag = "plain_monitoring"
    page.open_form(dag, FIELDS[dag])
    page.pick_time("Window from", "2026/01/05", "06:30")
    run = submitted(stack, page, dag)
    asked = run["conf"]["window_start"]
    assert first_ends(stack, dag, run) == "success"
    window = stack.api.xcom(dag, run["dag_run_id"], "ingest")["window"]
    assert datetime.fromisoformat(window["start"]) == datetime.fromisoformat(asked)
    assert datetime.fromisoformat(window["end"]) == datetime.fromisoformat(run["logical_date"])
