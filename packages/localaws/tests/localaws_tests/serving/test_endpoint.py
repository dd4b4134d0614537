"""Endpoints and their configurations over their whole life, with real model servers."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, WaiterError

from localaws.engine.sandbox import choose
from localaws.profile import Profile
from localaws.serving import model_server
from localaws.serving.endpoint_works import SERVING, TRANSITIONS
from localaws.serving.model_data import Artifact, ServedModel
from localaws.serving.model_server import Cancelled, ModelServer, ModelServerError, ServerSpec
from localaws.states import IllegalTransition
from localaws_tests import serving_fixtures
from localaws_tests.serving.test_capture import ALL
from localaws_tests.serving_fixtures import BUCKET, IMAGE, Gate, Marked, Program, running

server = serving_fixtures.server
ARN = "arn:aws:sagemaker:us-east-1:123456789012"


@pytest.fixture(scope="module", autouse=True)
def models(server):
    server.create_model("one", 1)
    server.create_model("two", 2)
    server.create_model("refusing", 1, REFUSE_TO_START="1")
    server.create_config("one", "one")
    server.create_config("two", "two")
    server.create_config("refusing", "refusing")


@pytest.fixture
def gate():
    held = Gate()
    yield held
    held.close()


def describe(server, name):
    return server.sagemaker.describe_endpoint(EndpointName=name)


def message(call, **arguments):
    """The message of a ValidationException."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    return caught.value.response["Error"]["Message"]


@pytest.mark.executes("CreateEndpoint", "DescribeEndpoint", "ListEndpoints", "DeleteEndpoint", "InvokeEndpoint")
def test_an_endpoint_is_created_described_listed_and_deleted(server):
    mark = Marked()
    server.create_model("whole", 4, **mark.variables)
    server.create_config("whole", "whole", InitialInstanceCount=2, InitialVariantWeight=0.5)
    server.create_endpoint("whole", "whole")
    found = describe(server, "whole")
    assert found["EndpointArn"] == f"{ARN}:endpoint/whole"
    assert found["EndpointConfigName"] == "whole"
    assert "FailureReason" not in found
    (variant,) = found["ProductionVariants"]
    assert (variant["VariantName"], variant["CurrentWeight"], variant["CurrentInstanceCount"]) == ("AllTraffic", 0.5, 2)
    assert server.invoke("whole", "1,2\n") == "12.0\n"
    listed = server.sagemaker.list_endpoints(NameContains="whole", StatusEquals="InService")["Endpoints"]
    assert [e["EndpointName"] for e in listed] == ["whole"]
    assert mark.pids()
    server.delete_endpoint("whole")
    assert mark.pids() == []
    assert message(server.sagemaker.describe_endpoint, EndpointName="whole") == (
        f'Could not find endpoint "{ARN}:endpoint/whole".'
    )


def test_the_containers_log_is_in_cloudwatch(server):
    server.create_endpoint("logged", "one")
    server.invoke("logged", "123")
    logs = server.client("logs")
    group = "/aws/sagemaker/Endpoints/logged"
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    server.delete_endpoint("logged")
    events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert [e["message"] for e in events] == ["3 bytes came in"]


def test_a_container_that_does_not_start_fails_the_endpoint(server):
    server.sagemaker.create_endpoint(EndpointName="fails", EndpointConfigName="refusing")
    with pytest.raises(WaiterError, match='"Failed"'):
        server.wait("endpoint_in_service", EndpointName="fails")
    found = describe(server, "fails")
    assert found["FailureReason"] == (
        "The primary container for production variant AllTraffic did not pass the ping health check. "
        "Please check CloudWatch logs for this endpoint. Seen here: its program ended with exit code 1 (it was started "
        "3 times). Its log ends with: refused to start, as asked | refused to start, as asked | refused to start, as "
        "asked"
    )
    refused = message(server.sagemaker.update_endpoint, EndpointName="fails", EndpointConfigName="one")
    assert "can only be deleted" in refused
    server.delete_endpoint("fails")


