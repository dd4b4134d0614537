"""Training jobs: the operations; `training` runs them."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import channels, cluster, spot, training, warmpool
from localaws.jobs.execution import check_isolation, inside, refuse, require, tag_map
from localaws.jobs.job_kinds import JobKind
from localaws.jobs.outcome import RESTART_REASON, JobError, Outcome
from localaws.jobs.s3data import split
from localaws.jobs.training_attempt import CHECKPOINTS, model_uri
from localaws.jobs.training_steps import KIND, finish, first_step
from localaws.listing import list_page
from localaws.metrics import MetricReader, definitions
from localaws.registry import on_start, operation
from localaws.states import JOB_TRANSITIONS
from localaws.store import Resource
from localaws.store_query import Query

DEFAULT_LIMIT = 24 * 3600  # seconds; StoppingCondition's default for MaxRuntimeInSeconds
UNSUPPORTED: tuple[str, ...] = (
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "ProfilerRuleConfigurations",
    "TensorBoardOutputConfig",
    "RemoteDebugConfig.EnableRemoteDebug",
    "SessionChainingConfig.EnableSessionTagChaining",
    "ServerlessJobConfig",
    "MlflowConfig",
    "ModelPackageConfig",
    "AlgorithmSpecification.AlgorithmName",
    "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAuthConfig",
    "ResourceConfig.InstancePlacementConfig",
    "ResourceConfig.InstancePreferences",
    "ResourceConfig.SelectedInstanceType",
    "ResourceConfig.SelectedInstanceCount",
    "ResourceConfig.TrainingPlanArn",
    "InputDataConfig.DataSource.FileSystemDataSource",
    "InputDataConfig.DataSource.DatasetSource",
    "InputDataConfig.DataSource.S3DataSource.HubAccessConfig",
    "InputDataConfig.DataSource.S3DataSource.ModelAccessConfig",
)
ECHOED: tuple[str, ...] = (
    "RoleArn",
    "VpcConfig",
    "EnableInterContainerTrafficEncryption",
    "OutputDataConfig.KmsKeyId",
    "ResourceConfig.VolumeSizeInGB",
    "ResourceConfig.VolumeKmsKeyId",
    "StoppingCondition.MaxPendingTimeInSeconds",
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries",
    "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAccessMode",
    "ExperimentConfig",
    "ProfilerConfig",
    "InfraCheckConfig",
)
BEHAVIOURS = (
    Behaviour(
        "default limit of a training job: 24 hours", "documented", "StoppingCondition"
    ),
    Behaviour(
        "after a restart: a job that ran is Failed with InternalServerError, one that waited goes on, one that was "
        "being stopped is Stopped, one with retries left is tried again",
        "assumed",
    ),
    Behaviour("an ExperimentConfig is kept, no trial component is made", "assumed"),
)  # fmt: skip
RESERVED = ("input", "model", "output", "code")  # below /opt/ml: no place for checkpoints
JOBS = JobKind(
    KIND, "training job", "Requested resource not found: training job {name}", JOB_TRANSITIONS, training.stop
)  # fmt: skip


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
    body["StoppingCondition"] = {"MaxRuntimeInSeconds": DEFAULT_LIMIT, **request.get("StoppingCondition", {})}
    body |= {
        "SecondaryStatus": "Starting",
        "SecondaryStatusTransitions": first_step(ctx.clock()),
        "ModelArtifacts": {"S3ModelArtifacts": model_uri(request)},
    }
    use = "spot training" if request.get("EnableManagedSpotTraining") else "training"
    with ctx.store.exclusive():
        for instance_type, count in cluster.Cluster.of(request["ResourceConfig"]).counts.items():
            ctx.quotas.check(ctx.store, use, instance_type, count)
        ctx.store.insert(KIND, name, arn, "InProgress", body, tags)
    training.submit(ctx, name)
    return arn


def check(ctx: Context, request: dict[str, Any]) -> None:
    """Raise ValidationException for what AWS refuses beyond the model, and for what is not done here."""
    require(request, "AlgorithmSpecification", "ResourceConfig")
    refuse(request, *UNSUPPORTED)
    algorithm = request["AlgorithmSpecification"]
    require(algorithm, "TrainingImage")
    hosts = cluster.check(request["ResourceConfig"], "ResourceConfig")
    isolated = request.get("EnableNetworkIsolation", False)
    cluster.check_possible(hosts, ctx.runner.sandbox.name, isolated)
    check_isolation(ctx, isolated)
    spot.check(request, set(hosts.counts))
    warmpool.check(request)
    channels.check(request, hosts)
    _check_checkpoints(request.get("CheckpointConfig"))
    split(request["OutputDataConfig"]["S3OutputPath"])
    image = ctx.images.resolve(algorithm["TrainingImage"])
    MetricReader(definitions(algorithm.get("MetricDefinitions", ()), image.metrics), lambda *_: None)


def _check_checkpoints(given: dict[str, Any] | None) -> None:
    if given is None:
        return
    split(given["S3Uri"])
    place = inside(training.LOCAL_ROOT, given.get("LocalPath", CHECKPOINTS))
    if place == training.LOCAL_ROOT or place.relative_to(training.LOCAL_ROOT).parts[0] in RESERVED:
        raise ValidationException(
            f"CheckpointConfig.LocalPath '{given.get('LocalPath')}' is a directory that has another use: "
            f"name another one below /opt/ml, such as {CHECKPOINTS}"
        )


@operation("DescribeTrainingJob")
def describe_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one job."""
    warmpool.expire(ctx)
    found = JOBS.find(ctx, request["TrainingJobName"])
    return {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **found.body,
        **JOBS.head(found),
    }


