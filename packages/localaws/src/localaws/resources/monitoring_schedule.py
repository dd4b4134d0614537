"""Monitoring schedules and their executions: the operations, and the thread that waits for the next due time."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.engine.scheduler import Ticket
from localaws.errors import ResourceNotFound, ValidationException
from localaws.kinds import MONITORING_SCHEDULE
from localaws.listing import list_page
from localaws.member_checks import refuse, tag_map
from localaws.monitoring import schedule_execution
from localaws.monitoring.definition import captured_to, check, check_runtime, of_schedule
from localaws.monitoring.schedule_execution import KIND as EXECUTION
from localaws.monitoring.schedule_execution import settle, start, summary
from localaws.monitoring.times import recurrence, window
from localaws.registry import on_start, operation
from localaws.states import Transitions
from localaws.store import StoredResource

log = logging.getLogger("localaws.monitoring")

KIND = MONITORING_SCHEDULE.word
LONGEST_SLEEP = 600.0  # seconds; a machine that was asleep looks at the clock again after that
TRANSITIONS = Transitions(
    {
        ("Scheduled", "stop"): "Stopped",
        ("Stopped", "start"): "Scheduled",
        ("Scheduled", "update"): "Scheduled",
        ("Stopped", "update"): "Stopped",
    }
)
_JOB = "MonitoringScheduleConfig.MonitoringJobDefinition"
UNSUPPORTED = (f"{_JOB}.MonitoringInputs.BatchTransformInput",)
ECHOED = (
    f"{_JOB}.BaselineConfig.BaseliningJobName",
    f"{_JOB}.NetworkConfig.EnableInterContainerTrafficEncryption",
    f"{_JOB}.NetworkConfig.VpcConfig",
    f"{_JOB}.MonitoringResources.ClusterConfig.VolumeSizeInGB",
    f"{_JOB}.MonitoringResources.ClusterConfig.VolumeKmsKeyId",
    f"{_JOB}.MonitoringOutputConfig.KmsKeyId",
    f"{_JOB}.RoleArn",
)
BEHAVIOURS = (
    Behaviour("a new schedule is `Scheduled` at once; AWS shows `Pending` for a while", "assumed"),
    Behaviour("deleting a schedule leaves its executions", "documented", "DeleteMonitoringSchedule"),
    Behaviour("a schedule that runs NOW runs once and stays `Scheduled`", "assumed"),
    Behaviour("times that were due while the endpoint was not running: only the last one is made up", "assumed"),
    Behaviour("a schedule of an endpoint that captures no data is refused", "assumed"),
    Behaviour(
        "MaxRuntimeInSeconds is at most the period, half of it for model quality and bias",
        "documented",
        "MonitoringStoppingCondition",
    ),
)


def find_schedule(ctx: Context, name: str) -> StoredResource:
    """The schedule; raises ResourceNotFound."""
    found = ctx.store.get(KIND, name)
    if found is None:
        raise ResourceNotFound(f"Could not find monitoring schedule {ctx.config.arn(KIND, name)}")
    return found


def _body(ctx: Context, config: dict[str, Any]) -> dict[str, Any]:
    """What is stored of a configuration that was looked at; raises ValidationException for one that cannot work."""
    monitor = of_schedule(ctx, config)
    window(config, monitor.source, ctx.clock())
    check(ctx, monitor)
    check_runtime(monitor, config)
    captured_to(ctx, monitor.endpoint)
    return {
        "MonitoringScheduleConfig": config,
        "EndpointName": monitor.endpoint,
        "MonitoringType": config.get("MonitoringType") or monitor.kind,
    }


@operation("CreateMonitoringSchedule")
def create_monitoring_schedule(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Keep the schedule and wait for its first due time; NOW begins an execution at once."""
    refuse(request, *UNSUPPORTED)
    name = request["MonitoringScheduleName"]
    arn = ctx.config.arn(KIND, name)
    body = _body(ctx, request["MonitoringScheduleConfig"])
    ctx.store.insert(KIND, name, arn, "Scheduled", body | _new_run(ctx), tag_map(request))
    _spawn(ctx, name)
    return {"MonitoringScheduleArn": arn}


def _new_run(ctx: Context) -> dict[str, Any]:
    """Due times count from now on; `run` tells this waiting thread from earlier ones of the schedule."""
    return {"since": ctx.clock(), "run": uuid.uuid4().hex}


