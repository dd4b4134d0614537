"""What the stack asks the local AWS endpoint itself: jobs and their logs, what still exists, the report's bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from tools.stack.airflow_settings import LocalAwsAccess
from tools.stack.errors import StackError, Unanswered

RUN_TAG = "sagewind:run"
TASK_TAG = "sagewind:task"


@dataclass(frozen=True)
class JobNames:
    """One kind of SageMaker job: the names that its API uses."""

    name: str
    stem: str
    paginator: str
    summaries: str
    started: str
    ended: str
    logs: str


KINDS = (
    JobNames(
        "processing",
        "ProcessingJob",
        "list_processing_jobs",
        "ProcessingJobSummaries",
        "ProcessingStartTime",
        "ProcessingEndTime",
        "/aws/sagemaker/ProcessingJobs",
    ),
    JobNames(
        "training",
        "TrainingJob",
        "list_training_jobs",
        "TrainingJobSummaries",
        "TrainingStartTime",
        "TrainingEndTime",
        "/aws/sagemaker/TrainingJobs",
    ),
    JobNames(
        "tuning",
        "HyperParameterTuningJob",
        "list_hyper_parameter_tuning_jobs",
        "HyperParameterTuningJobSummaries",
        "CreationTime",
        "HyperParameterTuningEndTime",
        "/aws/sagemaker/TrainingJobs",
    ),
    JobNames(
        "transform",
        "TransformJob",
        "list_transform_jobs",
        "TransformJobSummaries",
        "TransformStartTime",
        "TransformEndTime",
        "/aws/sagemaker/TransformJobs",
    ),
)
DESCRIBE = {
    "processing": "describe_processing_job",
    "training": "describe_training_job",
    "tuning": "describe_hyper_parameter_tuning_job",
    "transform": "describe_transform_job",
}


@dataclass(frozen=True)
class Job:
    """A job as the endpoint lists it, with the id of the task that owns it."""

    kind: JobNames
    name: str
    task: str


@dataclass(frozen=True)
class JobRecord:
    """How a job went. `started` and `ended` are None where the job never got so far."""

    kind: str
    name: str
    status: str
    started: datetime | None
    ended: datetime | None

    @property
    def seconds(self) -> float | None:
        """From the start of the job's program to its end."""
        if self.started is None or self.ended is None:
            return None
        return round((self.ended - self.started).total_seconds(), 2)


P = ParamSpec("P")
R = TypeVar("R")


