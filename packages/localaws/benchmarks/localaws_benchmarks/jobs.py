"""The job engine of the local AWS endpoint: starts of jobs, lists of many jobs, many jobs at once.

The endpoint runs in a process of its own and is talked to by boto3. A job's first line carries the time at which the
user's script wrote it, by the same clock as the time before CreateTrainingJob. The floor of a start is the image's own
Python with the same script, started bare; cold and warm starts are measured in turns with it.
"""

from __future__ import annotations

import io
import json
import shlex
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from localaws.engine.images import SHIPPED, Images, default_cache
from localaws.store import Store
from localaws_benchmarks.table import Row, render

STARTS_FLOOR = "the image's own Python, started bare with the same script; for jobs at once: a Python that does nothing"
LISTS_FLOOR = "the same call with ten jobs in the store"
ACCOUNT = "123456789012"
IMAGES = {
    "xgboost": ("sagemaker-xgboost:3.0-5", "import xgboost, pandas"),
    "sklearn": ("sagemaker-scikit-learn:1.4-2", "import sklearn.ensemble, pandas"),
}
FINISHED = 10_000
QUEUED = 200
CALLS = 60
TINY = 'name = "tiny"\nuris = ["tiny:1"]\npython = "host"\n'
# A job that sets what Python reads at its start is started cold; "random" is what Python does by itself.
COLD = {"PYTHONHASHSEED": "random"}


