"""A local endpoint in this process with one small image, and shorthands for what serving tests need again and again."""

import io
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from localaws.profile import Profile
from localaws.server import Endpoint, Options
from localaws.serving.hosting import hosting
from localaws_tests.conftest import poll

IMAGES = Path(__file__).with_name("sample_images")
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/factor:1"
ROLE = "arn:aws:iam::123456789012:role/test"
BUCKET = "models"
#: Ended servers are started again at once, and an endpoint that ends waits for what tests look at.
TIMES = Profile(restart_longest=0.02, shutdown_grace=60.0)
FAST = {"Delay": 0.05, "MaxAttempts": 4800}


def make_client(values: Mapping[str, str], service: str, attempts: int) -> Any:
    """A boto3 client from the variables that an endpoint prints."""
    return boto3.client(
        service,
        endpoint_url=values["AWS_ENDPOINT_URL"],
        region_name=values["AWS_DEFAULT_REGION"],
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}, s3={"addressing_style": "path"}),
    )


@dataclass
class Server:
    """Clients of a running endpoint; `endpoint` only when it runs in this process."""

    values: Mapping[str, str]
    endpoint: Endpoint | None = None

    def __post_init__(self) -> None:
        self.sagemaker = self.client("sagemaker")
        self.runtime = self.client("sagemaker-runtime")
        self.s3 = self.client("s3")

    def client(self, service: str, attempts: int = 1) -> Any:
        """A client that tries once, so that no retry hides an error."""
        return make_client(self.values, service, attempts)

    def put_model_data(self, key: str, factor: float | str) -> str:
        """A model.tar.gz in S3; returns its URI."""
        self.s3.create_bucket(Bucket=BUCKET)
        text = str(factor).encode()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            info = tarfile.TarInfo("factor.txt")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=packed.getvalue())
        return f"s3://{BUCKET}/{key}"

    def create_model(self, name: str, factor: float | str = 2, **environment: str) -> None:
        uri = self.put_model_data(f"{name}/model.tar.gz", factor)
        container = {"Image": IMAGE, "ModelDataUrl": uri, "Environment": environment}
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)

    def create_config(
        self,
        name: str,
        *models: str,
        capture: dict[str, Any] | None = None,
        queued: dict[str, Any] | None = None,
        **variant: Any,
    ) -> None:
        """Variants AllTraffic, v1, ... of the models; members of them that are None are left out."""
        variants = [
            {
                "VariantName": f"v{number}" if number else "AllTraffic",
                "ModelName": model,
                "InstanceType": "ml.m5.large",
                "InitialInstanceCount": 1,
                **variant,
            }
            for number, model in enumerate(models)
        ]
        variants = [{key: value for key, value in v.items() if value is not None} for v in variants]
        extra = {"DataCaptureConfig": capture, "AsyncInferenceConfig": queued}
        extra = {key: value for key, value in extra.items() if value}
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **extra)

    def create_endpoint(self, name: str, config: str, **tags: str) -> None:
        """Create and wait until it is in service."""
        given = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config, Tags=given)
        self.wait("endpoint_in_service", EndpointName=name)

    def wait(self, waiter: str, **names: str) -> None:
        self.sagemaker.get_waiter(waiter).wait(**names, WaiterConfig=FAST)

    def scale(self, name: str, **changes: Mapping[str, Any]) -> None:
        """UpdateEndpointWeightsAndCapacities by variant name, without waiting."""
        wanted = [{"VariantName": variant, **change} for variant, change in changes.items()]
        self.sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=wanted)

    def delete_endpoint(self, name: str) -> None:
        self.sagemaker.delete_endpoint(EndpointName=name)
        self.wait("endpoint_deleted", EndpointName=name)

    def invoke(self, endpoint: str, body: str, **more: Any) -> str:
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, ContentType="text/csv", **more)
        return answer["Body"].read().decode()

    def invoke_patiently(self, endpoint: str, body: str) -> str:
        """The answer of an endpoint that is being brought back, or whose server is being started again."""

        def answer() -> str | None:
            try:
                return self.invoke(endpoint, body)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ServiceUnavailable":
                    raise
                return None

        return poll(answer)

    def flush_metrics(self) -> None:
        """Wait until all invocations so far are counted."""
        assert self.endpoint is not None
        hosting(self.endpoint.ctx).metrics.flush()

    def objects(self, prefix: str, bucket: str = BUCKET) -> dict[str, bytes]:
        """All objects below a prefix."""
        found = self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
        return {o["Key"]: self.s3.get_object(Bucket=bucket, Key=o["Key"])["Body"].read() for o in found}


@contextmanager
def running(state: Path, sandbox: str = "auto", **options: Any) -> Iterator[Server]:
    """A server on the state directory."""
    options = {"images": (IMAGES,), "cache": state.parent / "cache", "grace": 5.0, "profile": TIMES, **options}
    endpoint = Endpoint(Options(state=state, sandbox=sandbox, **options))
    endpoint.start()
    try:
        yield Server(endpoint.environment(), endpoint)
    finally:
        endpoint.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a module."""
    with running(tmp_path_factory.mktemp("server") / "state") as started:
        yield started


class Program:
    """`localaws` in a process of its own, which tests may kill."""

    def __init__(self, state: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localaws", "--port", "0", "--state", str(state), "--images", str(IMAGES),
             "--cache", str(state.parent / "cache"), "--grace", "5"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        exports = [self.process.stdout.readline().removeprefix("export ") for _ in range(4)]
        self.server = Server(dict(shlex.split(line)[0].split("=", 1) for line in exports))

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        code = self.process.wait(240)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


class Marked:
    """The processes that have a variable of a unique value in their environment."""

    def __init__(self) -> None:
        self.value = uuid.uuid4().hex
        self.variables = {"MARK": self.value}

    def pids(self) -> list[int]:
        """Process ids, those of the sandbox included."""
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"MARK={self.value}".encode() in environment.read_bytes().split(b"\0"):
                    found.append(int(environment.parent.name))
            except OSError:
                continue
        return found

    def wait_gone(self) -> None:
        """Return when all of them have ended; fails after four minutes."""
        for pid in self.pids():
            try:
                handle = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            ended, _, _ = select.select([handle], [], [], 240)
            os.close(handle)
            assert ended, f"process {pid} is still there"


class Gate:
    """Holds model servers that are given `variables` at their start, or that are told to `hold` at its port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(240)
        self.port = str(self._listener.getsockname()[1])
        self.variables = {"START_AFTER": self.port}

    def wait_reached(self) -> socket.socket:
        """Return when a model server stands at the gate; closing what is returned lets it in."""
        return self._listener.accept()[0]

    def close(self) -> None:
        """Nobody is held any more."""
        self._listener.close()
