"""Several variants and instances of an endpoint: routing, scaling, retained properties, dead and hung model servers."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from localaws.profile import Profile
from localaws.quotas import Quotas
from localaws.serving import model_server, runtime
from localaws.serving.hosting import hosting
from localaws.serving.http_pool import Answer, NoAnswer
from localaws.serving.variants import Variant, VariantInstance
from localaws_tests import serving_fixtures
from localaws_tests.conftest import poll
from localaws_tests.serving_fixtures import Gate, Marked, running

server = serving_fixtures.server
WHO = "env SAGEMAKER_BIND_TO_PORT"  # every model server has a port of its own


@pytest.fixture(scope="module", autouse=True)
def models(server):
    server.create_model("one", 1)
    server.create_model("ten", 10)
    server.create_model("refusing", 1, REFUSE_TO_START="1")
    server.create_config("both", "one", "ten")
    server.create_config("single", "one")


def described(server, name):
    """The variants by name, as DescribeEndpoint shows them."""
    found = server.sagemaker.describe_endpoint(EndpointName=name)
    return {variant["VariantName"]: variant for variant in found["ProductionVariants"]}


def in_service(server, name):
    server.wait("endpoint_in_service", EndpointName=name)


def refusal(call, *arguments, **changes):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **changes)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    return caught.value.response["Error"]["Message"]


# --- weights and capacities ------------------------------------------------------------------------------------------


@pytest.mark.executes("UpdateEndpointWeightsAndCapacities", "InvokeEndpoint")
def test_weights_move_the_traffic(server):
    server.create_endpoint("weighted", "both")
    server.scale("weighted", AllTraffic={"DesiredWeight": 0}, v1={"DesiredWeight": 2})
    in_service(server, "weighted")
    assert {server.invoke("weighted", "1") for _ in range(20)} == {"10.0\n"}
    found = described(server, "weighted")
    assert [(v["CurrentWeight"], v["DesiredWeight"]) for v in found.values()] == [(0.0, 0.0), (2.0, 2.0)]
    assert server.invoke("weighted", "1", TargetVariant="AllTraffic") == "1.0\n"  # a named one is asked all the same
    server.delete_endpoint("weighted")


@pytest.mark.executes("UpdateEndpointWeightsAndCapacities")
def test_instances_are_model_servers(server):
    mark = Marked()
    server.create_model("instances", 1, **mark.variables)
    server.create_config("instances", "instances", InitialInstanceCount=2)
    server.create_endpoint("instances", "instances")
    assert len(Counter(server.invoke("instances", WHO) for _ in range(10))) == 2
    server.scale("instances", AllTraffic={"DesiredInstanceCount": 3})
    in_service(server, "instances")
    assert Counter(server.invoke("instances", WHO) for _ in range(9)).most_common(1)[0][1] == 3  # they take turns
    server.scale("instances", AllTraffic={"DesiredInstanceCount": 1})
    in_service(server, "instances")
    assert len({server.invoke("instances", WHO) for _ in range(5)}) == 1
    variant = described(server, "instances")["AllTraffic"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 1)
    server.delete_endpoint("instances")
    assert mark.pids() == []


def test_describe_shows_what_is_wanted_and_what_is_there(server):
    gate = Gate()
    server.create_model("gated", 1, START_AFTER=gate.port)
    server.create_config("gated", "gated")
    server.sagemaker.create_endpoint(EndpointName="gated", EndpointConfigName="gated")
    gate.wait_reached().close()
    in_service(server, "gated")
    server.scale("gated", AllTraffic={"DesiredInstanceCount": 2, "DesiredWeight": 5})
    second = gate.wait_reached()
    assert server.sagemaker.describe_endpoint(EndpointName="gated")["EndpointStatus"] == "Updating"
    variant = described(server, "gated")["AllTraffic"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (1, 2)
    assert (variant["CurrentWeight"], variant["DesiredWeight"]) == (1.0, 5.0)
    assert server.invoke("gated", "2") == "2.0\n"  # served meanwhile
    busy = "Cannot update in-progress endpoint"
    assert busy in refusal(server.scale, "gated", AllTraffic={"DesiredWeight": 1})
    second.close()
    in_service(server, "gated")
    gate.close()
    server.delete_endpoint("gated")


def test_scaling_that_fails_changes_nothing(server):
    server.create_endpoint("stays", "single")
    arn = server.sagemaker.describe_endpoint(EndpointName="stays")["EndpointArn"]
    server.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "localaws:fault", "Value": "capacity"}])
    server.scale("stays", AllTraffic={"DesiredInstanceCount": 2, "DesiredWeight": 7})
    in_service(server, "stays")
    found = server.sagemaker.describe_endpoint(EndpointName="stays")
    assert "InsufficientInstanceCapacity" in found["FailureReason"]
    variant = found["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["CurrentWeight"]) == (1, 1.0)
    assert server.invoke("stays", "1") == "1.0\n"
    server.scale("stays", AllTraffic={"DesiredWeight": 7})  # starts no server, so nothing is in its way
    in_service(server, "stays")
    found = server.sagemaker.describe_endpoint(EndpointName="stays")
    assert (found["ProductionVariants"][0]["CurrentWeight"], "FailureReason" in found) == (7.0, False)
    server.delete_endpoint("stays")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"nobody": {"DesiredWeight": 1}}, "Variant nobody is not found"),
        ({"AllTraffic": {"DesiredInstanceCount": 0}}, "only asynchronous endpoints can have none"),
        ({"AllTraffic": {"ServerlessUpdateConfig": {"MaxConcurrency": 1}}}, "has no 'ServerlessUpdateConfig'"),
    ],
)
def test_scaling_that_makes_no_sense_is_refused(server, shared, changes, text):
    assert text in refusal(server.scale, shared, **changes)


@pytest.fixture(scope="module")
def shared(server, models):
    server.create_endpoint("shared", "both")
    return "shared"


def test_a_variant_is_named_once(server, shared):
    twice = [{"VariantName": "v1", "DesiredWeight": 1}] * 2
    call = server.sagemaker.update_endpoint_weights_and_capacities
    assert "named twice" in refusal(call, EndpointName=shared, DesiredWeightsAndCapacities=twice)


@pytest.mark.parametrize(
    ("excluded", "weight", "count"),
    [((), 3.0, 2), (("DesiredWeight",), 1.0, 2), (("DesiredInstanceCount", "DesiredWeight"), 1.0, 1)],
)
@pytest.mark.executes("UpdateEndpoint")
def test_an_update_can_keep_what_was_scaled(server, excluded, weight, count):
    name = f"keeps-{len(excluded)}"
    server.create_endpoint(name, "single")
    server.scale(name, AllTraffic={"DesiredWeight": 3, "DesiredInstanceCount": 2})
    in_service(server, name)
    server.create_config(name, "ten", "one")
    server.sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=name,
        RetainAllVariantProperties=True,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": kind} for kind in excluded],
    )
    in_service(server, name)
    found = described(server, name)
    assert (found["AllTraffic"]["CurrentWeight"], found["AllTraffic"]["CurrentInstanceCount"]) == (weight, count)
    assert found["v1"]["CurrentWeight"] == 1.0  # had no properties to keep
    assert len({server.invoke(name, WHO, TargetVariant="AllTraffic") for _ in range(4)}) == count
    assert server.invoke(name, "1", TargetVariant="AllTraffic") == "10.0\n"
    server.delete_endpoint(name)


def test_the_last_deployment_policy_can_be_used_again(server):
    routing = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
    policy = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}
    server.sagemaker.create_endpoint(EndpointName="again", EndpointConfigName="single", DeploymentConfig=policy)
    in_service(server, "again")
    server.sagemaker.update_endpoint(EndpointName="again", EndpointConfigName="both", RetainDeploymentConfig=True)
    in_service(server, "again")
    assert server.sagemaker.describe_endpoint(EndpointName="again")["LastDeploymentConfig"] == policy
    server.delete_endpoint("again")


def test_a_restart_finishes_what_was_being_scaled(tmp_path):
    gate = Gate()
    with running(tmp_path / "state") as first:
        first.create_model("gated", 1, START_AFTER=gate.port)
        first.create_config("gated", "gated")
        first.sagemaker.create_endpoint(EndpointName="gated", EndpointConfigName="gated")
        gate.wait_reached().close()
        in_service(first, "gated")
        first.scale("gated", AllTraffic={"DesiredInstanceCount": 2})
        waiting = gate.wait_reached()
    waiting.close()
    with running(tmp_path / "state") as second:
        for _ in range(2):
            gate.wait_reached().close()
        in_service(second, "gated")
        assert len({second.invoke("gated", WHO) for _ in range(4)}) == 2
    gate.close()


def test_quotas_count_the_instances_of_endpoints(tmp_path):
    with running(tmp_path / "state", quotas=Quotas.parse(["ml.m5.large/endpoint=2"])) as local:
        local.create_model("one", 1)
        local.create_config("one", "one")
        local.create_config("three", "one", InitialInstanceCount=3)
        with pytest.raises(ClientError, match="'ml.m5.large for endpoint usage' is 2 Instances") as caught:
            local.create_endpoint("three", "three")
        assert caught.value.response["Error"]["Code"] == "ResourceLimitExceeded"
        local.create_endpoint("one", "one")
        with pytest.raises(ClientError, match="a request delta of 2 Instances"):
            local.scale("one", AllTraffic={"DesiredInstanceCount": 3})
        with pytest.raises(ClientError, match="a request delta of 3 Instances"):  # both fleets run for a while
            local.sagemaker.update_endpoint(EndpointName="one", EndpointConfigName="three")
        assert local.invoke("one", "1") == "1.0\n"


# --- routing without servers -----------------------------------------------------------------------------------------


class Fake:
    """A model server that notes what it was asked, answers, or hangs up."""

    def __init__(self, error=None):
        self.healthy, self.error, self.asked = True, error, 0

    def invoke(self, body, headers, timeout, max_bytes):
        self.asked += 1
        if self.error is not None:
            raise self.error
        return Answer(200, {}, b"")

    def suspect(self):
        self.healthy = False


def variant_of(*servers, routing=None):
    waiting = list(servers)
    return Variant("v", 1.0, lambda _notify: VariantInstance(waiting.pop(0), None), len(servers), routing)


def ask(variant, timeout=240.0):
    return variant.invoke(b"", {}, timeout, None)


def test_a_request_that_did_not_arrive_goes_to_another_instance():
    dead, alive = Fake(NoAnswer("refused", sent=False)), Fake()
    variant = variant_of(dead, alive)
    for _ in range(4):
        assert ask(variant).instance.server is alive
    assert dead.asked == 1


def test_a_request_that_may_have_arrived_is_not_sent_twice():
    servers = [Fake(NoAnswer("hung up", sent=True)) for _ in range(3)]
    with pytest.raises(NoAnswer):
        ask(variant_of(*servers))
    assert sum(s.asked for s in servers) == 1


def test_the_least_busy_instance_can_be_chosen():
    servers = [Fake() for _ in range(3)]
    variant = variant_of(*servers, routing="LEAST_OUTSTANDING_REQUESTS")
    variant.instances[0].busy = variant.instances[2].busy = 1
    assert {ask(variant).instance.server for _ in range(5)} == {servers[1]}


def test_random_routing_uses_all_instances():
    servers = [Fake() for _ in range(2)]
    variant = variant_of(*servers, routing="RANDOM")
    for _ in range(200):  # one of them alone: 2 in 2 ** 200
        ask(variant)
    assert all(s.asked for s in servers)


def test_without_a_healthy_instance_the_wait_is_bounded(monkeypatch):
    sick = Fake()
    sick.healthy = False
    variant = variant_of(sick)
    monkeypatch.setattr(variant, "profile", Profile(recovery=0.05))
    with pytest.raises(NoAnswer, match="no instance is healthy"):
        ask(variant)


# --- dead and hung servers -------------------------------------------------------------------------------------------


def test_killed_servers_cost_no_request_of_others(server, monkeypatch):
    mark = Marked()
    server.create_model("killed", 1, **mark.variables)
    server.create_config("killed", "killed", InitialInstanceCount=2)
    server.create_endpoint("killed", "killed")
    with hosting(server.endpoint.ctx).serving("killed") as fleet:
        victims = [i.server for i in fleet.variants[0].instances]
        monkeypatch.setattr(fleet.variants[0], "profile", Profile(recovery=240.0))
    stop, answers = threading.Event(), []

    def call():
        client = server.client("sagemaker-runtime")
        while not stop.is_set():
            answer = client.invoke_endpoint(EndpointName="killed", Body=b"3", ContentType="text/csv")
            answers.append(answer["Body"].read())

    # Between requests: what a program has in its hands when it is killed is lost on AWS too.
    assert server.invoke("killed", "1") == "1.0\n"
    for victim in victims:
        victim._process.kill()
    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    while len(answers) < 30 and any(c.is_alive() for c in callers):
        stop.wait(0.01)
    stop.set()
    for caller in callers:
        caller.join()
    assert len(answers) >= 30
    assert set(answers) == {b"3.0\n"}
    server.delete_endpoint("killed")
    assert mark.pids() == []


def test_a_hung_server_is_replaced(server, monkeypatch):
    server.create_endpoint("hung", "single")
    with hosting(server.endpoint.ctx).serving("hung") as fleet:
        (instance,) = fleet.variants[0].instances
    first = instance.server._process
    ctx = server.endpoint.ctx
    monkeypatch.setattr(instance.server, "_ctx", replace(ctx, profile=Profile(ping_every=0.05)))
    monkeypatch.setattr(model_server, "PING_SECONDS", 0.2)
    monkeypatch.setattr(runtime, "INVOCATION_SECONDS", 0.3)

    def frozen():
        with pytest.raises(ClientError) as caught:
            server.invoke("hung", "freeze")
        return caught.value.response["Error"]["Code"] == "ModelError"

    poll(frozen)  # while a slow one passes for ill it is not asked
    # Only now, lest a slow one be replaced before: the next one would be frozen then.
    monkeypatch.setattr(instance.server, "_ctx", replace(ctx, profile=Profile(hung=0.3, ping_every=0.05)))
    poll(lambda: instance.server._process is not first)
    monkeypatch.undo()  # the next one may be as slow as it is
    assert server.invoke_patiently("hung", "2") == "2.0\n"
    server.delete_endpoint("hung")


def test_a_busy_server_is_not_taken_for_hung(server, monkeypatch):
    monkeypatch.setattr(model_server, "PING_SECONDS", 60.0)
    gate = Gate()
    server.create_endpoint("busy", "single")
    with hosting(server.endpoint.ctx).serving("busy") as fleet:
        (instance,) = fleet.variants[0].instances
    hurried = replace(server.endpoint.ctx, profile=Profile(hung=0.05, ping_every=0.02))
    monkeypatch.setattr(instance.server, "_ctx", hurried)
    instance.server._look.set()  # it may be in the middle of a long pause
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(server.invoke, "busy", f"hold {gate.port}")
        held = gate.wait_reached()
        who = {server.invoke("busy", WHO) for _ in range(20)}
        held.close()
        assert answer.result() == "held"
    assert {server.invoke("busy", WHO)} == who
    gate.close()
    server.delete_endpoint("busy")


# --- updates under load ----------------------------------------------------------------------------------------------


@pytest.mark.executes("UpdateEndpoint", "UpdateEndpointWeightsAndCapacities", "InvokeEndpoint")
def test_updates_and_scaling_under_load_drop_no_request(server):
    server.create_endpoint("loaded", "single")
    stop, answers = threading.Event(), []

    def call():
        client = server.client("sagemaker-runtime")
        while not stop.is_set():
            answer = client.invoke_endpoint(EndpointName="loaded", Body=b"1", ContentType="text/csv")
            answers.append(answer["Body"].read())

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        for step in range(4):
            if step % 2:
                server.scale("loaded", AllTraffic={"DesiredInstanceCount": 1 + step // 2})
            else:
                config = ("both", "single")[step // 2]
                server.sagemaker.update_endpoint(EndpointName="loaded", EndpointConfigName=config)
            in_service(server, "loaded")
        stop.set()
        for done in calls:
            done.result()  # raises when one of its requests failed
    assert set(answers) == {b"1.0\n", b"10.0\n"}
    server.delete_endpoint("loaded")
