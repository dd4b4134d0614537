"""Processing jobs: a container with files from S3 before it and to S3 after it."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import cluster, processing
from localaws.jobs.execution import check_isolation, inside, refuse, tag_map
from localaws.jobs.job_kinds import JobKind
from localaws.jobs.outcome import RESTART_REASON, JobError
from localaws.jobs.processing import KIND
from localaws.jobs.s3data import split
from localaws.listing import list_page
from localaws.registry import on_start, operation
from localaws.states import JOB_TRANSITIONS
from localaws.store import Resource

DEFAULT_LIMIT = 24 * 3600  # seconds; CreateProcessingJob's default for MaxRuntimeInSeconds

UNSUPPORTED: tuple[str, ...] = (
    "ProcessingInputs.DatasetDefinition",
    "ProcessingInputs.AppManaged",
    "ProcessingOutputConfig.Outputs.AppManaged",
    "ProcessingOutputConfig.Outputs.FeatureStoreOutput",
    "ProcessingResources.ClusterConfig.InstancePreferences",
    "ProcessingResources.ClusterConfig.SelectedInstanceType",
    "ProcessingResources.ClusterConfig.SelectedInstanceCount",
)
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
JOBS = JobKind(
    KIND, "processing job", "Could not find requested job with name: {name}", JOB_TRANSITIONS, processing.stop
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
    with ctx.store.exclusive():
        hosts = cluster.Cluster.of(request["ProcessingResources"]["ClusterConfig"])
        for instance_type, count in hosts.counts.items():
            ctx.quotas.check(ctx.store, "processing", instance_type, count)
        ctx.store.insert(KIND, name, arn, "InProgress", body, tags)
    processing.submit(ctx, name)
    return {"ProcessingJobArn": arn}


def _check(ctx: Context, request: dict[str, Any]) -> None:
    refuse(request, *UNSUPPORTED)
    where = "ProcessingResources.ClusterConfig"
    hosts = cluster.check(request["ProcessingResources"]["ClusterConfig"], where)
    isolated = request.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
    cluster.check_possible(hosts, ctx.runner.sandbox.name, isolated)
    check_isolation(ctx, isolated)
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
    if "LocalPath" not in s3:
        raise ValidationException(f"{where} has no LocalPath")
    split(s3["S3Uri"])
    _check_local(where, s3["LocalPath"])


def _check_local(where: str, path: str) -> None:
    # "must lie under /opt/ml/processing" (AWS guide: build your own processing container, input and output)
    if not inside(processing.LOCAL_ROOT, path).is_relative_to(processing.LOCAL_ROOT / "processing"):
        raise ValidationException(f"{where}: LocalPath '{path}' must lie under /opt/ml/processing")


@operation("DescribeProcessingJob")
def describe_processing_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one job."""
    found = JOBS.find(ctx, request["ProcessingJobName"])
    return {
        **found.body,
        **JOBS.head(found),
    }


def _summary(found: Resource) -> dict[str, Any]:
    return {
        **JOBS.head(found),
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


def _resume(ctx: Context, found: Resource) -> None:
    try:
        _check(ctx, found.body)
    except ValidationException as error:  # an image that was there when the job was accepted
        reason = str(JobError("ClientError", error.message))
        end = {"ProcessingEndTime": ctx.clock(), "FailureReason": reason}
        ctx.store.transition(KIND, found.name, JOB_TRANSITIONS, "fail", **end)
        return
    processing.submit(ctx, found.name)
