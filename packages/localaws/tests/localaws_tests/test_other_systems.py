"""The endpoint on a machine that is not Linux, pretended on Linux (see `other_system`): no Mac has ever run this."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import localaws
from localaws.engine.images import SHIPPED
from localaws_tests.conftest import (
    IMAGE_URI,
    ROLE,
    SAMPLE_IMAGES,
    channel,
    log_lines,
    poll,
    training_request,
    wait_for,
)
from localaws_tests.job_helpers import unpacked
from localaws_tests.jobs.test_processing import HERE, request_of, source
from localaws_tests.serving_fixtures import make_client

LINE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/line:1"
MEMORY = 24  # GiB of the pretended machine
IMPORT_ALL = """
import ctypes, importlib, os, pkgutil, shutil, sys
assert sys.platform == "darwin"
assert not hasattr(os, "O_PATH") and not hasattr(ctypes.CDLL(None), "prctl")
assert shutil.which("bwrap") is None and shutil.which("unshare") is None
for folder in (os.listdir, os.scandir, lambda path: open(path + "/self/stat")):
    try:
        folder("/proc")
    except FileNotFoundError:
        continue
    raise AssertionError(folder)
import localaws
found = [m.name for m in pkgutil.walk_packages(localaws.__path__, "localaws.") if ".images." not in m.name]
for name in found:
    importlib.import_module(name)
print(*found)
"""


@dataclass
class OtherSystem:
    """A Python that takes this machine for another system, and the environment to run it in."""

    python: Path
    environment: dict[str, str]

    def processes(self) -> list[str]:
        """The command lines of all processes that this Python runs."""
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = file.read_bytes()
            except OSError:
                continue
            if os.fsencode(self.python.parent.parent) in line:
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
        return found


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> OtherSystem:
    home = tmp_path_factory.mktemp("other") / "venv"
    venv.create(home, symlinks=True)
    packages = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    shutil.copy(Path(__file__).with_name("other_system.py"), packages / "sitecustomize.py")
    paths = [str(Path(localaws.__file__).parent.parent), *(p for p in sys.path if "site-packages" in p)]
    (packages / "others.pth").write_text("\n".join(paths))
    programs = home.with_name("programs")  # no bwrap, no unshare
    programs.mkdir()
    sysctl = programs / "sysctl"
    sysctl.write_text(f'#!/bin/sh\n[ "$*" = "-n hw.memsize" ] && echo {MEMORY * 1024**3}\n')
    sysctl.chmod(0o755)
    return OtherSystem(home / "bin" / "python", {"PATH": str(programs), "HOME": str(home.with_name("home"))})


class Running:
    """`localaws` in a process of its own on that system."""

    def __init__(self, system: OtherSystem, state: Path, images: Path) -> None:
        self.log = state.with_suffix(".log")
        argv = [
            "-m", "localaws", "--port", "0", "--state", str(state), "--cache", str(state.parent / "cache"),
            "--images", str(images), "--images", str(SAMPLE_IMAGES), "--sandbox", "auto",
        ]  # fmt: skip
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(system.python), *argv], env=system.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        exports = [self.process.stdout.readline().removeprefix("export ") for _ in range(4)]
        assert all(exports), self.log.read_text()
        self.values = dict(shlex.split(line)[0].split("=", 1) for line in exports)

    def client(self, service: str) -> Any:
        return make_client(self.values, service, 1)

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(240)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


Start = Callable[[Path], Running]


@pytest.fixture(scope="module")
def start(system: OtherSystem, images_dir: Path) -> Iterator[Start]:
    started: list[Running] = []

    def start(state: Path) -> Running:
        started.append(Running(system, state, images_dir))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def running(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Running:
    made = start(tmp_path_factory.mktemp("endpoint") / "state")
    made.client("s3").create_bucket(Bucket="data")
    return made


def test_every_module_can_be_imported(system: OtherSystem) -> None:
    done = subprocess.run(
        [system.python, "-c", IMPORT_ALL], env=system.environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    source = SHIPPED.parent
    files = [f for f in source.rglob("*.py") if SHIPPED not in f.parents and f.parent.name != "prepared"]
    assert len(done.stdout.split()) == len({f for f in files if f != source / "__init__.py"})


def test_auto_comes_to_none_and_says_what_that_means(running: Running) -> None:
    said = [line for line in running.log.read_text().splitlines() if "sandbox" in line]
    assert len(said) == 1
    for part in ("without a sandbox (none)", "/opt/ml built in", "EnableNetworkIsolation", "only Linux has sandboxes"):
        assert part in said[0]


def test_a_training_job_with_a_file_and_a_pipe(running: Running) -> None:
    s3, sagemaker = running.client("s3"), running.client("sagemaker")
    s3.put_object(Bucket="data", Key="given/a.csv", Body=b"1,2\n")
    script = """
print(sys.platform, os.uname().sysname, flush=True)
held = (root / "input/data/file/a.csv").read_text() + open(root / "input/data/pipe_0").read()
(root / "model/line.json").write_text('{"slope": 3}')
(root / "model/held").write_text(held)
"""
    inputs = [channel("file", "s3://data/given"), {**channel("pipe", "s3://data/given"), "InputMode": "Pipe"}]
    sagemaker.create_training_job(**training_request("trained", script, InputDataConfig=inputs))
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName="trained")
    job = sagemaker.describe_training_job(TrainingJobName="trained")
    assert job["TrainingJobStatus"] == "Completed", job
    assert unpacked(s3, job["ModelArtifacts"]["S3ModelArtifacts"])["held"] == b"1,2\n1,2\n"
    assert log_lines(running.client("logs"), "/aws/sagemaker/TrainingJobs", "trained") == ["darwin Darwin"]


def test_a_stopped_job_has_its_sigterm_and_keeps_what_it_saved(running: Running) -> None:
    s3, sagemaker = running.client("s3"), running.client("sagemaker")
    script = """
