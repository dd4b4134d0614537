"""Input modes: read-only files, FastFile, Pipe with its wrappers, shuffling, manifests."""

from __future__ import annotations

import gzip
import json
import re
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.jobs import s3data
from localaws.jobs.channels import Channel
from localaws.jobs.cluster import Cluster
from localaws.jobs.pipes import LONGEST, padding, record_header
from localaws.server import Endpoint
from localaws_tests.conftest import channel, client_of, need_namespaces, training_request
from localaws_tests.job_helpers import failed, finished, unpacked
from localaws_tests.jobs.tampering import TAMPER

# Reads one epoch of a pipe after the other and writes each to the model directory.
READ_PIPE = """
for epoch in range({epochs}):
    with open(root / f"input/data/train_{{epoch}}", "rb") as pipe:
        (root / "model" / str(epoch)).write_bytes(pipe.read())
(root / "model/config").write_text((root / "input/config/inputdataconfig.json").read_text())
"""


def records(stream: bytes) -> list[bytes]:
    """The records of a RecordIO stream: an independent reading of the format (magic, length, data, padding)."""
    found, at = [], 0
    while at < len(stream):
        magic, length = struct.unpack_from("<II", stream, at)
        assert magic == 0xCED7230A
        found.append(stream[at + 8 : at + 8 + length])
        at += 8 + (length + 3) // 4 * 4
    assert at == len(stream)
    return found


def pipe(uri: str, kind: str = "S3Prefix", **changes: Any) -> dict[str, Any]:
    source = changes.pop("source", {})
    given = {**channel("train", uri, kind), "InputMode": "Pipe", **changes}
    given["DataSource"]["S3DataSource"] |= source
    return given


def epochs(sagemaker: Any, s3: Any, name: str, given: dict[str, Any], count: int = 1) -> list[bytes]:
    """What a program reads from the channel `train` in so many epochs."""
    script = READ_PIPE.format(epochs=count)
    sagemaker.create_training_job(**training_request(name, script, InputDataConfig=[given]))
    model = unpacked(s3, finished(sagemaker, name)["ModelArtifacts"]["S3ModelArtifacts"])
    assert json.loads(model["config"])["train"]["TrainingInputMode"] == "Pipe"
    return [model[str(n)] for n in range(count)]


