"""Operators that make, register and delete models."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerDeleteModelOperator,
    SageMakerModelOperator,
    SageMakerRegisterModelVersionOperator,
)
from airflow.providers.amazon.aws.utils.sagemaker import ApprovalStatus
from botocore.exceptions import ClientError

from tests.provider.configs import IMAGE, Names, model_request
from tests.provider.conftest import Aws


@pytest.mark.exercises("SageMakerModelOperator", "SageMakerDeleteModelOperator")
def test_create_and_delete(aws: Aws, names: Names, artifact: str, context: dict[str, Any]) -> None:
    made = SageMakerModelOperator(task_id="make", config=model_request(names("m"), artifact)).execute(context)
    assert made["Model"]["PrimaryContainer"]["ModelDataUrl"] == artifact
    assert [m["ModelName"] for m in aws.sagemaker.list_models(NameContains=names)["Models"]] == [names("m")]
    SageMakerDeleteModelOperator(task_id="delete", config={"ModelName": names("m")}).execute(context)
    assert aws.sagemaker.list_models(NameContains=names)["Models"] == []
    with pytest.raises(ClientError, match="ValidationException.*Could not find model"):
        SageMakerDeleteModelOperator(task_id="delete", config={"ModelName": names("m")}).execute(context)


@pytest.mark.exercises("SageMakerRegisterModelVersionOperator")
def test_versions_of_a_group(aws: Aws, names: Names, artifact: str, context: dict[str, Any]) -> None:
    def register(**options: Any) -> str:
        arn: str = SageMakerRegisterModelVersionOperator(
            task_id="register", image_uri=IMAGE, model_url=artifact, package_group_name=names("g"), **options
        ).execute(context)
        return arn

    first = register(package_desc="the first")
    second = register(model_approval=ApprovalStatus.APPROVED, extras={"CustomerMetadataProperties": {"a": "b"}})
    assert first.endswith(f"/{names('g')}/1")
    assert second.endswith(f"/{names('g')}/2")
    described = aws.sagemaker.describe_model_package(ModelPackageName=second)
    assert described["CustomerMetadataProperties"] == {"a": "b"}
    assert described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == artifact
    approved = aws.sagemaker.list_model_packages(ModelPackageGroupName=names("g"), ModelApprovalStatus="Approved")
    assert [p["ModelPackageArn"] for p in approved["ModelPackageSummaryList"]] == [second]


@pytest.mark.exercises("SageMakerRegisterModelVersionOperator")
def test_a_group_without_a_version_is_taken_back(aws: Aws, names: Names, context: dict[str, Any]) -> None:
    register = SageMakerRegisterModelVersionOperator(
        task_id="register", image_uri=IMAGE, model_url="nowhere", package_group_name=names("g")
    )
    with pytest.raises(ClientError, match="ValidationException"):
        register.execute(context)
    groups = aws.sagemaker.list_model_package_groups(NameContains=names("g"))
    assert groups["ModelPackageGroupSummaryList"] == []
