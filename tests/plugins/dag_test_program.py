"""A DAG of a job operator and a job sensor, mapped and not, run by `dag.test()`: the exit code says how it ended.

Run as a program of its own, with an Airflow home that is migrated and a connection `local`.
"""

from __future__ import annotations

import sys
from typing import Any

from airflow.sdk import DAG, task

from sagewind.operators.job import JobOperator
from sagewind.sensors.job import JobSensor

KIND = "processing"
ROLE = "arn:aws:iam::123456789012:role/service-role"


def request(word: str) -> dict[str, Any]:
    """A job that prints one word."""
    return {
        "AppSpecification": {
            "ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/tiny:1.0-1",
            "ContainerEntrypoint": ["python3", "-c", f"print('{word}')"],
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }


@task
def names(records: list[dict[str, Any]]) -> list[str]:
    """The names of the mapped tasks' jobs: each has one of its own."""
    found = [record["name"] for record in records]
    assert len(set(found)) == len(found) == 2, found
    return found


with DAG("waits", schedule=None) as dag:
    one = JobOperator(
        task_id="one", model="m", connection="local", plan_task=None, kind=KIND, step="one", request=request("one")
    )
    many = JobOperator.partial(
        task_id="many", model="m", connection="local", plan_task=None, kind=KIND, step="many"
    ).expand(request=[request("first"), request("second")])
    watch = JobSensor(
        task_id="watch",
        connection="local",
        kind=KIND,
        job_name="{{ ti.xcom_pull(task_ids='one', map_indexes=-1)['name'] }}",
    )
    watch_many = JobSensor.partial(task_id="watch_many", connection="local", kind=KIND).expand(
        job_name=names(many.output)
    )
    one >> watch

if __name__ == "__main__":
    run = dag.test()
    states = {(ti.task_id, ti.map_index): str(ti.state) for ti in run.get_task_instances()}
    sys.stdout.write(f"RESULT {run.state} {sorted(states.items())}\n")
