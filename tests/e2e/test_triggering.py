"""Every way in which a run is started, for every family of DAGs with and without cron: its first task succeeds.

Everything is triggered while the DAGs are paused, then all of it runs; a run whose first task has ended is marked
failed, as its jobs are other tests' matter. What monitoring and housekeeping do costs nothing: it goes to its end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.e2e.conftest import Checkout, Running, first_task, wait_for
from tools.stack.errors import StackError

pytestmark = [pytest.mark.alone, pytest.mark.timeout(3600)]

#: What the trigger form sends if it is left as it is.
FORM: dict[str, dict[str, Any]] = {
    "lifecycle": {"source": None, "keep": False},
    "training": {"source": None, "deploy": "auto"},
    "batch_scoring": {"rows": None},
    "monitoring": {"window_start": None, "window_end": None},
    "housekeeping": {"dry_run": True},
}
HOUSEKEEPING = "sagemaker_housekeeping"
#: `timed` has a cron everywhere, `plain` has none; drift events start the trainings of both.
PLAIN = tuple(f"plain_{family}" for family in FORM if family != "housekeeping")
TIMED = ("timed_training", "timed_batch_scoring", "timed_monitoring", HOUSEKEEPING)
DAGS = (*PLAIN, *TIMED)
WITH_EVENTS = ("plain_training", "timed_training")
#: Between two intervals of each cron; a backfill of one interval.
PAST = "2026-02-10T12:10:00Z"
BACKFILL = {"from_date": "2026-03-01T03:00:00Z", "to_date": "2026-03-01T03:45:00Z"}
#: Param -> the DAG that is asked for it, and a value that it cannot have. No DAG is asked twice.
BAD = {
    "source": ("plain_lifecycle", "/data/churn.csv"),
    "deploy": ("plain_training", "now"),
    "rows": ("plain_batch_scoring", "s3://lake/rows/"),
    "window_start": ("plain_monitoring", "yesterday"),
    "window_end": ("timed_monitoring", "2026-02-30T00:00:00Z"),
    "dry_run": (HOUSEKEEPING, "yes"),
}


def family_of(dag: str) -> str:
    return dag.split("_", 1)[1]


@dataclass
class Seen:
    """What became of all that was asked for."""

    now: datetime
    #: Airflow's refusals of what it must refuse, by name.
    refused: dict[str, str] = field(default_factory=dict)
    command_line: dict[str, tuple[int, str]] = field(default_factory=dict)
    #: (DAG, run id, or run type if Airflow chose the id) -> the run, with `first` = the end of its first task.
    runs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


def ask(stack: Running, seen: Seen, name: str, path: str, **body: Any) -> None:
    """Post to Airflow's API; a refusal is kept."""
    try:
        stack.api.change("POST", path, body)
    except StackError as error:
        seen.refused[name] = str(error)


def trigger(stack: Running, seen: Seen, dag: str, run_id: str, logical_date: str | None, conf: Any) -> None:
    body = {"dag_run_id": run_id, "logical_date": logical_date, "conf": conf}
    ask(stack, seen, f"{dag} {run_id}", f"/api/v2/dags/{dag}/dagRuns", **body)


def command_line(stack: Running, dag: str, run_id: str, conf: dict[str, Any]) -> tuple[int, str]:
    done = stack.airflow("dags", "trigger", dag, "--run-id", run_id, "--conf", json.dumps(conf))
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def stack(make_checkout: Callable[[], Checkout], up: Callable[[Checkout], Running]) -> Running:
    checkout = make_checkout()
    checkout.add_families()
    return up(checkout)


@pytest.fixture(scope="module")
def seen(stack: Running) -> Seen:
    found = Seen(datetime.now(UTC))
    for dag in DAGS:
        wait_for(lambda dag=dag: stack.parsed(dag), f"DAG {dag}")
    for param, (dag, value) in BAD.items():
        trigger(stack, found, dag, "bad", None, {param: value})
    of_bad_conf = {"dag_id": "timed_training", "dag_run_conf": {"deploy": "now"}}
    ask(stack, found, "bad backfill", "/api/v2/backfills", **BACKFILL, **of_bad_conf)
    trigger(stack, found, "plain_monitoring", "bare", None, None)
    for dag in DAGS:
        ask_of_the_api(stack, found, dag)
    with ThreadPoolExecutor(
        2
    ) as pool:  # a command takes its time to start: as many at once as a small machine has cores
        asked = {dag: pool.submit(command_line, stack, dag, "cli", FORM[family_of(dag)]) for dag in DAGS}
        asked["bad"] = pool.submit(command_line, stack, "plain_monitoring", "bad-cli", {"window_start": "yesterday"})
        found.command_line = {name: answer.result() for name, answer in asked.items()}
    for dag in DAGS:
        stack.unpause(dag)
    drift = {asset["name"]: asset["id"] for asset in stack.api._call("GET", "/api/v2/assets")["assets"]}
    for dag in WITH_EVENTS:
        event = {"asset_id": drift[f"drift://{dag.split('_')[0]}"], "extra": {}}
        ask(stack, found, f"{dag} event", "/api/v2/assets/events", **event)
    wait_for(lambda: all_ended(stack, found), "the first task of every run")
    return found


def ask_of_the_api(stack: Running, seen: Seen, dag: str) -> None:
    """A run of now as the form sends it, one of a date in the past, that date again, no date, and a wrong key."""
    form = FORM[family_of(dag)]
    trigger(stack, seen, dag, "now", seen.now.isoformat(), form)
    trigger(stack, seen, dag, "past", PAST, {})
    trigger(stack, seen, dag, "past-again", PAST, {})
    trigger(stack, seen, dag, "undated", None, form)
    trigger(stack, seen, dag, "unknown", None, {**form, f"{next(iter(form))}s": 1})
    ask(stack, seen, f"{dag} backfill", "/api/v2/backfills", dag_id=dag, **BACKFILL)


