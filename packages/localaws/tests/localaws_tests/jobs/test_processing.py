"""Processing jobs through boto3: files in, a program, files out, messages, limits and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, WaiterError

from localaws.jobs import s3data
from localaws.quotas import Quotas
from localaws.server import Endpoint
from localaws_tests.conftest import IMAGE_URI, ROLE, client_of, log_lines, need_namespaces, poll, wait_for
from localaws_tests.job_helpers import keys
from localaws_tests.jobs.tampering import TAMPER

GROUP = "/aws/sagemaker/ProcessingJobs"
HERE = "/opt/ml/processing"


PRELUDE = """
import json, os, pathlib, sys, time
root = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
"""


def create(s3: Any, sagemaker: Any, name: str, script: str, **changes: Any) -> None:
    """Create a job whose program is `script`; it gets there as the input `code`, like a real one."""
    s3.put_object(Bucket="data", Key=f"code/{name}/job.py", Body=(PRELUDE + script).encode())
    request = request_of(name, **changes)
    request["ProcessingInputs"] = [
        source("code", f"s3://data/code/{name}/job.py"), *request.get("ProcessingInputs", ()),
    ]  # fmt: skip
    request["AppSpecification"]["ContainerEntrypoint"] = ["python3", f"{HERE}/input/code/job.py"]
    sagemaker.create_processing_job(**request)


def request_of(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "ProcessingJobName": name,
        "AppSpecification": {"ImageUri": IMAGE_URI},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        **changes,
    }


def source(name: str, uri: str, **changes: Any) -> dict[str, Any]:
    s3 = {
        "S3Uri": uri, "LocalPath": f"{HERE}/input/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File",
        **changes,
    }  # fmt: skip
    return {"InputName": name, "S3Input": s3}


def result(name: str, uri: str, **changes: Any) -> dict[str, Any]:
    s3 = {"S3Uri": uri, "LocalPath": f"{HERE}/output/{name}", "S3UploadMode": "EndOfJob", **changes}
    return {"OutputName": name, "S3Output": s3}


def finished(sagemaker: Any, name: str) -> dict[str, Any]:
    wait_for(sagemaker, "processing_job_completed_or_stopped", ProcessingJobName=name)
    return sagemaker.describe_processing_job(ProcessingJobName=name)


def failed(sagemaker: Any, name: str) -> dict[str, Any]:
    with pytest.raises(WaiterError, match="Failed"):
        wait_for(sagemaker, "processing_job_completed_or_stopped", ProcessingJobName=name)
    return sagemaker.describe_processing_job(ProcessingJobName=name)


@pytest.mark.executes("CreateProcessingJob")
def test_job_reads_inputs_and_writes_outputs(sagemaker: Any, s3: Any, logs: Any, name: str) -> None:
    s3.put_object(Bucket="data", Key=f"{name}/raw.csv", Body=b"a\nb\n")
    script = """
