"""AWS clients from an Airflow connection. Local or AWS is the connection's `endpoint_url` and nothing else."""

from __future__ import annotations

import threading
import time
from functools import lru_cache
from typing import Any

from sagewind.facts.calls import ApiNames, says_missing

_MAKING = threading.Lock()


class AwsClients:
    """Clients of one connection and region. boto3 is imported on first use: never while a DAG file is parsed."""

    def __init__(self, connection: str, region: str | None) -> None:
        self.connection = connection
        self.region = region
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client of `service`; adaptive retries, so throttling slows down instead of failing."""
        if service not in self._clients:
            self._clients[service] = _client(self.connection, self.region, service)
        return self._clients[service]

    @property
    def region_name(self) -> str:
        """The region that the connection and the model file lead to."""
        return str(self.client("sagemaker").meta.region_name)


def _client(connection: str, region: str | None, service: str) -> Any:
    """A client that lives for a quarter of an hour at most, so that rotated credentials are picked up."""
    # One at a time: the waits of a triggerer ask all at once, and each client made holds SageMaker's whole model.
    with _MAKING:
        return _made(connection, region, service, int(time.time() // 900))


@lru_cache(maxsize=64)
def _made(connection: str, region: str | None, service: str, quarter: int) -> Any:
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from botocore.config import Config

    hook: Any = AwsBaseHook(
        aws_conn_id=connection,
        region_name=region,
        client_type=service,
        config=Config(retries={"mode": "adaptive", "max_attempts": 8}, connect_timeout=10, read_timeout=70),
    )
    return hook.get_conn()


def error_code(error: Exception) -> str:
    """The wire code of a botocore ClientError, e.g. `ValidationException`; empty for any other error."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_missing(error: Exception) -> bool:
    """True if the error means that the thing asked for does not exist."""
    return says_missing(error_code(error), str(error))


def look(aws: AwsClients, kind: ApiNames, name: str) -> dict[str, Any] | None:
    """The description of a job or another resource, or None if there is no such thing."""
    from botocore.exceptions import ClientError

    try:
        found: dict[str, Any] = getattr(aws.client("sagemaker"), kind.describe)(**{kind.name_field: name})
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    return found


def is_passing(error: Exception) -> bool:
    """True for faults that pass by themselves: throttling, 5xx, renewed credentials, a cut network."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        codes = ("Throttling", "TooManyRequests", "RequestLimitExceeded", "ExpiredToken", "RequestExpired")
        return status >= 500 or any(code in error_code(error) for code in codes)
    return isinstance(
        error,
        exceptions.ConnectionError | exceptions.HTTPClientError | exceptions.CredentialRetrievalError,
    )
