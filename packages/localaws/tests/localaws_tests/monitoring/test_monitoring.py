"""Monitoring: due times, windows, and executions that really run over captured data."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from localaws.errors import ValidationException
from localaws.monitoring import schedule_execution as one
from localaws.monitoring.times import Recurrence, recurrence, seconds, window
from localaws.resources import monitoring_schedule
from localaws.serving.hosting import hosting
from localaws.store import StoredResource
from localaws_tests import serving_fixtures
from localaws_tests.conftest import poll
from localaws_tests.serving_fixtures import BUCKET, ROLE

server = serving_fixtures.server
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/monitor:1"
CAPTURE = {
    "EnableCapture": True,
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": f"s3://{BUCKET}/capture",
    "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
    "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
}
HOURLY = "cron(0 * ? * * *)"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


# ---- due times and windows ----


@pytest.mark.parametrize(
    ("expression", "now", "latest", "following"),
    [
        (HOURLY, "2026-03-01T10:30", "2026-03-01T10:00", "2026-03-01T11:00"),
        (HOURLY, "2026-03-01T10:00", "2026-03-01T10:00", "2026-03-01T11:00"),
        ("cron(0 12 ? * * *)", "2026-03-01T10:30", "2026-02-28T12:00", "2026-03-01T12:00"),
        ("cron(0 00 ? * * *)", "2026-03-01T10:30", "2026-03-01T00:00", "2026-03-02T00:00"),
        ("cron(0 17/12 ? * * *)", "2026-03-01T10:30", "2026-03-01T05:00", "2026-03-01T17:00"),
        ("cron(0 0/2 ? * * *)", "2026-03-01T11:59", "2026-03-01T10:00", "2026-03-01T12:00"),
    ],
)
def test_expressions_of_the_developer_guide(expression, now, latest, following):
    found = recurrence({"ScheduleConfig": {"ScheduleExpression": expression}})
    assert found is not None
    assert (found.latest(at(now)), found.following(at(now))) == (at(latest), at(following))


@given(first=st.integers(0, 23), every=st.integers(1, 24), now=st.floats(1e9, 2e9))
def test_due_times_are_a_period_apart_and_around_now(first, every, now):
    found = Recurrence(first, every)
    assert found.latest(now) <= now < found.following(now)
    assert found.following(now) - found.latest(now) == found.period
    assert found.latest(found.following(now)) == found.following(now)
    if 24 % every == 0:
        assert (datetime.fromtimestamp(found.latest(now), UTC).hour - first) % every == 0


@pytest.mark.parametrize(
    "text", ["cron(5 * ? * * *)", "rate(1 hour)", "cron(0 24 ? * * *)", "cron(0 1/25 ? * * *)", "now"]
)
def test_other_expressions_are_refused(text):
    with pytest.raises(ValidationException, match="is not supported: use cron"):
        recurrence({"ScheduleConfig": {"ScheduleExpression": text}})


def test_windows():
    noon, hour = at("2026-03-01T12:00"), 3600
    hourly = {"ScheduleConfig": {"ScheduleExpression": HOURLY}}
    assert (window(hourly, {}, noon).start, window(hourly, {}, noon).end) == (noon - hour, noon)
    assert window({}, {}, noon).start == noon - 24 * hour
    # the developer guide's example: -P8D and -P1D at 2020-01-09T13:00
    offsets = {"StartTimeOffset": "-P8D", "EndTimeOffset": "-P1D"}
    found = window(hourly, offsets, at("2020-01-09T13:00"))
    assert (found.start, found.end) == (at("2020-01-01T13:00"), at("2020-01-08T13:00"))
    now = {"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT2H", "DataAnalysisEndTime": "-PT30M"}
    found = window({"ScheduleConfig": now}, offsets, noon)
    assert (found.start, found.end) == (noon - 2 * hour, noon - hour / 2)
    assert [h.hour for h in found.hours()] == [10, 11]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"ScheduleExpression": "NOW"}, "are required with the ScheduleExpression NOW"),
        ({"ScheduleExpression": HOURLY, "DataAnalysisStartTime": "PT1H"}, "lies after the scheduled time"),
        ({"ScheduleExpression": HOURLY, "DataAnalysisStartTime": "-P1W"}, "is no ISO 8601 duration"),
        ({"ScheduleExpression": HOURLY, "DataAnalysisStartTime": "-PT0H"}, "would end"),
        ({"ScheduleExpression": HOURLY, "DataAnalysisStartTime": "-P2D"}, "more than 24 hours"),
    ],
)
def test_windows_that_are_none_are_refused(config, message):
    with pytest.raises(ValidationException, match=message):
        window({"ScheduleConfig": config}, {}, 1e9)


@given(days=st.integers(0, 30), hours=st.integers(0, 99), minutes=st.integers(0, 99))
def test_durations(days, hours, minutes):
    text = f"-P{days}DT{hours}H{minutes}M"
    assert seconds(text, "x") == -timedelta(days=days, hours=hours, minutes=minutes).total_seconds()


# ---- executions ----


@pytest.fixture(scope="module")
def captured(server):
    """An endpoint that captures everything, with three invocations captured."""
    server.create_model("watched", 2)
    server.create_config("watched", "watched", capture=CAPTURE)
    server.create_endpoint("watched", "watched")
    for number in range(3):
        assert float(server.invoke("watched", f"{number}", InferenceId=f"id-{number}")) == number * 2
    hosting(server.endpoint.ctx).capture.flush("watched")
    return server


def job(**changes):
    return {
        "MonitoringInputs": [{"EndpointInput": {"EndpointName": "watched", "LocalPath": "/opt/ml/processing/data"}}],
        "MonitoringOutputConfig": {
            "MonitoringOutputs": [
                {"S3Output": {"S3Uri": f"s3://{BUCKET}/reports", "LocalPath": "/opt/ml/processing/output"}}
            ]
        },
        "MonitoringResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 5}
        },
        "MonitoringAppSpecification": {"ImageUri": IMAGE},
        "RoleArn": ROLE,
        **changes,
    }


NOW = {"ScheduleExpression": "NOW", "DataAnalysisStartTime": "-PT1H", "DataAnalysisEndTime": "-PT0H"}


def create(server, name, schedule=None, **changes):
    server.sagemaker.create_monitoring_schedule(
        MonitoringScheduleName=name,
        MonitoringScheduleConfig={"ScheduleConfig": schedule or NOW, "MonitoringJobDefinition": job(**changes)},
    )


def executions(server, name, **filters):
    found = server.sagemaker.list_monitoring_executions(MonitoringScheduleName=name, **filters)
    return found["MonitoringExecutionSummaries"]


def ended(server, name):
    """The newest execution, when it has ended."""

    def look():
        found = executions(server, name)
        return found if found and found[0]["MonitoringExecutionStatus"] not in ("Pending", "InProgress") else None

    return poll(look)[0]


def report(server, execution):
    (result,) = processing_job(server, execution)["ProcessingOutputConfig"]["Outputs"]
    prefix = result["S3Output"]["S3Uri"].removeprefix(f"s3://{BUCKET}/")
    return json.loads(server.objects(f"{prefix}/report.json")[f"{prefix}/report.json"])


def processing_job(server, execution):
    name = execution["ProcessingJobArn"].rsplit("/", 1)[1]
    return server.sagemaker.describe_processing_job(ProcessingJobName=name)


@pytest.mark.executes("CreateMonitoringSchedule", "DescribeMonitoringSchedule", "ListMonitoringExecutions")
def test_a_schedule_that_runs_now_looks_at_what_the_endpoint_captured(captured):
    create(captured, "once", Environment={"LIMIT": "2", "SAY": "yes"})
    execution = ended(captured, "once")
    assert execution["MonitoringExecutionStatus"] == "CompletedWithViolations"
    assert (execution["EndpointName"], execution["MonitoringType"]) == ("watched", "DataQuality")
    found = processing_job(captured, execution)
    assert found["ProcessingJobName"].startswith("model-monitoring-")
    assert found["MonitoringScheduleArn"].endswith(":monitoring-schedule/once")
    assert found["ExitMessage"].startswith("CompletedWithViolations: ")
    seen = report(captured, execution)
    assert [r["eventMetadata"]["inferenceId"] for r in seen["records"]] == ["id-0", "id-1", "id-2"]
    assert [r["captureData"]["endpointOutput"]["data"].strip() for r in seen["records"]] == ["0.0", "2.0", "4.0"]
    scheduled = execution["ScheduledTime"].astimezone(UTC)
    assert all(path.startswith("watched/AllTraffic/20") and path.endswith(".jsonl") for path in seen["files"])
    variables = seen["environment"]
    assert json.loads(variables["dataset_format"]) == {
        "sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}
    }
    assert variables["end_time"] == scheduled.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert variables["start_time"] == (scheduled - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert variables["sagemaker_endpoint_name"] == "watched"
    assert variables["sagemaker_monitoring_schedule_name"] == "once"
    assert variables["publish_cloudwatch_metrics"] == "Enabled"
    described = captured.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="once")
    assert described["MonitoringScheduleStatus"] == "Scheduled"
    assert described["LastMonitoringExecutionSummary"] == execution


def test_metrics_that_the_job_leaves_are_in_cloudwatch(captured):
    cloudwatch = captured.client("cloudwatch")

    def statistics(schedule):
        create(captured, schedule, Environment={"publish_cloudwatch_metrics": schedule.capitalize()})
        execution = ended(captured, schedule)
        assert execution["MonitoringExecutionStatus"] == "Completed"
        return [metric(schedule, name, execution["ScheduledTime"]) for name in ("records", "spread")]

    def metric(schedule, name, moment):
        found = cloudwatch.get_metric_statistics(
            Namespace="aws/sagemaker/Endpoints/data-metrics",
            MetricName=name,
            Dimensions=[{"Name": "MonitoringSchedule", "Value": schedule}],
            StartTime=moment - timedelta(hours=2),
            EndTime=moment,
            Period=60,
            Statistics=["Sum", "SampleCount", "Minimum", "Maximum"],
        )
        return [(d["Sum"], d["SampleCount"], d["Minimum"], d["Maximum"]) for d in found["Datapoints"]]

    assert statistics("enabled") == [[(3.0, 1.0, 3.0, 3.0)], [(10.0, 4.0, 1.0, 4.0)]]
    assert statistics("disabled") == [[], []]


def test_violations_are_found_in_the_report_of_a_job_that_says_nothing(captured):
    baseline = {"limit": 2}
    captured.s3.put_object(Bucket=BUCKET, Key="base/constraints.json", Body=json.dumps(baseline).encode())
    uri = {"S3Uri": f"s3://{BUCKET}/base/constraints.json"}
    create(captured, "silent", BaselineConfig={"ConstraintsResource": uri})
    execution = ended(captured, "silent")
    assert execution["MonitoringExecutionStatus"] == "CompletedWithViolations"
    place = report(captured, execution)["environment"]["baseline_constraints"]
    assert place.endswith("/ml/processing/baseline/constraints/constraints.json")
    create(captured, "content", Environment={"LIMIT": "3"})
    assert ended(captured, "content")["MonitoringExecutionStatus"] == "Completed"


def test_a_failed_job_is_a_failed_execution(captured):
    create(captured, "broken", Environment={"END": "fail"})
    execution = ended(captured, "broken")
    assert execution["MonitoringExecutionStatus"] == "Failed"
    assert "the analyzer broke" in execution["FailureReason"]


def test_an_execution_without_data_fails_and_starts_no_job(captured):
    early = {**NOW, "DataAnalysisStartTime": "-PT9H", "DataAnalysisEndTime": "-PT8H"}
    create(captured, "early", early)
    execution = ended(captured, "early")
    assert (execution["MonitoringExecutionStatus"], execution["FailureReason"]) == ("Failed", "Job inputs had no data")
    assert "ProcessingJobArn" not in execution


def record(event: str, value: str) -> bytes:
    captured_data = {"endpointInput": {"data": value, "encoding": "CSV", "mode": "INPUT"}}
    line = {"captureData": captured_data, "eventMetadata": {"eventId": event}, "eventVersion": "0"}
    return json.dumps(line).encode() + b"\n"


def put_hour(server, hour: str, event: str) -> None:
    server.s3.put_object(
        Bucket=BUCKET, Key=f"capture/watched/AllTraffic/{hour}/00-00-000-x.jsonl", Body=record(event, "1")
    )


@pytest.mark.executes("StopMonitoringSchedule", "StartMonitoringSchedule", "UpdateMonitoringSchedule")
@pytest.mark.executes("DeleteMonitoringSchedule")
def test_an_hourly_schedule_runs_each_hour_until_it_is_stopped(captured):
    for hour in range(1, 7):
        put_hour(captured, f"2030/05/06/{hour:02}", f"event-{hour}")
    create(captured, "hourly", {"ScheduleExpression": HOURLY})
    ctx = captured.endpoint.ctx

    def tick(hour: str) -> float | None:
        now = at(f"2030-05-06T{hour}")
        schedule = monitoring_schedule.find_schedule(ctx, "hourly")
        return monitoring_schedule.tick(replace(ctx, clock=lambda: now), "hourly", schedule.body["run"], now)

    def events():
        found = [e for e in executions(captured, "hourly") if e["ScheduledTime"].year == 2030]
        for execution in found:
            captured.sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
                ProcessingJobName=execution["ProcessingJobArn"].rsplit("/", 1)[1], WaiterConfig=serving_fixtures.FAST
            )
        return {
            e["ScheduledTime"].astimezone(UTC).hour: [
                r["eventMetadata"]["eventId"] for r in report(captured, e)["records"]
            ]
            for e in found
        }

    assert tick("02:00") == at("2030-05-06T03:00")
    assert tick("02:59") == at("2030-05-06T03:00")
    assert events() == {2: ["event-1"]}
    tick("03:01")
    tick("05:30")  # asleep since 03:01: only the last hour is made up
    assert events() == {2: ["event-1"], 3: ["event-2"], 5: ["event-4"]}
    captured.sagemaker.stop_monitoring_schedule(MonitoringScheduleName="hourly")
    assert tick("06:00") is None
    described = captured.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="hourly")
    assert described["MonitoringScheduleStatus"] == "Stopped"
    captured.sagemaker.start_monitoring_schedule(MonitoringScheduleName="hourly")
    tick("06:00")
    assert events()[6] == ["event-5"]
    config = {"ScheduleConfig": {"ScheduleExpression": "cron(0 0/3 ? * * *)"}, "MonitoringJobDefinition": job()}
    captured.sagemaker.update_monitoring_schedule(MonitoringScheduleName="hourly", MonitoringScheduleConfig=config)
    assert tick("06:00") == at("2030-05-06T09:00")
    assert sorted(events()[6]) == ["event-3", "event-4", "event-5"]
    captured.sagemaker.delete_monitoring_schedule(MonitoringScheduleName="hourly")
    with pytest.raises(captured.sagemaker.exceptions.ResourceNotFound):
        captured.sagemaker.describe_monitoring_schedule(MonitoringScheduleName="hourly")
    assert len(executions(captured, "hourly")) >= 5, "deleting a schedule leaves its executions"


def test_many_hours_are_given_as_days(captured):
    for day in range(1, 4):
        for hour in range(0, 24, 4):
            put_hour(captured, f"2031/02/{day:02}/{hour:02}", f"d{day}h{hour}")
    offsets = {"StartTimeOffset": "-P3D", "EndTimeOffset": "-PT0H"}
    source = {"EndpointName": "watched", "LocalPath": "/opt/ml/processing/data", **offsets}
    create(captured, "days", {"ScheduleExpression": "cron(0 0 ? * * *)"}, MonitoringInputs=[{"EndpointInput": source}])
    ctx, now = captured.endpoint.ctx, at("2031-02-04T00:10")
    run = monitoring_schedule.find_schedule(ctx, "days").body["run"]
    monitoring_schedule.tick(ctx, "days", run, now)
    execution = ended(captured, "days")
    inputs = processing_job(captured, execution)["ProcessingInputs"]
    assert [i["S3Input"]["LocalPath"].rsplit("/", 3)[1:] for i in inputs] == [
        ["2031", "02", f"0{d}"] for d in (1, 2, 3)
    ]
    assert len(report(captured, execution)["records"]) == 18


def definition(kind, labels="truth", **changes):
    inline = job()
    source = {"EndpointInput": inline["MonitoringInputs"][0]["EndpointInput"]}
    truth = (
        {"GroundTruthS3Input": {"S3Uri": f"s3://{BUCKET}/{labels}"}} if kind in ("ModelQuality", "ModelBias") else {}
    )
    config = {"ConfigUri": f"s3://{BUCKET}/base/analysis_config.json"} if kind[5:] in ("Bias", "Explainability") else {}
    return {
        f"{kind}AppSpecification": {"ImageUri": IMAGE, **config},
        f"{kind}JobInput": source | truth,
        f"{kind}JobOutputConfig": inline["MonitoringOutputConfig"],
        "JobResources": inline["MonitoringResources"],
        "RoleArn": ROLE,
        **changes,
    }


def put_labels(server, prefix, *numbers):
    """Ground truth for some of the captured invocations."""
    moment = datetime.now(UTC)
    for number in numbers:
        line = {
            "groundTruthData": {"data": str(number), "encoding": "CSV"},
            "eventMetadata": {"eventId": f"id-{number}"},
            "eventVersion": "0",
        }
        for hours in (0, 1):  # the invocations may have been in the hour before this one
            key = f"{prefix}/{moment - timedelta(hours=hours):%Y/%m/%d/%H}/labels-{number}.jsonl"
            server.s3.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(line).encode())


@pytest.mark.executes("CreateModelQualityJobDefinition")
def test_model_quality_joins_ground_truth_by_inference_id(captured):
    put_labels(captured, "truth", 0, 2)
    app = {"ImageUri": IMAGE, "ProblemType": "BinaryClassification"}
    captured.sagemaker.create_model_quality_job_definition(
        JobDefinitionName="quality", **definition("ModelQuality", ModelQualityAppSpecification=app)
    )
    captured.sagemaker.create_monitoring_schedule(
        MonitoringScheduleName="quality",
        MonitoringScheduleConfig={
            "ScheduleConfig": NOW,
            "MonitoringJobDefinitionName": "quality",
            "MonitoringType": "ModelQuality",
        },
    )
    execution = ended(captured, "quality")
    assert execution["MonitoringJobDefinitionName"] == "quality"
    seen = report(captured, execution)
    joined = {r["eventMetadata"]["inferenceId"]: r["groundTruthData"]["data"] for r in seen["records"]}
    assert joined == {"id-0": "0", "id-2": "2"}
    variables = seen["environment"]
    assert (variables["problem_type"], variables["analysis_type"]) == ("BinaryClassification", "MODEL_QUALITY")
    assert list(json.loads(variables["dataset_format"])) == ["sagemakerMergeJson"]


KINDS = {
    "DataQuality": "data_quality",
    "ModelQuality": "model_quality",
    "ModelBias": "model_bias",
    "ModelExplainability": "model_explainability",
}


@pytest.mark.executes("DeleteDataQualityJobDefinition", "DeleteModelQualityJobDefinition")
@pytest.mark.executes("DeleteModelBiasJobDefinition", "DeleteModelExplainabilityJobDefinition")
@pytest.mark.executes("DescribeDataQualityJobDefinition", "DescribeModelQualityJobDefinition")
@pytest.mark.executes("DescribeModelBiasJobDefinition", "DescribeModelExplainabilityJobDefinition")
@pytest.mark.parametrize("kind", KINDS)
def test_job_definitions_of_each_kind(captured, kind):
    client, snake = captured.sagemaker, KINDS[kind]
    request = definition(kind)
    tags = [{"Key": "team", "Value": "a"}]
    made = getattr(client, f"create_{snake}_job_definition")(
        JobDefinitionName=f"d-{snake[6:]}".replace("_", "-"), Tags=tags, **request
    )
    name = made["JobDefinitionArn"].rsplit("/", 1)[1]
    described = getattr(client, f"describe_{snake}_job_definition")(JobDefinitionName=name)
    assert {k: described[k] for k in request} == request
    assert client.list_tags(ResourceArn=made["JobDefinitionArn"])["Tags"] == tags
    with pytest.raises(client.exceptions.ResourceInUse):
        getattr(client, f"create_{snake}_job_definition")(JobDefinitionName=name, **request)
    listed = getattr(client, f"list_{snake}_job_definitions")(EndpointName="watched", NameContains=name)
    assert [d["EndpointName"] for d in listed["JobDefinitionSummaries"]] == ["watched"]
    getattr(client, f"delete_{snake}_job_definition")(JobDefinitionName=name)
    with pytest.raises(client.exceptions.ResourceNotFound):
        getattr(client, f"describe_{snake}_job_definition")(JobDefinitionName=name)
    config = {"ScheduleConfig": NOW, "MonitoringJobDefinitionName": name, "MonitoringType": kind}
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.create_monitoring_schedule(MonitoringScheduleName="none", MonitoringScheduleConfig=config)


@pytest.mark.executes("CreateDataQualityJobDefinition", "CreateModelBiasJobDefinition")
@pytest.mark.executes("CreateModelExplainabilityJobDefinition")
@pytest.mark.parametrize(
    ("kind", "labels", "count"),
    [("DataQuality", "", 3), ("ModelExplainability", "", 3), ("ModelBias", "labels", 1), ("ModelBias", "none", 0)],
)
def test_a_schedule_runs_a_definition_of_its_own(captured, kind, labels, count):
    captured.s3.put_object(Bucket=BUCKET, Key="base/analysis_config.json", Body=b"{}")
    put_labels(captured, "labels", 1)
    name = f"own-{kind}-{count}"
    create_definition = getattr(captured.sagemaker, f"create_{KINDS[kind]}_job_definition")
    create_definition(JobDefinitionName=name, **definition(kind, labels))
    config = {"ScheduleConfig": NOW, "MonitoringJobDefinitionName": name, "MonitoringType": kind}
    captured.sagemaker.create_monitoring_schedule(MonitoringScheduleName=name, MonitoringScheduleConfig=config)
    execution = ended(captured, name)
    if not count:  # without ground truth there is nothing to look at
        assert execution["FailureReason"] == "Job inputs had no data"
        return
    assert execution["MonitoringExecutionStatus"] == "Completed"
    names = {i["InputName"] for i in processing_job(captured, execution)["ProcessingInputs"]}
    assert ("analysis_config" in names) == (kind != "DataQuality")
    assert len(report(captured, execution)["records"]) == count


@pytest.mark.parametrize(
    ("schedule", "changes", "code", "message"),
    [
        (None, {"MonitoringAppSpecification": {"ImageUri": "x/absent:1"}}, "ValidationException", "absent:1"),
        (
            None,
            {"MonitoringInputs": [{"EndpointInput": {"EndpointName": "nobody", "LocalPath": "/opt/ml/processing/d"}}]},
            "ValidationException",
            "nobody",
        ),
        ({"ScheduleExpression": "NOW"}, {}, "ValidationException", "DataAnalysisStartTime"),
        (
            {"ScheduleExpression": HOURLY},
            {"StoppingCondition": {"MaxRuntimeInSeconds": 3601}},
            "ValidationException",
            "MaxRuntimeInSeconds 3601 is longer than the 3600 seconds",
        ),
        (None, {"BaselineConfig": {"BaseliningJobName": "b"}}, "ValidationException", "ConstraintsResource"),
        (
            None,
            {
                "MonitoringInputs": [
                    {
                        "BatchTransformInput": {
                            "DataCapturedDestinationS3Uri": "s3://a",
                            "DatasetFormat": {"Parquet": {}},
                            "LocalPath": "/opt/ml/processing/d",
                        }
                    }
                ]
            },
            "ValidationException",
            "BatchTransformInput is not supported",
        ),
    ],
)
def test_what_could_not_run_is_refused_at_once(captured, schedule, changes, code, message):
    with pytest.raises(ClientError) as caught:
        create(captured, "refused", schedule, **changes)
    assert caught.value.response["Error"]["Code"] == code
    assert message in caught.value.response["Error"]["Message"]


def test_schedules_outlive_a_restart(tmp_path):
    with serving_fixtures.running(tmp_path / "state") as first:
        first.create_model("watched", 2)
        first.create_config("watched", "watched", capture=CAPTURE)
        first.create_endpoint("watched", "watched")
        create(first, "kept", {"ScheduleExpression": "cron(0 0 ? * * *)"})
    with serving_fixtures.running(tmp_path / "state") as second:
        found = second.sagemaker.list_monitoring_schedules(EndpointName="watched")["MonitoringScheduleSummaries"]
        assert [(s["MonitoringScheduleName"], s["MonitoringScheduleStatus"]) for s in found] == [("kept", "Scheduled")]
        run = second.endpoint.ctx.store.get("monitoring-schedule", "kept").body["run"]
        assert second.endpoint.ctx.jobs.find("monitoring-schedule", f"kept/{run}") is not None


def test_an_execution_whose_start_was_cut_off_does_not_stay_pending(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    schedule = StoredResource(
        "monitoring-schedule", "cut-off", "arn", "Scheduled", 0, 0, {"MonitoringScheduleConfig": {}}
    )
    with serving_fixtures.running(tmp_path / "state") as first:
        with monkeypatch.context() as cut:
            cut.setattr(one, "_start_job", killed)
            for _ in range(2):
                with pytest.raises(Killed):
                    one.start(first.endpoint.ctx, schedule, at("2026-03-01T12:00"))
        before, made = first.endpoint.ctx.store.list(one.KIND)
        # Nothing is decided of an execution while it is being started.
        assert one.settle(first.endpoint.ctx, before).status == "Pending"
        job = {"ProcessingOutputConfig": {"Outputs": []}}
        store, arn = first.endpoint.ctx.store, first.endpoint.ctx.config.arn("processing-job", made.body["job"])
        store.insert("processing-job", made.body["job"], arn, "Completed", job)
    with serving_fixtures.running(tmp_path / "state") as second:
        store = second.endpoint.ctx.store
        lost, kept = (store.get(one.KIND, e.name) for e in (before, made))
        assert (lost.status, kept.status) == ("Failed", "Completed")
        assert "before the processing job of this execution was started" in lost.body["FailureReason"]
        assert kept.body["ProcessingJobArn"] == arn
        assert store.get("processing-job", made.body["job"]).body["MonitoringScheduleArn"].endswith("/cut-off")
