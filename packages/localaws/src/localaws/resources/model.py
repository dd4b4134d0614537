"""Models: which image, artifact and environment are served. Models have no life of their own, hence no states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import s3data
from localaws.jobs.execution import check_isolation
from localaws.kinds import MODEL
from localaws.listing import list_page
from localaws.member_checks import refuse, refuse_value, tag_map
from localaws.registry import operation
from localaws.resources import model_package
from localaws.s3 import S3Error
from localaws.serving.lookup import find_model
from localaws.serving.model_data import Artifact, ServedModel
from localaws.store import StoredResource

KIND = MODEL.word
STATUS = "Created"
UNSUPPORTED_OF_CONTAINER = ("MultiModelConfig", "ContainerMetricsConfig")
UNSUPPORTED = (
    *(f"PrimaryContainer.{member}" for member in UNSUPPORTED_OF_CONTAINER),
    "PrimaryContainer.AdditionalModelDataSources",
    "PrimaryContainer.ImageConfig.RepositoryAuthConfig",
    "PrimaryContainer.ModelDataSource.S3DataSource.ModelAccessConfig",
    "PrimaryContainer.ModelDataSource.S3DataSource.HubAccessConfig",
    "PrimaryContainer.ModelDataSource.S3DataSource.ManifestS3Uri",
    "PrimaryContainer.ModelDataSource.S3DataSource.ManifestEtag",
)
ECHOED = ("ExecutionRoleArn", "VpcConfig", "PrimaryContainer.ContainerHostname")
BEHAVIOURS = (
    Behaviour("`Could not find model ...`, `Cannot create already existing model ...`", "assumed"),
    Behaviour(
        "CreateModel: `Could not find model data at s3://....` when the artifact does not exist",
        "seen",
        "aws-step-functions-data-science-sdk-python issue 61, amazon-sagemaker-examples issue 4479",
    ),
    Behaviour("a model with EnableNetworkIsolation makes no network calls", "documented", "CreateModel"),
)


@operation("CreateModel")
def create_model(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The image must be known and the artifact must exist; whether it can be read is seen when it is used."""
    refuse_value(request.get("InferenceExecutionConfig", {}), "Mode", ["Serial"], "InferenceExecutionConfig")
    name = request["ModelName"]
    isolated = request.get("EnableNetworkIsolation", False)
    check_isolation(ctx, isolated)
    containers = [
        replace(_resolve(ctx, container, where), isolated=isolated, name=called)
        for container, where, called in _containers(request)
    ]
    for container in containers:
        ctx.images.resolve(container.image)
        if container.artifact is not None:
            _check_exists(ctx, container.artifact)
    served = replace(containers[0], then=tuple(containers[1:]))
    kept = (
        "PrimaryContainer",
        "Containers",
        "InferenceExecutionConfig",
        "ExecutionRoleArn",
        "VpcConfig",
        "EnableNetworkIsolation",
    )
    body = {key: request[key] for key in kept if key in request} | {"served": served.document()}
    tags = tag_map(request)
    arn = ctx.config.arn(KIND, name)
    ctx.store.insert(KIND, name, arn, STATUS, body, tags, taken=f'Cannot create already existing model "{arn}".')
    return {"ModelArn": arn}


