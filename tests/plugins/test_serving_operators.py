"""Deploy, restore and tear down against real model servers: what serves is asked from the endpoint itself."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from localaws_tests.serving_fixtures import IMAGE, ROLE, server  # noqa: F401 - fixture
from sagewind import aws, endpoints
from sagewind.errors import ResourceBusy, TaskRefused
from sagewind.operators.resources import ResourceOperator
from sagewind.operators.serving import DeployOperator, RestoreOperator
from sagewind.operators.teardown import TeardownOperator
from sagewind.pipeline.names import run_hash
from tests.plugins.conftest import Task

COMMON: dict[str, Any] = {"model": "m", "connection": "c", "plan_task": None}
TEARDOWN: dict[str, Any] = {"model": "m", "connection": "c"}


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch, server) -> None:  # noqa: F811
    """Every connection leads to the server of this module."""
    clients: dict[str, Any] = {}
    monkeypatch.setattr(aws, "_client", lambda c, r, service: clients.setdefault(service, server.client(service)))


def release(server, run: str, factor: str, endpoint: str) -> dict[str, Any]:  # noqa: F811
    """Model, config and deployment of one run; returns what the tasks returned."""
    task = Task(run)
    data = server.put_model_data(f"{run}/model.tar.gz", factor)
    model = ResourceOperator(
        task_id="create_model",
        resource="model",
        request={"PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": data}, "ExecutionRoleArn": ROLE},
        **COMMON,
    ).execute(task.context)
    variant = {
        "VariantName": "main",
        "ModelName": model["name"],
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    config = ResourceOperator(
        task_id="endpoint_config", resource="endpoint_config", request={"ProductionVariants": [variant]}, **COMMON
    ).execute(task.context)
    deployed = DeployOperator(task_id="deploy", endpoint=endpoint, config=config["name"], **COMMON).execute(
        task.context
    )
    assert endpoints.settle(aws.AwsClients("c", None), endpoint)
    task.xcoms = {"create_model": model, "endpoint_config": config, "deploy": deployed}
    return {"task": task, "model": model["name"], "config": config["name"], "deploy": deployed}


def restore(made: dict[str, Any], endpoint: str) -> dict[str, Any]:
    return RestoreOperator(task_id="restore", endpoint=endpoint, **TEARDOWN).execute(made["task"].context)


def teardown(made: dict[str, Any], endpoint: str, **options: Any) -> dict[str, Any]:
    arguments = {"everything": False, **options}
    operator = TeardownOperator(task_id="teardown", endpoint=endpoint, **arguments, **TEARDOWN)
    return operator.execute(made["task"].context)


def left(server) -> set[str]:  # noqa: F811
    """Names of all models and configs."""
    sagemaker = server.sagemaker
    models = {item["ModelName"] for item in sagemaker.list_models()["Models"]}
    return models | {item["EndpointConfigName"] for item in sagemaker.list_endpoint_configs()["EndpointConfigs"]}


def test_an_update_remembers_what_served_and_a_restore_brings_it_back(server) -> None:  # noqa: F811
    first = release(server, "first", "2", "shop")
    assert first["deploy"]["previous"] is None
    second = release(server, "second", "3", "shop")
    assert second["deploy"]["previous"] == first["config"]
    assert server.invoke("shop", "1,1").strip() == "6.0"
    again = DeployOperator(task_id="deploy", endpoint="shop", config=second["config"], **COMMON)
    assert again.execute(second["task"].context)["previous"] == first["config"]
    assert restore(second, "shop") == {"name": "shop", "config": first["config"]}
    assert server.invoke("shop", "1,1").strip() == "4.0"
    teardown(second, "shop")
    assert {first["model"], first["config"]} <= left(server)
    assert not {second["model"], second["config"]} & left(server)


def test_a_good_deployment_removes_only_what_it_superseded(server) -> None:  # noqa: F811
    first = release(server, "one", "2", "store")
    second = release(server, "two", "3", "store")
    assert teardown(second, "store")["deleted"] == []  # not verified: the way back stays open
    second["task"].xcoms["verify"] = {"rows_checked": 1}
    gone = teardown(second, "store")["deleted"]
    assert {item["name"] for item in gone} == {first["config"], first["model"]}
    assert {second["model"], second["config"]} <= left(server)
    assert server.invoke("store", "1,1").strip() == "6.0"


def test_restoring_a_first_deployment_deletes_the_endpoint(server) -> None:  # noqa: F811
    made = release(server, "only", "2", "fresh")
    assert restore(made, "fresh") == {"name": "fresh", "config": None}
    assert endpoints.look(aws.AwsClients("c", None), "fresh") is None


def test_a_run_that_deployed_nothing_restores_nothing(server) -> None:  # noqa: F811
    release(server, "live", "2", "steady")
    with pytest.raises(AirflowSkipException):
        restore({"task": Task("idle")}, "steady")
    assert server.invoke("steady", "1,1").strip() == "4.0"


def test_a_rehearsal_leaves_nothing_even_if_no_task_returned(server) -> None:  # noqa: F811
    name = f"m-rehearsal-{run_hash('dag', 'trial')}"
    made = release(server, "trial", "2", name)
    made["task"].xcoms = {}
    gone = teardown(made, "", everything=True)
    assert {item["kind"] for item in gone["deleted"]} == {"endpoint", "endpoint config", "model"}
    assert endpoints.look(aws.AwsClients("c", None), name) is None
    assert not {made["model"], made["config"]} & left(server)


def test_keep_keeps(server) -> None:  # noqa: F811
    made = release(server, "kept", "2", "keeper")
    assert teardown(made, "", everything=True, keep="True") == {"deleted": [], "kept": True}
    assert server.invoke("keeper", "1,1").strip() == "4.0"
    made["task"].states = {"complete": "skipped"}
    with pytest.raises(TaskRefused, match="it is no success"):
        teardown(made, "", everything=True, keep="True")


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_serving(server) -> None:  # noqa: F811
    first = release(server, "sound", "2", "robust")
    broken = release(server, "broken", "no number", "robust")
    found = endpoints.look(aws.AwsClients("c", None), "robust")
    verdict, sentence = endpoints.judge(found, "robust", broken["config"])
    assert verdict == "failed"
    assert "rolled back" in sentence
    assert found["EndpointConfigName"] == first["config"]
    assert server.invoke("robust", "1,1").strip() == "4.0"


def test_a_verified_deployment_is_not_restored(server) -> None:  # noqa: F811
    made = release(server, "proved", "2", "proven")
    made["task"].xcoms["verify"] = {"rows_checked": 1}
    with pytest.raises(AirflowSkipException, match="was verified"):
        restore(made, "proven")
    assert server.invoke("proven", "1,1").strip() == "4.0"


def test_a_run_that_somebody_ended_is_no_success_although_all_is_deleted(server) -> None:  # noqa: F811
    name = f"m-rehearsal-{run_hash('dag', 'ended')}"
    made = release(server, "ended", "2", name)
    made["task"].states = {"complete": "skipped"}
    with pytest.raises(TaskRefused, match="it is no success"):
        teardown(made, "", everything=True)
    assert endpoints.look(aws.AwsClients("c", None), name) is None


def changing(**more: Any) -> dict[str, Any]:
    return {"EndpointStatus": "Updating", "EndpointConfigName": "x", "EndpointArn": "a", **more}


def test_an_endpoint_that_another_run_changes_is_awaited_and_then_left(server, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setenv("AIRFLOW__SAGEWIND__ENDPOINT_CHANGE_SECONDS", "0")
    monkeypatch.setattr(endpoints, "look", lambda *_: changing())
    with pytest.raises(ResourceBusy, match="is still Updating"):
        DeployOperator(task_id="deploy", endpoint="e", config="c", **COMMON).execute(Task("r").context)


def test_a_retry_attaches_to_the_update_that_an_earlier_try_started(server, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(endpoints, "look", lambda *_: changing(PendingDeploymentSummary={"EndpointConfigName": "c"}))
    monkeypatch.setattr(endpoints, "previous_of", lambda *_: "x")
    deployed = DeployOperator(task_id="deploy", endpoint="e", config="c", **COMMON).execute(Task("r").context)
    assert deployed == {"name": "e", "arn": "a", "config": "c", "previous": "x"}


def test_a_config_on_its_way_into_an_endpoint_is_in_use(server, monkeypatch) -> None:  # noqa: F811
    made = release(server, "moving", "2", "moving")
    found = changing(PendingDeploymentSummary={"EndpointConfigName": made["config"]})
    monkeypatch.setattr(endpoints, "look", lambda *_: found)
    made["task"].xcoms = {}
    teardown(made, "moving")
    assert {made["model"], made["config"]} <= left(server)
