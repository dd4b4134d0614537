"""The SageMaker SDK v3, unmodified, with nothing but the variables that the endpoint prints."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from localaws.engine.images import SHIPPED, default_cache
from localaws.server import Endpoint, Options
from localaws_tests.conftest import SAMPLE_IMAGES

SCRIPTS = Path(__file__).with_name("sdk_scripts")
BUCKET = "sdk-tests"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
FIT = """
import json, os, pathlib
from sklearn import __version__
from sklearn.linear_model import Ridge

given = json.loads(os.environ["SM_HPS"])
rows = [line.split(",") for line in pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "data.csv").read_text().split()]
model = Ridge(alpha=given["alpha"]).fit([[float(x)] for _, x in rows], [float(y) for y, _ in rows])
result = {"slope": model.coef_[0], "label": given["label"], "sklearn": __version__}
print("fitted with scikit-learn", __version__)
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps(result))
"""


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of an endpoint with the real images."""
    cache = default_cache()
    state = tmp_path_factory.mktemp("sdk") / "state"
    images = (SHIPPED, SAMPLE_IMAGES)
    endpoint = Endpoint(Options(state=state, images=images, cache=cache, grace=5.0))
    endpoint.start()
    iam = client(endpoint.environment(), "iam")
    iam.create_role(RoleName="sdk-role", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName="sdk-role", PolicyName="all", PolicyDocument=json.dumps(ALLOW))
    client(endpoint.environment(), "s3").create_bucket(Bucket=BUCKET)
    yield endpoint.environment()
    endpoint.close()


def client(values: dict[str, str], service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=values["AWS_ENDPOINT_URL"],
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        region_name=values["AWS_DEFAULT_REGION"],
        config=Config(s3={"addressing_style": "path"}),
    )


class Outside:
    """Stands where every connection to the outside would go; nobody may come."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def visited(self) -> bool:
        self._listener.setblocking(False)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


def run_sdk(script: str, values: dict[str, str], outside: Outside, home: Path, *arguments: str) -> list[str]:
    """Run the user's script with telemetry off; returns the lines that it prints."""
    settings = home / "sagemaker.yaml"
    settings.write_text(
        json.dumps({"SchemaVersion": "1.0", "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}}})
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        **values,
        "HOME": str(home),
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(settings),
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTP_PROXY": outside.url,
        "HTTPS_PROXY": outside.url,
        "NO_PROXY": "127.0.0.1,localhost",
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / f"{script}.py"), *arguments],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert not outside.visited(), "the SDK reached for the outside"
    return done.stdout.splitlines()


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.executes("CreateTrainingJob", "DescribeTrainingJob")
def test_modeltrainer(values: dict[str, str], outside: Outside, tmp_path: Path) -> None:
    s3 = client(values, "s3")
    s3.put_object(Bucket=BUCKET, Key="input/data.csv", Body=b"0,0\n3,1\n6,2\n9,3\n")
    source = tmp_path / "source"
    source.mkdir()
    (source / "fit.py").write_text(FIT)
    lines = run_sdk(
        "model_trainer", values, outside, tmp_path, str(source), f"s3://{BUCKET}/input/", "sdk-role", BUCKET
    )
    assert "fitted with scikit-learn 1.4.2" in lines  # the job's own line, streamed by the SDK
    done = json.loads(lines[-1])
    key = done["artifact"].removeprefix(f"s3://{BUCKET}/")
    assert done["name"] in key
    packed = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        file = archive.extractfile("model.json")
        assert file is not None
        model = json.loads(file.read())
    assert model == {"slope": pytest.approx(3 * 5 / 5.5), "label": "a b", "sklearn": "1.4.2"}  # ridge, alpha 0.5
    job = client(values, "sagemaker").describe_training_job(TrainingJobName=done["name"])
    assert job["RoleArn"] == "arn:aws:iam::123456789012:role/sdk-role"
    assert {c["ChannelName"] for c in job["InputDataConfig"]} == {"train", "code", "sm_drivers"}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.executes(
    "CreateProcessingJob",
    "CreateHyperParameterTuningJob",
    "CreateTransformJob",
    "CreateModel",
    "CreateEndpoint",
    "InvokeEndpoint",
    "DeleteEndpoint",
    "DeleteModel",
)
def test_processor_tuner_and_resources(values: dict[str, str], outside: Outside, tmp_path: Path) -> None:
    s3 = client(values, "s3")
    s3.put_object(Bucket=BUCKET, Key="raw/data.csv", Body=b"3,1\n6,2\n50,3\n")  # the script drops the last row
    s3.put_object(Bucket=BUCKET, Key="questions.csv", Body=b"1\n2\n")
    lines = run_sdk("lifecycle", values, outside, tmp_path, str(tmp_path), f"s3://{BUCKET}/raw/", "sdk-role", BUCKET)
    done = json.loads(lines[-1])
    slope = 3 / (1 + done["shrink"])
    assert done["answer"] == pytest.approx(100 * slope, rel=1e-4)
    assert done["error"] == pytest.approx(4.5 - 1.5 * slope, rel=1e-4)
    answers = s3.get_object(Bucket=BUCKET, Key="answers/questions.csv.out")["Body"].read().split()
    assert [float(x) for x in answers] == pytest.approx([slope, 2 * slope], rel=1e-4)
    assert client(values, "sagemaker").list_endpoints()["Endpoints"] == []
    assert client(values, "sagemaker").list_models()["Models"] == []
