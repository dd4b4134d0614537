"""Resources that are not jobs, made, changed and deleted on the local endpoint and asked from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import botocore.session
import pytest

from localaws_tests.serving_fixtures import IMAGE, ROLE, server  # noqa: F401 - fixture
from sagewind import aws
from sagewind.errors import ResourceBusy, TaskRefused
from sagewind.facts.resources import RESOURCES
from sagewind.operators.resources import (
    DeleteOperator,
    ResourceOperator,
    ScalingOperator,
    StopScalingOperator,
    TagsOperator,
    target,
)
from tests.plugins.conftest import Task

MODEL = botocore.session.get_session().get_service_model("sagemaker")
COMMON: dict[str, Any] = {"task_id": "t", "model": "m", "connection": "c", "plan_task": None}


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch, server) -> None:  # noqa: F811
    clients: dict[str, Any] = {}
    monkeypatch.setattr(aws, "_client", lambda c, r, service: clients.setdefault(service, server.client(service)))


def run(made: Any) -> Any:
    return made.execute(Task("run").context)


def schedule(hour: int) -> dict[str, Any]:
    environment = {"dataset_format": "{}", "output_path": "/opt/ml/processing/output"}
    return {
        "MonitoringScheduleConfig": {
            "ScheduleConfig": {"ScheduleExpression": f"cron(0 {hour} ? * * *)"},
            "MonitoringJobDefinition": {
                "MonitoringInputs": [
                    {"EndpointInput": {"EndpointName": "watched", "LocalPath": "/opt/ml/processing/input"}}
                ],
                "MonitoringOutputConfig": {
                    "MonitoringOutputs": [
                        {"S3Output": {"S3Uri": "s3://bucket/out", "LocalPath": "/opt/ml/processing/output"}}
                    ]
                },
                "MonitoringResources": {
                    "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
                },
                "MonitoringAppSpecification": {"ImageUri": IMAGE},
                "RoleArn": ROLE,
                "Environment": environment,
            },
        }
    }


def test_a_schedule_is_created_found_and_updated_under_its_lasting_name(server) -> None:  # noqa: F811
    server.create_model("watched", 2)
    server.create_config(
        "watched",
        "watched",
        capture={
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": "s3://bucket/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}],
        },
    )
    server.create_endpoint("watched", "watched")

    def made(hour: int) -> ResourceOperator:
        return ResourceOperator(resource="monitoring_schedule", name="daily", request=schedule(hour), **COMMON)

    def expression() -> str:
        found = server.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="daily")
        return str(found["MonitoringScheduleConfig"]["ScheduleConfig"]["ScheduleExpression"])

    far, farther = ((datetime.now(UTC).hour + hours) % 24 for hours in (11, 12))  # no execution begins meanwhile
    first = run(made(far))
    assert run(made(far)) == first
    assert expression() == f"cron(0 {far} ? * * *)"
    assert run(made(farther)) == first
    assert expression() == f"cron(0 {farther} ? * * *)"
    for kind, name in (("monitoring_schedule", "daily"), ("endpoint", "watched"), ("endpoint_config", "watched")):
        assert run(DeleteOperator(resource=kind, name=name, **COMMON))["deleted"] is True
    assert server.sagemaker.list_monitoring_schedules()["MonitoringScheduleSummaries"] == []


def test_a_group_is_shared_by_retries_and_refused_to_another_request(server) -> None:  # noqa: F811
    def made(text: str) -> ResourceOperator:
        request = {"ModelPackageGroupDescription": text}
        return ResourceOperator(resource="package_group", name="shop", request=request, labels={"team": "a"}, **COMMON)

    first = run(made("one"))
    assert run(made("one")) == first
    marks = {tag["Key"]: tag["Value"] for tag in server.sagemaker.list_tags(ResourceArn=first["arn"])["Tags"]}
    assert (marks["sagewind:team"], marks["sagewind:dag"]) == ("a", "dag")
    with pytest.raises(
        TaskRefused, match="package_group shop was made from another request and SageMaker cannot change"
    ):
        run(made("two"))
    assert run(DeleteOperator(resource="package_group", name="shop", **COMMON))["deleted"] is True
    assert server.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


@pytest.mark.parametrize("kind", [kind for kind in RESOURCES if kind != "package"])
def test_deleting_what_is_not_there_is_done(kind: str) -> None:
    assert run(DeleteOperator(resource=kind, name="nothing", **COMMON)) == {"name": "nothing", "deleted": False}


def test_deleting_needs_a_name() -> None:
    with pytest.raises(TaskRefused, match="name is ''"):
        run(DeleteOperator(resource="model", name="", **COMMON))


def test_tags_are_set_and_removed(server) -> None:  # noqa: F811
    arn = run(ResourceOperator(resource="package_group", name="tagged", request={}, **COMMON))["arn"]
    for _ in range(2):
        run(TagsOperator(arn=arn, values={"cost-centre": "7", "old": "x"}, **COMMON))
    run(TagsOperator(arn=arn, values={}, remove=["old"], **COMMON))
    marks = {tag["Key"]: tag["Value"] for tag in server.sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert marks["cost-centre"] == "7"
    assert "old" not in marks
    run(DeleteOperator(resource="package_group", name="tagged", **COMMON))


def test_scaling_is_put_once_and_taken_away(server) -> None:  # noqa: F811
    options = {"least": 1, "most": 3, "invocations_per_instance": 70.0, "variant": "main", **COMMON}
    with pytest.raises(ResourceBusy, match="endpoint shop does not exist"):
        run(ScalingOperator(endpoint="shop", **options))
    data = server.put_model_data("shop/model.tar.gz", "2")
    container = {"Image": IMAGE, "ModelDataUrl": data}
    model = run(
        ResourceOperator(resource="model", request={"PrimaryContainer": container, "ExecutionRoleArn": ROLE}, **COMMON)
    )
    variant = {
        "VariantName": "main",
        "ModelName": model["name"],
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    config = run(ResourceOperator(resource="endpoint_config", request={"ProductionVariants": [variant]}, **COMMON))
    server.sagemaker.create_endpoint(EndpointName="shop", EndpointConfigName=config["name"])
    scaling = server.client("application-autoscaling")
    for _ in range(2):
        made = run(ScalingOperator(endpoint="shop", **options))
    assert made["resource"] == "endpoint/shop/variant/main"
    place = target("shop", "main")
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert [policy["PolicyName"] for policy in policies] == [made["policy"]]
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert [(item["ResourceId"], item["MaxCapacity"]) for item in targets] == [(place["ResourceId"], 3)]
    for deleted in (True, False):
        done = run(StopScalingOperator(endpoint="shop", variant="main", **COMMON))
        assert done == {"resource": place["ResourceId"], "deleted": deleted}
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    for kind, name in (("endpoint", "shop"), ("endpoint_config", config["name"]), ("model", model["name"])):
        assert run(DeleteOperator(resource=kind, name=name, **COMMON))["deleted"] is True
    assert server.sagemaker.list_endpoints()["Endpoints"] == []


@pytest.mark.parametrize(("least", "most"), [(2, 1), (-1, 1), (0, 0)])
def test_a_range_that_is_none_is_refused_while_parsing(least: int, most: int) -> None:
    with pytest.raises(ValueError, match=f"least is {least} and most is {most}"):
        ScalingOperator(endpoint="e", variant="v", least=least, most=most, invocations_per_instance=1, **COMMON)
