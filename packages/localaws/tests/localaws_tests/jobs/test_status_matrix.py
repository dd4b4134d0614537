"""Every kind of job against every ending: status, secondary status, reason and what is left in S3, from ONE table.

None of them can be stopped when it has ended.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

from localaws.jobs.training_steps import SECONDARY
from localaws.kinds import PROCESSING_JOB, TRAINING_JOB, TRANSFORM_JOB
from localaws.server import Endpoint, Options
from localaws.states import JOB_TRANSITIONS, Transitions
from localaws.tuning import tuning_run
from localaws_tests.conftest import IMAGE_URI, PATIENT, ROLE, channel, client_of, log_lines, poll, training_request
from localaws_tests.job_helpers import fault_tag, keys, statuses, timed_from
from localaws_tests.serving_fixtures import IMAGE as SERVING_IMAGE
from localaws_tests.serving_fixtures import IMAGES as SERVING_IMAGES

# What a program does; {out} is the directory that is uploaded, {failure} the file of the reason.
WRITE = "{out}.mkdir(parents=True, exist_ok=True); ({out} / 'result').write_text('whole'); print('up', flush=True)\n"
HANG = "import time; print('up', flush=True)\nwhile True: time.sleep(60)\n"
PROGRAMS = {
    "write": WRITE,
    "exit 3": WRITE + "sys.exit(3)",
    "say why": WRITE + "(root / 'output/failure').write_text('no label column'); sys.exit(1)",
    "hang": WRITE + HANG,
    "save on TERM": (
        "import signal\ndef save(*_):\n    ({out} / 'result').write_text('saved'); sys.exit(0)\n"
        "{out}.mkdir(parents=True, exist_ok=True); signal.signal(signal.SIGTERM, save)\n" + HANG
    ),
    "ignore TERM": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WRITE + HANG,
}
PATIENCE = 240.0  # seconds
NOTHING, WHOLE, SAVED = None, b"whole", b"saved"


@dataclass(frozen=True)
class Case:
    """One kind of job and one ending; `then` is done to it once it is `up` (or at once), `left` what is in S3 then."""

    kind: str
    ending: str
    status: str
    secondary: str = ""
    reason: str = ""  # an expression; "" for none
    left: bytes | None = NOTHING
    steps: tuple[str, ...] = ()  # secondary statuses, where they are looked at
    program: str = "write"
    then: str = ""  # "stop", "stop at once", "restart", "restart at once"
    deaf: bool = False  # the program does not end at SIGTERM
    changes: dict[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return f"{self.kind}: {self.ending}"

    @property
    def name(self) -> str:
        """A job name."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.kind[:5]}-{self.ending}".lower()).strip("-")[:32].strip("-")


LIMIT = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
SPOT = {
    "EnableManagedSpotTraining": True,
    "StoppingCondition": {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1},
}
NO_DATA = r"ClientError: Data download failed: No S3 objects found under S3 URL \"s3://data/nothing/\".*"
BAD_MANIFEST = r"ClientError: manifest s3://data/matrix/corrupt must be a JSON list .*"
CRASHED = r"AlgorithmError: Please refer to the job's logs for more information, exit code: {}"
RESTARTED = r"InternalServerError: the local AWS endpoint (was stopped|ended unexpectedly) while this job ran"
CAPACITY = r"CapacityError: Unable to provision requested ML compute capacity.*"
SLOW = fault_tag("slow-start=3600")


def both(ending: str, status: str, secondary: str = "", **more: Any) -> list[Case]:
    """The same for training and processing; only training has secondary statuses."""
    return [
        Case("training", ending, status, secondary or status, **more),
        Case("processing", ending, status, "", **more),
    ]


