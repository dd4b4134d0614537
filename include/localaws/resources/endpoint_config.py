"""Endpoint configurations: which models an endpoint serves, with what weights, and what it captures."""

from __future__ import annotations

from typing import Any

from include.localaws import s3data
from include.localaws.context import Context
from include.localaws.errors import ResourceInUse, ValidationException
from include.localaws.execution import refuse, tag_map
from include.localaws.listing import list_page
from include.localaws.registry import operation
from include.localaws.resources import model
from include.localaws.store import Resource

KIND = "endpoint-config"
STATUS = "Created"
KEPT = ("ProductionVariants", "DataCaptureConfig", "KmsKeyId")
UNSUPPORTED = (
    "AsyncInferenceConfig",
    "ExplainerConfig",
    "ShadowProductionVariants",
    "ExecutionRoleArn",  # given only for inference components
    "EnableNetworkIsolation",
    "VpcConfig",
    "MetricsConfig",
    "CrossRegionTrafficConfig",
)
UNSUPPORTED_OF_VARIANT = (
    "ServerlessConfig",
    "InstancePools",
    "ManagedInstanceScaling",
    "CoreDumpConfig",
    "RoutingConfig",
    "CapacityReservationConfig",
    "AcceleratorPartitionLayouts",
    "EnableSSMAccess",
)


def find_config(ctx: Context, name: str) -> Resource:
    """The configuration; raises ValidationException with AWS's text when there is none."""
    found = ctx.store.get(KIND, name)
    if found is None:
        raise ValidationException(f'Could not find endpoint configuration "{ctx.config.arn(KIND, name)}".')
    return found


@operation("CreateEndpointConfig")
def create_endpoint_config(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The models must exist. What the endpoint would not do (serverless, shadows, ...) is refused by name."""
    refuse(request, *UNSUPPORTED, *(f"ProductionVariants.{member}" for member in UNSUPPORTED_OF_VARIANT))
    name = request["EndpointConfigName"]
    variants = [_variant(ctx, v, f"ProductionVariants.{i}") for i, v in enumerate(request["ProductionVariants"], 1)]
    names = [v["VariantName"] for v in variants]
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise ValidationException(f"Production variant names must be unique; {doubled[0]!r} is used twice.")
    if "DataCaptureConfig" in request:
        s3data.split(request["DataCaptureConfig"]["DestinationS3Uri"])
    body = {key: request[key] for key in KEPT if key in request} | {"ProductionVariants": variants}
    tags = tag_map(request)
    arn = ctx.config.arn(KIND, name)
    try:
        ctx.store.insert(KIND, name, arn, STATUS, body, tags)
    except ResourceInUse:
        raise ValidationException(f'Cannot create already existing endpoint configuration "{arn}".') from None
    return {"EndpointConfigArn": arn}


def _variant(ctx: Context, variant: dict[str, Any], where: str) -> dict[str, Any]:
    """A variant with the API's defaults filled in."""
    for member in ("ModelName", "InstanceType", "InitialInstanceCount"):
        if member not in variant:
            raise ValidationException(f"'{where}.{member}' must be given for a variant on instances.")
    model.find_model(ctx, variant["ModelName"])
    return {"InitialVariantWeight": 1.0, **variant}


@operation("DescribeEndpointConfig")
def describe_endpoint_config(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it was created."""
    config = find_config(ctx, request["EndpointConfigName"])
    return {**config.body, **_summary(config), "EnableNetworkIsolation": False}


def _summary(config: Resource) -> dict[str, Any]:
    return {
        "EndpointConfigName": config.name,
        "EndpointConfigArn": config.arn,
        "CreationTime": config.created,
    }


@operation("ListEndpointConfigs")
def list_endpoint_configs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """All configurations; newest first unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, "EndpointConfigs", _summary, default_order="Descending")


@operation("DeleteEndpointConfig")
def delete_endpoint_config(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the configuration; an endpoint that uses it goes on, but cannot be updated any more."""
    ctx.store.delete(KIND, find_config(ctx, request["EndpointConfigName"]).name)
    return {}
