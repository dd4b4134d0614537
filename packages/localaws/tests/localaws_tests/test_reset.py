"""A clean account: nothing of the old one is left, nothing of it is written into the new one, the port stays."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from localaws import __main__ as program
from localaws.moto_services import AccountEnded, MotoServices
from localaws.profile import Profile
from localaws.quotas import Quotas
from localaws.server import ACCOUNT
from localaws_tests.conftest import IMAGE_TOML, bubblewrap, log_lines, make_image, poll, training_request
from localaws_tests.serving_fixtures import BUCKET, IMAGES, Marked, Server, running
from localaws_tests.signing import signed_request

HOLD = "import time; print('at work', flush=True); time.sleep(3600)"
QUICK = Profile(shutdown_grace=0.2, restart_longest=0.02)


@pytest.fixture
def server(tmp_path: Path, images_dir: Path) -> Iterator[Server]:
    """An endpoint of its own: a reset would take the others' data away."""
    with running(tmp_path / "state", images=(images_dir, IMAGES), profile=QUICK) as started:
        started.s3.create_bucket(Bucket="data")
        yield started


def held(server: Server) -> dict[str, Any]:
    """What the account holds, of every kind that these tests make."""
    sagemaker, client = server.sagemaker, server.client
    return {
        "jobs": sagemaker.list_training_jobs()["TrainingJobSummaries"],
        "endpoints": sagemaker.list_endpoints()["Endpoints"],
        "models": sagemaker.list_models()["Models"],
        "buckets": server.s3.list_buckets()["Buckets"],
        "groups": client("logs").describe_log_groups()["logGroups"],
        "metrics": client("cloudwatch").list_metrics()["Metrics"],
        "roles": client("iam").list_roles()["Roles"],
        "repositories": client("ecr").describe_repositories()["repositories"],
    }


def fill(server: Server) -> None:
    """Something of every kind, with a metric of the job and one that a client puts."""
    server.create_model("two", 2)
    server.create_config("two", "two")
    server.create_endpoint("two", "two")
    server.client("cloudwatch").put_metric_data(Namespace="own", MetricData=[{"MetricName": "m", "Value": 1.0}])
    server.client("iam").create_role(RoleName="own", AssumeRolePolicyDocument="{}")
    server.client("ecr").create_repository(repositoryName="own")
    server.sagemaker.create_training_job(**training_request("done", "print('validation-auc:0.5')"))
    server.wait("training_job_completed_or_stopped", TrainingJobName="done")


def state_of(server: Server) -> Path:
    assert server.endpoint is not None
    return server.endpoint.ctx.config.state


def test_everything_is_gone_and_everything_can_be_made_again(server: Server, tmp_path: Path) -> None:
    assert server.endpoint is not None
    (tmp_path / "state" / "notes.txt").write_text("the user's own")
    for _ in range(2):
        fill(server)
        assert all(held(server).values()), "a kind of which there is nothing proves nothing"
        server.endpoint.reset()
        assert not any(held(server).values())
        server.s3.create_bucket(Bucket="data")
    credentials = server.endpoint.environment()
    server.endpoint.close()
    left = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert left == ["account-2", "credentials.json", "lock", "notes.txt"]
    with running(tmp_path / "state") as again:  # what was made after a reset is there after a restart
        assert [bucket["Name"] for bucket in again.s3.list_buckets()["Buckets"]] == ["data"]
        assert again.endpoint is not None
        assert again.endpoint.environment()["AWS_SECRET_ACCESS_KEY"] == credentials["AWS_SECRET_ACCESS_KEY"]