TABLE: list[Case] = [
    *both("completes", "Completed", left=WHOLE),
    *both("exit code", "Failed", reason=CRASHED.format(3), program="exit 3"),
    *both("failure file", "Failed", reason="AlgorithmError: no label column, exit code: 1", program="say why"),
    *both("no input", "Failed", reason=NO_DATA, changes={"input": ("S3Prefix", "s3://data/nothing/")}),
    *both("corrupt input", "Failed", reason=BAD_MANIFEST,
          changes={"input": ("ManifestFile", "s3://data/matrix/corrupt")}),
    *both("stopped", "Stopped", left=WHOLE, program="hang", then="stop"),
    *both("stopped with work saved", "Stopped", left=SAVED, program="save on TERM", then="stop"),
    *both("stopped before it began", "Stopped", then="stop at once", changes=SLOW),
    *both("stopped by somebody else", "Stopped", left=WHOLE, program="hang", changes=fault_tag("stop=0.1")),
    *both("TERM ignored", "Stopped", left=WHOLE, program="ignore TERM", then="stop", deaf=True),
    *both("hangs", "Stopped", left=WHOLE, changes=fault_tag("hang stop=0.1"), deaf=True),
    *both("time limit", "Stopped", "MaxRuntimeExceeded", left=WHOLE, program="hang", changes=LIMIT),
    *both("killed", "Failed", reason=CRASHED.format(137), program="hang", changes=fault_tag("kill=0.3")),
    *both("exit code on request", "Failed", reason=CRASHED.format(7), changes=fault_tag("exit-code=7")),
    *both("no capacity", "Failed", reason=CAPACITY, changes=fault_tag("capacity")),
    *both("restart while it runs", "Failed", reason=RESTARTED, program="hang", then="restart"),
    *both("restart before it began", "Completed", left=WHOLE, then="restart at once", changes=SLOW),
    Case("training", "no spot instance", "Stopped", "MaxWaitTimeExceeded", changes={**SPOT, **fault_tag("capacity")},
         steps=("Starting", "Stopping", "MaxWaitTimeExceeded")),
    Case("training", "spot wait over", "Stopped", "MaxWaitTimeExceeded", changes={**SPOT, **SLOW}),
    Case("training", "corrupt artifact", "Completed", "Completed", left=b"cut", changes=fault_tag("corrupt-artifact")),
    Case("transform", "completes", "Completed", left=b"2.0\n", changes={"data": b"1\n"}),
    Case("transform", "no input", "Failed", reason="ClientError: .*No S3 objects found.*", changes={"data": None}),
    Case("transform", "corrupt model", "Failed", reason="[AC].*Error: .*", changes={"model": b"no archive"}),
    Case("transform", "record refused", "Failed", reason="ClientError: .*415.*", changes={"data": b"reject"}),
    Case("transform", "model breaks", "Failed", reason="AlgorithmError: .*500.*", changes={"data": b"break"}),
    Case("transform", "stopped, server hangs", "Stopped", then="stop", changes={"data": b"freeze"}, deaf=True),
    Case("transform", "restart before it began", "Completed", left=b"2.0\n", then="restart at once", changes=SLOW),
    Case("transform", "restart while it runs", "Failed", reason=RESTARTED, then="restart", changes={"data": b"freeze"}),
    Case("tuning", "completes", "Completed"),
    Case("tuning", "all trainings fail", "Failed", reason="All training jobs failed.*", program="exit 3"),
    Case("tuning", "stopped", "Stopped", program="hang", then="stop"),
]  # fmt: skip
KINDS: dict[str, tuple[str, str, Transitions]] = {  # operation, enum of the API, our table
    "training": ("TrainingJob", "TrainingJobStatus", JOB_TRANSITIONS),
    "processing": ("ProcessingJob", "ProcessingJobStatus", JOB_TRANSITIONS),
    "transform": ("TransformJob", "TransformJobStatus", JOB_TRANSITIONS),
    "tuning": ("HyperParameterTuningJob", "HyperParameterTuningJobStatus", tuning_run.TRANSITIONS),
}
GROUPS = {
    "training": TRAINING_JOB.log_group,
    "processing": PROCESSING_JOB.log_group,
    "transform": TRANSFORM_JOB.log_group,
    "tuning": TRAINING_JOB.log_group,
}


