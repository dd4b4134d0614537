"""Endpoint configurations: which models an endpoint serves, with what weights, and what it captures."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import s3data
from localaws.kinds import ENDPOINT_CONFIG
from localaws.listing import list_page
from localaws.member_checks import refuse, refuse_value, tag_map
from localaws.registry import operation
from localaws.serving.lookup import find_model, served_model
from localaws.serving.variants import ROUTING
from localaws.store import StoredResource

KIND = ENDPOINT_CONFIG.word
STATUS = "Created"
KEPT = ("ProductionVariants", "DataCaptureConfig", "AsyncInferenceConfig", "KmsKeyId")
UNSUPPORTED_OF_VARIANT = (
    "InstancePools",
    "ManagedInstanceScaling",
    "CoreDumpConfig",
    "CapacityReservationConfig",
    "AcceleratorPartitionLayouts",
    "EnableSSMAccess",
)
UNSUPPORTED = (
    "ExplainerConfig",
    "ShadowProductionVariants",
    "ExecutionRoleArn",  # given only for inference components
    "EnableNetworkIsolation",  # the same; a model has it itself
    "VpcConfig",
    "MetricsConfig",
    "CrossRegionTrafficConfig",
    "AsyncInferenceConfig.OutputConfig.NotificationConfig",
    "ProductionVariants.RoutingConfig.PrefixAwareRoutingConfig",
    *(f"ProductionVariants.{member}" for member in UNSUPPORTED_OF_VARIANT),
)
ECHOED = (
    "KmsKeyId",
    "DataCaptureConfig.KmsKeyId",
    "AsyncInferenceConfig.OutputConfig.KmsKeyId",
    "ProductionVariants.AcceleratorType",
    "ProductionVariants.InferenceAmiVersion",
    "ProductionVariants.InstanceType",
    "ProductionVariants.ModelDataDownloadTimeoutInSeconds",
    "ProductionVariants.ServerlessConfig.MemorySizeInMB",
    "ProductionVariants.VariantInstanceProvisionTimeoutInSeconds",
    "ProductionVariants.VolumeSizeInGB",
)
INSTANCE_MEMBERS = ("InstanceType", "InitialInstanceCount")
SERVERLESS = "SageMaker developer guide, Deploy models with Amazon SageMaker Serverless Inference, feature exclusions"
BEHAVIOURS = (
    Behaviour("`Cannot create already existing endpoint configuration ...`", "seen",
              "spot-tagging-bot-for-digital-assets issue 2"),
    Behaviour("memory of a serverless variant in steps of 1 GB; ProvisionedConcurrency up to MaxConcurrency",
              "documented", "CreateEndpointConfig, ProductionVariantServerlessConfig"),
    Behaviour("serverless: one variant, no data capture, VPC, network isolation or pipeline", "documented", SERVERLESS),
    Behaviour("asynchronous: an S3OutputPath is needed; one variant", "assumed"),
)  # fmt: skip


def find_config(ctx: Context, name: str) -> StoredResource:
    """The configuration; raises ValidationException with AWS's text when there is none."""
    found = ctx.store.get(KIND, name)
    if found is None:
        raise ValidationException(f'Could not find endpoint configuration "{ctx.config.arn(KIND, name)}".')
    return found


