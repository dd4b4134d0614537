"""The link of a task leads to its job: followed on the local endpoint, compared with known addresses for AWS."""

from __future__ import annotations

import httpx
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from airflow.serialization.serialized_objects import DagSerialization

from localaws.front.statuspage import USER, password
from sagewind.facts.kinds import KINDS
from sagewind.links import JobLink, address
from sagewind.operators.job import JobOperator
from tests.plugins.test_job_operator import ENDLESS, operator

AWS = "https://api.sagemaker.eu-west-1.amazonaws.com"


def open_page(endpoint, url: str) -> httpx.Response:
    auth = (USER, password(endpoint.environment()["AWS_SECRET_ACCESS_KEY"]))
    return httpx.get(url, auth=auth, trust_env=False, timeout=120)


def test_it_opens_the_jobs_page_of_the_local_endpoint(task, sagemaker, endpoint) -> None:
    owner = operator(ENDLESS)
    link = JobLink()
    assert link.get_link(owner, ti_key=task.ti) == "", "there is no job yet"
    with pytest.raises(TaskDeferred):
        owner.execute(task.context)
    url = link.get_link(owner, ti_key=task.ti)
    page = open_page(endpoint, url)
    assert page.status_code == 200
    assert owner.job_name in page.text
    sagemaker.stop_processing_job(ProcessingJobName=owner.job_name)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_page_on_the_local_endpoint(endpoint, kind: str) -> None:
    url = address(endpoint.environment()["AWS_ENDPOINT_URL"], "aws", "us-east-1", kind, "none")
    found = open_page(endpoint, url)
    assert found.status_code == 404
    assert "There is no such page" not in found.text, "the kind is known, the job is not"


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("processing", "processing-jobs/j"),
        ("training", "jobs/j"),
        ("tuning", "hyper-tuning-jobs/j"),
        ("transform", "transform-jobs/j"),
    ],
)
def test_a_job_on_aws_is_shown_in_its_console(kind: str, path: str) -> None:
    console = "https://console.aws.amazon.com/sagemaker/home?region=eu-west-1#/"
    assert address(AWS, "aws", "eu-west-1", kind, "j") == console + path


def test_other_partitions_have_their_console_and_other_endpoints_none() -> None:
    china = address("https://api.sagemaker.cn-north-1.amazonaws.com.cn", "aws-cn", "cn-north-1", "training", "j")
    assert china == "https://console.amazonaws.cn/sagemaker/home?region=cn-north-1#/jobs/j"
    assert address("https://aws.example.org", "aws", "eu-west-1", "training", "j") == ""
    assert address("https://amazonaws.com.example.org", "aws", "eu-west-1", "training", "j") == ""


def test_the_scheduler_and_the_ui_know_the_link_without_our_code() -> None:
    with DAG("linked", schedule=None) as dag:
        JobOperator(task_id="t", model="m", connection="c", plan_task=None, kind="training", step="s", request={})
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert [(link.name, link.xcom_key) for link in again.get_task("t").operator_extra_links] == [
        ("SageMaker job", "_link_JobLink")
    ]
