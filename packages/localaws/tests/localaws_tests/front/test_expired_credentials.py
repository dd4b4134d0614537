"""Temporary credentials: good until their expiration, refused from then on as each protocol says it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localaws.server import Endpoint
from localaws_tests.conftest import ROLE, client_of


@pytest.fixture
def role(endpoint: Endpoint) -> dict[str, str]:
    """Credentials of an assumed role."""
    answer = client_of(endpoint, "sts").assume_role(RoleArn=ROLE, RoleSessionName="short", DurationSeconds=900)
    found: dict[str, str] = answer["Credentials"]
    return found


def age(access_key: str, seconds: float) -> None:
    """Make credentials older than they are."""
    from moto.backends import get_backend

    backends = [backend for of_account in get_backend("sts").values() for backend in of_account.values()]
    (found,) = filter(None, (backend.get_assumed_role_from_access_key(access_key) for backend in backends))
    found.expiration -= timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("service", "call", "code", "status"),
    [
        ("sagemaker", "list_models", "ExpiredTokenException", 403),
        ("s3", "list_buckets", "ExpiredToken", 400),
        ("sts", "get_caller_identity", "ExpiredToken", 403),
    ],
)
def test_credentials_end(
    endpoint: Endpoint, role: dict[str, str], service: str, call: str, code: str, status: int
) -> None:
    client: Any = boto3.client(
        service,
        endpoint_url=endpoint.environment()["AWS_ENDPOINT_URL"],
        aws_access_key_id=role["AccessKeyId"],
        aws_secret_access_key=role["SecretAccessKey"],
        aws_session_token=role["SessionToken"],
        region_name="us-east-1",
    )
    age(role["AccessKeyId"], 800)
    getattr(client, call)()
    age(role["AccessKeyId"], 100)
    with pytest.raises(ClientError, match="expired") as refused:
        getattr(client, call)()
    assert refused.value.response["Error"]["Code"] == code
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