@pytest.mark.parametrize(
    ("mode", "limit", "said"),
    [
        ("FastFile", s3data.COPIED, "refused"),
        ("File", 3, "refused"),  # bytes: the object has more
        ("File", 4, "done"),  # a small channel is the job's own
    ],
)
def test_the_object_stays_whole_whatever_is_done_to_a_channel(
    endpoint: Endpoint,
    sagemaker: Any,
    s3: Any,
    name: str,
    mode: str,
    limit: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_namespaces(endpoint)
    monkeypatch.setattr(s3data, "COPIED", limit)
    s3.put_object(Bucket="data", Key=f"{name}/a.csv", Body=b"kept")
    script = (
        TAMPER
        + """
mode = json.loads((root / "input/config/inputdataconfig.json").read_text())["train"]["TrainingInputMode"]
(root / "model/out").write_text(json.dumps([mode, tampered(root / "input/data/train/a.csv")]))
"""
    )
    given = {**channel("train", f"s3://data/{name}/"), "InputMode": mode}
    sagemaker.create_training_job(**training_request(name, script, InputDataConfig=[given]))
    model = unpacked(s3, finished(sagemaker, name)["ModelArtifacts"]["S3ModelArtifacts"])
    assert json.loads(model["out"]) == [mode, [said]]
    assert s3.get_object(Bucket="data", Key=f"{name}/a.csv")["Body"].read() == b"kept"


@pytest.mark.parametrize("mode", ["FastFile", "File"])
def test_a_channel_that_cannot_be_read_only_here_is_there(
    start_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(s3data, "COPIED", 0)
    endpoint = start_endpoint(sandbox="none")
    sagemaker, s3 = client_of(endpoint, "sagemaker"), client_of(endpoint, "s3")
    s3.create_bucket(Bucket="data")
    s3.put_object(Bucket="data", Key="in/a.csv", Body=b"there")
    given = {**channel("train", "s3://data/in/"), "InputMode": mode}
    script = "(root / 'model/out').write_text((root / 'input/data/train/a.csv').read_text())"
    sagemaker.create_training_job(**training_request("none", script, InputDataConfig=[given]))
    model = unpacked(s3, finished(sagemaker, "none")["ModelArtifacts"]["S3ModelArtifacts"])
    assert model == {"out": b"there"}


@pytest.mark.executes("CreateTrainingJob")
def test_pipe_streams_all_objects_in_each_epoch(sagemaker: Any, s3: Any, name: str) -> None:
    large = bytes(range(256)) * 2000  # more than a pipe holds
    for key, data in (("1", b"one\n"), ("2", large), ("3", b"")):
        s3.put_object(Bucket="data", Key=f"{name}/{key}", Body=data)
    assert epochs(sagemaker, s3, name, pipe(f"s3://data/{name}/"), 3) == [b"one\n" + large] * 3


def test_pipe_wraps_objects_into_records_and_unpacks(sagemaker: Any, s3: Any, name: str) -> None:
    bodies = [b"a", b"bcd", b"", b"efghi" * 1000]
    for number, data in enumerate(bodies):
        s3.put_object(Bucket="data", Key=f"{name}/{number}", Body=gzip.compress(data))
    given = pipe(f"s3://data/{name}/", RecordWrapperType="RecordIO", CompressionType="Gzip")
    (stream,) = epochs(sagemaker, s3, name, given)
    assert records(stream) == bodies


def test_pipe_that_is_closed_early_and_never_read_does_not_hold_the_job(sagemaker: Any, s3: Any, name: str) -> None:
    s3.put_object(Bucket="data", Key=f"{name}/x", Body=b"y" * 1_000_000)
    script = """
with open(root / "input/data/train_0", "rb") as pipe:
    first = pipe.read(3)
with open(root / "input/data/train_1", "rb") as pipe:
    (root / "model/out").write_bytes(first + pipe.read(2))
"""
    other = {**pipe(f"s3://data/{name}/"), "ChannelName": "unread"}
    request = training_request(name, script, InputDataConfig=[pipe(f"s3://data/{name}/"), other])
    sagemaker.create_training_job(**request)
    model = unpacked(s3, finished(sagemaker, name)["ModelArtifacts"]["S3ModelArtifacts"])
    assert model == {"out": b"yyyyy"}


def test_shuffled_pipe_has_another_order_in_each_epoch_and_the_same_in_each_run(
    sagemaker: Any, s3: Any, name: str
) -> None:
    for number in range(8):
        s3.put_object(Bucket="data", Key=f"{name}/{number}", Body=str(number).encode())
    given = pipe(f"s3://data/{name}/", ShuffleConfig={"Seed": 7})
    one = epochs(sagemaker, s3, f"{name[:55]}-1", given, 3)
    two = epochs(sagemaker, s3, f"{name[:55]}-2", given, 3)
    assert one == two
    assert len(set(one)) == 3
    assert {bytes(sorted(e)) for e in one} == {b"01234567"}


def test_augmented_manifest_streams_the_named_attributes(sagemaker: Any, s3: Any, name: str) -> None:
    for key in ("one", "two"):
        s3.put_object(Bucket="data", Key=f"{name}/{key}.jpg", Body=f"image {key}".encode())
    lines = [
        {"image-ref": f"s3://data/{name}/one.jpg", "is-a-cat": 1, "ignored": "x"},
        {"image-ref": f"s3://data/{name}/two.jpg", "is-a-cat": 0, "box": {"left": 1}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    s3.put_object(Bucket="data", Key=f"{name}/list", Body=text.encode())
    attributes = {"AttributeNames": ["image-ref", "is-a-cat"]}
    given = pipe(f"s3://data/{name}/list", "AugmentedManifestFile", RecordWrapperType="RecordIO", source=attributes)
    (stream,) = epochs(sagemaker, s3, name, given)
    assert records(stream) == [b"image one", b"1", b"image two", b"0"]


def test_manifest_in_pipe_mode_keeps_its_order(sagemaker: Any, s3: Any, name: str) -> None:
    for key in ("b", "a", "c"):
        s3.put_object(Bucket="data", Key=f"{name}/{key}", Body=key.encode())
    manifest = json.dumps([{"prefix": f"s3://data/{name}/"}, "b", "a"])
    s3.put_object(Bucket="data", Key=f"{name}/manifest", Body=manifest.encode())
    assert epochs(sagemaker, s3, name, pipe(f"s3://data/{name}/manifest", "ManifestFile")) == [b"ba"]


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("list", '{"a-ref": "s3://data/x"}\nnonsense\n', "line 2 of the augmented manifest .* is no JSON object"),
        ("list", '{"b": 1}\n', "line 1 of the augmented manifest .* has no attribute 'a-ref'"),
        ("list", '{"a-ref": "file:///etc/passwd"}\n', "not of the form s3://bucket/key"),
        ("list", "\n", "is empty"),
        ("other", "", "NoSuchKey|does not exist|s3://data/.*list"),
        ("list", '{"a-ref": "s3://data/is/not/there"}\n', "Channel 'train' cannot be streamed"),
    ],
)
def test_trouble_with_an_augmented_manifest_fails_the_job(
    sagemaker: Any, s3: Any, name: str, key: str, text: str, reason: str
) -> None:
    s3.put_object(Bucket="data", Key=f"{name}/{key}", Body=text.encode())
    given = pipe(f"s3://data/{name}/list", "AugmentedManifestFile", source={"AttributeNames": ["a-ref"]})
    script = "import time\nopen(root / 'input/data/train_0').read()\nwhile True: time.sleep(60)"
    sagemaker.create_training_job(**training_request(name, script, InputDataConfig=[given]))
    found = failed(sagemaker, name)["FailureReason"]
    assert found.startswith("ClientError: ")
    assert re.search(reason, found), found


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            pipe("s3://data/x", "AugmentedManifestFile"),
            "AttributeNames and S3DataType AugmentedManifestFile go together",
        ),
        (pipe("s3://data/x", source={"AttributeNames": ["a"]}), "go together"),
        (pipe("s3://data/x", "Converse"), "S3DataType Converse is not supported"),
        ({**channel("train", "s3://data/x", "AugmentedManifestFile"), "InputMode": "FastFile"}, "only be used with"),
        ({**channel("..", "s3://data/x")}, "no directory's"),
    ],
)
def test_channels_that_do_not_fit_are_refused(sagemaker: Any, name: str, given: dict[str, Any], text: str) -> None:
    with pytest.raises(ClientError, match=text):
        sagemaker.create_training_job(**training_request(name, InputDataConfig=[given]))


