"""The port: who is let in, which service answers, how refusals look in each protocol, start and end of the server."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from localaws.server import Endpoint, Options, StateInUse
from localaws_tests.conftest import client_of, log_lines, make_image, poll, training_request, wait_for
from localaws_tests.engine.test_runner import running
from localaws_tests.signing import signed_request


def signed(endpoint: Endpoint, target: str, body: bytes, **changes: str) -> AWSRequest:
    """A SageMaker request signed by botocore."""
    env = endpoint.environment()
    request = AWSRequest(
        method="POST",
        url=env["AWS_ENDPOINT_URL"] + "/",
        data=body,
        headers={"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"},
    )
    key = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(key, "sagemaker", "us-east-1").add_auth(request)
    for name, value in changes.items():
        del request.headers[name.replace("_", "-")]
        request.headers[name.replace("_", "-")] = value
    return request


def send(endpoint: Endpoint, request: AWSRequest, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    """Send it with the plainest client there is."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.ctx.config.port)
    prepared = request.prepare()
    connection.request("POST", "/", prepared.body if body is None else body, dict(prepared.headers))
    answer = connection.getresponse()
    data = json.loads(answer.read())
    connection.close()
    return answer.status, data


def test_body_that_is_no_json_and_wrong_types(endpoint: Endpoint) -> None:
    status, data = send(endpoint, signed(endpoint, "SageMaker.ListTrainingJobs", b"{"))
    assert (status, data["__type"]) == (400, "SerializationException")
    status, data = send(endpoint, signed(endpoint, "SageMaker.ListTrainingJobs", b'{"MaxResults": "5"}'))
    assert (status, data["__type"]) == (400, "SerializationException")
    assert "'maxResults' must be an integer, a string was found" in data["message"]


def test_every_broken_constraint_is_listed(endpoint: Endpoint) -> None:
    body = json.dumps({"TrainingJobName": "bad name!", "OutputDataConfig": {"S3OutputPath": "s3://b/x"}}).encode()
    status, data = send(endpoint, signed(endpoint, "SageMaker.CreateTrainingJob", body))
    assert (status, data["__type"]) == (400, "ValidationException")
    assert data["message"].startswith("2 validation errors detected: Value null at 'roleArn' failed to satisfy")
    assert "Value 'bad name!' at 'trainingJobName' failed to satisfy constraint: Member must satisfy" in data["message"]


def test_old_requests_and_foreign_hosts_are_refused(endpoint: Endpoint) -> None:
    old = signed(endpoint, "SageMaker.ListTrainingJobs", b"{}", X_Amz_Date="20200101T000000Z")
    assert send(endpoint, old)[0] == 403
    status, data = send(endpoint, signed(endpoint, "SageMaker.ListTrainingJobs", b"{}", Host="evil.example:4566"))
    assert (status, data["__type"]) == (403, "AccessDeniedException")


@pytest.mark.parametrize(
    ("service", "call", "unknown", "wrong"),
    [
        ("sagemaker", "list_models", "UnrecognizedClientException", "InvalidSignatureException"),
        ("logs", "describe_log_groups", "UnrecognizedClientException", "InvalidSignatureException"),
        ("sts", "get_caller_identity", "InvalidClientTokenId", "SignatureDoesNotMatch"),
        ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    ],
)
def test_wrong_credentials_in_every_protocol(
    endpoint: Endpoint, service: str, call: str, unknown: str, wrong: str
) -> None:
    env = endpoint.environment()
    for key, secret, code in (("AKIAX", "x", unknown), (env["AWS_ACCESS_KEY_ID"], "x", wrong)):
        client = boto3.client(
            service,
            endpoint_url=env["AWS_ENDPOINT_URL"],
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )
        with pytest.raises(ClientError) as refused:
            getattr(client, call)()
        assert refused.value.response["Error"]["Code"] == code
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_without_credentials(endpoint: Endpoint) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(endpoint.environment()["AWS_ENDPOINT_URL"] + "/data/x")
    assert refused.value.code == 403
    assert b"<Code>AccessDenied</Code>" in refused.value.read()
    health = urllib.request.urlopen(endpoint.environment()["AWS_ENDPOINT_URL"] + "/_localaws/health")
    assert json.load(health) == {"status": "ready"}


