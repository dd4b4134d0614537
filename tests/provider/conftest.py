"""One local endpoint for the provider's operators, with a tiny image, reached as Airflow reaches AWS."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import os
import pkgutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.waiter
import pytest
from airflow.providers.amazon.aws.hooks import sagemaker as sagemaker_hook
from botocore.config import Config
from botocore.exceptions import WaiterError
from botocore.loaders import JSONFileLoader

from localaws.server import Endpoint, Options
from localaws_tests.conftest import SAMPLE_IMAGES
from tests.extras import install
from tests.provider.configs import BUCKET, LOOKS, POLL, Names, model_request, training_request
from tests.provider.inventory import OPERATORS, SENSORS, TRIGGERS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAST = {"Delay": POLL, "MaxAttempts": LOOKS}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "exercises(*names): runs these operators, sensors, triggers and waiters of the Airflow provider"
    )


class Aws:
    """Clients of the endpoint, by service."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.values = endpoint.environment()
        self.sagemaker = self.client("sagemaker")
        self.runtime = self.client("sagemaker-runtime")
        self.s3 = self.client("s3")
        self.logs = self.client("logs")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.values["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.values["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.values["AWS_SECRET_ACCESS_KEY"],
            region_name=self.values["AWS_DEFAULT_REGION"],
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def put(self, key: str, text: str) -> str:
        """An object in the tests' bucket; returns its URI."""
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())
        return f"s3://{BUCKET}/{key}"

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [item["Key"].removeprefix(prefix) for item in found]

    def predict(self, endpoint: str, body: str) -> str:
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=body.encode())
        text: str = answer["Body"].read().decode()
        return text

    def wait(self, waiter: str, **names: str) -> None:
        self.sagemaker.get_waiter(waiter).wait(**names, WaiterConfig=FAST)

    def wait_failed(self, waiter: str, **names: str) -> None:
        """Wait for what must end in failure."""
        with pytest.raises(WaiterError, match="terminal failure"):
            self.wait(waiter, **names)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """An endpoint with the tiny image, which has the tests' bucket."""
    folder = tmp_path_factory.mktemp("provider")
    endpoint = Endpoint(
        Options(state=folder / "state", images=(SAMPLE_IMAGES,), cache=folder / "cache", grace=5.0, jobs=4)
    )
    endpoint.start()
    clients = Aws(endpoint)
    clients.s3.create_bucket(Bucket=BUCKET)
    yield clients
    endpoint.close()


@pytest.fixture(scope="session")
def connection(aws: Aws) -> Iterator[None]:
    """Make the endpoint the connection `aws_default`, as an operator finds it.

    The variable is for what the provider reads past the connection: `output_files_to_xcom` takes a client of the bare
    session, which knows no `endpoint_url`.
    """
    extra = {"endpoint_url": aws.values["AWS_ENDPOINT_URL"], "region_name": aws.values["AWS_DEFAULT_REGION"]}
    value = {
        "conn_type": "aws",
        "login": aws.values["AWS_ACCESS_KEY_ID"],
        "password": aws.values["AWS_SECRET_ACCESS_KEY"],
        "extra": extra,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(value))
        patch.setenv("AWS_ENDPOINT_URL", aws.values["AWS_ENDPOINT_URL"])
        yield


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Every hook has a boto3 session of its own, which reads SageMaker's large model again: a third of these tests."""
    read = functools.cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: read(path))
        yield


@pytest.fixture(autouse=True)
def _fast_log_reader(monkeypatch: pytest.MonkeyPatch, connection: None) -> None:
    """The provider describes a job that it logs only every 30 seconds: its clock runs faster here."""
    hurried = SimpleNamespace(monotonic=lambda: time.monotonic() * 1000, sleep=time.sleep, time=time.time)
    monkeypatch.setattr(sagemaker_hook, "time", hurried)


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Names:
    """Names that no other test has."""
    return Names(f"{request.node.originalname[5:35].replace('_', '-').strip('-')}-{os.urandom(3).hex()}")


@pytest.fixture(scope="session")
def train_data(aws: Aws) -> str:
    """CSV lines with y = 3 x; returns the prefix."""
    aws.put("input/train/data.csv", "".join(f"{3 * x},{x}\n" for x in range(1, 11)))
    return f"s3://{BUCKET}/input/train/"


