"""What other SDKs and hand-made clients send: aws-chunked bodies, virtual hosts, odd paths, refused operations."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import zlib
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import boto3
import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localaws.s3 import S3Store, s3_app
from localaws.s3.conditions import byte_range
from localaws.s3.errors import InvalidRange
from localaws.s3.object_ops import FileBlocks

Answer = tuple[int, dict[str, str], bytes]


class Raw:
    """HTTP requests byte for byte, over one kept-alive connection."""

    def __init__(self, endpoint: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=240)

    def __call__(self, method: str, path: str, body: bytes | list[bytes] = b"", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        chunked = isinstance(body, list)
        payload: Any = iter(body) if chunked else body
        self._connection.request(method, path, payload, sent, encode_chunked=chunked)
        answer = self._connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


@pytest.fixture
def raw(endpoint: str) -> Raw:
    return Raw(endpoint)


def code_of(body: bytes) -> str | None:
    return ElementTree.fromstring(body).findtext("Code")


def framed(data: bytes, size: int, trailers: dict[str, str], signed: bool = False) -> bytes:
    """The data as aws-chunked."""
    out = io.BytesIO()
    for at in range(0, len(data), size):
        chunk = data[at : at + size]
        out.write(b"%x%s\r\n%s\r\n" % (len(chunk), b";chunk-signature=" + b"a" * 64 if signed else b"", chunk))
    out.write(b"0%s\r\n" % (b";chunk-signature=" + b"a" * 64 if signed else b""))
    for name, value in trailers.items():
        out.write(f"{name}:{value}\r\n".encode())
    out.write(b"\r\n")
    return out.getvalue()


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


TRAILER = {
    "x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "x_amz_trailer": "x-amz-checksum-crc32",
    "content_encoding": "gzip,aws-chunked",
}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.binary(max_size=3000), size=st.integers(1, 1000), signed=st.booleans(), chunked=st.booleans())
def test_aws_chunked(data: bytes, size: int, signed: bool, chunked: bool, raw: Raw, store: S3Store) -> None:
    store.create_bucket("chunked")
    body = framed(data, size, {"x-amz-checksum-crc32": crc32(data)}, signed)
    sent: Any = [body[: len(body) // 2], body[len(body) // 2 :]] if chunked else body
    if chunked:
        sent = [part for part in sent if part]
    status, headers, _body = raw("PUT", "/chunked/k", sent, x_amz_decoded_content_length=str(len(data)), **TRAILER)
    assert status == 200
    assert headers["etag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert headers["x-amz-checksum-crc32"] == crc32(data)
    assert store.open("chunked", "k").read() == data
    assert store.head("chunked", "k").meta.headers == {"content-encoding": "gzip"}


@pytest.mark.parametrize(
    ("body", "length", "code"),
    [
        (framed(b"hello", 5, {"x-amz-checksum-crc32": crc32(b"other")}), 5, "BadDigest"),
        (framed(b"hello", 5, {"x-amz-checksum-crc32": "!"}), 5, "InvalidRequest"),
        (framed(b"hello", 5, {}), 6, "IncompleteBody"),
        (b"5\r\nhello\r\n", 5, "IncompleteBody"),
        (b"zz\r\nhello\r\n0\r\n\r\n", 5, "IncompleteBody"),
        (b"3\r\nhello\r\n0\r\n\r\n", 5, "IncompleteBody"),
    ],
)
def test_a_damaged_chunked_body_is_refused(
    body: bytes, length: int, code: str, raw: Raw, store: S3Store, bucket: str
) -> None:
    status, _headers, answer = raw("PUT", f"/{bucket}/k", body, x_amz_decoded_content_length=str(length), **TRAILER)
    assert (status, code_of(answer)) == (400, code)
    assert list(store.iter_keys(bucket)) == []
    assert raw("PUT", f"/{bucket}/k", b"next on the same connection")[0] == 200


@pytest.mark.parametrize("algorithm", ["crc32", "sha1", "sha256", "sha512", "md5"])
def test_a_wrong_checksum_is_refused(algorithm: str, raw: Raw, bucket: str) -> None:
    right = crc32(b"x") if algorithm == "crc32" else base64.b64encode(hashlib.new(algorithm, b"x").digest()).decode()
    wrong = crc32(b"y") if algorithm == "crc32" else base64.b64encode(hashlib.new(algorithm, b"y").digest()).decode()
    header = f"x_amz_checksum_{algorithm}"
    assert raw("PUT", f"/{bucket}/k", b"x", **{header: right})[0] == 200
    status, _headers, body = raw("PUT", f"/{bucket}/k", b"x", **{header: wrong})
    assert (status, code_of(body)) == (400, "BadDigest")
    _status, headers, _body = raw("HEAD", f"/{bucket}/k", x_amz_checksum_mode="ENABLED")
    assert headers[header.replace("_", "-")] == right


# Check values of "123456789" in the catalogue of CRC algorithms (CRC-32/ISCSI, CRC-64/NVME), big endian in base64.
CATALOGUE = {"crc32": "y/Q5Jg==", "crc32c": "4waSgw==", "crc64nvme": "rosUhgp5mIg="}


@pytest.mark.parametrize("algorithm", CATALOGUE)
def test_cyclic_redundancy_checks(algorithm: str, raw: Raw, bucket: str) -> None:
    header = f"x_amz_checksum_{algorithm}"
    assert raw("PUT", f"/{bucket}/k", b"123456789", **{header: CATALOGUE[algorithm]})[0] == 200
    _status, headers, _body = raw("HEAD", f"/{bucket}/k", x_amz_checksum_mode="ENABLED")
    assert headers[header.replace("_", "-")] == CATALOGUE[algorithm]
    status, _headers, body = raw("PUT", f"/{bucket}/k", b"123456788", **{header: CATALOGUE[algorithm]})
    assert (status, code_of(body)) == (400, "BadDigest")


@pytest.mark.parametrize("algorithm", CATALOGUE)
def test_parts_have_the_checksum_of_the_whole(algorithm: str, raw: Raw, bucket: str, ours: Any) -> None:
    """The same bytes in one piece are the oracle."""
    pieces = [b"a" * (5 << 20), b"b" * (5 << 20) + b"c", b"tail"]
    raw("PUT", f"/{bucket}/whole", b"".join(pieces), x_amz_sdk_checksum_algorithm=algorithm)
    upload = ours.create_multipart_upload(
        Bucket=bucket, Key="parts", ChecksumAlgorithm=algorithm.upper(), ChecksumType="FULL_OBJECT"
    )["UploadId"]
    sent = []
    for number, piece in enumerate(pieces, 1):
        status, headers, _ = raw("PUT", f"/{bucket}/parts?partNumber={number}&uploadId={upload}", piece)
        assert status == 200
        assert headers[f"x-amz-checksum-{algorithm}"]
        sent.append({"PartNumber": number, "ETag": headers["etag"]})
    ours.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={"Parts": sent})
    found = [
        raw("HEAD", f"/{bucket}/{key}", x_amz_checksum_mode="ENABLED")[1][f"x-amz-checksum-{algorithm}"]
        for key in ("whole", "parts")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("CRC64NVME", "COMPOSITE"), ("SHA256", "FULL_OBJECT"), ("NONSENSE", "COMPOSITE")]
)
def test_checksum_types_that_s3_does_not_have(algorithm: str, kind: str, raw: Raw, bucket: str) -> None:
    status, _headers, body = raw(
        "POST", f"/{bucket}/k?uploads", x_amz_checksum_algorithm=algorithm, x_amz_checksum_type=kind
    )
    assert (status, code_of(body)) == (400, "InvalidRequest")


def test_a_part_with_another_checksum_than_the_uploads(raw: Raw, bucket: str, ours: Any) -> None:
    upload = ours.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")["UploadId"]
    status, _headers, body = raw(
        "PUT", f"/{bucket}/k?partNumber=1&uploadId={upload}", b"123456789", x_amz_checksum_crc32=CATALOGUE["crc32"]
    )
    assert (status, code_of(body)) == (400, "InvalidRequest")
    assert b"expected checksum Type: sha256, actual checksum Type: crc32" in body


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_checksum_xxhash64": "AAAAAAAAAAA="},
        {"x_amz_sdk_checksum_algorithm": "XXHASH3"},
        {"x_amz_trailer": "x-amz-checksum-xxhash128"},
    ],
)
def test_checksums_that_are_not_computed_are_refused(headers: dict[str, str], raw: Raw, bucket: str) -> None:
    status, _headers, body = raw("PUT", f"/{bucket}/k", b"x", **headers)
    assert (status, code_of(body)) == (501, "NotImplemented")


@pytest.mark.parametrize("host", ["{b}.localhost", "{b}.localhost:1234", "{b}.s3.eu-west-1.amazonaws.com"])
def test_virtual_host_style(host: str, raw: Raw, store: S3Store, bucket: str) -> None:
    host = host.format(b=bucket)
    assert raw("PUT", "/dir/key", b"data", host=host)[0] == 200
    assert raw("GET", "/dir/key", host=host)[2] == b"data"
    assert list(store.iter_keys(bucket)) == ["dir/key"]
    assert b"<Key>dir/key</Key>" in raw("GET", "/?list-type=2", host=host)[2]


@pytest.mark.parametrize("host", ["127.0.0.1:80", "[::1]:80", "localhost", "s3.amazonaws.com"])
def test_path_style(host: str, raw: Raw, bucket: str) -> None:
    assert raw("PUT", f"/{bucket}/k", b"data", host=host)[0] == 200


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a//b", "a//b"),
        ("/a", "/a"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("%2e%2e/x", "../x"),
        ("a+b", "a+b"),
        ("d/", "d/"),
        ("%00%0A", "\x00\n"),
    ],
)
def test_paths_are_keys_and_nothing_else(path: str, key: str, raw: Raw, store: S3Store, bucket: str) -> None:
    assert raw("PUT", f"/{bucket}/{path}", b"data")[0] == 200
    assert list(store.iter_keys(bucket)) == [key]
    assert raw("GET", f"/{bucket}/{path}")[2] == b"data"


def test_a_path_that_is_not_utf8_is_refused(raw: Raw, bucket: str) -> None:
    status, _headers, body = raw("PUT", f"/{bucket}/%ff", b"data")
    assert (status, code_of(body)) == (400, "InvalidURI")


def test_a_form_is_refused(raw: Raw, bucket: str) -> None:
    """It is no operation of the service model, all of which test_differences has."""
    status, _headers, body = raw("POST", f"/{bucket}", b"")
    assert (status, code_of(body)) == (501, "NotImplemented")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x_amz_server_side_encryption_customer_algorithm": "AES256"}, 501, "NotImplemented"),
        ({"x_amz_object_lock_mode": "GOVERNANCE"}, 501, "NotImplemented"),
        ({"x_amz_acl": "public-read"}, 400, "AccessControlListNotSupported"),
        ({"x_amz_expected_bucket_owner": "999999999999"}, 403, "AccessDenied"),
        ({"if_none_match": '"abc"'}, 501, "NotImplemented"),
        ({"x_amz_tagging": "a=1&a=2"}, 400, "InvalidTag"),
    ],
)
def test_headers_that_cannot_be_honoured_are_refused(
    headers: dict[str, str], status: int, code: str, raw: Raw, store: S3Store, bucket: str
) -> None:
    found, _headers, body = raw("PUT", f"/{bucket}/k", b"x", **headers)
    assert (found, code_of(body)) == (status, code)
    assert list(store.iter_keys(bucket)) == []


@pytest.mark.parametrize(
    "body", [b"<!DOCTYPE x [<!ENTITY a 'b'>]><Delete/>", b"<Delete", b"<Other/>", b"<Delete></Delete>"]
)
def test_malformed_documents(body: bytes, raw: Raw, bucket: str) -> None:
    status, _headers, answer = raw("POST", f"/{bucket}?delete", body)
    assert (status, code_of(answer)) == (400, "MalformedXML")


def test_a_range_of_the_last_bytes_streams_the_right_ones(raw: Raw, store: S3Store, bucket: str) -> None:
    data = bytes(range(256)) * 20_000
    store.put_bytes(bucket, "k", data)
    status, headers, body = raw("GET", f"/{bucket}/k", range="bytes=1000000-4999999")
    assert status == 206
    assert headers["content-range"] == f"bytes 1000000-4999999/{len(data)}"
    assert body == data[1_000_000:5_000_000]


@given(size=st.integers(0, 50), first=st.integers(0, 60), last=st.integers(0, 60))
def test_byte_ranges_agree_with_slices(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    try:
        found = byte_range(f"bytes={first}-{last}", size)
    except InvalidRange:
        assert first >= size
        assert first <= last
        return
    if found is None:
        assert last < first
    else:
        assert data[found[0] : found[1] + 1] == data[first : last + 1]


def test_parts_of_an_object_by_number(ours: Any, bucket: str) -> None:
    upload = ours.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    bodies = [b"x" * (5 << 20), b"tail"]
    parts = [
        {
            "PartNumber": n,
            "ETag": ours.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=n, Body=body)["ETag"],
        }
        for n, body in enumerate(bodies, 1)
    ]
    with pytest.raises(ClientError, match="InvalidPartOrder"):
        ours.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts[::-1]})
    ours.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    answer = ours.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert (answer["Body"].read(), answer["PartsCount"]) == (b"tail", 2)
    with pytest.raises(ClientError) as caught:
        ours.get_object(Bucket=bucket, Key="k", PartNumber=3)
    assert caught.value.response["Error"]["Code"] == "InvalidPartNumber"
    with pytest.raises(ClientError, match="NoSuchUpload"):
        ours.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"")


def test_pages_of_versions_hold_everything_once(ours: Any, store: S3Store, bucket: str) -> None:
    """Those of the other lists are those of plain Python: test_differences."""
    pages_of = ours.get_paginator("list_object_versions").paginate
    expected = [*sorted(f"{a}/{b}" for a in "xyz" for b in range(4)), "zz"]
    for key in expected:
        store.put_bytes(bucket, key, b"")
    pages = list(pages_of(Bucket=bucket, PaginationConfig={"PageSize": 4}))
    assert [item["Key"] for page in pages for item in page.get("Versions", [])] == expected
    assert len(pages) > 2
    grouped = list(pages_of(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}))
    assert [p["Prefix"] for page in grouped for p in page.get("CommonPrefixes", [])] == ["x/", "y/", "z/"]
    assert [item["Key"] for page in grouped for item in page.get("Versions", [])] == ["zz"]


def test_a_bucket_can_be_emptied_through_its_versions(ours: Any, store: S3Store, bucket: str) -> None:
    for number in range(3):
        store.put_bytes(bucket, f"k{number}", b"")
    versions = ours.list_object_versions(Bucket=bucket)["Versions"]
    objects = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in versions]
    ours.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert "Versions" not in ours.list_object_versions(Bucket=bucket)
    ours.delete_bucket(Bucket=bucket)
    assert bucket not in [found["Name"] for found in ours.list_buckets()["Buckets"]]


def test_a_region_other_than_us_east_1(ours: Any, endpoint: str) -> None:
    with pytest.raises(ClientError, match="IllegalLocationConstraintException"):
        ours.create_bucket(Bucket="abroad", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    abroad = boto3.client(
        "s3", endpoint_url=endpoint, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    constraint = {"LocationConstraint": "eu-west-1"}
    abroad.create_bucket(Bucket="abroad", CreateBucketConfiguration=constraint)
    assert abroad.get_bucket_location(Bucket="abroad")["LocationConstraint"] == "eu-west-1"
    with pytest.raises(ClientError, match="BucketAlreadyOwnedByYou"):
        abroad.create_bucket(Bucket="abroad", CreateBucketConfiguration=constraint)


def test_waiters(ours: Any, store: S3Store, bucket: str) -> None:
    store.put_bytes(bucket, "k", b"")
    ours.get_waiter("object_exists").wait(Bucket=bucket, Key="k")
    ours.delete_object(Bucket=bucket, Key="k")
    ours.get_waiter("object_not_exists").wait(Bucket=bucket, Key="k")


def test_a_server_without_request_uri(store: S3Store, bucket: str) -> None:
    """PATH_INFO alone serves too (as in WSGI test clients)."""
    seen: list[str] = []
    environ = {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": f"/{bucket}/é".encode().decode("latin-1"),
        "QUERY_STRING": "",
        "CONTENT_LENGTH": "4",
        "wsgi.input": io.BytesIO(b"datamore"),
    }
    body = s3_app(store)(environ, lambda status, _headers: seen.append(status))
    assert (seen, b"".join(body)) == (["200 OK"], b"")
    assert store.open(bucket, "é").read() == b"data"


def test_an_answer_that_is_not_read_to_its_end_closes_the_file(store: S3Store, bucket: str) -> None:
    store.put_bytes(bucket, "k", b"x" * (3 << 20))
    file = store.open(bucket, "k")
    blocks = FileBlocks(file, 0, 3 << 20)
    next(iter(blocks))
    blocks.close()
    assert file.closed
