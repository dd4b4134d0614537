"""Managed spot training, checkpoints, retries and warm pools."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.jobs import warmpool
from localaws.jobs.foldersync import FolderSync
from localaws.profile import Profile
from localaws.server import Endpoint
from localaws_tests.conftest import client_of, poll, training_request
from localaws_tests.job_helpers import (
    HANG,
    failed,
    fault_tag,
    finished,
    keys,
    statuses,
    timed_from,
    unpacked,
    until_line,
)

pytestmark = pytest.mark.usefixtures("s3")  # jobs store their models in its bucket

GO_ON = """
import time
place = root / "checkpoints/steps"
before = place.read_text() if place.exists() else ""
place.write_text(before + "x")
if not before:
    print("up", flush=True)
    while True: time.sleep(60)
(root / "model/steps").write_text(place.read_text())
"""

SHELL_GO_ON = (
    "cd ${SAGEMAKER_BASE_DIR:-/opt/ml}; "
    "if [ -e checkpoints/steps ]; then printf x >> checkpoints/steps; cp checkpoints/steps model/; exit 0; fi; "
    "printf x > checkpoints/steps; echo up; while :; do sleep 1; done"
)


def spot(wait: int = 3600, **changes: Any) -> dict[str, Any]:
    return {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": wait, "MaxWaitTimeInSeconds": wait},
        **changes,
    }


def kept_warm(seconds: int) -> dict[str, Any]:
    return {
        "ResourceConfig": {
            "InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1,
            "KeepAlivePeriodInSeconds": seconds,
        }
    }  # fmt: skip


@pytest.mark.executes("CreateTrainingJob")
def test_interrupted_job_goes_on_from_its_checkpoint(sagemaker: Any, s3: Any, name: str) -> None:
    checkpoints = {"CheckpointConfig": {"S3Uri": f"s3://data/{name}/checkpoints"}}
    request = training_request(name, **spot(), **checkpoints, **fault_tag("interrupt=0.1"))
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = ["sh", "-c", SHELL_GO_ON]
    with timed_from("up"):
        sagemaker.create_training_job(**request)
        job = finished(sagemaker, name)
    assert unpacked(s3, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"steps": b"xx"}
    once = ["Starting", "Downloading", "Training"]
    assert statuses(job) == [*once, "Interrupted", *once, "Uploading", "Completed"]
    assert 1 <= job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"]
    assert job["CheckpointConfig"] == checkpoints["CheckpointConfig"]
    assert keys(s3, f"{name}/checkpoints/") == [f"{name}/checkpoints/steps"]


def test_wait_limit_ends_a_running_spot_job(sagemaker: Any, name: str) -> None:
    sagemaker.create_training_job(**training_request(name, HANG, **spot(1), **fault_tag("slow-start=0.2")))
    job = finished(sagemaker, name)
    assert job["SecondaryStatus"] == "MaxWaitTimeExceeded"
    assert "Stopping" in statuses(job)


def test_checkpoints_are_in_s3_while_the_job_runs_and_deleted_with_their_file(
    sagemaker: Any, s3: Any, logs: Any, name: str
) -> None:
    prefix = f"{name}/c"
    s3.put_object(Bucket="data", Key=f"{prefix}/old", Body=b"old")
    script = """
