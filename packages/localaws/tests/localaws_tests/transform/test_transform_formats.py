"""Transform jobs, end to end: JSON, binary records, manifests, several instances, capture, faults and quotas."""

from __future__ import annotations

import gzip
import json
import re
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws_tests import serving_fixtures
from localaws_tests.conftest import need_namespaces
from localaws_tests.serving_fixtures import BUCKET, ROLE, Server
from localaws_tests.transform.test_record_split import recordio_of
from localaws_tests.transform.test_transform import LINE, request, run

server = serving_fixtures.server
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/batch:1"
JSON = {"ContentType": "application/json"}
LINES = {"ContentType": "application/jsonlines", **LINE}
ASSEMBLE = {"AssembleWith": "Line"}


@pytest.fixture(scope="module", autouse=True)
def model(server: Server) -> None:
    server.create_model("doubler", 2)
    server.sagemaker.create_model(ModelName="summer", PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE)


def summed(server: Server, name: str, files: dict[str, bytes], **more: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    return run(server, name, files, **{"ModelName": "summer", **more})


@pytest.mark.executes("CreateTransformJob")
@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_json_lines_are_filtered_joined_and_filtered_again(server: Server, strategy: str) -> None:
    """The example of the developer guide: an id that the model does not see stands beside its prediction."""
    records = b'{"id": "a", "features": [1, 2]}\n{"id": "b", "features": [3], "more": "\xc3\xa9"}\n'
    job, outputs = summed(
        server,
        f"json-lines-{strategy.lower()}",
        {"a.jsonl": records},
        BatchStrategy=strategy,
        TransformInput=LINES,
        TransformOutput=ASSEMBLE,
        DataProcessing={
            "InputFilter": "$.features", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']",
        },
    )  # fmt: skip
    assert job["TransformJobStatus"] == "Completed"
    assert outputs == {
        "a.jsonl.out": b'{"id":"a","SageMakerOutput":{"sum":3}}\n{"id":"b","SageMakerOutput":{"sum":3}}\n'
    }


@pytest.mark.parametrize(
    ("name", "body", "processing", "expected"),
    [
        ("object", b'{"key": 1}', {"JoinSource": "Input"}, {"key": 1, "SageMakerOutput": {"sum": 1}}),
        ("list", b"[1, 2]", {"JoinSource": "Input"}, {"SageMakerInput": [1, 2], "SageMakerOutput": {"sum": 3}}),
        ("filtered", b'{"x": [1, 2], "y": 9}', {"InputFilter": "$.x[1:]"}, {"sum": 2}),
        ("output", b"[1, 2]", {"OutputFilter": "$.sum"}, 3),
    ],
)
def test_a_json_document_is_one_record(
    server: Server, name: str, body: bytes, processing: dict[str, str], expected: Any
) -> None:
    _, outputs = summed(server, f"json-{name}", {"a.json": body}, TransformInput=JSON, DataProcessing=processing)
    assert json.loads(outputs["a.json.out"]) == expected


def test_a_record_that_the_filter_does_not_fit_fails_its_file_only(server: Server) -> None:
    files = {"a.jsonl": b'{"x": 1}\n{"y": 1}\n', "b.jsonl": b'{"x": 1}\n', "c.jsonl": b"no json\n"}
    job, outputs = summed(
        server, "misfits", files, TransformInput=LINES, TransformOutput=ASSEMBLE, DataProcessing={"InputFilter": "$.x"}
    )
    assert list(outputs) == ["b.jsonl.out"]
    assert job["FailureReason"].startswith("ClientError: the filter $.x names 'x', which the record does not have")
    assert "(2 of 3 objects failed)" in job["FailureReason"]


@pytest.mark.executes("CreateTransformJob")
@pytest.mark.parametrize("strategy", ["SingleRecord", "MultiRecord"])
def test_recordio_is_sent_bare_or_framed(server: Server, strategy: str) -> None:
    framed = recordio_of([b"one", b"two!"])
    _, outputs = summed(
        server,
        f"recordio-{strategy.lower()}",
        {"a.rec": b"".join(framed)},
        BatchStrategy=strategy,
        TransformInput={"ContentType": "application/x-recordio", "SplitType": "RecordIO"},
        TransformOutput=ASSEMBLE,
    )
    bodies = [json.loads(line)["body"].encode("latin-1") for line in outputs["a.rec.out"].splitlines()]
    assert bodies == ([b"one", b"two!"] if strategy == "SingleRecord" else [b"".join(framed)])


@pytest.mark.parametrize("zipped", [False, True])
def test_unlimited_payload_is_sent_in_chunks(server: Server, zipped: bool) -> None:
    body = b"x" * (7 << 20)  # more than the default limit
    key = "a.bin.gz" if zipped else "a.bin"
    _, outputs = summed(
        server,
        f"chunks-{zipped}".lower(),
        {key: gzip.compress(body) if zipped else body},
        MaxPayloadInMB=0,
        TransformInput={"ContentType": "application/x-any", "CompressionType": "Gzip" if zipped else "None"},
    )
    answer = json.loads(outputs[f"{key}.out"])
    assert (answer["chunked"], answer["body"] == body.decode()) == (True, True)


@pytest.mark.executes("CreateTransformJob")
def test_a_manifest_names_the_objects(server: Server) -> None:
    for key in ("x/1.csv", "x/deep/2.csv", "x/3.csv"):
        server.s3.put_object(Bucket=BUCKET, Key=f"manifest/{key}", Body=b"1\n2\n")
    listed = [{"prefix": f"s3://{BUCKET}/manifest/x/"}, "deep/2.csv", "1.csv"]
    server.s3.put_object(Bucket=BUCKET, Key="manifest/list", Body=json.dumps(listed).encode())
    asked = request(server, "manifest", {}, TransformInput=LINE)
    asked["TransformInput"]["DataSource"]["S3DataSource"] = {
        "S3DataType": "ManifestFile", "S3Uri": f"s3://{BUCKET}/manifest/list",
    }  # fmt: skip
    server.sagemaker.create_transform_job(**asked)
    server.wait("transform_job_completed_or_stopped", TransformJobName="manifest")
    outputs = server.objects("manifest/out/")
    assert outputs == {f"manifest/out/{name}.out": b"2.0\n4.0\n" for name in ("1.csv", "deep/2.csv")}


@pytest.mark.executes("CreateTransformJob")
def test_several_instances_share_the_files(server: Server) -> None:
    files = {f"{n}.json": json.dumps([n]).encode() for n in range(5)}
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 3}
    job, outputs = summed(server, "instances", files, TransformInput=JSON, TransformResources=resources)
    assert job["TransformResources"]["InstanceCount"] == 3
    assert {key: json.loads(body) for key, body in outputs.items()} == {f"{n}.json.out": {"sum": n} for n in range(5)}
    logs = server.client("logs")
    group, counts = "/aws/sagemaker/TransformJobs", {}
    for stream in logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="instances/")["logStreams"]:
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        if not stream["logStreamName"].endswith("/data-log"):
            hosts = {event["message"].rpartition(" ")[2] for event in events}
            counts[",".join(hosts)] = len(events)
    assert counts == {"algo-1": 2, "algo-2": 2, "algo-3": 1}


