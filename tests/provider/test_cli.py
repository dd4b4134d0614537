"""The AWS CLI, unmodified, with nothing but the variables that the endpoint prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.provider.configs import (
    BUCKET,
    Names,
    endpoint_config_request,
    model_request,
    processing_request,
    training_request,
)
from tests.provider.conftest import Aws, packages_of

Cli = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = Path(__file__).with_name("cli_program.py")


@pytest.fixture(scope="module")
def cli(aws: Aws) -> Iterator[Cli]:
    """Runs one command; a code other than 0 fails unless it is expected."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW"))},
        **aws.values,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PYTHONPATH": str(packages_of("awscli")),
        "PYTHONWARNINGS": "ignore",
    }
    # Importing the CLI takes longer than most commands: it is imported once, and each command is a fork.
    program = subprocess.Popen(
        [sys.executable, PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert program.stdin is not None
    assert program.stdout is not None
    commands, answers = program.stdin, program.stdout

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        commands.write(json.dumps(arguments) + "\n")
        commands.flush()
        done = subprocess.CompletedProcess(arguments, **json.loads(answers.readline()))
        assert done.returncode == code, f"{arguments}: {done.returncode}, {done.stderr}"
        return done

    yield run
    commands.close()
    assert program.wait() == 0
    answers.close()


def shown(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_a_training_and_its_files(cli: Cli, aws: Aws, names: Names, tmp_path: Path) -> None:
    folder = tmp_path / "train"
    folder.mkdir()
    (folder / "a.csv").write_text("10,5\n")
    (folder / "b.csv").write_text("4,2\n")
    cli("s3", "mb", f"s3://{names('b')}")
    cli("s3", "sync", str(folder), f"s3://{names('b')}/train", "--no-progress")
    assert cli("s3", "ls", f"s3://{names('b')}/train/").stdout.split()[3::4] == ["a.csv", "b.csv"]
    request = training_request(names("job"), f"s3://{names('b')}/train/")
    request["OutputDataConfig"]["S3OutputPath"] = f"s3://{names('b')}/models"
    cli("sagemaker", "create-training-job", "--cli-input-json", json.dumps(request))
    aws.wait("training_job_completed_or_stopped", TrainingJobName=names("job"))
    cli("sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", names("job"))
    artifact = cli(
        "sagemaker", "describe-training-job", "--training-job-name", names("job"),
        "--query", "ModelArtifacts.S3ModelArtifacts", "--output", "text",
    ).stdout.strip()  # fmt: skip
    cli("s3", "cp", artifact, str(tmp_path / "model.tar.gz"), "--no-progress")
    unpacked = subprocess.run(["tar", "-xOzf", str(tmp_path / "model.tar.gz"), "line.json"], capture_output=True)
    assert json.loads(unpacked.stdout) == {"slope": 2.0}
    log = cli(
        "logs", "filter-log-events", "--log-group-name", "/aws/sagemaker/TrainingJobs",
        "--log-stream-name-prefix", names("job"), "--query", "events[].message",
    ).stdout  # fmt: skip
    assert "validation-error=0.0" in log
    cli("s3", "rb", f"s3://{names('b')}", "--force")
    assert names("b") not in cli("s3", "ls").stdout


def test_an_endpoint(cli: Cli, aws: Aws, names: Names, artifact: str, tmp_path: Path) -> None:
    aws.sagemaker.create_model(**model_request(names("m"), artifact))
    aws.sagemaker.create_endpoint_config(**endpoint_config_request(names("c"), names("m")))
    cli("sagemaker", "create-endpoint", "--endpoint-name", names("e"), "--endpoint-config-name", names("c"))
    aws.wait("endpoint_in_service", EndpointName=names("e"))  # the command looks every half minute only
    cli("sagemaker", "wait", "endpoint-in-service", "--endpoint-name", names("e"))
    out, rows = tmp_path / "answer", tmp_path / "rows.csv"
    rows.write_text("2\n3\n")
    cli(
        "sagemaker-runtime", "invoke-endpoint", "--endpoint-name", names("e"), "--content-type", "text/csv",
        "--body", f"fileb://{rows}", str(out),
    )  # fmt: skip
    assert out.read_text() == "6\n9\n"
    cli("sagemaker", "delete-endpoint", "--endpoint-name", names("e"))
    aws.wait("endpoint_deleted", EndpointName=names("e"))
    cli("sagemaker", "wait", "endpoint-deleted", "--endpoint-name", names("e"))
    assert shown(cli("sagemaker", "list-endpoints", "--name-contains", names))["Endpoints"] == []


def test_processing_tags_and_lists(cli: Cli, aws: Aws, names: Names, train_data: str) -> None:
    request = processing_request(names("job"), train_data, f"s3://{BUCKET}/processed/{names}/")
    arn = shown(cli("sagemaker", "create-processing-job", "--cli-input-json", json.dumps(request)))["ProcessingJobArn"]
    aws.wait("processing_job_completed_or_stopped", ProcessingJobName=names("job"))
    cli("sagemaker", "add-tags", "--resource-arn", arn, "--tags", "Key=a,Value=1", "Key=b,Value=2")
    tags = shown(cli("sagemaker", "list-tags", "--resource-arn", arn))["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "1", "b": "2"}
    listed = cli(
        "sagemaker", "list-processing-jobs", "--name-contains", names, "--status-equals", "Completed",
        "--query", "ProcessingJobSummaries[].ProcessingJobName", "--output", "text",
    )  # fmt: skip
    assert listed.stdout.split() == [names("job")]
    assert json.loads(aws.read(f"s3://{BUCKET}/processed/{names}/summary.json"))["lines"] == 10


def test_errors(cli: Cli) -> None:
    absent = cli("sagemaker", "describe-training-job", "--training-job-name", "absent", code=255)
    assert "(ValidationException) when calling the DescribeTrainingJob operation" in absent.stderr
    refused = cli("sagemaker", "list-experiments", code=255)
    assert "The operation ListExperiments is not supported by the local AWS endpoint" in refused.stderr
    who = shown(cli("sts", "get-caller-identity"))
    assert who["Account"] == "123456789012"
