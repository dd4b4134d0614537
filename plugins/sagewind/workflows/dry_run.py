"""`sagewind dry-run MODEL`: every request of a run and what it may cost; nothing is sent.

The run is imagined in an account that holds nothing yet. What only AWS will know stands as `<results.task.field>`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG

from sagewind.facts.prices import AS_OF, REGION, SOURCE
from sagewind.operators.base import Creation, SagewindOperator
from sagewind.operators.flow import ShallDeployOperator
from sagewind.operators.ingest import IngestOperator
from sagewind.operators.job import JobOperator
from sagewind.pipeline import plan, prices
from sagewind.pipeline.load import load_model
from sagewind.pipeline.project import MODELS
from sagewind.pipeline.spec import ModelSpec
from sagewind.workflows.factory import FAMILIES

# AIRFLOW_HOME stays as it is: the DAG is that of the user's Airflow only with its `[sagewind]` settings. To import
# Airflow makes the folder of its logs there, neither a configuration nor a database.
ACCOUNT = "123456789012"
RUN = "dry-run"
#: The end of the run's window: always the same, so that two print-outs can be compared.
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Unknown(dict[str, Any]):
    """What is known of a thing before the run; every other field of it is a placeholder that tells its path."""

    def __init__(self, path: str, known: Mapping[str, Any] | None = None) -> None:
        super().__init__(known or {})
        self._path = path

    def __missing__(self, key: str) -> Unknown:
        return Unknown(f"{self._path}.{key}")

    def __str__(self) -> str:
        return f"<{self._path}>"


def creations(dag: DAG, account: str, region: str) -> Iterator[tuple[SagewindOperator, Creation]]:
    """Each task of a model's DAG with each request that it would send, in the order of a run.

    Renders the DAG's tasks, so it can be walked once. Raises what a task raises that refuses: TaskRefused, SourceError,
    ModelFileError.
    """
    results: dict[str, Any] = {}
    passed_over: set[str] = set()
    arn = f"arn:{plan.PARTITION}:sagemaker:{region}:{account}"
    for task in dag.topological_sort():
        if not isinstance(task, SagewindOperator) or task.task_id in passed_over:
            continue
        context = _context(task, results)
        task.render_template_fields(context)
        if isinstance(task, IngestOperator):
            results[task.task_id] = task.planned(context, account=account, region=region).plan
            continue
        if isinstance(task, ShallDeployOperator) and task.reason_to_skip(context):
            passed_over |= set(task.get_flat_relative_ids(upstream=False))
        sent = task.creates(context)
        yield from ((task, creation) for creation in sent)
        results[task.task_id] = Unknown(f"results.{task.task_id}", _known(task.task_id, sent, arn))


def _context(task: SagewindOperator, results: Mapping[str, Any]) -> Any:
    """As much of Airflow's context as templates and operators read before they ask AWS: a first try, by hand."""

    def pulled(task_ids: str, **_: Any) -> Any:
        return results.get(task_ids, Unknown(f"results.{task_ids}"))

    ids = {"dag_id": task.dag_id, "run_id": RUN, "task_id": task.task_id}
    interval = {"data_interval_start": None, "data_interval_end": None, "run_after": NOW}
    return {
        "ti": SimpleNamespace(**ids, map_index=-1, try_number=1, xcom_pull=pulled),
        "dag_run": SimpleNamespace(run_id=RUN, run_type="manual", conf={}, **interval),
        "params": task.dag.params.dump(),
        "task_state_store": {},
    }


def _known(task_id: str, sent: list[Creation], arn: str) -> dict[str, Any]:
    """The fields of a task's record that follow from what it creates last."""
    if not sent:
        return {}
    call, request = sent[-1]
    kind = call.removeprefix("create_")
    name = request.get(f"{_camel(kind)}Name")
    if kind == "model_package":  # the first of its group
        name = f"{request['ModelPackageGroupName']}/1"
    tuned = request.get("TrainingJobDefinition")
    training = f"<results.{task_id}.best.name>" if tuned else name
    output = (tuned or request).get("OutputDataConfig", {}).get("S3OutputPath")
    return {
        **({"name": name, "arn": f"{arn}:{kind.replace('_', '-')}/{name}"} if name else {}),
        **({"artifact": f"{output}/{training}/output/model.tar.gz"} if output else {}),
    }


def _camel(snake: str) -> str:
    return "".join(word.capitalize() for word in snake.split("_"))


def operation(creation: Creation) -> str:
    """The request's operation as AWS names it, such as CreateModel."""
    return _camel(creation[0])


def render(spec: ModelSpec, project: Path, family: str, region: str) -> str:
    """The whole print-out of a run of one of the model's DAGs."""
    dag = FAMILIES[family](spec, project)
    lines = [f"# {spec.name}: requests of a {family} run in {region}; nothing is sent", ""]
    costs = []
    for task, creation in creations(dag, ACCOUNT, region):
        request = creation[1]
        lines += [f"## {task.task_id}: {operation(creation)}", json.dumps(request, indent=2), ""]
        if isinstance(task, JobOperator):
            costs.append(prices.job(task.task_id, task.kind, request, task.transform_minutes).shown)
        costs += [line.shown for line in map(prices.endpoint, request.get("ProductionVariants", ()))]
    lines.append(f"## What it may cost (US dollars, {REGION} on demand, every job at its time limit)")
    lines.append(f"Prices of {AS_OF}, from {SOURCE}; they change and differ by region.")
    return "\n".join([*lines, *costs]) + "\n"


@contextmanager
def _output_to_stderr() -> Iterator[None]:
    """Airflow's log lines go to the output as it was when Airflow was imported: only its descriptor can be led away."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def show(project: Path, model: str, family: str, region: str | None) -> str:
    """The print-out of one of a model's DAGs; what Airflow says meanwhile goes to stderr.

    ValueError or TaskRefused with one sentence of a model file, a source, a region or a setting.
    """
    if family not in FAMILIES:
        raise ValueError(f"the DAG is {family!r}: use one of {', '.join(FAMILIES)}")
    spec = load_model(model, project / MODELS)
    with _output_to_stderr():
        return render(spec, project, family, region or spec.aws.region or "us-east-1")
