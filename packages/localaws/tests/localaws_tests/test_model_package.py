"""The model registry: groups, versions, approval."""

import uuid

import pytest
from botocore.exceptions import ClientError

from localaws_tests import serving_fixtures
from localaws_tests.serving_fixtures import IMAGE

server = serving_fixtures.server
ARN = "arn:aws:sagemaker:us-east-1:123456789012"
SPECIFICATION = {
    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://models/m.tar.gz", "Environment": {"A": "1"}}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
    "SupportedTransformInstanceTypes": ["ml.m5.large"],
    "SupportedRealtimeInferenceInstanceTypes": ["ml.m5.large"],
}
STATISTICS = {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://models/statistics.json"}}


@pytest.fixture
def group(server, request):
    name = f"{request.node.originalname.replace('_', '-')[:40].strip('-')}-{uuid.uuid4().hex[:8]}"
    server.sagemaker.create_model_package_group(ModelPackageGroupName=name, ModelPackageGroupDescription="about")
    return name


def register(server, group, **members):
    return server.sagemaker.create_model_package(
        **{"ModelPackageGroupName": group, "InferenceSpecification": SPECIFICATION, **members}
    )["ModelPackageArn"]


def code(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]


@pytest.mark.executes("CreateModelPackageGroup", "DescribeModelPackageGroup")
def test_a_group_is_described_and_listed(server, group):
    found = server.sagemaker.describe_model_package_group(ModelPackageGroupName=group)
    assert found["ModelPackageGroupArn"] == f"{ARN}:model-package-group/{group}"
    assert (found["ModelPackageGroupStatus"], found["ModelPackageGroupDescription"]) == ("Completed", "about")
    by_arn = server.sagemaker.describe_model_package_group(ModelPackageGroupName=found["ModelPackageGroupArn"])
    assert by_arn["ModelPackageGroupName"] == group
    listed = server.sagemaker.list_model_package_groups(NameContains=group)["ModelPackageGroupSummaryList"]
    assert [g["ModelPackageGroupName"] for g in listed] == [group]


def test_a_taken_group_name_has_the_text_that_clients_match_on(server, group):
    error = code(server.sagemaker.create_model_package_group, ModelPackageGroupName=group)
    assert error["Code"] == "ValidationException"
    assert error["Message"].startswith("Model Package Group already exists")


@pytest.mark.executes("CreateModelPackage", "DeleteModelPackage")
def test_versions_count_up_and_numbers_are_not_given_again(server, group):
    arns = [register(server, group) for _ in range(3)]
    assert arns == [f"{ARN}:model-package/{group}/{n}" for n in (1, 2, 3)]
    server.sagemaker.delete_model_package(ModelPackageName=arns[2])
    assert register(server, group) == f"{ARN}:model-package/{group}/4"


@pytest.mark.executes("DescribeModelPackage", "BatchDescribeModelPackage")
def test_a_package_is_described_as_it_was_registered(server, group):
    given = {
        "ModelPackageDescription": "the best",
        "ModelApprovalStatus": "Approved",
        "ModelMetrics": {"ModelQuality": STATISTICS, "ModelDataQuality": STATISTICS},
        "DriftCheckBaselines": {"ModelDataQuality": STATISTICS},
        "CustomerMetadataProperties": {"commit": "abc"},
    }
    arn = register(server, group, **given)
    for reference in (arn, f"{group}/1"):
        found = server.sagemaker.describe_model_package(ModelPackageName=reference)
        assert {key: found[key] for key in given} == given
        assert found["InferenceSpecification"] == SPECIFICATION
        assert (found["ModelPackageGroupName"], found["ModelPackageVersion"]) == (group, 1)
        assert (found["ModelPackageArn"], found["ModelPackageStatus"]) == (arn, "Completed")
    absent = f"{ARN}:model-package/{group}/9"
    batch = server.sagemaker.batch_describe_model_package(ModelPackageArnList=[arn, absent])
    assert batch["ModelPackageSummaries"][arn]["InferenceSpecification"] == SPECIFICATION
    assert list(batch["BatchDescribeModelPackageErrorMap"]) == [absent]


@pytest.mark.executes("UpdateModelPackage", "ListModelPackages")
def test_a_package_waits_for_approval_and_is_approved(server, group):
    arn = register(server, group)

    def status():
        return server.sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"]

    def approved():
        found = server.sagemaker.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
        return [p["ModelPackageArn"] for p in found["ModelPackageSummaryList"]]

    assert (status(), approved()) == ("PendingManualApproval", [])
    server.sagemaker.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="looked at"
    )
    assert (status(), approved()) == ("Approved", [arn])
    found = server.sagemaker.describe_model_package(ModelPackageName=arn)
    assert found["ApprovalDescription"] == "looked at"
    assert found["LastModifiedTime"] >= found["CreationTime"]
    server.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    assert (status(), approved()) == ("Rejected", [])


