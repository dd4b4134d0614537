"""The services that moto answers and whose own requirements are an extra of this distribution."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.server import Endpoint
from localaws_tests.conftest import client_of


@pytest.mark.parametrize(
    ("service", "call", "given", "module"),
    [
        ("xray", "get_sampling_rules", {}, "aws_xray_sdk"),
        ("glue", "get_databases", {}, "pyparsing"),
        ("cognito-idp", "list_user_pools", {"MaxResults": 1}, "joserfc"),
        ("cloudformation", "list_stacks", {}, "openapi_spec_validator"),
    ],
)
def test_what_is_not_installed_is_named(
    service: str,
    call: str,
    given: dict[str, Any],
    module: str,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ClientError) as refused:
        getattr(client_of(endpoint, service), call)(**given)
    said = f"needs the Python module {module}"
    assert said in str(refused.value)
    assert "install sagewind-localaws[all-services]" in str(refused.value)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_those_that_the_guide_names_need_nothing_more(endpoint: Endpoint) -> None:
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "sts": ("get_caller_identity", {}),
        "iam": ("list_roles", {}),
        "logs": ("describe_log_groups", {}),
        "cloudwatch": ("list_metrics", {}),
        "ecr": ("describe_repositories", {}),
        "events": ("list_rules", {}),
        "application-autoscaling": ("describe_scaling_policies", {"ServiceNamespace": "sagemaker"}),
    }
    for service, (call, given) in calls.items():
        answer = getattr(client_of(endpoint, service), call)(**given)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
