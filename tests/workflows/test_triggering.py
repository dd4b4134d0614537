"""What a run that a person starts works on: Airflow's own answers about its interval and params, fed to the tasks."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.exceptions import ParamValidationError
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from sagewind.errors import TaskRefused
from sagewind.pipeline import source
from sagewind.pipeline.spec import MonitorSpec
from sagewind.workflows.batch_scoring import batch_scoring_dag
from sagewind.workflows.common import window_params
from sagewind.workflows.housekeeping import housekeeping_dag
from sagewind.workflows.lifecycle import lifecycle_dag
from sagewind.workflows.monitoring import monitoring_dag
from sagewind.workflows.training import training_dag
from tests.conftest import ROOT
from tests.models import load_model

MONDAYS = "0 3 * * 1"
#: A Wednesday and a Tuesday: when somebody looks at the form, and a date that somebody may write into it.
NOW, PAST = datetime(2026, 3, 4, 10, 30, tzinfo=UTC), datetime(2026, 2, 10, 12, tzinfo=UTC)
WEEKS = {
    NOW: (datetime(2026, 2, 23, 3, tzinfo=UTC), datetime(2026, 3, 2, 3, tzinfo=UTC)),
    PAST: (datetime(2026, 2, 2, 3, tzinfo=UTC), datetime(2026, 2, 9, 3, tzinfo=UTC)),
}


def dags(cron: str | None) -> dict[str, DAG]:
    """Every family of DAGs that takes a cron, with one or without."""
    tumor = load_model("tumor")
    spec = tumor.model_copy(
        update={
            "schedule": cron,
            "batch": tumor.batch.model_copy(update={"schedule": cron}),
            "monitor": MonitorSpec(schedule=cron),
        }
    )
    watched = spec.model_copy(update={"monitor": MonitorSpec(schedule=cron, on_violation="retrain")})
    return {
        "training": training_dag(spec, ROOT),
        "training-or-drift": training_dag(watched, ROOT),
        "batch": batch_scoring_dag(spec),
        "monitoring": monitoring_dag(spec),
    }


WITH_CRON = dags(MONDAYS)
WITHOUT_CRON = {"lifecycle": lifecycle_dag(load_model("tumor"), ROOT), **dags(None)}
EVERY = {**{f"{name}-cron": dag for name, dag in WITH_CRON.items()}, **WITHOUT_CRON, "housekeeping": housekeeping_dag()}
MONITORING = [EVERY["monitoring"], EVERY["monitoring-cron"]]


def asked(dag: DAG, logical_date: datetime | None, **conf: Any) -> SimpleNamespace:
    """The run that Airflow's API makes of a request: its own code infers the interval and checks the params."""
    served = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    body = TriggerDAGRunPostBody(logical_date=logical_date, run_after=NOW, conf=conf)
    made = body.validate_context(served)
    params = served.params.deep_merge(made["conf"]).validate()
    interval = made["data_interval"]
    return SimpleNamespace(
        data_interval_start=interval.start if interval else None,
        data_interval_end=interval.end if interval else None,
        run_after=made["run_after"],
        conf=made["conf"],
        params=params,
    )


def window(dag: DAG, run: SimpleNamespace) -> tuple[datetime | None, datetime]:
    """What `ingest` makes of the run."""
    (ingest,) = dag.roots
    ingest = ingest.prepare_for_execution()
    ingest.render_template_fields({"params": getattr(run, "params", {})})
    return ingest._window(run)


@pytest.mark.parametrize("name", WITH_CRON)
def test_with_a_cron_a_date_means_the_last_interval_before_it(name: str) -> None:
    dag = WITH_CRON[name]
    for date, week in WEEKS.items():
        assert window(dag, asked(dag, date)) == week
    assert window(dag, asked(dag, None)) == (None, NOW)


@pytest.mark.parametrize("name", WITHOUT_CRON)
def test_without_a_cron_there_is_no_interval_and_a_date_is_the_end(name: str) -> None:
    dag = WITHOUT_CRON[name]
    for date in (NOW, PAST):
        run = asked(dag, date)
        assert run.data_interval_start == run.data_interval_end == date, "Airflow: an interval without length"
        assert window(dag, run) == (None, date)
    assert window(dag, asked(dag, None)) == (None, NOW)


