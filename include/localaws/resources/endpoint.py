"""Endpoints: create, update without a dropped request, delete, and bring back after a restart.

Each operation returns at once; what takes time is done by a work of the scheduler. The plan (configuration with
models, images and artifacts looked up) is kept with the endpoint, so that it goes on when its configuration or
models are deleted.
"""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable
from typing import Any

from include.localaws.context import Context
from include.localaws.errors import ResourceInUse, ValidationException
from include.localaws.execution import refuse, tag_map
from include.localaws.hosting import Fleet, hosting
from include.localaws.listing import list_page
from include.localaws.model_server import Cancelled, ModelServerError
from include.localaws.registry import on_start, operation
from include.localaws.resources import endpoint_config, model
from include.localaws.scheduler import Ticket, Work
from include.localaws.states import IllegalTransition, Transitions
from include.localaws.store import Resource
from include.localaws.unsupported import refuse_value

LOG = logging.getLogger("localaws.endpoint")
KIND = "endpoint"
TRANSITIONS = Transitions(
    {
        ("Creating", "ready"): "InService",
        ("Creating", "fail"): "Failed",
        ("InService", "update"): "Updating",
        ("Updating", "ready"): "InService",
        ("Updating", "roll_back"): "InService",
        ("InService", "lose"): "Failed",
        ("Updating", "lose"): "Failed",
        ("InService", "delete"): "Deleting",
        ("Failed", "delete"): "Deleting",
    }
)
SERVING = frozenset({"InService", "Updating"})
MAX_REASON = 1024  # characters of a FailureReason


def find_endpoint(ctx: Context, name: str) -> Resource:
    """The endpoint; raises ValidationException with AWS's text when there is none."""
    found = ctx.store.get(KIND, name)
    if found is None:
        raise ValidationException(f'Could not find endpoint "{ctx.config.arn(KIND, name)}".')
    return found


def _plan(ctx: Context, config: Resource) -> dict[str, Any]:
    """The configuration with everything that is needed to serve it."""
    variants = [
        {
            "name": variant["VariantName"],
            "weight": variant["InitialVariantWeight"],
            "instances": variant["InitialInstanceCount"],
            "startup_seconds": variant.get("ContainerStartupHealthCheckTimeoutInSeconds"),
            "served": model.served_model(ctx, variant["ModelName"]).document(),
        }
        for variant in config.body["ProductionVariants"]
    ]
    return {"config": config.name, "variants": variants, "capture": config.body.get("DataCaptureConfig")}


def _check_deployment(request: dict[str, Any]) -> dict[str, Any] | None:
    """Blue/green with all traffic at once is what is done here; any other policy is refused."""
    deployment: dict[str, Any] | None = request.get("DeploymentConfig")
    if deployment is not None:
        refuse(
            request,
            "DeploymentConfig.RollingUpdatePolicy",
            "DeploymentConfig.AutoRollbackConfiguration",
            "DeploymentConfig.BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds",
        )
        routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
        refuse_value(routing, "Type", ["ALL_AT_ONCE"], "TrafficRoutingConfiguration")
    return deployment


