"""All DAGs of one model file."""

from __future__ import annotations

from airflow.sdk import DAG

from include.pipeline.load import load_model
from include.workflows.batch_scoring import batch_scoring_dag
from include.workflows.lifecycle import lifecycle_dag
from include.workflows.monitoring import monitoring_dag
from include.workflows.training import training_dag


def model_dags(name: str) -> dict[str, DAG]:
    """DAG id -> DAG of the model file `include/models/<name>.yaml`; a wrong file raises, and hides no other model."""
    spec = load_model(name)
    dags = [lifecycle_dag(spec), training_dag(spec), batch_scoring_dag(spec), monitoring_dag(spec)]
    return {dag.dag_id: dag for dag in dags}