lines = pathlib.Path(root / 'processing/input/raw/raw.csv').read_text().splitlines()
out = pathlib.Path(root / 'processing/output/rows')
(out / 'deep').mkdir()
(out / 'deep/rows.txt').write_text(str(len(lines)))
(out / 'link').symlink_to('/etc/hostname')
job = json.loads(pathlib.Path(root / 'config/processingjobconfig.json').read_text())
hosts = json.loads(pathlib.Path(root / 'config/resourceconfig.json').read_text())['hosts']
print(job['ProcessingJobName'] == os.environ['PROCESSING_JOB_NAME'], hosts, os.environ['EXTRA'], sys.argv[1:])
print('to the error stream', file=sys.stderr)
pathlib.Path(root / 'output/message').write_text('two rows')
"""
    app = {"ImageUri": IMAGE_URI, "ContainerArguments": ["--rows", "all"]}
    create(
        s3, sagemaker, name, script,
        AppSpecification=app,
        ProcessingInputs=[source("raw", f"s3://data/{name}/raw.csv")],
        ProcessingOutputConfig={"Outputs": [result("rows", f"s3://data/{name}/out")]},
        Environment={"EXTRA": "yes"},
    )  # fmt: skip

    job = finished(sagemaker, name)

    assert job["ProcessingJobStatus"] == "Completed"
    assert job["ExitMessage"] == "two rows"
    assert job["CreationTime"] <= job["ProcessingStartTime"] <= job["ProcessingEndTime"]
    assert job["ProcessingInputs"][1] == source("raw", f"s3://data/{name}/raw.csv")
    listed = s3.list_objects_v2(Bucket="data", Prefix=f"{name}/out/")["Contents"]
    assert [o["Key"] for o in listed] == [f"{name}/out/deep/rows.txt"]
    assert s3.get_object(Bucket="data", Key=f"{name}/out/deep/rows.txt")["Body"].read() == b"2"
    assert log_lines(logs, GROUP, name) == ["True ['algo-1'] yes ['--rows', 'all']", "to the error stream"]


def test_image_program_runs_without_an_entry_point(sagemaker: Any, logs: Any, name: str) -> None:
    request = request_of(name)
    request["AppSpecification"]["ContainerArguments"] = ["x"]
    sagemaker.create_processing_job(**request)
    finished(sagemaker, name)
    assert log_lines(logs, GROUP, name) == ["process x"]


def test_exit_message_and_exit_code(sagemaker: Any, s3: Any, name: str) -> None:
    script = """
pathlib.Path(root / 'output/message').write_text("column 'age' holds text")
pathlib.Path(root / 'processing/output/rows/part').write_text('half')
sys.exit(1)
"""
    outputs = {"Outputs": [result("rows", f"s3://data/{name}")]}
    create(s3, sagemaker, name, script, ProcessingOutputConfig=outputs)
    job = failed(sagemaker, name)
    assert job["ExitMessage"] == "column 'age' holds text"
    assert job["FailureReason"].endswith("exit code: 1")
    assert "Contents" not in s3.list_objects_v2(Bucket="data", Prefix=f"{name}/")


def test_network_isolation(endpoint: Any, sagemaker: Any, s3: Any, logs: Any, name: str) -> None:
    need_namespaces(endpoint)
    script = """
import socket, urllib.parse
where = urllib.parse.urlsplit(os.environ['AWS_ENDPOINT_URL'])
print(socket.socket().connect_ex((where.hostname, where.port)) != 0)
"""
    for isolated in (True, False):
        job = f"{name[:50]}-{int(isolated)}"
        network = {"EnableNetworkIsolation": isolated}
        create(s3, sagemaker, job, script, NetworkConfig=network)
        finished(sagemaker, job)
        assert log_lines(logs, GROUP, job) == [str(isolated)]


@pytest.mark.parametrize(("limit", "said"), [(3, "refused"), (4, "done")])  # bytes: the object has four
def test_the_object_stays_whole_whatever_is_done_to_an_input(
    endpoint: Any, sagemaker: Any, s3: Any, logs: Any, name: str, monkeypatch: pytest.MonkeyPatch, limit: int, said: str
) -> None:
    need_namespaces(endpoint)
    s3.put_object(Bucket="data", Key=f"{name}/raw.csv", Body=b"kept")
    script = TAMPER + "print(tampered(root / 'processing/input/raw/raw.csv'))"
    monkeypatch.setattr(s3data, "COPIED", limit)
    create(s3, sagemaker, name, script, ProcessingInputs=[source("raw", f"s3://data/{name}/raw.csv")], **several(2))
    finished(sagemaker, name)
    assert log_lines(logs, GROUP, name) == [str([said])] * 2
    assert s3.get_object(Bucket="data", Key=f"{name}/raw.csv")["Body"].read() == b"kept"


@pytest.mark.parametrize(
    ("places", "said"),
    [(("all", "all"), "refused"), (("all/deep", "all"), "refused"), (("all", "all/deep"), "done")],
)
def test_the_objects_stay_whole_when_inputs_share_a_directory(
    endpoint: Any, sagemaker: Any, s3: Any, logs: Any, name: str, monkeypatch: pytest.MonkeyPatch,
    places: tuple[str, str], said: str,
) -> None:  # fmt: skip
    """Each alone is small; what lies below an input's directory already counts with it."""
    need_namespaces(endpoint)
    inputs = []
    for number, place in enumerate(places):
        s3.put_object(Bucket="data", Key=f"{name}/{number}.csv", Body=b"kept")
        local = f"{HERE}/input/{place}/"
        inputs.append(source(str(number), f"s3://data/{name}/{number}.csv", LocalPath=local))
    files = [f"processing/input/{place}/{number}.csv" for number, place in enumerate(places)]
    script = TAMPER + f"print([tampered(root / file) for file in {files}])"
    monkeypatch.setattr(s3data, "COPIED", 6)
    create(s3, sagemaker, name, script, ProcessingInputs=inputs)
    finished(sagemaker, name)
    assert log_lines(logs, GROUP, name) == [str([[said]] * 2)]
    for number in range(2):
        assert s3.get_object(Bucket="data", Key=f"{name}/{number}.csv")["Body"].read() == b"kept"


