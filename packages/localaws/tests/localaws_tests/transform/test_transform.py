"""Transform jobs, end to end: an unmodified boto3 client, a real model server, files in S3."""

import gzip

import pytest
from botocore.exceptions import ClientError, WaiterError

from localaws_tests import serving_fixtures
from localaws_tests.serving_fixtures import BUCKET, Server

server = serving_fixtures.server

LINE = {"SplitType": "Line"}
JOIN = {"InputFilter": "$[1:]", "JoinSource": "Input"}


@pytest.fixture(scope="module", autouse=True)
def model(server: Server) -> None:
    server.create_model("doubler", 2)


def request(server: Server, name: str, files: dict[str, bytes], **more):
    for key, body in files.items():
        server.s3.put_object(Bucket=BUCKET, Key=f"{name}/in/{key}", Body=body)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/in"}}
    return {
        "TransformJobName": name,
        "ModelName": "doubler",
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        **more,
        "TransformInput": {"DataSource": source, "ContentType": "text/csv", **more.get("TransformInput", {})},
        "TransformOutput": {"S3OutputPath": f"s3://{BUCKET}/{name}/out", **more.get("TransformOutput", {})},
    }


def run(server: Server, name: str, files: dict[str, bytes], **more):
    """Run to the end; returns the description and the outputs by name."""
    server.sagemaker.create_transform_job(**request(server, name, files, **more))
    try:
        server.wait("transform_job_completed_or_stopped", TransformJobName=name)
    except WaiterError as error:
        if 'matched expected path: "Failed"' not in str(error):
            raise
    outputs = {key.removeprefix(f"{name}/out/"): body for key, body in server.objects(f"{name}/out/").items()}
    return server.sagemaker.describe_transform_job(TransformJobName=name), outputs


