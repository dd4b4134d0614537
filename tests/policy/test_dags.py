"""What every DAG of the project keeps to, whichever model it belongs to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sagewind.sensors.base import WatchSensor
from tests.conftest import ROOT
from tests.models import load_model, model_names

KINDS = ("lifecycle", "training", "batch_scoring", "monitoring")
#: Tasks that leave something in the account that costs money or clutters it until it is deleted.
CREATES = {"create_model", "endpoint_config", "deploy"}


def expected_ids() -> set[str]:
    """The DAGs that the model files ask for, and housekeeping."""
    return {f"{model}_{kind}" for model in model_names() for kind in KINDS} | {"sagemaker_housekeeping"}


def offenders(bag: Any, breaks_rule: Any) -> list[str]:
    """Ids of the DAGs that break a rule."""
    return sorted(dag_id for dag_id, dag in bag.dags.items() if breaks_rule(dag))


def tasks(bag: Any) -> Iterator[tuple[str, Any]]:
    """Every task of every DAG, as `dag.task` and the task."""
    for dag_id, dag in bag.dags.items():
        for task in dag.tasks:
            yield f"{dag_id}.{task.task_id}", task


def test_dags_are_exactly_these(bag: Any) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == expected_ids()


def test_every_dag_says_what_it_is_and_whose(bag: Any) -> None:
    assert offenders(bag, lambda dag: not (dag.doc_md or "").strip()) == [], "doc_md"
    assert offenders(bag, lambda dag: not dag.tags) == [], "tags"
    assert sorted(name for name, task in tasks(bag) if task.owner in ("", "airflow")) == [], "owner"


def test_every_task_says_what_it_does_and_what_makes_it_red(bag: Any) -> None:
    docs = {name: task.doc_md or "" for name, task in tasks(bag)}
    assert sorted(name for name, doc in docs.items() if not doc.strip()) == []
    assert sorted(name for name, doc in docs.items() if len(doc) > 500) == [], "short enough to be read"


def test_every_task_is_retried_with_growing_pauses(bag: Any) -> None:
    # A sensor waits out passing faults itself; Airflow would repeat its whole wait after a bad end.
    sensors = {name for name, task in tasks(bag) if isinstance(task, WatchSensor)}
    assert sensors, "no sensor found: the test looks for the wrong class"
    assert sorted(name for name, task in tasks(bag) if (task.retries < 1) != (name in sensors)) == []
    assert sorted(name for name, task in tasks(bag) if not task.retry_exponential_backoff) == []
    assert sorted(name for name, task in tasks(bag) if task.max_retry_delay is None) == []


def test_what_creates_also_tears_down(bag: Any) -> None:
    creating = [dag for dag in bag.dags.values() if CREATES & set(dag.task_ids)]
    assert creating, "no DAG creates anything: the test looks for the wrong task ids"
    assert sorted(dag.dag_id for dag in creating if not any(task.is_teardown for task in dag.tasks)) == []


def test_a_failed_teardown_fails_the_run_and_no_job_is_a_setup(bag: Any) -> None:
    torn = [(name, task) for name, task in tasks(bag) if task.is_teardown]
    assert sorted(name for name, task in torn if not task.on_failure_fail_dagrun) == []
    # Clearing a work task would run its setups again: a second paid job.
    assert sorted(name for name, task in tasks(bag) if task.is_setup) == []


#: A task with one of these rules ends failed, upstream_failed, or (watching for failures) fails itself.
PASSES_FAILURE_ON = {"all_success", "none_failed", "none_failed_min_one_success", "one_failed"}


@dataclass(frozen=True)
class Instance:
    """As much of a task instance as Airflow needs to say whether it counts."""

    task_id: str
    state: None = None


def fails_the_run(task: Any, leaves: set[str]) -> bool:
    """Whether a failure of `task` reaches a leaf that Airflow looks at, other than a teardown, which runs anyway."""
    if task.task_id in leaves and not task.is_teardown:
        return True
    below = [each for each in task.downstream_list if not each.is_teardown]
    return any(each.trigger_rule.value in PASSES_FAILURE_ON and fails_the_run(each, leaves) for each in below)


def silent_tasks(dag: Any) -> set[str]:
    """Tasks whose failure leaves the run green. Airflow's own function says which leaves a run is judged by."""
    from airflow.models.dagrun import DagRun

    instances = [Instance(task_id) for task_id in dag.task_ids]
    leaves = {each.task_id for each in DagRun._tis_for_dagrun_state(None, dag=dag, tis=instances)}
    return {task.task_id for task in dag.tasks if not task.is_teardown and not fails_the_run(task, leaves)}


