"""The wheel as somebody gets it who has nothing else: installed into an empty environment, started by its command."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from localaws.engine import pip_settings
from localaws.engine.images import SHIPPED
from localaws_tests.conftest import PACKAGE

SETTLED = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LOCALAWS_CACHE", "LOCALAWS_STATE"}
README = (PACKAGE / "README.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(import boto3\n.*?)```", README, re.S)  # the training job, as it stands there


def command(*argv: str | Path, **environment: str) -> str:
    """Run to the end with nothing of this environment's Python; returns what it printed."""
    inherited = {name: value for name, value in os.environ.items() if name not in SETTLED}
    done = subprocess.run(
        [str(part) for part in argv], env={**inherited, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command(sys.executable, "-m", "uv", "build", "--wheel", PACKAGE, "-o", folder, **pip_settings.settings())
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel and what it requires."""
    home = tmp_path_factory.mktemp("empty") / "venv"
    command(sys.executable, "-m", "uv", "venv", "--python", sys.executable, home)
    command(
        sys.executable, "-m", "uv", "pip", "install", "--python", home / "bin/python", wheel, **pip_settings.settings()
    )
    return home / "bin"


@pytest.fixture
def endpoint(installed: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """`localaws` and nothing more; gives the variables that it prints."""
    inherited = {name: value for name, value in os.environ.items() if name not in SETTLED}
    with subprocess.Popen(
        [installed / "localaws", "--port", "0"], env=inherited, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        exports = [shlex.split(process.stdout.readline())[1].split("=", 1) for _ in range(4)]
        yield dict(exports)
        process.terminate()
        assert process.wait(240) == 0


def test_it_holds_every_file_and_the_programs_can_be_started(wheel: Path) -> None:
    source = SHIPPED.parent
    expected = {
        f"localaws/{path.relative_to(source).as_posix()}": os.access(path, os.X_OK)
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {
            item.filename: bool(item.external_attr >> 16 & 0o100)
            for item in archive.infolist()
            if item.filename.startswith("localaws/")
        }
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    assert found == expected
    assert "License-Expression: Apache-2.0" in text
    assert text.count("# localaws") == 1  # the README is the description


def test_what_the_container_image_is_built_from_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Docker sends what .dockerignore lets through; the Dockerfile installs the lock and then this directory."""
    sent = [line[1:] for line in (PACKAGE / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in sent:
        copy = shutil.copytree if (PACKAGE / name).is_dir() else shutil.copy
        copy(PACKAGE / name, tmp_path / name)
    command(sys.executable, "-m", "uv", "build", "--wheel", tmp_path, "-o", tmp_path / "out", **pip_settings.settings())
    (built,) = (tmp_path / "out").glob("*.whl")
    names = [sorted(zipfile.ZipFile(file).namelist()) for file in (built, wheel)]
    assert names[0] == names[1]
    assert {"constraints.txt"} <= set(sent)


def test_a_training_job_completes_where_boto3_is_all_there_is(installed: Path, endpoint: dict[str, str]) -> None:
    listing = command(sys.executable, "-m", "uv", "pip", "list", "--python", installed / "python")
    assert "sagewind-localaws" in listing
    assert not {"apache-airflow", "sagemaker", "pandas", "pytest", "sagewind"} & {
        r.split()[0] for r in listing.splitlines()
    }
    assert command(installed / "python", "-c", EXAMPLE, **endpoint) == (
        "{'S3ModelArtifacts': 's3://mine/out/sum/output/model.tar.gz'}\n"
    )
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint["AWS_ENDPOINT_URL"],
        aws_access_key_id=endpoint["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=endpoint["AWS_SECRET_ACCESS_KEY"],
        region_name=endpoint["AWS_DEFAULT_REGION"],
    )
    artifact = s3.get_object(Bucket="mine", Key="out/sum/output/model.tar.gz")["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(artifact)) as archive:
        total = archive.extractfile("total")
        assert total is not None
        assert total.read() == b"42"


def test_the_example_is_green_in_an_empty_project(installed: Path, tmp_path: Path) -> None:
    """pytest, boto3 and the wheel: what its examples need is what it brings."""
    python = installed / "python"
    command(sys.executable, "-m", "uv", "pip", "install", "--python", python, "pytest", **pip_settings.settings())
    shutil.copytree(PACKAGE / "examples", tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    inherited = {name: value for name, value in os.environ.items() if name not in SETTLED}
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "--strict-markers"],
        cwd=tmp_path / "mine", env=inherited, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
