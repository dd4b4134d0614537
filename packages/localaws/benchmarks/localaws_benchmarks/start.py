"""What it costs to install the endpoint and to start it, beside moto's own server.

Both are installed into new environments from the same warm package cache, in turns, and started as their commands; a
start ends with the answer to the first ListTrainingJobs. Memory is the resident set after that and one call of STS.

    python -m localaws_benchmarks.start [ROUNDS]
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from localaws.engine.pip_settings import settings as registry
from localaws_benchmarks.table import Row, render

FLOOR = "moto's server, installed as moto[server]"
KEYS = {"LOCALAWS_ACCESS_KEY_ID": "bench", "LOCALAWS_SECRET_ACCESS_KEY": "bench-secret"}
PACKAGE = Path(__file__).resolve().parents[2]


def _uv(*arguments: str, home: Path) -> float:
    began = time.perf_counter()
    environment = {**os.environ, **registry(), "UV_LINK_MODE": "copy"}
    subprocess.run([sys.executable, "-m", "uv", *arguments], env=environment, cwd=home, check=True, capture_output=True)
    return time.perf_counter() - began


def install(requirement: str, home: Path) -> tuple[Path, float]:
    """A new environment with the requirement: its Python, and the seconds."""
    seconds = _uv("venv", "--python", sys.executable, str(home), home=home.parent)
    python = home / "bin/python"
    return python, seconds + _uv("pip", "install", "--python", str(python), requirement, home=home.parent)


def size(home: Path) -> tuple[float, int]:
    """MiB on disk, and how many packages."""
    files = [p.stat().st_size for p in home.rglob("*") if p.is_file() and not p.is_symlink()]
    return sum(files) / 2**20, len(list(home.glob("lib/python*/site-packages/*.dist-info")))


@contextlib.contextmanager
def started(argv: list[str], port: int, folder: Path) -> Iterator[tuple[float, float]]:
    """Seconds until the first answer, and MiB of memory after it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | KEYS
    began = time.perf_counter()
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        config = Config(retries={"total_max_attempts": 1})
        keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench-secret", "region_name": "us-east-1"}
        sagemaker, sts = (boto3.client(s, endpoint_url=url, config=config, **keys) for s in ("sagemaker", "sts"))
        _wait_for_answer(sagemaker, server)
        seconds = time.perf_counter() - began
        sts.get_caller_identity()
        resident = Path(f"/proc/{server.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
        yield seconds, int(resident) / 1024
    finally:
        server.terminate()
        server.wait(60)


def _wait_for_answer(sagemaker: Any, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with contextlib.suppress(BotoCoreError):
            sagemaker.list_training_jobs()
            return
        time.sleep(0.005)
    raise RuntimeError(f"{server.args!r} ended with {server.returncode}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def measure(rounds: int) -> tuple[list[Row], str]:
    """The rows, and below them what is no time."""
    installs: dict[str, list[float]] = {"moto": [], "ours": []}
    starts: dict[str, list[float]] = {"moto": [], "ours": []}
    facts: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _uv("build", "--wheel", str(PACKAGE), "-o", str(home / "wheel"), home=home)
        wheel = str(next((home / "wheel").glob("*.whl")))
        for number in range(rounds):
            for name, requirement in (("moto", "moto[server]==5.2.5"), ("ours", wheel)):
                python, seconds = install(requirement, home / f"{name}-{number}")
                port = _free_port()
                command = {
                    "moto": [str(python), "-m", "moto.server", "-p", str(port)],
                    "ours": [str(python), "-m", "localaws", "--port", str(port)],
                }[name]
                with started(command, port, home) as (first, _):  # compiles the modules
                    pass
                with started(command, port, home) as (first, resident):
                    installs[name].append(seconds)
                    starts[name].append(first)
                    megabytes, packages = size(home / f"{name}-{number}")
                    facts[name] = {"MiB on disk": megabytes, "packages": packages, "MiB of memory": resident}
    rows = [
        Row("install from a warm cache", installs["moto"], installs["ours"]),
        Row("start to the first answer", starts["moto"], starts["ours"]),
    ]
    rounded = {name: {k: round(v) for k, v in values.items()} for name, values in facts.items()}
    return rows, "".join(f"{name}: {json.dumps(values)[1:-1]}\n" for name, values in rounded.items())


def bench(rounds: int) -> str:
    """The table."""
    rows, facts = measure(rounds)
    return render("Install and start, seconds", FLOOR, rows) + facts


if __name__ == "__main__":
    sys.stdout.write(bench(int(sys.argv[1]) if sys.argv[1:] else 3))