def test_an_input_that_cannot_be_read_only_here_is_there(
    start_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3data, "COPIED", 0)
    endpoint = start_endpoint(sandbox="none")
    sagemaker, s3 = client_of(endpoint, "sagemaker"), client_of(endpoint, "s3")
    s3.create_bucket(Bucket="data")
    create(s3, sagemaker, "none", "print('ran')")
    finished(sagemaker, "none")
    assert log_lines(client_of(endpoint, "logs"), GROUP, "none") == ["ran"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ProcessingInputs": [source("a", "s3://data/x", S3InputMode="Pipe")]}, "S3InputMode Pipe is not supported"),
        ({"ProcessingInputs": [source("a", "s3://data/x", LocalPath="/tmp/x")]}, "below /opt/ml"),
        ({"ProcessingInputs": [source("a", "s3://data/x", LocalPath="/opt/ml/code")]}, "under /opt/ml/processing"),
        ({"ProcessingInputs": [{"InputName": "a", "AppManaged": True}]}, "AppManaged is not supported"),
        (
            {"ProcessingInputs": [source("a", "s3://data/x", S3CompressionType="Gzip")]},
            "S3CompressionType Gzip is not possible with File",
        ),
        (
            {"ProcessingInputs": [source("a", "s3://data/x")] * 2},
            "'a' is given to more than one",
        ),
        ({"ProcessingInputs": [{"InputName": "a"}]}, "has no S3Input"),
        ({"AppSpecification": {"ImageUri": "nobody/knows:1"}}, "No local image answers to 'nobody/knows:1'"),
    ],
)
def test_what_would_be_broken_is_refused(sagemaker: Any, changes: dict[str, Any], text: str, name: str) -> None:
    with pytest.raises(ClientError) as refused:
        sagemaker.create_processing_job(**request_of(name, **changes))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert text in refused.value.response["Error"]["Message"]


