"""InvokeEndpointAsync: queue, answers and failures in S3, limits, restarts."""

import threading

import pytest
from botocore.exceptions import ClientError

from localaws.serving import fleet
from localaws.serving.async_queue import AsyncQueues, AsyncRequest
from localaws.serving.hosting import hosting
from localaws_tests import serving_fixtures
from localaws_tests.conftest import poll
from localaws_tests.serving.test_capture import ALL
from localaws_tests.serving.test_variants import in_service, refusal
from localaws_tests.serving_fixtures import BUCKET, Gate, Marked, running

server = serving_fixtures.server
OUTPUT = {"S3OutputPath": f"s3://{BUCKET}/out", "S3FailurePath": f"s3://{BUCKET}/failed"}
QUEUED = {"OutputConfig": OUTPUT, "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1}}


@pytest.fixture(scope="module", autouse=True)
def endpoint(server):
    server.create_model("two", 2)
    server.create_config("queued", "two", queued=QUEUED)
    server.create_config("plain", "two")
    server.create_endpoint("queued", "queued")
    return "queued"


def put(server, key, body):
    server.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return f"s3://{BUCKET}/{key}"


def ask(server, endpoint="queued", **request):
    return server.runtime.invoke_endpoint_async(EndpointName=endpoint, ContentType="text/csv", **request)


def written(server, uri):
    """The object's text when it is there."""
    key = uri.removeprefix(f"s3://{BUCKET}/")
    return poll(lambda: server.objects(key)).get(key)


def settled(server, endpoint="queued"):
    queues = hosting(server.endpoint.ctx).queues
    poll(lambda: queues.backlog(endpoint) == 0)


@pytest.mark.executes("InvokeEndpointAsync", "CreateEndpointConfig")
def test_the_answer_is_where_it_was_said_to_be(server):
    answer = ask(server, InputLocation=put(server, "in/a.csv", b"1,2\n3"))
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    name = answer["InferenceId"]
    assert answer["OutputLocation"] == f"s3://{BUCKET}/out/{name}.out"
    assert answer["FailureLocation"] == f"s3://{BUCKET}/failed/{name}-error.out"
    assert written(server, answer["OutputLocation"]) == b"6.0\n6.0\n"
    kind = server.s3.head_object(Bucket=BUCKET, Key=f"out/{name}.out")["ContentType"]
    assert kind == "text/csv; charset=utf-8"
    assert server.objects(f"failed/{name}") == {}


def test_payload_and_names_can_be_given(server):
    answer = ask(server, Body=b"5", InferenceId="mine", S3OutputPathExtension="day/one", Filename="answer.csv")
    assert (answer["InferenceId"], answer["OutputLocation"]) == ("mine", f"s3://{BUCKET}/out/day/one/answer.csv")
    assert written(server, answer["OutputLocation"]) == b"10.0\n"


def test_headers_reach_the_container(server):
    import json

    answer = ask(server, Body=b"headers", InferenceId="head", Accept="application/json", CustomAttributes="trace=1")
    seen = json.loads(written(server, answer["OutputLocation"]))
    assert (seen["Content-Type"], seen["Accept"]) == ("text/csv", "application/json")
    assert (seen["X-Amzn-SageMaker-Custom-Attributes"], seen["X-Amzn-SageMaker-Inference-Id"]) == ("trace=1", "head")


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"Body": b"break"}, b'Received server error (500) from primary with message "told to break".'),
        ({"InputLocation": f"s3://{BUCKET}/in/none.csv"}, b"The payload s3://models/in/none.csv cannot be read"),
    ],
)
@pytest.mark.executes("InvokeEndpointAsync")
def test_a_failure_is_written_too(server, request_, text):
    answer = ask(server, **request_)
    assert written(server, answer["FailureLocation"]).startswith(text)
    assert server.objects(f"out/{answer['InferenceId']}") == {}
    logs = server.client("logs")
    group = "/aws/sagemaker/Endpoints/queued"
    streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
    (name,) = [s["logStreamName"] for s in streams if s["logStreamName"].endswith("/data-log")]
    said = [e["message"] for e in logs.get_log_events(logGroupName=group, logStreamName=name)["events"]]
    assert any(f"[sagemaker logs] [{answer['InferenceId']}] {text.decode()}" in line for line in said)


