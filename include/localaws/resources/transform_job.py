"""Transform jobs: predictions for the objects below an S3 prefix, by a model server of the job's own."""

from __future__ import annotations

import math
from typing import Any

from include.localaws import s3data, transform
from include.localaws.context import Context
from include.localaws.csv_filter import FilterError
from include.localaws.errors import ValidationException
from include.localaws.execution import refuse, tag_map
from include.localaws.listing import list_page
from include.localaws.outcome import RESTART_REASON
from include.localaws.registry import on_start, operation
from include.localaws.resources import model
from include.localaws.store import Resource
from include.localaws.transform import DEFAULT_PARAMETERS, KIND, TRANSITIONS, plan_of
from include.localaws.unsupported import refuse_value

UNSUPPORTED = ("DataCaptureConfig", "ExperimentConfig")
MAX_MEGABYTES_AT_ONCE = 100  # CreateTransformJob: MaxConcurrentTransforms * MaxPayloadInMB must not exceed it
CSV = "text/csv"


@operation("CreateTransformJob")
def create_transform_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Accept a job and put it into the schedule; the model is taken as it is now."""
    served = model.served_model(ctx, request["ModelName"])
    _check(request)
    name = request["TransformJobName"]
    arn = ctx.config.arn(KIND, name)
    body = {key: value for key, value in request.items() if key != "Tags"} | {"served": served.document()}
    ctx.store.insert(KIND, name, arn, "InProgress", body, tag_map(request))
    transform.submit(ctx, name)
    return {"TransformJobArn": arn}


def _check(request: dict[str, Any]) -> None:
    refuse(request, *UNSUPPORTED)
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    refuse_value(source, "S3DataType", ["S3Prefix"], "TransformInput.DataSource.S3DataSource")
    refuse_value(request["TransformInput"], "SplitType", ["None", "Line"], "TransformInput")
    s3data.split(source["S3Uri"])
    s3data.split(request["TransformOutput"]["S3OutputPath"])
    payload = request.get("MaxPayloadInMB", DEFAULT_PARAMETERS["MaxPayloadInMB"])
    if payload == 0:
        raise ValidationException(
            "'MaxPayloadInMB' is 0 (unlimited, by chunked transfer), which the local endpoint does not support; "
            "give the size that a request may have."
        )
    concurrent = max(1, request.get("MaxConcurrentTransforms", 1))
    if concurrent * payload > MAX_MEGABYTES_AT_ONCE:
        raise ValidationException(
            f"MaxConcurrentTransforms * MaxPayloadInMB is {concurrent * payload}; "
            f"it must not exceed {MAX_MEGABYTES_AT_ONCE} MB."
        )
    _check_processing(request)


def _check_processing(request: dict[str, Any]) -> None:
    """Filters and joins work on the columns of CSV lines; what else AWS can filter is refused."""
    try:
        plan = plan_of(request, DEFAULT_PARAMETERS)
    except FilterError as error:
        raise ValidationException(f"DataProcessing: {error}") from None
    reshapes = plan.join or not plan.output_filter.whole
    if not reshapes and plan.input_filter.whole:
        return
    given, wanted = request["TransformInput"], request["TransformOutput"]
    if not plan.split:
        raise ValidationException("DataProcessing needs TransformInput.SplitType Line, to tell records apart.")
    for member, value in (("TransformInput.ContentType", given.get("ContentType")),
                          ("TransformOutput.Accept", wanted.get("Accept", CSV))):  # fmt: skip
        if (value or "").partition(";")[0].strip() != CSV:
            raise ValidationException(f"DataProcessing needs {member} {CSV} on the local endpoint, found {value!r}.")
    if reshapes and not plan.assemble_lines:
        raise ValidationException("A join or OutputFilter needs TransformOutput.AssembleWith Line.")


def _find(ctx: Context, name: str) -> Resource:
    found = ctx.store.get(KIND, name)
    if found is None:
        # The Airflow provider takes exactly this code as "there is none".
        raise ValidationException(f"Could not find requested job with name: {name}")
    return found


@operation("DescribeTransformJob")
def describe_transform_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one job."""
    found = _find(ctx, request["TransformJobName"])
    return {
        **found.body,
        "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}
        | found.body.get("DataProcessing", {}),
        "TransformJobArn": found.arn,
        "TransformJobStatus": found.status,
        "CreationTime": found.created,
    }


def _summary(found: Resource) -> dict[str, Any]:
    return {
        "TransformJobName": found.name,
        "TransformJobArn": found.arn,
        "TransformJobStatus": found.status,
        "CreationTime": found.created,
        "LastModifiedTime": found.modified,
        "TransformEndTime": found.body.get("TransformEndTime"),
        "FailureReason": found.body.get("FailureReason"),
    }


@operation("ListTransformJobs")
def list_transform_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries; newest first unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, "TransformJobSummaries", _summary, default_order="Descending")


@operation("StopTransformJob")
def stop_transform_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a job to end; objects that were transformed to their end stay in S3."""
    name = request["TransformJobName"]
    with ctx.store.exclusive():
        found = _find(ctx, name)
        if not TRANSITIONS.allows(found.status, "stop"):
            raise ValidationException(
                f"The request was rejected because the transform job is in status {found.status}."
            )
        ctx.store.transition(KIND, name, TRANSITIONS, "stop")
    ctx.jobs.stop(KIND, name)
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Jobs that had not begun are put into the schedule again; those that ran have failed."""
    for found in ctx.store.list(KIND):
        if found.status in TRANSITIONS.terminal:
            continue
        if found.status == "InProgress" and "TransformStartTime" not in found.body:
            transform.submit(ctx, found.name)
            continue
        ended = math.floor(ctx.clock())
        ctx.store.transition(
            KIND, found.name, TRANSITIONS, "fail", FailureReason=RESTART_REASON, TransformEndTime=ended
        )