def test_sharding_is_a_partition_in_every_epoch() -> None:
    given = pipe("s3://data/x", ShuffleConfig={"Seed": 3}, source={"S3DataDistributionType": "ShardedByS3Key"})
    made = Channel.of(given, "Pipe")
    hosts = Cluster.of({"InstanceType": "ml.m5.large", "InstanceCount": 3})
    firsts = set()
    for epoch in range(5):
        shares = [made.share(range(10), hosts, host, epoch) for host in hosts.hosts]
        assert sorted(x for share in shares for x in share) == list(range(10))
        firsts.add(tuple(shares[0]))
    assert len(firsts) > 1  # "might be sent to a different node on the second epoch"


def test_record_headers_have_29_bits_for_the_length() -> None:
    assert record_header(5) + b"hello" + padding(5) == struct.pack("<II5s3x", 0xCED7230A, 5, b"hello")
    assert len(record_header(LONGEST)) == 8
    with pytest.raises(ValueError, match="at most 536870911 bytes"):
        record_header(LONGEST + 1)


def test_no_thread_or_fifo_is_left(endpoint: Endpoint, sagemaker: Any, s3: Any, name: str) -> None:
    s3.put_object(Bucket="data", Key=f"{name}/x", Body=b"y")
    epochs(sagemaker, s3, name, pipe(f"s3://data/{name}/"))
    assert not [t for t in threading.enumerate() if t.name.startswith("pipe ")]
    assert not Path(endpoint.ctx.config.state, "jobs", "training-job", name).exists()