@pytest.mark.executes("CreateTransformJob")
def test_capture_writes_manifests_of_what_was_transformed(server: Server) -> None:
    destination = f"s3://{BUCKET}/capture/data"
    job, outputs = run(
        server,
        "capture",
        {"a.csv": b"1\n", "deep/b.csv": b"2\n", "bad.csv": b"reject"},
        TransformInput=LINE,
        TransformOutput={**ASSEMBLE, "Accept": "text/csv"},
        DataCaptureConfig={"DestinationS3Uri": destination, "GenerateInferenceId": True},
    )
    assert job["DataCaptureConfig"]["DestinationS3Uri"] == destination
    time = job["TransformStartTime"]
    for body, value in ((outputs["a.csv.out"], b"2.0"), (outputs["deep/b.csv.out"], b"4.0")):
        first, identifier, moment = body.removesuffix(b"\n").split(b",")
        assert (first, moment.decode()) == (value, time.strftime("%Y-%m-%dT%H:%M:%SZ"))
        assert uuid.UUID(identifier.decode()).version == 4
    captured = {key.removeprefix("capture/data/"): body for key, body in server.objects("capture/data/").items()}
    hour = time.strftime("%Y/%m/%d/%H")
    assert {re.sub(r"[^/]*$", "", key): json.loads(body) for key, body in captured.items()} == {
        f"input/{hour}/": [{"prefix": f"s3://{BUCKET}/capture/in/"}, "a.csv", "deep/b.csv"],
        f"output/{hour}/": [{"prefix": f"s3://{BUCKET}/capture/out/"}, "a.csv.out", "deep/b.csv.out"],
    }


