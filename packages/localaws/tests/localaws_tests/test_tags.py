"""Tags of every kind of resource that is stored."""

from __future__ import annotations

import uuid

import pytest
from botocore.exceptions import ClientError

from localaws_tests.conftest import training_request
from localaws_tests.test_listing import SEEDS

KINDS = sorted({kind for kind, _, _ in SEEDS.values()} - {"monitoring-execution"})


@pytest.fixture(params=KINDS)
def arn(request, endpoint):
    """A resource of each kind, straight in the store: tags ask nothing but that it is there."""
    name = f"tagged-{uuid.uuid4().hex[:8]}"
    ctx = endpoint.ctx
    # terminal statuses and bodies of their own: nothing else looks at these resources
    resource = ctx.store.insert(request.param, name, ctx.config.arn(request.param, name), "Completed", {})
    yield resource.arn
    ctx.store.delete(request.param, name)


def keys(sagemaker, arn):
    return [tag["Key"] for tag in sagemaker.list_tags(ResourceArn=arn)["Tags"]]


@pytest.mark.executes("AddTags", "ListTags", "DeleteTags")
def test_tags_of_each_kind(sagemaker, arn):
    tags = [{"Key": f"k{n:02}", "Value": str(n)} for n in range(50)]
    assert sagemaker.add_tags(ResourceArn=arn, Tags=tags)["Tags"] == tags
    pages = list(sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn, PaginationConfig={"PageSize": 50}))
    assert [tag for page in pages for tag in page["Tags"]] == tags
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "k00", "Value": "changed"}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"][0]["Value"] == "changed"
    with pytest.raises(ClientError, match="51 tags, at most 50"):
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "one more", "Value": ""}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=[tag["Key"] for tag in tags[:49]] + ["absent"])
    assert keys(sagemaker, arn) == ["k49"]


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([{"Key": "aws:own", "Value": "x"}], "reserved for system use"),
        ([{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}], "holds the key 'a' more than once"),
        ([{"Key": "bad key?", "Value": "x"}], "regular expression pattern"),
        ([{"Key": "a", "Value": "x" * 257}], "length less than or equal to 256"),
    ],
)
def test_tags_that_aws_refuses(sagemaker, s3, name, tags, message):
    """The same when a resource is created and later; nothing of a refused request stays."""
    with pytest.raises(ClientError, match=message) as caught:
        sagemaker.create_training_job(**training_request(name, Tags=tags))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError):
        sagemaker.describe_training_job(TrainingJobName=name)
    made = sagemaker.create_model_package_group(ModelPackageGroupName=name)["ModelPackageGroupArn"]
    with pytest.raises(ClientError, match=message):
        sagemaker.add_tags(ResourceArn=made, Tags=tags)
    assert keys(sagemaker, made) == []


def test_tags_go_with_their_resource_and_need_one(sagemaker, name):
    tags = [{"Key": "team", "Value": "größe 1"}]
    made = sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=tags)["ModelPackageGroupArn"]
    assert sagemaker.list_tags(ResourceArn=made)["Tags"] == tags
    sagemaker.delete_model_package_group(ModelPackageGroupName=name)
    for call in (
        lambda: sagemaker.list_tags(ResourceArn=made),
        lambda: sagemaker.add_tags(ResourceArn=made, Tags=tags),
        lambda: sagemaker.delete_tags(ResourceArn=made, TagKeys=["team"]),
    ):
        with pytest.raises(sagemaker.exceptions.ResourceNotFound):
            call()
    sagemaker.create_model_package_group(ModelPackageGroupName=name)
    assert keys(sagemaker, made) == [], "a new resource of the name has none of the old tags"
