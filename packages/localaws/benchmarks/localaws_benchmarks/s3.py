"""One object of 1 GiB through the local S3 beside moto's server, and what such an input costs a job.

Both servers are processes of their own on this machine, with the same client and the same bytes, in turns. The client
signs but leaves the payload unsigned and computes no checksum, so that it is the servers that are measured. A job's
time goes from CreateTrainingJob to its end; its program does nothing.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localaws_benchmarks.table import Row, render

SIZE = 1 << 30
BUCKET = "bench"
FLOOR = "moto's server (put, get), the same job without an input; targets: put <= 0.33, get <= 1, memory <= 300 MiB"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nothing:1"
IMAGE_TOML = 'name = "nothing"\nuris = ["nothing:1"]\npython = "host"\n'


@contextlib.contextmanager
def _program(argv: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A server that is ended with the block."""
    server = subprocess.Popen([sys.executable, *argv], text=True, stderr=subprocess.DEVNULL, **options)
    try:
        yield server
    finally:
        server.terminate()
        server.wait(60)


@contextlib.contextmanager
def _ours(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    home = folder / "images" / "nothing"
    home.mkdir(parents=True)
    (home / "image.toml").write_text(IMAGE_TOML)
    (home / "train").write_text("")
    argv = [
        "-m",
        "localaws",
        "--port",
        "0",
        "--state",
        str(folder / "state"),
        "--images",
        str(folder / "images"),
    ]
    with _program(argv, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(4)]
        found = [re.fullmatch(r"export (\w+)=(.+)\n", line) for line in lines]
        yield server, {match[1]: match[2] for match in found if match}


@contextlib.contextmanager
def _moto() -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _program(["-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL) as server:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(f"{url}/moto-api/")
                break
            time.sleep(0.1)
        yield server, {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


def _client(environment: dict[str, str], service: str = "s3") -> Any:
    import boto3
    from botocore.config import Config

    light = Config(
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1},
        read_timeout=600,
    )
    return boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=light,
    )


def peak_memory(pid: int) -> float:
    """The most memory that a process has held so far, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _put(client: Any, data: Path) -> float:
    begun = time.perf_counter()
    with data.open("rb") as file:
        client.put_object(Bucket=BUCKET, Key="train/big", Body=file)
    return time.perf_counter() - begun


def _get(client: Any) -> float:
    begun, received = time.perf_counter(), 0
    body = client.get_object(Bucket=BUCKET, Key="train/big")["Body"]
    for block in iter(lambda: body.read(1 << 20), b""):
        received += len(block)
    assert received == SIZE
    return time.perf_counter() - begun


def _job(sagemaker: Any, with_input: bool) -> float:
    name = f"job-{uuid.uuid4().hex}"
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/train/"}
    channels = [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}]
    begun = time.perf_counter()
    sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        RoleArn="arn:aws:iam::123456789012:role/bench",
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
        **({"InputDataConfig": channels} if with_input else {}),
    )
    while (status := sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]) == "InProgress":
        time.sleep(0.005)
    if status != "Completed":
        raise SystemExit(f"the job ended {status}: nothing was measured")
    return time.perf_counter() - begun


def measure(rounds: int) -> tuple[list[Row], dict[str, float]]:
    """Rows of seconds, and the peak memory of both servers in MiB."""
    put: tuple[list[float], list[float]] = ([], [])
    get: tuple[list[float], list[float]] = ([], [])
    job: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory(prefix="sagewind-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        data = folder / "data"
        with data.open("wb") as file:
            for _ in range(SIZE >> 20):
                file.write(uuid.uuid4().bytes * (1 << 16))
        with _moto() as (moto, theirs), _ours(folder) as (ours, mine):
            clients = (_client(theirs), _client(mine))
            for client in clients:
                client.create_bucket(Bucket=BUCKET)
            for _ in range(rounds):
                for number, client in enumerate(clients):
                    put[number].append(_put(client, data))
                    get[number].append(_get(client))
            memory = {"moto": peak_memory(moto.pid), "ours": peak_memory(ours.pid)}
            sagemaker = _client(mine, "sagemaker")
            for _ in range(3 * rounds + 1):
                for number in (0, 1):
                    job[number].append(_job(sagemaker, with_input=bool(number)))
    for measured in job:
        del measured[0]  # the first one of each finds nothing warm
    rows = [Row("put 1 GiB", *put), Row("get 1 GiB", *get), Row("job, File input of 1 GiB", *job)]
    return rows, memory


def bench(rounds: int) -> str:
    """The table of the S3 benchmark; `rounds` puts and gets on each server."""
    rows, memory = measure(rounds)
    added = sorted(rows[2].ours)[len(rows[2].ours) // 2] - sorted(rows[2].floor)[len(rows[2].floor) // 2]
    return render("S3, seconds", FLOOR, rows) + (
        f"the input of 1 GiB adds {added:.3f} s to a job (target: at most 0.1)\n"
        f"peak memory of the servers: moto {memory['moto']:.0f} MiB, ours {memory['ours']:.0f} MiB\n"
    )