def test_assumed_role_credentials_work_with_their_token_only(endpoint: Endpoint) -> None:
    role = client_of(endpoint, "sts").assume_role(
        RoleArn="arn:aws:iam::123456789012:role/worker", RoleSessionName="test"
    )["Credentials"]
    for token, allowed in ((role["SessionToken"], True), ("other", False), (None, False)):
        client = boto3.client(
            "sagemaker",
            endpoint_url=endpoint.environment()["AWS_ENDPOINT_URL"],
            aws_access_key_id=role["AccessKeyId"],
            aws_secret_access_key=role["SecretAccessKey"],
            aws_session_token=token,
            region_name="us-east-1",
        )
        if allowed:
            assert client.list_training_jobs()["ResponseMetadata"]["HTTPStatusCode"] == 200
        else:
            with pytest.raises(ClientError, match="security token"):
                client.list_training_jobs()


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls(endpoint: Endpoint, s3: Any, version: str) -> None:
    key = "a b+c=é/x y"
    s3.put_object(Bucket="data", Key=key, Body=b"signed")
    env = endpoint.environment()
    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )
    url = client.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": key})
    assert urllib.request.urlopen(url).read() == b"signed"
    forged = re.sub(r"(Signature=)[^&]{6}", r"\1aaaaaa", url)
    late = client.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": key}, ExpiresIn=-10)
    for bad in (forged, late):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(bad)
        assert refused.value.code == 403


def test_other_services_are_there(endpoint: Endpoint) -> None:
    assert client_of(endpoint, "sts").get_caller_identity()["Account"] == "123456789012"
    # What other tests have made is there too: moto has one state for the whole process.
    assert client_of(endpoint, "iam").list_roles(PathPrefix="/none/")["Roles"] == []
    assert client_of(endpoint, "cloudwatch").list_metrics(Namespace="none")["Metrics"] == []
    assert client_of(endpoint, "events").list_rules(NamePrefix="none")["Rules"] == []


def test_what_no_part_can_do_is_said_at_once(endpoint: Endpoint) -> None:
    """A 500 would be tried again by every client."""
    with pytest.raises(ClientError) as refused:
        client_of(endpoint, "iam").get_context_keys_for_custom_policy(PolicyInputList=["{}"])
    assert refused.value.response["Error"]["Code"] == "InvalidAction"
    assert "get_context_keys_for_custom_policy" in refused.value.response["Error"]["Message"]
    status, data = signed_request(endpoint, "POST", "/NoSuchPath", b"{}")
    assert (status, data["__type"]) == (400, "ValidationException")
    assert "POST /NoSuchPath is not supported" in data["message"]


def test_a_state_directory_has_one_endpoint(start_endpoint: Callable[..., Endpoint], tmp_path: Path) -> None:
    endpoint = start_endpoint(tmp_path / "state")
    with pytest.raises(StateInUse, match="is used by another endpoint"):
        start_endpoint(tmp_path / "state")
    assert (tmp_path / "state/credentials.json").stat().st_mode & 0o777 == 0o600
    endpoint.close()


def test_relative_paths_are_those_of_where_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    endpoint = Endpoint(Options(state=Path("state"), images=(Path("images"),), cache=Path("cache"), grace=2.0))
    endpoint.start()
    try:
        client_of(endpoint, "s3").create_bucket(Bucket="data")
        sagemaker = client_of(endpoint, "sagemaker")
        sagemaker.create_training_job(**training_request("relative", "print('ran')"))
        wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName="relative")
        assert "ran" in log_lines(client_of(endpoint, "logs"), "/aws/sagemaker/TrainingJobs", "relative")
    finally:
        endpoint.close()


