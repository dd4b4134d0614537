"""What can be learnt and done about model packages through the API."""

from __future__ import annotations

from typing import Any

from sagewind.aws import AwsClients, is_missing


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