def _sentences(function: Callable[P, R]) -> Callable[P, R]:
    """Turn what boto3 raises into a `StackError` with the API's words, `Unanswered` where no answer came."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

        try:
            return function(*args, **kwargs)
        except (ConnectionError, HTTPClientError) as error:
            raise Unanswered(f"The local AWS endpoint did not answer: {error}") from error
        except (BotoCoreError, ClientError) as error:
            raise StackError(f"The local AWS endpoint did not answer as expected: {error}") from error

    return wrapped


class StackAws:
    """Reads the endpoint with boto3, which is imported on first use (half a second)."""

    def __init__(self, aws: LocalAwsAccess) -> None:
        self._aws = aws
        self._clients: dict[str, Any] = {}
        self._tags: dict[str, dict[str, str]] = {}

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            import boto3
            from botocore.config import Config

            session = boto3.session.Session(
                aws_access_key_id=self._aws.access_key,
                aws_secret_access_key=self._aws.secret_key,
                region_name=self._aws.region,
            )
            config = Config(connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 2}, proxies={})
            self._clients[service] = session.client(service, endpoint_url=self._aws.endpoint_url, config=config)
        return self._clients[service]

    @_sentences
    def jobs(self, run_id: str) -> list[Job]:
        """The jobs that carry a run's tag (a tuning job hands its tags on to its training jobs)."""
        return [job for kind in KINDS for job in self._jobs(kind, run_id)]

    def _jobs(self, kind: JobNames, run_id: str) -> Iterator[Job]:
        for page in self._pages(kind):
            for summary in page[kind.summaries]:
                tags = self.tags(summary[f"{kind.stem}Arn"])
                if tags.get(RUN_TAG) == run_id:
                    yield Job(kind, summary[f"{kind.stem}Name"], tags.get(TASK_TAG, ""))

    def _pages(self, kind: JobNames) -> Iterator[dict[str, Any]]:
        from botocore.exceptions import ClientError

        pages = self._client("sagemaker").get_paginator(kind.paginator)
        try:
            yield from pages.paginate(SortBy="CreationTime", SortOrder="Ascending")
        except ClientError as error:
            # Of a kind that the endpoint does not know there can be no jobs.
            if "is not supported" not in error.response["Error"]["Message"]:
                raise

    def tags(self, arn: str) -> dict[str, str]:
        """Tags of a resource, asked for once (owner tags never change)."""
        if arn not in self._tags:
            found = self._client("sagemaker").list_tags(ResourceArn=arn)["Tags"]
            self._tags[arn] = {tag["Key"]: tag["Value"] for tag in found}
        return self._tags[arn]

    @_sentences
    def record(self, job: Job) -> JobRecord:
        """How a job stands now."""
        describe = getattr(self._client("sagemaker"), DESCRIBE[job.kind.name])
        found = describe(**{f"{job.kind.stem}Name": job.name})
        status = str(found[f"{job.kind.stem}Status"])
        return JobRecord(job.kind.name, job.name, status, found.get(job.kind.started), found.get(job.kind.ended))

    @_sentences
    def last_log_line(self, job: Job) -> str | None:
        """The newest line of a job's log, None before there is one."""
        logs = self._client("logs")
        try:
            streams = logs.describe_log_streams(logGroupName=job.kind.logs, logStreamNamePrefix=job.name)
        except logs.exceptions.ResourceNotFoundException:
            return None
        if not streams["logStreams"]:
            return None
        events = logs.get_log_events(
            logGroupName=job.kind.logs,
            logStreamName=streams["logStreams"][-1]["logStreamName"],
            startFromHead=False,
            limit=1,
        )["events"]
        return str(events[-1]["message"]) if events else None

    @_sentences
    def endpoint_status(self, name: str) -> str | None:
        """Status of an endpoint, None if it does not exist."""
        return self._status("describe_endpoint", "EndpointName", name, "EndpointStatus")

    @_sentences
    def exists(self, kind: str, name: str) -> bool | None:
        """Whether a resource that a teardown says it deleted is still there; None for kinds that are not asked for."""
        operations = {
            "endpoint": ("describe_endpoint", "EndpointName"),
            "endpoint_config": ("describe_endpoint_config", "EndpointConfigName"),
            "model": ("describe_model", "ModelName"),
            "model_package_group": ("describe_model_package_group", "ModelPackageGroupName"),
        }
        asked = operations.get(kind.lower().replace("-", "_").replace(" ", "_"))
        return None if asked is None else self._status(*asked, name, None) is not None

    def _status(self, operation: str, key: str, name: str, field: str | None) -> str | None:
        from botocore.exceptions import ClientError

        try:
            found = getattr(self._client("sagemaker"), operation)(**{key: name})
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            # SageMaker says "not found" as a ValidationException for these.
            missing = "could not find" in message.lower() or "does not exist" in message.lower()
            if code in ("ResourceNotFound", "ValidationException") and missing:
                return None
            raise
        return "" if field is None else str(found[field])

    @_sentences
    def endpoints_of(self, run_id: str) -> list[str]:
        """Names of the endpoints that carry a run's tag and exist now."""
        found: list[str] = []
        for page in self._client("sagemaker").get_paginator("list_endpoints").paginate():
            for summary in page["Endpoints"]:
                if self.tags(summary["EndpointArn"]).get(RUN_TAG) == run_id:
                    found.append(summary["EndpointName"])
        return found

    @_sentences
    def lines(self, uri: str) -> int:
        """Lines of text in all objects below an `s3://bucket/prefix`: captured requests are one each."""
        parts = urlsplit(uri)
        pages = (
            self._client("s3")
            .get_paginator("list_objects_v2")
            .paginate(Bucket=parts.netloc, Prefix=parts.path.lstrip("/") + "/")
        )
        keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return sum(self.object(f"s3://{parts.netloc}/{key}").count(b"\n") for key in keys)

    @_sentences
    def invoke(self, endpoint: str, rows: str) -> bytes:
        """An endpoint's answer to rows of CSV."""
        answer = self._client("sagemaker-runtime").invoke_endpoint(
            EndpointName=endpoint, ContentType="text/csv", Accept="text/csv", Body=rows.encode()
        )
        body: bytes = answer["Body"].read()
        return body

    @_sentences
    def object(self, uri: str) -> bytes:
        """The bytes of an `s3://bucket/key` object. Raises `StackError` naming it when it is not there."""
        from botocore.exceptions import ClientError

        parts = urlsplit(uri)
        try:
            answer = self._client("s3").get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
            body: bytes = answer["Body"].read()
        except ClientError as error:
            raise StackError(f"The object {uri} cannot be read: {error}") from error
        return body


def busy_seconds(records: list[JobRecord]) -> float:
    """Seconds in which at least one of the jobs ran: intervals that overlap count once."""
    spans = sorted((r.started, r.ended) for r in records if r.started is not None and r.ended is not None)
    total, reached = 0.0, datetime.min.replace(tzinfo=UTC)
    for started, ended in spans:
        if ended > reached:
            total += (ended - max(started, reached)).total_seconds()
            reached = ended
    return round(total, 2)
