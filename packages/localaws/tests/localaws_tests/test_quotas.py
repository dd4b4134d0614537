"""Quotas: what counts, the sentence of AWS, the command line's form."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.errors import ResourceLimitExceeded
from localaws.quotas import USES, Quotas
from localaws.store import Store
from localaws_tests.conftest import client_of, training_request, wait_for

CLUSTER = {"InstanceType": "ml.m5.xlarge", "InstanceCount": 2}
BODIES: dict[str, dict[str, Any]] = {
    "training": {"ResourceConfig": CLUSTER},
    "spot training": {"ResourceConfig": CLUSTER, "EnableManagedSpotTraining": True},
    "processing": {"ProcessingResources": {"ClusterConfig": CLUSTER}},
    "transform": {"TransformResources": CLUSTER},
    "endpoint": {"plan": {"variants": [{"instance_type": "ml.m5.xlarge", "instances": 2}]}},
}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "state.sqlite3")
    yield store
    store.close()


def put(store, use: str, name: str, status: str = "InProgress", body: dict[str, Any] | None = None) -> None:
    store.insert(USES[use].kind, name, f"arn:{use}:{name}", status, body or BODIES[use])


@pytest.mark.parametrize("use", USES)
def test_live_instances_of_the_same_type_and_use_count(store, use):
    for other in USES:
        put(store, other, f"live-{other}")
    put(store, use, "ended", "Failed")
    quotas = Quotas({("ml.m5.xlarge", use): 3})
    quotas.check(store, use, "ml.m5.xlarge", 1)
    quotas.check(store, use, "ml.m5.large", 100)
    with pytest.raises(ResourceLimitExceeded) as error:
        quotas.check(store, use, "ml.m5.xlarge", 2)
    kind = {"endpoint": "endpoint"}.get(use, f"{use} job")
    assert error.value.message.startswith(
        f"The account-level service limit 'ml.m5.xlarge for {kind} usage' is 3 Instances, with current utilization "
        "of 2 Instances and a request delta of 2 Instances."
    )


def test_a_limit_over_all_types_counts_instance_groups_too(store):
    groups = [{"InstanceType": t, "InstanceCount": 2, "InstanceGroupName": t} for t in ("ml.m5.large", "ml.c5.large")]
    put(store, "training", "groups", body={"ResourceConfig": {"InstanceGroups": groups}})
    quotas = Quotas({("all", "training"): 4})
    with pytest.raises(ResourceLimitExceeded, match="'Number of instances across all training jobs' is 4 Instances"):
        quotas.check(store, "training", "ml.m5.2xlarge", 1)
    with pytest.raises(ResourceLimitExceeded, match="utilization of 2 Instances"):
        Quotas({("ml.c5.large", "training"): 2}).check(store, "training", "ml.c5.large", 1)


def test_the_command_lines_form():
    parsed = Quotas.parse(["ml.m5.xlarge/training=2", "all/spot-training=0", "ml.m5.xlarge/training=3"])
    assert parsed.limits == {("ml.m5.xlarge", "training"): 3, ("all", "spot training"): 0}
    assert Quotas.parse([]) == Quotas()


@pytest.mark.parametrize(
    "text", ["", "ml.m5.xlarge=2", "m5.xlarge/training=2", "ml.m5.xlarge/tuning=1", "all/training=x"]
)
def test_any_other_form_is_named(text):
    with pytest.raises(ValueError, match="is not of the form TYPE/USE=NUMBER"):
        Quotas.parse([text])


def test_a_create_over_the_quota_is_refused_until_an_instance_is_free(start_endpoint):
    endpoint = start_endpoint(quotas=Quotas.parse(["ml.m5.large/training=1"]))
    sagemaker = client_of(endpoint, "sagemaker")
    client_of(endpoint, "s3").create_bucket(Bucket="data")
    sagemaker.create_training_job(**training_request("first", "import signal; signal.pause()"))
    with pytest.raises(ClientError) as caught:
        sagemaker.create_training_job(**training_request("second"))
    assert caught.value.response["Error"]["Code"] == "ResourceLimitExceeded"
    with pytest.raises(ClientError, match="second"):
        sagemaker.describe_training_job(TrainingJobName="second")
    sagemaker.stop_training_job(TrainingJobName="first")
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName="first")
    sagemaker.create_training_job(**training_request("second"))
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName="second")
