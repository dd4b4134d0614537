"""The Airflow DAGs of the model file include/models/tumor.yaml."""

from include.workflows import model_dags

globals().update(model_dags("tumor"))
