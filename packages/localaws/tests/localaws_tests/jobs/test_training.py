"""Training jobs through boto3: a real program, its files, log, metrics, status and every bad ending."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.engine.images import Image, ImageError
from localaws.jobs import s3data
from localaws.jobs.outcome import said
from localaws.jobs.training_steps import STEPS
from localaws.server import Endpoint
from localaws_tests.conftest import channel, client_of, log_lines, training_request
from localaws_tests.job_helpers import HANG, TRAINING_LOGS, failed, finished, keys, unpacked, until_line

pytestmark = pytest.mark.usefixtures("s3")  # jobs store their models in its bucket

NO_MODEL = "WARNING: no model artifact is saved under /opt/ml/model: none is uploaded"


@pytest.mark.executes("CreateTrainingJob", "DescribeTrainingJob")
def test_job_reads_channels_writes_model_and_reports(sagemaker: Any, s3: Any, logs: Any, name: str) -> None:
    s3.put_object(Bucket="data", Key=f"{name}/train/a.csv", Body=b"1,2\n")
    s3.put_object(Bucket="data", Key=f"{name}/train/sub/b.csv", Body=b"3,4\n")
    script = """
data = root / "input/data/train"
print("found", sorted(p.relative_to(data).as_posix() for p in data.rglob("*.csv")))
for auc in (0.5, 0.75): print(f"[0] validation-auc:{auc} loss={1 - auc}")
config = json.loads((root / "input/config/inputdataconfig.json").read_text())
(root / "model/model.txt").write_text(json.dumps([config, os.environ["TRAINING_JOB_NAME"], os.environ["EXTRA"]]))
(root / "output/data/notes.txt").write_text("notes")
"""
    request = training_request(
        name,
        script,
        InputDataConfig=[{**channel("train", f"s3://data/{name}/train/"), "ContentType": "text/csv"}],
        Environment={"EXTRA": "yes"},
        Tags=[{"Key": "team", "Value": "a"}],
    )
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    arn = sagemaker.create_training_job(**request)["TrainingJobArn"]

    job = finished(sagemaker, name)

    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    assert [s["Status"] for s in job["SecondaryStatusTransitions"]] == [*STEPS, "Completed"]
    for step, after in zip(job["SecondaryStatusTransitions"], job["SecondaryStatusTransitions"][1:], strict=False):
        assert step["StartTime"] <= step["EndTime"] == after["StartTime"]
    assert job["TrainingTimeInSeconds"] == job["BillableTimeInSeconds"] >= 1
    metrics = {m["MetricName"]: round(m["Value"], 6) for m in job["FinalMetricDataList"]}
    assert metrics == {"validation:auc": 0.75, "loss": 0.25}
    model = unpacked(s3, job["ModelArtifacts"]["S3ModelArtifacts"])
    config, said_name, extra = json.loads(model["model.txt"])
    assert config["train"]["ContentType"] == "text/csv"
    assert (said_name, extra) == (name, "yes")
    assert unpacked(s3, f"s3://data/models/{name}/output/output.tar.gz") == {"notes.txt": b"notes"}
    assert log_lines(logs, TRAINING_LOGS, name)[0] == "found ['a.csv', 'sub/b.csv']"
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "team", "Value": "a"}]


def test_metrics_are_in_cloudwatch(endpoint: Endpoint, sagemaker: Any, name: str) -> None:
    sagemaker.create_training_job(**training_request(name, "print('validation-auc:0.625')"))
    job = finished(sagemaker, name)
    answer = client_of(endpoint, "cloudwatch").get_metric_statistics(
        Namespace=TRAINING_LOGS,
        MetricName="validation:auc",
        Dimensions=[{"Name": "TrainingJobName", "Value": name}],
        StartTime=job["CreationTime"].timestamp() - 60,
        EndTime=job["TrainingEndTime"].timestamp() + 60,
        Period=60,
        Statistics=["Maximum"],
    )
    assert [p["Maximum"] for p in answer["Datapoints"]] == [0.625]


def test_manifest_channel(sagemaker: Any, s3: Any, logs: Any, name: str) -> None:
    s3.put_object(Bucket="data", Key=f"{name}/x/1.csv", Body=b"1")
    s3.put_object(Bucket="data", Key=f"{name}/x/2.csv", Body=b"2")
    manifest = json.dumps([{"prefix": f"s3://data/{name}/"}, "x/2.csv"])
    s3.put_object(Bucket="data", Key=f"{name}/list.manifest", Body=manifest.encode())
    uri = f"s3://data/{name}/list.manifest"
    script = "print([p.as_posix() for p in (root / 'input/data/train').rglob('*.csv')][0][-7:])"
    request = training_request(name, script, InputDataConfig=[channel("train", uri, "ManifestFile")])
    sagemaker.create_training_job(**request)
    finished(sagemaker, name)
    assert log_lines(logs, TRAINING_LOGS, name) == ["x/2.csv", NO_MODEL]


def test_a_manifest_that_is_too_large_is_not_read(
    sagemaker: Any, s3: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3data, "LARGEST", 1000)
    s3.put_object(Bucket="data", Key=f"{name}/list", Body=b" " * 1001)
    uri = f"s3://data/{name}/list"
    sagemaker.create_training_job(**training_request(name, InputDataConfig=[channel("train", uri, "ManifestFile")]))
    reason = f"ClientError: Data download failed: the manifest {uri} has 1001 bytes, more than the 1000 allowed"
    assert failed(sagemaker, name)["FailureReason"] == reason


@pytest.mark.parametrize("form", ["GZIP", "NONE"])
@pytest.mark.parametrize("script", ["", "import shutil; shutil.rmtree(root / 'model')"])
def test_a_job_without_a_model_completes_and_uploads_none(
    sagemaker: Any, s3: Any, logs: Any, name: str, script: str, form: str
) -> None:
    output = {"S3OutputPath": "s3://data/models", "CompressionType": form}
    sagemaker.create_training_job(**training_request(name, script, OutputDataConfig=output))
    job = finished(sagemaker, name)
    assert job["TrainingJobStatus"] == "Completed"
    assert job["ModelArtifacts"]["S3ModelArtifacts"].startswith(f"s3://data/models/{name}/output/model")
    assert keys(s3, f"models/{name}/") == []
    assert log_lines(logs, TRAINING_LOGS, name) == [NO_MODEL]


def test_an_archive_of_a_directory_that_is_gone_is_empty(tmp_path: Path) -> None:
    with tarfile.open(s3data.pack(tmp_path / "gone", tmp_path / "model.tar.gz")) as archive:
        assert archive.getnames() == []


def test_a_reason_names_no_path_of_the_machine(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone") as caught:
        (tmp_path / "gone").read_bytes()
    assert said(caught.value) == "No such file or directory"
    assert said(shutil.Error([("/a", "/b", "c")])) == "see the endpoint's log"
    assert said(ValueError("as it is")) == "as it is"


def test_a_stop_that_comes_before_the_job_is_in_the_schedule_counts(
    endpoint: Endpoint, sagemaker: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = endpoint.ctx.jobs.submit

    def late(*arguments: Any) -> Any:
        client_of(endpoint, "sagemaker").stop_training_job(TrainingJobName=name)
        return submit(*arguments)

    monkeypatch.setattr(endpoint.ctx.jobs, "submit", late)
    sagemaker.create_training_job(**training_request(name, HANG))
    assert finished(sagemaker, name)["TrainingJobStatus"] == "Stopped"


def test_jobs_beyond_the_limit_wait_and_can_be_stopped_while_they_wait(start_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = start_endpoint(jobs=1)
    sagemaker, logs = client_of(endpoint, "sagemaker"), client_of(endpoint, "logs")
    client_of(endpoint, "s3").create_bucket(Bucket="data")
    for number, script in enumerate((HANG, "", "")):
        sagemaker.create_training_job(**training_request(f"j{number}", script))
    until_line(logs, "j0", "up")
    waiting = sagemaker.describe_training_job(TrainingJobName="j1")
    assert (waiting["TrainingJobStatus"], waiting["SecondaryStatus"]) == ("InProgress", "Starting")
    sagemaker.stop_training_job(TrainingJobName="j1")
    stopped = finished(sagemaker, "j1")
    assert stopped["TrainingJobStatus"] == "Stopped"
    assert "TrainingStartTime" not in stopped
    sagemaker.stop_training_job(TrainingJobName="j0")
    assert finished(sagemaker, "j2")["TrainingJobStatus"] == "Completed"


def test_uncompressed_model(sagemaker: Any, s3: Any, name: str) -> None:
    output = {"S3OutputPath": "s3://data/models", "CompressionType": "NONE"}
    script = "(root / 'model/a').mkdir(); (root / 'model/a/b').write_text('b')"
    sagemaker.create_training_job(**training_request(name, script, OutputDataConfig=output))
    job = finished(sagemaker, name)
    assert job["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://data/models/{name}/output/model/"
    assert s3.get_object(Bucket="data", Key=f"models/{name}/output/model/a/b")["Body"].read() == b"b"


@pytest.mark.executes("DeleteTrainingJob")
def test_duplicate_missing_and_delete(sagemaker: Any, name: str) -> None:
    sagemaker.create_training_job(**training_request(name))
    with pytest.raises(sagemaker.exceptions.ResourceInUse, match="already exists"):
        sagemaker.create_training_job(**training_request(name))
    finished(sagemaker, name)
    sagemaker.delete_training_job(TrainingJobName=name)
    with pytest.raises(ClientError) as missing:
        sagemaker.describe_training_job(TrainingJobName=name)
    assert missing.value.response["Error"]["Code"] == "ValidationException"
    assert missing.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.delete_training_job(TrainingJobName=name)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds. It must be present"),
        (
            {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}},
            "It is only supported when EnableManagedSpotTraining is set to true",
        ),
        (
            {
                "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 8},
                "EnableManagedSpotTraining": True,
            },
            "greater than or equal to MaxRuntimeInSeconds",
        ),
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 0}}, "at least 1 instance"),
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 101}}, "at most 100 for one job"),
        ({"ResourceConfig": {"InstanceCount": 1}}, "ResourceConfig.InstanceType is required"),
        (
            {
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
                "EnableNetworkIsolation": True,
            },
            "for jobs of more than 1 instance",
        ),
        ({"CheckpointConfig": {"S3Uri": "s3://data/c", "LocalPath": "/tmp/c"}}, "below /opt/ml"),
        ({"CheckpointConfig": {"S3Uri": "s3://data/c", "LocalPath": "/opt/ml/model/c"}}, "has another use"),
        ({"DebugHookConfig": {"S3OutputPath": "s3://data/c"}}, "DebugHookConfig is not supported"),
        ({"TensorBoardOutputConfig": {"S3OutputPath": "s3://data/c"}}, "TensorBoardOutputConfig is not supported"),
        (
            {
                "ResourceConfig": {"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
                "StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxPendingTimeInSeconds": 7200},
            },
            "MaxPendingTimeInSeconds is not supported",
        ),
        (
            {"AlgorithmSpecification": {"TrainingImage": "other:1", "TrainingInputMode": "File"}},
            "No local image answers to 'other:1'",
        ),
        (
            {"InputDataConfig": [{**channel("train", "s3://data/x"), "CompressionType": "Gzip"}]},
            "CompressionType Gzip is not possible with input mode File",
        ),
        (
            {"InputDataConfig": [{**channel("train", "s3://data/x"), "RecordWrapperType": "RecordIO"}]},
            "RecordWrapperType RecordIO is not possible with input mode File",
        ),
        (
            {"InputDataConfig": [channel("train", "s3://data/x", "AugmentedManifestFile")]},
            "AugmentedManifestFile can only be used with input mode Pipe",
        ),
        ({"InputDataConfig": [channel("train", "s3://data/x")] * 2}, "two channels of the same name"),
        ({"OutputDataConfig": {"S3OutputPath": "https://data/x"}}, "not of the form s3://bucket/key"),
    ],
)
def test_what_would_be_broken_is_refused(sagemaker: Any, changes: dict[str, Any], text: str, name: str) -> None:
    with pytest.raises(ClientError) as refused:
        sagemaker.create_training_job(**training_request(name, **changes))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert text in refused.value.response["Error"]["Message"]


def test_isolation_that_this_machine_cannot_give_is_refused(start_endpoint: Callable[..., Endpoint], name: str) -> None:
    endpoint = start_endpoint(sandbox="none")
    with pytest.raises(ClientError, match="EnableNetworkIsolation is not possible here"):
        client_of(endpoint, "sagemaker").create_training_job(**training_request(name, EnableNetworkIsolation=True))


def test_environment_that_cannot_be_built_fails_the_job_with_the_sentence(
    sagemaker: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Image) -> Path:
        raise ImageError("image tiny cannot be built: no wheel")

    monkeypatch.setattr(Image, "environment", broken)
    sagemaker.create_training_job(**training_request(name))
    assert failed(sagemaker, name)["FailureReason"] == "ClientError: image tiny cannot be built: no wheel"


def test_many_jobs_at_once_are_all_done(start_endpoint: Callable[..., Endpoint]) -> None:
    """None is lost, none runs twice."""
    endpoint = start_endpoint(jobs=4)
    sagemaker, s3 = client_of(endpoint, "sagemaker"), client_of(endpoint, "s3")
    s3.create_bucket(Bucket="data")
    names = [f"job{n:02d}" for n in range(30)]
    for each in names:
        request = training_request(each, "print('once')")
        request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["echo", "once"]
        sagemaker.create_training_job(**request)
    for each in names:
        assert finished(sagemaker, each)["TrainingJobStatus"] == "Completed"
    logs = client_of(endpoint, "logs")
    assert [log_lines(logs, TRAINING_LOGS, each) for each in names] == [["once", NO_MODEL]] * len(names)


@pytest.mark.parametrize("folder", ["model", "output/data", "checkpoints"])
def test_a_link_in_the_place_of_a_directory_is_not_followed(sagemaker: Any, s3: Any, name: str, folder: str) -> None:
    """The endpoint reads outside the sandbox: a link would give away files of the machine."""
    script = f"import shutil; shutil.rmtree(root / '{folder}'); (root / '{folder}').symlink_to('/etc')"
    config = {"S3Uri": f"s3://data/{name}/checkpoints"}
    sagemaker.create_training_job(**training_request(name, script, CheckpointConfig=config))
    reason = failed(sagemaker, name)["FailureReason"]
    assert reason == f"ClientError: /opt/ml/{folder} is or lies behind a symbolic link: it is not uploaded"
    assert keys(s3, f"{name}/") == keys(s3, f"models/{name}/") == []


def test_a_link_in_the_place_of_the_failure_file_is_not_read(sagemaker: Any, name: str) -> None:
    script = "(root / 'output/failure').symlink_to('/etc/hostname'); sys.exit(1)"
    sagemaker.create_training_job(**training_request(name, script))
    assert failed(sagemaker, name)["FailureReason"].startswith("AlgorithmError: Please refer to the job's logs")