@operation("UpdateMonitoringSchedule")
def update_monitoring_schedule(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Replace the configuration; executions under way go on with the old one."""
    refuse(request, *UNSUPPORTED)
    name = request["MonitoringScheduleName"]
    with ctx.store.exclusive():
        old = find_schedule(ctx, name)
        body = _body(ctx, request["MonitoringScheduleConfig"])
        found = ctx.store.transition(KIND, name, TRANSITIONS, "update", **body, **_new_run(ctx))
    _halt(ctx, old)
    if found.status == "Scheduled":
        _spawn(ctx, name)
    return {"MonitoringScheduleArn": found.arn}


@operation("StopMonitoringSchedule")
def stop_monitoring_schedule(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Begin no more executions; one that runs goes on."""
    with ctx.store.exclusive():
        found = find_schedule(ctx, request["MonitoringScheduleName"])
        if not TRANSITIONS.allows(found.status, "stop"):
            raise ValidationException(f"Monitoring schedule {found.name} is {found.status} already")
        ctx.store.transition(KIND, found.name, TRANSITIONS, "stop")
    _halt(ctx, found)
    return {}


@operation("StartMonitoringSchedule")
def start_monitoring_schedule(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Go on with a stopped schedule from its next due time."""
    with ctx.store.exclusive():
        found = find_schedule(ctx, request["MonitoringScheduleName"])
        if not TRANSITIONS.allows(found.status, "start"):
            raise ValidationException(f"Monitoring schedule {found.name} is {found.status} already")
        ctx.store.transition(KIND, found.name, TRANSITIONS, "start", **_new_run(ctx))
    _spawn(ctx, found.name)
    return {}


@operation("DeleteMonitoringSchedule")
def delete_monitoring_schedule(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the schedule; its executions stay."""
    with ctx.store.exclusive():
        found = find_schedule(ctx, request["MonitoringScheduleName"])
        ctx.store.delete(KIND, found.name)
    _halt(ctx, found)
    return {}


# ---- waiting for due times ----


def _spawn(ctx: Context, name: str) -> None:
    run = find_schedule(ctx, name).body["run"]
    ctx.jobs.spawn(KIND, f"{name}/{run}", lambda ticket: _wait(ctx, name, run, ticket))


def _halt(ctx: Context, schedule: StoredResource) -> None:
    ctx.jobs.stop(KIND, f"{schedule.name}/{schedule.body['run']}")


def _wait(ctx: Context, name: str, run: str, ticket: Ticket) -> None:
    """Begin executions as they become due, until the schedule is stopped, changed or deleted."""
    while not ticket.stopping:
        following = tick(ctx, name, run, ctx.clock())
        if following is None or ticket.wait_stop(min(max(following - ctx.clock(), 0.0), LONGEST_SLEEP)):
            return


def tick(ctx: Context, name: str, run: str, now: float) -> float | None:
    """Begin the execution that is due at `now`, if one is; returns the next due time, None when there is none."""
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        if found is None or found.status != "Scheduled" or found.body["run"] != run:
            return None
        period = recurrence(found.body["MonitoringScheduleConfig"])
        due = found.body["since"] if period is None else period.latest(now)
        if (found.body.get("done") == run) if period is None else due <= found.body["since"]:
            return None if period is None else period.following(now)
        ctx.store.update(KIND, name, since=due, done=run)
    start(ctx, found, due)
    return None if period is None else period.following(now)


@on_start
def bring_back(ctx: Context) -> None:
    """Go on waiting; executions whose job has ended meanwhile are settled when they are next looked at."""
    schedule_execution.bring_back(ctx)  # before any schedule begins another
    for found in ctx.store.list(KIND):
        if found.status == "Scheduled":
            _spawn(ctx, found.name)


# ---- looking ----


def executions(ctx: Context, schedule: str | None = None) -> list[StoredResource]:
    """All executions, or those of one schedule (which may be gone), with their present status."""
    found = [e for e in ctx.store.list(EXECUTION) if schedule in (None, e.body["MonitoringScheduleName"])]
    return [settle(ctx, e) for e in found]


def _summary(schedule: StoredResource) -> dict[str, Any]:
    config = schedule.body["MonitoringScheduleConfig"]
    return {
        **MONITORING_SCHEDULE.head(schedule),
        "EndpointName": schedule.body.get("EndpointName"),
        "MonitoringJobDefinitionName": config.get("MonitoringJobDefinitionName"),
        "MonitoringType": schedule.body.get("MonitoringType") or config.get("MonitoringType"),
    }


@operation("DescribeMonitoringSchedule")
def describe_monitoring_schedule(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The schedule with its newest execution."""
    found = find_schedule(ctx, request["MonitoringScheduleName"])
    made = [e for e in executions(ctx, found.name) if e.created >= found.created]
    return {
        **_summary(found),
        "MonitoringScheduleConfig": found.body["MonitoringScheduleConfig"],
        "LastMonitoringExecutionSummary": summary(made[-1]) if made else None,
    }


def _asked(row: dict[str, Any], request: dict[str, Any]) -> bool:
    """The filters that these two lists have beside the usual ones."""
    wanted = {
        "MonitoringScheduleName": request.get("MonitoringScheduleName"),
        "EndpointName": request.get("EndpointName"),
        "MonitoringJobDefinitionName": request.get("MonitoringJobDefinitionName"),
        "MonitoringType": request.get("MonitoringTypeEquals"),
    }
    return all(value in (None, row.get(name)) for name, value in wanted.items())


@operation("ListMonitoringSchedules")
def list_monitoring_schedules(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """All schedules; newest first unless asked otherwise."""
    found = [s for s in ctx.store.list(KIND) if _asked(_summary(s), request)]
    return list_page(found, request, MONITORING_SCHEDULE.summaries, _summary, default_order="Descending")


@operation("ListMonitoringExecutions")
def list_monitoring_executions(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Executions of all schedules, those that are deleted included; newest first unless asked otherwise."""
    after, before = request.get("ScheduledTimeAfter", float("-inf")), request.get("ScheduledTimeBefore", float("inf"))
    found = [
        e
        for e in executions(ctx, request.get("MonitoringScheduleName"))
        if _asked(e.body, request) and after < e.body["ScheduledTime"] < before
    ]
    return list_page(found, request, "MonitoringExecutionSummaries", summary, default_order="Descending")