import time
place = root / "state"
print(sorted(p.name for p in place.iterdir()), flush=True)
(place / "deep").mkdir()
(place / "deep/new").write_text("1")
(place / "old").unlink()
print("up", flush=True)
while not (root / "go").exists(): time.sleep(60)
"""
    config = {"S3Uri": f"s3://data/{prefix}", "LocalPath": "/opt/ml/state"}
    sagemaker.create_training_job(**training_request(name, script, CheckpointConfig=config))
    until_line(logs, name, "['old']")
    poll(lambda: keys(s3, f"{prefix}/") == [f"{prefix}/deep/new"])
    sagemaker.stop_training_job(TrainingJobName=name)
    finished(sagemaker, name)


def test_checkpoints_of_a_failed_job_are_kept(sagemaker: Any, s3: Any, name: str) -> None:
    script = "(root / 'checkpoints/last').write_text('7'); sys.exit(1)"
    config = {"S3Uri": f"s3://data/{name}"}
    sagemaker.create_training_job(**training_request(name, script, CheckpointConfig=config))
    failed(sagemaker, name)
    assert keys(s3, f"{name}/") == [f"{name}/last"]


def test_a_file_that_changes_is_uploaded_again_and_only_then(endpoint: Endpoint, s3: Any, tmp_path: Path) -> None:
    store = endpoint.ctx.s3
    sync = FolderSync(store, tmp_path, tmp_path, "s3://data/sync", delete=True)
    (tmp_path / "a").write_text("1")
    sync.sync()
    first = s3.head_object(Bucket="data", Key="sync/a")
    sync.sync()
    assert s3.head_object(Bucket="data", Key="sync/a")["LastModified"] == first["LastModified"]
    (tmp_path / "a").write_text("22")
    sync.sync()
    assert s3.get_object(Bucket="data", Key="sync/a")["Body"].read() == b"22"
    assert (tmp_path / "a").read_text() == "22"


def test_only_internal_errors_are_tried_again(
    start_endpoint: Callable[..., Endpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = start_endpoint()
    sagemaker = client_of(endpoint, "sagemaker")
    client_of(endpoint, "s3").create_bucket(Bucket="data")
    real, tries = endpoint.ctx.runner.start, []

    def broken(spec: Any) -> Any:
        tries.append(spec)
        if len(tries) <= 2:
            raise OSError("no process can be made")
        return real(spec)

    monkeypatch.setattr(endpoint.ctx.runner, "start", broken)
    retry = {"RetryStrategy": {"MaximumRetryAttempts": 2}}
    sagemaker.create_training_job(**training_request("twice", **retry))
    job = finished(sagemaker, "twice")
    once = ["Starting", "Downloading", "Training"]
    assert statuses(job) == [*once, "Restarting", *once, "Restarting", *once, "Uploading", "Completed"]
    assert job["RetryStrategy"] == {"MaximumRetryAttempts": 2}

    tries.clear()
    sagemaker.create_training_job(**training_request("once", RetryStrategy={"MaximumRetryAttempts": 1}))
    reason = failed(sagemaker, "once")["FailureReason"]
    assert reason == "InternalServerError: the program cannot be started: no process can be made"

    sagemaker.create_training_job(**training_request("mine", "sys.exit(2)", **retry))
    assert "Restarting" not in statuses(failed(sagemaker, "mine"))


def test_retries_go_on_after_a_restart(start_endpoint: Callable[..., Endpoint], tmp_path: Path) -> None:
    endpoint = start_endpoint(tmp_path / "state")
    sagemaker, logs = client_of(endpoint, "sagemaker"), client_of(endpoint, "logs")
    client_of(endpoint, "s3").create_bucket(Bucket="data")
    script = GO_ON.replace("checkpoints", "state")
    more = {"CheckpointConfig": {"S3Uri": "s3://data/c", "LocalPath": "/opt/ml/state"}}
    sagemaker.create_training_job(
        **training_request("again", script, RetryStrategy={"MaximumRetryAttempts": 1}, **more)
    )
    until_line(logs, "again", "up")
    endpoint.close()
    endpoint = start_endpoint(tmp_path / "state")
    job = finished(client_of(endpoint, "sagemaker"), "again")
    assert "Restarting" in statuses(job)
    model = unpacked(client_of(endpoint, "s3"), job["ModelArtifacts"]["S3ModelArtifacts"])
    assert model == {"steps": b"xx"}


@pytest.mark.executes("UpdateTrainingJob", "ListTrainingJobs")
def test_warm_pool_is_reused_by_a_matching_job_and_saves_the_start(start_endpoint: Callable[..., Endpoint]) -> None:
    """The profile's start would last longer than the test: the second job is done, so it did not wait."""
    endpoint = start_endpoint(profile=Profile(job_start=0.3, shutdown_grace=30.0))
    sagemaker = client_of(endpoint, "sagemaker")
    client_of(endpoint, "s3").create_bucket(Bucket="data")

    def pool(job: str) -> dict[str, Any]:
        return sagemaker.describe_training_job(TrainingJobName=job)["WarmPoolStatus"]

    def listed(status: str) -> list[str]:
        found = sagemaker.list_training_jobs(WarmPoolStatusEquals=status)["TrainingJobSummaries"]
        assert {j["WarmPoolStatus"]["Status"] for j in found} <= {status}
        return [j["TrainingJobName"] for j in found]

    sagemaker.create_training_job(**training_request("one", **kept_warm(3600)))
    finished(sagemaker, "one")
    assert pool("one")["Status"] == "Available"
    other = training_request("other", **kept_warm(0))
    other["ResourceConfig"]["InstanceType"] = "ml.m5.xlarge"
    sagemaker.create_training_job(**other)
    assert "WarmPoolStatus" not in finished(sagemaker, "other")
    object.__setattr__(endpoint.ctx, "profile", Profile(job_start=3600.0, shutdown_grace=30.0))
    kept, clock = endpoint.ctx.store.get(warmpool.KIND, "one"), endpoint.ctx.clock
    assert kept is not None
    object.__setattr__(endpoint.ctx, "clock", lambda: kept.created + 7.5)
    sagemaker.create_training_job(**training_request("two", **kept_warm(1800)))
    finished(sagemaker, "two")
    object.__setattr__(endpoint.ctx, "clock", clock)
    assert pool("one") == {"Status": "Reused", "ReusedByJob": "two", "ResourceRetainedBillableTimeInSeconds": 7}
    assert (listed("Reused"), listed("Available"), listed("InUse")) == (["one"], ["two"], [])
    sagemaker.update_training_job(TrainingJobName="two", ResourceConfig={"KeepAlivePeriodInSeconds": 0})
    assert pool("two")["Status"] == "Terminated"
    assert listed("Terminated") == ["two"]
    with pytest.raises(ClientError, match="no warm pool in use or available"):
        sagemaker.update_training_job(TrainingJobName="two", ResourceConfig={"KeepAlivePeriodInSeconds": 60})
    with pytest.raises(ClientError, match="ProfilerConfig is not supported"):
        sagemaker.update_training_job(TrainingJobName="two", ProfilerConfig={"DisableProfiler": True})