@pytest.mark.executes("CreateTransformJob")
def test_several_files_keep_their_names_below_the_output(server):
    files = {"a.csv": b"1,2\n3,4\n", "deep/b.csv": b"5\n"}
    job, outputs = run(
        server,
        "several",
        files,
        TransformInput=LINE,
        TransformOutput={"AssembleWith": "Line"},
        BatchStrategy="MultiRecord",
    )
    assert job["TransformJobStatus"] == "Completed"
    assert outputs == {"a.csv.out": b"6.0\n14.0\n", "deep/b.csv.out": b"10.0\n"}
    assert job["CreationTime"] <= job["TransformStartTime"] <= job["TransformEndTime"]
    assert job["DataProcessing"] == {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
    assert "FailureReason" not in job


@pytest.mark.parametrize(("strategy", "requests"), [("SingleRecord", 50), ("MultiRecord", 1)])
def test_batch_strategy_decides_the_number_of_requests_not_the_result(server, strategy, requests):
    name = f"strategy-{strategy.lower()}"
    body = "".join(f"{n}\n" for n in range(50)).encode()
    _, outputs = run(
        server,
        name,
        {"a.csv": body},
        TransformInput=LINE,
        TransformOutput={"AssembleWith": "Line", "Accept": "text/csv"},
        BatchStrategy=strategy,
        MaxConcurrentTransforms=4,
    )
    assert outputs == {"a.csv.out": "".join(f"{2.0 * n}\n" for n in range(50)).encode()}
    lines = log_lines(server, name)
    assert sum("bytes came in" in line for line in lines) == requests
    assert "serving a transform job" in lines
    assert any("MaxConcurrentTransforms=4, MaxPayloadInMB=6" in line for line in lines)


def log_lines(server: Server, name: str) -> list[str]:
    logs = server.client("logs")
    group = "/aws/sagemaker/TransformJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
    names = [stream["logStreamName"] for stream in streams]
    assert sorted(n.endswith("/data-log") for n in names) == [False, True]
    return [e["message"] for n in names for e in logs.get_log_events(logGroupName=group, logStreamName=n)["events"]]


def test_an_unsplit_file_is_one_request(server):
    _, outputs = run(server, "unsplit", {"a.csv": b"1\n2\n"})
    assert outputs == {"a.csv.out": b"2.0\n4.0\n"}
    assert "4 bytes came in" in log_lines(server, "unsplit")


def test_join_keeps_the_input_beside_its_prediction(server):
    files = {"a.csv": b'"id, 1",1,2\nid2,3,4\n'}
    _, outputs = run(
        server,
        "join",
        files,
        TransformInput=LINE,
        TransformOutput={"AssembleWith": "Line", "Accept": "text/csv"},
        DataProcessing={**JOIN, "OutputFilter": "$[0,-1]"},
    )
    assert outputs == {"a.csv.out": b'"id, 1",6.0\nid2,14.0\n'}


def test_compressed_input(server):
    _, outputs = run(
        server, "gzip", {"a.csv.gz": gzip.compress(b"1\n2\n")}, TransformInput={**LINE, "CompressionType": "Gzip"}
    )
    assert outputs == {"a.csv.gz.out": b"2.0\n4.0\n"}


def test_the_container_may_say_how_it_wants_to_be_asked(server):
    said = '{"BatchStrategy": "SINGLE_RECORD", "MaxConcurrentTransforms": 2, "MaxPayloadInMB": 1}'
    _, outputs = run(
        server, "parameters", {"a.csv": b"1\n2\n"}, TransformInput=LINE, Environment={"EXECUTION_PARAMETERS": said}
    )
    assert outputs == {"a.csv.out": b"2.0\n4.0\n"}
    assert sum("bytes came in" in line for line in log_lines(server, "parameters")) == 2


def test_only_whole_objects_are_uploaded_and_the_job_fails(server):
    files = {"a.csv": b"1\nreject\n3\n", "b.csv": b"1\n"}
    job, outputs = run(server, "rejected", files, TransformInput=LINE, BatchStrategy="SingleRecord")
    assert job["TransformJobStatus"] == "Failed"
    assert outputs == {"b.csv.out": b"2.0\n"}
    assert job["FailureReason"] == (
        f"ClientError: the model answered 415: told to reject at s3://{BUCKET}/rejected/in/a.csv "
        "(1 of 2 objects failed). See job logs for more information"
    )


def test_an_ending_model_server_fails_the_job(server):
    job, outputs = run(server, "crash", {"a.csv": b"crash"})
    assert job["FailureReason"].startswith("AlgorithmError: the model server does not answer")
    assert outputs == {}


def test_a_model_server_that_does_not_start_fails_the_job_with_its_log(server):
    job, _ = run(server, "no-start", {"a.csv": b"1"}, Environment={"REFUSE_TO_START": "1"})
    assert "its program ended with exit code 1" in job["FailureReason"]
    assert "refused to start, as asked" in job["FailureReason"]


def test_joined_answers_must_be_one_for_each_record(server):
    job, _ = run(
        server,
        "misfit",
        {"a.csv": b"env HOME\n"},
        TransformInput=LINE,
        TransformOutput={"AssembleWith": "Line"},
        Environment={"HOME": "1\n2"},
        DataProcessing={"JoinSource": "Input"},
    )
    assert "the model answered 2 lines to a request of 1 records" in job["FailureReason"]


@pytest.mark.executes("DescribeTransformJob")
def test_a_job_name_is_used_once(server):
    job, _ = run(server, "again", {"a.csv": b"1"})
    assert job["TransformJobStatus"] == "Completed"
    with pytest.raises(ClientError) as caught:
        server.sagemaker.create_transform_job(**request(server, "again", {}))
    assert caught.value.response["Error"]["Code"] == "ResourceInUse"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ModelName": "nobody"}, 'Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/nobody"'),
        ({"MaxPayloadInMB": 101}, "MaxPayloadInMB is 101; it must not exceed 100 MB"),
        ({"MaxPayloadInMB": 30, "MaxConcurrentTransforms": 4}, "is 120; it must not exceed 100 MB"),
        ({"DataProcessing": {"InputFilter": "$.a"}, "TransformInput": LINE}, "is not a column path for CSV"),
        ({"DataProcessing": {"InputFilter": "$[1:]"}}, "needs TransformInput.SplitType Line"),
        ({"DataProcessing": JOIN, "TransformInput": LINE}, "needs TransformOutput.AssembleWith Line"),
        (
            {"DataProcessing": JOIN, "TransformInput": {**LINE, "ContentType": "application/x-npy"}},
            "needs TransformInput.ContentType to be one of text/csv",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(server, changes, message):
    with pytest.raises(ClientError) as caught:
        server.sagemaker.create_transform_job(**request(server, "refused", {}, **changes))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert message in caught.value.response["Error"]["Message"]


def test_a_missing_job_is_a_validation_exception(server):
    with pytest.raises(ClientError, match="ValidationException"):
        server.sagemaker.describe_transform_job(TransformJobName="nobody")
