"""What the DAGs of a model share: defaults, trigger-form params, and references to what earlier tasks returned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import jinja2
from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from sagewind import settings
from sagewind.operators.ingest import MOMENT
from sagewind.pipeline import refs, source
from sagewind.pipeline.spec import ModelSpec
from sagewind.workflows import graph

START = datetime(2026, 1, 1)


def defaults(owner: str) -> dict[str, Any]:
    """Arguments of every task; ValueError for a setting that is not allowed.

    Retries are for AWS and the network; a job's own failure is not retried (see sagewind.errors), and how often a job
    task is tried is the matter of its retry policy (see sagewind.retrying).
    """
    settings.check()
    return {
        "owner": owner,
        "retries": settings.RETRIES.count(),
        "retry_delay": timedelta(seconds=settings.RETRY_DELAY.read()),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(seconds=settings.RETRY_DELAY_LONGEST.read()),
    }


@contextmanager
def make_dag(
    spec: ModelSpec,
    part: str,
    *,
    doc: str,
    tags: list[str],
    schedule: Any,
    params: dict[str, Param] | None = None,
    max_active_runs: int = 16,
) -> Iterator[DAG]:
    """A DAG of one model with the project's defaults. An undefined template value is an error, never an empty text.

    Once its tasks are there, its doc also says what starts it and what its groups are for.
    """
    with DAG(
        f"{spec.name}_{part}",
        description=f"{spec.description} ({part.replace('_', ' ')})",
        tags={"sagewind", spec.name, *tags},
        start_date=START,
        catchup=False,
        default_args=defaults(spec.owner),
        template_undefined=jinja2.StrictUndefined,
        schedule=schedule,
        params=params,
        max_active_runs=max_active_runs,
    ) as dag:
        yield dag
    dag.doc_md = f"{doc}\n{graph.about(dag)}"


def timetable(cron: str | None) -> CronDataIntervalTimetable | None:
    """Of a model file's cron expression; None without one, or if SAGEWIND_SCHEDULES=off says that no cron starts runs.

    Drift events and people start runs all the same; a backfill needs the cron. ValueError for another word.
    """
    wish = os.environ.get("SAGEWIND_SCHEDULES") or "on"
    if wish not in ("on", "off"):
        raise ValueError(f"the environment variable SAGEWIND_SCHEDULES is {wish!r}: write on or off")
    return CronDataIntervalTimetable(cron, timezone="UTC") if cron and wish == "on" else None


def text_param(title: str, write: str, otherwise: str, **schema: Any) -> Param:
    """Trigger-form field for a text that may be left out.

    `write` says what is allowed, under the field and, as a key of the schema, in Airflow's refusal: that quotes the
    whole schema, of which a pattern alone tells nobody what to write.
    """
    description = f"{write[:1].upper()}{write[1:]}; empty: {otherwise}"
    return Param(None, type=["null", "string"], title=title, description=description, write=write, **schema)


def source_param(spec: ModelSpec) -> Param:
    """Trigger-form field that overrides the model file's data source."""
    write = f"a URI, one of {source.SHOWN_SCHEMES}"
    limits = {"pattern": source.PATTERN, "maxLength": source.LONGEST}
    return text_param("Data source", write, spec.data.source, **limits)


def window_params() -> dict[str, Param]:
    """Trigger-form fields that look at another window than the run's interval. The format gives them a calendar."""
    write = "a time with its zone, 2026-01-31T06:00:00Z"
    return {
        name: text_param(title, write, otherwise, format="date-time", pattern=MOMENT)
        for name, title, otherwise in (
            ("window_start", "Window from", "the start of the run's interval, or everything if it has none"),
            ("window_end", "Window to", "the end of the run's interval, else its logical date, else now"),
        )
    }


def value(task: str, field: str) -> str:
    """Template of one field of what an earlier task returned, for operators."""
    return refs.templates().result(task, field)


def seen_by_sensor(task: str, field: str) -> str:
    """The same for sensors, which render in the triggerer, where only Airflow's own variables are known.

    `map_indexes` is needed there (see `TriggeredSensor`); the task must have returned its record on a worker.
    """
    return "{{ ti.xcom_pull(task_ids='%s', map_indexes=-1)['%s'] }}" % (task, field)  # noqa: UP031
