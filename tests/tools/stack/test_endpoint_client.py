"""What the stack asks the endpoint, asked of one that runs in this process."""

from __future__ import annotations

import pytest

from localaws_tests.serving_fixtures import IMAGE, ROLE, Server, server  # noqa: F401 - fixture
from sagewind.facts.kinds import KINDS
from sagewind.facts.resources import RESOURCES
from sagewind.facts.tags import RUN, TASK, full
from tools.stack.airflow_settings import LocalAwsAccess
from tools.stack.endpoint_client import Job, StackAws

OWNED = [{"Key": full(RUN), "Value": "run-1"}, {"Key": full(TASK), "Value": "score"}]


@pytest.fixture
def asking(server: Server) -> StackAws:  # noqa: F811
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    return StackAws(LocalAwsAccess(*(server.values[name] for name in names)))


def test_what_was_deleted_is_asked_for_by_the_words_of_the_teardown(server: Server, asking: StackAws) -> None:  # noqa: F811
    server.create_model("there")
    server.sagemaker.create_model_package_group(ModelPackageGroupName="group")
    assert asking.exists("model", "there") is True
    assert asking.exists("model package group", "group") is True
    gone = {kind.shown: asking.exists(kind.shown, "gone") for kind in RESOURCES.values()}
    assert gone == dict.fromkeys(gone, False)
    assert asking.exists("model package", "group/1") is False
    assert asking.exists("training job (stopped)", "there") is None
    assert asking.endpoint_status("gone") is None


def test_the_jobs_of_a_run_are_found_by_its_tag(server: Server, asking: StackAws) -> None:  # noqa: F811
    for name, tags in (("ours", OWNED), ("other", [])):
        server.sagemaker.create_processing_job(
            ProcessingJobName=name,
            AppSpecification={"ImageUri": IMAGE, "ContainerEntrypoint": ["true"]},
            ProcessingResources={
                "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            },
            RoleArn=ROLE,
            Tags=tags,
        )
    jobs = asking.jobs("run-1")
    assert jobs == [Job(KINDS["processing"], "ours", "score")]
    assert asking.record(jobs[0]).name == "ours"
