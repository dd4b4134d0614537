"""The life of endpoints: what takes time is done here by works of the scheduler, and goes on after a restart.

The plan (configuration with models, images and artifacts looked up) is kept with the endpoint, so that it goes on when
its configuration or models are deleted.
"""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Callable
from typing import Any

from localaws.context import Context
from localaws.engine.scheduler import Ticket, Work
from localaws.errors import ApiError, ServiceUnavailable, ValidationError
from localaws.faults import TAG
from localaws.jobs.outcome import REASON_LENGTH
from localaws.kinds import ENDPOINT
from localaws.serving.endpoint_plan import EndpointPlan, scaled
from localaws.serving.fleet import Fleet
from localaws.serving.hosting import hosting
from localaws.serving.model_server import Cancelled, ModelServerError
from localaws.states import Transitions

LOG = logging.getLogger("localaws.endpoint")
KIND = ENDPOINT.word
TRANSITIONS = Transitions(
    {
        ("Creating", "ready"): "InService",
        ("Creating", "fail"): "Failed",
        ("InService", "update"): "Updating",
        ("InService", "scale"): "Updating",
        ("Updating", "ready"): "InService",
        ("Updating", "roll_back"): "InService",
        ("InService", "lose"): "Failed",
        ("Updating", "lose"): "Failed",
        ("InService", "delete"): "Deleting",
        ("Failed", "delete"): "Deleting",
    }
)
SERVING = frozenset({"InService", "Updating"})
NO_CAPACITY = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. "
    "Please retry using a different ML instance type or after some time."
)
PHASE = Callable[[Context, str, Ticket], object]


def spawn(ctx: Context, name: str, work: PHASE) -> None:
    """Do a work of an endpoint beside the scheduler's slots."""

    def run(ticket: Ticket) -> None:
        work(ctx, name, ticket)

    # Two works of one endpoint may overlap: the last one still ends its old servers when the next update begins.
    task: Work = run
    ctx.jobs.spawn(KIND, f"{name}/{uuid.uuid4().hex}", task)


def not_serving(ctx: Context, name: str) -> ApiError:
    """Why an endpoint answers no invocation."""
    known = ctx.store.get(KIND, name)
    if known is not None and known.status in SERVING:
        return ServiceUnavailable(f"Endpoint {name} is being brought back after a restart; try again.")
    return ValidationError(f"Endpoint {name} of account {ctx.config.account} not found.")


def _body(ctx: Context, name: str) -> dict[str, Any]:
    found = ctx.store.get(KIND, name)
    assert found is not None  # only a work of the endpoint itself removes it
    return found.body


def _provision(ctx: Context, name: str, ticket: Ticket, *, starts: bool = True) -> None:
    """The time before servers start, and the faults that the endpoint's tags ask for; `starts`: whether any start."""
    faults = ctx.faults.of(ctx.store.tags(ctx.config.arn(KIND, name)))
    if ticket.wait_stop(ctx.profile.endpoint_start + faults.slow_start):
        raise Cancelled
    if faults.capacity and starts:
        raise ModelServerError(NO_CAPACITY)
    if faults.fail_health_check and starts:
        raise ModelServerError(
            "The primary container did not pass the ping health check. Please check CloudWatch logs for this endpoint. "
            f"(The tag {TAG} asks for it.)"
        )


def _build(ctx: Context, name: str, plan: EndpointPlan, ticket: Ticket) -> Fleet:
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


def _unwanted(ctx: Context, name: str, ticket: Ticket) -> Callable[[], bool]:
    """Whether the answers of replaced servers are of no use any more: this server ends, or the endpoint is gone."""
    known = ctx.store.get(KIND, name)

    def unwanted() -> bool:
        now = ctx.store.get(KIND, name)
        deleted = now is None or known is None or now.status == "Deleting" or now.created != known.created
        return ticket.stopping or deleted

    return unwanted


def _install(ctx: Context, fleet: Fleet) -> Fleet | None:
    host = hosting(ctx)
    old = host.install(fleet)
    if fleet.queued is not None:
        host.queues.load(fleet.endpoint)
    return old


def create(ctx: Context, name: str, ticket: Ticket) -> None:
    """Creating to InService or Failed."""
    plan = _body(ctx, name)["plan"]
    try:
        _provision(ctx, name, ticket)
        fleet = _build(ctx, name, plan, ticket)
    except Cancelled:
        return  # it stays Creating, and the next start of the server goes on
    except ModelServerError as error:
        ctx.store.transition(KIND, name, TRANSITIONS, "fail", FailureReason=str(error)[:REASON_LENGTH])
        return
    _install(ctx, fleet)
    ctx.store.transition(KIND, name, TRANSITIONS, "ready", deployed=ctx.clock())


