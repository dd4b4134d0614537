"""InvokeEndpoint through the whole stack beside the bare `/invocations` call on the same model server.

The endpoint runs in a process of its own, boto3 signs every request. Both calls are made in turns over kept
connections, with the same body. What is between the medians is botocore, the signature check, routing, counting and,
where said, data capture or the way into a network namespace.
"""

from __future__ import annotations

import http.client
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

CALLS = 200  # of each kind and round
BODY = b"39,7,13,2174,0,40,1,0,0,1,0,0\n"
TARGET_MS = 3.0
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/echo:1"
BUCKET = "bench"
TOML = 'name = "echo"\nuris = ["echo:.*"]\npython = "host"\n'
SERVE = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for an answer

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/csv")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(os.environ["SAGEMAKER_BIND_TO_PORT"].encode())

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Pair:
    """Seconds of the bare call and of the same through the endpoint, taken in turns."""

    name: str
    bare: list[float]
    whole: list[float]

    @property
    def added_ms(self) -> float:
        """Difference of the medians in milliseconds."""
        return (median(self.whole) - median(self.bare)) * 1e3

    def line(self, width: int) -> str:
        """One line of the table."""
        p95 = quantiles(self.whole, n=20)[-1] * 1e3
        return (
            f"{self.name:{width}}  {median(self.bare) * 1e3:8.2f}  {median(self.whole) * 1e3:8.2f}  {p95:8.2f}"
            f"  {self.added_ms:8.2f}"
        )


def render(pairs: list[Pair]) -> str:
    """The table; the last column is what the stack adds, to be held against TARGET_MS."""
    width = max(len(pair.name) for pair in pairs)
    lines = [
        "InvokeEndpoint, milliseconds",
        f"floor: POST /invocations on the model server itself; target: at most {TARGET_MS:g} ms more",
        f"{'':{width}}  {'floor':>8}  {'median':>8}  {'p95':>8}  {'added':>8}",
        *(pair.line(width) for pair in pairs),
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def endpoint(home: Path) -> Iterator[Mapping[str, str]]:
    """`localaws` with the echo image; gives the variables that it prints."""
    image = home / "images" / "echo"
    image.mkdir(parents=True)
    (image / "image.toml").write_text(TOML)
    (image / "serve").write_text(SERVE)
    argv = [sys.executable, "-m", "localaws", "--port", "0", "--state", str(home / "state")]
    argv += ["--images", str(home / "images"), "--cache", str(home / "cache")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        try:
            yield dict(shlex.split(line.removeprefix("export "))[0].split("=", 1) for line in lines)
        finally:
            process.terminate()


def _clients(values: Mapping[str, str]) -> tuple[Any, Any, Any]:
    import boto3
    from botocore.config import Config

    def client(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=values["AWS_ENDPOINT_URL"],
            region_name=values["AWS_DEFAULT_REGION"],
            aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    return client("sagemaker"), client("sagemaker-runtime"), client("s3")


def _create(sagemaker: Any, name: str, isolated: bool = False, capture: bool = False) -> None:
    sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={"Image": IMAGE},
        ExecutionRoleArn="arn:aws:iam::123456789012:role/bench",
        EnableNetworkIsolation=isolated,
    )
    captured = {
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{BUCKET}/capture",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[variant],
        **({"DataCaptureConfig": captured} if capture else {}),
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600})


def _timed(call: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def measure(rounds: int) -> list[Pair]:
    """Start an endpoint of its own and call its servers both ways."""
    names = {"plain": "as it is", "captured": "all of it captured", "isolated": "model without a network"}
    pairs = {name: Pair(said, [], []) for name, said in names.items()}
    with (
        tempfile.TemporaryDirectory(prefix="sagewind-bench-", ignore_cleanup_errors=True) as folder,
        endpoint(Path(folder)) as values,
    ):
        sagemaker, runtime, s3 = _clients(values)
        s3.create_bucket(Bucket=BUCKET)
        for name in names:
            _create(sagemaker, name, isolated=name == "isolated", capture=name == "captured")

        def whole(name: str) -> bytes:
            answer = runtime.invoke_endpoint(EndpointName=name, Body=BODY, ContentType="text/csv")
            body: bytes = answer["Body"].read()
            return body

        # The isolated one cannot be reached: the floor of all is the plain one's server, which is the same program.
        bare = http.client.HTTPConnection("127.0.0.1", int(whole("plain")), timeout=30)

        def ask() -> None:
            bare.request("POST", "/invocations", BODY, {"Content-Type": "text/csv"})
            bare.getresponse().read()

        for name, pair in pairs.items():
            for _ in range(20):
                ask()
                whole(name)
            for _ in range(rounds * CALLS):
                pair.bare.append(_timed(ask))
                pair.whole.append(_timed(lambda: whole(name)))  # noqa: B023 - called at once
    return list(pairs.values())


if __name__ == "__main__":
    sys.stdout.write(render(measure(int((sys.argv[1:] or ["1"])[0]))))
