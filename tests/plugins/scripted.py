"""A SageMaker that follows a script: what a job does next is said beforehand, time passes only when it is asked.

Every request is checked against botocore's input shapes and every answer against its output shapes, so a script cannot
say what AWS could not, and a caller cannot ask what AWS would not understand. There are no threads and no clock: each
Describe of a job, and each List, makes the jobs one step older.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from localaws import shapes
from sagewind.facts.kinds import KINDS, JobApi

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = "123456789012"
#: Lines that every job has written before it ends.
LINES = ("epoch 1", "ValueError: no such column")
STATUS = {"Starting": "InProgress", "Pending": "InProgress", "Training": "InProgress", "Stopping": "Stopping"}
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Script:
    """What becomes of a job.

    `alive` are the secondary statuses before the end, one for each time the job is asked about (other kinds of job show
    the status that belongs to it); `status`, `secondary` and `fields` are its end; `ran` is how many seconds it ran.
    `stop_tag`: one of us stopped it. `deleted`: it is gone instead of ending. `faults` are answered first, once each,
    by Describe and List after the job was made. `pictures` is what List shows instead of the truth, as steps of the
    job's life: an eventual list shows the future before Describe does, and the past after it.
    `trainings` are the reasons why the trainings of a tuning job failed. `log_fault`: reading the log is refused so.
    """

    status: str = "Completed"
    secondary: str = ""
    fields: Fields = field(default_factory=dict)
    alive: tuple[str, ...] = ("Starting", "Starting", "Training", "Training")
    ran: float = 10.0
    stop_tag: str = ""
    deleted: bool = False
    faults: tuple[tuple[str, int], ...] = ()
    pictures: tuple[int, ...] = ()
    trainings: tuple[str, ...] = ()
    log_fault: tuple[str, int] | None = None


@dataclass
class Job:
    """One job: its request, its script and how often it was asked about."""

    kind: JobApi
    name: str
    request: Fields
    script: Script
    created: datetime
    tags: dict[str, str]
    age: int = 0

    @property
    def arn(self) -> str:
        kind = {"tuning": "hyper-parameter-tuning-job"}.get(self.kind.name, f"{self.kind.name}-job")
        return f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:{kind}/{self.name}"

    @property
    def alive(self) -> bool:
        return self._at(None) is not None

    def description(self, shape: Any, age: int | None = None) -> dict[str, Any]:
        """The job at an age, with the members that `shape` knows."""
        everything = {**self.request, **self._times(age), **self._kind(age)}
        if self._at(age) is None:
            everything |= self.script.fields
        return {key: value for key, value in everything.items() if key in shape.members}

    def _at(self, age: int | None) -> str | None:
        """The secondary status while it lives, None once it has ended."""
        age = self.age if age is None else age
        return self.script.alive[age] if age < len(self.script.alive) else None

    def _times(self, age: int | None) -> dict[str, Any]:
        age = self.age if age is None else age
        known = {"CreationTime": self.created, "LastModifiedTime": self.created + timedelta(seconds=age)}
        if self._at(age) is None:
            known["LastModifiedTime"] = self.created + timedelta(seconds=len(self.script.alive))
            started = self.created if self.kind.name == "tuning" else self.created + timedelta(seconds=2)
            known[self.kind.started_field] = started
            known[self.kind.ended_field] = started + timedelta(seconds=self.script.ran)
        return known

    def _kind(self, age: int | None) -> dict[str, Any]:
        alive = self._at(age)
        status = self.script.status if alive is None else STATUS[alive]
        known = {self.kind.name_field: self.name, self.kind.arn_field: self.arn, self.kind.status_field: status}
        if self.kind.name == "training":
            age = self.age if age is None else age
            states = [*self.script.alive[: age + 1], *([] if alive else [self.script.secondary or status])]
            known["SecondaryStatus"] = states[-1]
            known["SecondaryStatusTransitions"] = [
                {"Status": state, "StartTime": self.created, "StatusMessage": f"{state} the instances"}
                for state in states
            ]
            known["ModelArtifacts"] = {"S3ModelArtifacts": f"s3://bucket/{self.name}/model.tar.gz"}
        if self.kind.name == "tuning":
            config = self.request["HyperParameterTuningJobConfig"]
            known["TrainingJobStatusCounters"] = known["ObjectiveStatusCounters"] = {}
            known |= {"Strategy": config["Strategy"], "ResourceLimits": config["ResourceLimits"]}
        return known


class World:
    """All jobs, and every call that was made: (operation, request)."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.jobs: dict[str, Job] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.now = BEGIN
        self._faults: list[tuple[str, int]] = []
        self._validator = ParamValidator()

    def client(self, service: str) -> Client:
        """What stands for boto3's client of a service."""
        return Client(self, service)

    def start(self, kind: str, request: Fields, name: str) -> Job:
        """A job that somebody else has started."""
        known = KINDS[kind]  # type: ignore[index]
        getattr(self.client("sagemaker"), known.create)(**{**request, known.name_field: name})
        return self.jobs[name]

    def named(self, *verbs: str) -> list[str]:
        """The operations called that begin so."""
        return [name for name, _ in self.calls if name.startswith(verbs)]

    def call(self, service: str, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Do one call; ClientError as AWS would answer."""
        model = shapes.service(service).operation_model(operation)
        self._check(request, model.input_shape, f"request of {operation}")
        self.calls.append((operation, request))
        answer = self._answer(operation, request, model.output_shape)
        if model.output_shape is not None:
            self._check(answer, model.output_shape, f"answer of {operation}")
        return answer | {"ResponseMetadata": {"HTTPStatusCode": 200}}

    def _check(self, value: Any, shape: Any, where: str) -> None:
        report = self._validator.validate(value, shape)
        assert not report.has_errors(), f"{where}: {report.generate_report()}"

    def _answer(self, operation: str, request: dict[str, Any], shape: Any) -> dict[str, Any]:
        if operation in ("DescribeLogStreams", "GetLogEvents"):
            if self.script.log_fault:
                raise error(*self.script.log_fault, operation, "no")
            return _logs(operation, request)
        if operation in ("ListTags", "AddTags"):
            return self._tags(operation, request)
        if operation == "DescribeModel":
            arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:model/{request['ModelName']}"
            return {"ModelName": request["ModelName"], "ModelArn": arn, "CreationTime": BEGIN}
        if operation == "ListTrainingJobsForHyperParameterTuningJob":
            return {"TrainingJobSummaries": self._trainings(self.jobs[request["HyperParameterTuningJobName"]])}
        kind = _kind_of(operation)
        if operation.startswith("Create"):
            return self._create(kind, request)
        self._grow(operation)
        if operation.startswith("List"):
            return {kind.summaries: self._list(kind, request, shape.members[kind.summaries].member)}
        found = self.jobs.get(request[kind.name_field])
        if found is None:
            raise error("ValidationException", 400, operation, "Requested resource not found.")
        return found.description(shape)

    def _create(self, kind: JobApi, request: dict[str, Any]) -> dict[str, Any]:
        name = request[kind.name_field]
        if name in self.jobs:
            raise error("ResourceInUse", 400, "Create", f"{name} already exists")
        tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", ())}
        self.jobs[name] = Job(kind, name, request, self.script, self.now, tags)
        self._faults = list(self.script.faults)
        return {kind.arn_field: self.jobs[name].arn}

    def _grow(self, operation: str) -> None:
        """Time passes; a fault of the script comes before the answer."""
        self.now += timedelta(seconds=1)
        for name, job in list(self.jobs.items()):
            job.age += 1
            if not job.alive:
                if job.script.stop_tag:
                    job.tags["sagewind:stop"] = job.script.stop_tag
                if job.script.deleted:
                    del self.jobs[name]
        if self._faults and self.jobs and min(job.age for job in self.jobs.values()) > 2:
            code, status = self._faults.pop(0)
            raise error(code, status, operation, "not now")

    def _list(self, kind: JobApi, request: dict[str, Any], shape: Any) -> list[dict[str, Any]]:
        found = []
        for job in self.jobs.values():
            seen = job.script.pictures
            summary = job.description(shape, seen[min(job.age, len(seen) - 1)] if seen else None)
            after = request.get("LastModifiedTimeAfter", BEGIN - timedelta(days=1))
            status = request.get("StatusEquals", summary[kind.status_field])
            if job.kind is kind and summary["LastModifiedTime"] > after and summary[kind.status_field] == status:
                found.append(summary)
        return found

    def _trainings(self, job: Job) -> list[dict[str, Any]]:
        return [
            {
                "TrainingJobName": f"{job.name}-{number}",
                "TrainingJobArn": f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/{job.name}-{number}",
                "CreationTime": job.created,
                "TrainingJobStatus": "Failed",
                "TunedHyperParameters": {},
                "FailureReason": reason,
            }
            for number, reason in enumerate(job.script.trainings)
        ]

    def _tags(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        job = next(job for job in self.jobs.values() if job.arn == request["ResourceArn"])
        if operation == "AddTags":
            job.tags |= {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        return {"Tags": [{"Key": key, "Value": value} for key, value in job.tags.items()]}


class Client:
    """Methods as boto3 names them."""

    def __init__(self, world: World, service: str) -> None:
        self._world = world
        self._service = service
        self.meta = SimpleNamespace(
            service_model=shapes.service(service), region_name="us-east-1", partition="aws", events=None
        )
        self.exceptions = SimpleNamespace(ResourceNotFoundException=type("ResourceNotFound", (ClientError,), {}))
        self._operations = {xform_name(name): name for name in shapes.service(service).operation_names}

    def __getattr__(self, method: str) -> Any:
        operation = self._operations.get(method)
        if operation is None:
            raise AttributeError(method)
        return lambda **request: self._world.call(self._service, operation, request)

    def get_paginator(self, method: str) -> Any:
        """Everything is on one page."""
        call = getattr(self, method)
        return type("Pages", (), {"paginate": staticmethod(lambda **request: [call(**request)])})()


def error(code: str, status: int, operation: str, text: str) -> ClientError:
    """An error as botocore raises it after its own retries."""
    response = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)  # type: ignore[arg-type]


def _kind_of(operation: str) -> JobApi:
    for kind in KINDS.values():
        if xform_name(operation) in (kind.create, kind.describe, kind.list, kind.stop):
            return kind
    raise AssertionError(f"the script does not know {operation}")


def _logs(operation: str, request: dict[str, Any]) -> dict[str, Any]:
    if operation == "DescribeLogStreams":
        return {"logStreams": [{"logStreamName": f"{request['logStreamNamePrefix']}algo-1"}]}
    lines = [] if "nextToken" in request else LINES
    events = [{"timestamp": number, "message": text} for number, text in enumerate(lines)]
    return {"events": events, "nextForwardToken": "end"}