class Server:
    """`localaws` on a state directory."""

    def __init__(self, state: Path, *options: str) -> None:
        command = [sys.executable, "-m", "localaws", "--port", "0", "--state", str(state), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline().removeprefix("export ") for _ in range(4)]
        self.values = dict(shlex.split(line)[0].split("=", 1) for line in lines)
        self.sagemaker, self.s3, self.logs = (self.client(name) for name in ("sagemaker", "s3", "logs"))

    def client(self, service: str) -> Any:
        """A client that keeps its connection."""
        return boto3.client(
            service,
            endpoint_url=self.values["AWS_ENDPOINT_URL"],
            region_name=self.values["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.values["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.values["AWS_SECRET_ACCESS_KEY"],
            config=Config(s3={"addressing_style": "path"}),
        )

    def status(self, name: str) -> str:
        """A training job's status."""
        return str(self.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"])

    def wait(self, name: str) -> None:
        """Until it is completed; SystemExit when it ends otherwise."""
        while (status := self.status(name)) == "InProgress":
            time.sleep(0.02)
        if status != "Completed":
            raise SystemExit(f"the job {name} ended {status}: nothing was measured")

    def first_line(self, name: str) -> float:
        """The time in the line that the script has written."""
        group = "/aws/sagemaker/TrainingJobs"
        (stream,) = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        events = self.logs.get_log_events(
            logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
        )["events"]
        return next(float(e["message"].split()[1]) for e in events if e["message"].startswith("FIRST "))

    def usage(self) -> tuple[float, int]:
        """Resident memory in MiB and threads."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = dict(line.split(":", 1) for line in text.splitlines())
        return int(found["VmRSS"].split()[0]) / 1024, int(found["Threads"])

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def serving(state: Path, *options: str) -> Iterator[Server]:
    """A server while it is needed."""
    server = Server(state, *options)
    try:
        yield server
    finally:
        server.close()


def request(name: str, image: str, **changes: Any) -> dict[str, Any]:
    """CreateTrainingJob."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{image}",
            "TrainingInputMode": "File",
        },
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/bench",
        "OutputDataConfig": {"S3OutputPath": "s3://bench/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        **changes,
    }


def script_of(imports: str) -> str:
    """The user's script: its imports, then the time."""
    return f"{imports}\nimport time\nprint('FIRST', time.time(), flush=True)\n"


def bare(python: Path, script: Path) -> float:
    """Seconds from the start of a Python to its line."""
    began = time.time()
    done = subprocess.run([python, script], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[1]) - began


def measure_starts(cache: Path, rounds: int) -> list[Row]:
    """Submit to first line, cold and warm, for both images."""
    rows = []
    images = Images(SHIPPED, cache)
    with (
        tempfile.TemporaryDirectory(prefix="bench-jobs-") as folder,
        serving(Path(folder) / "state", "--cache", str(cache)) as server,
    ):
        server.s3.create_bucket(Bucket="bench")
        for name, (reference, imports) in IMAGES.items():
            python = images.by_name(name).environment()
            script = Path(folder) / f"train_{name}.py"
            script.write_text(script_of(imports))
            server.s3.put_object(Bucket="bench", Key=f"{name}.tar.gz", Body=packed(script))

            def start(
                environment: dict[str, str], name: str = name, reference: str = reference, server: Server = server
            ) -> float:
                job = f"{name}-{uuid.uuid4().hex[:12]}"
                hyperparameters = {
                    "sagemaker_program": f"train_{name}.py",
                    "sagemaker_submit_directory": f"s3://bench/{name}.tar.gz",
                }
                asked = request(job, reference, HyperParameters=hyperparameters, Environment=environment)
                began = time.time()
                server.sagemaker.create_training_job(**asked)
                server.wait(job)
                return server.first_line(job) - began

            for _ in range(2):  # files come into the page cache, the parent is prepared
                bare(python, script)
                start({})
            time.sleep(5)
            floor, cold, warm = [], [], []
            for _ in range(rounds):
                floor.append(bare(python, script))
                cold.append(start(COLD))
                warm += [start({}) for _ in range(3)]
            rows += [Row(f"{name}: submit to first line, cold", floor, cold)]
            rows += [Row(f"{name}: submit to first line, warm", floor, warm)]
    return rows


def packed(script: Path) -> bytes:
    """A source.tar.gz with one script."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(script, script.name)
    return buffer.getvalue()


def tiny_image(folder: Path) -> Path:
    """A directory of images with one whose training does nothing."""
    home = folder / "images" / "tiny"
    home.mkdir(parents=True)
    (home / "image.toml").write_text(TINY)
    (home / "train").write_text("pass\n")
    return home.parent


def timed(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure_lists() -> list[Row]:
    """List and describe with many finished jobs, beside the same calls with ten."""
    found: dict[str, dict[int, list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-lists-") as folder:
        images = tiny_image(Path(folder))
        for count in (10, FINISHED):
            state = Path(folder) / f"state{count}"
            with serving(state, "--images", str(images)) as server:
                server.s3.create_bucket(Bucket="bench")
                server.sagemaker.create_training_job(**request("job-0", "tiny:1"))
                server.wait("job-0")
            fill(state / "state.sqlite3", count)
            with serving(state, "--images", str(images)) as server:
                for name, call in calls(server.sagemaker, count).items():
                    call()
                    found.setdefault(name, {})[count] = [timed(call) for _ in range(CALLS)]
    return [Row(name, values[10], values[FINISHED]) for name, values in found.items()]


def calls(sagemaker: Any, count: int) -> dict[str, Callable[[], object]]:
    """What is asked of a store with `count` jobs."""
    return {
        "list, default": lambda: sagemaker.list_training_jobs(),
        "list, newest 100": lambda: sagemaker.list_training_jobs(MaxResults=100, SortOrder="Descending"),
        "list, by name and status": lambda: sagemaker.list_training_jobs(
            NameContains="7", StatusEquals="Completed", SortBy="Name"
        ),
        "list, a filter that finds none": lambda: sagemaker.list_training_jobs(StatusEquals="Failed"),
        "describe": lambda: sagemaker.describe_training_job(TrainingJobName=f"job-{count // 2}"),
    }


def fill(path: Path, count: int) -> None:
    """Copies of the job that has run, until there are `count`."""
    store = Store(path)
    (job,) = store.list("training-job")
    for number in range(1, count):
        name = f"job-{number}"
        text = json.dumps(job.body).replace("job-0", name)
        store.insert(job.kind, name, job.arn.replace("job-0", name), job.status, json.loads(text))
    store.close()


def measure_queue() -> tuple[Row, str]:
    """Many jobs at once, each doing nothing, beside as many bare starts as run at once here."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-queue-") as folder,
        serving(Path(folder) / "state", "--images", str(tiny_image(Path(folder)))) as server,
    ):
        server.s3.create_bucket(Bucket="bench")
        server.sagemaker.create_training_job(**request("first", "tiny:1"))
        server.wait("first")
        before = server.usage()
        floor = timed(lambda: [subprocess.run([sys.executable, "-c", "pass"], check=True) for _ in range(QUEUED // 4)])
        began, most = time.perf_counter(), [before]
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.05):
                most.append(server.usage())

        watcher = threading.Thread(target=watch)
        watcher.start()
        for number in range(QUEUED):
            server.sagemaker.create_training_job(**request(f"queued-{number}", "tiny:1"))
        for number in range(QUEUED):
            server.wait(f"queued-{number}")
        seconds = time.perf_counter() - began
        ended.set()
        watcher.join()
    memory, threads = (max(values) for values in zip(*most, strict=True))
    said = (
        f"{QUEUED} jobs at once: all completed in {seconds:.1f} s; server at most {memory:.0f} MiB "
        f"(before {before[0]:.0f}) and {threads} threads (before {before[1]})\n"
    )
    return Row(f"one of {QUEUED} jobs at once", [floor / (QUEUED // 4)], [seconds / QUEUED]), said


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


def bench(rounds: int) -> str:
    """Both tables, and below them the figures that have a target."""
    cache = default_cache()
    starts = measure_starts(cache, rounds)
    lists = [Row(row.name, [1000 * v for v in row.floor], [1000 * v for v in row.ours]) for row in measure_lists()]
    queue, said = measure_queue()
    text = render("Starts of jobs, seconds", STARTS_FLOOR, [*starts, queue])
    text += "".join(f"{row.name}: median {statistics.median(row.ours):.3f} s\n" for row in starts) + said + "\n"
    text += render(f"Calls with {FINISHED:,} finished jobs, milliseconds", LISTS_FLOOR, lists)
    return text + "".join(f"{row.name}: p95 {p95(list(row.ours)):.1f} ms\n" for row in lists)


if __name__ == "__main__":
    sys.stdout.write(bench(int(sys.argv[1]) if sys.argv[1:] else 5))
