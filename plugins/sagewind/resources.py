"""SageMaker's resources that are not jobs, as a table: calls and fields named once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sagewind import endpoints
from sagewind.aws import AwsClients, is_missing

ResourceName = Literal["model", "endpoint_config", "endpoint", "package_group", "package", "monitoring_schedule"]


@dataclass(frozen=True)
class ResourceApi:
    """One kind: boto3 method names and the fields of its requests and descriptions. `update` is empty if there is none.

    `name` is what Create and Describe take; a model package is deleted under another field than it is made under.
    """

    kind: ResourceName
    name: str
    arn: str
    create: str
    describe: str
    delete: str
    update: str = ""

    def look(self, aws: AwsClients, name: str) -> dict[str, Any] | None:
        """The resource's description, or None if there is no such resource."""
        try:
            found: dict[str, Any] = getattr(aws.client("sagemaker"), self.describe)(**{self.name: name})
        except Exception as error:
            if is_missing(error):
                return None
            raise
        return found

    def remove(self, aws: AwsClients, name: str) -> bool:
        """Delete it; False if it was not there. An endpoint is awaited until it is gone: it bills until then."""
        if self.kind == "endpoint":
            return endpoints.delete(aws, name)
        try:
            getattr(aws.client("sagemaker"), self.delete)(**{self.name: name})
        except Exception as error:
            if is_missing(error):
                return False
            raise
        return True


def _resource(kind: ResourceName, word: str, *, update: str = "") -> ResourceApi:
    """The regular case: every call and field is the resource's name in another case."""
    snake = "_".join(part.lower() for part in _words(word))
    return ResourceApi(
        kind=kind,
        name=f"{word}Name",
        arn=f"{word}Arn",
        create=f"create_{snake}",
        describe=f"describe_{snake}",
        delete=f"delete_{snake}",
        update=update,
    )


def _words(camel: str) -> list[str]:
    words = [""]
    for letter in camel:
        if letter.isupper() and words[-1]:
            words.append("")
        words[-1] += letter
    return words


RESOURCES: Mapping[ResourceName, ResourceApi] = {
    found.kind: found
    for found in (
        _resource("model", "Model"),
        _resource("endpoint_config", "EndpointConfig"),
        _resource("endpoint", "Endpoint", update="update_endpoint"),
        _resource("package_group", "ModelPackageGroup"),
        _resource("package", "ModelPackage"),
        _resource("monitoring_schedule", "MonitoringSchedule", update="update_monitoring_schedule"),
    )
}
