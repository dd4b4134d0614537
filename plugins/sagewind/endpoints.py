"""What can be learnt and done about an endpoint through the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from sagewind import settings, tags
from sagewind.aws import AwsClients, is_missing
from sagewind.aws import look as aws_look
from sagewind.facts.resources import RESOURCES
from sagewind.facts.tags import PREVIOUS
from sagewind.patience import until

EndpointVerdict = Literal["serving", "changing", "failed"]
CHANGING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})


def look(aws: AwsClients, name: str) -> dict[str, Any] | None:
    """The endpoint's description, or None if there is none."""
    return aws_look(aws, RESOURCES["endpoint"], name)


def judge(found: dict[str, Any] | None, name: str, config: str) -> tuple[EndpointVerdict, str]:
    """Whether the endpoint serves with `config`, and a sentence that says why.

    `InService` with another config is a roll-back, `OutOfService` and `UpdateRollbackFailed` are failures: the
    provider's sensor counts all three as success.
    """
    if found is None:
        return "failed", f"endpoint {name} does not exist"
    status, current = found["EndpointStatus"], found.get("EndpointConfigName")
    reason = found.get("FailureReason")
    because = f": {reason}" if reason else ""
    if status in CHANGING:
        return "changing", f"endpoint {name} is {status}"
    if status != "InService":
        return "failed", f"endpoint {name} is {status}{because}"
    if current != config:
        return "failed", f"endpoint {name} serves config {current}, not {config}: it was rolled back{because}"
    return "serving", f"endpoint {name} is InService with config {config}"


def incoming(found: dict[str, Any]) -> str | None:
    """The config that an update in progress leads to; Describe names the present one until the update is over."""
    summary: dict[str, Any] = found.get("PendingDeploymentSummary") or {}
    return summary.get("EndpointConfigName")


def delete(aws: AwsClients, name: str) -> bool:
    """Delete the endpoint and wait until it is gone; False if there was none.

    One that is being created or updated cannot be deleted (AWS refuses it), so it is awaited first.
    """
    from botocore.exceptions import ClientError

    sagemaker = aws.client("sagemaker")
    settle(aws, name)
    try:
        sagemaker.delete_endpoint(EndpointName=name)
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    patience = settings.ENDPOINT_CHANGE.read()
    if not until(lambda: look(aws, name) is None, patience):
        raise TimeoutError(f"endpoint {name} is still being deleted after {patience:g} s: look at it in AWS")
    return True


def settle(aws: AwsClients, name: str) -> bool:
    """Wait until the endpoint does not change any more; False if `endpoint_change_seconds` are over first.

    Holds a worker: for ends that are rare.
    """

    def settled() -> bool:
        found = look(aws, name)
        return found is None or found["EndpointStatus"] not in CHANGING

    return until(settled, settings.ENDPOINT_CHANGE.read())


def _config_arn(aws: AwsClients, config: str) -> str:
    found = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
    return str(found["EndpointConfigArn"])


def config_time(aws: AwsClients, config: str) -> datetime:
    """When an endpoint config was made."""
    found = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=config)
    made: datetime = found["CreationTime"]
    return made.astimezone(UTC)


def remember_previous(aws: AwsClients, config: str, previous: str) -> None:
    """Write on `config` which config served before it."""
    tags.write(aws, _config_arn(aws, config), {PREVIOUS: previous})


def previous_of(aws: AwsClients, config: str) -> str | None:
    """The config that served before `config`, or None."""
    return tag_of(aws, config, PREVIOUS)


def tag_of(aws: AwsClients, config: str, key: str) -> str | None:
    """One of our tags on an endpoint config, or None."""
    return tags.read(aws, _config_arn(aws, config)).get(key)
