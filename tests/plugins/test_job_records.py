"""Records and progress of jobs, from descriptions as the service gives them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sagewind import job_records
from sagewind.facts.kinds import KINDS

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
END = datetime(2026, 1, 1, 12, 1, 30, tzinfo=UTC)


class Sagemaker:
    """Answers one question: the best training of a tuning job."""

    def describe_training_job(self, TrainingJobName: str) -> dict:
        assert TrainingJobName == "tune-003"
        return {
            "ModelArtifacts": {"S3ModelArtifacts": "s3://b/model.tar.gz"},
            "FinalMetricDataList": [{"MetricName": "validation:auc", "Value": 0.5}],
        }


class FakeAws:
    """A connection whose only client is the one above."""

    def client(self, service: str) -> Sagemaker:
        assert service == "sagemaker"
        return Sagemaker()


def test_a_training_record_is_small_and_plain() -> None:
    found = {
        "TrainingJobName": "t",
        "TrainingJobArn": "arn",
        "TrainingJobStatus": "Completed",
        "TrainingStartTime": START,
        "TrainingEndTime": END,
        "BillableTimeInSeconds": 42,
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/m.tar.gz"},
        "FinalMetricDataList": [{"MetricName": "validation:auc", "Value": 0.75, "Timestamp": END}],
        "HyperParameters": {"secret": "not in the record"},
    }
    record = job_records.record(FakeAws(), KINDS["training"], found, 2)
    assert json.loads(json.dumps(record)) == {
        "kind": "training",
        "name": "t",
        "arn": "arn",
        "status": "Completed",
        "generation": 2,
        "seconds": 90.0,
        "billable_seconds": 42,
        "artifact": "s3://b/m.tar.gz",
        "outputs": {},
        "metrics": {"validation:auc": 0.75},
        "reason": None,
    }


def test_a_tuning_record_is_that_of_its_best_training() -> None:
    found = {
        "HyperParameterTuningJobName": "tune",
        "HyperParameterTuningJobArn": "arn",
        "HyperParameterTuningJobStatus": "Completed",
        "CreationTime": START,
        "HyperParameterTuningEndTime": END,
        "BestTrainingJob": {"TrainingJobName": "tune-003", "TunedHyperParameters": {"eta": "0.1"}},
        "TrainingJobStatusCounters": {"Completed": 4},
        "ConsumedResources": {"RuntimeInSeconds": 300},
    }
    record = job_records.record(FakeAws(), KINDS["tuning"], found, 1)
    assert record["artifact"] == "s3://b/model.tar.gz"
    assert record["metrics"] == {"validation:auc": 0.5}
    assert record["best"] == {"name": "tune-003", "hyperparameters": {"eta": "0.1"}}
    assert record["billable_seconds"] == 300


def test_progress_of_a_tuning_counts_and_names_the_best() -> None:
    found = {
        "HyperParameterTuningJobStatus": "InProgress",
        "HyperParameterTuningJobConfig": {"ResourceLimits": {"MaxNumberOfTrainingJobs": 9}},
        "TrainingJobStatusCounters": {"Completed": 3},
        "BestTrainingJob": {
            "FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "validation:auc", "Value": 0.91234567}
        },
    }
    line = job_records.progress(KINDS["tuning"], found)
    assert line == "InProgress: 3 of 9 trainings done, best validation:auc 0.91235"


def test_the_wait_limit_comes_from_the_job() -> None:
    stopping = {"StoppingCondition": {"MaxRuntimeInSeconds": 600}}
    assert KINDS["processing"].limit_seconds(stopping, 5, 1800) == 600 + 1800
    assert KINDS["transform"].limit_seconds({}, 5, 1800) == 300 + 1800
    tuning = {
        "HyperParameterTuningJobConfig": {
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 4}
        },
        "TrainingJobDefinition": stopping,
    }
    assert KINDS["tuning"].limit_seconds(tuning, 5, 1800) == 3 * (600 + 1800)
