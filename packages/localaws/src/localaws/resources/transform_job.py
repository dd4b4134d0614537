"""Transform jobs: predictions for the objects below an S3 prefix, by a model server of the job's own."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import s3data
from localaws.jobs.job_records import JobRecords
from localaws.jobs.outcome import RESTART_REASON
from localaws.kinds import TRANSFORM_JOB
from localaws.listing import list_page
from localaws.member_checks import refuse, refuse_value, tag_map
from localaws.registry import on_start, operation
from localaws.serving.lookup import served_model
from localaws.states import JOB_TRANSITIONS
from localaws.store import StoredResource
from localaws.transform import transform_run
from localaws.transform.transform_run import DEFAULT_PARAMETERS, KIND, plan_of

UNSUPPORTED = ("ExperimentConfig",)
ECHOED = (
    "TransformOutput.KmsKeyId",
    "TransformResources.VolumeKmsKeyId",
    "TransformResources.TransformAmiVersion",
    "DataCaptureConfig.KmsKeyId",
)
MAX_PAYLOAD = 100  # megabytes; CreateTransformJob: neither MaxPayloadInMB nor MaxConcurrentTransforms times it is above
CREATE = "API reference, CreateTransformJob"
BEHAVIOURS = (
    Behaviour("transform: concurrency times payload at most 100 MB", "documented", f"{CREATE}, MaxPayloadInMB"),
    Behaviour("transform: S3DataType AugmentedManifestFile is refused", "documented",
              "API reference, TransformS3DataSource"),
    Behaviour("transform: the model is taken as it is when the job is created", "assumed"),
    Behaviour("after a restart: a transform job that ran is Failed with InternalServerError, one that waited goes on, "
              "one that was being stopped is Stopped",
              "assumed"),
)  # fmt: skip
JOBS = JobRecords(TRANSFORM_JOB, "Could not find requested job with name: {name}", JOB_TRANSITIONS, transform_run.stop)


@operation("CreateTransformJob")
def create_transform_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Accept a job and put it into the schedule; the model is taken as it is now."""
    served = served_model(ctx, request["ModelName"])
    _check(request)
    name = request["TransformJobName"]
    arn = ctx.config.arn(KIND, name)
    tags = tag_map(request)
    body = {key: value for key, value in request.items() if key != "Tags"} | {"served": served.document()}
    resources = request["TransformResources"]
    with ctx.store.exclusive():
        ctx.quotas.check(ctx.store, "transform", resources["InstanceType"], resources["InstanceCount"])
        ctx.store.insert(KIND, name, arn, "InProgress", body, tags)
    transform_run.submit(ctx, name)
    return {"TransformJobArn": arn}


def _check(request: dict[str, Any]) -> None:
    refuse(request, *UNSUPPORTED)
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    refuse_value(source, "S3DataType", ["S3Prefix", "ManifestFile"], "TransformInput.DataSource.S3DataSource")
    s3data.split(source["S3Uri"])
    s3data.split(request["TransformOutput"]["S3OutputPath"])
    if "DataCaptureConfig" in request:
        s3data.split(request["DataCaptureConfig"]["DestinationS3Uri"])
    payload = request.get("MaxPayloadInMB", DEFAULT_PARAMETERS["MaxPayloadInMB"])
    if payload > MAX_PAYLOAD:
        raise ValidationException(f"MaxPayloadInMB is {payload}; it must not exceed {MAX_PAYLOAD} MB.")
    concurrent = max(1, request.get("MaxConcurrentTransforms", 1))
    if concurrent * payload > MAX_PAYLOAD:
        raise ValidationException(
            f"MaxConcurrentTransforms * MaxPayloadInMB is {concurrent * payload}; it must not exceed {MAX_PAYLOAD} MB."
        )
    plan_of(request, DEFAULT_PARAMETERS)


@operation("DescribeTransformJob")
def describe_transform_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one job."""
    found = JOBS.find(ctx, request["TransformJobName"])
    return {
        **found.body,
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
        | found.body.get("DataProcessing", {}),
        **TRANSFORM_JOB.head(found),
    }


def _summary(found: StoredResource) -> dict[str, Any]:
    return {
        **TRANSFORM_JOB.head(found),
        "TransformEndTime": found.body.get("TransformEndTime"),
        "FailureReason": found.body.get("FailureReason"),
    }


@operation("ListTransformJobs")
def list_transform_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries; newest first unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, TRANSFORM_JOB.summaries, _summary, default_order="Descending")


@operation("StopTransformJob")
def stop_transform_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a job to end; objects that were transformed to their end stay in S3."""
    JOBS.stop(ctx, request["TransformJobName"])
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Jobs that had not begun are put into the schedule again; those that ran have failed, or stopped as asked."""
    for found in JOBS.unfinished(ctx):
        if found.status == "InProgress" and "TransformStartTime" not in found.body:
            transform_run.submit(ctx, found.name)
            continue
        stopped = found.status == "Stopping"
        ctx.store.transition(
            KIND, found.name, JOB_TRANSITIONS, "stopped" if stopped else "fail",
            FailureReason=None if stopped else RESTART_REASON, TransformEndTime=ctx.clock(),
        )  # fmt: skip
