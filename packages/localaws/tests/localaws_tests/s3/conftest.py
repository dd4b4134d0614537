"""Our S3 behind a real HTTP server, and moto's S3 as the oracle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cheroot.wsgi import Server
from moto.server import ThreadedMotoServer

from localaws.s3 import S3Store, s3_app


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Store]:
    """One store for the session; tests take buckets of their own."""
    store = S3Store(tmp_path_factory.mktemp("s3"))
    yield store
    store.close()


@pytest.fixture(scope="session")
def endpoint(store: S3Store) -> Iterator[str]:
    """The address of our S3."""
    # A client may be idle for as long as the machine is busy with something else.
    server = Server(("127.0.0.1", 0), s3_app(store), numthreads=8, timeout=240)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield f"http://127.0.0.1:{server.bind_addr[1]}"
    server.stop()
    thread.join()


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """The address of moto's S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _host, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


def s3_client(endpoint: str, **config: Any) -> Any:
    """A boto3 client without retries, so that every answer is seen."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@pytest.fixture(scope="session")
def ours(endpoint: str) -> Any:
    """A client of our S3."""
    return s3_client(endpoint)


@pytest.fixture(scope="session")
def oracle(moto_endpoint: str) -> Any:
    """A client of moto's S3."""
    return s3_client(moto_endpoint)


@pytest.fixture
def bucket(request: pytest.FixtureRequest, store: S3Store) -> str:
    """A new bucket in the store."""
    name = f"b-{abs(hash(request.node.nodeid)):x}"
    store.create_bucket(name)
    return name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of a store of the test's own."""
    return tmp_path / "s3"