def test_requests_wait_for_their_turn(server):
    gate = Gate()
    first = ask(server, Body=f"hold {gate.port}".encode())
    held = gate.wait_reached()
    rest = [ask(server, Body=b"%d" % n) for n in range(5)]
    assert hosting(server.endpoint.ctx).queues.backlog("queued") == 6
    assert server.objects(f"out/{rest[0]['InferenceId']}") == {}
    held.close()
    assert written(server, first["OutputLocation"]) == b"held"
    assert [written(server, a["OutputLocation"]) for a in rest] == [b"%r\n" % (2.0 * n) for n in range(5)]
    gate.close()
    settled(server)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "Exactly one of Body and InputLocation"),
        ({"Body": b"1", "InputLocation": "s3://b/k"}, "Exactly one of Body and InputLocation"),
        ({"Body": b"1", "RequestTTLSeconds": 21601}, "requestTTLSeconds"),
        ({"Body": b"1", "InvocationTimeoutSeconds": 3601}, "invocationTimeoutSeconds"),
        ({"InputLocation": "https://bucket/key"}, "reads s3://bucket/key only"),
        ({"Body": b"1", "Filename": "a.b.c"}, "filename"),
        ({"Body": b"1" * 128_001}, "less than or equal to 128000"),
        ({"Body": b"1", "endpoint": "nobody"}, "Endpoint nobody of account 123456789012 not found"),
    ],
)
def test_requests_that_cannot_be_taken(server, request_, text):
    with pytest.raises(ClientError) as caught:
        ask(server, **request_)
    assert caught.value.response["Error"]["Code"] == "ValidationError"
    assert text in caught.value.response["Error"]["Message"]


def test_asynchronous_invocations_are_captured(server):
    import json

    server.create_config("captured", "two", queued=QUEUED, capture=ALL)
    server.create_endpoint("captured", "captured")
    answer = ask(server, endpoint="captured", InputLocation=put(server, "in/captured.csv", b"3"), InferenceId="c-1")
    written(server, answer["OutputLocation"])
    settled(server, "captured")
    server.delete_endpoint("captured")
    (body,) = server.objects("capture/captured/").values()
    record = json.loads(body)
    sides = record["captureData"]
    assert (sides["endpointInput"]["data"], sides["endpointOutput"]["data"]) == ("3", "6.0\n")
    assert record["eventMetadata"]["inferenceId"] == "c-1"


def test_the_two_kinds_of_invocation_are_not_mixed(server):
    server.create_endpoint("plain", "plain")
    with pytest.raises(ClientError, match="not configured for asynchronous inference"):
        ask(server, endpoint="plain", Body=b"1")
    with pytest.raises(ClientError, match="call InvokeEndpointAsync"):
        server.invoke("queued", "1")
    server.delete_endpoint("plain")


def test_notifications_are_refused(server):
    topics = {"SuccessTopic": "arn:aws:sns:us-east-1:123456789012:done"}
    queued = {"OutputConfig": {**OUTPUT, "NotificationConfig": topics}}
    assert "NotificationConfig is not supported" in refusal(server.create_config, "bad", "two", queued=queued)


@pytest.mark.executes("UpdateEndpointWeightsAndCapacities", "InvokeEndpointAsync")
def test_without_instances_requests_wait(server):
    server.create_config("zero", "two", queued=QUEUED)
    server.create_endpoint("zero", "zero")
    server.scale("zero", AllTraffic={"DesiredInstanceCount": 0})
    in_service(server, "zero")
    answer = ask(server, endpoint="zero", Body=b"4")
    assert server.objects(f"out/{answer['InferenceId']}") == {}
    server.scale("zero", AllTraffic={"DesiredInstanceCount": 1})
    assert written(server, answer["OutputLocation"]) == b"8.0\n"
    in_service(server, "zero")
    server.delete_endpoint("zero")


