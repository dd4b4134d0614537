"""The production DAGs on one stack: deploy, refuse, go back, backfill, score, monitor, bad input."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from sagewind.pipeline.names import run_hash
from tests.e2e.conftest import ROOT, Checkout, Running, wait_for

pytestmark = [pytest.mark.alone, pytest.mark.timeout(3600)]

SERVE = (ROOT / "plugins/sagewind/jobs/serve.py").read_text()
#: Serves other scores than the evaluation computed, but only inside a model server.
SKEWED = (
    SERVE
    + """

import os as _os

_true_predict_fn = predict_fn


def predict_fn(data, model):
    shift = 0.01 if "SAGEMAKER_BIND_TO_PORT" in _os.environ else 0.0
    return _true_predict_fn(data, model) + shift
"""
)
#: Labels are at hand as soon as a test writes them.
MONITOR = {
    "checks": ["data_quality", "model_quality"],
    "ground_truth": "s3://truth-of-plain/labels",
    "on_violation": "retrain",
}
LOOK_AGAIN = "AIRFLOW__SAGEWIND__APPROVAL_LOOK_AGAIN_SECONDS"
ROW = ",".join(["1.0"] * 30)


@pytest.fixture(scope="module")
def stack(make_checkout: Callable[[], Checkout], up: Callable[[Checkout], Running]) -> Running:
    checkout = make_checkout()
    checkout.add_model("plain", monitor=MONITOR)
    # Half a day from now: no interval ends while the tests run, whenever that is.
    checkout.add_model("past", schedule=f"30 {(datetime.now(UTC).hour + 12) % 24} * * *")
    checkout.add_model("asked", approve="manual")
    checkout.add_model("heard", approve="manual")
    # One question looks into the registry every few seconds and so hears of an approval in AWS. The other one stands
    # still for a person: Airflow 3.3.2 loses an answer that is given while a question is being asked, or asked again.
    checkout.settings[LOOK_AGAIN] = "3600"
    heard = checkout.root / "dags/heard.py"  # each DAG file is read in a process of its own
    heard.write_text(f'import os\n\nos.environ["{LOOK_AGAIN}"] = "5"\n{heard.read_text()}')
    checkout.add_held()
    checkout.add_model("strict", evaluate={"gates": {"accuracy": ">= 0.99999"}})
    checkout.add_script("serve.py", SERVE)
    checkout.add_model("wobbly", train=train("include/models/serve.py"))
    running = up(checkout)
    running.client("s3").create_bucket(Bucket="held")
    # What needs no other run goes on beside the first tests.
    done = begin_backfill(running)
    assert done.returncode == 0, done.stdout + done.stderr
    running.begin("asked_training", "in-airflow")
    running.begin("strict_lifecycle", "high")
    return running


def train(serve: str) -> dict:
    return {
        "framework": "sklearn",
        "script": "sagewind:train",
        "serve": serve,
        "hyperparameters": {"estimator": "logistic_regression", "problem": "binary"},
    }


def names(stack: Running, run: str) -> list[str]:
    """Models and endpoint configs that belong to a run."""
    models = [item["ModelName"] for item in stack.sagemaker.list_models()["Models"]]
    configs = [item["EndpointConfigName"] for item in stack.sagemaker.list_endpoint_configs()["EndpointConfigs"]]
    return [name for name in models + configs if run in name]


def endpoints(stack: Running) -> dict[str, str]:
    return {item["EndpointName"]: item["EndpointStatus"] for item in stack.sagemaker.list_endpoints()["Endpoints"]}


def test_a_gate_set_too_high_deploys_nothing_and_says_so(stack: Running) -> None:
    assert stack.wait("strict_lifecycle", "high") == "failed"
    states = stack.states("strict_lifecycle", "high")
    assert states["gate"] == "failed"
    assert states["deploy"] == "upstream_failed"
    assert states["teardown"] == "success"
    assert "not deployed: accuracy is" in stack.log("strict_lifecycle", "high", "gate")
    assert "required >= 0.99999" in stack.log("strict_lifecycle", "high", "gate")
    assert not any("strict" in name for name in endpoints(stack))
    assert names(stack, run_hash("strict_lifecycle", "high")) == []
    assert stack.alive(run_hash("strict_lifecycle", "high")) == []


def test_a_verification_that_fails_is_red_and_what_served_before_still_serves(stack: Running) -> None:
    dag = "wobbly_training"
    assert stack.run(dag, "good") == "success"
    before = stack.sagemaker.describe_endpoint(EndpointName="wobbly")
    runtime = stack.client("sagemaker-runtime")

    def ask() -> bytes:
        return runtime.invoke_endpoint(EndpointName="wobbly", ContentType="text/csv", Body=ROW)["Body"].read()

    answer = ask()
    stack.checkout.add_script("serve.py", SKEWED)
    assert stack.run(dag, "bad") == "failed"
    states = stack.states(dag, "bad")
    assert (states["verify"], states["restore"], states["teardown"]) == ("failed", "success", "success")
    assert "they differ by 0.01, allowed is 1e-06" in stack.log(dag, "bad", "verify")
    after = stack.sagemaker.describe_endpoint(EndpointName="wobbly")
    assert after["EndpointStatus"] == "InService"
    assert after["EndpointConfigName"] == before["EndpointConfigName"]
    assert ask() == answer
    assert sorted(item["ModelApprovalStatus"] for item in versions(stack, "wobbly")) == ["Approved", "Rejected"]
    assert names(stack, run_hash(dag, "bad")) == []
    assert stack.alive(run_hash(dag, "bad")) == []


def test_a_failed_verification_of_a_rehearsal_is_torn_down_too(stack: Running) -> None:
    stack.checkout.add_script("serve.py", SKEWED)
    assert stack.run("wobbly_lifecycle", "bad") == "failed"
    states = stack.states("wobbly_lifecycle", "bad")
    assert (states["verify"], states["teardown"]) == ("failed", "success")
    assert not any("rehearsal" in name for name in endpoints(stack))
    assert names(stack, run_hash("wobbly_lifecycle", "bad")) == []


def begin_backfill(stack: Running) -> subprocess.CompletedProcess[str]:
    """Three intervals of a model; beside them, as catchup is off, the run of its last interval and no other."""
    stack.unpause("past_training")
    dates = ("--from-date", "2026-03-01", "--to-date", "2026-03-04")
    return stack.airflow("backfill", "create", "--dag-id", "past_training", *dates)


def test_a_backfill_has_a_run_and_jobs_of_its_own_for_each_interval_and_only_once(stack: Running) -> None:
    dag = "past_training"
    backfilled = wait_for(lambda: ended_backfill(stack, dag), "three backfilled runs")

    assert [run["state"] for run in backfilled] == ["success"] * 3
    assert len({run["logical_date"] for run in backfilled}) == 3
    of_run = {run["dag_run_id"]: stack.jobs(run_hash(dag, run["dag_run_id"])) for run in backfilled}
    assert [len(jobs) for jobs in of_run.values()] == [4] * 3
    plans = [stack.api.xcom(dag, run, "ingest") for run in of_run]
    assert len({plan["prefix"] for plan in plans}) == 3
    assert sorted(plan["window"]["end"][:10] for plan in plans) == ["2026-03-02", "2026-03-03", "2026-03-04"]
    assert all(stack.states(dag, run)["deploy"] == "skipped" for run in of_run)
    versions_of = [stack.api.xcom(dag, run, "register")["arn"] for run in of_run]
    statuses = {item["ModelPackageArn"]: item["ModelApprovalStatus"] for item in versions(stack, "past")}
    assert {statuses[arn] for arn in versions_of} == {"PendingManualApproval"}

    jobs, runs = len(stack.jobs("past-")), len(stack.runs(dag))
    begin_backfill(stack)  # Airflow may refuse it or make no run: either is right
    wait_for(lambda: ended_backfill(stack, dag), "the end of the second backfill")
    assert (len(stack.jobs("past-")), len(stack.runs(dag))) == (jobs, runs)


def ended_backfill(stack: Running, dag: str) -> list[dict]:
    """The backfilled runs, once there are three, every backfill is complete and no run is active."""
    runs = stack.runs(dag)
    backfilled = [run for run in runs if run["run_type"] == "backfill"]
    settled = all(run["state"] in ("success", "failed") for run in runs) and stack.backfills_are_complete(dag)
    return backfilled if settled and len(backfilled) >= 3 else []


def test_production_from_training_over_scoring_to_monitoring(stack: Running) -> None:
    assert stack.run("plain_training", "live") == "success"
    stack.patch("/api/v2/dags/plain_training", is_paused=True)  # the event is looked at, no training is started by it
    assert endpoints(stack)["plain"] == "InService"
    assert [item["ModelApprovalStatus"] for item in versions(stack, "plain")] == ["Approved"]
    links = stack.api._call("GET", "/api/v2/dags/plain_training/dagRuns/live/taskInstances/train/links")
    assert f"{stack.endpoint_url}/_localaws/page/training-job/plain-train-" in links["extra_links"]["SageMaker job"]
    assert stack.run("plain_batch_scoring", "score") == "success"
    published = stack.api.xcom("plain_batch_scoring", "score", "publish")
    assert published["files"] == 1
    assert names(stack, run_hash("plain_batch_scoring", "score")) == []

    assert stack.run("plain_monitoring", "quiet") == "success"
    states = stack.states("plain_monitoring", "quiet")
    assert (states["check"], states["quality_check"]) == ("skipped", "skipped")  # the verification is nobody's traffic
    plan = stack.api.xcom("plain_training", "live", "ingest")
    rows = read(stack, f"{plan['prefix']}/prepare/batch/batch.csv").splitlines()
    runtime = stack.client("sagemaker-runtime")
    for number, row in enumerate(rows):
        runtime.invoke_endpoint(EndpointName="plain", ContentType="text/csv", Body=row, InferenceId=f"row-{number}")
    wait_for(lambda: captured(stack, plan["capture"]) > len(rows), "captured traffic")
    truth = [line.split(",", 1)[0] for line in read(stack, f"{plan['prefix']}/prepare/test/test.csv").splitlines()]
    assert len(truth) == len(rows)
    stack.client("s3").create_bucket(Bucket="truth-of-plain")
    put_labels(stack, "a", truth)
    assert stack.run("plain_monitoring", "busy") == "success"
    verdict, quality = verdicts(stack, "busy")
    assert (verdict["verdict"], quality["verdict"]) == ("ok", "ok")
    assert verdict["rows"] >= len(rows)
    assert (quality["rows"], quality["labelled"]) == (len(rows), len(rows))
    assert stack.states("plain_monitoring", "busy")["drift"] == "skipped"
    assert endpoints(stack)["plain"] == "InService"

    put_labels(stack, "b", ["1" if label == "0" else "0" for label in truth])  # of several labels the last one counts
    assert stack.run("plain_monitoring", "flipped") == "success"
    verdict, quality = verdicts(stack, "flipped")
    assert (verdict["verdict"], quality["verdict"]) == ("ok", "violations")
    named = {violation["metric_name"] for violation in quality["violations"]}
    assert {"auc", "accuracy", "truePositiveRate"} <= named
    assert "Metric auc with 0.0" in stack.log("plain_monitoring", "flipped", "quality_verdict")
    assert stack.states("plain_monitoring", "flipped")["drift"] == "success"
    events = stack.api._call("GET", "/api/v2/assets/events", params={"source_dag_id": "plain_monitoring"})
    assert [event["extra"]["columns"] for event in events["asset_events"]] == [[]]
    assert {*events["asset_events"][0]["extra"]["metrics"]} == named


def verdicts(stack: Running, run: str) -> list[dict]:
    """What the two checks of a monitoring run said."""
    return [stack.api.xcom("plain_monitoring", run, task) for task in ("verdict", "quality_verdict")]


def put_labels(stack: Running, name: str, labels: list[str]) -> None:
    """What came true of row 0, 1, 2 ..., as it is known now."""
    records = [
        {
            "groundTruthData": {"data": label, "encoding": "CSV"},
            "eventMetadata": {"eventId": f"row-{number}"},
            "eventVersion": "0",
        }
        for number, label in enumerate(labels)
    ]
    body = "".join(json.dumps(record) + "\n" for record in records)
    key = f"labels/{datetime.now(UTC):%Y/%m/%d/%H}/{name}.jsonl"
    stack.client("s3").put_object(Bucket="truth-of-plain", Key=key, Body=body.encode())


def versions(stack: Running, group: str) -> list[dict]:
    return stack.sagemaker.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]


def read(stack: Running, uri: str) -> str:
    bucket, key = uri.removeprefix("s3://").split("/", 1)
    return stack.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def captured(stack: Running, folder: str) -> int:
    """Captured requests that are not the verification's, plus one."""
    bucket, prefix = folder.removeprefix("s3://").split("/", 1)
    found = stack.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    lines = [line for item in found for line in read(stack, f"s3://{bucket}/{item['Key']}").splitlines()]
    return 1 + len([line for line in lines if "sagewind-verify" not in line])