def test_inference_ids_of_json(server: Server) -> None:
    _, outputs = summed(
        server,
        "ids",
        {"a.jsonl": b"[1]\n[2]\n"},
        TransformInput=LINES,
        TransformOutput=ASSEMBLE,
        DataCaptureConfig={"DestinationS3Uri": f"s3://{BUCKET}/ids/data", "GenerateInferenceId": True},
    )
    answers = [json.loads(line) for line in outputs["a.jsonl.out"].splitlines()]
    assert [answer["sum"] for answer in answers] == [1, 2]
    assert all(set(answer) == {"sum", "SageMakerInferenceId", "SageMakerInferenceTime"} for answer in answers)
    assert len({answer["SageMakerInferenceId"] for answer in answers}) == 2


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("capacity", "Failed", "CapacityError: "),
        ("fail-health-check", "Failed", "did not pass the ping health check"),
        ("stop=0", "Stopped", None),
    ],
)
def test_faults_that_a_tag_asks_for(server: Server, fault: str, status: str, reason: str | None) -> None:
    name = f"fault-{fault.partition('=')[0]}"
    job, outputs = run(
        server, name, {"a.csv": b"1\n" * 20000}, TransformInput=LINE, BatchStrategy="SingleRecord",
        Tags=[{"Key": "localaws:fault", "Value": fault}],
    )  # fmt: skip
    assert (job["TransformJobStatus"], outputs) == (status, {})
    assert reason is None or reason in job["FailureReason"]


def test_a_quota_refuses_what_is_too_much(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.endpoint is not None
    limits = server.endpoint.ctx.quotas.limits
    assert isinstance(limits, dict)
    monkeypatch.setitem(limits, ("ml.m5.large", "transform"), 1)
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2}
    with pytest.raises(ClientError) as refused:
        server.sagemaker.create_transform_job(**request(server, "quota", {}, TransformResources=resources))
    assert refused.value.response["Error"]["Code"] == "ResourceLimitExceeded"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DataProcessing": {"InputFilter": "$..x"}, "TransformInput": LINES}, "is not a path that batch transform"),
        (
            {
                "DataProcessing": {"OutputFilter": "$['account_id','SageMakerOutput']"},
                "TransformInput": LINES,
                "TransformOutput": {"Accept": "application/jsonlines", **ASSEMBLE},
            },
            # word by word as in aws/aws-sdk issue 184
            "Invalid OutputFilter: \"$['account_id','SageMakerOutput']\". Unexpected \"_\" in JsonPath. "
            "Supported operators for \"application/jsonlines\" are ['$', '[', ']', '*', '.', ' ', ',', ':', '-', ''']",
        ),
        (
            {"DataProcessing": {"OutputFilter": "$[0:2,246:]"}, "TransformInput": LINE, "TransformOutput": ASSEMBLE},
            # aws/sagemaker-python-sdk issue 1112
            "Invalid JsonPath: $[0:2,246:]: only single range filters of format (eg: [1:5]) are supported. "
            "Format [0:2,246:] is not supported",
        ),
        (
            {"DataProcessing": {"JoinSource": "Input"}, "TransformInput": {"ContentType": "application/x-npy"}},
            "DataProcessing needs TransformInput.ContentType to be one of text/csv, application/json",
        ),
        (
            {
                "DataProcessing": {"JoinSource": "Input"},
                "TransformInput": LINE,
                "TransformOutput": {"Accept": "application/json", **ASSEMBLE},
            },
            "needs input and output of one kind",
        ),
        (
            {"DataProcessing": {"OutputFilter": "$.x"}, "TransformInput": {**LINES, "SplitType": "RecordIO"}},
            "needs TransformInput.SplitType Line",
        ),
        ({"ExperimentConfig": {"TrialName": "t"}}, "ExperimentConfig is not supported"),
    ],
)
def test_what_does_not_go_together_is_refused(server: Server, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError) as refused:
        server.sagemaker.create_transform_job(**request(server, "refused", {}, **changes))
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert message in refused.value.response["Error"]["Message"]


def test_a_model_without_a_network_transforms(server: Server) -> None:
    assert server.endpoint is not None
    need_namespaces(server.endpoint)
    server.sagemaker.create_model(
        ModelName="alone", PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE, EnableNetworkIsolation=True
    )
    _, outputs = summed(server, "isolated", {"a.json": b"[1, 2]"}, ModelName="alone", TransformInput=JSON)
    assert json.loads(outputs["a.json.out"]) == {"sum": 3}