@pytest.mark.parametrize(
    ("body", "reason"),
    [(None, "Failed to download model data from URL"), (b"no archive", "Failed to extract model data archive")],
)
def test_model_data_is_looked_at_when_it_is_used(server, body, reason):
    name = "missing" if body is None else "damaged"
    server.create_model(name)
    server.s3.delete_object(Bucket=BUCKET, Key=f"{name}/model.tar.gz")
    if body is not None:
        server.s3.put_object(Bucket=BUCKET, Key=f"{name}/model.tar.gz", Body=body)
    server.create_config(name, name)
    server.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    with pytest.raises(WaiterError, match='"Failed"'):
        server.wait("endpoint_in_service", EndpointName=name)
    assert reason in describe(server, name)["FailureReason"]


def test_an_endpoint_in_progress_can_neither_be_updated_nor_deleted(server, gate):
    server.create_model("held", 1, **gate.variables)
    server.create_config("held", "held")
    server.sagemaker.create_endpoint(EndpointName="held", EndpointConfigName="held")
    waiting = gate.wait_reached()
    assert describe(server, "held")["EndpointStatus"] == "Creating"
    with pytest.raises(ClientError, match="Endpoint held of account 123456789012 not found"):
        server.invoke("held", "1")
    expected = f'Cannot update in-progress endpoint "{ARN}:endpoint/held".'
    assert message(server.sagemaker.delete_endpoint, EndpointName="held") == expected
    assert message(server.sagemaker.update_endpoint, EndpointName="held", EndpointConfigName="one") == expected
    waiting.close()
    server.wait("endpoint_in_service", EndpointName="held")
    server.delete_endpoint("held")


@pytest.mark.executes("UpdateEndpoint", "InvokeEndpoint")
def test_an_update_moves_the_traffic_once_the_new_server_is_healthy_and_ends_the_old_one(server, gate):
    """Under load: test_variants."""
    old = Marked()
    server.create_model("old", 1, **old.variables)
    server.create_model("new", 2, **gate.variables)
    server.create_config("old", "old")
    server.create_config("new", "new")
    server.create_endpoint("moves", "old")
    server.sagemaker.update_endpoint(EndpointName="moves", EndpointConfigName="new")
    waiting = gate.wait_reached()
    found = describe(server, "moves")
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("Updating", "old")
    assert found["PendingDeploymentSummary"]["EndpointConfigName"] == "new"
    assert server.invoke("moves", "1") == "1.0\n"  # nothing moves before the new server is healthy
    waiting.close()
    server.wait("endpoint_in_service", EndpointName="moves")
    found = describe(server, "moves")
    assert found["EndpointConfigName"] == "new"
    assert "PendingDeploymentSummary" not in found
    assert server.invoke("moves", "1") == "2.0\n"
    old.wait_gone()
    server.delete_endpoint("moves")


def test_a_request_under_way_is_answered_by_the_server_that_has_it(server, gate):
    server.create_endpoint("answers", "one")
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.invoke, "answers", f"hold {gate.port}")
        held = gate.wait_reached()
        server.sagemaker.update_endpoint(EndpointName="answers", EndpointConfigName="two")
        server.wait("endpoint_in_service", EndpointName="answers")
        for _ in range(50):  # time enough for an old server that is not waited for to be gone
            assert server.invoke("answers", "1") == "2.0\n"
        held.close()
        assert answer.result() == "held"
    server.delete_endpoint("answers")


def test_a_failed_update_leaves_the_old_configuration_in_service(server):
    server.create_endpoint("stays", "one")
    server.sagemaker.update_endpoint(EndpointName="stays", EndpointConfigName="refusing")
    server.wait("endpoint_in_service", EndpointName="stays")
    found = describe(server, "stays")
    assert found["EndpointConfigName"] == "one"
    assert "did not pass the ping health check" in found["FailureReason"]
    assert server.invoke("stays", "1") == "1.0\n"
    server.sagemaker.update_endpoint(EndpointName="stays", EndpointConfigName="two")
    server.wait("endpoint_in_service", EndpointName="stays")
    found = describe(server, "stays")
    assert found["EndpointConfigName"] == "two"
    assert "FailureReason" not in found
    server.delete_endpoint("stays")


