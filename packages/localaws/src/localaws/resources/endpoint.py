"""Endpoints: create, update without a dropped request, scale, describe and delete. Each operation returns at once."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.kinds import ENDPOINT
from localaws.listing import list_page
from localaws.member_checks import refuse, refuse_value, tag_map
from localaws.registry import on_start, operation
from localaws.resources import endpoint_config
from localaws.serving import endpoint_works as works
from localaws.serving.endpoint_plan import (
    EndpointPlan,
    capture_summary,
    instances_by_type,
    is_serverless,
    plan_of,
    retain,
    scaled,
    variant_summaries,
)
from localaws.serving.endpoint_works import KIND, TRANSITIONS
from localaws.serving.lookup import find_endpoint
from localaws.store import StoredResource

UNSUPPORTED = (
    "DeploymentConfig.RollingUpdatePolicy",
    "DeploymentConfig.AutoRollbackConfiguration",
    "DeploymentConfig.BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds",
    "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.CanarySize",
    "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.LinearStepSize",
)
ECHOED: tuple[str, ...] = ()
TERRAFORM = "reports to the Terraform provider"
BEHAVIOURS = (
    Behaviour("failed update: `InService` with the old config and a `FailureReason`", "seen",
              f"{TERRAFORM} and the ACK SageMaker controller"),
    Behaviour("that `FailureReason` stays until the next update", "seen",
              "ACK SageMaker controller; a report to the Terraform provider saw it empty"),
    Behaviour("update is refused when the present config was deleted", "seen", TERRAFORM),
    Behaviour("`Cannot create already existing endpoint ...`", "seen", "terraform-provider-aws issue 40080"),
    Behaviour("update to the config that is there already is refused", "assumed"),
    Behaviour("delete is refused while an endpoint is created or updated", "assumed"),
    Behaviour("`UpdateEndpoint` drops no request", "documented", "UpdateEndpoint"),
    Behaviour("variants of the same name keep weight and instance count with RetainAllVariantProperties", "documented",
              "UpdateEndpoint"),
    Behaviour("`UpdateEndpointWeightsAndCapacities`: `Updating`, then `InService`; Describe shows current and desired",
              "documented", "UpdateEndpointWeightsAndCapacities, ProductionVariantSummary"),
    Behaviour("scaling that fails leaves weights and instances as they were, with a `FailureReason`", "assumed"),
    Behaviour("no instances at all only for asynchronous endpoints", "assumed"),
    Behaviour("an endpoint on instances cannot become serverless", "documented",
              "SageMaker developer guide, Deploy models with Amazon SageMaker Serverless Inference"),
    Behaviour("a serverless endpoint cannot move to instances", "assumed"),
    Behaviour("no capacity: `Failed`, `Unable to provision requested ML compute capacity ...`", "seen",
              "aws/deep-learning-containers pull request 6673"),
    Behaviour("`The primary container for production variant ... did not pass the ping health check. Please check "
              "CloudWatch logs for this endpoint.`; what follows it is the local endpoint's", "seen",
              "aws/sagemaker-python-sdk issue 787, awslabs/llm-hosting-container issue 18"),
)  # fmt: skip

on_start(works.bring_back)


def _check_deployment(request: dict[str, Any]) -> dict[str, Any] | None:
    """Blue/green with all traffic at once is what is done here; any other policy is refused."""
    deployment: dict[str, Any] | None = request.get("DeploymentConfig")
    if deployment is not None:
        routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
        refuse_value(routing, "Type", ["ALL_AT_ONCE"], "TrafficRoutingConfiguration")
        refuse(request, *UNSUPPORTED)
    return deployment


def _check_quotas(ctx: Context, plan: EndpointPlan) -> None:
    for instance_type, count in instances_by_type(plan).items():
        ctx.quotas.check(ctx.store, "endpoint", instance_type, count)


@operation("CreateEndpoint")
def create_endpoint(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Start the model servers of each variant; the endpoint is InService when all are healthy."""
    name = request["EndpointName"]
    arn = ctx.config.arn(KIND, name)
    config = endpoint_config.find_config(ctx, request["EndpointConfigName"])
    plan = plan_of(ctx, config)
    body = {"plan": plan, "deployment": _check_deployment(request)}
    tags = tag_map(request)
    with ctx.store.exclusive():
        if ctx.store.get(KIND, name) is None:
            _check_quotas(ctx, plan)
        taken = f'Cannot create already existing endpoint "{arn}".'
        ctx.store.insert(KIND, name, arn, "Creating", body, tags, taken=taken)
    works.spawn(ctx, name, works.create)
    return {"EndpointArn": arn}


