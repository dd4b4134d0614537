"""SageMaker Metrics through boto3: what was put is found again, aggregated as asked."""

from __future__ import annotations

import statistics
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from localaws_tests.conftest import client_of, training_request, wait_for

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def metrics(endpoint):
    return client_of(endpoint, "sagemaker-metrics")


@pytest.fixture(scope="module")
def job(sagemaker, s3):
    """A training job, for its trial component."""
    sagemaker.create_training_job(**training_request("Measured"))
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName="Measured")
    return "measured-aws-training-job"


def put(metrics, component, name, *points):
    data = [
        {"MetricName": name, "Timestamp": NOON + timedelta(seconds=second), "Value": value}
        | ({} if step is None else {"Step": step})
        for second, step, value in points
    ]
    return metrics.batch_put_metrics(TrialComponentName=component, MetricData=data).get("Errors", [])


def query(metrics, name, stat="Last", period="IterationNumber", arn=f"{ARN}:training-job/measured", **more):
    axis = "IterationNumber" if period == "IterationNumber" else "Timestamp"
    asked = {"MetricName": name, "ResourceArn": arn, "MetricStat": stat, "Period": period, "XAxisType": axis, **more}
    return metrics.batch_get_metrics(MetricQueries=[asked])["MetricQueryResults"][0]


@pytest.mark.executes("BatchPutMetrics", "BatchGetMetrics")
def test_values_by_step(metrics, job):
    assert put(metrics, job, "loss", (0, 1, 3.0), (1, 2, 2.0), (2, 2, 1.5), (3, 3, 1.0)) == []
    found = query(metrics, "loss")
    assert (found["Status"], found["XAxisValues"], found["MetricValues"]) == ("Complete", [1, 2, 3], [3.0, 1.5, 1.0])
    component = query(metrics, "loss", arn=f"{ARN}:experiment-trial-component/{job}", Start=2, End=2)
    assert (component["XAxisValues"], component["MetricValues"]) == ([2], [1.5])
    assert query(metrics, "nothing")["MetricValues"] == []


@pytest.mark.parametrize(
    ("stat", "oracle"),
    [("Min", min), ("Max", max), ("Avg", statistics.mean), ("Count", len), ("StdDev", statistics.pstdev)],
)
def test_values_by_minute(metrics, job, stat, oracle):
    name = f"minutes-{stat}"
    values = {0: [4.0, 2.0], 60: [7.0], 3600: [1.0, 2.0, 3.0]}
    put(metrics, job, name, *((second + i, None, v) for second, each in values.items() for i, v in enumerate(each)))
    found = query(metrics, name, stat, "OneMinute")
    assert found["XAxisValues"] == [int(NOON.timestamp()) + second for second in values]
    assert found["MetricValues"] == pytest.approx([oracle(each) for each in values.values()])
    hourly = query(metrics, name, stat, "OneHour")
    assert hourly["MetricValues"] == pytest.approx([oracle([4.0, 2.0, 7.0]), oracle(values[3600])])


def test_what_cannot_be_is_said(metrics, job):
    assert put(metrics, "nobody-aws-training-job", "loss", (0, 1, 1.0), (0, 2, 1.0)) == [
        {"Code": "VALIDATION_ERROR", "MetricIndex": 0},
        {"Code": "VALIDATION_ERROR", "MetricIndex": 1},
    ]
    for arn in (f"{ARN}:training-job/nobody", f"{ARN}:model/measured"):
        assert query(metrics, "loss", arn=arn)["Status"] == "ValidationError"
    assert query(metrics, "loss", period="OneHour", XAxisType="IterationNumber")["Status"] == "ValidationError"
    with pytest.raises(ClientError) as caught:
        put(metrics, "Not Valid", "loss", (0, 1, 1.0))
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert "trialComponentName" in caught.value.response["Error"]["Message"]
