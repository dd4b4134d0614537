"""Housekeeping: tells by default, removes on request, and never touches what is not ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from localaws_tests.serving_fixtures import IMAGE, ROLE, server  # noqa: F401 - fixture
from sagewind import aws
from sagewind.operators import housekeeping
from sagewind.operators.housekeeping import HousekeepingOperator
from tests.plugins.conftest import Task

PAUSE = "import signal; signal.pause()"
PAST, FUTURE = "2020-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch, server) -> None:  # noqa: F811
    """Every connection leads to the server of this module."""
    clients: dict[str, Any] = {}
    monkeypatch.setattr(aws, "_client", lambda c, r, service: clients.setdefault(service, server.client(service)))


def sweep(dry: str) -> dict[str, Any]:
    return HousekeepingOperator(task_id="sweep", dry=dry, connection="c").execute(Task("r").context)


def model(server, name: str, **tags: str) -> None:  # noqa: F811
    server.sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": server.put_model_data(f"{name}.tar.gz", "1")},
        ExecutionRoleArn=ROLE,
        Tags=[{"Key": f"sagewind:{key}", "Value": value} for key, value in tags.items()],
    )


def models(server) -> set[str]:  # noqa: F811
    return {item["ModelName"] for item in server.sagemaker.list_models()["Models"]}


def test_only_what_is_ours_and_expired_is_removed_and_only_on_request(server) -> None:  # noqa: F811
    model(server, "expired", model="m", dag="d", run="r", expires=PAST)
    model(server, "fresh", model="m", expires=FUTURE)
    model(server, "lasting", model="m")
    model(server, "foreign")
    for dry in ("True", "", "anything"):
        found = sweep(dry)
        assert found["dry_run"] is True
        assert [(item["name"], item["dag"]) for item in found["findings"]] == [("expired", "d")]
    assert models(server) == {"expired", "fresh", "lasting", "foreign"}
    assert sweep("False")["deleted"] == [{"kind": "model", "name": "expired"}]
    assert models(server) == {"fresh", "lasting", "foreign"}


def test_a_job_is_an_orphan_only_beyond_its_own_limit(server, monkeypatch) -> None:  # noqa: F811
    request = {
        "ProcessingJobName": "long",
        "AppSpecification": {
            "ImageUri": IMAGE,
            "ContainerEntrypoint": ["python3", "-c", "import signal; signal.pause()"],
        },
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "Tags": [{"Key": "sagewind:model", "Value": "m"}],
    }
    server.sagemaker.create_processing_job(**request)

    class Later(datetime):
        """A clock that is some hours ahead."""

        hours = 0

        @classmethod
        def now(cls, tz=None):
            return datetime.now(UTC) + timedelta(hours=cls.hours)

    monkeypatch.setattr(housekeeping, "datetime", Later)
    for hours, expected in ((1, []), (24.3, []), (25, ["long"])):
        Later.hours = hours
        assert [item["name"] for item in sweep("True")["findings"] if item["kind"] == "processing"] == expected
    assert {"kind": "processing job (stopped)", "name": "long"} in sweep("False")["deleted"]
