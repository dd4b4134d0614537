"""Model packages: registered versions of a model, with their metrics and their approval."""

from __future__ import annotations

import threading
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ConflictException, ResourceInUse, ValidationException
from localaws.kinds import MODEL_PACKAGE
from localaws.listing import list_page
from localaws.member_checks import refuse, tag_map
from localaws.registry import operation
from localaws.resources import model_package_group
from localaws.store import StoredResource

KIND = MODEL_PACKAGE.word
STATUS = "Completed"  # a package without a ValidationSpecification has nothing to wait for
PENDING = "PendingManualApproval"
UNSUPPORTED = (
    "ValidationSpecification",
    "SourceAlgorithmSpecification",
    "CertifyForMarketplace",
    "SecurityConfig",
    "ModelCard",
    "ModelLifeCycle",
    "ManagedStorageType",
)
# Members that are kept as they were given and described again.
KEPT = (
    "ModelPackageDescription",
    "ModelPackageRegistrationType",
    "InferenceSpecification",
    "ModelApprovalStatus",
    "MetadataProperties",
    "ModelMetrics",
    "Domain",
    "Task",
    "SamplePayloadUrl",
    "CustomerMetadataProperties",
    "DriftCheckBaselines",
    "AdditionalInferenceSpecifications",
    "SkipModelValidation",
    "SourceUri",
)
# What is said of a package's containers beside image, data and environment: kept for those who read the registry.
_OF_SPECIFICATION = (
    "SupportedContentTypes",
    "SupportedResponseMIMETypes",
    "SupportedTransformInstanceTypes",
    "SupportedRealtimeInferenceInstanceTypes",
    *(
        f"Containers.{member}"
        for member in (
            "BaseModel", "Framework", "FrameworkVersion", "ImageDigest", "IsCheckpoint", "ModelDataETag", "ModelInput",
            "NearestModelName", "ProductId", "AdditionalModelDataSources", "AdditionalS3DataSource",
            "ModelDataSource.S3DataSource.HubAccessConfig", "ModelDataSource.S3DataSource.ModelAccessConfig",
            "ModelDataSource.S3DataSource.ManifestEtag", "ModelDataSource.S3DataSource.ManifestS3Uri",
        )
    ),
)  # fmt: skip
ECHOED = (
    *(f"InferenceSpecification.{member}" for member in _OF_SPECIFICATION),
    *(f"AdditionalInferenceSpecifications.{member}" for member in ("Description", *_OF_SPECIFICATION)),
    "ModelPackageDescription",
    "ModelPackageRegistrationType",
    "MetadataProperties",
    "ModelMetrics",
    "Domain",
    "Task",
    "SamplePayloadUrl",
    "CustomerMetadataProperties",
    "DriftCheckBaselines",
    "SkipModelValidation",
    "SourceUri",
)
BEHAVIOURS = (
    Behaviour("a package in a group takes no tags of its own", "documented", "CreateModelPackage"),
    Behaviour("a version waits for approval unless the request says otherwise", "documented", "CreateModelPackage"),
    Behaviour("the same ClientToken registers once", "documented", "CreateModelPackage"),
    Behaviour("numbers of deleted versions are not given again", "assumed"),
    Behaviour("an unversioned package has no approval status", "documented", "CreateModelPackage"),
    Behaviour("a package is `Completed` at once: nothing is validated", "assumed"),
    Behaviour("creating an existing unversioned package: `ConflictException`", "assumed"),
)
_numbering = threading.Lock()  # two versions created at once must not get the same number


def find_package(ctx: Context, reference: str) -> StoredResource:
    """The package of an ARN, of `group/version`, or of an unversioned package's name."""
    by_arn = reference.startswith("arn:")
    found = ctx.store.by_arn(reference) if by_arn else ctx.store.get(KIND, reference)
    if found is None or found.kind != KIND:
        arn = reference if by_arn else ctx.config.arn(KIND, reference)
        raise ValidationException(f"ModelPackage {arn} does not exist.")
    return found


