"""InvokeEndpoint: what reaches the container, what comes back, and how refusals look."""

import json
import os
import socket
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import pytest
from botocore.exceptions import ClientError

from localaws.errors import ThrottlingException
from localaws.server import THREADS
from localaws.serving import runtime
from localaws.serving.fleet import Fleet
from localaws.serving.http_pool import AnswerTimeout, AnswerTooLarge, NoAnswer, Pool, UnixTarget, descends
from localaws.serving.invocation_metrics import Invocation, InvocationMetrics
from localaws.serving.runtime import AT_ONCE, MAX_BYTES, WAITING, Turns
from localaws.serving.variants import Variant
from localaws_tests import serving_fixtures
from localaws_tests.serving_fixtures import Gate

server = serving_fixtures.server


@pytest.fixture(scope="module", autouse=True)
def endpoint(server):
    server.create_model("one", 1)
    server.create_model("ten", 10)
    server.create_config("both", "one", "ten")
    server.create_config("single", "ten")
    server.create_endpoint("both", "both")
    server.create_endpoint("single", "single")


def refusal(server, **request):
    with pytest.raises(ClientError) as caught:
        server.runtime.invoke_endpoint(**{"EndpointName": "single", "Body": b"1", **request})
    return caught.value.response


@pytest.mark.executes("InvokeEndpoint")
def test_the_answer_is_the_containers(server):
    answer = server.runtime.invoke_endpoint(EndpointName="single", Body=b"1,2\n3", ContentType="text/csv")
    assert answer["Body"].read() == b"30.0\n30.0\n"
    assert answer["ContentType"] == "text/csv; charset=utf-8"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "factor=10.0"


def test_headers_reach_the_container(server):
    body = server.invoke("single", "headers", Accept="application/json", CustomAttributes="trace=1", InferenceId="i-1")
    seen = json.loads(body)
    assert seen["Content-Type"] == "text/csv"
    assert seen["Accept"] == "application/json"
    assert seen["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"
    assert not any("authorization" in name.lower() for name in seen)


def test_target_variant_chooses_the_model(server):
    assert server.invoke("both", "1", TargetVariant="AllTraffic") == "1.0\n"
    assert server.invoke("both", "1", TargetVariant="v1") == "10.0\n"
    error = refusal(server, EndpointName="both", TargetVariant="v7")["Error"]
    assert error["Code"] == "ValidationError"
    assert "v7" in error["Message"]


def test_weights_share_the_requests_out():
    fleet = Fleet("e", [Variant(name, weight, None, 0) for name, weight in (("a", 1), ("b", 3), ("c", 0))], None)
    draws = [n / 1000 for n in range(1000)]
    assert Counter(fleet.choose(None, lambda d=d: d).name for d in draws) == {"a": 250, "b": 750}


def test_without_any_weight_all_variants_get_requests():
    fleet = Fleet("e", [Variant(name, 0, None, 0) for name in "ab"], None)
    assert {fleet.choose(None, lambda d=d: d).name for d in (0.0, 0.4, 0.5, 0.999)} == {"a", "b"}


def test_an_unknown_endpoint_is_a_validation_error(server):
    response = refusal(server, EndpointName="nobody")
    assert response["Error"]["Code"] == "ValidationError"
    assert response["Error"]["Message"] == "Endpoint nobody of account 123456789012 not found."
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize(("body", "status", "kind"), [(b"reject", 415, "client"), (b"break", 500, "server")])
def test_an_error_of_the_container_is_a_model_error(server, body, status, kind):
    response = refusal(server, Body=body)
    assert response["Error"]["Code"] == "ModelError"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == status
    assert response["OriginalMessage"] == f"told to {body.decode()}"
    said = f'Received {kind} error ({status}) from primary with message "told to {body.decode()}". See https://'
    assert response["Error"]["Message"].startswith(said)
    assert ":log-group:/aws/sagemaker/Endpoints/single:log-stream:AllTraffic/i-" in response["LogStreamArn"]


def test_a_container_that_takes_too_long_is_a_model_error(server, monkeypatch):
    monkeypatch.setattr(runtime, "INVOCATION_SECONDS", 0.1)
    gate = Gate()
    response = refusal(server, Body=f"hold {gate.port}".encode())
    gate.close()
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 0)
    assert "Your invocation timed out while waiting for a response" in response["Error"]["Message"]