def update(ctx: Context, name: str, ticket: Ticket) -> None:
    """Updating to InService: with the pending plan, or with the present one and a reason."""
    body = _body(ctx, name)
    pending = body["pending"]
    policy = (body.get("deployment") or {}).get("BlueGreenUpdatePolicy", {})
    try:
        _provision(ctx, name, ticket)
        fleet = _build(ctx, name, pending, ticket)
    except Cancelled:
        return
    except ModelServerError as error:
        reason = str(error)[:REASON_LENGTH]
        ctx.store.transition(KIND, name, TRANSITIONS, "roll_back", pending=None, FailureReason=reason)
        return
    old = _install(ctx, fleet)
    ticket.wait_stop(policy.get("TrafficRoutingConfiguration", {}).get("WaitIntervalInSeconds", 0))
    plan = {key: value for key, value in pending.items() if key != "since"}
    ctx.store.transition(KIND, name, TRANSITIONS, "ready", plan=plan, pending=None, deployed=ctx.clock())
    if old is not None:
        ticket.wait_stop(policy.get("TerminationWaitInSeconds", 0))
        hosting(ctx).retire(old, _unwanted(ctx, name, ticket))


def scale(ctx: Context, name: str, ticket: Ticket) -> None:
    """Updating to InService: with the asked weights and instances, or as before and a reason."""
    body = _body(ctx, name)
    plan, changes = body["plan"], body["scaling"]
    now = {variant["name"]: variant for variant in plan["variants"]}
    grows = any(change.get("instances", 0) > now[variant]["instances"] for variant, change in changes.items())
    host = hosting(ctx)
    try:
        _provision(ctx, name, ticket, starts=grows)
        with host.serving(name) as fleet:
            if fleet is None:  # the server is ending
                raise Cancelled
            busy = fleet.scale(changes, lambda: ticket.stopping)
    except Cancelled:
        return
    except ModelServerError as error:
        reason = str(error)[:REASON_LENGTH]
        ctx.store.transition(KIND, name, TRANSITIONS, "roll_back", scaling=None, FailureReason=reason)
        return
    ctx.store.transition(KIND, name, TRANSITIONS, "ready", plan=scaled(plan, changes), scaling=None)
    host.queues.pump(name)
    fleet.release(busy, _unwanted(ctx, name, ticket))


def delete(ctx: Context, name: str, ticket: Ticket) -> None:
    """Deleting to gone: the servers end, what waits in the queue is forgotten."""
    host = hosting(ctx)
    fleet = host.remove(name)
    host.queues.drop(name)
    if fleet is not None:
        host.retire(fleet)
    ctx.store.delete(KIND, name)


def restore(ctx: Context, name: str, ticket: Ticket) -> bool:
    """Serve again what was served before the server ended; False when that is not possible."""
    plan = _body(ctx, name)["plan"]
    try:
        fleet = _build(ctx, name, plan, ticket)
    except Cancelled:
        return False
    except ModelServerError as error:
        reason = f"The endpoint could not be brought back after a restart: {error}"[:REASON_LENGTH]
        ctx.store.transition(KIND, name, TRANSITIONS, "lose", pending=None, scaling=None, FailureReason=reason)
        return False
    _install(ctx, fleet)
    return True


def restore_and_go_on(ctx: Context, name: str, ticket: Ticket) -> None:
    """Serve again, then go on with the update or scaling that was under way."""
    if restore(ctx, name, ticket):
        (update if "pending" in _body(ctx, name) else scale)(ctx, name, ticket)


def bring_back(ctx: Context) -> None:
    """Go on where the last run of the server ended."""
    shutil.rmtree(ctx.config.state / "endpoints", ignore_errors=True)
    again: dict[str, PHASE] = {"Creating": create, "InService": restore, "Updating": restore_and_go_on}
    for endpoint in ctx.store.list(KIND):
        if endpoint.status == "Deleting":
            shutil.rmtree(ctx.config.state / "async" / endpoint.name, ignore_errors=True)
            ctx.store.delete(KIND, endpoint.name)
        elif (work := again.get(endpoint.status)) is not None:
            spawn(ctx, endpoint.name, work)
