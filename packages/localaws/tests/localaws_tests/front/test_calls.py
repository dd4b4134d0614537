"""The record of calls: what was asked for, how it ended, in one file over restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.server import Endpoint
from localaws_tests.conftest import client_of

MODEL = {"PrimaryContainer": {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/tiny:1.0-1"}}
ROLE = "arn:aws:iam::123456789012:role/any"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_calls_are_written_into_one_file_over_restarts(start_endpoint: Callable[..., Endpoint], tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    endpoint = start_endpoint(state=tmp_path / "state", call_log=file)
    sagemaker = client_of(endpoint, "sagemaker")
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=ROLE, Tags=[{"Key": "owner", "Value": "me"}], **MODEL)
    with pytest.raises(ClientError):
        sagemaker.stop_training_job(TrainingJobName="none")
    arn = sagemaker.describe_model(ModelName="m")["ModelArn"]
    sagemaker.list_tags(ResourceArn=arn)
    sagemaker.list_models()
    found = [(line["operation"], line["name"], line["outcome"]) for line in lines(file)]
    assert found == [
        ("CreateModel", "m", "ok"),
        ("StopTrainingJob", "none", "ValidationException"),
        ("DescribeModel", "m", "ok"),
        ("ListTags", arn, "ok"),
        ("ListModels", "", "ok"),
    ]
    assert lines(file)[0]["tags"] == {"owner": "me"}
    assert "Botocore" in lines(file)[0]["agent"]
    assert lines(file)[0]["time"] <= lines(file)[-1]["time"]
    endpoint.close()
    client_of(start_endpoint(state=tmp_path / "state", call_log=file), "sagemaker").list_endpoints()
    assert [line["operation"] for line in lines(file)[4:]] == ["ListModels", "ListEndpoints"]
