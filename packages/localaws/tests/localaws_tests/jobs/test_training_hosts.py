"""Training on several instances: what each host sees, who gets which data, and how the job ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.errors import ValidationException
from localaws.jobs import cluster
from localaws.jobs.cluster import Addresses, Cluster
from localaws.server import Endpoint
from localaws_tests.conftest import channel, client_of, log_lines, poll, training_request
from localaws_tests.job_helpers import TRAINING_LOGS, failed, finished, unpacked

pytestmark = pytest.mark.usefixtures("s3")  # jobs store their models in its bucket

HOSTS = "host = json.loads((root / 'input/config/resourceconfig.json').read_text())['current_host']\n"


def instances(count: int, **changes: Any) -> dict[str, Any]:
    return {
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 1},
        **changes,
    }


def put(s3: Any, prefix: str, *names: str) -> str:
    for each in names:
        s3.put_object(Bucket="data", Key=f"{prefix}/{each}", Body=each.encode())
    return f"s3://data/{prefix}"


@pytest.mark.executes("CreateTrainingJob", "DescribeTrainingJob")
@pytest.mark.usefixtures("namespaces")
def test_hosts_reach_each_other_and_make_one_model(sagemaker: Any, s3: Any, logs: Any, name: str) -> None:
    """Both bind the same port on their own address; algo-2 sends what algo-1 writes down."""
    script = (
        HOSTS
        + """
import socket, time
if host == "algo-1":
    server = socket.create_server((host, 7777))
    peer, _ = server.accept()
    (root / "model/heard").write_bytes(peer.recv(100))
else:
    while True:
        try:
            peer = socket.create_connection(("algo-1", 7777), timeout=30)
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    peer.sendall(f"{host} here, {os.environ['CURRENT_HOST']}".encode())
    peer.close()
(root / "model" / host).write_text((root / "input/config/resourceconfig.json").read_text())
(root / "output/data" / host).mkdir()
(root / "output/data" / host / "note").write_text(host)
print("I am", host)
"""
    )
    sagemaker.create_training_job(**training_request(name, script, **instances(2)))
    job = finished(sagemaker, name)
    model = unpacked(s3, job["ModelArtifacts"]["S3ModelArtifacts"])
    assert model.keys() == {"heard", "algo-1", "algo-2"}
    assert model["heard"] == b"algo-2 here, algo-2"
    seen = json.loads(model["algo-2"])
    assert (seen["current_host"], seen["hosts"]) == ("algo-2", ["algo-1", "algo-2"])
    assert unpacked(s3, f"s3://data/models/{name}/output/output.tar.gz") == {
        "algo-1/note": b"algo-1",
        "algo-2/note": b"algo-2",
    }
    streams = logs.describe_log_streams(logGroupName=TRAINING_LOGS, logStreamNamePrefix=f"{name}/")["logStreams"]
    assert [s["logStreamName"].split("/")[1][:7] for s in streams] == ["algo-1-", "algo-2-"]
    assert log_lines(logs, TRAINING_LOGS, name) == ["I am algo-1", "I am algo-2"]


@pytest.mark.usefixtures("namespaces")
def test_sharded_objects_go_to_one_host_each_replicated_ones_to_all(sagemaker: Any, s3: Any, name: str) -> None:
    files = [f"{n}.csv" for n in range(5)]
    uri = put(s3, name, *files)
    sharded = channel("shard", uri)
    sharded["DataSource"]["S3DataSource"]["S3DataDistributionType"] = "ShardedByS3Key"
    script = (
        HOSTS
        + """