def test_the_queue_survives_a_restart(tmp_path):
    gate = Gate()
    with running(tmp_path / "state") as first:
        first.create_model("two", 2)
        first.create_config("queued", "two", queued=QUEUED)
        first.create_endpoint("queued", "queued")
        interrupted = ask(first, Body=f"hold {gate.port}".encode())
        held = gate.wait_reached()
        waiting = ask(first, InputLocation=put(first, "in/later.csv", b"7"))
    held.close()
    with running(tmp_path / "state") as second:
        gate.wait_reached().close()  # what was under way is begun again
        assert written(second, interrupted["OutputLocation"]) == b"held"
        assert written(second, waiting["OutputLocation"]) == b"14.0\n"
        assert second.objects("failed/") == {}
    gate.close()


def test_a_deleted_endpoint_takes_its_queue_along(server):
    server.create_config("gone", "two", queued=QUEUED)
    server.create_endpoint("gone", "gone")
    server.scale("gone", AllTraffic={"DesiredInstanceCount": 0})
    in_service(server, "gone")
    answer = ask(server, endpoint="gone", Body=b"1")
    server.delete_endpoint("gone")
    server.create_endpoint("gone", "gone")
    assert hosting(server.endpoint.ctx).queues.backlog("gone") == 0
    assert server.objects(f"out/{answer['InferenceId']}") == {}
    server.delete_endpoint("gone")


def test_metrics_are_those_of_asynchronous_endpoints(server):
    answer = ask(server, Body=b"1")
    written(server, answer["OutputLocation"])
    settled(server)
    server.flush_metrics()
    found = server.client("cloudwatch").list_metrics(
        Namespace="AWS/SageMaker", Dimensions=[{"Name": "EndpointName", "Value": "queued"}]
    )["Metrics"]
    names = {metric["MetricName"] for metric in found}
    assert {"InvocationsProcessed", "InvocationFailures", "ApproximateBacklogSize", "ModelLatency"} <= names
    assert not names & {"Invocations", "InvocationsPerInstance", "OverheadLatency"}


# --- servers that are replaced while they answer ---------------------------------------------------------------------


@pytest.fixture
def patience(monkeypatch):
    """Set when a request has taken longer than others may, which is soon."""
    begun, waits = threading.Event(), fleet._patiently

    def noted(*arguments):
        begun.set()
        waits(*arguments)

    monkeypatch.setattr(fleet, "_patiently", noted)
    monkeypatch.setattr(fleet, "INVOCATION_SECONDS", 0.05)
    monkeypatch.setattr(fleet, "LAST_ANSWERS_SECONDS", 0.05)
    monkeypatch.setattr(fleet, "TICK_SECONDS", 0.05)
    return begun


def replaced(server, mark, gate, change):
    """A request under way at `long`, and who holds it, after the instances that it is on were replaced."""
    server.create_model("long", 2, **mark.variables)
    server.create_model("next", 2)
    for name in ("long", "next"):
        server.create_config(name, name, queued=QUEUED)
    server.create_endpoint("long", "long")
    answer = ask(server, endpoint="long", Body=f"hold {gate.port}".encode())
    held = gate.wait_reached()
    if change == "update":
        server.sagemaker.update_endpoint(EndpointName="long", EndpointConfigName="next")
    else:
        server.scale("long", AllTraffic={"DesiredInstanceCount": 0})
    in_service(server, "long")
    return answer, held


@pytest.mark.parametrize("change", ["update", "scale"])
@pytest.mark.executes("UpdateEndpoint", "UpdateEndpointWeightsAndCapacities", "InvokeEndpointAsync")
def test_a_long_request_is_answered_by_the_server_that_has_it(tmp_path, patience, change):
    mark, gate = Marked(), Gate()
    with running(tmp_path / "state") as local:
        answer, held = replaced(local, mark, gate, change)
        assert patience.wait(240)
        assert mark.pids()
        held.close()
        assert written(local, answer["OutputLocation"]) == b"held"
        assert local.objects("failed/") == {}
        mark.wait_gone()
    gate.close()