def test_metadata_is_added_and_removed(server, group):
    arn = register(server, group, CustomerMetadataProperties={"a": "1", "b": "2"})
    server.sagemaker.update_model_package(
        ModelPackageArn=arn, CustomerMetadataProperties={"c": "3"}, CustomerMetadataPropertiesToRemove=["a"]
    )
    found = server.sagemaker.describe_model_package(ModelPackageName=arn)
    assert found["CustomerMetadataProperties"] == {"b": "2", "c": "3"}


def test_a_repeated_client_token_registers_once(server, group):
    assert register(server, group, ClientToken="token-1") == register(server, group, ClientToken="token-1")
    assert register(server, group, ClientToken="token-2").endswith("/2")


@pytest.mark.executes("DeleteModelPackageGroup")
def test_only_an_empty_group_can_be_deleted(server, group):
    arn = register(server, group)
    error = code(server.sagemaker.delete_model_package_group, ModelPackageGroupName=group)
    assert error["Code"] == "ConflictException"
    server.sagemaker.delete_model_package(ModelPackageName=arn)
    server.sagemaker.delete_model_package_group(ModelPackageGroupName=group)
    error = code(server.sagemaker.describe_model_package_group, ModelPackageGroupName=group)
    assert (error["Code"], error["Message"].endswith("does not exist.")) == ("ValidationException", True)


def test_an_unversioned_package_is_listed_apart(server, group):
    arn = server.sagemaker.create_model_package(ModelPackageName="lone", InferenceSpecification=SPECIFICATION)
    versioned = register(server, group)

    def listed(**arguments):
        found = server.sagemaker.list_model_packages(MaxResults=100, **arguments)["ModelPackageSummaryList"]
        return {p["ModelPackageArn"] for p in found}

    assert listed() == {arn["ModelPackageArn"]}
    assert versioned in listed(ModelPackageType="Versioned")
    assert {versioned, arn["ModelPackageArn"]} <= listed(ModelPackageType="Both")
    error = code(
        server.sagemaker.update_model_package, ModelPackageArn=arn["ModelPackageArn"], ModelApprovalStatus="Approved"
    )
    assert "is not versioned" in error["Message"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"ModelPackageName": "both"}, "Exactly one of ModelPackageName and ModelPackageGroupName"),
        ({"InferenceSpecification": None}, "InferenceSpecification or SourceUri"),
        ({"ModelPackageGroupName": "nobody"}, "model-package-group/nobody does not exist"),
        (
            {"SourceAlgorithmSpecification": {"SourceAlgorithms": [{"AlgorithmName": "a"}]}},
            "SourceAlgorithmSpecification is not supported",
        ),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "Tags cannot be given to a model version"),
        (
            {"ModelPackageGroupName": None, "ModelPackageName": "x", "ModelApprovalStatus": "Approved"},
            "ModelApprovalStatus is for model versions",
        ),
    ],
)
def test_what_is_no_package_is_refused(server, group, members, message):
    given = {"ModelPackageGroupName": group, "InferenceSpecification": SPECIFICATION, **members}
    error = code(server.sagemaker.create_model_package, **{k: v for k, v in given.items() if v is not None})
    assert error["Code"] == "ValidationException"
    assert message in error["Message"]


@pytest.mark.parametrize("name", ["nobody", f"{ARN}:model-package/nobody/1"])
def test_a_missing_package_is_a_validation_exception(server, name):
    for operation in (server.sagemaker.describe_model_package, server.sagemaker.delete_model_package):
        error = code(operation, ModelPackageName=name)
        assert error["Code"] == "ValidationException"
        assert error["Message"].endswith("does not exist.")
