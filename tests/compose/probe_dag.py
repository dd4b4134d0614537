"""A DAG for the compose test: one task on a Celery worker that talks to the endpoint, one wait in the triggerer."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import dag, task


@dag(schedule=None, is_paused_upon_creation=False)
def compose_probe() -> None:
    """Worker, then triggerer, then worker."""

    @task
    def account() -> str:
        from airflow.providers.amazon.aws.hooks.sts import StsHook

        return str(StsHook().get_account_number())

    account() >> TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=0), deferrable=True)


compose_probe()
