"""SageMaker's resources that are not jobs, as a table: calls and fields named once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sagewind.facts.calls import ApiNames

ResourceName = Literal["model", "endpoint_config", "endpoint", "package_group", "package", "monitoring_schedule"]


@dataclass(frozen=True)
class ResourceApi(ApiNames):
    """One kind: its calls and fields."""

    kind: ResourceName
    #: Field of the answer of `list`.
    summaries: str
    #: Whether SageMaker can change one that is there.
    changes: bool = False

    @property
    def delete(self) -> str:
        """Method that deletes one."""
        return f"delete_{self.snake}"

    @property
    def update(self) -> str:
        """Method that changes one; empty if there is none."""
        return f"update_{self.snake}" if self.changes else ""

    @property
    def shown(self) -> str:
        """The kind in words, for example `model package group`."""
        return self.snake.replace("_", " ")


RESOURCES: Mapping[ResourceName, ResourceApi] = {
    found.kind: found
    for found in (
        ResourceApi("Model", "model", "Models"),
        ResourceApi("EndpointConfig", "endpoint_config", "EndpointConfigs"),
        ResourceApi("Endpoint", "endpoint", "Endpoints", changes=True),
        ResourceApi("ModelPackageGroup", "package_group", "ModelPackageGroupSummaryList"),
        ResourceApi("ModelPackage", "package", "ModelPackageSummaryList"),
        ResourceApi("MonitoringSchedule", "monitoring_schedule", "MonitoringScheduleSummaries", changes=True),
    )
}