class Bench:
    """An endpoint and the jobs of the table in it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.sagemaker, self.s3, self.logs = (client_of(endpoint, s) for s in ("sagemaker", "s3", "logs"))

    def prepare(self) -> None:
        self.s3.create_bucket(Bucket="data")
        self.s3.put_object(Bucket="data", Key="matrix/corrupt", Body=b"{")

    def call(self, verb: str, case: Case, **more: Any) -> dict[str, Any]:
        what = KINDS[case.kind][0]
        snake = re.sub(r"(?<!^)(?=[A-Z])", "_", f"{verb}{what}").lower()
        answer: dict[str, Any] = getattr(self.sagemaker, snake)(**{f"{what}Name": case.name}, **more)
        return answer

    def create(self, case: Case) -> None:
        getattr(self, f"_create_{case.kind}")(case)

    def _program(self, case: Case, out: str) -> str:
        return PROGRAMS[case.program].replace("{out}", out)

    def _create_training(self, case: Case) -> None:
        changes = dict(case.changes)
        if "input" in changes:
            kind, uri = changes.pop("input")
            changes["InputDataConfig"] = [channel("train", uri, kind)]
        self.sagemaker.create_training_job(
            **training_request(case.name, self._program(case, "(root / 'model')"), **changes)
        )

    def _create_processing(self, case: Case) -> None:
        script = "import os, pathlib, sys; root = pathlib.Path(os.environ.get('SAGEMAKER_BASE_DIR', '/opt/ml'))\n"
        script += self._program(case, "(root / 'processing/out')")
        self.s3.put_object(Bucket="data", Key=f"matrix/{case.name}/job.py", Body=script.encode())
        changes = dict(case.changes)
        inputs = [("code", "S3Prefix", f"s3://data/matrix/{case.name}/job.py")]
        if "input" in changes:
            inputs.append(("train", *changes.pop("input")))
        self.sagemaker.create_processing_job(
            ProcessingJobName=case.name,
            AppSpecification={
                "ImageUri": IMAGE_URI,
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/code/job.py"],
            },
            ProcessingInputs=[
                {
                    "InputName": given,
                    "S3Input": {
                        "S3Uri": uri, "S3DataType": kind, "S3InputMode": "File",
                        "LocalPath": f"/opt/ml/processing/{given}",
                    },
                }
                for given, kind, uri in inputs
            ],
            ProcessingOutputConfig={
                "Outputs": [
                    {
                        "OutputName": "out",
                        "S3Output": {
                            "S3Uri": f"s3://data/matrix/{case.name}/out", "LocalPath": "/opt/ml/processing/out",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            },
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
            RoleArn=ROLE,
            **{"StoppingCondition": {"MaxRuntimeInSeconds": 60}, **changes},
        )  # fmt: skip

    def _create_transform(self, case: Case) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as packed:
            factor = tarfile.TarInfo("factor.txt")
            factor.size = 1
            packed.addfile(factor, io.BytesIO(b"2"))
        place = f"matrix/{case.name}"
        data = case.changes.get("data", b"1\n")
        if data is not None:
            self.s3.put_object(Bucket="data", Key=f"{place}/in/x.csv", Body=data)
        model = case.changes.get("model", archive.getvalue())
        self.s3.put_object(Bucket="data", Key=f"{place}/model.tar.gz", Body=model)
        container = {"Image": SERVING_IMAGE, "ModelDataUrl": f"s3://data/{place}/model.tar.gz"}
        self.sagemaker.create_model(ModelName=case.name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://data/{place}/in/"}}
        self.sagemaker.create_transform_job(
            TransformJobName=case.name,
            ModelName=case.name,
            TransformInput={"DataSource": source, "ContentType": "text/csv"},
            TransformOutput={"S3OutputPath": f"s3://data/{place}/out"},
            TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
            Tags=case.changes.get("Tags", []),
        )

    def _create_tuning(self, case: Case) -> None:
        script = PROGRAMS[case.program].replace("{out}", "(root / 'model')")
        job = training_request("unused", "print('validation-auc:0.5', flush=True)\n" + script)
        del job["TrainingJobName"]
        static = job.pop("HyperParameters")
        limits = {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1}
        self.sagemaker.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=case.name,
            HyperParameterTuningJobConfig={
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "validation:auc"},
                "ResourceLimits": limits,
                "ParameterRanges": {"CategoricalParameterRanges": [{"Name": "shape", "Values": ["a", "b"]}]},
            },
            TrainingJobDefinition={**job, "StaticHyperParameters": static},
        )

    def until_up(self, case: Case) -> None:
        """Wait until the program is at work: it has written a line."""
        line = re.compile(r"up|\d+ bytes came in")
        poll(lambda: any(line.fullmatch(found) for found in log_lines(self.logs, GROUPS[case.kind], self.job(case))))

    def job(self, case: Case) -> str:
        """The name under which the program logs: that of the only training of a tuning job."""
        if case.kind != "tuning":
            return case.name
        listed = self.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job
        found = poll(lambda: listed(HyperParameterTuningJobName=case.name)["TrainingJobSummaries"])
        name: str = found[0]["TrainingJobName"]
        return name

    def ended(self, case: Case) -> dict[str, Any]:
        """The job's description when it has come to a last status."""
        field_name = KINDS[case.kind][1]
        live = KINDS[case.kind][2].sources
        return poll(lambda: (d := self.call("Describe", case))[field_name] not in live and d, PATIENCE)

    def left(self, case: Case) -> bytes | None:
        """What the job has left in S3: the file, b"cut" for an archive that is none, None for nothing."""
        if case.kind == "training":
            key = f"models/{case.name}/output/model.tar.gz"
            if key not in keys(self.s3, f"models/{case.name}/"):
                return NOTHING
            packed = self.s3.get_object(Bucket="data", Key=key)["Body"].read()
            try:
                with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                    member = archive.extractfile("result")
                    return member.read() if member else b""
            except (EOFError, tarfile.ReadError):
                return b"cut"
        found = keys(self.s3, f"matrix/{case.name}/out/")
        return self.s3.get_object(Bucket="data", Key=found[0])["Body"].read() if found else NOTHING

    def found(self, case: Case) -> tuple[dict[str, Any], bytes | None]:
        """The description of the job that has ended, with what is said to who stops it then, and what it has left."""
        ended = self.ended(case)
        try:
            self.call("Stop", case)
        except ClientError as error:
            ended = {**ended, "Again": str(error)}
        return ended, self.left(case)

    def run(self, case: Case) -> tuple[dict[str, Any], bytes | None]:
        """Create, do what is to be done, wait."""
        try:
            self.create(case)
            if case.then == "stop":
                self.until_up(case)
            if case.then:
                self.call("Stop", case)
            return self.found(case)
        except (AssertionError, ClientError) as error:  # this case is wrong, the others are to be seen
            return {**self.call("Describe", case), "FailureReason": f"{error!r}"}, NOTHING


