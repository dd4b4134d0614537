"""Tuning and batch transform with the real XGBoost image: Hyperband stops trainings, predictions are the library's."""

from __future__ import annotations

import io
import json
import random
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from localaws.engine.images import SHIPPED, default_cache
from localaws.server import Endpoint, Options

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.0-5"
ROLE = "arn:aws:iam::123456789012:role/any"
BUCKET = "batch"
ROUNDS = 1500  # so many that a training takes seconds: what is stopped early saves most of them
PREDICT = """
import json, sys
import numpy as np, xgboost
model = xgboost.Booster(model_file=sys.argv[1])
print(json.dumps(model.predict(xgboost.DMatrix(np.array(json.load(sys.stdin)))).tolist()))
"""

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    cache = default_cache()
    state = tmp_path_factory.mktemp("batch") / "state"
    started = Endpoint(Options(state=state, images=(SHIPPED,), cache=cache, grace=5.0))
    started.start()
    client_of(started, "s3").create_bucket(Bucket=BUCKET)
    yield started
    started.close()


def client_of(endpoint: Endpoint, service: str) -> Any:
    values = endpoint.environment()
    return boto3.client(
        service,
        endpoint_url=values["AWS_ENDPOINT_URL"],
        region_name=values["AWS_DEFAULT_REGION"],
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def poll(question: Callable[[], bool], seconds: float = 600.0) -> None:
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, "it did not come true"
        pause.wait(0.1)


def rows(count: int, seed: int) -> list[list[float]]:
    """Label first, then four features of which three matter."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        features = [round(draw.gauss(0, 1), 4) for _ in range(4)]
        label = features[0] + features[1] * features[2] + draw.gauss(0, 0.7) > 0
        made.append([float(label), *features])
    return made


def csv(table: list[list[float]]) -> bytes:
    return "".join(",".join(map(repr, row)) + "\n" for row in table).encode()


def tune(sagemaker: Any, name: str, **config: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run a tuning job to its end; its description and its trainings."""

    def channel(name: str) -> dict[str, Any]:
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/"}}
        return {"ChannelName": name, "ContentType": "text/csv", "DataSource": source}

    eta = {"Name": "eta", "MinValue": "0.00001", "MaxValue": "1", "ScalingType": "Logarithmic"}
    sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:logloss"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"ContinuousParameterRanges": [eta]},
            "RandomSeed": 4,
            **config,
        },
        TrainingJobDefinition={
            "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "StaticHyperParameters": {
                "objective": "binary:logistic", "eval_metric": "logloss", "num_round": str(ROUNDS), "max_depth": "2",
            },
            "InputDataConfig": [channel("train"), channel("validation")],
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/models"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        },
    )  # fmt: skip
    describe = {"HyperParameterTuningJobName": name}
    poll(
        lambda: (
            sagemaker.describe_hyper_parameter_tuning_job(**describe)["HyperParameterTuningJobStatus"] != "InProgress"
        )
    )
    jobs = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(**describe)["TrainingJobSummaries"]
    return sagemaker.describe_hyper_parameter_tuning_job(**describe), jobs


@pytest.mark.executes("CreateHyperParameterTuningJob", "CreateTransformJob")
def test_hyperband_then_transform_with_the_best_model(endpoint: Endpoint, tmp_path: Path) -> None:
    sagemaker, s3 = client_of(endpoint, "sagemaker"), client_of(endpoint, "s3")
    s3.put_object(Bucket=BUCKET, Key="train/a.csv", Body=csv(rows(400, 1)))
    s3.put_object(Bucket=BUCKET, Key="validation/a.csv", Body=csv(rows(200, 2)))
    strategy = {"MinResource": 10, "MaxResource": ROUNDS}
    found, jobs = tune(
        sagemaker, "hyperband", Strategy="Hyperband", StrategyConfig={"HyperbandStrategyConfig": strategy}
    )
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    statuses = [job["TrainingJobStatus"] for job in jobs]
    assert statuses.count("Stopped") >= 1
    assert set(statuses) <= {"Completed", "Stopped"}

    # A training that completed: the best may be one that was stopped before it wrote a model.
    chosen = next(job["TrainingJobName"] for job in jobs if job["TrainingJobStatus"] == "Completed")
    data = sagemaker.describe_training_job(TrainingJobName=chosen)["ModelArtifacts"]["S3ModelArtifacts"]
    container = {"Image": IMAGE, "ModelDataUrl": data}
    sagemaker.create_model(ModelName="best", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    table = rows(300, 3)
    s3.put_object(Bucket=BUCKET, Key="in/rows.csv", Body=csv(table))
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/in/"}}
    sagemaker.create_transform_job(
        TransformJobName="best",
        ModelName="best",
        TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/out", "AssembleWith": "Line", "Accept": "text/csv"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
    )
    sagemaker.get_waiter("transform_job_completed_or_stopped").wait(
        TransformJobName="best", WaiterConfig={"Delay": 0.1, "MaxAttempts": 6000}
    )
    body = s3.get_object(Bucket=BUCKET, Key="out/rows.csv.out")["Body"].read().decode()
    results = [[float(cell) for cell in line.split(",")] for line in body.splitlines()]
    assert [label for label, _ in results] == [row[0] for row in table]
    expected = predictions(endpoint, s3, data, [row[1:] for row in table], tmp_path)
    assert [score for _, score in results] == pytest.approx(expected, abs=1e-6)


def predictions(endpoint: Endpoint, s3: Any, uri: str, features: list[list[float]], scratch: Path) -> list[float]:
    """What the library says of the model, in the image's own environment."""
    packed = s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(scratch, filter="data")
    (model,) = scratch.iterdir()
    model = model.rename(scratch / "model.ubj")
    python = endpoint.ctx.images.resolve(IMAGE).environment()
    done = subprocess.run(
        [str(python), "-c", PREDICT, str(model)], input=json.dumps(features), capture_output=True, text=True, check=True
    )
    found: list[float] = json.loads(done.stdout)
    return found
