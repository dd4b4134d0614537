"""Definitions of monitoring jobs, four kinds with the same four operations; schedules name them."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.errors import ResourceNotFound
from localaws.listing import list_page
from localaws.member_checks import refuse, tag_map
from localaws.monitoring.definition import DEFINITIONS, check, from_definition
from localaws.registry import operation
from localaws.store import StoredResource

STATUS = "Completed"  # a definition does nothing by itself
UNSUPPORTED = {f"Create{kind}JobDefinition": (f"{kind}JobInput.BatchTransformInput",) for kind in DEFINITIONS}
ECHOED = {
    f"Create{kind}JobDefinition": (
        f"{kind}BaselineConfig.BaseliningJobName",
        f"{kind}JobOutputConfig.KmsKeyId",
        "JobResources.ClusterConfig.VolumeSizeInGB",
        "JobResources.ClusterConfig.VolumeKmsKeyId",
        "NetworkConfig.EnableInterContainerTrafficEncryption",
        "NetworkConfig.VpcConfig",
        "RoleArn",
    )
    for kind in DEFINITIONS
}


def _register(kind: str, stored: str) -> None:
    words = stored.replace("-", " ")

    def find(ctx: Context, name: str) -> StoredResource:
        found = ctx.store.get(stored, name)
        if found is None:
            raise ResourceNotFound(f"Could not find {words} {ctx.config.arn(stored, name)}")
        return found

    @operation(f"Create{kind}JobDefinition")
    def create(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Keep a definition that an execution could work with."""
        refuse(request, *UNSUPPORTED[f"Create{kind}JobDefinition"])
        check(ctx, from_definition(kind, request))
        name = request["JobDefinitionName"]
        arn = ctx.config.arn(stored, name)
        body = {key: value for key, value in request.items() if key != "Tags"}
        ctx.store.insert(stored, name, arn, STATUS, body, tag_map(request))
        return {"JobDefinitionArn": arn}

    @operation(f"Describe{kind}JobDefinition")
    def describe(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """The definition as it was created."""
        found = find(ctx, request["JobDefinitionName"])
        return {**found.body, "JobDefinitionArn": found.arn, "CreationTime": found.created}

    @operation(f"List{kind}JobDefinitions")
    def list_definitions(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """All definitions of the kind; newest first unless asked otherwise."""

        def endpoint(definition: StoredResource) -> str:
            return str(definition.body[f"{kind}JobInput"]["EndpointInput"]["EndpointName"])

        def summary(definition: StoredResource) -> dict[str, Any]:
            return {
                "MonitoringJobDefinitionName": definition.name,
                "MonitoringJobDefinitionArn": definition.arn,
                "CreationTime": definition.created,
                "EndpointName": endpoint(definition),
            }

        found = [d for d in ctx.store.list(stored) if request.get("EndpointName") in (None, endpoint(d))]
        return list_page(found, request, "JobDefinitionSummaries", summary, default_order="Descending")

    @operation(f"Delete{kind}JobDefinition")
    def delete(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
        """Remove the definition; an execution that needs it later fails and says so."""
        ctx.store.delete(stored, find(ctx, request["JobDefinitionName"]).name)
        return {}


for _kind, _stored in DEFINITIONS.items():
    _register(_kind, _stored)