def test_a_person_approves_in_airflow_and_the_version_is_deployed(stack: Running) -> None:
    dag, run = "asked_training", "in-airflow"
    reach_question(stack, dag, run)
    assert stack.states(dag, run)["deploy"] is None
    path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/ask_approval/-1/hitlDetails"
    stack.patch(path, chosen_options=["Approve"], params_input={})
    assert stack.wait(dag, run) == "success"
    assert endpoints(stack)["asked"] == "InService"


def test_an_approval_in_aws_answers_the_question_too(stack: Running) -> None:
    dag, run = "heard_training", "in-aws"
    stack.begin(dag, run)
    reach_question(stack, dag, run)
    arn = stack.api.xcom(dag, run, "register")["arn"]
    stack.sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    assert stack.wait(dag, run) == "success"
    assert stack.states(dag, run)["ask_approval"] == "success"


def reach_question(stack: Running, dag: str, run: str) -> None:
    wait_for(lambda: stack.states(dag, run)["ask_approval"] == "awaiting_input", "the question")
    # Airflow 3.3.2 loses an answer that is given before its executor has heard that the asking process is gone, and
    # asks again. No person is that fast: the answer is given once the scheduler has heard it.
    wait_for(lambda: question_is_parked(stack, dag, run), "the scheduler to hear of the question")