def test_an_answer_over_the_limit_is_a_model_error(server, monkeypatch):
    monkeypatch.setattr(runtime, "MAX_BYTES", 4)
    response = refusal(server, Body=b"1")
    assert (response["Error"]["Code"], response["OriginalStatusCode"]) == ("ModelError", 0)
    assert "The response is larger than 4 bytes." in response["Error"]["Message"]


def test_streams_are_refused(server):
    with pytest.raises(ClientError, match="InvokeEndpointWithResponseStream is not supported"):
        server.runtime.invoke_endpoint_with_response_stream(EndpointName="single", Body=b"1")


def test_a_payload_over_the_limit_is_refused(server):
    response = refusal(server, Body=b"1" * (MAX_BYTES + 1))
    assert response["Error"]["Code"] == "ValidationError"
    assert f"less than or equal to {MAX_BYTES}" in response["Error"]["Message"]


def test_a_payload_at_the_limit_is_taken(server):
    assert server.invoke("single", "1" + " " * (MAX_BYTES - 1)) == "10.0\n"


@pytest.mark.parametrize("member", ["TargetModel", "TargetContainerHostname", "InferenceComponentName"])
def test_what_is_not_done_is_refused(server, member):
    error = refusal(server, **{member: "x"})["Error"]
    assert error["Code"] == "ValidationError"
    assert f"'{member}' is not supported" in error["Message"]


def test_many_callers_at_once_get_their_own_answers(server):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: server.invoke("single", str(n)), range(200)))
    assert answers == [f"{10.0 * n}\n" for n in range(200)]


def test_invocations_leave_threads_to_others(server, monkeypatch):
    """A container may read S3 before it answers, however many invocations there are."""
    monkeypatch.setattr(runtime, "WAIT_SECONDS", 60.0)
    gate, more = Gate(), THREADS - AT_ONCE - WAITING
    assert more > 0

    def hold(_):
        try:
            return server.invoke("single", f"hold {gate.port}")
        except ClientError as refused:
            return refused.response["Error"]["Code"]

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [pool.submit(hold, n) for n in range(THREADS)]
        held = [gate.wait_reached() for _ in range(AT_ONCE)]
        assert [done.result() for done in islice(as_completed(answers), more)] == ["ThrottlingException"] * more
        assert server.s3.list_buckets()["Buckets"]
        for one in held:
            one.close()
        for _ in range(WAITING):
            gate.wait_reached().close()
        assert Counter(a.result() for a in answers) == {"held": AT_ONCE + WAITING, "ThrottlingException": more}
    gate.close()
    assert server.invoke("single", "1") == "10.0\n"


def test_the_wait_for_a_turn_is_bounded(monkeypatch):
    for name, value in (("AT_ONCE", 1), ("WAITING", 1), ("WAIT_SECONDS", 0.01)):
        monkeypatch.setattr(runtime, name, value)
    turns = Turns()
    with turns.taken(), pytest.raises(ThrottlingException, match="Rate exceeded"), turns.taken():
        pass
    with turns.taken():
        pass


def test_invocations_are_counted_in_cloudwatch(server):
    server.create_config("counted", "one")
    server.create_endpoint("counted", "counted")
    for _ in range(3):
        server.invoke("counted", "1")
    refusal(server, EndpointName="counted", Body=b"reject")
    cloudwatch = server.client("cloudwatch")
    now = datetime.now(UTC)

    def total(metric):
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": "counted"}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=10),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return sum(point["Sum"] for point in points)

    server.flush_metrics()
    assert (total("Invocations"), total("Invocation4XXErrors"), total("Invocation5XXErrors")) == (4.0, 1.0, 0.0)
    assert total("InvocationsPerInstance") == 4.0
    assert total("InvocationModelErrors") == 1.0
    assert total("ModelLatency") > 0