@pytest.mark.executes("DeleteProcessingJob")
def test_missing_duplicate_and_delete(sagemaker: Any, name: str) -> None:
    with pytest.raises(ClientError) as missing:
        sagemaker.describe_processing_job(ProcessingJobName=name)
    assert missing.value.response["Error"]["Code"] == "ValidationException"
    sagemaker.create_processing_job(**request_of(name))
    with pytest.raises(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_processing_job(**request_of(name))
    finished(sagemaker, name)
    sagemaker.delete_processing_job(ProcessingJobName=name)
    with pytest.raises(sagemaker.exceptions.ResourceNotFound):
        sagemaker.delete_processing_job(ProcessingJobName=name)


def test_manifest_input(sagemaker: Any, s3: Any, logs: Any, name: str) -> None:
    s3.put_object(Bucket="data", Key=f"{name}/part 1.csv", Body=b"1")
    manifest = json.dumps([{"prefix": f"s3://data/{name}/"}, "part 1.csv"]).encode()
    s3.put_object(Bucket="data", Key=f"{name}/list", Body=manifest)
    given = source("raw", f"s3://data/{name}/list", S3DataType="ManifestFile")
    script = "print(os.listdir(root / 'processing/input/raw'))"
    create(s3, sagemaker, name, script, ProcessingInputs=[given])
    finished(sagemaker, name)
    assert log_lines(logs, GROUP, name) == ["['part 1.csv']"]


def several(count: int) -> dict[str, Any]:
    return {
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": count, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        }
    }


@pytest.mark.executes("CreateProcessingJob", "DescribeProcessingJob")
@pytest.mark.usefixtures("namespaces")
def test_hosts_share_sharded_input_and_upload_to_one_prefix(sagemaker: Any, s3: Any, name: str) -> None:
    for number in range(5):
        s3.put_object(Bucket="data", Key=f"{name}/in/{number}", Body=str(number).encode())
    script = """
host = json.loads((root / 'config/resourceconfig.json').read_text())['current_host']
text = ''.join(p.read_text() for p in sorted((root / 'processing/input/raw').iterdir()))
(root / 'processing/output/rows' / host).write_text(text)
if host == 'algo-2': (root / 'output/message').write_text('from the second')
"""
    create(
        s3, sagemaker, name, script,
        ProcessingInputs=[source("raw", f"s3://data/{name}/in/", S3DataDistributionType="ShardedByS3Key")],
        ProcessingOutputConfig={"Outputs": [result("rows", f"s3://data/{name}/out")]},
        **several(2),
    )  # fmt: skip
    assert finished(sagemaker, name)["ExitMessage"] == "from the second"
    found = {key: s3.get_object(Bucket="data", Key=key)["Body"].read() for key in keys(s3, f"{name}/out/")}
    assert found == {f"{name}/out/algo-1": b"024", f"{name}/out/algo-2": b"13"}


@pytest.mark.usefixtures("namespaces")
def test_failure_of_one_host_fails_the_job(sagemaker: Any, s3: Any, name: str) -> None:
    script = """
if os.environ['CURRENT_HOST'] == 'algo-2': sys.exit(9)
time.sleep(600)
"""
    create(s3, sagemaker, name, script, **several(2))
    assert failed(sagemaker, name)["FailureReason"].endswith("exit code: 9")


def test_continuous_output_is_in_s3_while_the_job_runs_and_stays_when_it_fails(
    endpoint: Endpoint, sagemaker: Any, s3: Any, name: str
) -> None:
    script = """
(root / 'processing/output/rows/first').write_text('1')
while not (root / 'go').exists(): time.sleep(0.02)
sys.exit(7)
"""
    outputs = [
        result("rows", f"s3://data/{name}/rows", S3UploadMode="Continuous"),
        result("end", f"s3://data/{name}/end"),
    ]
    create(s3, sagemaker, name, script, ProcessingOutputConfig={"Outputs": outputs})
    poll(lambda: keys(s3, f"{name}/rows/") == [f"{name}/rows/first"])
    (endpoint.ctx.config.state / "jobs" / "processing-job" / name / "algo-1" / "ml" / "go").touch()
    assert failed(sagemaker, name)["FailureReason"].endswith("exit code: 7")
    assert keys(s3, f"{name}/") == [f"{name}/rows/first"]


def test_isolated_hosts_are_refused(sagemaker: Any, name: str) -> None:
    with pytest.raises(ClientError, match="for jobs of more than 1 instance"):
        sagemaker.create_processing_job(
            **request_of(name, NetworkConfig={"EnableNetworkIsolation": True}, **several(2))
        )


@pytest.mark.usefixtures("namespaces")
def test_quota_of_instances(start_endpoint: Callable[..., Endpoint]) -> None:
    """Two jobs of two instances do not fit into three."""
    endpoint = start_endpoint(quotas=Quotas.parse(["ml.m5.large/processing=3"]))
    client = client_of(endpoint, "sagemaker")
    slow = {"Tags": [{"Key": "localaws:fault", "Value": "slow-start=3600"}]}
    client.create_processing_job(**request_of("one", **several(2), **slow))
    with pytest.raises(client.exceptions.ResourceLimitExceeded, match="current utilization of 2 Instances"):
        client.create_processing_job(**request_of("two", **several(2)))
    client.stop_processing_job(ProcessingJobName="one")
    assert finished(client, "one")["ProcessingJobStatus"] == "Stopped"
    client.create_processing_job(**request_of("two", **several(2)))
