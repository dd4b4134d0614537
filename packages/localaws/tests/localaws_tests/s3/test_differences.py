"""Random histories against moto's S3 and ours, listings against plain Python, and every operation of the model."""

from __future__ import annotations

import http.client
import itertools
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import pytest
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localaws import shapes
from localaws.s3 import S3Store, names
from localaws_tests.s3.test_oracle import outcome

SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
NUMBERS = itertools.count()
KEYS = st.sampled_from(["a", "a/b", "a/b/c", "a b", "b", "ü/ä", "c+d", "c%2Bd", "e&f=g", "~"])
BODIES = st.sampled_from([b"", b"0123456789", b"x" * 70_000])
TAGS = st.lists(st.sampled_from(["k1=v1", "k2=a%20b", "k3="]), unique=True).map("&".join)
# A plain Etag that fits one of the bodies, and one that fits none.
ETAGS = st.sampled_from(['"781e5e245d69b566979b86e28d23f2c7"', '"0"'])
RANGES = st.sampled_from(["bytes=0-0", "bytes=2-5", "bytes=-4", "bytes=5-", "bytes=100-", "bytes=0-999999"])


def one(operation: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.fixed_dictionaries({}, optional=members).map(lambda given: (operation, given))


def keyed(operation: str, **members: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.fixed_dictionaries({"Key": KEYS}, optional=members).map(lambda given: (operation, given))


CALLS = st.one_of(
    st.fixed_dictionaries(
        {"Key": KEYS, "Body": BODIES},
        optional={
            "Metadata": st.dictionaries(st.sampled_from(["one", "two"]), st.sampled_from(["1", "x y"])),
            "ContentType": st.sampled_from(["text/csv", "application/json"]),
            "Tagging": TAGS,
            "CacheControl": st.just("no-cache"),
        },
    ).map(lambda given: ("put_object", given)),
    st.fixed_dictionaries({"Key": KEYS, "Body": BODIES, "IfNoneMatch": st.just("*")}).map(lambda g: ("put_object", g)),
    keyed("get_object"),
    keyed("get_object", Range=RANGES),
    keyed("get_object", IfMatch=ETAGS),
    keyed("get_object", IfNoneMatch=ETAGS),
    keyed("head_object"),
    keyed("delete_object"),
    keyed("get_object_tagging"),
    keyed("delete_object_tagging"),
    st.tuples(KEYS, KEYS, st.sampled_from(["COPY", "REPLACE"])).map(
        lambda g: ("copy_object", {"Key": g[0], "From": g[1], "MetadataDirective": g[2]})
    ),
    one("list_objects_v2", Prefix=st.sampled_from(["", "a", "a/", "ü"]), Delimiter=st.sampled_from(["/", "b"])),
    # moto gives StartAfter back without the encoding that it names.
    one("list_objects_v2", StartAfter=st.sampled_from(["a", "a/b", "b", "~"]), EncodingType=st.just("url")),
    one("list_objects", Prefix=st.sampled_from(["", "a/", "c"]), EncodingType=st.just("url")),
    st.lists(KEYS, min_size=1, max_size=4, unique=True).map(
        lambda keys: ("delete_objects", {"Delete": {"Objects": [{"Key": key} for key in keys]}})
    ),
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=SHARED)
@given(history=st.lists(CALLS, min_size=3, max_size=12))
def test_random_histories_give_the_same_answers(
    history: list[tuple[str, dict[str, Any]]], ours: Any, oracle: Any
) -> None:
    bucket = f"history-{next(NUMBERS)}"
    for client in (ours, oracle):
        client.create_bucket(Bucket=bucket)
    for number, (operation, arguments) in enumerate(history):
        sent = {"Bucket": bucket, **arguments}
        if source := sent.pop("From", None):
            sent["CopySource"] = {"Bucket": bucket, "Key": source}
        expected, found = outcome(oracle, operation, sent), outcome(ours, operation, sent)
        if expected[0] == 500:
            continue  # the oracle itself broke
        assert _sorted(found) == _sorted(expected), f"call {number}: {operation} {sent}"


def _sorted(answer: tuple[int, Any]) -> tuple[int, Any]:
    """The order of deleted keys and of tags means nothing."""
    status, document = answer
    if isinstance(document, dict):
        for member in ("Deleted", "TagSet"):
            if member in document:
                document[member] = sorted(document[member], key=lambda item: item["Key"])
    return status, document


def listed(keys: list[str], prefix: str, delimiter: str) -> list[tuple[str, str]]:
    """A listing by definition: keys in the order of their UTF-8, those with a common prefix rolled up into one."""
    found: list[tuple[str, str]] = []
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix) :]
        entry = ("key", key)
        if delimiter and delimiter in rest:
            entry = ("prefix", prefix + rest[: rest.index(delimiter) + len(delimiter)])
        if entry not in found:
            found.append(entry)
    return found


