"""What the stack asks the local AWS endpoint itself: jobs and their logs, what still exists, the report's bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from sagewind.facts.calls import ApiNames, says_missing
from sagewind.facts.kinds import KINDS, JobApi
from sagewind.facts.resources import RESOURCES
from sagewind.facts.tags import RUN, TASK, full
from tools.stack.airflow_settings import LocalAwsAccess
from tools.stack.errors import StackError, Unanswered


@dataclass(frozen=True)
class Job:
    """A job as the endpoint lists it, with the id of the task that owns it."""

    kind: JobApi
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
        return [job for kind in KINDS.values() for job in self._jobs(kind, run_id)]

    def _jobs(self, kind: JobApi, run_id: str) -> Iterator[Job]:
        for page in self._pages(kind):
            for summary in page[kind.summaries]:
                tags = self.tags(summary[kind.arn_field])
                if tags.get(full(RUN)) == run_id:
                    yield Job(kind, summary[kind.name_field], tags.get(full(TASK), ""))

    def _pages(self, kind: JobApi) -> Iterator[dict[str, Any]]:
        from botocore.exceptions import ClientError

        pages = self._client("sagemaker").get_paginator(kind.list)
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
        kind, found = job.kind, self._describe(job.kind, job.name)
        times = found.get(kind.started_field), found.get(kind.ended_field)
        return JobRecord(kind.name, job.name, str(found[kind.status_field]), *times)

    def _describe(self, kind: ApiNames, name: str) -> dict[str, Any]:
        found: dict[str, Any] = getattr(self._client("sagemaker"), kind.describe)(**{kind.name_field: name})
        return found

    @_sentences
    def last_log_line(self, job: Job) -> str | None:
        """The newest line of a job's log, None before there is one."""
        logs = self._client("logs")
        try:
            streams = logs.describe_log_streams(logGroupName=job.kind.log_group, logStreamNamePrefix=job.name)
        except logs.exceptions.ResourceNotFoundException:
            return None
        if not streams["logStreams"]:
            return None
        events = logs.get_log_events(
            logGroupName=job.kind.log_group,
            logStreamName=streams["logStreams"][-1]["logStreamName"],
            startFromHead=False,
            limit=1,
        )["events"]
        return str(events[-1]["message"]) if events else None

    @_sentences
    def endpoint_status(self, name: str) -> str | None:
        """Status of an endpoint, None if it does not exist."""
        found = self._look(RESOURCES["endpoint"], name)
        return None if found is None else str(found[RESOURCES["endpoint"].status_field])

    @_sentences
    def exists(self, kind: str, name: str) -> bool | None:
        """Whether a resource that a teardown says it deleted is still there; None for kinds that are not asked for."""
        asked = next((api for api in RESOURCES.values() if api.shown == kind), None)
        return None if asked is None else self._look(asked, name) is not None

    def _look(self, kind: ApiNames, name: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            return self._describe(kind, name)
        except ClientError as error:
            if says_missing(error.response["Error"]["Code"], error.response["Error"]["Message"]):
                return None
            raise

    @_sentences
    def endpoints_of(self, run_id: str) -> list[str]:
        """Names of the endpoints that carry a run's tag and exist now."""
        found: list[str] = []
        kind = RESOURCES["endpoint"]
        for page in self._client("sagemaker").get_paginator(kind.list).paginate():
            for summary in page[kind.summaries]:
                if self.tags(summary[kind.arn_field]).get(full(RUN)) == run_id:
                    found.append(summary[kind.name_field])
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
