"""Processing jobs: the operations; `jobs.processing_request` makes them, `jobs.processing` runs them."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import processing, processing_request
from localaws.jobs.job_records import JobRecords
from localaws.jobs.outcome import RESTART_REASON, JobError
from localaws.jobs.processing import KIND
from localaws.kinds import PROCESSING_JOB
from localaws.listing import list_page
from localaws.registry import on_start, operation
from localaws.states import JOB_TRANSITIONS
from localaws.store import StoredResource

UNSUPPORTED = processing_request.REFUSED
ECHOED: tuple[str, ...] = (
    "RoleArn",
    "NetworkConfig.EnableInterContainerTrafficEncryption",
    "NetworkConfig.VpcConfig",
    "ProcessingOutputConfig.KmsKeyId",
    "ProcessingResources.ClusterConfig.VolumeSizeInGB",
    "ProcessingResources.ClusterConfig.VolumeKmsKeyId",
    "ExperimentConfig",
)
BEHAVIOURS = (
    Behaviour(
        "after a restart: a processing job that ran is Failed with InternalServerError, one that waited goes on, one "
        "that was being stopped is Stopped",
        "assumed",
    ),
)
JOBS = JobRecords(PROCESSING_JOB, "Could not find requested job with name: {name}", JOB_TRANSITIONS, processing.stop)


@operation("CreateProcessingJob")
def create_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Accept a job and put it into the schedule."""
    return {"ProcessingJobArn": processing_request.create(ctx, request)}


@operation("DescribeProcessingJob")
def describe_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one job."""
    found = JOBS.find(ctx, request["ProcessingJobName"])
    return {
        **found.body,
        **PROCESSING_JOB.head(found),
    }


def _summary(found: StoredResource) -> dict[str, Any]:
    return {
        **PROCESSING_JOB.head(found),
        "ProcessingEndTime": found.body.get("ProcessingEndTime"),
        "FailureReason": found.body.get("FailureReason"),
        "ExitMessage": found.body.get("ExitMessage"),
    }


@operation("ListProcessingJobs")
def list_processing_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries, newest last unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, PROCESSING_JOB.summaries, _summary)


@operation("StopProcessingJob")
def stop_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a job to end; what it has written is kept."""
    JOBS.stop(ctx, request["ProcessingJobName"])
    return {}


@operation("DeleteProcessingJob")
def delete_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the record of a job that has ended."""
    JOBS.delete(ctx, request["ProcessingJobName"])
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Jobs that had not begun are put into the schedule again, or are stopped; those that ran have failed."""
    for found in JOBS.unfinished(ctx):
        end = {"ProcessingEndTime": ctx.clock()}
        if found.status == "Stopping":
            ctx.store.transition(KIND, found.name, JOB_TRANSITIONS, "stopped", **end)
        elif "ProcessingStartTime" in found.body:
            ctx.store.transition(KIND, found.name, JOB_TRANSITIONS, "fail", FailureReason=RESTART_REASON, **end)
        else:
            _resume(ctx, found)


def _resume(ctx: Context, found: StoredResource) -> None:
    try:
        processing_request.check(ctx, found.body)
    except ValidationException as error:  # an image that was there when the job was accepted
        reason = str(JobError("ClientError", error.message))
        end = {"ProcessingEndTime": ctx.clock(), "FailureReason": reason}
        ctx.store.transition(KIND, found.name, JOB_TRANSITIONS, "fail", **end)
        return
    processing.submit(ctx, found.name)