def test_capture_of_the_old_configuration_is_written_when_the_endpoint_moves_on(server):
    server.create_config("captures", "one", capture={**ALL, "DestinationS3Uri": f"s3://{BUCKET}/moved"})
    server.create_endpoint("moved", "captures")
    server.invoke("moved", "1")
    server.sagemaker.update_endpoint(EndpointName="moved", EndpointConfigName="two")
    server.wait("endpoint_in_service", EndpointName="moved")
    server.invoke("moved", "2")
    server.delete_endpoint("moved")
    records = [json.loads(line) for body in server.objects("moved/").values() for line in body.splitlines()]
    assert [r["captureData"]["endpointInput"]["data"] for r in records] == ["1"]


@pytest.mark.executes("DeleteModel", "DeleteEndpointConfig")
def test_configurations_and_models_in_use_may_be_deleted(server):
    server.create_model("gone", 5)
    server.create_config("gone", "gone")
    server.create_endpoint("survives", "gone")
    server.sagemaker.delete_model(ModelName="gone")
    server.sagemaker.delete_endpoint_config(EndpointConfigName="gone")
    assert server.invoke("survives", "1") == "5.0\n"
    refused = message(server.sagemaker.update_endpoint, EndpointName="survives", EndpointConfigName="one")
    assert refused == f'Could not find endpoint configuration "{ARN}:endpoint-config/gone".'
    server.delete_endpoint("survives")


def test_a_model_server_that_ends_by_itself_is_started_again(server):
    server.create_endpoint("crashes", "two")
    with pytest.raises(ClientError) as caught:
        server.invoke("crashes", "crash")
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert server.invoke_patiently("crashes", "1") == "2.0\n"
    server.delete_endpoint("crashes")


@pytest.mark.parametrize(
    ("operation", "arguments", "text"),
    [
        (
            "create_endpoint",
            {"EndpointName": "e", "EndpointConfigName": "none"},
            "Could not find endpoint configuration",
        ),
        ("update_endpoint", {"EndpointName": "none", "EndpointConfigName": "one"}, "Could not find endpoint "),
        ("delete_endpoint", {"EndpointName": "none"}, "Could not find endpoint "),
        ("describe_endpoint_config", {"EndpointConfigName": "none"}, "Could not find endpoint configuration"),
        ("delete_endpoint_config", {"EndpointConfigName": "none"}, "Could not find endpoint configuration"),
    ],
)
def test_what_is_not_there(server, operation, arguments, text):
    assert message(getattr(server.sagemaker, operation), **arguments).startswith(text)


