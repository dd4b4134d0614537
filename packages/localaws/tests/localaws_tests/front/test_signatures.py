"""Signature version 4: what is signed counts, what is not is refused. Oracles: botocore and AWS's examples."""

from __future__ import annotations

import hashlib
import http.client
import io
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from localaws.errors import RequestRefused
from localaws.front import auth
from localaws.front.auth import authenticate
from localaws.s3.body import Body
from localaws.s3.chunks import ChunkSigner, signing_key
from localaws.s3.errors import S3Error
from localaws.server import Endpoint
from localaws_tests.conftest import client_of

NOW = 1_800_000_000.0
KEY = Credentials("AKIAEXAMPLE", "secret")


def environ(request: AWSRequest) -> dict[str, Any]:
    """A prepared request as a WSGI server hands it on."""
    prepared = request.prepare()
    host, _, rest = prepared.url.removeprefix("http://").partition("/")
    path, _, query = rest.partition("?")
    body = prepared.body or b""
    found: dict[str, Any] = {
        "REQUEST_METHOD": prepared.method, "REQUEST_URI": "/" + rest, "PATH_INFO": "/" + path, "QUERY_STRING": query,
        "HTTP_HOST": host, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)),
    }  # fmt: skip
    for name, value in prepared.headers.items():
        text = value.decode() if isinstance(value, bytes) else value
        member = name.upper().replace("-", "_")
        found[member if member in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{member}"] = text
    return found


def made(
    signer: Callable[..., Any] = SigV4Auth, service: str = "sagemaker", url: str = "http://h/", body: bytes = b"{}",
    headers: dict[str, str] | None = None, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """A request that botocore has signed at NOW."""
    request = AWSRequest(method="POST" if body else "GET", url=url, data=body, headers=headers or {})
    moment = datetime.fromtimestamp(NOW, UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: moment)
        signer(KEY, service, "us-east-1", **options).add_auth(request)
    return environ(request)


def check(given: dict[str, Any], now: float = NOW) -> str:
    """ "" for a request that is let in, else the reason of the refusal."""
    try:
        authenticate(given, lambda key: ("secret", None) if key == KEY.access_key else None, now)
    except RequestRefused as refused:
        return refused.reason
    return ""


def test_a_signed_request_is_let_in_and_every_change_is_seen() -> None:
    assert check(made()) == ""
    for change in (
        {"REQUEST_METHOD": "PUT"}, {"REQUEST_URI": "/other"}, {"REQUEST_URI": "/?x=1"}, {"HTTP_HOST": "h2"},
        {"wsgi.input": io.BytesIO(b"[]")},
    ):  # fmt: skip
        assert check({**made(), **change}) == "signature"


def test_headers_that_mean_something_must_be_signed() -> None:
    """What is not signed could have been put there by anybody who saw the request."""
    assert check({**made(), "HTTP_X_AMZ_TARGET": "SageMaker.DeleteModel"}) == "headers"
    assert check({**made(), "HTTP_USER_AGENT": "other"}) == ""
    given = made(headers={"X-Amz-Target": "SageMaker.ListModels"})
    assert check({**given, "HTTP_X_AMZ_TARGET": "SageMaker.DeleteModel"}) == "signature"

    class WithoutHost(SigV4Auth):  # type: ignore[misc]
        def headers_to_sign(self, request: AWSRequest) -> Any:
            signed = super().headers_to_sign(request)
            del signed["host"]
            return signed

    assert check(made(WithoutHost)) == "headers"


@pytest.mark.parametrize(("shift", "reason"), [(-901, "time"), (-899, ""), (899, ""), (901, "time")])
def test_the_clock(shift: float, reason: str) -> None:
    assert check(made(), NOW + shift) == reason


def test_a_claimed_hash_is_held_against_the_body() -> None:
    for claimed in ("UNSIGNED-PAYLOAD", hashlib.sha256(b"x").hexdigest(), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"):
        assert check(made(headers={"X-Amz-Content-SHA256": claimed})) == "signature"
    # S3 may leave the body unsigned; its own part then compares what was promised.
    unsigned = made(S3SigV4Auth, "s3", "http://h/b/k", headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert check({**unsigned, "wsgi.input": io.BytesIO(b"other")}) in ("", "signature")


@pytest.mark.parametrize(
    ("expires", "shift", "reason"),
    [
        (60, 59, ""),
        (60, 61, "time"),
        (60, -901, "time"),
        (604800, 0, ""),
        (604801, 0, "signature"),
        (0, 0, "signature"),
    ],
)
def test_presigned_requests_expire(expires: int, shift: float, reason: str) -> None:
    given = made(S3SigV4QueryAuth, "s3", "http://h/b/k", b"", expires=expires)
    assert check(given, NOW + shift) == reason


@pytest.mark.parametrize("text", ["inf", "nan", "1e3", "-1", "\u0661", "", "9" * 4000])
def test_an_expiry_is_a_number_of_seconds(text: str) -> None:
    given = made(S3SigV4QueryAuth, "s3", "http://h/b/k", b"", expires=60)
    query = given["QUERY_STRING"].replace("X-Amz-Expires=60", f"X-Amz-Expires={text}")
    assert check({**given, "QUERY_STRING": query, "REQUEST_URI": f"/b/k?{query}"}) == "signature"


def test_a_presigned_call_of_another_service_has_a_signed_body() -> None:
    given = made(SigV4QueryAuth, "sts", "http://h/?Action=GetCallerIdentity&Version=2011-06-15", b"")
    assert check(given) == ""
    assert check({**given, "wsgi.input": io.BytesIO(b"Action=x"), "CONTENT_LENGTH": "8"}) == "signature"
    assert check({**given, "HTTP_X_AMZ_TARGET": "SageMaker.DeleteModel"}) == "headers"


@pytest.mark.parametrize(
    "header", ["", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b, Signature=c", "\x00" * 99]
)
def test_what_is_no_signature(header: str) -> None:
    assert check({**made(), "HTTP_AUTHORIZATION": header}) == "signature"


# S3 API Reference, "Transferring payload in multiple chunks" and "Including trailing headers": the worked examples.
SCOPE = "20130524/us-east-1/s3/aws4_request"
EXAMPLE = signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1", "s3")
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CHUNKS = (
    (65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
    (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
    (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
)
TRAILER_SEED = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
TRAILER_CHUNKS = (
    (65536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
    (1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
    (0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
)
TRAILERS = (
    b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n"
)


def received(body: bytes, seed: str) -> bytes:
    """The bytes of a chunked body whose signatures are checked."""
    signer = ChunkSigner(EXAMPLE, "20130524T000000Z", SCOPE, seed)
    return b"".join(Body(io.BytesIO(body), len(body), framed=True, decoded=66560, signer=signer))


def chunked(chunks: tuple[tuple[int, str], ...], trailers: bytes = b"") -> bytes:
    parts = [b"%x;chunk-signature=%s\r\n%s\r\n" % (n, s.encode(), b"a" * n) for n, s in chunks]
    return b"".join(parts)[:-2] + trailers + b"\r\n"  # the last chunk has no bytes and no line end of its own


def test_the_examples_of_aws() -> None:
    assert received(chunked(CHUNKS), SEED) == b"a" * 66560
    assert received(chunked(TRAILER_CHUNKS, TRAILERS), TRAILER_SEED) == b"a" * 66560


@pytest.mark.parametrize(
    ("body", "seed"),
    [
        (chunked(CHUNKS), TRAILER_SEED),
        (chunked(CHUNKS).replace(b"aaaa\r\n", b"aaab\r\n", 1), SEED),
        (chunked((CHUNKS[1], CHUNKS[0], CHUNKS[2])), SEED),
        (chunked((*CHUNKS[:2], (0, CHUNKS[1][1]))), SEED),
        (chunked(CHUNKS).replace(b";chunk-signature=" + CHUNKS[2][1].encode(), b""), SEED),
        (chunked(TRAILER_CHUNKS, TRAILERS.replace(b"sOO8", b"sOO9")), TRAILER_SEED),
        (chunked(TRAILER_CHUNKS, TRAILERS.split(b"\r\n")[0] + b"\r\n"), TRAILER_SEED),
    ],
)
def test_a_changed_chunk_is_refused(body: bytes, seed: str) -> None:
    with pytest.raises(S3Error) as refused:
        received(body, seed)
    assert refused.value.code == "SignatureDoesNotMatch"


def send(endpoint: Endpoint, request: AWSRequest, body: bytes | None = None) -> tuple[int, bytes]:
    prepared = request.prepare()
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.ctx.config.port)
    path = prepared.url.partition("//")[2].partition("/")[2]
    headers = {name: value for name, value in prepared.headers.items() if name.lower() != "content-length"}
    connection.request(prepared.method, "/" + path, body or prepared.body or b"", headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def credentials(endpoint: Endpoint) -> Credentials:
    return Credentials(endpoint.ctx.config.access_key, endpoint.ctx.config.secret_key)


def test_chunk_signatures_through_the_port(endpoint: Endpoint, s3: Any) -> None:
    """What the Java SDK sends over plain HTTP."""

    class Streaming(S3SigV4Auth):  # type: ignore[misc]
        def payload(self, request: AWSRequest) -> str:
            return "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"

    data = b"signed chunk by chunk"
    for changed in (False, True):
        request = AWSRequest(
            method="PUT", url=endpoint.ctx.config.endpoint + "/data/chunked",
            headers={"X-Amz-Decoded-Content-Length": str(len(data)), "Content-Encoding": "aws-chunked"},
        )  # fmt: skip
        Streaming(credentials(endpoint), "s3", "us-east-1").add_auth(request)
        moment, seed = request.headers["X-Amz-Date"], request.headers["Authorization"].rpartition("=")[2]
        key = signing_key(endpoint.ctx.config.secret_key, moment[:8], "us-east-1", "s3")
        signer = ChunkSigner(key, moment, f"{moment[:8]}/us-east-1/s3/aws4_request", seed)
        lines = [
            b"%x;chunk-signature=%s\r\n" % (len(p), signer.chunk(hashlib.sha256(p).hexdigest()).encode())
            for p in (data, b"")
        ]
        body = lines[0] + (data.upper() if changed else data) + b"\r\n" + lines[1] + b"\r\n"
        status, text = send(endpoint, request, body)
        assert (status, b"SignatureDoesNotMatch" in text) == ((403, True) if changed else (200, False))
        assert s3.get_object(Bucket="data", Key="chunked")["Body"].read() == data


def test_a_signature_for_another_service_does_not_open_sagemaker(endpoint: Endpoint) -> None:
    """S3 leaves bodies unsigned: such a signature over an exchanged body must not start a job."""
    for url, target in (("/", "SageMaker.ListModels"), ("/_localaws/faults", None)):
        headers = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"} | ({"X-Amz-Target": target} if target else {})
        request = AWSRequest(method="POST", url=endpoint.ctx.config.endpoint + url, data=b"{}", headers=headers)
        S3SigV4Auth(credentials(endpoint), "s3", "us-east-1").add_auth(request)
        status, text = send(endpoint, request)
        assert status == 403
        assert b"Credential should be scoped to correct service" in text


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_upload_cannot_be_made_a_copy(endpoint: Endpoint, s3: Any, version: str) -> None:
    s3.put_object(Bucket="data", Key="private", Body=b"private")
    config = endpoint.environment()
    client = boto3.client(
        "s3", endpoint_url=config["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id=config["AWS_ACCESS_KEY_ID"], aws_secret_access_key=config["AWS_SECRET_ACCESS_KEY"],
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )  # fmt: skip
    link = client.generate_presigned_url("put_object", {"Bucket": "data", "Key": "inbox"})
    copy = urllib.request.Request(link, method="PUT", headers={"x-amz-copy-source": "/data/private"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(copy)
    assert refused.value.code == 403
    upload = urllib.request.Request(link, data=b"mine", method="PUT", headers={"Content-Type": ""})
    assert urllib.request.urlopen(upload).status == 200
    assert client_of(endpoint, "s3").get_object(Bucket="data", Key="inbox")["Body"].read() == b"mine"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:1", True), ("localhost", True), ("bucket.localhost:80", True), ("[::1]:4566", True),
        ("127.8.9.1", True),
        ("evil.example", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("", False),
        ("evil.example:80@localhost", False), ("127.0.0.1 evil", False), ("0x7f000001", False),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_are_served(endpoint: Endpoint, host: str, allowed: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.ctx.config.port)
    connection.putrequest("GET", "/_localaws/health", skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    assert (connection.getresponse().status == 200) is allowed
    connection.close()


def test_credentials_are_for_their_owner_only(endpoint: Endpoint) -> None:
    state = endpoint.ctx.config.state
    assert state.stat().st_mode & 0o077 == 0 or (state / "credentials.json").stat().st_mode & 0o077 == 0
    assert "secret_key" not in repr(endpoint.ctx.config)
    assert auth.state_credentials(state) == (endpoint.ctx.config.access_key, endpoint.ctx.config.secret_key)
