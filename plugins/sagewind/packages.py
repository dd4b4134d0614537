"""What can be learnt and done about model packages through the API."""

from __future__ import annotations

from typing import Any

from sagewind.aws import AwsClients, error_code, is_missing


def ensure_group(aws: AwsClients, name: str, request: dict[str, Any], tags: list[dict[str, str]]) -> None:
    """The package group is there, or it is made."""
    from botocore.exceptions import ClientError

    client = aws.client("sagemaker")
    try:
        client.create_model_package_group(ModelPackageGroupName=name, Tags=tags, **request)
    except ClientError as error:
        if "already exists" not in str(error) and error_code(error) != "ResourceInUse":
            raise


def of_group(aws: AwsClients, group: str, **filters: Any) -> list[dict[str, Any]]:
    """Summaries of the group's packages, newest first; none if there is no such group."""
    from botocore.exceptions import ClientError

    pages = (
        aws.client("sagemaker")
        .get_paginator("list_model_packages")
        .paginate(ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", **filters)
    )
    try:
        return [item for page in pages for item in page["ModelPackageSummaryList"]]
    except ClientError as error:
        if is_missing(error):
            return []
        raise


def newest_approved(aws: AwsClients, group: str) -> dict[str, Any] | None:
    """Description of the approved package with the highest version, or None."""
    approved = of_group(aws, group, ModelApprovalStatus="Approved")
    if not approved:
        return None
    newest = max(approved, key=lambda item: int(item["ModelPackageVersion"]))
    found: dict[str, Any] = aws.client("sagemaker").describe_model_package(ModelPackageName=newest["ModelPackageArn"])
    return found