@operation("CreateModelPackage")
def create_model_package(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The next version of a group, or an unversioned package; the same ClientToken gives the same package."""
    refuse(request, *UNSUPPORTED)
    name, group = request.get("ModelPackageName"), request.get("ModelPackageGroupName")
    if (name is None) == (group is None):
        raise ValidationException("Exactly one of ModelPackageName and ModelPackageGroupName must be specified.")
    if "InferenceSpecification" not in request and "SourceUri" not in request:
        raise ValidationException("InferenceSpecification or SourceUri must be specified.")
    if group is not None and request.get("Tags"):
        raise ValidationException("Tags cannot be given to a model version: it uses those of its model package group.")
    if group is None and "ModelApprovalStatus" in request:
        raise ValidationException("ModelApprovalStatus is for model versions: name a ModelPackageGroupName.")
    body = {key: request[key] for key in KEPT if key in request} | {"token": request.get("ClientToken")}
    tags = tag_map(request)
    with _numbering:
        if (earlier := _by_token(ctx, request.get("ClientToken"))) is not None:
            return {"ModelPackageArn": earlier.arn}
        if name is not None:
            return {"ModelPackageArn": _insert(ctx, name, body, tags).arn}
        return {"ModelPackageArn": _insert_version(ctx, str(group), body, tags).arn}


def _by_token(ctx: Context, token: str | None) -> StoredResource | None:
    if token is None:
        return None
    return next((p for p in ctx.store.list(KIND) if p.body.get("token") == token), None)


def _insert(ctx: Context, name: str, body: dict[str, Any], tags: dict[str, str]) -> StoredResource:
    arn = ctx.config.arn(KIND, name)
    try:
        return ctx.store.insert(KIND, name, arn, STATUS, body, tags)
    except ResourceInUse:
        raise ConflictException(f"Model Package already exists: {arn}") from None


def _insert_version(ctx: Context, group: str, body: dict[str, Any], tags: dict[str, str]) -> StoredResource:
    """Numbers only go up: the number of a deleted version is not given again."""
    owner = model_package_group.find_group(ctx, group)
    version = owner.body["versions"] + 1
    ctx.store.update(model_package_group.KIND, owner.name, versions=version)
    versioned = {"ModelApprovalStatus": PENDING, **body, "group": owner.name, "version": version}
    return _insert(ctx, f"{owner.name}/{version}", versioned, tags)


def _identity(package: StoredResource) -> dict[str, Any]:
    group = package.body.get("group")
    return {
        "ModelPackageName": group or package.name,
        "ModelPackageGroupName": group,
        "ModelPackageVersion": package.body.get("version"),
        "ModelPackageArn": package.arn,
        "CreationTime": package.created,
        "ModelPackageStatus": package.status,
    }


@operation("DescribeModelPackage")
def describe_model_package(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The package as it was created and updated since."""
    package = find_package(ctx, request["ModelPackageName"])
    kept = {key: package.body.get(key) for key in (*KEPT, "ApprovalDescription")}
    modified = {"LastModifiedTime": package.modified} if package.modified != package.created else {}
    return {
        **kept,
        **_identity(package),
        **modified,
        "CertifyForMarketplace": False,
        "CreatedBy": {},
        "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
    }


@operation("BatchDescribeModelPackage")
def batch_describe_model_package(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Several versions at once, by ARN; those that are not there are told apart."""
    found, missing = {}, {}
    for arn in request["ModelPackageArnList"]:
        try:
            package = find_package(ctx, arn)
        except ValidationException as error:
            missing[arn] = {"ErrorCode": error.code, "ErrorResponse": error.message}
            continue
        specification = package.body.get("InferenceSpecification")
        if "group" not in package.body or specification is None:
            text = f"ModelPackage {arn} is no version of a group with an InferenceSpecification"
            missing[arn] = {"ErrorCode": ValidationException.code, "ErrorResponse": text}
            continue
        found[arn] = {**_summary(package), "InferenceSpecification": specification}
    return {"ModelPackageSummaries": found, "BatchDescribeModelPackageErrorMap": missing or None}


@operation("UpdateModelPackage")
def update_model_package(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Approve, reject, or change what is said about a package. Only versions have an approval status."""
    refuse(request, "ModelCard", "ModelLifeCycle")
    package = find_package(ctx, request["ModelPackageArn"])
    if "ModelApprovalStatus" in request and "group" not in package.body:
        raise ValidationException(f"ModelPackage {package.arn} is not versioned and has no ModelApprovalStatus.")
    same = ("ModelApprovalStatus", "ApprovalDescription", "ModelPackageRegistrationType", "InferenceSpecification")
    changes = {key: request[key] for key in (*same, "SourceUri") if key in request}
    metadata = {**package.body.get("CustomerMetadataProperties", {}), **request.get("CustomerMetadataProperties", {})}
    for key in request.get("CustomerMetadataPropertiesToRemove", ()):
        metadata.pop(key, None)
    added = package.body.get("AdditionalInferenceSpecifications", [])
    added = [*added, *request.get("AdditionalInferenceSpecificationsToAdd", ())]
    ctx.store.update(
        KIND,
        package.name,
        **changes,
        CustomerMetadataProperties=metadata or None,
        AdditionalInferenceSpecifications=added or None,
    )
    return {"ModelPackageArn": package.arn}


def _summary(package: StoredResource) -> dict[str, Any]:
    said = ("ModelPackageDescription", "ModelApprovalStatus", "ModelPackageRegistrationType")
    return {**_identity(package), **{key: package.body.get(key) for key in said}}


@operation("ListModelPackages")
def list_model_packages(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Versions of a group, or, without a group, the packages of the asked type (unversioned by default)."""
    group = request.get("ModelPackageGroupName")
    if group is not None:
        owner = model_package_group.find_group(ctx, group).name
        found = [p for p in ctx.store.list(KIND) if p.body.get("group") == owner]
    else:
        wanted = request.get("ModelPackageType", "Unversioned")
        found = [p for p in ctx.store.list(KIND) if wanted == "Both" or (wanted == "Versioned") == ("group" in p.body)]
    if (approval := request.get("ModelApprovalStatus")) is not None:
        found = [p for p in found if p.body.get("ModelApprovalStatus") == approval]
    wanted = request.get("NameContains", "").lower()  # in the name of the group: versions have no name of their own
    found = [p for p in found if wanted in (p.body.get("group") or p.name).lower()]
    rest = {key: value for key, value in request.items() if key != "NameContains"}
    return list_page(found, rest, MODEL_PACKAGE.summaries, _summary)


@operation("DeleteModelPackage")
def delete_model_package(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove a package; models made from it keep what they took over."""
    ctx.store.delete(KIND, find_package(ctx, request["ModelPackageName"]).name)
    return {}


def container_of(package: StoredResource, specification: str | None = None) -> dict[str, Any]:
    """The one container (image, data, environment) that a package, or one of its further specifications, names."""
    inference = package.body.get("InferenceSpecification")
    if specification is not None:
        named = {s["Name"]: s for s in package.body.get("AdditionalInferenceSpecifications", ())}
        if specification not in named:
            raise ValidationException(
                f"ModelPackage {package.arn} has no inference specification {specification!r}; "
                f"it has {', '.join(named) or 'none by name'}."
            )
        inference = named[specification]
    if inference is None:
        raise ValidationException(f"ModelPackage {package.arn} has no InferenceSpecification to make a model of.")
    if len(inference["Containers"]) != 1:
        raise ValidationException(
            f"ModelPackage {package.arn} is a pipeline of {len(inference['Containers'])} containers; "
            "the local endpoint serves models of one container."
        )
    container: dict[str, Any] = inference["Containers"][0]
    return container
