"""Training jobs: the operations; `training` runs them."""

from __future__ import annotations

from typing import Any

from include.localaws import training
from include.localaws.context import Context
from include.localaws.errors import ResourceInUse, ResourceNotFound, ValidationException
from include.localaws.execution import check_isolation, refuse, require, tag_map
from include.localaws.listing import list_page
from include.localaws.metrics import MetricReader, definitions
from include.localaws.outcome import RESTART_REASON, JobError, Outcome
from include.localaws.registry import on_start, operation
from include.localaws.s3data import split
from include.localaws.store import Resource
from include.localaws.training import KIND, TRANSITIONS

DEFAULT_LIMIT = 24 * 3600  # seconds; StoppingCondition's default for MaxRuntimeInSeconds
UNSUPPORTED = (
    "EnableManagedSpotTraining",
    "CheckpointConfig",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "ProfilerRuleConfigurations",
    "TensorBoardOutputConfig",
    "StoppingCondition.MaxWaitTimeInSeconds",
    "StoppingCondition.MaxPendingTimeInSeconds",
    "RemoteDebugConfig.EnableRemoteDebug",
    "SessionChainingConfig.EnableSessionTagChaining",
    "ServerlessJobConfig",
    "MlflowConfig",
    "ModelPackageConfig",
    "AlgorithmSpecification.AlgorithmName",
    "ResourceConfig.InstanceGroups",
    "ResourceConfig.InstancePlacementConfig",
    "ResourceConfig.TrainingPlanArn",
    "InputDataConfig.DataSource.FileSystemDataSource",
    "InputDataConfig.DataSource.DatasetSource",
    "InputDataConfig.DataSource.S3DataSource.AttributeNames",
    "InputDataConfig.DataSource.S3DataSource.HubAccessConfig",
    "InputDataConfig.DataSource.S3DataSource.ModelAccessConfig",
)


@operation("CreateTrainingJob")
def create_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Accept a job and put it into the schedule."""
    return {"TrainingJobArn": create(ctx, request)}


def create(ctx: Context, request: dict[str, Any], **more: Any) -> str:
    """Check, store and schedule a job; `more` goes into its record (a tuning job's ARN). Returns the ARN."""
    check(ctx, request)
    name = request["TrainingJobName"]
    arn = ctx.config.arn(KIND, name)
    tags = tag_map(request)
    body = {k: v for k, v in request.items() if k != "Tags"} | more
    body.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_LIMIT})
    body["StoppingCondition"].setdefault("MaxRuntimeInSeconds", DEFAULT_LIMIT)
    body |= {
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": training.first_step(ctx.clock()),
        "ModelArtifacts": {"S3ModelArtifacts": training.model_uri(request)},
    }
    ctx.store.insert(KIND, name, arn, "InProgress", body, tags)
    training.submit(ctx, name)
    return arn


def check(ctx: Context, request: dict[str, Any]) -> None:
    """Raise ValidationException for what AWS refuses beyond the model, and for what is not done here."""
    require(request, "AlgorithmSpecification", "ResourceConfig")
    refuse(request, *UNSUPPORTED)
    resources, algorithm = request["ResourceConfig"], request["AlgorithmSpecification"]
    require(algorithm, "TrainingImage")
    for key in ("InstanceType", "InstanceCount"):
        if key not in resources:
            raise ValidationException(f"ResourceConfig.{key} is required")
    if resources["InstanceCount"] != 1:
        raise ValidationException(
            f"ResourceConfig.InstanceCount is {resources['InstanceCount']}: the local AWS endpoint trains on 1 instance"
        )
    check_isolation(ctx, request.get("EnableNetworkIsolation", False))
    mode = algorithm["TrainingInputMode"]
    channels = request.get("InputDataConfig", ())
    for channel in channels:
        _check_channel(channel, mode)
    names = [channel["ChannelName"] for channel in channels]
    if len(set(names)) != len(names):
        raise ValidationException("InputDataConfig holds two channels of the same name")
    split(request["OutputDataConfig"]["S3OutputPath"])
    image = ctx.images.resolve(algorithm["TrainingImage"])
    MetricReader(definitions(algorithm.get("MetricDefinitions", ()), image.metrics), lambda *_: None)


def _check_channel(channel: dict[str, Any], mode: str) -> None:
    where = f"InputDataConfig channel '{channel['ChannelName']}'"
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise ValidationException(f"{where} has no S3DataSource")
    if channel.get("InputMode", mode) != "File":
        raise ValidationException(
            f"{where}: input mode {channel.get('InputMode', mode)} is not supported here, use File"
        )
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise ValidationException(
            f"{where}: S3DataType {source['S3DataType']} is not supported here, use S3Prefix or ManifestFile"
        )
    for key in ("CompressionType", "RecordWrapperType"):
        if channel.get(key, "None") != "None":
            raise ValidationException(f"{where}: {key} {channel[key]} is not possible with input mode File")
    split(source["S3Uri"])


def _find(ctx: Context, name: str) -> Resource:
    found = ctx.store.get(KIND, name)
    if found is None:
        # The Airflow provider takes exactly this code as "there is none".
        raise ValidationException(f"Requested resource not found: training job {name}")
    return found


@operation("DescribeTrainingJob")
def describe_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one job."""
    found = _find(ctx, request["TrainingJobName"])
    return {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **found.body,
        "TrainingJobArn": found.arn,
        "TrainingJobStatus": found.status,
        "CreationTime": found.created,
        "LastModifiedTime": found.modified,
    }


def _summary(found: Resource) -> dict[str, Any]:
    return {
        "TrainingJobName": found.name,
        "TrainingJobArn": found.arn,
        "TrainingJobStatus": found.status,
        "SecondaryStatus": found.body["SecondaryStatus"],
        "CreationTime": found.created,
        "LastModifiedTime": found.modified,
        "TrainingEndTime": found.body.get("TrainingEndTime"),
    }


@operation("ListTrainingJobs")
def list_training_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries, oldest first unless asked otherwise."""
    for name in ("WarmPoolStatusEquals", "TrainingPlanArnEquals"):
        if name in request:
            raise ValidationException(f"{name} is not supported by the local AWS endpoint: leave it out")
    return list_page(ctx.store.list(KIND), request, "TrainingJobSummaries", _summary)


@operation("StopTrainingJob")
def stop_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a job to end (SIGTERM, then SIGKILL); what it has saved is uploaded."""
    found = _find(ctx, request["TrainingJobName"])
    if not training.stop(ctx, found.name):
        status = _find(ctx, found.name).status
        raise ValidationException(f"The request was rejected because the training job is in status {status}.")
    return {}


@operation("DeleteTrainingJob")
def delete_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the record of a job that has ended; its model stays in S3."""
    name = request["TrainingJobName"]
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        if found is None:
            raise ResourceNotFound(f"Requested resource not found: training job {name}")
        if found.status not in TRANSITIONS.terminal:
            raise ResourceInUse(f"The training job {name} is in status {found.status}: stop it first")
        ctx.store.delete(KIND, name)
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Jobs that had not begun are put into the schedule again; those that ran have failed."""
    for found in ctx.store.list(KIND):
        if found.status in TRANSITIONS.terminal:
            continue
        if found.body["SecondaryStatus"] == "Starting":
            try:
                check(ctx, found.body)
                training.submit(ctx, found.name)
                continue
            except ValidationException as error:  # an image that was there when the job was accepted
                reason = str(JobError("ClientError", error.message))
        else:
            reason = RESTART_REASON
        training.finish(ctx, found.name, Outcome("fail", "Failed", reason))
