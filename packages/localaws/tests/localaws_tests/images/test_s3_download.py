"""The one GET that the images do themselves: botocore is the oracle of its signature, our S3 answers it."""

from __future__ import annotations

import datetime
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cheroot.wsgi import Server
from container_toolkit import source
from container_toolkit.base import UserError

from localaws.s3 import S3Store, s3_app

NOW = datetime.datetime(2026, 11, 20, 12, 0, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize("token", [None, "a-token"])
@pytest.mark.parametrize("path", ["/bucket/a/b.tar.gz", "/bucket/a%20b/%C3%A9%2B.tar.gz"])
def test_signature_equals_botocores(path: str, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
    request = AWSRequest("GET", f"http://127.0.0.1:4566{path}")
    S3SigV4Auth(Credentials("AKIDEXAMPLE", "secret", token), "s3", "eu-west-1").add_auth(request)
    found = source._signature("127.0.0.1:4566", path, "eu-west-1", NOW)
    assert found["Authorization"] == request.headers["Authorization"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    store = S3Store(tmp_path / "s3")
    server = Server(("127.0.0.1", 0), s3_app(store), numthreads=2)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.bind_addr[1]}")
    yield store
    server.stop()
    thread.join()
    store.close()


def test_code_comes_from_s3(store: S3Store, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("train.py")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"pass"))
    store.create_bucket("bucket")
    store.put_bytes("bucket", "run 1/sourcedir.tar.gz", buffer.getvalue())
    directory = source.prepare("s3://bucket/run 1/sourcedir.tar.gz", tmp_path / "code")
    assert (directory / "train.py").read_text() == "pass"
    with pytest.raises(UserError, match="s3://bucket/absent cannot be read: S3 answered 404"):
        source.prepare("s3://bucket/absent", tmp_path / "other")
    store.put_bytes("bucket", "text", b"no archive")
    with pytest.raises(UserError, match=r"s3://bucket/text cannot be unpacked, it should be a .tar.gz"):
        source.prepare("s3://bucket/text", tmp_path / "third")


def test_an_endpoint_that_is_no_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "file:///etc")
    with pytest.raises(UserError, match="it must begin with http"):
        source.download("s3://bucket/passwd", tmp_path / "x")