def _containers(request: dict[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    """Each container definition, where it stands in the request, and what it is called."""
    containers = request.get("Containers", [])
    if bool(containers) == ("PrimaryContainer" in request):
        raise ValidationException("Exactly one of PrimaryContainer and Containers must be specified.")
    if not containers:
        return [(request["PrimaryContainer"], "PrimaryContainer", "primary")]
    if len(containers) == 1:
        return [(containers[0], "Containers.1", "primary")]
    names = [c.get("ContainerHostname", f"container-{n}") for n, c in enumerate(containers, 1)]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValidationException(f"Container host names must be unique; {doubled[0]!r} is used twice.")
    return [(c, f"Containers.{n}", name) for n, (c, name) in enumerate(zip(containers, names, strict=True), 1)]


def _resolve(ctx: Context, container: dict[str, Any], where: str) -> ServedModel:
    """The container with its package looked up; the container's own environment goes before the package's."""
    refuse(container, *UNSUPPORTED_OF_CONTAINER)
    refuse_value(container, "Mode", ["SingleModel"], where)
    refuse_value(container.get("ImageConfig", {}), "RepositoryAccessMode", ["Platform"], f"{where}.ImageConfig")
    package_name, image = container.get("ModelPackageName"), container.get("Image")
    if (package_name is None) == (image is None):
        raise ValidationException(f"Exactly one of '{where}.Image' and '{where}.ModelPackageName' must be given.")
    environment = container.get("Environment", {})
    if package_name is not None:
        if "ModelDataUrl" in container or "ModelDataSource" in container:
            raise ValidationException(f"'{where}' has a ModelPackageName, which brings its own model data.")
        package = model_package.find_package(ctx, package_name)
        container = model_package.container_of(package, container.get("InferenceSpecificationName"))
        where = f"ModelPackage {package.arn}"
        environment = {**container.get("Environment", {}), **environment}
    if "Image" not in container:
        raise ValidationException(f"{where} names no Image.")
    return ServedModel(container["Image"], _artifact(container, where), environment)


def _artifact(container: dict[str, Any], where: str) -> Artifact | None:
    refuse(container, "AdditionalModelDataSources", "AdditionalS3DataSource")
    url, source = container.get("ModelDataUrl"), container.get("ModelDataSource")
    if url is not None and source is not None:
        raise ValidationException(f"'{where}' has both ModelDataUrl and ModelDataSource; give one of them.")
    if source is not None:
        s3 = source.get("S3DataSource", {})
        where = f"{where}.ModelDataSource.S3DataSource"
        refuse(s3, "ModelAccessConfig", "HubAccessConfig", "ManifestS3Uri", "ManifestEtag")
        packed = (s3.get("S3DataType"), s3.get("CompressionType"))
        if packed not in (("S3Object", "Gzip"), ("S3Prefix", "None")):
            raise ValidationException(
                f"'{where}' must be an S3Object with CompressionType Gzip or an S3Prefix with None, found {packed}."
            )
        s3data.split(s3["S3Uri"])
        return Artifact(s3["S3Uri"], archive=packed[0] == "S3Object")
    if not url:
        return None
    s3data.split(url)
    return Artifact(url)


def _check_exists(ctx: Context, artifact: Artifact) -> None:
    """Raise ValidationException with AWS's text when there is no such object, or none below the prefix."""
    bucket, key = s3data.split(artifact.uri if artifact.archive else s3data.join(artifact.uri, ""))
    try:
        if artifact.archive:
            ctx.s3.head(bucket, key)
            return
        # The console's markers of folders are no data, as when the model is fetched.
        if any(not found.endswith("/") for found in ctx.s3.iter_keys(bucket, key)):
            return
    except S3Error:
        pass
    raise ValidationException(f"Could not find model data at {artifact.uri}.")


@operation("DescribeModel")
def describe_model(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The model as it was created."""
    model = find_model(ctx, request["ModelName"])
    return {
        "EnableNetworkIsolation": False,
        **model.body,
        "ModelName": model.name,
        "ModelArn": model.arn,
        "CreationTime": model.created,
    }


def _summary(model: StoredResource) -> dict[str, Any]:
    return {"ModelName": model.name, "ModelArn": model.arn, "CreationTime": model.created}


@operation("ListModels")
def list_models(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """All models; newest first unless asked otherwise."""
    return list_page(ctx.store.list(KIND), request, MODEL.summaries, _summary, default_order="Descending")


@operation("DeleteModel")
def delete_model(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the model; endpoints and transform jobs that serve it go on."""
    ctx.store.delete(KIND, find_model(ctx, request["ModelName"]).name)
    return {}
