"""docker-compose.yaml is valid, keeps its secrets in .env and publishes nothing beyond this machine."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.compose import services
from tests.conftest import ROOT
from tools import make_env

pytestmark = pytest.mark.skipif(services.compose_command() is None, reason="no docker-compose on this machine")


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compose") / ".env"
    make_env.write(path)
    return path


@pytest.fixture(scope="module")
def secrets(env_file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in env_file.read_text().splitlines() if not line.startswith("#"))


@pytest.fixture(scope="module")
def definitions(env_file: Path) -> dict[str, dict[str, Any]]:
    return services.services(env_file)


def test_services(definitions: dict[str, dict[str, Any]]) -> None:
    assert set(definitions) == {*services.ALWAYS_RUNNING, "airflow-init"}


def test_every_service_that_stays_has_a_health_check(definitions: dict[str, dict[str, Any]]) -> None:
    assert {name for name, service in definitions.items() if "healthcheck" not in service} == {"airflow-init"}


def test_ports_are_published_on_loopback_only(definitions: dict[str, dict[str, Any]]) -> None:
    published = {name: service["ports"] for name, service in definitions.items() if service.get("ports")}
    assert published == {"api-server": ["127.0.0.1:8080:8080/tcp"], "localaws": ["127.0.0.1:4566:4566/tcp"]}


def test_airflow_waits_for_what_it_needs(definitions: dict[str, dict[str, Any]]) -> None:
    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker"):
        conditions = {needed: how["condition"] for needed, how in definitions[name]["depends_on"].items()}
        assert conditions == {
            "postgres": "service_healthy",
            "redis": "service_healthy",
            "airflow-init": "service_completed_successfully",
        }


def test_a_missing_secret_is_named(secrets: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("".join(f"{name}={value}\n" for name, value in secrets.items() if name != "REDIS_PASSWORD"))
    done = services.compose_config(path)
    assert done.returncode != 0
    assert "REDIS_PASSWORD" in done.stderr
    assert "run make env first" in done.stderr


def test_the_file_asks_for_what_make_env_writes(secrets: dict[str, str]) -> None:
    text = (ROOT / "docker-compose.yaml").read_text()
    assert set(re.findall(r"(?<!\$)\$\{(\w+):\?run make env first\}", text)) == set(secrets)
    assert set(re.findall(r"(?<!\$)\$\{?(\w+)", text)) == set(secrets)


def test_secrets_stand_in_environments_only(definitions: dict[str, dict[str, Any]], secrets: dict[str, str]) -> None:
    for service in definitions.values():
        outside = json.dumps({key: value for key, value in service.items() if key != "environment"})
        assert [name for name, value in secrets.items() if value in outside] == []


def test_only_the_init_service_knows_the_admin_password(
    definitions: dict[str, dict[str, Any]], secrets: dict[str, str]
) -> None:
    password = secrets["AIRFLOW_ADMIN_PASSWORD"]
    assert [name for name, service in definitions.items() if password in json.dumps(service)] == ["airflow-init"]


def test_the_connection_is_the_local_endpoint_with_its_own_key(
    definitions: dict[str, dict[str, Any]], secrets: dict[str, str]
) -> None:
    connection = json.loads(definitions["worker"]["environment"]["AIRFLOW_CONN_AWS_DEFAULT"])
    local = definitions["localaws"]["environment"]
    assert connection["login"] == local["LOCALAWS_ACCESS_KEY_ID"] == secrets["LOCALAWS_ACCESS_KEY_ID"]
    assert connection["password"] == local["LOCALAWS_SECRET_ACCESS_KEY"] == secrets["LOCALAWS_SECRET_ACCESS_KEY"]
    assert connection["extra"]["endpoint_url"] == "http://localaws:4566"


def test_the_build_context_holds_no_secret() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert not [line for line in ignored if line.startswith("!") and ".env" in line]
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()
