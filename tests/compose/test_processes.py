"""Every service of docker-compose.yaml starts with its own command and passes its own health check."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compose import services
from tests.conftest import ROOT
from tools import make_env

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(services.compose_command() is None, reason="no docker-compose on this machine"),
    pytest.mark.skipif(services.postgres_program("postgres") is None, reason="no PostgreSQL server on this machine"),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on this machine"),
]


@pytest.fixture(scope="module")
def stack() -> Iterator[services.Processes]:
    """All services up and healthy, in the order that depends_on demands."""
    with tempfile.TemporaryDirectory(prefix="sagewind-compose-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)  # PostgreSQL may run as another user
        make_env.write(home / ".env")
        processes = services.Processes(home, services.services(home / ".env"))
        for part in ("dags", "include"):
            shutil.copytree(ROOT / part, home / part, dirs_exist_ok=True)
        shutil.copy(Path(__file__).with_name("probe_dag.py"), home / "dags")
        try:
            _bring_up(processes)
            yield processes
        finally:
            processes.stop()


def _bring_up(processes: services.Processes) -> None:
    processes.start_postgres()
    processes.start("redis")
    processes.start("localaws")
    processes.wait_healthy("postgres")
    admin = services.postgres_program("psql")
    assert admin is not None, "psql comes with the PostgreSQL client"
    processes.create_database(admin)
    processes.start("airflow-init")
    code = processes.running["airflow-init"].wait(600)
    assert code == 0, processes.tail("airflow-init")
    started = [name for name in services.ALWAYS_RUNNING if name not in processes.running]
    for name in started:
        processes.start(name)
    for name in ("redis", "localaws", *started):
        processes.wait_healthy(name)


class Api:
    """Airflow's REST API as the user admin."""

    def __init__(self, processes: services.Processes) -> None:
        self.base = f"http://127.0.0.1:{processes.ports['api']}"
        password = processes.environment("airflow-init")["AIRFLOW_ADMIN_PASSWORD"]
        self.token = ""
        self.token = self.call("POST", "/auth/token", {"username": "admin", "password": password})["access_token"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request; HTTPError for a bad status."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=120) as answer:
            return json.load(answer)

    def unless_absent(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, or None for 404."""
        try:
            return self.call(method, path, body)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None


@pytest.fixture(scope="module")
def api(stack: services.Processes) -> Api:
    return Api(stack)


@pytest.mark.parametrize("service", services.ALWAYS_RUNNING)
def test_health_check_passes(stack: services.Processes, service: str) -> None:
    stack.wait_healthy(service)  # several looks, as compose takes them: a check gives up after seconds of its own
    assert stack.running[service].poll() is None


def test_a_wrong_password_is_refused(api: Api) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        api.call("POST", "/auth/token", {"username": "admin", "password": "admin"})


def test_project_dags_are_there(api: Api) -> None:
    """The dag-processor has read the project's files (its health check alone does not say so)."""
    errors = api.call("GET", "/api/v2/importErrors")["import_errors"]
    assert [error["filename"] for error in errors] == []


def test_a_task_runs_on_celery_and_a_wait_in_the_triggerer(stack: services.Processes, api: Api) -> None:
    deadline = time.monotonic() + 600
    run = None
    while run is None:  # until the dag-processor has read the file
        assert time.monotonic() < deadline, stack.tail("dag-processor")
        run = api.unless_absent("POST", "/api/v2/dags/compose_probe/dagRuns", {"logical_date": None})
        stack.still_running("dag-processor", 0.5)
    address = f"/api/v2/dags/compose_probe/dagRuns/{run['dag_run_id']}"
    while run["state"] not in ("success", "failed"):
        assert time.monotonic() < deadline, stack.tail("scheduler")
        stack.still_running("scheduler", 0.5)
        run = api.call("GET", address)
    tasks = api.call("GET", f"{address}/taskInstances")["task_instances"]
    assert {task["task_id"]: task["state"] for task in tasks} == {"account": "success", "wait": "success"}
    found = api.call("GET", f"{address}/taskInstances/account/xcomEntries/return_value")
    assert found["value"] == "123456789012"
    logs = json.dumps(api.call("GET", f"{address}/taskInstances/account/logs/1"))
    assert "Returned value was" in logs, "the UI must be able to read the task's log"


def test_no_secret_is_logged(stack: services.Processes) -> None:
    lines = (stack.home / ".env").read_text().splitlines()
    secrets = [line.partition("=")[2] for line in lines if line and not line.startswith("#")]
    logs = [*stack.home.glob("*.log"), *(stack.home / "airflow/logs").rglob("*.log")]
    assert {stack.log(name) for name in stack.running} <= set(logs)
    text = "\n".join(path.read_text(errors="replace") for path in logs)
    assert [secret[:4] + "..." for secret in secrets if secret in text] == []
