"""The Airflow DAG that looks after the account."""

from include.workflows.housekeeping import housekeeping_dag

dag = housekeeping_dag()