Results = dict[Case, tuple[dict[str, Any], "bytes | None"]]


def start(state: Path, images: Path, cache: Path, grace: float = 0.5) -> Bench:
    endpoint = Endpoint(
        Options(state, (images, SERVING_IMAGES), cache, jobs=8, grace=grace, cpus=8, memory=64, profile=PATIENT)
    )
    endpoint.start()
    return Bench(endpoint)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, images_dir: Path) -> Iterator[Results]:
    """All endings but the restarts, several at once; only programs that do not end at SIGTERM have a short grace."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    graces = {True: 0.5, False: 60.0}
    benches = {
        deaf: start(tmp_path_factory.mktemp("matrix") / "state", images_dir, cache, grace)
        for deaf, grace in graces.items()
    }
    cases = [case for case in TABLE if not case.then.startswith("restart")]
    try:
        for bench in benches.values():
            bench.prepare()
        with timed_from("up"), ThreadPoolExecutor(6) as pool:
            found = dict(zip(cases, pool.map(lambda case: benches[case.deaf].run(case), cases), strict=True))
        yield found
    finally:
        for bench in benches.values():
            bench.endpoint.close()


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory, images_dir: Path) -> Iterator[Results]:
    """The endings that a restart brings: one for all of them."""
    state, cache = tmp_path_factory.mktemp("matrix") / "state", tmp_path_factory.getbasetemp() / "cache"
    cases = [case for case in TABLE if case.then.startswith("restart")]
    bench = start(state, images_dir, cache)
    try:
        bench.prepare()
        for case in cases:
            bench.create(case)
        for case in cases:
            if case.then == "restart":
                bench.until_up(case)
            else:  # it would wait again
                arn = bench.call("Describe", case)[f"{KINDS[case.kind][0]}Arn"]
                bench.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["localaws:fault"])
    finally:
        bench.endpoint.close()
    bench = start(state, images_dir, cache)
    try:
        yield {case: bench.found(case) for case in cases}
    finally:
        bench.endpoint.close()


def check(case: Case, found: tuple[dict[str, Any], bytes | None]) -> None:
    job, left = found
    said = (job[KINDS[case.kind][1]], job.get("SecondaryStatus", ""), left)
    if case.kind == "tuning":
        left = case.left  # its trainings have cases of their own
    assert (said[0], said[1], left) == (case.status, case.secondary, case.left), job.get("FailureReason")
    assert re.fullmatch(case.reason, job.get("FailureReason", "")), job.get("FailureReason")
    assert re.search(f"ValidationException.* in status {case.status}", job.get("Again", "")), "it can be stopped again"
    if case.steps:
        assert tuple(statuses(job)) == case.steps
        assert "TrainingStartTime" not in job


@pytest.mark.executes(
    "CreateTrainingJob", "StopTrainingJob", "CreateProcessingJob", "StopProcessingJob", "CreateTransformJob"
)
@pytest.mark.executes("StopTransformJob")
@pytest.mark.parametrize("case", [c for c in TABLE if not c.then.startswith("restart")], ids=str)
def test_ending(case: Case, results: Results) -> None:
    check(case, results[case])


@pytest.mark.parametrize("case", [c for c in TABLE if c.then.startswith("restart")], ids=str)
def test_ending_by_restart(case: Case, restarted: Results) -> None:
    check(case, restarted[case])


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_holds_every_end_and_no_status_that_the_api_does_not_have(kind: str) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    _, enum, table = KINDS[kind]
    reached = {case.status for case in TABLE if case.kind == kind}
    assert reached == table.terminal
    assert table.statuses <= set(model.shape_for(enum).enum)


def test_the_table_holds_every_secondary_end() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    reached = {case.secondary for case in TABLE if case.kind == "training"}
    assert reached == SECONDARY.terminal
    assert SECONDARY.statuses <= set(model.shape_for("SecondaryStatus").enum)


def test_names_are_unique() -> None:
    assert len({case.name for case in TABLE}) == len(TABLE)