@operation("CreateEndpoint")
def create_endpoint(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Start a model server for each variant; the endpoint is InService when all are healthy."""
    name = request["EndpointName"]
    arn = ctx.config.arn(KIND, name)
    config = endpoint_config.find_config(ctx, request["EndpointConfigName"])
    body = {"plan": _plan(ctx, config), "deployment": _check_deployment(request)}
    tags = tag_map(request)
    try:
        ctx.store.insert(KIND, name, arn, "Creating", body, tags)
    except ResourceInUse:
        raise ValidationException(f'Cannot create already existing endpoint "{arn}".') from None
    _spawn(ctx, name, lambda ticket: _create(ctx, name, ticket))
    return {"EndpointArn": arn}


@operation("UpdateEndpoint")
def update_endpoint(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Move to another configuration; the present one goes on until the new one is healthy, and if it is not."""
    refuse(request, "RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig")
    name = request["EndpointName"]
    deployment = _check_deployment(request)
    with ctx.store.exclusive():
        endpoint = find_endpoint(ctx, name)
        config = endpoint_config.find_config(ctx, request["EndpointConfigName"])
        present = endpoint.body["plan"]["config"]
        if config.name == present:
            raise ValidationException(f'Endpoint "{endpoint.arn}" has the endpoint configuration {present} already.')
        endpoint_config.find_config(ctx, present)  # AWS refuses too when the present one was deleted
        pending = {**_plan(ctx, config), "since": ctx.clock()}
        _move(ctx, endpoint, "update", pending=pending, deployment=deployment, FailureReason=None)
    _spawn(ctx, name, lambda ticket: _update(ctx, name, ticket))
    return {"EndpointArn": endpoint.arn}


@operation("DeleteEndpoint")
def delete_endpoint(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """End the model servers; refused, as by AWS, while the endpoint is being created or updated."""
    with ctx.store.exclusive():
        endpoint = find_endpoint(ctx, request["EndpointName"])
        _move(ctx, endpoint, "delete")
    _spawn(ctx, endpoint.name, lambda _: _delete(ctx, endpoint.name))
    return {}


def _move(ctx: Context, endpoint: Resource, event: str, **changes: Any) -> None:
    """A transition that a client asked for; ValidationException when the status does not allow it."""
    try:
        ctx.store.transition(KIND, endpoint.name, TRANSITIONS, event, **changes)
    except IllegalTransition:
        if endpoint.status == "Failed":
            raise ValidationException(
                f'Cannot {event} endpoint "{endpoint.arn}": it has failed and can only be deleted.'
            ) from None
        raise ValidationException(f'Cannot update in-progress endpoint "{endpoint.arn}".') from None


def _spawn(ctx: Context, name: str, work: Work) -> None:
    # Two works of one endpoint may overlap: the last one still ends its old servers when the next update begins.
    ctx.jobs.spawn(KIND, f"{name}/{uuid.uuid4().hex}", work)


def _build(ctx: Context, name: str, plan: dict[str, Any], ticket: Ticket) -> Fleet:
    """The fleet; ModelServerError for every reason why there is none, Cancelled when the server is ending."""
    try:
        return hosting(ctx).build(name, plan, lambda: ticket.stopping)
    except (ModelServerError, Cancelled):
        raise
    except Exception as error:
        if ticket.stopping:
            raise Cancelled from error
        LOG.exception("endpoint %s: the model servers could not be started", name)
        raise ModelServerError(f"The model servers could not be started: {error}") from error


def _create(ctx: Context, name: str, ticket: Ticket) -> None:
    plan = find_endpoint(ctx, name).body["plan"]
    try:
        fleet = _build(ctx, name, plan, ticket)
    except Cancelled:
        return  # it stays Creating, and the next start of the server goes on
    except ModelServerError as error:
        ctx.store.transition(KIND, name, TRANSITIONS, "fail", FailureReason=str(error)[:MAX_REASON])
        return
    hosting(ctx).install(fleet)
    ctx.store.transition(KIND, name, TRANSITIONS, "ready", deployed=ctx.clock())


def _update(ctx: Context, name: str, ticket: Ticket) -> None:
    body = find_endpoint(ctx, name).body
    pending = body["pending"]
    policy = (body.get("deployment") or {}).get("BlueGreenUpdatePolicy", {})
    try:
        fleet = _build(ctx, name, pending, ticket)
    except Cancelled:
        return
    except ModelServerError as error:
        reason = str(error)[:MAX_REASON]
        ctx.store.transition(KIND, name, TRANSITIONS, "roll_back", pending=None, FailureReason=reason)
        return
    host = hosting(ctx)
    old = host.install(fleet)
    ticket.wait_stop(policy.get("TrafficRoutingConfiguration", {}).get("WaitIntervalInSeconds", 0))
    plan = {key: value for key, value in pending.items() if key != "since"}
    ctx.store.transition(KIND, name, TRANSITIONS, "ready", plan=plan, pending=None, deployed=ctx.clock())
    if old is not None:
        ticket.wait_stop(policy.get("TerminationWaitInSeconds", 0))
        host.retire(old)


def _delete(ctx: Context, name: str) -> None:
    host = hosting(ctx)
    fleet = host.remove(name)
    if fleet is not None:
        host.retire(fleet)
    ctx.store.delete(KIND, name)


def _restore(ctx: Context, name: str, ticket: Ticket) -> bool:
    """Serve again what was served before the server ended."""
    plan = find_endpoint(ctx, name).body["plan"]
    try:
        fleet = _build(ctx, name, plan, ticket)
    except Cancelled:
        return False
    except ModelServerError as error:
        reason = f"The endpoint could not be brought back after a restart: {error}"[:MAX_REASON]
        ctx.store.transition(KIND, name, TRANSITIONS, "lose", pending=None, FailureReason=reason)
        return False
    hosting(ctx).install(fleet)
    return True


def _restore_and_update(ctx: Context, name: str, ticket: Ticket) -> None:
    if _restore(ctx, name, ticket):
        _update(ctx, name, ticket)


@on_start
def bring_back(ctx: Context) -> None:
    """Go on where the last run of the server ended."""
    shutil.rmtree(ctx.config.state / "endpoints", ignore_errors=True)
    again: dict[str, Callable[[Context, str, Ticket], object]] = {
        "Creating": _create,
        "InService": _restore,
        "Updating": _restore_and_update,
    }
    for endpoint in ctx.store.list(KIND):
        if endpoint.status == "Deleting":
            ctx.store.delete(KIND, endpoint.name)
        elif (work := again.get(endpoint.status)) is not None:
            _resume(ctx, endpoint.name, work)


def _resume(ctx: Context, name: str, work: Callable[[Context, str, Ticket], object]) -> None:
    def run(ticket: Ticket) -> None:
        work(ctx, name, ticket)

    _spawn(ctx, name, run)


def _variants(plan: dict[str, Any], deployed: float | None) -> list[dict[str, Any]]:
    return [
        {
            "VariantName": variant["name"],
            "DeployedImages": [
                {
                    "SpecifiedImage": variant["served"]["image"],
                    "ResolvedImage": variant["served"]["image"],
                    "ResolutionTime": deployed,
                }
            ],
            "CurrentWeight": variant["weight"],
            "DesiredWeight": variant["weight"],
            "CurrentInstanceCount": variant["instances"],
            "DesiredInstanceCount": variant["instances"],
        }
        for variant in plan["variants"]
    ]


def _capture_summary(capture: dict[str, Any] | None) -> dict[str, Any] | None:
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


@operation("DescribeEndpoint")
def describe_endpoint(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """While an update runs this names the present configuration; the coming one is in PendingDeploymentSummary.

    After a failed update the status is InService again, with the old configuration and a FailureReason that stays
    until the next update begins.
    """
    endpoint = find_endpoint(ctx, request["EndpointName"])
    plan, pending = endpoint.body["plan"], endpoint.body.get("pending")
    deployed = endpoint.body.get("deployed")
    summary = pending and {
        "EndpointConfigName": pending["config"],
        "ProductionVariants": _variants(pending, None),
        "StartTime": pending["since"],
    }
    return {
        **_summary(endpoint),
        "EndpointConfigName": plan["config"],
        "ProductionVariants": _variants(plan, deployed) if deployed else None,
        "DataCaptureConfig": _capture_summary(plan.get("capture")),
        "FailureReason": endpoint.body.get("FailureReason"),
        "LastDeploymentConfig": endpoint.body.get("deployment"),
        "PendingDeploymentSummary": summary,
    }


def _summary(endpoint: Resource) -> dict[str, Any]:
    return {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointStatus": endpoint.status,
        "CreationTime": endpoint.created,
        "LastModifiedTime": endpoint.modified,
    }


@operation("ListEndpoints")
def list_endpoints(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """All endpoints; newest first unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, "Endpoints", _summary, default_order="Descending")