def test_names_are_taken_once(server):
    server.create_endpoint("twice", "one")
    taken = message(server.sagemaker.create_endpoint, EndpointName="twice", EndpointConfigName="one")
    assert taken == f'Cannot create already existing endpoint "{ARN}:endpoint/twice".'
    variant = {"VariantName": "v", "ModelName": "one", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    taken = message(server.sagemaker.create_endpoint_config, EndpointConfigName="one", ProductionVariants=[variant])
    assert taken == f'Cannot create already existing endpoint configuration "{ARN}:endpoint-config/one".'
    server.delete_endpoint("twice")


@pytest.mark.parametrize(
    ("variant", "more", "text"),
    [
        ({"ModelName": "nobody"}, {}, 'Could not find model "'),
        ({"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}, {}, "has both ServerlessConfig and Inst"),
        ({"InitialInstanceCount": None}, {}, "InitialInstanceCount' must be given"),
        ({}, {"AsyncInferenceConfig": {"OutputConfig": {}}}, "S3OutputPath' must be given"),
        ({}, {"DataCaptureConfig": {**ALL, "DestinationS3Uri": "https://b/k"}}, "not of the form s3://"),
    ],
)
def test_configurations_that_cannot_be_served_are_refused(server, variant, more, text):
    given = {
        "VariantName": "v",
        "ModelName": "one",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
        **variant,
    }
    variants = [{key: value for key, value in given.items() if value is not None}]
    refused = message(
        server.sagemaker.create_endpoint_config, EndpointConfigName="bad", ProductionVariants=variants, **more
    )
    assert text in refused


def test_two_variants_of_one_name_are_refused(server):
    variant = {"VariantName": "v", "ModelName": "one", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    refused = message(
        server.sagemaker.create_endpoint_config, EndpointConfigName="bad", ProductionVariants=[variant, variant]
    )
    assert "'v' is used twice" in refused


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ({"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "a"}]}}, "AutoRollbackConfiguration is not supported"),
        (
            {
                "BlueGreenUpdatePolicy": {
                    "TrafficRoutingConfiguration": {
                        "Type": "CANARY",
                        "WaitIntervalInSeconds": 0,
                        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
                    }
                }
            },
            "'TrafficRoutingConfiguration.Type' is 'CANARY'",
        ),
    ],
)
def test_deployments_that_are_not_done_here_are_refused(server, policy, text):
    refused = message(
        server.sagemaker.create_endpoint, EndpointName="policy", EndpointConfigName="one", DeploymentConfig=policy
    )
    assert text in refused


@pytest.mark.executes("CreateEndpointConfig", "DescribeEndpointConfig", "ListEndpointConfigs")
def test_a_configuration_is_described_and_listed(server):
    server.create_config("listed-config", "one", "two")
    found = server.sagemaker.describe_endpoint_config(EndpointConfigName="listed-config")
    assert [v["InitialVariantWeight"] for v in found["ProductionVariants"]] == [1.0, 1.0]
    listed = server.sagemaker.list_endpoint_configs(NameContains="listed-config")["EndpointConfigs"]
    assert [c["EndpointConfigArn"] for c in listed] == [f"{ARN}:endpoint-config/listed-config"]


def test_the_present_configuration_is_no_update(server):
    server.create_endpoint("same", "one")
    refused = message(server.sagemaker.update_endpoint, EndpointName="same", EndpointConfigName="one")
    assert refused.endswith("has the endpoint configuration one already.")
    server.delete_endpoint("same")


def test_the_old_fleet_waits_as_long_as_the_deployment_says(tmp_path):
    mark = Marked()
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 3600}
    with running(tmp_path / "state") as local:
        local.create_model("old", 1, **mark.variables)
        local.create_model("new", 2)
        for name in ("old", "new"):
            local.create_config(name, name)
        local.create_endpoint("bakes", "old")
        local.sagemaker.update_endpoint(
            EndpointName="bakes",
            EndpointConfigName="new",
            DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
        )
        while local.invoke("bakes", "1") == "1.0\n":
            pass  # traffic moves at once, the end of the update comes an hour later
        assert describe(local, "bakes")["EndpointStatus"] == "Updating"
        assert mark.pids()
    assert mark.pids() == []
    with running(tmp_path / "state") as later:  # the new configuration was healthy, so it stays
        assert describe(later, "bakes")["EndpointConfigName"] == "new"
        assert describe(later, "bakes")["EndpointStatus"] == "InService"


def test_a_server_that_is_not_healthy_in_time_is_given_up(server, gate, tmp_path):
    lines = []
    spec = ServerSpec(
        label="production variant v",
        model=ServedModel(IMAGE, Artifact(server.put_model_data("late/model.tar.gz", 1))),
        home=tmp_path / "server",
        on_line=lines.append,
        environment=gate.variables,
        startup_seconds=0.2,
    )
    late = ModelServer(server.endpoint.ctx, spec)
    late.start()
    with pytest.raises(ModelServerError, match=r"it was not healthy after 0\.2 s\..* wrote nothing to its log"):
        late.wait_healthy()
    late.stop()
    assert late.pid is None
    assert not spec.home.exists()


def test_two_model_servers_are_not_given_one_port(monkeypatch):
    """Each listens on its port only later: until then the machine would give it out again."""
    free_port = model_server.free_port
    first, claim = model_server.reserve_port()
    offered = chain([first, first], iter(free_port, None))
    monkeypatch.setattr(model_server, "free_port", lambda: next(offered))
    second, beside = model_server.reserve_port()
    assert second != first
    claim.close()
    offered = iter([first])
    third, again = model_server.reserve_port()
    assert third == first
    for one in (beside, again):
        one.close()


def test_a_container_that_ends_at_once_is_started_again(server):
    server.create_model("second-try", 3, FAIL_FIRST="1")
    server.create_config("second-try", "second-try")
    server.create_endpoint("second-try", "second-try")
    assert server.invoke("second-try", "1") == "3.0\n"
    server.delete_endpoint("second-try")


def test_starts_can_go_on_until_the_time_is_over(server, tmp_path, monkeypatch):
    """A clock that goes on by a second with each start that ended."""
    begun, ends = time.monotonic(), []
    monkeypatch.setattr(model_server, "time", SimpleNamespace(monotonic=lambda: begun + len(ends)))
    spec = ServerSpec(
        label="production variant v",
        model=ServedModel(IMAGE, Artifact(server.put_model_data("ends/model.tar.gz", 1)), {"REFUSE_TO_START": "1"}),
        home=tmp_path / "server",
        on_line=ends.append,
        environment={},
        startup_seconds=4.5,
        tries=None,
    )
    ending = ModelServer(replace(server.endpoint.ctx, profile=Profile(restart_longest=0.0)), spec)
    ending.start()
    with pytest.raises(ModelServerError, match=r"\(it was started 5 times\)\. Its log ends with: refused"):
        ending.wait_healthy()
    ending.stop()


def test_a_server_that_is_stopped_while_it_begins_is_cancelled_and_leaves_nothing(server, tmp_path):
    """A stop removes the directory in which the program is about to be started."""
    ctx = server.endpoint.ctx

    def resolve(uri):
        ending.stop()
        return ctx.images.resolve(uri)

    model = ServedModel(IMAGE, Artifact(server.put_model_data("begins/model.tar.gz", 1)), {})
    spec = ServerSpec(label="v", model=model, home=tmp_path / "server", on_line=print, environment={})
    ending = ModelServer(replace(ctx, images=SimpleNamespace(resolve=resolve)), spec)
    with pytest.raises(Cancelled):
        ending.start()
    assert not spec.home.exists()


def test_the_state_table():
    assert TRANSITIONS.terminal == {"Deleting"}
    assert TRANSITIONS.statuses >= SERVING
    with pytest.raises(IllegalTransition):
        TRANSITIONS.next("Creating", "delete")


# --- faults on request and AWS-like times ---------------------------------------------------------------------------


def tagged(server, name, fault):
    tags = [{"Key": "localaws:fault", "Value": fault}]
    server.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName="one", Tags=tags)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("capacity", "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."),
        ("fail-health-check", "did not pass the ping health check."),
        ("slow-start=0.05 capacity", "InsufficientInstanceCapacity"),
    ],
)
def test_a_fault_fails_the_endpoint(server, fault, reason):
    name = f"faulty-{len(fault)}"
    tagged(server, name, fault)
    with pytest.raises(WaiterError, match='"Failed"'):
        server.wait("endpoint_in_service", EndpointName=name)
    assert reason in describe(server, name)["FailureReason"]
    server.delete_endpoint(name)


