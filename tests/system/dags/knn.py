"""What the DAGs of this folder share: AWS's k-NN image and the small configurations around it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

IMAGE = "382416733822.dkr.ecr.us-east-1.amazonaws.com/knn:1"
ROLE = "arn:aws:iam::123456789012:role/system-tests"
RESOURCES = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}


def require_all(dag: DAG) -> None:
    """The run fails if any task fails: a leaf of its own, since the tasks that tidy up run in any case."""
    others = list(dag.tasks)
    with dag:
        others >> EmptyOperator(task_id="all_succeeded")


def env_id() -> str:
    """The prefix of all names of a run."""
    return os.environ["SYSTEM_TESTS_ENV_ID"]


def note(**found: Any) -> None:
    """Leave what a task saw for the test that started the DAG."""
    file = Path(os.environ["SYSTEM_TESTS_NOTES"])
    notes = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(notes | found))


def channel(name: str, uri: str) -> dict[str, Any]:
    return {
        "ChannelName": name,
        "CompressionType": "None",
        "ContentType": "text/csv",
        "DataSource": {
            "S3DataSource": {"S3DataDistributionType": "FullyReplicated", "S3DataType": "S3Prefix", "S3Uri": uri}
        },
    }


def training_definition(uri: str, output: str) -> dict[str, Any]:
    """What a training job and the trainings of a tuning job have in common."""
    return {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "InputDataConfig": [channel("train", uri)],
        "OutputDataConfig": {"S3OutputPath": output},
        "ResourceConfig": RESOURCES,
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }


def model(name: str, artifact: str) -> dict[str, Any]:
    return {
        "ModelName": name,
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {"Mode": "SingleModel", "Image": IMAGE, "ModelDataUrl": artifact},
    }
