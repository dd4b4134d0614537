"""All DAGs of one model file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from airflow.sdk import DAG

from sagewind.pipeline.load import load_model
from sagewind.pipeline.project import MODELS
from sagewind.pipeline.spec import ModelSpec
from sagewind.workflows import project
from sagewind.workflows.batch_scoring import batch_scoring_dag
from sagewind.workflows.lifecycle import lifecycle_dag
from sagewind.workflows.monitoring import monitoring_dag
from sagewind.workflows.training import training_dag

#: Every kind of DAG that a model has: what follows the model's name in its id, and what makes it for a project.
FAMILIES: Mapping[str, Callable[[ModelSpec, Path], DAG]] = {
    "lifecycle": lifecycle_dag,
    "training": training_dag,
    "batch_scoring": lambda spec, _: batch_scoring_dag(spec),
    "monitoring": lambda spec, _: monitoring_dag(spec),
}


def model_dags(name: str) -> dict[str, DAG]:
    """DAG id -> DAG of the model file `include/models/<name>.yaml` of the project that the calling DAG file lies in.

    A wrong file raises, and hides no other model. Which project: `sagewind.workflows.project.of_caller`.
    """
    root = project.of_caller()
    spec = load_model(name, root / MODELS)
    dags = [make(spec, root) for make in FAMILIES.values()]
    return {dag.dag_id: dag for dag in dags}