def _summary(found: Resource) -> dict[str, Any]:
    return {
        **JOBS.head(found),
        "SecondaryStatus": found.body["SecondaryStatus"],
        "TrainingEndTime": found.body.get("TrainingEndTime"),
        "WarmPoolStatus": found.body.get(warmpool.SHOWN),
    }


@operation("ListTrainingJobs")
def list_training_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries, oldest first unless asked otherwise."""
    refuse(request, "TrainingPlanArnEquals")
    warmpool.expire(ctx)
    wanted = request.get("WarmPoolStatusEquals")
    jobs = ctx.store.list(KIND) if wanted is None else ctx.store.find(KIND, Query(where={warmpool.STATE: wanted}))
    # AWS reads MaxResults jobs of any status and then filters them (ListTrainingJobs): pages may be short, or empty.
    status = request.get("StatusEquals") if ctx.profile.page is not None else None
    page = list_page(
        jobs, request, "TrainingJobSummaries", _summary, status_key="StatusEquals" if status is None else ""
    )
    if status is not None:
        page["TrainingJobSummaries"] = [s for s in page["TrainingJobSummaries"] if s["TrainingJobStatus"] == status]
    return page


@operation("UpdateTrainingJob")
def update_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change how long a job's warm pool is kept; nothing else can be changed here."""
    refuse(request, "ProfilerConfig", "ProfilerRuleConfigurations", "RemoteDebugConfig")
    found = JOBS.find(ctx, request["TrainingJobName"])
    require(request, "ResourceConfig")
    warmpool.update(ctx, found, request["ResourceConfig"]["KeepAlivePeriodInSeconds"])
    return {"TrainingJobArn": found.arn}


@operation("StopTrainingJob")
def stop_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a job to end (SIGTERM, then SIGKILL); what it has saved is uploaded."""
    JOBS.stop(ctx, request["TrainingJobName"])
    return {}


@operation("DeleteTrainingJob")
def delete_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the record of a job that has ended; its model stays in S3."""
    JOBS.delete(ctx, request["TrainingJobName"])
    warmpool.forget(ctx, request["TrainingJobName"])
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Jobs that had not begun are put into the schedule again, or are stopped; those that ran have failed."""
    for found in JOBS.unfinished(ctx):
        warmpool.lost(ctx, found.name)
        if found.status == "Stopping":
            finish(ctx, found.name, Outcome("stopped", "Stopped"))
            continue
        waiting = found.body["SecondaryStatus"] == "Starting"
        outcome = Outcome("fail", "Failed", RESTART_REASON)
        if waiting or training.retries_left(found.body):
            try:
                check(ctx, found.body)
            except ValidationException as error:  # an image that was there when the job was accepted
                outcome = Outcome("fail", "Failed", str(JobError("ClientError", error.message)))
            else:
                if not waiting:
                    training.begin_again(ctx, found.name)
                training.submit(ctx, found.name)
                continue
        finish(ctx, found.name, outcome)