def test_jobs_servers_and_queued_work_end(server: Server) -> None:
    assert server.endpoint is not None
    marked = Marked()
    server.create_model("two", 2, **marked.variables)
    server.create_config("two", "two")
    server.create_endpoint("two", "two")
    requests = [training_request(f"held-{n}", HOLD, Environment=marked.variables) for n in range(12)]
    for request in requests:  # more than run at once
        server.sagemaker.create_training_job(**request)
    poll(lambda: "at work" in log_lines(server.client("logs"), "/aws/sagemaker/TrainingJobs", "held-0"))
    server.endpoint.reset()
    assert marked.pids() == []
    assert not any(held(server).values())
    with pytest.raises(ClientError, match="Endpoint two of account"):
        server.invoke("two", "1")
    server.s3.create_bucket(Bucket="data")
    server.sagemaker.create_training_job(**training_request("held-0", "print('another')"))
    server.wait("training_job_completed_or_stopped", TrainingJobName="held-0")
    assert log_lines(server.client("logs"), "/aws/sagemaker/TrainingJobs", "held-0")[0] == "another"


def test_threads_that_are_late_write_nothing(server: Server) -> None:
    assert server.endpoint is not None
    old, go_on, done = server.endpoint.ctx, threading.Event(), threading.Event()
    stream = old.logs.open("group", "stream")
    (old.config.state / "s3" / "file").write_text("x")
    writes: dict[str, Callable[[], Any]] = {
        "store": lambda: old.store.insert("model", "late", "arn:late", "InService", {}),
        "object": lambda: old.s3.put_bytes("data", "late", b"x"),
        "line": lambda: stream.write("late"),
        "group": lambda: old.logs.open("late", "late"),
        "metric": lambda: old.metrics.put("late", "late", 1.0, {}),
        "job": lambda: old.jobs.spawn("training-job", "late", lambda ticket: None),
        "process": lambda: old.runner.start(None),  # type: ignore[arg-type]
    }
    refused: list[str] = []

    def work(_: Any) -> None:
        go_on.wait(240)
        for name, write in writes.items():
            try:
                write()
            except Exception:
                refused.append(name)
        done.set()

    old.jobs.spawn("training-job", "late", work)
    server.endpoint.reset()
    server.s3.create_bucket(Bucket="data")
    go_on.set()
    assert done.wait(240)
    assert refused == [name for name in writes if name not in ("line", "metric")]  # those go nowhere without a word
    assert {k: len(v) for k, v in held(server).items() if v} == {"buckets": 1}
    assert server.s3.list_objects_v2(Bucket="data")["KeyCount"] == 0
    assert state_of(server) != old.config.state
    assert not (old.config.state / "s3" / "file").exists()


def test_an_upload_that_is_under_way_does_not_arrive(server: Server) -> None:
    assert server.endpoint is not None
    env, port = server.endpoint.environment(), server.endpoint.ctx.config.port
    body = b"x" * (9 << 20)
    request = AWSRequest(method="PUT", url=f"{env['AWS_ENDPOINT_URL']}/data/late", data=body)
    S3SigV4Auth(Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"]), "s3", "us-east-1").add_auth(
        request
    )
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
    connection.putrequest("PUT", "/data/late")
    for name, value in request.headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[: 5 << 20])
    blobs = state_of(server) / "s3" / "blobs"
    poll(lambda: any(path.stat().st_size for path in blobs.glob("*/*")))
    server.endpoint.reset()
    server.s3.create_bucket(Bucket="data")
    connection.send(body[5 << 20 :])
    assert connection.getresponse().status >= 500
    connection.close()
    assert server.s3.list_objects_v2(Bucket="data")["KeyCount"] == 0


def test_faults_and_quotas_in_use_are_gone(tmp_path: Path, images_dir: Path) -> None:
    quotas = Quotas.parse(["all/training=1"])
    with running(tmp_path / "state", images=(images_dir,), profile=QUICK, quotas=quotas) as server:
        assert server.endpoint is not None
        for _ in range(2):
            server.s3.create_bucket(Bucket="data")
            server.sagemaker.create_training_job(**training_request("held", HOLD))
            with pytest.raises(ClientError, match="ResourceLimitExceeded"):
                server.sagemaker.create_training_job(**training_request("more"))
            server.endpoint.ctx.faults.add({"operation": "*", "calls": 99})
            server.endpoint.reset()
            assert server.endpoint.ctx.faults.pending() == []