def test_many_invocations_are_put_as_few_statistics():
    put = []

    class Cloudwatch:
        def put_statistics(self, namespace, name, statistics, dimensions, *, unit, timestamp):
            put.append((name, dict(dimensions), statistics, unit, timestamp))

    metrics = InvocationMetrics(Cloudwatch())
    for number in range(1000):
        status = 500 if number % 10 == 0 else 200
        metrics.record(Invocation("e", "v", status, number / 1e6, 0.001, at=60.0, instances=4))
    metrics.record(Invocation("e", "v", 200, 0.0, 0.0, at=120.0))  # another minute
    metrics.close()
    assert len(put) < 100
    of_first = [entry for entry in put if entry[4] == 60.0]
    assert {entry[1]["VariantName"] for entry in put} == {"v"}

    def total(metric, what):
        return sum(statistics[what] for name, _, statistics, _, _ in of_first if name == metric)

    assert (total("Invocations", "Sum"), total("Invocations", "SampleCount")) == (1000, 1000)
    assert (total("Invocation5XXErrors", "Sum"), total("InvocationsPerInstance", "Sum")) == (100, 250)
    latencies = [
        statistics for name, _, statistics, unit, _ in of_first if (name, unit) == ("ModelLatency", "Microseconds")
    ]
    assert (min(s["Minimum"] for s in latencies), max(s["Maximum"] for s in latencies)) == (0.0, pytest.approx(999.0))


# --- the connections to a model server -----------------------------------------------------------------------------


class Scripted(BaseHTTPRequestHandler):
    """Answers `/slow` never, `/hangup` not at all, `/close` with a connection that is closed afterwards."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.connections.add(self.client_address)
        if self.path == "/slow":
            self.server.released.wait()
        if self.path in ("/slow", "/hangup"):
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
        # Without a word about it, as a server whose keep-alive time is over.
        self.close_connection = self.path == "/close"

    def log_message(self, *_):
        pass


@pytest.fixture
def scripted():
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as httpd:
        httpd.connections, httpd.released = set(), threading.Event()
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        pool = Pool(httpd.server_address[1])
        yield httpd, pool
        pool.close()
        httpd.released.set()
        httpd.shutdown()
        thread.join()


def test_connections_are_used_again(scripted):
    httpd, pool = scripted
    assert {pool.request("GET", "/", timeout=240).body for _ in range(5)} == {b"hello"}
    assert len(httpd.connections) == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced(scripted):
    httpd, pool = scripted
    assert [pool.request("GET", "/close", timeout=240).status for _ in range(3)] == [200, 200, 200]
    assert len(httpd.connections) == 3


@pytest.mark.parametrize(
    ("path", "options", "error"),
    [
        ("/slow", {"timeout": 0.05}, AnswerTimeout),
        ("/hangup", {"timeout": 240}, NoAnswer),
        ("/", {"timeout": 240, "max_bytes": 4}, AnswerTooLarge),
    ],
)
def test_what_is_no_answer_is_said(scripted, path, options, error):
    _, pool = scripted
    with pytest.raises(error):
        pool.request("GET", path, **options)


def test_a_link_to_a_socket_of_somebody_else_is_not_used(scripted, tmp_path):
    (tmp_path / "own").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "other"))
        listener.listen()
        (tmp_path / "own" / "socket").symlink_to(tmp_path / "other")
        with subprocess.Popen(["sleep", "60"]) as owner:  # the listener is this process, which is no child of it
            pool = Pool(UnixTarget(tmp_path / "own" / "socket", lambda: owner.pid))
            with pytest.raises(NoAnswer, match="is not a socket of the program that it belongs to"):
                pool.request("GET", "/", timeout=240)
            owner.kill()
    assert descends(owner.pid, owner.pid)
    assert descends(os.getpid(), os.getppid())
    assert not descends(os.getppid(), os.getpid())


def test_nobody_there_is_no_answer(scripted):
    httpd, pool = scripted
    httpd.shutdown()
    httpd.server_close()
    with pytest.raises(NoAnswer):
        pool.request("GET", "/", timeout=240)
