"""The AWS-like profile: late starts, late lists, short pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from include.localaws.profile import AWS, FAST, Profile
from include.localaws.server import Endpoint
from tests.localaws.conftest import ROLE, client_of, training_request, wait_for


def test_a_page_is_short_and_the_next_token_leads_to_the_rest(start_endpoint: Callable[..., Endpoint]) -> None:
    sagemaker = client_of(start_endpoint(profile=Profile("short", page=2)), "sagemaker")
    container = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/tiny:1.0-1"}
    for number in range(5):
        sagemaker.create_model(ModelName=f"m{number}", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    first = sagemaker.list_models(MaxResults=100, SortBy="Name", SortOrder="Ascending")
    assert [m["ModelName"] for m in first["Models"]] == ["m0", "m1"]
    pages = sagemaker.get_paginator("list_models").paginate(SortBy="Name", SortOrder="Ascending")
    assert [m["ModelName"] for page in pages for m in page["Models"]] == [f"m{n}" for n in range(5)]


def test_a_job_stays_in_starting_and_can_be_stopped_there(start_endpoint: Callable[..., Endpoint], name: str) -> None:
    endpoint = start_endpoint(profile=Profile("slow", start=600.0))
    client_of(endpoint, "s3").create_bucket(Bucket="data")
    sagemaker = client_of(endpoint, "sagemaker")
    sagemaker.create_training_job(**training_request(name, "raise SystemExit(3)"))
    assert sagemaker.describe_training_job(TrainingJobName=name)["SecondaryStatus"] == "Starting"
    sagemaker.stop_training_job(TrainingJobName=name)
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName=name)
    found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=name)
    assert found["TrainingJobStatus"] == "Stopped"


def test_only_lists_are_cut() -> None:
    assert AWS.asked("ListModels", {"MaxResults": 3}) == {"MaxResults": 3}
    assert AWS.asked("Search", {}) == {"MaxResults": AWS.page}
    assert AWS.asked("DescribeModel", {}) == {}
    assert FAST.asked("ListModels", {}) == {}
