"""A private /opt/ml for each test, and the images' environments where they have been built."""

from __future__ import annotations

import http.client
import json
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localaws.engine import images as local_images
from localaws.engine.images import Image, Images, default_cache

IMAGES = local_images.SHIPPED
CHANNEL = {
    "ContentType": "text/csv",
    "TrainingInputMode": "File",
    "S3DistributionType": "FullyReplicated",
    "RecordWrapperType": "None",
}


class MlDir:
    """An /opt/ml on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, content: str | bytes | dict[str, Any]) -> Path:
        """Put a file at a path below the root; a dict becomes JSON."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            content = json.dumps(content)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def training(self, hyperparameters: dict[str, str], channels: dict[str, str], **channel: str) -> None:
        """The configuration files of a training job and one file per channel."""
        self.write("input/config/hyperparameters.json", hyperparameters)
        self.write("input/config/inputdataconfig.json", {name: {**CHANNEL, **channel} for name in channels})
        self.write("input/config/resourceconfig.json", {"current_host": "algo-1", "hosts": ["algo-1"]})
        for name, content in channels.items():
            self.write(f"input/data/{name}/data.csv", content)

    def text(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")


@pytest.fixture
def ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlDir:
    """SAGEMAKER_BASE_DIR points to it."""
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    (tmp_path / "ml").mkdir()
    return MlDir(tmp_path / "ml")


def built(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Image, Path]:
    """An image and its interpreter; skips the test when the environment is not in the cache."""

    def refuse(image: Image, *_: object) -> None:
        pytest.skip(f"image {image.name} is not built: localaws pull {image.name}")

    monkeypatch.setattr(local_images, "_build", refuse)
    cache = default_cache()
    image = Images(IMAGES, cache).by_name(name)
    return image, image.environment()


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, ml: MlDir) -> Run:
    """Run a program of an image to its end: run("xgboost", "train", NAME=value)."""

    def start(name: str, program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        image, python = built(name, monkeypatch)
        return subprocess.run(
            [python, image.program(program), *arguments],
            env=environment(image, ml, **variables),
            capture_output=True,
            text=True,
            timeout=600,
        )

    return start


def environment(image: Image, ml: MlDir, **variables: str) -> dict[str, str]:
    """The clean environment of a sandbox."""
    fixed = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**fixed, **image.variables, "SAGEMAKER_BASE_DIR": str(ml.root), **variables}


class Server:
    """A running `serve`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def get(self, path: str) -> tuple[int, bytes]:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def invoke(self, body: bytes | str, content_type: str, accept: str | None = None) -> tuple[int, str, bytes]:
        headers = {"Content-Type": content_type} | ({} if accept is None else {"Accept": accept})
        self._connection.request("POST", "/invocations", body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()


def free_port() -> int:
    """A port below those that the kernel gives away by itself: nobody takes it before the server listens."""
    for port in random.SystemRandom().sample(range(10_000, 32_768), 1_000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise AssertionError("1,000 ports are all taken")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, ml: MlDir) -> Iterator[Callable[..., Server]]:
    """Start `serve` of an image and wait until it listens."""
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, **variables: str) -> Server:
        image, python = built(name, monkeypatch)
        port = free_port()
        process = subprocess.Popen(
            [python, image.program("serve")],
            env=environment(image, ml, SAGEMAKER_BIND_TO_PORT=str(port), **variables),
            stderr=subprocess.PIPE,
        )
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(b"Listening"):
                return Server(process, port)
        raise AssertionError("serve ended without listening")

    yield start
    for process in started:
        process.terminate()
        assert process.stderr is not None
        process.stderr.read()
        process.stderr.close()
        assert process.wait(300) == 0


def fresh_import(name: str) -> None:
    """Forget a module that a test has imported from a temporary directory."""
    sys.modules.pop(name, None)


@pytest.fixture
def builtin(ml: MlDir, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Any]:
    """A built-in algorithm in this process: builtin("knn")."""
    from localaws_tests.images.builtin import Builtin

    return lambda name: Builtin(name, ml, capsys)