import signal, time
def save(*_):
    (root / "model/saved").write_text("yes")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
time.sleep(600)
"""
    sagemaker.create_training_job(**training_request("stopped", script))
    logs = running.client("logs")
    poll(lambda: log_lines(logs, "/aws/sagemaker/TrainingJobs", "stopped") == ["up"])
    sagemaker.stop_training_job(TrainingJobName="stopped")
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName="stopped")
    job = sagemaker.describe_training_job(TrainingJobName="stopped")
    assert job["TrainingJobStatus"] == "Stopped"
    assert unpacked(s3, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"saved": b"yes"}


def test_a_processing_job(running: Running) -> None:
    s3, sagemaker = running.client("s3"), running.client("sagemaker")
    program = "import pathlib, sys\npathlib.Path(sys.argv[1]).write_text('made')\n"
    s3.put_object(Bucket="data", Key="code/job.py", Body=program.encode())
    out = {"S3Uri": "s3://data/made", "LocalPath": f"{HERE}/output/made", "S3UploadMode": "EndOfJob"}
    request = request_of("processed", ProcessingOutputConfig={"Outputs": [{"OutputName": "made", "S3Output": out}]})
    request["ProcessingInputs"] = [source("code", "s3://data/code/job.py")]
    request["AppSpecification"] = {
        "ImageUri": IMAGE_URI,
        "ContainerEntrypoint": ["python3", f"{HERE}/input/code/job.py"],
        "ContainerArguments": [f"{HERE}/output/made/text"],
    }
    sagemaker.create_processing_job(**request)
    wait_for(sagemaker, "processing_job_completed_or_stopped", ProcessingJobName="processed")
    job = sagemaker.describe_processing_job(ProcessingJobName="processed")
    assert job["ProcessingJobStatus"] == "Completed", job
    assert s3.get_object(Bucket="data", Key="made/text")["Body"].read() == b"made"


def test_an_endpoint_and_a_transform_job(running: Running) -> None:
    s3, sagemaker = running.client("s3"), running.client("sagemaker")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        text = b'{"slope": 3}'
        info = tarfile.TarInfo("line.json")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
    s3.put_object(Bucket="data", Key="line/model.tar.gz", Body=packed.getvalue())
    s3.put_object(Bucket="data", Key="rows/a.csv", Body=b"1\n2\n")
    container = {"Image": LINE, "ModelDataUrl": "s3://data/line/model.tar.gz"}
    sagemaker.create_model(ModelName="line", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {
        "VariantName": "AllTraffic", "ModelName": "line", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2,
    }  # fmt: skip
    sagemaker.create_endpoint_config(EndpointConfigName="line", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="line", EndpointConfigName="line")
    wait_for(sagemaker, "endpoint_in_service", EndpointName="line")
    runtime = running.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="line", Body="2\n", ContentType="text/csv")
    assert answer["Body"].read() == b"6\n"
    sagemaker.create_transform_job(
        TransformJobName="transformed",
        ModelName="line",
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/rows"}},
            "ContentType": "text/csv",
        },
        TransformOutput={"S3OutputPath": "s3://data/answers"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    wait_for(sagemaker, "transform_job_completed_or_stopped", TransformJobName="transformed")
    assert s3.get_object(Bucket="data", Key="answers/a.csv.out")["Body"].read() == b"3\n6\n"


def test_an_upload_in_parts(running: Running) -> None:
    s3 = running.client("s3")
    parts = [b"a" * (5 << 20), b"b" * 1000]
    upload = s3.create_multipart_upload(Bucket="data", Key="parts")["UploadId"]
    tags = [
        s3.upload_part(Bucket="data", Key="parts", UploadId=upload, PartNumber=n, Body=part)["ETag"]
        for n, part in enumerate(parts, 1)
    ]
    s3.complete_multipart_upload(
        Bucket="data",
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"ETag": tag, "PartNumber": n} for n, tag in enumerate(tags, 1)]},
    )
    assert s3.get_object(Bucket="data", Key="parts")["Body"].read() == b"".join(parts)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"EnableNetworkIsolation": True}, "EnableNetworkIsolation is not possible here"),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}},
            "this machine offers no namespaces",
        ),
    ],
)
def test_what_a_sandbox_would_be_needed_for_is_refused(running: Running, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match=said) as refused:
        running.client("sagemaker").create_training_job(**training_request("refused", **changes))
    assert refused.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_when_the_endpoint_ends_no_process_is_left(
    start: Start, running: Running, system: OtherSystem, tmp_path: Path, number: signal.Signals
) -> None:
    before = system.processes()
    ending = start(tmp_path / "state")
    ending.client("s3").create_bucket(Bucket="data")
    script = "import subprocess\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(600)', 'inner'])"
    ending.client("sagemaker").create_training_job(**training_request("left", script))
    poll(lambda: any(line.endswith("inner ") for line in system.processes()))
    assert ending.end(number) == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    poll(lambda: sorted(system.processes()) == sorted(before))
    assert "Traceback" not in ending.log.read_text() + running.log.read_text()
