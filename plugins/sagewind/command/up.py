"""`sagewind up`: Airflow with its pages and the local AWS endpoint on this machine, until Ctrl-C.

Not `airflow standalone`: that serves the tasks' logs on every network interface, and its children outlive its death.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from sagewind.command import local
from sagewind.command.errors import CommandError

HOST = "127.0.0.1"
#: Logs are read from the files, so nothing needs to serve them.
COMPONENTS = (
    ("api-server",),
    ("scheduler", "--skip-serve-logs"),
    ("dag-processor",),
    ("triggerer", "--skip-serve-logs"),
)
START_SECONDS = 300.0
#: Between two looks at the processes and at the API while it starts.
LOOK_SECONDS = 0.5


def up(project: Path, port: int, aws_port: int) -> int:
    """Start all, tell the address, user and password, and stay until Ctrl-C; CommandError if one of them ends."""
    _require_free(port)
    with local.endpoint(project, aws_port) as aws:
        environment = local.airflow(project, aws.variables) | {
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__CORE__PARALLELISM": "4",  # each is a process that waits; the default is 32
            "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        }
        log = local.folder(project) / "migrate.log"
        with log.open("w") as kept:
            local.migrate(environment, kept.fileno(), log)  # writes airflow.cfg too, whose secrets the parts share
        started: list[subprocess.Popen[bytes]] = []
        with local.ended_with_us(started), suppress(KeyboardInterrupt):
            for part in COMPONENTS:
                started.append(_start(part, environment, project))
            parts = {part[0]: process for part, process in zip(COMPONENTS, started, strict=True)}
            local.tell(f"Airflow starts on http://{HOST}:{port} ...")
            _wait(aws, parts, project, f"http://{HOST}:{port}/api/v2/version")
            local.tell(f"Airflow: http://{HOST}:{port}, {_who(Path(environment['AIRFLOW_HOME']))}")
            local.tell(f"AWS:     {aws.variables['AWS_ENDPOINT_URL']}; logs: {local.folder(project)}; Ctrl-C ends both")
            _wait(aws, parts, project, None)
    return 0


def _require_free(port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise CommandError(f"port {port} cannot be used: {error.strerror}: choose another with --port") from None


def _start(part: tuple[str, ...], environment: dict[str, str], project: Path) -> subprocess.Popen[bytes]:
    with (local.folder(project) / f"{part[0]}.log").open("w") as log:
        return subprocess.Popen(
            [local.program("airflow"), *part],
            env=environment, cwd=project, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0,
            preexec_fn=local.end_with_parent(),
        )  # fmt: skip


def _wait(aws: local.StartedEndpoint, parts: dict[str, subprocess.Popen[Any]], project: Path, url: str | None) -> None:
    """Until the address answers; without one, for ever. CommandError if one ends or the start takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while url is None or not _answers(url):
        aws.still_there()
        for name, process in parts.items():
            if process.poll() is not None:
                log = local.folder(project) / f"{name}.log"
                raise CommandError(f"Airflow's {name} has ended with {process.returncode}: read {log}")
        if url is not None and time.monotonic() > deadline:
            raise CommandError(
                f"Airflow did not answer at {url} within {START_SECONDS:.0f} s: read {local.folder(project)}"
            )
        time.sleep(LOOK_SECONDS)


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _who(home: Path) -> str:
    """Who may sign in, as Airflow's SimpleAuthManager wrote it down."""
    file = home / "simple_auth_manager_passwords.json.generated"
    if not file.is_file():
        return "with the users of its own configuration"
    users: dict[str, str] = json.loads(file.read_text())
    return ", ".join(f"user {name}, password {password}" for name, password in users.items())
