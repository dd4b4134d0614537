"""All DAGs of one model file."""

from __future__ import annotations

from airflow.sdk import DAG

from sagewind.pipeline.load import load_model
from sagewind.pipeline.project import MODELS
from sagewind.workflows import project
from sagewind.workflows.batch_scoring import batch_scoring_dag
from sagewind.workflows.lifecycle import lifecycle_dag
from sagewind.workflows.monitoring import monitoring_dag
from sagewind.workflows.training import training_dag


def model_dags(name: str) -> dict[str, DAG]:
    """DAG id -> DAG of the model file `include/models/<name>.yaml` of the project that the calling DAG file lies in.

    A wrong file raises, and hides no other model. Which project: `sagewind.workflows.project.of_caller`.
    """
    root = project.of_caller()
    spec = load_model(name, root / MODELS)
    dags = [lifecycle_dag(spec, root), training_dag(spec, root), batch_scoring_dag(spec), monitoring_dag(spec)]
    return {dag.dag_id: dag for dag in dags}
