"""The AWS-like profile: late starts, late lists, short pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localaws import __main__ as program
from localaws.profile import AWS, FAST, TIMES, Profile
from localaws.server import Endpoint
from localaws_tests.conftest import PACKAGE, ROLE, client_of, training_request, wait_for


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
    endpoint = start_endpoint(profile=Profile("slow", job_start=600.0, shutdown_grace=30.0))
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


@given(st.sampled_from(sorted(TIMES)), st.integers(0, 86_400_000))
def test_each_time_can_be_set_by_its_name_and_leaves_the_others(name: str, milliseconds: int) -> None:
    seconds = milliseconds / 1000
    made = AWS.with_times([f"{name}={seconds:.3f}"])
    assert getattr(made, name.replace("-", "_")) == seconds
    assert made == replace(AWS, **{name.replace("-", "_"): seconds})


@pytest.mark.parametrize(
    "text", ["start=1", "page=1", "hung", "hung=", "hung=-1", "hung=nan", "hung=1e3", "hung=86401", "job_start=1"]
)
def test_another_name_or_no_seconds_are_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=f"^--time '{text}' is not of the form NAME=SECONDS with .* capture-flush$"):
        FAST.with_times([text])


def test_help_and_page_name_each_time_with_its_seconds_and_meaning() -> None:
    page = (PACKAGE / "docs/guide.md").read_text().splitlines()
    rows = [line for line in page if line.startswith("| `") and line.split("`")[1] in TIMES]
    assert rows == [f"| `{name}` | {seconds:g} | {meaning} |" for name, (seconds, meaning) in TIMES.items()]
    said = program._serve_parser().format_help()
    assert all(name in said and meaning in said for name, (_, meaning) in TIMES.items())