@pytest.mark.parametrize("change", ["update", "scale"])
def test_a_deleted_endpoint_waits_for_no_long_request(tmp_path, patience, change):
    mark, gate = Marked(), Gate()
    with running(tmp_path / "state") as local:
        _, held = replaced(local, mark, gate, change)
        assert patience.wait(240)
        local.delete_endpoint("long")
        mark.wait_gone()
    held.close()
    gate.close()


def test_a_long_request_on_a_replaced_server_is_begun_again_after_a_restart(tmp_path, patience):
    mark, gate = Marked(), Gate()
    with running(tmp_path / "state") as local:
        answer, held = replaced(local, mark, gate, "update")
        assert patience.wait(240)
    assert mark.pids() == []
    held.close()
    with running(tmp_path / "state") as later:
        gate.wait_reached().close()
        assert written(later, answer["OutputLocation"]) == b"held"
        assert later.objects("failed/") == {}
    gate.close()


# --- the queue alone -------------------------------------------------------------------------------------------------


class Worker:
    """Notes what it was given; `room` is how many it takes at once."""

    def __init__(self, room=1):
        self.room, self.worked, self.expired = room, [], []
        self.go, self.done = threading.Event(), threading.Semaphore(0)

    def capacity(self, endpoint):
        return self.room

    def work(self, endpoint, request, body):
        assert self.go.wait(240)
        self.worked.append((request.inference_id, body and body.read_bytes()))
        self.done.release()
        return True

    def expire(self, endpoint, request):
        self.expired.append(request.inference_id)


def request_of(name, at=0.0):
    return AsyncRequest(name, None, "s3://b/o", None, at, ttl=60.0, timeout=10.0)


def test_requests_expire_in_the_queue(tmp_path):
    now = [0.0]
    worker = Worker(room=0)
    queues = AsyncQueues(tmp_path, lambda: now[0], worker)
    queues.submit("e", request_of("old"), b"1")
    queues.submit("e", request_of("new", at=30.0), b"2")
    now[0] = 61.0
    queues.tick()
    assert worker.expired == ["old"]
    assert queues.age("e") == 31.0
    worker.room = 1
    worker.go.set()
    queues.tick()
    assert worker.done.acquire(timeout=240)
    assert queues.join(240)
    assert worker.worked == [("new", b"2")]
    assert list(tmp_path.rglob("*.*")) == []


def test_what_nobody_could_take_keeps_its_place(tmp_path):
    class Absent(Worker):
        def work(self, endpoint, request, body):
            if self.room:
                self.room = 0
                self.done.release()
                return False
            return super().work(endpoint, request, body)

    worker = Absent(room=1)
    queues = AsyncQueues(tmp_path, lambda: 0.0, worker)
    queues.submit("e", request_of("first"), b"1")
    assert worker.done.acquire(timeout=240)
    assert queues.join(240)
    assert queues.backlog("e") == 1
    assert worker.worked == []


def test_what_an_earlier_run_left_is_not_hidden_by_a_new_request(tmp_path):
    """A request may come in between the moment when the endpoint serves again and that when its queue is taken up."""
    worker = Worker(room=0)
    earlier = AsyncQueues(tmp_path, lambda: 0.0, worker)
    for name in ("first", "second"):
        earlier.submit("e", request_of(name), b"")
    earlier.close()
    queues = AsyncQueues(tmp_path, lambda: 0.0, worker)
    queues.submit("e", request_of("new"), b"")
    queues.load("e")
    queues.load("e")
    assert queues.backlog("e") == 3
    worker.room = 1
    worker.go.set()
    queues.pump("e")
    for _ in range(3):
        assert worker.done.acquire(timeout=240)
    assert queues.join(240)
    assert {name for name, _ in worker.worked} == {"first", "second", "new"}
    assert worker.worked[-1][0] == "new"
    assert list(tmp_path.rglob("*.*")) == []


def test_order_and_limit_are_kept(tmp_path):
    worker = Worker(room=1)
    queues = AsyncQueues(tmp_path, lambda: 0.0, worker)
    for number in range(20):
        queues.submit("e", request_of(str(number), at=number / 1000), b"")
    worker.go.set()
    for _ in range(20):
        assert worker.done.acquire(timeout=240)
    assert [name for name, _ in worker.worked] == [str(n) for n in range(20)]
