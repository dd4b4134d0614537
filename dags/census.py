"""The Airflow DAGs of the model file include/models/census.yaml."""

from sagewind.workflows import model_dags

globals().update(model_dags("census"))
