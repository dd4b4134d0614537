"""A running endpoint on a free port, a tiny image that runs in this Python, and boto3 clients for it."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import settings

from localaws.engine.sandbox import Sandbox, choose
from localaws.front import http_server
from localaws.profile import Profile
from localaws.server import Endpoint, Options

PACKAGE = Path(__file__).resolve().parents[2]
SAMPLE_IMAGES = Path(__file__).with_name("sample_images")
IMAGE_URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/tiny:1.0-1"
ROLE = "arn:aws:iam::123456789012:role/service-role"
# A busy machine makes no test wrong, and a developer's own credentials never take part in one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
for _name in [n for n in os.environ if n.startswith("AWS_") and n != "AWS_CA_BUNDLE"]:
    del os.environ[_name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

#: An endpoint that ends waits for the ends of its jobs, however slow the machine is: tests look at them.
PATIENT = Profile(shutdown_grace=60.0)

IMAGE_TOML = """
name = "tiny"
uris = ["tiny:1\\\\.0-.*"]
python = "host"
[[metrics]]
name = "validation:auc"
regex = "validation-auc:([0-9.]+)"
"""

# The hyperparameter `script` is the program, as a JSON text (a value has no line ends): each test says what its
# job does.
TRAIN = """
import json, os, pathlib, sys
root = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
hyperparameters = json.loads((root / "input/config/hyperparameters.json").read_text())
exec(json.loads(hyperparameters["script"]))
"""


@pytest.hookimpl(tryfirst=True)  # before the markers choose
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of `system` build image environments or restart whole endpoints: they are long, all of them."""
    for item in items:
        if Path(__file__).with_name("system") in item.path.parents:
            item.add_marker("long")


def make_image(directory: Path, toml: str = IMAGE_TOML) -> Path:
    """An images directory with one image `tiny`."""
    home = directory / "tiny"
    home.mkdir(parents=True)
    (home / "image.toml").write_text(toml)
    (home / "train").write_text(TRAIN)
    (home / "process").write_text("import sys\nprint('process', *sys.argv[1:])\n")
    return directory


def bubblewrap() -> Sandbox:
    """The sandbox that forked jobs need; without it the test is skipped, or fails (LOCALAWS_REQUIRE_SANDBOX)."""
    try:
        return choose("bubblewrap")
    except ValueError as error:
        if os.environ.get("LOCALAWS_REQUIRE_SANDBOX"):
            pytest.fail(f"LOCALAWS_REQUIRE_SANDBOX is set: {error}")
        pytest.skip(str(error))


def need_namespaces(endpoint: Endpoint) -> None:
    """Without them jobs have no network of their own and no host names: as `bubblewrap` it skips or fails."""
    if not endpoint.ctx.runner.sandbox.isolates_network:
        said = f"this machine offers no namespaces (sandbox {endpoint.ctx.runner.sandbox.name})"
        if os.environ.get("LOCALAWS_REQUIRE_SANDBOX"):
            pytest.fail(f"LOCALAWS_REQUIRE_SANDBOX is set: {said}")
        pytest.skip(said)


def client_of(endpoint: Endpoint, service: str, **options: Any) -> Any:
    """A boto3 client of a service, with a fast poll and no retries that would hide an error."""
    env = endpoint.environment()
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **options)
    return boto3.client(
        service,
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
        config=config,
    )


@pytest.fixture(scope="session", autouse=True)
def patient() -> Iterator[None]:
    """However slow the machine is, an endpoint waits for the rest of an upload that it has refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_server, "PASS_OVER_SECONDS", 240.0)
        yield


@pytest.fixture(scope="session")
def images_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def start_endpoint(tmp_path_factory: pytest.TempPathFactory, images_dir: Path) -> Iterator[Callable[..., Endpoint]]:
    """Start further endpoints; those still open are closed at the end."""
    started: list[Endpoint] = []

    def start(state: Path | None = None, **options: Any) -> Endpoint:
        endpoint = Endpoint(
            Options(
                state=state or tmp_path_factory.mktemp("state"),
                images=(images_dir,),
                cache=tmp_path_factory.getbasetemp() / "cache",
                **{"grace": 60.0, "profile": PATIENT, **options},
            )
        )
        started.append(endpoint)
        endpoint.start()
        return endpoint

    yield start
    for endpoint in started:
        endpoint.close()


@pytest.fixture(scope="session")
def endpoint(start_endpoint: Callable[..., Endpoint]) -> Endpoint:
    """The endpoint that most tests share; their resources have names of their own."""
    return start_endpoint()


@pytest.fixture
def namespaces(endpoint: Endpoint) -> None:
    """For tests of what only namespaces can give, on the endpoint that most tests share."""
    need_namespaces(endpoint)


@pytest.fixture(scope="session")
def sagemaker(endpoint: Endpoint) -> Any:
    return client_of(endpoint, "sagemaker")


@pytest.fixture(scope="session")
def s3(endpoint: Endpoint) -> Any:
    client = client_of(endpoint, "s3")
    client.create_bucket(Bucket="data")
    return client


@pytest.fixture(scope="session")
def logs(endpoint: Endpoint) -> Any:
    return client_of(endpoint, "logs")


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A job name that no other test has."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", f"{request.node.name}-{os.urandom(3).hex()}").strip("-")[-60:].strip("-")


def wait_for(client: Any, waiter: str, **arguments: Any) -> None:
    """boto3's own waiter, with a shorter pause than its minute."""
    client.get_waiter(waiter).wait(**arguments, WaiterConfig={"Delay": 0.05, "MaxAttempts": 4800})


def poll(question: Callable[[], Any], seconds: float = 240.0) -> Any:
    """Ask until the answer is true; fails after `seconds`. For what has neither a waiter nor an event."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not come true"
        pause.wait(0.02)
    return answer


def training_request(name: str, script: str = "", **changes: Any) -> dict[str, Any]:
    """A small valid CreateTrainingJob request whose program is `script`."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE_URI, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "HyperParameters": {"script": json.dumps(script)},
        "OutputDataConfig": {"S3OutputPath": "s3://data/models"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **changes,
    }


def channel(name: str, uri: str, kind: str = "S3Prefix") -> dict[str, Any]:
    """A File-mode input channel."""
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}}


def log_lines(logs: Any, group: str, job: str) -> list[str]:
    """What a job has written, through the CloudWatch Logs API."""
    try:
        streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]
    except logs.exceptions.ResourceNotFoundException:
        return []  # nothing has been written to any job's log yet
    events: list[str] = []
    for stream in streams:
        answer = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
        events += [event["message"] for event in answer["events"]]
    return events