def test_warm_pool_expires(start_endpoint: Callable[..., Endpoint]) -> None:
    endpoint = start_endpoint()
    sagemaker = client_of(endpoint, "sagemaker")
    client_of(endpoint, "s3").create_bucket(Bucket="data")
    sagemaker.create_training_job(**training_request("one", **kept_warm(100)))
    finished(sagemaker, "one")
    describe = sagemaker.describe_training_job
    clock, kept = endpoint.ctx.clock, endpoint.ctx.store.get(warmpool.KIND, "one")
    assert kept is not None
    object.__setattr__(endpoint.ctx, "clock", lambda: kept.created + 99)
    warmpool.expire(endpoint.ctx)
    assert endpoint.ctx.store.get(warmpool.KIND, "one") is not None
    object.__setattr__(endpoint.ctx, "clock", lambda: kept.created + 101)
    warmpool.expire(endpoint.ctx)
    object.__setattr__(endpoint.ctx, "clock", clock)
    assert describe(TrainingJobName="one")["WarmPoolStatus"] == {
        "Status": "Terminated",
        "ResourceRetainedBillableTimeInSeconds": 100,
    }


@pytest.mark.parametrize(
    ("script", "tag", "status"),
    [("sys.exit(1)", {}, "Available"), ("", fault_tag("capacity"), "Terminated")],
)
def test_which_failures_keep_the_pool(sagemaker: Any, name: str, script: str, tag: dict[str, Any], status: str) -> None:
    request = training_request(name, script, **kept_warm(3600), **tag)
    request["RoleArn"] += f"-{name}"[:40]  # no other job matches
    sagemaker.create_training_job(**request)
    assert failed(sagemaker, name)["WarmPoolStatus"]["Status"] == status


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({**spot(), **kept_warm(60)}, "cannot be given with EnableManagedSpotTraining"),
        (
            {
                "ResourceConfig": {
                    "InstanceGroups": [{"InstanceGroupName": "a", "InstanceType": "ml.m5.large", "InstanceCount": 1}],
                    "KeepAlivePeriodInSeconds": 60,
                }
            },
            "cannot be given with InstanceGroups",
        ),
    ],
)
def test_pools_that_aws_does_not_keep_are_refused(
    sagemaker: Any, name: str, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ClientError, match=text):
        sagemaker.create_training_job(**training_request(name, **changes))


def test_resource_config_of_a_job_is_echoed(sagemaker: Any, name: str) -> None:
    pending = {"MaxRuntimeInSeconds": 60, "MaxPendingTimeInSeconds": 7200}
    sagemaker.create_training_job(**training_request(name, StoppingCondition=pending))
    assert json.dumps(finished(sagemaker, name)["StoppingCondition"]) == json.dumps(pending)