def test_a_failure_anywhere_fails_the_run(bag: Any) -> None:
    assert {dag_id: silent for dag_id, dag in bag.dags.items() if (silent := silent_tasks(dag))} == {}


@pytest.mark.parametrize("watched", [False, True])
def test_a_teardown_that_counts_hides_the_work_before_it(watched: bool) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    with DAG("d", schedule=None) as dag:
        first, work, teardown = (EmptyOperator(task_id=name) for name in ("first", "work", "teardown"))
        first >> work >> teardown.as_teardown(on_failure_fail_dagrun=True)
        if watched:
            work >> EmptyOperator(task_id="complete")
    assert silent_tasks(dag) == (set() if watched else {"first", "work"})


def test_nothing_with_a_schedule_starts_by_itself(bag: Any) -> None:
    """Unpausing a cron DAG creates its last run at once: on AWS that is a paid training that nobody asked for."""
    scheduled = {dag_id for dag_id, dag in bag.dags.items() if dag.timetable.can_be_scheduled}
    assert scheduled, "no DAG has a schedule: the test would pass on nothing"
    assert offenders(bag, lambda dag: dag.dag_id in scheduled and dag.is_paused_upon_creation is False) == []
    assert offenders(bag, lambda dag: dag.catchup) == []


def test_params_are_typed_and_described(bag: Any) -> None:
    params = {f"{dag_id}.{name}": dag.params.get_param(name) for dag_id, dag in bag.dags.items() for name in dag.params}
    assert sorted(name for name, param in params.items() if "type" not in param.schema) == []
    assert sorted(name for name, param in params.items() if not param.description) == []


def test_lifecycle_params(bag: Any) -> None:
    for model in model_names():
        assert {"source", "keep"} <= set(bag.dags[f"{model}_lifecycle"].params)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The project's DAG files and model files in a folder of their own, where one can be broken."""
    for folder in ("dags", "include"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


PARSE = """
import json, pathlib, socket, sys
def refuse(*_, **__):
    raise OSError("no network while DAGs are parsed")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
# Airflow itself loads every provider's URI handlers, boto3 with them, when an asset has a URI. That would hide who
# else imports boto3, so it is switched off here.
assert callable(ProvidersManagerTaskRuntime._discover_asset_uri_resources)
ProvidersManagerTaskRuntime._discover_asset_uri_resources = lambda self: None
bag = DagBag(sys.argv[1])
heavy = {"boto3", "botocore", "moto", "pandas", "numpy", "sklearn", "xgboost", "sagemaker"}
print(json.dumps({
    "dags": sorted(bag.dags),
    "errors": {pathlib.Path(file).name: text for file, text in bag.import_errors.items()},
    "heavy": sorted(heavy & set(sys.modules)),
}))
"""


def parse(project: Path, home: Path) -> dict[str, Any]:
    """Parse a project's DAGs in a process of its own, without a network."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
    }
    command = [sys.executable, "-c", PARSE, str(project / "dags")]
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_parsing_needs_no_network_and_no_heavy_library(tmp_path: Path) -> None:
    found = parse(ROOT, tmp_path)
    assert found["errors"] == {}
    assert set(found["dags"]) == expected_ids()
    assert found["heavy"] == []


def test_a_broken_model_file_hides_no_other(copied: Path, tmp_path: Path) -> None:
    (copied / "include/models/tumor.yaml").write_text("name: tumor\ndescription: broken\nsurprise: 1\n")
    found = parse(copied, tmp_path)
    assert set(found["errors"]) == {"tumor.py"}
    assert "tumor.yaml" in found["errors"]["tumor.py"]
    assert "surprise" in found["errors"]["tumor.py"]
    assert set(found["dags"]) == {dag_id for dag_id in expected_ids() if not dag_id.startswith("tumor_")}


def test_plugins_load_cleanly(tmp_path: Path) -> None:
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "airflow", "plugins", "--output", "json"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert [line for line in said.splitlines() if "ERROR" in line or "Traceback" in line] == []
    names = {plugin["name"] for plugin in json.loads(done.stdout[done.stdout.index("[") :])}
    assert "sagewind" in names


def test_jobs_take_the_pool_of_their_kind_or_of_their_kind_and_machine() -> None:
    from sagewind.workflows.lifecycle import lifecycle_dag

    spec = load_model("tumor")
    pools = {"processing": "small", "tuning ml.m5.large": "exact", "tuning": "any"}
    dag = lifecycle_dag(spec.model_copy(update={"aws": spec.aws.model_copy(update={"pools": pools})}), ROOT)
    assert {dag.get_task(name).pool for name in ("prepare", "evaluate", "baseline")} == {"small"}
    assert dag.get_task("tune").pool == "exact"
    assert dag.get_task("batch_transform").pool == "default_pool"