def test_restart_keeps_everything(start_endpoint: Callable[..., Endpoint], tmp_path: Path) -> None:
    first = start_endpoint(tmp_path / "state", jobs=1)
    sagemaker = client_of(first, "sagemaker")
    client_of(first, "s3").create_bucket(Bucket="data")
    hang = "import time; print('up', flush=True); time.sleep(600)"
    arn = sagemaker.create_training_job(
        **training_request("done", "print('a line')", Tags=[{"Key": "a", "Value": "b"}])
    )["TrainingJobArn"]
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName="done")
    before = sagemaker.describe_training_job(TrainingJobName="done")
    sagemaker.create_training_job(**training_request("ran", hang))
    poll(lambda: "up" in log_lines(client_of(first, "logs"), "/aws/sagemaker/TrainingJobs", "ran"))
    sagemaker.create_training_job(**training_request("waited", "print('later')"))
    first.close()

    second = start_endpoint(tmp_path / "state")
    sagemaker = client_of(second, "sagemaker")
    after = sagemaker.describe_training_job(TrainingJobName="done")
    del before["ResponseMetadata"], after["ResponseMetadata"]
    assert after == before
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "a", "Value": "b"}]
    assert log_lines(client_of(second, "logs"), "/aws/sagemaker/TrainingJobs", "done")[0] == "a line"
    ran = sagemaker.describe_training_job(TrainingJobName="ran")
    assert (ran["TrainingJobStatus"], ran["SecondaryStatus"]) == ("Failed", "Failed")
    assert "was stopped while this job ran" in ran["FailureReason"]
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName="waited")
    assert sagemaker.describe_training_job(TrainingJobName="waited")["TrainingJobStatus"] == "Completed"
    second.close()


Start = Callable[..., tuple[subprocess.Popen[str], dict[str, str]]]


@pytest.fixture
def start_program(images_dir: Path) -> Iterator[Start]:
    """The command line as a user starts it, and what its `export` lines say; what is left over is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(
        state: Path, *options: str, log: Any = subprocess.DEVNULL
    ) -> tuple[subprocess.Popen[str], dict[str, str]]:
        argv = ["-m", "localaws", "--port", "0", "--state", str(state), "--images", str(images_dir), *options]
        server = subprocess.Popen([sys.executable, *argv], stdout=subprocess.PIPE, stderr=log, text=True)
        started.append(server)
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(4)]
        found = dict(re.fullmatch(r"export (\w+)=(.+)\n", line).groups() for line in lines)  # type: ignore[union-attr]
        return server, found

    yield start
    for server in started:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def client_from(env: dict[str, str], service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
        config=Config(s3={"addressing_style": "path"}),
    )


def test_program_ends_cleanly_and_after_kill_nothing_is_left(start_program: Start, tmp_path: Path) -> None:
    seconds = f"6{os.getpid()}.{int.from_bytes(os.urandom(3), 'big')}"
    script = f"import subprocess; subprocess.run(['sleep', '{seconds}'])"
    for number, how in enumerate((signal.SIGTERM, signal.SIGKILL)):
        server, env = start_program(tmp_path / "state")
        sagemaker = client_from(env, "sagemaker")
        if not number:
            client_from(env, "s3").create_bucket(Bucket="data")
        sagemaker.create_training_job(**training_request(f"job{number}", script))
        poll(lambda: running(seconds))
        server.send_signal(how)
        assert server.wait(240) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
        poll(lambda: not running(seconds))
    server, env = start_program(tmp_path / "state")
    sagemaker = client_from(env, "sagemaker")
    reasons = [sagemaker.describe_training_job(TrainingJobName=f"job{n}")["FailureReason"] for n in range(2)]
    assert "was stopped while this job ran" in reasons[0]
    assert "ended unexpectedly while this job ran" in reasons[1]
    server.terminate()
    assert server.wait(240) == 0


def test_the_log_as_json_holds_every_request_and_no_secret(start_program: Start, tmp_path: Path) -> None:
    options = ("--json", "--quota", "ml.m5.large/training=0", "--cpus", "2", "--memory", "4", "--cold")
    with (tmp_path / "log").open("w") as log:
        server, env = start_program(tmp_path / "state", *options, log=log)
        s3, sagemaker = client_from(env, "s3"), client_from(env, "sagemaker")
        s3.create_bucket(Bucket="data")
        with pytest.raises(ClientError, match="account-level service limit"):
            sagemaker.create_training_job(**training_request("over-quota"))
        url = s3.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": "absent"})
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(url)
        client_from(env, "sts").get_caller_identity()
        server.terminate()
        assert server.wait(240) == 0
    text = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    asked = [line for line in lines if line["logger"] == "localaws.access"]
    assert [(line["operation"], line["method"], line["status"]) for line in asked] == [
        ("s3:CreateBucket", "PUT", 200),
        ("CreateTrainingJob", "POST", 400),
        ("s3:GetObject", "GET", 404),
        ("sts:GetCallerIdentity", "POST", 200),
    ]
    assert env["AWS_SECRET_ACCESS_KEY"] not in text
    assert "Signature" not in text
    assert "AWSAccessKeyId" not in text