@pytest.fixture(scope="session")
def artifact(aws: Aws, train_data: str) -> str:
    """A trained model's model.tar.gz."""
    aws.sagemaker.create_training_job(**training_request("shared-training", train_data))
    aws.wait("training_job_completed_or_stopped", TrainingJobName="shared-training")
    uri: str = aws.sagemaker.describe_training_job(TrainingJobName="shared-training")["ModelArtifacts"][
        "S3ModelArtifacts"
    ]
    return uri


@pytest.fixture(scope="session")
def model(aws: Aws, artifact: str) -> str:
    """A model that other tests use and leave alone."""
    aws.sagemaker.create_model(**model_request("shared-model", artifact))
    return "shared-model"


class Gate:
    """Holds programs that are given its port; after `open` nobody is held any more."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = str(self._listener.getsockname()[1])

    def open(self) -> None:
        self._listener.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


class Recorder:
    """Stands for a task instance: keeps what is pushed."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        self.pushed[key] = value


@pytest.fixture
def context() -> dict[str, Any]:
    return {"ti": Recorder()}


# --- what a test says that it runs, it runs ---------------------------------------------------------------------

RAN = pytest.StashKey[set[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fails a test that passes without having run what it is marked with."""
    yield
    claimed = {name for mark in item.iter_markers("exercises") for name in mark.args}
    ran: set[str] = item.stash.get(RAN, set())
    missing = sorted(claimed - ran)
    assert not missing, f"marked as run, but not run: {missing}"


@pytest.fixture(autouse=True)
def _watch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes which operators, sensors, triggers and waiters a test runs."""
    ran = request.node.stash[RAN] = set()

    def watch(owner: type[Any], method: str, name: Callable[[Any], str]) -> None:
        original = getattr(owner, method)

        @functools.wraps(original)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            ran.add(name(self))
            return original(self, *args, **kwargs)

        monkeypatch.setattr(owner, method, wrapper)

    def of_class(suffix: str) -> Callable[[Any], str]:
        return lambda self: f"{type(self).__name__}{suffix}"

    for kinds, method in ((OPERATORS, "execute"), (SENSORS, "poke"), (TRIGGERS, "run")):
        for value in kinds.values():
            watch(value, method, of_class(""))
            if hasattr(value, "execute_complete"):
                watch(value, "execute_complete", of_class(".execute_complete"))
    watch(botocore.waiter.Waiter, "wait", lambda waiter: str(waiter.name))
    if "aiobotocore_path" in request.fixturenames:
        from aiobotocore.waiter import AIOWaiter

        watch(AIOWaiter, "wait", lambda waiter: str(waiter.name))


# --- packages of these tests alone ------------------------------------------------------------------------------


def packages_of(name: str) -> Path:
    """The packages of `extras/<name>.txt` in a directory of their own."""
    return install(HERE / "extras" / f"{name}.txt")


@pytest.fixture(scope="session")
def aiobotocore_path() -> Iterator[None]:
    """Makes aiobotocore importable, which the provider's triggers need."""
    if importlib.util.find_spec("aiobotocore") is not None:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(packages_of("aiobotocore"))
        yield


def event_of(trigger: Any) -> dict[str, Any]:
    """What the trigger tells, run in an event loop as the triggerer does."""

    async def first_event() -> Any:
        async for event in trigger.run():
            return event.payload
        raise AssertionError("the trigger ended without an event")

    payload: dict[str, Any] = asyncio.run(first_event())
    return payload


@pytest.fixture
def finish(aiobotocore_path: None, context: dict[str, Any]) -> Callable[..., Any]:
    """Runs a deferrable operator as scheduler and triggerer do: execute, trigger (rebuilt), resume.

    `meanwhile` is called when the operator is deferred.
    """
    from airflow.sdk.exceptions import TaskDeferred

    def run(operator: Any, meanwhile: Callable[[], Any]) -> Any:
        try:
            result = operator.execute(context)
        except TaskDeferred as deferred:
            path, arguments = deferred.trigger.serialize()
            trigger = pkgutil.resolve_name(path)(**json.loads(json.dumps(arguments)))
            meanwhile()
            return getattr(operator, deferred.method_name)(context, event=event_of(trigger))
        raise AssertionError(f"{operator.task_id} was not deferred, it returned {result!r}")

    return run
