"""What Airflow's processes are given, and what they are not."""

from __future__ import annotations

import configparser
import json
import os
from pathlib import Path

import pytest

from tools.stack import airflow_settings
from tools.stack.airflow_settings import LocalAwsAccess
from tools.stack.state import Home, StateFolder

LINES = [
    "export AWS_ENDPOINT_URL=http://127.0.0.1:4566",
    "export AWS_ACCESS_KEY_ID='AKIA'",
    'export AWS_SECRET_ACCESS_KEY="s3cr=et"',
    "export AWS_DEFAULT_REGION=eu-west-1",
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(StateFolder(tmp_path), "run")
    made.make_folders()
    return made


def environment(home: Home) -> dict[str, str]:
    root = Path("/project")
    return airflow_settings.environment(home, project=root, port=8081)


def test_exports_are_complete_or_not_yet_there() -> None:
    assert LocalAwsAccess.from_exports(LINES[:3]) is None
    assert LocalAwsAccess.from_exports(["a log line", *LINES]) == LocalAwsAccess(
        "http://127.0.0.1:4566", "AKIA", "s3cr=et", "eu-west-1"
    )


def test_connection_is_what_airflow_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import Connection

    aws = LocalAwsAccess.from_exports(LINES)
    assert aws is not None
    connection = Connection.from_json(aws.connection(), conn_id="aws_default")
    assert (connection.conn_type, connection.login, connection.password) == ("aws", "AKIA", "s3cr=et")
    assert connection.extra_dejson == {"endpoint_url": "http://127.0.0.1:4566", "region_name": "eu-west-1"}


def test_callers_credentials_and_airflow_settings_stay_out(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "AIRFLOW__CORE__EXECUTOR", "AIRFLOW_CONN_AWS_DEFAULT"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("SAGEWIND_SOURCE_TUMOR", "file:///data.csv")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    found = environment(home)
    assert "theirs" not in found.values()
    assert found["SAGEWIND_SOURCE_TUMOR"] == "file:///data.csv"
    assert found["PYTHONPATH"] == f"/project{os.pathsep}/theirs"
    assert "127.0.0.1" in found["NO_PROXY"]


def test_the_projects_own_settings_reach_every_process(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SAGEWIND__RETRY_DELAY_SECONDS", "4")
    assert environment(home)["AIRFLOW__SAGEWIND__RETRY_DELAY_SECONDS"] == "4"
    kept = airflow_settings.inherited({"AIRFLOW__SAGEWIND__RETRIES": "1", "AIRFLOW__SAGEWIND": "", "AIRFLOW__X__Y": ""})
    assert [name for name in kept if name.startswith("AIRFLOW")] == ["AIRFLOW__SAGEWIND__RETRIES"]


def test_nothing_secret_is_in_the_environment(home: Home) -> None:
    secrets = home.state.secrets()
    airflow_settings.write_configuration(home, secrets)
    values = "\n".join(environment(home).values())
    for secret in (secrets.fernet_key, secrets.jwt_secret, secrets.api_secret_key, secrets.password):
        assert secret not in values
    for path in (home.airflow / "airflow.cfg", home.airflow / "passwords.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read(home.airflow / "airflow.cfg")
    assert configuration["api_auth"]["jwt_secret"] == secrets.jwt_secret
    assert json.loads((home.airflow / "passwords.json").read_text()) == {"sagewind": secrets.password}


def test_every_setting_is_one_that_this_airflow_knows(home: Home) -> None:
    from airflow.configuration import retrieve_configuration_description

    known = retrieve_configuration_description()
    for name in environment(home):
        if name.startswith("AIRFLOW__"):
            _, section, key = (part.lower() for part in name.split("__", 2))
            assert key in known[section]["options"], name
    assert environment(home)["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"
