"""The server killed with `kill -9` at random moments while jobs, tuning and an endpoint are at work.

The seed is printed; RESTART_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from localaws_tests.conftest import IMAGE_URI, ROLE, make_image, poll, training_request
from localaws_tests.job_helpers import keys, statuses, unpacked
from localaws_tests.serving_fixtures import IMAGES, Marked, Server

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

ROUNDS = 4
LONGEST = 2.5  # seconds from the first request of a round to the kill
REASON = "InternalServerError: the local AWS endpoint ended unexpectedly while this job ran"
SHORT = "(root / 'model/m').write_text('done'); print('validation-auc:0.5')"
LONG = "import time\nprint('up', flush=True)\nwhile True: time.sleep(60)"
ENDED = ("Completed", "Failed", "Stopped")
KINDS = {"short", "long", "processing"}


class Killable:
    """`localaws` with the images of training and of serving."""

    def __init__(self, state: Path, images: Path, cache: Path) -> None:
        directories = ["--images", str(images), "--images", str(IMAGES)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localaws", "--port", "0", "--state", str(state), *directories,
             "--cache", str(cache), "--grace", "1", "--jobs", "6"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline().removeprefix("export ") for _ in range(4)]
        self.server = Server(dict(shlex.split(line)[0].split("=", 1) for line in lines))

    def end(self, number: signal.Signals) -> None:
        if self.process.returncode is not None:
            return
        self.process.send_signal(number)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Client(threading.Thread):
    """Creates one thing after the other until the server is gone; `made` holds what the server has confirmed."""

    def __init__(self, server: Server, label: str, marked: Marked) -> None:
        super().__init__(daemon=True)
        self.server, self.label, self.environment = server, label, marked.variables
        self.made: list[tuple[str, str]] = []

    def run(self) -> None:
        try:
            for number in range(12):
                for kind in ("short", "long", "stopped", "processing", "tuning"):
                    if kind in ("long", "tuning") and number % 3:
                        continue  # they hold their places
                    name = f"{self.label}-{kind[:5]}-{number}"
                    getattr(self, f"_{kind}")(name)
                    self.made.append((kind, name))
        except (ClientError, BotoCoreError):
            return  # the server is gone

    def _short(self, name: str, script: str = SHORT) -> None:
        self.server.sagemaker.create_training_job(**training_request(name, script, Environment=self.environment))

    def _long(self, name: str) -> None:
        self._short(name, LONG)

    def _stopped(self, name: str) -> None:
        """One that is perhaps being stopped when the server is killed: it ignores SIGTERM."""
        self._short(name, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + LONG)
        self.server.sagemaker.stop_training_job(TrainingJobName=name)

    def _processing(self, name: str) -> None:
        self.server.sagemaker.create_processing_job(
            ProcessingJobName=name,
            AppSpecification={"ImageUri": IMAGE_URI},
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
            RoleArn=ROLE,
            Environment=self.environment,
        )

    def _tuning(self, name: str) -> None:
        job = training_request("unused", SHORT, Environment=self.environment)
        del job["TrainingJobName"]
        static = job.pop("HyperParameters")
        self.server.sagemaker.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name,
            HyperParameterTuningJobConfig={
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
                "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 2},
                "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "shape", "Values": ["a", "b"]}]},
            },
            TrainingJobDefinition={**job, "StaticHyperParameters": static},
        )


def describe(server: Server, kind: str, name: str) -> tuple[str, str]:
    """Status and reason; a resource that is not there is an error here."""
    if kind == "processing":
        job = server.sagemaker.describe_processing_job(ProcessingJobName=name)
        return job["ProcessingJobStatus"], job.get("FailureReason", "")
    if kind == "tuning":
        job = server.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
        return job["HyperParameterTuningJobStatus"], job.get("FailureReason", "")
    job = server.sagemaker.describe_training_job(TrainingJobName=name)
    return job["TrainingJobStatus"], job.get("FailureReason", "")


def stop_those_that_run(server: Server) -> None:
    """Jobs without an end that had waited run now, those too whose Create or Stop got no answer: stop them."""
    pages = server.sagemaker.get_paginator("list_training_jobs").paginate(StatusEquals="InProgress")
    for job in [item for page in pages for item in page["TrainingJobSummaries"]]:
        if "-long-" in job["TrainingJobName"] or "-stopp-" in job["TrainingJobName"]:
            server.sagemaker.stop_training_job(TrainingJobName=job["TrainingJobName"])


def check_ends(server: Server, made: list[tuple[str, str]]) -> None:
    for kind, name in made:
        status, reason = poll(lambda k=kind, n=name: (d := describe(server, k, n))[0] in ENDED and d, 600)
        if kind == "stopped":
            assert (status, reason) == ("Stopped", ""), name
        elif kind == "long":
            assert (status, reason) in (("Failed", REASON), ("Stopped", "")), name
        elif kind == "tuning":
            assert status == "Completed" or re.match("All training jobs failed", reason), (name, status, reason)
        else:
            assert (status, reason) in (("Completed", ""), ("Failed", REASON)), name
        if kind == "short":
            there = bool(keys(server.s3, f"models/{name}/"))
            assert there or status == "Failed", f"{name} is Completed without a model"


def serve(server: Server) -> None:
    server.create_model("doubler", 2)
    server.create_config("doubler", "doubler")
    server.create_endpoint("doubler", "doubler")


def answers(server: Server) -> None:
    """The endpoint is in service and predicts; while it is brought back it says 503, which clients try again."""
    server.wait("endpoint_in_service", EndpointName="doubler")
    patient = server.client("sagemaker-runtime", attempts=10)
    answer = patient.invoke_endpoint(EndpointName="doubler", Body=b"1,2\n", ContentType="text/csv")
    assert answer["Body"].read() == b"6.0\n"


def test_nothing_is_lost_by_a_kill(tmp_path: Path) -> None:
    seed = int(os.environ.get("RESTART_SEED", random.SystemRandom().randrange(10**6)))
    sys.stdout.write(f"RESTART_SEED={seed}\n")
    moments = random.Random(seed)
    images, state = make_image(tmp_path / "images"), tmp_path / "state"
    everything: list[tuple[str, str]] = []
    with ExitStack() as stack:

        def start() -> Server:
            nonlocal program
            program = Killable(state, images, tmp_path / "cache")
            stack.callback(program.end, signal.SIGKILL)
            return program.server

        program: Killable
        server = start()
        server.s3.create_bucket(Bucket="data")
        serve(server)
        for number in range(ROUNDS):
            marked = Marked()
            client = Client(server, f"r{number}", marked)
            client.start()
            if number == 0:  # of one round it is certain, however slow the machine, that it has one of each kind
                poll(lambda c=client: {kind for kind, _ in c.made} >= KINDS, 300)
            threading.Event().wait(moments.uniform(0.05, LONGEST))  # the moment is what the test is about
            before = marked.pids()
            program.end(signal.SIGKILL)
            client.join(300)
            everything += client.made
            for pid in before:
                wait_end(pid)
            server = start()
            assert all(describe(server, kind, name) for kind, name in everything)
            answers(server)
            stop_those_that_run(server)
            check_ends(server, client.made)
            poll(lambda m=marked: not m.pids(), 300)
        assert {kind for kind, _ in everything} >= KINDS
        check_ends(server, everything)
        sys.stdout.write(f"{len(everything)} resources\n")


def wait_end(pid: int) -> None:
    """A process of the killed server ends by itself."""
    poll(lambda: not Path(f"/proc/{pid}").exists() or "Z" in state_of(pid), 300)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_a_job_with_retries_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Killed in its first attempt, when its checkpoint is in S3."""
    images, state = make_image(tmp_path / "images"), tmp_path / "state"
    script = """
import time
place = root / "checkpoints/steps"
before = place.read_text() if place.exists() else ""
place.write_text(before + "x")
while not before: time.sleep(60)
(root / "model/steps").write_text(place.read_text())
"""
    with ExitStack() as stack:
        program = Killable(state, images, tmp_path / "cache")
        stack.callback(program.end, signal.SIGKILL)
        program.server.s3.create_bucket(Bucket="data")
        more = {"CheckpointConfig": {"S3Uri": "s3://data/c"}, "RetryStrategy": {"MaximumRetryAttempts": 1}}
        program.server.sagemaker.create_training_job(**training_request("again", script, **more))
        poll(lambda: keys(program.server.s3, "c/") == ["c/steps"], 300)
        program.end(signal.SIGKILL)
        program = Killable(state, images, tmp_path / "cache")
        stack.callback(program.end, signal.SIGKILL)
        server = program.server
        poll(lambda: describe(server, "long", "again")[0] in ENDED, 300)
        job = server.sagemaker.describe_training_job(TrainingJobName="again")
        once = ["Starting", "Downloading", "Training"]
        assert statuses(job) == [*once, "Restarting", *once, "Uploading", "Completed"]
        assert unpacked(server.s3, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"steps": b"xx"}