def question_is_parked(stack: Running, dag: str, run: str) -> bool:
    """Whether the scheduler has seen the end of the process that asked."""
    ended = f"TaskInstance Finished: dag_id={dag}, task_id=ask_approval, run_id={run},"
    return any(
        ended in line and "state=awaiting_input" in line
        for line in (stack.state / "up" / "logs" / "scheduler.log").read_text().splitlines()
    )


def test_a_run_that_is_marked_failed_stops_its_job_and_ends_red(stack: Running) -> None:
    dag, run = "held_lifecycle", "stopped"
    stack.begin(dag, run)
    wait_for(lambda: stack.states(dag, run)["train"] == "deferred", "the training")
    stack.patch(f"/api/v2/dags/{dag}/dagRuns/{run}", state="failed")
    wait_for(lambda: stack.states(dag, run)["teardown"] in ("success", "failed"), "the teardown")
    assert stack.wait(dag, run) == "failed"
    assert stack.alive(run_hash(dag, run)) == []
    assert names(stack, run_hash(dag, run)) == []


#: File, its content, the task that refuses it, and what the task says.
BAD_DATA = {
    "absent": (None, "ingest", "is not there: give the path of a file"),
    "empty": ("", "ingest", "is empty"),
    "no-target": ("a,b\n1,2\n3,4\n", "prepare", "target"),
    "one-class": ("a,target\n1,1\n2,1\n3,1\n4,1\n5,1\n6,1\n", "prepare", "class"),
}


@pytest.fixture(scope="module")
def bad_runs(stack: Running) -> None:
    """One run on each bad file, side by side."""
    for name, (content, _, _) in BAD_DATA.items():
        path = stack.checkout.root / f"{name}.csv"
        if content is not None:
            path.write_text(content)
        stack.begin("plain_lifecycle", name, source=f"file://{path}")


@pytest.mark.usefixtures("bad_runs")
@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_fails_early_with_a_sentence(stack: Running, name: str) -> None:
    dag, (_, task, says) = "plain_lifecycle", BAD_DATA[name]
    assert stack.wait(dag, name) == "failed"
    states = stack.states(dag, name)
    assert states[task] == "failed"
    assert states["teardown"] == "success"
    assert says in stack.log(dag, name, task)
    assert stack.alive(run_hash(dag, name)) == []
