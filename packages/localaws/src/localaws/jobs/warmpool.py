"""Managed warm pools: instances that a training job keeps for the next one that matches.

A pool that waits is a resource of its own (kind `warm-pool`, the name is the job's), so that the next job finds it
without reading all jobs. What locally comes of a reuse: the job has no start delay (`--profile`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs.outcome import AttemptOutcome
from localaws.kinds import TRAINING_JOB
from localaws.store import StoredResource

KIND = "warm-pool"
JOB = TRAINING_JOB.word
# Top-level members of a job's document: the first for filters, the second is what Describe shows.
STATE, SHOWN = "WarmPoolState", "WarmPoolStatus"
# "Matching training jobs": these must be equal, and the same cluster members.
SAME = ("RoleArn", "VpcConfig", "EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")
SAME_RESOURCES = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")
KEPT_AFTER = ("AlgorithmError", "ClientError")

_GUIDE = "developer guide, Managed Warm Pools"
BEHAVIOURS = (
    Behaviour("WarmPoolStatus: InUse, Available, Reused (ReusedByJob), Terminated", "documented", "WarmPoolStatus"),
    Behaviour("a pool lives KeepAlivePeriodInSeconds; UpdateTrainingJob to 0 ends it", "documented", _GUIDE),
    Behaviour("a matching job has the same role, cluster, VPC, encryption and isolation", "documented", _GUIDE),
    Behaviour("a pool is kept after success, a stop, an algorithm or client error, not after others", "assumed"),
    Behaviour("of several matching pools the one that waits longest is reused", "assumed"),
    Behaviour("no warm pools with spot instances or instance groups", "assumed"),
    Behaviour("UpdateTrainingJob of a job without a pool that is in use or available is refused", "assumed"),
)  # fmt: skip


def period(body: Mapping[str, Any]) -> int:
    """KeepAlivePeriodInSeconds of a job, 0 without."""
    return int(body.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds", 0))


def check(request: Mapping[str, Any]) -> None:
    """Raise ValidationException for clusters that are not kept."""
    if period(request) and request["ResourceConfig"].get("InstanceGroups"):
        raise ValidationException("ResourceConfig.KeepAlivePeriodInSeconds cannot be given with InstanceGroups")


def _key(body: Mapping[str, Any]) -> dict[str, Any]:
    resources = body["ResourceConfig"]
    # False and left out are the same.
    return {k: body.get(k) or None for k in SAME} | {k: resources.get(k) for k in SAME_RESOURCES}


def _show(ctx: Context, job: str, state: str, **more: Any) -> None:
    if ctx.store.get(JOB, job) is not None:
        changes: dict[str, Any] = {STATE: state, SHOWN: {"Status": state, **more}}
        ctx.store.update(JOB, job, **changes)


def _end(ctx: Context, pool: StoredResource, state: str, until: float, **more: Any) -> None:
    ctx.store.delete(KIND, pool.name)
    _show(ctx, pool.name, state, ResourceRetainedBillableTimeInSeconds=max(0, int(until - pool.created)), **more)


def expire(ctx: Context) -> None:
    """End the pools whose time is over; to be called before a pool's state is looked at."""
    with ctx.store.exclusive():
        for pool in list(ctx.store.list(KIND)):
            if (until := pool.created + pool.body["period"]) <= ctx.clock():
                _end(ctx, pool, "Terminated", until)


def claim(ctx: Context, found: StoredResource) -> bool:
    """Take a waiting pool for this job if one matches; the job's own pool is in use then, also if it is to be kept."""
    body, reused = found.body, False
    with ctx.store.exclusive():
        expire(ctx)
        if not body.get("EnableManagedSpotTraining") and not body["ResourceConfig"].get("InstanceGroups"):
            key = _key(body)
            for pool in list(ctx.store.list(KIND)):
                if pool.body["key"] == key:
                    _end(ctx, pool, "Reused", ctx.clock(), ReusedByJob=found.name)
                    reused = True
                    break
        if reused or period(body):
            _show(ctx, found.name, "InUse")
    return reused


def release(ctx: Context, name: str, outcome: AttemptOutcome) -> None:
    """The job has ended: its instances wait for another one, or are gone."""
    with ctx.store.exclusive():
        found = ctx.store.get(JOB, name)
        if found is None or found.body.get(STATE) != "InUse":
            return
        keep = period(found.body)
        if keep and (outcome.event != "fail" or (outcome.reason or "").startswith(KEPT_AFTER)):
            ctx.store.insert(
                KIND, name, f"{found.arn}/warm-pool", "Available", {"period": keep, "key": _key(found.body)}
            )
            _show(ctx, name, "Available")
        else:
            _show(ctx, name, "Terminated", ResourceRetainedBillableTimeInSeconds=0)


def lost(ctx: Context, name: str) -> None:
    """The endpoint has ended while the job ran: so have the instances."""
    found = ctx.store.get(JOB, name)
    if found is not None and found.body.get(STATE) == "InUse":
        _show(ctx, name, "Terminated", ResourceRetainedBillableTimeInSeconds=0)


def update(ctx: Context, found: StoredResource, seconds: int) -> None:
    """Change how long a job's pool is kept; 0 ends one that waits. Raises ValidationException when there is none."""
    with ctx.store.exclusive():
        expire(ctx)
        now = ctx.store.get(JOB, found.name) or found
        state = now.body.get(STATE)
        if state not in ("InUse", "Available"):
            raise ValidationException(
                f"The training job {found.name} has no warm pool in use or available ({state or 'none'}): "
                "KeepAlivePeriodInSeconds cannot be updated"
            )
        resources = {**now.body["ResourceConfig"], "KeepAlivePeriodInSeconds": seconds}
        ctx.store.update(JOB, found.name, ResourceConfig=resources)
        pool = ctx.store.get(KIND, found.name)
        if pool is not None:
            ctx.store.update(KIND, found.name, period=seconds)
            expire(ctx)


def forget(ctx: Context, name: str) -> None:
    """A job's record is deleted: so is its pool."""
    ctx.store.delete(KIND, name)