@operation("UpdateEndpoint")
def update_endpoint(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Move to another configuration; the present one goes on until the new one is healthy, and if it is not."""
    name = request["EndpointName"]
    excluded = [p["VariantPropertyType"] for p in request.get("ExcludeRetainedVariantProperties", ())]
    if "DataCaptureConfig" in excluded:
        raise ValidationException(
            "'ExcludeRetainedVariantProperties' names DataCaptureConfig, which AWS has not implemented: leave it out."
        )
    deployment = _check_deployment(request)
    with ctx.store.exclusive():
        endpoint = find_endpoint(ctx, name)
        config = endpoint_config.find_config(ctx, request["EndpointConfigName"])
        present = endpoint.body["plan"]
        if config.name == present["config"]:
            raise ValidationException(
                f'Endpoint "{endpoint.arn}" has the endpoint configuration {config.name} already.'
            )
        endpoint_config.find_config(ctx, present["config"])  # AWS refuses too when the present one was deleted
        pending = {**plan_of(ctx, config), "since": ctx.clock()}
        _check_kind(endpoint, present, pending)
        if request.get("RetainAllVariantProperties"):
            retain(pending, present, excluded)
        if deployment is None and request.get("RetainDeploymentConfig"):
            deployment = endpoint.body.get("deployment")
        _check_movable(endpoint, "update")
        _check_quotas(ctx, pending)  # the new fleet runs beside the old one for a while
        changes = {"pending": pending, "deployment": deployment, "FailureReason": None}
        ctx.store.transition(KIND, name, TRANSITIONS, "update", **changes)
    works.spawn(ctx, name, works.update)
    return {"EndpointArn": endpoint.arn}


def _check_kind(endpoint: StoredResource, present: EndpointPlan, pending: EndpointPlan) -> None:
    if is_serverless(present) != is_serverless(pending):
        kinds = ("serverless", "on instances")
        before, after = kinds if is_serverless(present) else kinds[::-1]
        raise ValidationException(
            f'Endpoint "{endpoint.arn}" is {before} and cannot be updated to a configuration that is {after}: '
            "create another endpoint."
        )


@operation("UpdateEndpointWeightsAndCapacities")
def update_weights_and_capacities(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change weights, instance counts and serverless limits of variants without another configuration."""
    name = request["EndpointName"]
    with ctx.store.exclusive():
        endpoint = find_endpoint(ctx, name)
        plan = endpoint.body["plan"]
        changes = _changes(endpoint, request["DesiredWeightsAndCapacities"])
        _check_movable(endpoint, "scale")
        before, after = instances_by_type(plan), instances_by_type(scaled(plan, changes))
        for instance_type, more in (after - before).items():
            ctx.quotas.check(ctx.store, "endpoint", instance_type, more)
        ctx.store.transition(KIND, name, TRANSITIONS, "scale", scaling=changes, FailureReason=None)
    works.spawn(ctx, name, works.scale)
    return {"EndpointArn": endpoint.arn}


def _changes(endpoint: StoredResource, wanted: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The changes by variant name; ValidationException for what a variant does not have."""
    variants = {variant["name"]: variant for variant in endpoint.body["plan"]["variants"]}
    changes: dict[str, dict[str, Any]] = {}
    for item in wanted:
        name = item["VariantName"]
        if name not in variants:
            known = ", ".join(variants)
            raise ValidationException(f'Variant {name} is not found in endpoint "{endpoint.arn}"; it has {known}.')
        if name in changes:
            raise ValidationException(f"Variant {name} is named twice in 'DesiredWeightsAndCapacities'.")
        changes[name] = _change(item, variants[name], bool(endpoint.body["plan"].get("async")))
    return changes


def _change(item: dict[str, Any], variant: dict[str, Any], queued: bool) -> dict[str, Any]:
    serverless = variant.get("serverless")
    change: dict[str, Any] = {}
    if "DesiredWeight" in item:
        change["weight"] = item["DesiredWeight"]
    if "DesiredInstanceCount" in item:
        if serverless:
            raise ValidationException(f"Variant {variant['name']} is serverless and has no 'DesiredInstanceCount'.")
        if item["DesiredInstanceCount"] == 0 and not queued:
            raise ValidationException(
                f"'DesiredInstanceCount' of variant {variant['name']} is 0: only asynchronous endpoints can have none."
            )
        change["instances"] = item["DesiredInstanceCount"]
    if "ServerlessUpdateConfig" in item:
        if not serverless:
            raise ValidationException(f"Variant {variant['name']} is on instances: it has no 'ServerlessUpdateConfig'.")
        change["serverless"] = {**serverless, **item["ServerlessUpdateConfig"]}
        endpoint_config.check_concurrency(change["serverless"], "ServerlessUpdateConfig")
    return change


@operation("DeleteEndpoint")
def delete_endpoint(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """End the model servers; refused, as by AWS, while the endpoint is being created or updated."""
    with ctx.store.exclusive():
        endpoint = find_endpoint(ctx, request["EndpointName"])
        _check_movable(endpoint, "delete")
        ctx.store.transition(KIND, endpoint.name, TRANSITIONS, "delete")
    works.spawn(ctx, endpoint.name, works.delete)
    return {}


def _check_movable(endpoint: StoredResource, event: str) -> None:
    """ValidationException when the endpoint's status does not allow what a client asks for."""
    if TRANSITIONS.allows(endpoint.status, event):
        return
    if endpoint.status == "Failed":
        raise ValidationException(f'Cannot update endpoint "{endpoint.arn}": it has failed and can only be deleted.')
    raise ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".')


@operation("DescribeEndpoint")
def describe_endpoint(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """While an update runs this names the present configuration; the coming one is in PendingDeploymentSummary.

    After a failed update the status is InService again, with the old configuration and a FailureReason that stays
    until the next update begins.
    """
    endpoint = find_endpoint(ctx, request["EndpointName"])
    plan, pending = endpoint.body["plan"], endpoint.body.get("pending")
    deployed = endpoint.body.get("deployed")
    desired = scaled(plan, endpoint.body.get("scaling") or {})
    return {
        **ENDPOINT.head(endpoint),
        "EndpointConfigName": plan["config"],
        "ProductionVariants": variant_summaries(plan, deployed, desired) if deployed else None,
        "DataCaptureConfig": capture_summary(plan.get("capture")),
        "AsyncInferenceConfig": plan.get("async"),
        "FailureReason": endpoint.body.get("FailureReason"),
        "LastDeploymentConfig": endpoint.body.get("deployment"),
        "PendingDeploymentSummary": pending and _pending(pending),
    }


def _pending(pending: EndpointPlan) -> dict[str, Any]:
    types = {variant["name"]: variant.get("instance_type") for variant in pending["variants"]}
    return {
        "EndpointConfigName": pending["config"],
        "ProductionVariants": [
            {**summary, "InstanceType": types[summary["VariantName"]]} for summary in variant_summaries(pending, None)
        ],
        "StartTime": pending["since"],
    }


@operation("ListEndpoints")
def list_endpoints(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """All endpoints; newest first unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, ENDPOINT.summaries, ENDPOINT.head, default_order="Descending")
