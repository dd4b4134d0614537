"""An endpoint serves as asked, or it does not: every status of the service model is judged."""

from __future__ import annotations

import botocore.session
import pytest

from sagewind.endpoints import judge

STATUSES = botocore.session.get_session().get_service_model("sagemaker").shape_for("EndpointStatus").enum
EXPECTED = {
    "OutOfService": "failed",
    "Creating": "changing",
    "Updating": "changing",
    "SystemUpdating": "changing",
    "RollingBack": "changing",
    "InService": "serving",
    "Deleting": "changing",
    "Failed": "failed",
    "UpdateRollbackFailed": "failed",
}


def test_no_status_is_forgotten() -> None:
    assert set(EXPECTED) == set(STATUSES)


@pytest.mark.parametrize("status", STATUSES)
def test_status(status: str) -> None:
    found = {"EndpointStatus": status, "EndpointConfigName": "new"}
    assert judge(found, "e", "new")[0] == EXPECTED[status]


def test_in_service_with_another_config_is_a_roll_back() -> None:
    found = {"EndpointStatus": "InService", "EndpointConfigName": "old", "FailureReason": "ping failed"}
    verdict, sentence = judge(found, "e", "new")
    assert verdict == "failed"
    assert sentence == "endpoint e serves config old, not new: it was rolled back: ping failed"


def test_no_endpoint_is_a_failure() -> None:
    assert judge(None, "e", "new") == ("failed", "endpoint e does not exist")