ODD = st.text(st.sampled_from("ab/é\U0001f600 %+&"), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=SHARED)
@given(
    keys=st.sets(ODD, max_size=15),
    prefix=st.sampled_from(["", "a", "a/", "é"]),
    delimiter=st.sampled_from(["", "/", "b", "a/"]),
    size=st.integers(1, 5),
    version=st.sampled_from(["list_objects", "list_objects_v2"]),
)
def test_pages_hold_everything_once(
    keys: set[str], prefix: str, delimiter: str, size: int, version: str, ours: Any, store: S3Store
) -> None:
    bucket = f"pages-{next(NUMBERS)}"
    store.create_bucket(bucket)
    for key in keys:
        store.put_bytes(bucket, key, b"x")
    pages = ours.get_paginator(version).paginate(
        Bucket=bucket, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
    )
    found: list[tuple[str, str]] = []
    for page in pages:
        entries = [("key", item["Key"]) for item in page.get("Contents", [])]
        entries += [("prefix", item["Prefix"]) for item in page.get("CommonPrefixes", [])]
        assert len(entries) <= size
        found += sorted(entries, key=lambda entry: entry[1].encode())
    assert found == listed(sorted(keys), prefix, delimiter)


@pytest.mark.parametrize("server", ["ours", "oracle"])
def test_presigned_requests(server: str, request: pytest.FixtureRequest) -> None:
    client = request.getfixturevalue(server)
    client.create_bucket(Bucket="presigned")
    here = {"Bucket": "presigned", "Key": "a b/ü+"}
    link = client.generate_presigned_url("put_object", {**here, "ContentType": "text/csv"})
    sent = Request(link, data=b"0123456789", method="PUT", headers={"Content-Type": "text/csv"})
    assert urlopen(sent).status == 200
    part = Request(client.generate_presigned_url("get_object", here), headers={"Range": "bytes=2-4"})
    with urlopen(part) as answer:
        assert (answer.status, answer.read(), answer.headers["Content-Type"]) == (206, b"234", "text/csv")
    with urlopen(Request(client.generate_presigned_url("head_object", here), method="HEAD")) as answer:
        assert answer.headers["Content-Length"] == "10"


def test_the_go_ahead_comes_before_the_body(endpoint: str, store: S3Store, bucket: str) -> None:
    """Expect: 100-continue, as boto3 sends it with every upload."""
    url = urlsplit(endpoint)
    connection = http.client.HTTPConnection(url.hostname or "", url.port)
    connection.putrequest("PUT", f"/{bucket}/k")
    connection.putheader("Content-Length", "4")
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")
    connection.send(b"data")
    assert connection.getresponse().status == 200
    connection.close()
    assert store.open(bucket, "k").read() == b"data"


SERVED = {
    *("AbortMultipartUpload", "CompleteMultipartUpload", "CopyObject", "CreateBucket", "CreateMultipartUpload"),
    *("DeleteBucket", "DeleteBucketTagging", "DeleteObject", "DeleteObjectTagging", "DeleteObjects", "GetBucketAcl"),
    *("GetBucketEncryption", "GetBucketLocation", "GetBucketTagging", "GetObject", "GetObjectAcl", "GetObjectTagging"),
    *("HeadBucket", "HeadObject", "ListBuckets", "ListMultipartUploads", "ListObjectVersions", "ListObjects"),
    *("ListObjectsV2", "ListParts", "PutBucketTagging", "PutObject", "PutObjectTagging", "UploadPart"),
    "UploadPartCopy",
}


def test_every_other_operation_is_refused_by_name(endpoint: str, store: S3Store, bucket: str) -> None:
    """None answers as if it had done something, none fails, and the object that is there stays as it is."""
    store.put_bytes(bucket, "xxx", b"kept")
    url = urlsplit(endpoint)
    connection = http.client.HTTPConnection(url.hostname or "", url.port)
    read = set()
    for operation in {name for name, *_ in names._operations()} - SERVED:
        sent = _serialized(operation, bucket)
        path = sent["url_path"] + ("&" if "?" in sent["url_path"] else "?") + urlencode(sent["query_string"])
        body = sent["body"] if isinstance(sent["body"], bytes | str) else b""
        connection.request(sent["method"], path, body, dict(sent["headers"]))
        answer = connection.getresponse()
        text = answer.read().decode()
        if sent["method"] == "GET" and answer.status in (200, 404):
            read.add(operation)
            continue
        assert answer.status == 501, f"{operation}: {text}"
        assert operation in text or "<Header>" in text, f"{operation}: {text}"
    connection.close()
    assert read == READABLE
    assert store.open(bucket, "xxx").read() == b"kept"


# Configurations that a bucket here never has: reading them says so.
READABLE = {
    *("GetBucketAccelerateConfiguration", "GetBucketCors", "GetBucketLifecycleConfiguration", "GetBucketLogging"),
    *("GetBucketNotificationConfiguration", "GetBucketOwnershipControls", "GetBucketPolicy", "GetBucketReplication"),
    "GetBucketPolicyStatus",
    *("GetBucketRequestPayment", "GetBucketVersioning", "GetBucketWebsite", "GetObjectLockConfiguration"),
    "GetPublicAccessBlock",
}


def _serialized(operation: str, bucket: str) -> dict[str, Any]:
    model = shapes.service("s3").operation_model(operation)
    shape = model.input_shape
    given = {member: _example(shape.members[member]) for member in (shape.required_members if shape else ())}
    if "Bucket" in given:
        given["Bucket"] = bucket
    sent: dict[str, Any] = create_serializer("rest-xml", include_validation=False).serialize_to_request(given, model)
    return sent


def _example(shape: Any) -> Any:
    values = {"string": "xxx", "integer": 1, "long": 1, "boolean": True, "blob": b"", "list": [], "map": {}}
    if shape.type_name == "structure":
        return {}
    return (getattr(shape, "enum", None) or [values.get(shape.type_name, "xxx")])[0]