found = {c: sorted(os.listdir(root / "input/data" / c)) for c in ("shard", "whole")}
found["config"] = json.loads((root / "input/config/inputdataconfig.json").read_text())["shard"]["S3DistributionType"]
(root / "model" / host).write_text(json.dumps(found))
"""
    )
    request = training_request(name, script, InputDataConfig=[sharded, channel("whole", uri)], **instances(3))
    sagemaker.create_training_job(**request)
    model = unpacked(s3, finished(sagemaker, name)["ModelArtifacts"]["S3ModelArtifacts"])
    found = [json.loads(model[f"algo-{n}"]) for n in (1, 2, 3)]
    assert [f["whole"] for f in found] == [files] * 3
    assert sorted(x for f in found for x in f["shard"]) == files
    assert [len(f["shard"]) for f in found] == [2, 2, 1]
    assert {f["config"] for f in found} == {"ShardedByS3Key"}


@pytest.mark.usefixtures("namespaces")
def test_failure_of_one_host_fails_the_job_and_ends_the_others(sagemaker: Any, name: str) -> None:
    script = (
        HOSTS
        + """
import time
if host == "algo-2":
    (root / "output/failure").write_text("the second host broke")
    sys.exit(4)
while True: time.sleep(60)
"""
    )
    sagemaker.create_training_job(**training_request(name, script, **instances(3)))
    assert failed(sagemaker, name)["FailureReason"] == "AlgorithmError: the second host broke, exit code: 4"


@pytest.mark.usefixtures("namespaces")
def test_stop_reaches_every_host(sagemaker: Any, s3: Any, logs: Any, name: str) -> None:
    script = (
        HOSTS
        + """
import signal, time
def save(*_):
    (root / "model" / host).write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("up", flush=True)
while True: time.sleep(60)
"""
    )
    sagemaker.create_training_job(**training_request(name, script, **instances(2)))
    poll(lambda: log_lines(logs, TRAINING_LOGS, name) == ["up", "up"])
    sagemaker.stop_training_job(TrainingJobName=name)
    job = finished(sagemaker, name)
    assert job["TrainingJobStatus"] == "Stopped"
    assert unpacked(s3, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"algo-1": b"saved", "algo-2": b"saved"}


@pytest.mark.usefixtures("namespaces")
def test_instance_groups_have_their_own_channels(sagemaker: Any, s3: Any, name: str) -> None:
    uri = put(s3, name, "a", "b")
    groups = [
        {"InstanceGroupName": "cpu", "InstanceType": "ml.m5.large", "InstanceCount": 1},
        {"InstanceGroupName": "big", "InstanceType": "ml.m5.xlarge", "InstanceCount": 2},
    ]
    only = channel("data", uri)
    only["DataSource"]["S3DataSource"] |= {
        "InstanceGroupNames": ["big"],
        "S3DataDistributionType": "ShardedByS3Key",
    }
    script = (
        HOSTS
        + """
