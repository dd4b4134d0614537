"""What a CreateTrainingJob request may ask for, and how a job is made of it: by a client, or by a tuning job."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import channels, cluster, spot, training, warmpool
from localaws.jobs.execution import LOCAL_ROOT, check_isolation, inside
from localaws.jobs.s3data import split
from localaws.jobs.training_attempt import CHECKPOINTS, model_uri
from localaws.jobs.training_steps import KIND, first_step
from localaws.log_metrics import MetricReader, definitions
from localaws.member_checks import refuse, require, tag_map

DEFAULT_LIMIT = 24 * 3600  # seconds; StoppingCondition's default for MaxRuntimeInSeconds
REFUSED: tuple[str, ...] = (
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
BEHAVIOURS = (Behaviour("default limit of a training job: 24 hours", "documented", "StoppingCondition"),)
RESERVED = ("input", "model", "output", "code")  # below /opt/ml: no place for checkpoints


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
    refuse(request, *REFUSED)
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
    place = inside(LOCAL_ROOT, given.get("LocalPath", CHECKPOINTS))
    if place == LOCAL_ROOT or place.relative_to(LOCAL_ROOT).parts[0] in RESERVED:
        raise ValidationException(
            f"CheckpointConfig.LocalPath '{given.get('LocalPath')}' is a directory that has another use: "
            f"name another one below /opt/ml, such as {CHECKPOINTS}"
        )