def expected(dag: str) -> Iterator[tuple[str, str]]:
    """The runs that there must be."""
    yield from ((dag, run) for run in ("now", "past", "undated", "unknown", "cli"))
    if dag == "plain_monitoring":
        yield (dag, "bare")  # without any conf
    if dag in TIMED:
        yield from ((dag, kind) for kind in ("backfill", "scheduled"))
    if dag in WITH_EVENTS:
        yield (dag, "asset_triggered")


EXPECTED = [key for dag in DAGS for key in expected(dag)]


def all_ended(stack: Running, seen: Seen) -> bool:
    """Whether every run's first task has ended; such a run is ended too, so that the next one of its DAG can begin."""
    for dag in DAGS:
        for run in stack.runs(dag):
            run_id = run["dag_run_id"]
            key = (dag, run_id if run["run_type"] == "manual" else run["run_type"])
            if key in seen.runs:
                continue
            first = stack.states(dag, run_id).get(first_task(dag))
            if first in ("success", "failed", "upstream_failed", "skipped"):
                plan = stack.api.xcom(dag, run_id, "ingest") if dag != HOUSEKEEPING else None
                seen.runs[key] = {**run, "first": first, "window": (plan or {}).get("window")}
                if family_of(dag) not in ("monitoring", "housekeeping") and first == "success":
                    stack.patch(f"/api/v2/dags/{dag}/dagRuns/{run_id}", state="failed")
    return seen.runs.keys() >= {*EXPECTED}


@pytest.mark.parametrize(("dag", "run"), [key for key in EXPECTED if key[1] != "unknown"])
def test_the_first_task_succeeds_however_the_run_was_started(stack: Running, seen: Seen, dag: str, run: str) -> None:
    assert seen.runs[dag, run]["first"] == "success", stack.log(dag, seen.runs[dag, run]["dag_run_id"], first_task(dag))


@pytest.mark.parametrize("dag", [dag for dag in DAGS if dag != HOUSEKEEPING])
def test_the_window_is_the_interval_if_it_has_a_length(seen: Seen, dag: str) -> None:
    for (of, name), run in seen.runs.items():
        if of != dag or name == "unknown":
            continue
        window = run["window"]
        start, end = run["data_interval_start"], run["data_interval_end"]
        if dag in PLAIN or end is None:
            assert window["start"] == "", name
            assert moment(window["end"]) == moment(end or run["run_after"]), name
            assert start == end, name
        else:
            assert (moment(window["start"]), moment(window["end"])) == (moment(start), moment(end)), name
            assert moment(start) < moment(end), name
        if dag in PLAIN and name in ("now", "past"):
            assert moment(window["end"]) == moment(run["logical_date"]), name


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("dag", DAGS)
def test_a_second_run_of_the_same_date_is_airflows_refusal(seen: Seen, dag: str) -> None:
    assert "with 409" in seen.refused[f"{dag} past-again"]


@pytest.mark.parametrize("dag", PLAIN)
def test_a_backfill_without_a_cron_is_airflows_refusal(seen: Seen, dag: str) -> None:
    assert "with 422" in seen.refused[f"{dag} backfill"]
    assert "has a non-periodic schedule that does not support backfills" in seen.refused[f"{dag} backfill"]


@pytest.mark.parametrize("dag", DAGS)
def test_an_unknown_conf_key_is_named_by_the_first_task(stack: Running, seen: Seen, dag: str) -> None:
    assert seen.runs[dag, "unknown"]["first"] == "failed"
    params = list(FORM[family_of(dag)])
    said = f"{dag} takes no conf key '{params[0]}s' (did you mean '{params[0]}'?): it takes {', '.join(params)}"
    assert said in stack.log(dag, "unknown", first_task(dag))


@pytest.mark.parametrize("param", BAD)
def test_a_wrong_text_starts_no_run(stack: Running, seen: Seen, param: str) -> None:
    dag, _ = BAD[param]
    assert "with 400" in seen.refused[f"{dag} bad"]
    assert f"Invalid input for param {param}: " in seen.refused[f"{dag} bad"]
    assert "bad" not in [run["dag_run_id"] for run in stack.runs(dag)]


def test_a_wrong_value_starts_no_backfill(seen: Seen) -> None:
    assert "with 422" in seen.refused["bad backfill"]
    assert "Invalid input for param deploy" in seen.refused["bad backfill"]


def test_the_command_line_starts_runs_and_refuses_wrong_texts(stack: Running, seen: Seen) -> None:
    assert {dag: seen.command_line[dag] for dag in DAGS if seen.command_line[dag][0] != 0} == {}
    code, said = seen.command_line["bad"]
    assert code != 0
    assert "Invalid input for param window_start: 'yesterday'" in said
    assert "bad-cli" not in [run["dag_run_id"] for run in stack.runs("plain_monitoring")]


def test_nothing_else_was_refused(seen: Seen) -> None:
    meant = {f"{dag} past-again" for dag in DAGS} | {f"{dag} backfill" for dag in PLAIN} | {"bad backfill"}
    meant |= {f"{dag} bad" for dag, _ in BAD.values()}
    assert {name: said for name, said in seen.refused.items() if name not in meant} == {}


@pytest.mark.parametrize("dag", ["plain_monitoring", "timed_monitoring", HOUSEKEEPING])
def test_runs_that_cost_nothing_end_well(stack: Running, seen: Seen, dag: str) -> None:
    runs = [run["dag_run_id"] for (of, name), run in seen.runs.items() if of == dag and name != "unknown"]
    assert {run: stack.wait(dag, run) for run in runs} == dict.fromkeys(runs, "success")
