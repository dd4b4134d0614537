"""Registering a model version, and writing down its approval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sagewind import endpoints, packages
from sagewind.aws import error_code
from sagewind.errors import TaskRefused
from sagewind.facts.tags import BASELINE, FINGERPRINT, PACKAGE, RUN_FOLDER, RUN_HASH, full, ours
from sagewind.operators.base import Creation, SagewindOperator
from sagewind.ownership import check_rendered, fingerprint

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context


class RegisterOperator(SagewindOperator):
    """Adds one version to the model's package group; a retry finds the version that it added before.

    Corrects the provider's RegisterModelVersion, which adds a version on every retry. A package in a group takes no
    tags, so its owner is written into its metadata properties. Returns {arn, version, status}.
    """

    about = (
        "Adds a version to the model registry, or finds the one that an earlier try added. Red: AWS refused it; its "
        "answer is in the log."
    )
    custom_operator_name = "SageMaker model registry"
    template_fields = ("request", "group")
    template_fields_renderers = {"request": "json"}  # noqa: RUF012
    ui_color = "#e8daef"

    def __init__(
        self, *, request: dict[str, Any], group: str, group_request: dict[str, Any], approve: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.group = group
        self.group_request = group_request
        self.approve = approve

    def creates(self, context: Context) -> list[Creation]:
        """The group and the version."""
        owner = {full(FINGERPRINT): fingerprint(self.request), full(RUN_HASH): self.plan(context)["run_hash"]}
        group = {
            **self.group_request,
            "ModelPackageGroupName": self.group,
            "Tags": self.owned_by(context).tags(),
        }
        version = {
            **self.request,
            "ModelApprovalStatus": "Approved" if self.approve else "PendingManualApproval",
            "CustomerMetadataProperties": {**self.request.get("CustomerMetadataProperties", {}), **owner},
        }
        return [("create_model_package_group", group), ("create_model_package", version)]

    def execute(self, context: Context) -> dict[str, Any]:
        """Find or add the version."""
        check_rendered(self.request)
        group, version = self.creates(context)
        wanted, sagemaker = version[1]["CustomerMetadataProperties"], self.aws.client("sagemaker")
        self._ensure(group)
        for summary in packages.of_group(self.aws, self.group):
            there = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
            properties = there.get("CustomerMetadataProperties", {})
            if all(properties.get(key) == wanted[key] for key in (full(FINGERPRINT), full(RUN_HASH))):
                self.log.info("version %s was registered before", there["ModelPackageVersion"])
                return _record(there)
        made = self.send(version)
        found = sagemaker.describe_model_package(ModelPackageName=made["ModelPackageArn"])
        self.log.info("registered version %s in group %s", found["ModelPackageVersion"], self.group)
        return _record(found)

    def _ensure(self, group: Creation) -> None:
        """The package group is there, or it is made."""
        from botocore.exceptions import ClientError

        try:
            self.send(group)
        except ClientError as error:
            if "already exists" not in str(error) and error_code(error) != "ResourceInUse":
                raise


class ApproveOperator(SagewindOperator):
    """Approves the version of this run in the registry: after its endpoint was verified, never before."""

    about = (
        "Approves this run's version in the registry, now that its endpoint is verified. Red: AWS refused; its answer "
        "is in the log."
    )
    custom_operator_name = "SageMaker model registry"
    template_fields = ("package_arn",)

    def __init__(self, *, package_arn: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.package_arn = package_arn

    def execute(self, context: Context) -> dict[str, Any]:
        """Approve."""
        sagemaker = self.aws.client("sagemaker")
        sagemaker.update_model_package(
            ModelPackageArn=self.package_arn,
            ModelApprovalStatus="Approved",
            ApprovalDescription="passed its gates and was verified",
        )
        return _record(sagemaker.describe_model_package(ModelPackageName=self.package_arn))


class ServingVersionOperator(SagewindOperator):
    """Finds the version that an endpoint serves, by the tag that its config carries.

    Returns {arn, version, status, baseline, prefix}; fails if the endpoint is not there or not of this project.
    """

    about = (
        "Finds the version that the endpoint serves. Red: there is no endpoint, or it does not say which version it "
        "serves; the log says what to run first."
    )
    template_fields = ("endpoint",)

    def __init__(self, *, endpoint: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint

    def execute(self, context: Context) -> dict[str, Any]:
        """Look it up."""
        return version_record(self.serving()[1])

    def serving(self) -> tuple[str, dict[str, Any]]:
        """The endpoint's config and the description of the version that it serves."""
        found = endpoints.look(self.aws, self.endpoint)
        if found is None:
            raise TaskRefused(f"endpoint {self.endpoint} does not exist: run {self.model}_training first")
        config = found["EndpointConfigName"]
        arn = endpoints.tag_of(self.aws, config, PACKAGE)
        if arn is None:
            raise TaskRefused(f"endpoint {self.endpoint} serves config {config}, which names no version")
        return config, self.aws.client("sagemaker").describe_model_package(ModelPackageName=arn)


class NewestApprovedOperator(SagewindOperator):
    """Finds the newest approved version of a model, or fails. Returns {arn, version, status, baseline, prefix}."""

    about = "Finds the newest approved version. Red: none is approved yet; the log says what to run first."

    def __init__(self, *, group: str, **kwargs: Any) -> None:
        super().__init__(plan_task=None, **kwargs)
        self.group = group

    def execute(self, context: Context) -> dict[str, Any]:
        """Look it up."""
        found = packages.newest_approved(self.aws, self.group)
        if found is None:
            raise TaskRefused(f"group {self.group} holds no approved model: run {self.model}_training first")
        return version_record(found)


def version_record(package: dict[str, Any]) -> dict[str, Any]:
    """What later tasks need of a version: {arn, version, status, baseline, prefix}."""
    properties = ours(package.get("CustomerMetadataProperties", {}))
    return {
        **_record(package),
        "baseline": properties.get(BASELINE, ""),
        "prefix": properties.get(RUN_FOLDER, ""),
    }


def _record(package: dict[str, Any]) -> dict[str, Any]:
    return {
        "arn": package["ModelPackageArn"],
        "version": package["ModelPackageVersion"],
        "status": package["ModelApprovalStatus"],
    }
