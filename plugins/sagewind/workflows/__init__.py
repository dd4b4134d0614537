"""DAG factories: wiring only. `model_dags(name)` makes the DAGs of one model file."""

from sagewind.workflows.factory import model_dags

__all__ = ["model_dags"]
