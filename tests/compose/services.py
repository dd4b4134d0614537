"""docker-compose.yaml as data, and its services as plain processes on loopback ports.

There is no container engine in these tests: each service's own command runs with its own environment, where host
names and directories of the containers are replaced by loopback ports and a directory of the test. What an engine
adds (images, networks, volumes) is not tested.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT
from tools.stack import ports

ALWAYS_RUNNING = ("postgres", "redis", "localaws", "api-server", "scheduler", "dag-processor", "triggerer", "worker")


def compose_command() -> list[str] | None:
    """The compose program of this machine: docker-compose, or the docker plugin; None if there is neither."""
    if program := shutil.which("docker-compose"):
        return [program]
    docker = shutil.which("docker")
    if docker and not subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return [docker, "compose"]
    return None


def compose_config(env_file: Path) -> subprocess.CompletedProcess[str]:
    """`docker-compose config` with nothing of the caller's environment but what finds programs."""
    command = compose_command()
    assert command is not None
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command += ["--project-name", "sagewind", "--file", str(ROOT / "docker-compose.yaml")]
    command += ["--env-file", str(env_file), "config"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def services(env_file: Path) -> dict[str, dict[str, Any]]:
    """Service name -> its definition with every variable filled in."""
    done = compose_config(env_file)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = yaml.safe_load(done.stdout.replace("$$", "$"))["services"]
    return found


def postgres_program(name: str) -> str | None:
    """Path of PostgreSQL's `name`; Debian keeps servers out of PATH."""
    if found := shutil.which(name):
        return found
    return next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)


@dataclass
class Processes:
    """The services of the compose file as processes under one directory."""

    home: Path
    definitions: dict[str, dict[str, Any]]
    ports: dict[str, int] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = ("postgres", "redis", "localaws", "api", "scheduler", "worker-logs", "trigger-logs")
        self.ports = dict(zip(names, ports.choose(len(names)), strict=True))
        for folder in ("airflow/logs", "airflow/auth", "state", "cache", "dags"):
            (self.home / folder).mkdir(parents=True)

    def here(self, text: str) -> str:
        """`text` with the containers' host names, ports and directories replaced by those of this machine."""
        port = self.ports
        for container, local in (
            ("@postgres:5432", f"@127.0.0.1:{port['postgres']}"),
            ("@redis:6379", f"@127.0.0.1:{port['redis']}"),
            ("redis-server -", f"redis-server - --bind 127.0.0.1 --port {port['redis']}"),
            ("redis-cli ", f"redis-cli -p {port['redis']} "),
            ("http://api-server:8080", f"http://127.0.0.1:{port['api']}"),
            ("http://localhost:8080", f"http://127.0.0.1:{port['api']}"),
            ("http://localaws:4566", f"http://127.0.0.1:{port['localaws']}"),
            ("http://127.0.0.1:4566", f"http://127.0.0.1:{port['localaws']}"),
            ("/opt/airflow", str(self.home / "airflow")),
            ("/opt/sagewind/dags", str(self.home / "dags")),
            ("/opt/sagewind", str(ROOT)),
            ("/var/lib/localaws", str(self.home)),
        ):
            text = text.replace(container, local)
        return {"8080": str(port["api"]), "4566": str(port["localaws"]), "0.0.0.0": "127.0.0.1"}.get(text, text)

    def environment(self, service: str) -> dict[str, str]:
        """The environment of a service: what the image sets, what the compose file sets, the ports of this test."""
        given: Mapping[str, Any] = self.definitions[service].get("environment", {})
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "HOSTNAME": socket.gethostname(),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}",
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "NO_PROXY": "127.0.0.1",
            **{name: self.here(str(value)) for name, value in given.items()},
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": str(self.ports["scheduler"]),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.ports["worker-logs"]),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.ports["trigger-logs"]),
        }

    def start(self, service: str, command: list[str] | None = None, user: str | None = None) -> None:
        """Start a service in a session of its own, its output in `<home>/<service>.log`."""
        argv = command or [self.here(part) for part in self.definitions[service]["command"]]
        with self.log(service).open("wb") as log:
            self.running[service] = subprocess.Popen(
                argv,
                env=self.environment(service),
                cwd=self.home,
                user=user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_postgres(self) -> None:
        """Start PostgreSQL as the image does; its server refuses to run as root, so root lends it another user."""
        initdb, server = postgres_program("initdb"), postgres_program("postgres")
        assert initdb is not None
        assert server is not None
        user = None
        data = self.home / "postgres"
        data.mkdir(mode=0o700)
        environment = self.environment("postgres")
        password = self.home / "password"
        password.write_text(environment["POSTGRES_PASSWORD"])
        if os.geteuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            user = "postgres" if "postgres" in known else "nobody"
            for path in (data, password):
                shutil.chown(path, user)
        command = [initdb, "--pgdata", str(data), "--username", environment["POSTGRES_USER"], "--no-sync"]
        command += ["--auth", "scram-sha-256", "--pwfile", str(password)]
        subprocess.run(command, user=user, cwd=self.home, check=True, capture_output=True)
        port = str(self.ports["postgres"])
        self.start("postgres", [server, "-D", str(data), "-p", port, "-k", "", "-h", "127.0.0.1", "-F"], user=user)

    def create_database(self, psql: str) -> None:
        """The image makes the database POSTGRES_DB at its first start; initdb alone does not."""
        given = self.environment("postgres")
        environment = {"PATH": given["PATH"], "PGPASSWORD": given["POSTGRES_PASSWORD"]}
        command = [psql, "--host", "127.0.0.1", "--port", str(self.ports["postgres"])]
        command += ["--username", given["POSTGRES_USER"], "--dbname", "postgres"]
        command += ["--command", f'CREATE DATABASE "{given["POSTGRES_DB"]}"']
        subprocess.run(command, env=environment, check=True, capture_output=True)

    def log(self, service: str) -> Path:
        """File with the output of a service."""
        return self.home / f"{service}.log"

    def healthy(self, service: str) -> bool:
        """Run the service's own health check once."""
        kind, *test = self.definitions[service]["healthcheck"]["test"]
        argv = ["sh", "-c", *map(self.here, test)] if kind == "CMD-SHELL" else [self.here(part) for part in test]
        environment = self.environment(service)
        if service == "postgres":
            environment["PGPORT"] = str(self.ports["postgres"])
        return not subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, check=False).returncode

    def wait_healthy(self, service: str, seconds: float = 600) -> None:
        """Return when the health check passes; fail when the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not self.healthy(service):
            assert time.monotonic() < deadline, f"{service} is not healthy after {seconds:g} s:\n{self.tail(service)}"
            self.still_running(service, 0.5)

    def still_running(self, service: str, seconds: float) -> None:
        """Watch a service for a while; fail if it ends."""
        try:
            code = self.running[service].wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"{service} ended with {code}:\n{self.tail(service)}")

    def tail(self, service: str) -> str:
        """The last lines that a service wrote."""
        return self.log(service).read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """End every process group that was started: first what uses the databases, then the databases."""
        databases = {"postgres", "redis"}
        for names in (set(self.running) - databases, databases & set(self.running)):
            for name in names:
                _signal(self.running[name], signal.SIGTERM)
            for name in names:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.running[name].wait(30)
                _signal(self.running[name], signal.SIGKILL)
                self.running[name].wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)  # the group, because it may outlive its first process