def test_a_fault_rolls_an_update_back(server):
    server.create_endpoint("rolls", "one")
    server.sagemaker.add_tags(
        ResourceArn=describe(server, "rolls")["EndpointArn"],
        Tags=[{"Key": "localaws:fault", "Value": "fail-health-check"}],
    )
    server.sagemaker.update_endpoint(EndpointName="rolls", EndpointConfigName="two")
    server.wait("endpoint_in_service", EndpointName="rolls")
    found = describe(server, "rolls")
    assert (found["EndpointConfigName"], "localaws:fault" in found["FailureReason"]) == ("one", True)
    assert server.invoke("rolls", "1") == "1.0\n"
    server.delete_endpoint("rolls")


def test_a_slow_start_can_be_seen_and_does_not_hold_the_shutdown_up(tmp_path):
    with running(tmp_path / "state", profile=Profile("slow", endpoint_start=3600.0, shutdown_grace=30.0)) as local:
        local.create_model("one", 1)
        local.create_config("one", "one")
        local.sagemaker.create_endpoint(EndpointName="slow", EndpointConfigName="one")
        assert describe(local, "slow")["EndpointStatus"] == "Creating"
    with running(tmp_path / "state") as later:
        later.wait("endpoint_in_service", EndpointName="slow")
        assert later.invoke("slow", "1") == "1.0\n"