@operation("CreateEndpointConfig")
def create_endpoint_config(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The models must exist. What the endpoint would not do (shadow variants, explanations, ...) is refused by name."""
    refuse(request, *UNSUPPORTED)
    name = request["EndpointConfigName"]
    variants = [_variant(ctx, v, f"ProductionVariants.{i}") for i, v in enumerate(request["ProductionVariants"], 1)]
    names = [v["VariantName"] for v in variants]
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise ValidationException(f"Production variant names must be unique; {doubled[0]!r} is used twice.")
    if any("ServerlessConfig" in variant for variant in variants):
        _check_serverless(request)
    if "DataCaptureConfig" in request:
        s3data.split(request["DataCaptureConfig"]["DestinationS3Uri"])
    if "AsyncInferenceConfig" in request:
        _check_async(request)
    body = {key: request[key] for key in KEPT if key in request} | {"ProductionVariants": variants}
    tags = tag_map(request)
    arn = ctx.config.arn(KIND, name)
    taken = f'Cannot create already existing endpoint configuration "{arn}".'
    ctx.store.insert(KIND, name, arn, STATUS, body, tags, taken=taken)
    return {"EndpointConfigArn": arn}


def _variant(ctx: Context, variant: dict[str, Any], where: str) -> dict[str, Any]:
    """A variant with the API's defaults filled in."""
    if "ModelName" not in variant:
        raise ValidationException(f"'{where}.ModelName' must be given: inference components are not served here.")
    found = find_model(ctx, variant["ModelName"])
    serverless = variant.get("ServerlessConfig")
    for member in INSTANCE_MEMBERS:
        if serverless is None and member not in variant:
            raise ValidationException(f"'{where}.{member}' must be given for a variant on instances.")
        if serverless is not None and member in variant:
            raise ValidationException(f"'{where}' has both ServerlessConfig and {member}; give one of them.")
    refuse_value(variant.get("RoutingConfig", {}), "RoutingStrategy", ROUTING, f"{where}.RoutingConfig")
    if serverless is not None:
        if serverless["MemorySizeInMB"] % 1024:
            raise ValidationException(
                f"'{where}.ServerlessConfig.MemorySizeInMB' is {serverless['MemorySizeInMB']}: "
                "it must be a multiple of 1024."
            )
        check_concurrency(serverless, f"{where}.ServerlessConfig")
        for member in ("VpcConfig", "EnableNetworkIsolation"):
            if found.body.get(member):
                raise ValidationException(f"'{where}' is serverless, but its model {found.name} has {member}.")
        served_model(ctx, found.name)  # refuses a pipeline, as AWS does for serverless endpoints
    return {"InitialVariantWeight": 1.0, **variant}


def check_concurrency(config: dict[str, Any], where: str) -> None:
    """ValidationException when more is to be kept warm than may be used."""
    if config.get("ProvisionedConcurrency", 0) > config["MaxConcurrency"]:
        raise ValidationException(
            f"'{where}.ProvisionedConcurrency' is {config['ProvisionedConcurrency']}: it must not be greater than "
            f"MaxConcurrency, which is {config['MaxConcurrency']}."
        )


def _check_serverless(request: dict[str, Any]) -> None:
    if len(request["ProductionVariants"]) > 1:
        raise ValidationException("A serverless endpoint has one production variant; 'ProductionVariants' has more.")
    for member in ("DataCaptureConfig", "AsyncInferenceConfig"):
        if member in request:
            raise ValidationException(f"'{member}' is not available for serverless endpoints; leave it out.")


def _check_async(request: dict[str, Any]) -> None:
    output = request["AsyncInferenceConfig"]["OutputConfig"]
    if "S3OutputPath" not in output:
        raise ValidationException("'AsyncInferenceConfig.OutputConfig.S3OutputPath' must be given.")
    for member in ("S3OutputPath", "S3FailurePath"):
        if member in output:
            s3data.split(output[member])
    if len(request["ProductionVariants"]) > 1:
        raise ValidationException("An asynchronous endpoint has one production variant; 'ProductionVariants' has more.")


@operation("DescribeEndpointConfig")
def describe_endpoint_config(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The configuration as it was created."""
    config = find_config(ctx, request["EndpointConfigName"])
    return {**config.body, **_summary(config), "EnableNetworkIsolation": False}


def _summary(config: StoredResource) -> dict[str, Any]:
    return {
        "EndpointConfigName": config.name,
        "EndpointConfigArn": config.arn,
        "CreationTime": config.created,
    }


@operation("ListEndpointConfigs")
def list_endpoint_configs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """All configurations; newest first unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, ENDPOINT_CONFIG.summaries, _summary, default_order="Descending")


@operation("DeleteEndpointConfig")
def delete_endpoint_config(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the configuration; an endpoint that uses it goes on, but cannot be updated any more."""
    ctx.store.delete(KIND, find_config(ctx, request["EndpointConfigName"]).name)
    return {}
