"""The table of kinds against the names that AWS's clients use, and against botocore's own client."""

from __future__ import annotations

import re
import subprocess
import sys

import botocore.session
import pytest

from localaws.kinds import (
    ENDPOINT,
    KINDS,
    MODEL,
    MONITORING_SCHEDULE,
    PROCESSING_JOB,
    TRAINING_JOB,
    TRANSFORM_JOB,
    TUNING_JOB,
    ResourceKind,
)
from localaws.resources.search import SEARCHED
from localaws.store import StoredResource

# Written out by hand: what the model is asked for must come to this.
JOBS = {
    TRAINING_JOB: (
        *("DescribeTrainingJob", "ListTrainingJobs", "TrainingJobName", "TrainingJobArn", "TrainingJobStatus"),
        *("TrainingEndTime", "TrainingJobSummaries", "training job"),
    ),
    PROCESSING_JOB: (
        *("DescribeProcessingJob", "ListProcessingJobs", "ProcessingJobName", "ProcessingJobArn"),
        *("ProcessingJobStatus", "ProcessingEndTime", "ProcessingJobSummaries", "processing job"),
    ),
    TRANSFORM_JOB: (
        *("DescribeTransformJob", "ListTransformJobs", "TransformJobName", "TransformJobArn", "TransformJobStatus"),
        *("TransformEndTime", "TransformJobSummaries", "transform job"),
    ),
    TUNING_JOB: (
        *("DescribeHyperParameterTuningJob", "ListHyperParameterTuningJobs", "HyperParameterTuningJobName"),
        *("HyperParameterTuningJobArn", "HyperParameterTuningJobStatus", "HyperParameterTuningEndTime"),
        *("HyperParameterTuningJobSummaries", "hyperparameter tuning job"),
    ),
}


@pytest.mark.parametrize("kind", JOBS, ids=lambda kind: kind.word)
def test_names_of_jobs_are_those_of_the_api(kind: ResourceKind) -> None:
    found = (kind.describe, kind.list, kind.name_member, kind.arn_member, kind.status_member, kind.end_member)
    assert (*found, kind.summaries, kind.words) == JOBS[kind]
    assert kind.is_job


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)
def test_every_name_is_in_the_model_of_the_clients(kind: ResourceKind) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    described, listed = model.operation_model(kind.describe), model.operation_model(kind.list)
    answered = described.output_shape.members
    assert kind.name_member in described.input_shape.members
    assert {kind.name_member, kind.arn_member} <= set(answered)
    summary = listed.output_shape.members[kind.summaries].member
    assert kind.arn_member in summary.members
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:{kind.word}/{'g/1' if kind.noun == 'ModelPackage' else 'a'}"
    assert re.fullmatch(answered[kind.arn_member].metadata["pattern"], arn)


@pytest.mark.parametrize("kind", [*JOBS, ENDPOINT, MONITORING_SCHEDULE], ids=lambda kind: kind.word)
def test_the_head_of_a_record_is_in_descriptions_and_summaries(kind: ResourceKind) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    head = kind.head(StoredResource(kind.word, "a", "arn", "Failed", 1.0, 2.0, {}))
    assert list(head.values()) == ["a", "arn", "Failed", 1.0, 2.0]
    # Only summaries say when a transform job has changed; what AWS does not answer is left out of answers.
    assert set(head) - {"LastModifiedTime"} <= set(model.operation_model(kind.describe).output_shape.members)
    assert set(head) <= set(model.operation_model(kind.list).output_shape.members[kind.summaries].member.members)


def test_a_kind_without_status_says_so() -> None:
    assert (MODEL.describe, MODEL.list, MODEL.summaries) == ("DescribeModel", "ListModels", "Models")
    with pytest.raises(KeyError, match="DescribeModel answers no ModelStatus"):
        _ = MODEL.status_member


def test_log_groups_and_streams() -> None:
    # SageMaker developer guide, "Log groups and streams that Amazon SageMaker AI sends to Amazon CloudWatch Logs"
    assert {kind.word: (kind.group_of("a"), kind.stream_prefix("a")) for kind in KINDS if kind.log_group} == {
        "training-job": ("/aws/sagemaker/TrainingJobs", "a/"),
        "processing-job": ("/aws/sagemaker/ProcessingJobs", "a/"),
        "transform-job": ("/aws/sagemaker/TransformJobs", "a/"),
        "endpoint": ("/aws/sagemaker/Endpoints/a", ""),
    }


def test_what_can_be_searched_is_a_resource_of_search() -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    assert set(SEARCHED) <= set(model.shape_for("ResourceType").enum)
    assert set(SEARCHED) <= set(model.shape_for("SearchRecord").members)
    assert set(SEARCHED) == {"TrainingJob", "HyperParameterTuningJob", "Endpoint", "ModelPackage", "ModelPackageGroup"}


def test_importing_the_table_loads_no_service_model() -> None:
    program = "from localaws import server, shapes; print(shapes.service.cache_info().currsize)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert loaded.stdout.strip() == "0"
