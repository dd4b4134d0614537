"""What a CreateProcessingJob request may ask for, and how a job is made of it: by a client, or by a schedule."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.errors import ValidationException
from localaws.jobs import cluster, processing
from localaws.jobs.execution import LOCAL_ROOT, check_isolation, inside
from localaws.jobs.processing import KIND
from localaws.jobs.s3data import split
from localaws.member_checks import refuse, tag_map

DEFAULT_LIMIT = 24 * 3600  # seconds; CreateProcessingJob's default for MaxRuntimeInSeconds
REFUSED: tuple[str, ...] = (
    "ProcessingInputs.DatasetDefinition",
    "ProcessingInputs.AppManaged",
    "ProcessingOutputConfig.Outputs.AppManaged",
    "ProcessingOutputConfig.Outputs.FeatureStoreOutput",
    "ProcessingResources.ClusterConfig.InstancePreferences",
    "ProcessingResources.ClusterConfig.SelectedInstanceType",
    "ProcessingResources.ClusterConfig.SelectedInstanceCount",
)


def create(ctx: Context, request: dict[str, Any]) -> str:
    """Check, store and schedule a job. Returns the ARN."""
    check(ctx, request)
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
    return arn


def check(ctx: Context, request: dict[str, Any]) -> None:
    """Raise ValidationException for what AWS refuses beyond the model, and for what is not done here."""
    refuse(request, *REFUSED)
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
    if not inside(LOCAL_ROOT, path).is_relative_to(LOCAL_ROOT / "processing"):
        raise ValidationException(f"{where}: LocalPath '{path}' must lie under /opt/ml/processing")