def test_asynchronous_requests_that_wait_are_forgotten(server: Server) -> None:
    assert server.endpoint is not None
    server.create_model("two", 2)
    queued = {
        "OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1},
    }
    server.create_config("two", "two", queued=queued)
    server.create_endpoint("two", "two")
    server.s3.put_object(Bucket=BUCKET, Key="in", Body=b"freeze")  # the model server stands still: the others wait
    for _ in range(4):
        server.runtime.invoke_endpoint_async(EndpointName="two", InputLocation=f"s3://{BUCKET}/in")
    server.endpoint.reset()
    server.create_model("two", 3)
    server.create_config("two", "two", queued=queued)
    server.create_endpoint("two", "two")
    assert list((state_of(server) / "async").rglob("*.json")) == []
    assert server.objects("out") == {}


def test_the_admin_call_and_the_command(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.endpoint is not None
    assert signed_request(server.endpoint, "POST", "/_localaws/reset", b"") == (200, {})
    assert server.s3.list_buckets()["Buckets"] == []
    server.s3.create_bucket(Bucket="data")
    status, answer = signed_request(server.endpoint, "GET", "/_localaws/reset", b"")
    assert status == 400
    assert answer["message"].startswith("GET /_localaws/reset is not served here")
    for name, value in server.endpoint.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert program.main(["reset"]) == 1
    assert "signature" in capsys.readouterr().err
    assert [bucket["Name"] for bucket in server.s3.list_buckets()["Buckets"]] == ["data"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.endpoint.environment()["AWS_SECRET_ACCESS_KEY"])
    assert program.main(["reset"]) == 0
    assert server.s3.list_buckets()["Buckets"] == []


def test_prepared_parents_stay(tmp_path: Path) -> None:
    bubblewrap()
    images = make_image(tmp_path / "images", IMAGE_TOML.replace("[[metrics]]", 'preload = ["json"]\n[[metrics]]'))
    with running(tmp_path / "state", images=(images,), profile=QUICK) as server:
        assert server.endpoint is not None
        image = server.endpoint.ctx.images.by_name("tiny")
        assert server.endpoint.ctx.runner.prepare(image, 240)
        server.endpoint.reset()
        assert server.endpoint.ctx.runner.prepare(image, 0), "it need not be prepared again"
        server.s3.create_bucket(Bucket="data")
        script = "import os; print('parent', os.getppid())"  # 0: forked, see warm.py
        server.sagemaker.create_training_job(**training_request("warm", script))
        server.wait("training_job_completed_or_stopped", TrainingJobName="warm")
        assert log_lines(server.client("logs"), "/aws/sagemaker/TrainingJobs", "warm")[0] == "parent 0"


def test_an_endpoint_that_is_closed_is_not_opened_again(server: Server) -> None:
    assert server.endpoint is not None
    server.endpoint.close()
    with pytest.raises(RuntimeError, match="the endpoint is shutting down"):
        server.endpoint.reset()
    assert state_of(server).name == "state"


def test_what_changes_motos_state_is_waited_for() -> None:
    moto = MotoServices(ACCOUNT, "us-east-1")
    moto.backend("logs").create_log_group("old", {})
    ended = threading.Event()
    with moto.held():
        thread = threading.Thread(target=lambda: (moto.succeed(), ended.set()))
        thread.start()
        poll(lambda: moto._ended)
        assert "old" in moto.backend("logs").groups
        assert not ended.is_set()
    thread.join()
    assert moto.backend("logs").groups == {}
    with pytest.raises(AccountEnded), moto.held():
        pass


def test_calls_during_a_reset_wait_for_the_new_account(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    assert server.endpoint is not None
    under_way, shutdown = threading.Event(), server.endpoint.ctx.jobs.shutdown

    def hold() -> None:
        under_way.set()
        shutdown()

    server.endpoint.ctx.jobs.shutdown = hold  # type: ignore[method-assign]
    reset = threading.Thread(target=server.endpoint.reset)
    reset.start()
    assert under_way.wait(240)
    assert server.s3.list_buckets()["Buckets"] == []  # the old account has one
    assert server.sagemaker.list_training_jobs()["TrainingJobSummaries"] == []
    reset.join()
    assert [record for record in caplog.records if record.exc_info] == []