@pytest.mark.parametrize("dag", MONITORING, ids=["plain", "cron"])
def test_a_window_that_is_given_counts_and_the_run_has_the_rest(dag: DAG) -> None:
    early, late = "2026-01-05T06:00:00Z", "2026-01-06T08:00:00.5+02:00"
    start, end = datetime(2026, 1, 5, 6, tzinfo=UTC), datetime(2026, 1, 6, 6, 0, 0, 500000, tzinfo=UTC)
    for date in (NOW, PAST, None):
        assert window(dag, asked(dag, date, window_start=early, window_end=late)) == (start, end)
        own_start, own_end = window(dag, asked(dag, date))
        assert window(dag, asked(dag, date, window_start=early)) == (start, own_end)
        assert window(dag, asked(dag, date, window_start=None, window_end=None)) == (own_start, own_end)
        if own_start is None:
            assert window(dag, asked(dag, date, window_end=late)) == (None, end)


@pytest.mark.parametrize("dag", MONITORING, ids=["plain", "cron"])
@pytest.mark.parametrize(
    ("conf", "says"),
    [
        (
            {"window_start": "2026-01-02T00:00:00Z", "window_end": "2026-01-01T00:00:00Z"},
            r"window_start is 2026-01-02T00:00:00\+00:00 and window_end is 2026-01-01T00:00:00\+00:00: give",
        ),
        (
            {"window_start": "2026-01-01T00:00:00Z", "window_end": "2026-01-01T00:00:00Z"},
            "the window is empty, as window_start is 2026-01-01",
        ),
        (
            {"window_start": "2027-01-01T00:00:00Z"},
            r"window_end is 2026-03-0\S+ \(not given: the run has it\): give a window_start that lies before window_",
        ),
    ],
)
def test_an_empty_window_that_somebody_asked_for_is_refused(dag: DAG, conf: dict[str, str], says: str) -> None:
    with pytest.raises(TaskRefused, match=says):
        window(dag, asked(dag, NOW, **conf))


def test_an_end_before_the_runs_interval_is_refused_too() -> None:
    dag = EVERY["monitoring-cron"]
    with pytest.raises(TaskRefused, match=r"window_start is 2026-02-23T03:00:00\+00:00 \(not given: the run has it\)"):
        window(dag, asked(dag, NOW, window_end="2026-01-01T00:00:00Z"))


@pytest.mark.parametrize("name", [*WITH_CRON, "lifecycle"])
def test_an_interval_that_runs_backwards_is_refused(name: str) -> None:
    run = SimpleNamespace(data_interval_start=NOW, data_interval_end=PAST, run_after=NOW)
    with pytest.raises(TaskRefused, match="the window is empty"):
        window(EVERY[name], run)


@pytest.mark.parametrize("name", WITH_CRON)
def test_an_interval_of_a_backfill_is_the_window(name: str) -> None:
    run = SimpleNamespace(data_interval_start=PAST, data_interval_end=PAST + timedelta(days=7), run_after=NOW)
    assert window(WITH_CRON[name], run) == (PAST, PAST + timedelta(days=7))


def test_a_time_without_a_zone_is_utc_where_airflow_lets_it_pass() -> None:
    run = SimpleNamespace(data_interval_start=None, data_interval_end=None, run_after=NOW)
    run.params = {"window_start": "2026-01-05T06:00:00"}
    assert window(EVERY["monitoring"], run) == (datetime(2026, 1, 5, 6, tzinfo=UTC), NOW)


@pytest.mark.parametrize("name", EVERY)
def test_a_conf_key_that_the_dag_does_not_have_is_refused_by_the_first_tasks(name: str) -> None:
    dag = EVERY[name]
    assert dag.roots
    for param, task in itertools.product(dag.params, dag.roots):
        with pytest.raises(TaskRefused) as refused:
            task.execute({"dag_run": SimpleNamespace(conf={param: None, f"{param}s": 1, "zzz": 2})})
        said = str(refused.value)
        assert said.startswith(f"{dag.dag_id} takes no conf key '{param}s' (did you mean '{param}'?), 'zzz': it takes ")
        assert all(known in said for known in dag.params)