resources = json.loads((root / "input/config/resourceconfig.json").read_text())
data = root / "input/data/data"
files = sorted(os.listdir(data)) if data.exists() else None
(root / "model" / host).write_text(json.dumps([resources, files]))
"""
    )
    request = training_request(name, script, InputDataConfig=[only])
    request["ResourceConfig"] = {"InstanceGroups": groups, "VolumeSizeInGB": 1}
    sagemaker.create_training_job(**request)
    model = unpacked(s3, finished(sagemaker, name)["ModelArtifacts"]["S3ModelArtifacts"])
    first, second, third = (json.loads(model[f"algo-{n}"]) for n in (1, 2, 3))
    assert [first[1], second[1], third[1]] == [None, ["a"], ["b"]]
    assert third[0]["current_group_name"] == "big"
    assert third[0]["current_instance_type"] == "ml.m5.xlarge"
    assert third[0]["instance_groups"] == [
        {"instance_group_name": "cpu", "instance_type": "ml.m5.large", "hosts": ["algo-1"]},
        {"instance_group_name": "big", "instance_type": "ml.m5.xlarge", "hosts": ["algo-2", "algo-3"]},
    ]


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        ({"InstanceGroups": [], "InstanceCount": 1}, "ResourceConfig.InstanceType is required"),
        (
            {"InstanceGroups": [{"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1}] * 2},
            "two groups of the same name",
        ),
        (
            {
                "InstanceGroups": [{"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1}],
                "InstanceType": "ml.m5.large",
            },
            "cannot be given together",
        ),
    ],
)
def test_clusters_that_are_not_whole_are_refused(
    sagemaker: Any, name: str, resources: dict[str, Any], text: str
) -> None:
    request = training_request(name)
    request["ResourceConfig"] = {"VolumeSizeInGB": 1, **resources}
    with pytest.raises(ClientError, match=text):
        sagemaker.create_training_job(**request)


def test_a_channel_for_an_unknown_group_is_refused(sagemaker: Any, name: str) -> None:
    given = channel("data", "s3://data/x")
    given["DataSource"]["S3DataSource"]["InstanceGroupNames"] = ["gpu"]
    with pytest.raises(ClientError, match="'gpu', which is no instance group"):
        sagemaker.create_training_job(**training_request(name, InputDataConfig=[given]))


def test_addresses_are_not_shared_by_two_running_jobs() -> None:
    addresses = Addresses()
    pair = Cluster.of({"InstanceType": "ml.m5.large", "InstanceCount": 2})
    with addresses.of(pair) as one, addresses.of(pair) as two:
        assert len({*one.values(), *two.values()}) == 4
        assert one.keys() == two.keys() == {"algo-1", "algo-2"}
    with addresses.of(Cluster.of({"InstanceType": "ml.m5.large", "InstanceCount": 1})) as single:
        assert single == {"algo-1": "127.0.0.1"}


def test_addresses_of_all_nets_are_of_127() -> None:
    addresses = Addresses()
    addresses._next = 254 * 256 - 1
    pair = Cluster.of({"InstanceType": "ml.m5.large", "InstanceCount": 2})
    with addresses.of(pair) as last, addresses.of(pair) as first:
        assert (last["algo-1"], first["algo-1"]) == ("127.254.255.1", "127.1.0.1")


@pytest.mark.parametrize(
    ("sandbox", "isolated", "text"),
    [("bubblewrap", True, "EnableNetworkIsolation is not supported"), ("none", False, "offers no namespaces")],
)
def test_hosts_that_could_not_reach_each_other_are_refused(sandbox: str, isolated: bool, text: str) -> None:
    many = cluster.check({"InstanceType": "ml.m5.large", "InstanceCount": 2}, "ResourceConfig")
    with pytest.raises(ValidationException, match=text):
        cluster.check_possible(many, sandbox, isolated)
    one = cluster.check({"InstanceType": "ml.m5.large", "InstanceCount": 1}, "ResourceConfig")
    cluster.check_possible(one, sandbox, isolated)


@pytest.mark.parametrize("sandbox", ["bubblewrap", "namespaces"])
def test_names_of_hosts_and_read_only_inputs_in_every_sandbox(
    start_endpoint: Callable[..., Endpoint], sandbox: str
) -> None:
    try:
        endpoint = start_endpoint(sandbox=sandbox)
    except ValueError as error:
        pytest.skip(str(error))
    sagemaker, s3 = client_of(endpoint, "sagemaker"), client_of(endpoint, "s3")
    s3.create_bucket(Bucket="data")
    put(s3, "in", "a")
    script = (
        HOSTS
        + """
import socket
addresses = [socket.gethostbyname(name) for name in ("algo-1", "algo-2")]
try:
    (root / "input/data/train/a").write_text("x")
except OSError as error:
    (root / "model" / host).write_text(json.dumps([addresses, error.strerror]))
"""
    )
    given = {**channel("train", "s3://data/in/"), "InputMode": "FastFile"}
    request = training_request("names", script, InputDataConfig=[given], **instances(2))
    sagemaker.create_training_job(**request)
    model = unpacked(s3, finished(sagemaker, "names")["ModelArtifacts"]["S3ModelArtifacts"])
    first, second = json.loads(model["algo-1"]), json.loads(model["algo-2"])
    assert first == second
    assert first[1] == "Read-only file system"
    assert len(set(first[0])) == 2