# --- the end and the return of the server itself ---------------------------------------------------------------------


def test_endpoints_come_back_with_the_server(tmp_path):
    with running(tmp_path / "state") as first:
        first.create_model("kept", 6)
        first.create_config("kept", "kept", capture=ALL)
        first.create_endpoint("kept", "kept")
        first.invoke("kept", "1")
    with running(tmp_path / "state") as second:
        assert len(second.objects("capture/kept/")) == 1  # written when the first server ended
        assert second.invoke_patiently("kept", "2") == "12.0\n"  # until then it answers 503
        assert describe(second, "kept")["EndpointStatus"] == "InService"


def test_an_endpoint_that_was_being_created_goes_on_after_a_restart(tmp_path, gate):
    with running(tmp_path / "state") as first:
        first.create_model("held", 1, **gate.variables)
        first.create_config("held", "held")
        first.sagemaker.create_endpoint(EndpointName="held", EndpointConfigName="held")
        waiting = gate.wait_reached()
    waiting.close()
    with running(tmp_path / "state") as second:
        gate.wait_reached().close()
        second.wait("endpoint_in_service", EndpointName="held")
        assert second.invoke("held", "2") == "2.0\n"


@pytest.mark.parametrize("sandbox", ["bubblewrap", "namespaces", "none"])
def test_model_servers_live_in_every_sandbox(tmp_path, sandbox):
    try:
        choose(sandbox)
    except ValueError as error:
        pytest.skip(str(error))
    mark = Marked()
    with running(tmp_path / "state", sandbox) as local:
        local.create_model("boxed", 7, **mark.variables)
        local.create_config("boxed", "boxed")
        local.create_endpoint("boxed", "boxed")
        assert local.invoke("boxed", "1") == "7.0\n"
        local.delete_endpoint("boxed")
        assert mark.pids() == []


def test_kill_minus_nine_leaves_no_model_server_and_sigterm_no_record_unwritten(tmp_path):
    """A restart brings the endpoint back; what it captured is in S3 when the program has ended in good order."""
    mark = Marked()
    program = Program(tmp_path / "state")
    program.server.create_model("marked", 3, **mark.variables)
    program.server.create_config("marked", "marked", capture=ALL)
    program.server.create_endpoint("marked", "marked")
    assert mark.pids()
    program.end(signal.SIGKILL)
    mark.wait_gone()
    assert mark.pids() == []
    again = Program(tmp_path / "state")
    assert again.server.invoke_patiently("marked", "0") == "0.0\n"
    for number in range(1, 20):
        again.server.invoke("marked", str(number))
    assert again.end(signal.SIGTERM) == 0
    assert mark.pids() == []
    with running(tmp_path / "state") as later:
        lines = [line for body in later.objects("capture/marked/").values() for line in body.splitlines()]
    data = [json.loads(line)["captureData"]["endpointInput"]["data"] for line in lines]
    assert sorted(map(int, data)) == list(range(20))