@pytest.mark.parametrize("name", EVERY)
def test_what_the_dag_has_and_what_airflow_adds_passes(name: str) -> None:
    dag = EVERY[name]
    everything = dict.fromkeys(dag.params)
    for conf in (None, {}, everything, {**everything, "openlineage": {"parentRunId": "x"}}):
        for task in dag.roots:
            task.refuse_unknown_conf({"dag_run": SimpleNamespace(conf=conf)})


GOOD_TIMES = [
    None,
    "2026-01-31T06:00:00Z",
    "2026-01-31T06:00:00+05:30",
    "2026-01-31T06:00:00.000Z",  # what the form's calendar writes
    "1970-01-01T00:00:00Z",
]
BAD_TIMES = [
    "yesterday",
    "2026-01-31",
    "2026-01-31T06:00:00",
    "2026-01-31 06:00:00Z",
    "1767225600",
    7,
    "\n",
    "0001-01-01T00:00:00Z",
]
GOOD_SOURCES = [None, "", "file:///data/churn.csv", "s3://lake/{window_end:%Y/%m/%d}", "openml://adult?version=2"]
BAD_SOURCES = [
    "/data/churn.csv",
    "http://host/a.csv",
    " file:///data/churn.csv",
    "file:///data/churn.csv\n",
    "file://data/churn.csv",
    "S3://bucket/key",
    "s3://bucket",
    "sklearn://boston",
    "file:///" + "a" * source.LONGEST,
    5,
]
GOOD_ROWS = [None, "", "s3://lake/rows", "s3://lake/a b/ü"]
BAD_ROWS = [
    "s3://lake",
    "s3://lake/",
    "s3://lake/rows/",
    "s3:///rows",
    "/data/rows",
    "s3://lake/rows\n",
    "s3://l/" + "a" * 1017,
    1,
]
FIELDS = [
    *((dag, name, GOOD_TIMES, BAD_TIMES) for dag in MONITORING for name in ("window_start", "window_end")),
    *((EVERY[family], "source", GOOD_SOURCES, BAD_SOURCES) for family in ("lifecycle", "training", "training-cron")),
    (EVERY["batch"], "rows", GOOD_ROWS, BAD_ROWS),
    (EVERY["batch-cron"], "rows", GOOD_ROWS, BAD_ROWS),
]


@pytest.mark.parametrize(
    ("dag", "name", "good", "bad"), FIELDS, ids=[f"{dag.dag_id}-{name}" for dag, name, *_ in FIELDS]
)
def test_a_field_refuses_what_cannot_be(dag: DAG, name: str, good: list[Any], bad: list[Any]) -> None:
    schema = dag.params.get_param(name).schema
    for value in good:
        assert asked(dag, NOW, **{name: value}).params[name] == value
    for value in bad:
        with pytest.raises(ParamValidationError, match=f"Invalid input for param {name}") as refused:
            asked(dag, NOW, **{name: value})
        # Airflow shows the schema, a long text in pieces.
        assert schema["write"] in re.sub(r"'\n *'", "", str(refused.value))
        # An Airflow without the package that checks formats refuses it too.
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value, schema)


def test_a_day_that_no_calendar_has_is_told_by_the_task_where_airflow_lets_it_pass() -> None:
    run = SimpleNamespace(data_interval_start=None, data_interval_end=None, run_after=NOW)
    run.params = {"window_end": "2026-02-30T00:00:00Z"}
    with pytest.raises(
        TaskRefused, match="window_end is '2026-02-30T00:00:00Z': write an ISO time such as 2026-01-31T06"
    ):
        window(EVERY["monitoring"], run)


@pytest.mark.parametrize("name", ["window_start", "window_end"])
@pytest.mark.parametrize("text", ["2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z"])
def test_a_time_that_is_none_is_refused(name: str, text: str) -> None:
    """The pattern lets them through: the format refuses them, for which jsonschema needs rfc3339-validator."""
    param = window_params()[name]
    assert param.resolve("2026-02-28T00:00:00Z") == "2026-02-28T00:00:00Z"
    with pytest.raises(ParamValidationError, match="is not a 'date-time'"):
        param.resolve(text)
