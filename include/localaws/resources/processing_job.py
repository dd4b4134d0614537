"""Processing jobs: a container with files from S3 before it and to S3 after it."""

from __future__ import annotations

import math
from typing import Any

from include.localaws import processing
from include.localaws.context import Context
from include.localaws.errors import ResourceInUse, ResourceNotFound, ValidationException
from include.localaws.execution import check_isolation, inside, refuse, tag_map
from include.localaws.listing import list_page
from include.localaws.outcome import RESTART_REASON
from include.localaws.processing import KIND, TRANSITIONS
from include.localaws.registry import on_start, operation
from include.localaws.s3data import split
from include.localaws.store import Resource

DEFAULT_LIMIT = 24 * 3600  # seconds; CreateProcessingJob's default for MaxRuntimeInSeconds

UNSUPPORTED = (
    "ProcessingInputs.DatasetDefinition",
    "ProcessingInputs.AppManaged",
    "ProcessingOutputConfig.Outputs.AppManaged",
    "ProcessingOutputConfig.Outputs.FeatureStoreOutput",
)


@operation("CreateProcessingJob")
def create_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Accept a job and put it into the schedule."""
    _check(ctx, request)
    name = request["ProcessingJobName"]
    arn = ctx.config.arn(KIND, name)
    tags = tag_map(request)
    body = {k: v for k, v in request.items() if k != "Tags"}
    body.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_LIMIT})
    ctx.store.insert(KIND, name, arn, "InProgress", body, tags)
    processing.submit(ctx, name)
    return {"ProcessingJobArn": arn}


def _check(ctx: Context, request: dict[str, Any]) -> None:
    refuse(request, *UNSUPPORTED)
    cluster = request["ProcessingResources"]["ClusterConfig"]
    if cluster["InstanceCount"] != 1:
        raise ValidationException(
            f"ProcessingResources.ClusterConfig.InstanceCount is {cluster['InstanceCount']}: "
            "the local AWS endpoint runs processing jobs on 1 instance"
        )
    check_isolation(ctx, request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False))
    ctx.images.resolve(request["AppSpecification"]["ImageUri"])
    names: list[str] = []
    for given in request.get("ProcessingInputs", ()):
        names.append(given["InputName"])
        _check_input(given)
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", ())
    for output in outputs:
        names.append(output["OutputName"])
        _check_output(output)
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise ValidationException(f"The name '{doubled[0]}' is given to more than one input or output")


def _check_input(given: dict[str, Any]) -> None:
    where = f"ProcessingInputs '{given['InputName']}'"
    s3 = given.get("S3Input")
    if s3 is None:
        raise ValidationException(f"{where} has no S3Input")
    if s3.get("S3InputMode", "File") != "File":
        raise ValidationException(f"{where}: S3InputMode {s3['S3InputMode']} is not supported here, use File")
    if s3.get("S3CompressionType", "None") != "None":
        raise ValidationException(f"{where}: S3CompressionType {s3['S3CompressionType']} is not possible with File")
    if "LocalPath" not in s3:
        raise ValidationException(f"{where} has no LocalPath")
    split(s3["S3Uri"])
    _check_local(where, s3["LocalPath"])


def _check_output(output: dict[str, Any]) -> None:
    where = f"ProcessingOutputConfig.Outputs '{output['OutputName']}'"
    s3 = output.get("S3Output")
    if s3 is None:
        raise ValidationException(f"{where} has no S3Output")
    if s3["S3UploadMode"] != "EndOfJob":
        raise ValidationException(f"{where}: S3UploadMode {s3['S3UploadMode']} is not supported here, use EndOfJob")
    if "LocalPath" not in s3:
        raise ValidationException(f"{where} has no LocalPath")
    split(s3["S3Uri"])
    _check_local(where, s3["LocalPath"])


def _check_local(where: str, path: str) -> None:
    # "must lie under /opt/ml/processing" (AWS guide: build your own processing container, input and output)
    if not inside(processing.LOCAL_ROOT, path).is_relative_to(processing.LOCAL_ROOT / "processing"):
        raise ValidationException(f"{where}: LocalPath '{path}' must lie under /opt/ml/processing")


def _find(ctx: Context, name: str) -> Resource:
    found = ctx.store.get(KIND, name)
    if found is None:
        # The Airflow provider takes exactly this code as "there is none".
        raise ValidationException(f"Could not find requested job with name: {name}")
    return found


@operation("DescribeProcessingJob")
def describe_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one job."""
    found = _find(ctx, request["ProcessingJobName"])
    return {
        **found.body,
        "ProcessingJobArn": found.arn,
        "ProcessingJobStatus": found.status,
        "CreationTime": found.created,
        "LastModifiedTime": found.modified,
    }


def _summary(found: Resource) -> dict[str, Any]:
    return {
        "ProcessingJobName": found.name,
        "ProcessingJobArn": found.arn,
        "ProcessingJobStatus": found.status,
        "CreationTime": found.created,
        "LastModifiedTime": found.modified,
        "ProcessingEndTime": found.body.get("ProcessingEndTime"),
        "FailureReason": found.body.get("FailureReason"),
        "ExitMessage": found.body.get("ExitMessage"),
    }


@operation("ListProcessingJobs")
def list_processing_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries, newest last unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, "ProcessingJobSummaries", _summary)


@operation("StopProcessingJob")
def stop_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a job to end; what it has written is kept."""
    name = request["ProcessingJobName"]
    with ctx.store.exclusive():
        found = _find(ctx, name)
        if not TRANSITIONS.allows(found.status, "stop"):
            raise ValidationException(
                f"The request was rejected because the processing job is in status {found.status}."
            )
        ctx.store.transition(KIND, name, TRANSITIONS, "stop")
    ctx.jobs.stop(KIND, name)
    return {}


@operation("DeleteProcessingJob")
def delete_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the record of a job that has ended."""
    name = request["ProcessingJobName"]
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        if found is None:
            raise ResourceNotFound(f"Could not find requested job with name: {name}")
        if found.status not in TRANSITIONS.terminal:
            raise ResourceInUse(f"The processing job {name} is in status {found.status}: stop it first")
        ctx.store.delete(KIND, name)
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Jobs that had not begun are put into the schedule again; those that ran have failed."""
    for found in ctx.store.list(KIND):
        if found.status in TRANSITIONS.terminal:
            continue
        if found.status == "InProgress" and "ProcessingStartTime" not in found.body:
            processing.submit(ctx, found.name)
            continue
        ctx.store.transition(
            KIND, found.name, TRANSITIONS, "fail", FailureReason=RESTART_REASON,
            ProcessingEndTime=math.floor(ctx.clock()),
        )  # fmt: skip
