"""What DAG authors call on SageMakerHook itself: lists over several pages, and the look at S3."""

from __future__ import annotations

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.amazon.aws.hooks.sagemaker import SageMakerHook

from tests.provider.configs import BUCKET, Names, training_request
from tests.provider.conftest import Aws


@pytest.fixture
def jobs(aws: Aws, names: Names, train_data: str) -> list[str]:
    """Eleven trainings, more than AWS's page of ten; the last one fails."""
    made = [names(f"{number:02d}") for number in range(11)]
    for name in made:
        words = {"fail": "crooked"} if name == made[-1] else {}
        aws.sagemaker.create_training_job(**training_request(name, train_data, **words))
    for name in made[:-1]:
        aws.wait("training_job_completed_or_stopped", TrainingJobName=name)
    aws.wait_failed("training_job_completed_or_stopped", TrainingJobName=made[-1])
    return made


def test_lists(aws: Aws, names: Names, jobs: list[str]) -> None:
    hook = SageMakerHook()

    def listed(**options: object) -> list[str]:
        return [job["TrainingJobName"] for job in hook.list_training_jobs(name_contains=names, **options)]

    assert listed(SortBy="Name", SortOrder="Ascending") == jobs
    assert listed(SortBy="Name", SortOrder="Descending", max_results=3) == jobs[:-4:-1]
    assert listed(StatusEquals="Failed") == jobs[-1:]
    assert len(aws.sagemaker.list_training_jobs(NameContains=names)["TrainingJobSummaries"]) == 10
    aws.sagemaker.delete_training_job(TrainingJobName=jobs[0])
    assert sorted(listed()) == jobs[1:]
    assert aws.keys(f"models/{jobs[0]}/") == ["output/model.tar.gz"]  # its artifact stays


def test_look_at_s3(aws: Aws, train_data: str) -> None:
    hook = SageMakerHook()
    assert hook.check_s3_url(train_data)
    assert hook.check_s3_url(f"{train_data}data.csv")
    assert hook.check_s3_url(f"s3://{BUCKET}")
    with pytest.raises(AirflowException, match="does not exist in the Bucket"):
        hook.check_s3_url(f"{train_data}other.csv")
