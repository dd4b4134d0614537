"""Serverless endpoints: a server that is started by requests and ended by idleness, limits, refusals."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from localaws.profile import Profile
from localaws.serving.hosting import hosting
from localaws.serving.runtime import SERVERLESS_MAX_BYTES
from localaws_tests import serving_fixtures
from localaws_tests.serving.test_capture import ALL
from localaws_tests.serving.test_variants import described, in_service, refusal
from localaws_tests.serving_fixtures import IMAGE, ROLE, Gate, Marked

server = serving_fixtures.server
CONFIG = {"MemorySizeInMB": 2048, "MaxConcurrency": 2}
NO_INSTANCES = {"InstanceType": None, "InitialInstanceCount": None}


@pytest.fixture(scope="module", autouse=True)
def models(server):
    server.create_model("one", 1)


def serverless(server, name, model="one", **config):
    server.create_config(name, model, ServerlessConfig={**CONFIG, **config}, **NO_INSTANCES)
    server.create_endpoint(name, name)


def nobody_may_be_idle(server, endpoint, monkeypatch):
    """From now on, as it was warm before."""
    with hosting(server.endpoint.ctx).serving(endpoint) as fleet:
        monkeypatch.setattr(fleet.variants[0], "profile", Profile(serverless_idle=0.0))


@pytest.mark.executes("CreateEndpoint", "InvokeEndpoint")
def test_a_server_is_there_only_while_it_is_needed(server, monkeypatch):
    mark = Marked()
    server.create_model("marked", 3, **mark.variables)
    serverless(server, "cold", "marked")
    assert mark.pids() == []
    assert server.invoke("cold", "1") == "3.0\n"
    pids = mark.pids()
    assert pids
    assert server.invoke("cold", "2") == "6.0\n"
    assert mark.pids() == pids  # it stays warm
    nobody_may_be_idle(server, "cold", monkeypatch)
    hosting(server.endpoint.ctx).tick()
    mark.wait_gone()  # the regular look may have been the one that ends it
    monkeypatch.undo()
    assert server.invoke("cold", "3") == "9.0\n"
    server.delete_endpoint("cold")
    assert mark.pids() == []


def test_it_is_described_without_instances(server):
    serverless(server, "shown")
    variant = described(server, "shown")["AllTraffic"]
    assert variant["CurrentServerlessConfig"] == variant["DesiredServerlessConfig"] == CONFIG
    assert variant["CurrentInstanceCount"] == 0
    assert server.sagemaker.describe_endpoint_config(EndpointConfigName="shown")["ProductionVariants"][0][
        "ServerlessConfig"
    ] == CONFIG  # fmt: skip
    server.delete_endpoint("shown")


def test_more_requests_than_the_limit_are_throttled(server):
    gate = Gate()
    serverless(server, "full")
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(server.invoke, "full", f"hold {gate.port}") for _ in range(2)]
        held = [gate.wait_reached() for _ in range(2)]
        with pytest.raises(ClientError) as caught:
            server.invoke("full", "1")
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"
        for connection in held:
            connection.close()
        assert [answer.result() for answer in answers] == ["held", "held"]
    assert server.invoke("full", "1") == "1.0\n"
    gate.close()
    server.delete_endpoint("full")


@pytest.mark.executes("UpdateEndpointWeightsAndCapacities")
def test_provisioned_concurrency_keeps_it_warm(server, monkeypatch):
    mark = Marked()
    server.create_model("kept", 1, **mark.variables)
    serverless(server, "kept", "kept")
    assert mark.pids() == []
    server.scale("kept", AllTraffic={"ServerlessUpdateConfig": {"ProvisionedConcurrency": 1, "MaxConcurrency": 5}})
    in_service(server, "kept")
    pids = mark.pids()
    assert pids
    nobody_may_be_idle(server, "kept", monkeypatch)
    hosting(server.endpoint.ctx).tick()
    assert mark.pids() == pids
    current = described(server, "kept")["AllTraffic"]["CurrentServerlessConfig"]
    assert current == {"MemorySizeInMB": 2048, "MaxConcurrency": 5, "ProvisionedConcurrency": 1}
    server.delete_endpoint("kept")


def test_a_container_that_does_not_start_fails_the_endpoint(server):
    server.create_model("refusing", 1, REFUSE_TO_START="1")
    server.create_config("refusing", "refusing", ServerlessConfig=CONFIG, **NO_INSTANCES)
    server.sagemaker.create_endpoint(EndpointName="refusing", EndpointConfigName="refusing")
    with pytest.raises(Exception, match='"Failed"'):
        in_service(server, "refusing")


def test_payloads_are_smaller_than_on_instances(server):
    serverless(server, "small")
    with pytest.raises(ClientError, match=f"less than or equal to {SERVERLESS_MAX_BYTES}"):
        server.invoke("small", "1" * (SERVERLESS_MAX_BYTES + 1))
    server.delete_endpoint("small")


def test_the_cold_start_is_measured(server):
    from datetime import UTC, datetime, timedelta

    serverless(server, "measured")
    server.invoke("measured", "1")
    server.invoke("measured", "1")
    server.flush_metrics()
    now = datetime.now(UTC)
    points = server.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker", MetricName="ModelSetupTime", Period=3600, Statistics=["SampleCount", "Sum"],
        Dimensions=[{"Name": "EndpointName", "Value": "measured"}, {"Name": "VariantName", "Value": "AllTraffic"}],
        StartTime=now - timedelta(minutes=10), EndTime=now + timedelta(minutes=10),
    )["Datapoints"]  # fmt: skip
    assert sum(point["SampleCount"] for point in points) == 1
    assert sum(point["Sum"] for point in points) > 0
    server.delete_endpoint("measured")


@pytest.mark.parametrize(
    ("config", "more", "text"),
    [
        ({"MemorySizeInMB": 1500}, {}, "must be a multiple of 1024"),
        ({"ProvisionedConcurrency": 3}, {}, "must not be greater than MaxConcurrency, which is 2"),
        ({}, {"capture": ALL}, "'DataCaptureConfig' is not available for serverless"),
        ({}, {"queued": {"OutputConfig": {"S3OutputPath": "s3://b/k"}}}, "'AsyncInferenceConfig' is not available"),
    ],
)
def test_what_serverless_endpoints_cannot_have_is_refused(server, config, more, text):
    given = {**CONFIG, **config}
    assert text in refusal(server.create_config, "bad", "one", ServerlessConfig=given, **NO_INSTANCES, **more)


def test_one_variant_and_a_plain_model(server):
    assert "has one production variant" in refusal(
        server.create_config, "bad", "one", "one", ServerlessConfig=CONFIG, **NO_INSTANCES
    )
    server.sagemaker.create_model(
        ModelName="vpc", PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=ROLE,
        VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]},
    )  # fmt: skip
    assert "its model vpc has VpcConfig" in refusal(
        server.create_config, "bad", "vpc", ServerlessConfig=CONFIG, **NO_INSTANCES
    )


def test_an_endpoint_stays_what_it_is(server):
    serverless(server, "before")
    server.create_config("instances", "one")
    update = server.sagemaker.update_endpoint
    assert "is serverless and cannot be updated" in refusal(
        update, EndpointName="before", EndpointConfigName="instances"
    )
    server.create_endpoint("on-instances", "instances")
    assert "is on instances and cannot" in refusal(update, EndpointName="on-instances", EndpointConfigName="before")
    for name in ("before", "on-instances"):
        server.delete_endpoint(name)
