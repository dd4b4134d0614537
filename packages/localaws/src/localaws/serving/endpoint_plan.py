"""What an endpoint is to serve, with everything looked up; and how DescribeEndpoint shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from localaws.context import Context
from localaws.serving.lookup import served_model
from localaws.store import StoredResource

EndpointPlan = dict[str, Any]
COUNT, WEIGHT = "DesiredInstanceCount", "DesiredWeight"  # of VariantPropertyType
RETAINED = {COUNT: "instances", WEIGHT: "weight"}


def plan_of(ctx: Context, config: StoredResource) -> EndpointPlan:
    """The configuration with everything that is needed to serve it."""
    variants = [
        {
            "name": variant["VariantName"],
            "weight": variant["InitialVariantWeight"],
            "instances": variant.get("InitialInstanceCount", 0),
            "instance_type": variant.get("InstanceType"),
            "serverless": variant.get("ServerlessConfig"),
            "routing": variant.get("RoutingConfig", {}).get("RoutingStrategy"),
            "startup_seconds": variant.get("ContainerStartupHealthCheckTimeoutInSeconds"),
            "served": served_model(ctx, variant["ModelName"], pipelines=True).document(),
        }
        for variant in config.body["ProductionVariants"]
    ]
    return {
        "config": config.name,
        "variants": variants,
        "capture": config.body.get("DataCaptureConfig"),
        "async": config.body.get("AsyncInferenceConfig"),
    }


def retain(plan: EndpointPlan, present: EndpointPlan, excluded: Iterable[str]) -> None:
    """Give variants of the plan the weight and instance count that those of the same name have at present."""
    kept = [field for prop, field in RETAINED.items() if prop not in set(excluded)]
    old = {variant["name"]: variant for variant in present["variants"]}
    for variant in plan["variants"]:
        before = old.get(variant["name"])
        if before is not None and not variant.get("serverless") and not before.get("serverless"):
            variant |= {field: before[field] for field in kept}


def scaled(plan: EndpointPlan, changes: Mapping[str, Mapping[str, Any]]) -> EndpointPlan:
    """The plan with changes of `weight`, `instances` and `serverless` by variant name."""
    return {**plan, "variants": [{**v, **changes.get(v["name"], {})} for v in plan["variants"]]}


def instances_by_type(plan: EndpointPlan) -> Counter[str]:
    """How many instances of each type the plan asks for."""
    found: Counter[str] = Counter()
    for variant in plan["variants"]:
        if variant.get("instance_type"):
            found[variant["instance_type"]] += variant["instances"]
    return found


def is_serverless(plan: EndpointPlan) -> bool:
    """Whether its variants are serverless."""
    return any(variant.get("serverless") for variant in plan["variants"])


def variant_summaries(
    plan: EndpointPlan, deployed: float | None, desired: EndpointPlan | None = None
) -> list[dict[str, Any]]:
    """ProductionVariantSummary documents; `desired` is what a change under way leads to."""
    coming = {v["name"]: v for v in (desired or plan)["variants"]}
    return [_summary(variant, coming[variant["name"]], deployed) for variant in plan["variants"]]


def _summary(variant: Mapping[str, Any], coming: Mapping[str, Any], deployed: float | None) -> dict[str, Any]:
    image = variant["served"]["image"]
    routing = variant.get("routing")
    return {
        "VariantName": variant["name"],
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": deployed}],
        "CurrentWeight": variant["weight"],
        "DesiredWeight": coming["weight"],
        "CurrentInstanceCount": variant["instances"],
        "DesiredInstanceCount": coming["instances"],
        "CurrentServerlessConfig": variant.get("serverless"),
        "DesiredServerlessConfig": coming.get("serverless"),
        "RoutingConfig": {"RoutingStrategy": routing} if routing else None,
    }


def capture_summary(capture: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """DataCaptureConfigSummary, or None when the configuration has no data capture."""
    if capture is None:
        return None
    enabled = capture.get("EnableCapture", True)
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }
