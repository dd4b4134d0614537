"""The kinds of resources that are listed and described: one table of what each is called in the API, in ARNs, in logs.

What AWS's service model knows of a kind is read from the model, when it is first asked for; only what the model does
not say stands here. Every room above may use it; a record's kind in the store is its `word`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from botocore.model import OperationModel

from localaws import shapes
from localaws.store import StoredResource


@dataclass(frozen=True)
class ResourceKind:
    """One kind: its noun in the names of operations, its word in ARNs, and its log group if it has one.

    A log group with `{name}` in it belongs to one resource alone; others hold the streams of all resources of the kind.
    """

    noun: str
    word: str
    log_group: str = ""

    @property
    def words(self) -> str:
        """The kind in words, e.g. "training job"."""
        return self.word.replace("-", " ").replace("hyper parameter", "hyperparameter")

    @property
    def is_job(self) -> bool:
        """Whether it is a kind of jobs: these end by themselves."""
        return self.word.endswith("-job")

    @property
    def describe(self) -> str:
        """The operation that describes one."""
        return f"Describe{self.noun}"

    @property
    def list(self) -> str:
        """The operation that lists them."""
        return f"List{self.noun}s"

    @cached_property
    def _described(self) -> OperationModel:
        return shapes.service().operation_model(self.describe)

    @property
    def _answered(self) -> Iterable[str]:
        members: Iterable[str] = self._described.output_shape.members
        return members

    @cached_property
    def name_member(self) -> str:
        """The member of requests and answers that holds the name."""
        (found,) = self._described.input_shape.required_members
        return str(found)

    @cached_property
    def arn_member(self) -> str:
        """The member of answers that holds the ARN."""
        return self._member(f"{self.noun}Arn")

    @cached_property
    def status_member(self) -> str:
        """The member of answers that holds the status; KeyError for a kind without any."""
        return self._member(f"{self.noun}Status")

    @cached_property
    def end_member(self) -> str:
        """The member of a job's description that holds the time at which it has ended."""
        (found,) = (name for name in self._answered if name.endswith("EndTime"))
        return found

    @cached_property
    def summaries(self) -> str:
        """The member of the List answer that holds the summaries."""
        members = shapes.service().operation_model(self.list).output_shape.members
        (found,) = (name for name, shape in members.items() if shape.type_name == "list")
        return str(found)

    def _member(self, name: str) -> str:
        if name not in self._answered:
            raise KeyError(f"{self.describe} answers no {name}")
        return name

    def head(self, found: StoredResource) -> dict[str, Any]:
        """What descriptions and summaries of kinds with a status begin with: name, ARN, status and two times."""
        return {
            self.name_member: found.name,
            self.arn_member: found.arn,
            self.status_member: found.status,
            "CreationTime": found.created,
            "LastModifiedTime": found.modified,
        }

    def group_of(self, name: str) -> str:
        """The log group that a resource writes to."""
        return self.log_group.format(name=name)

    def stream_prefix(self, name: str) -> str:
        """What the names of a resource's streams in its log group begin with."""
        return "" if "{name}" in self.log_group else f"{name}/"


TRAINING_JOB = ResourceKind("TrainingJob", "training-job", "/aws/sagemaker/TrainingJobs")
PROCESSING_JOB = ResourceKind("ProcessingJob", "processing-job", "/aws/sagemaker/ProcessingJobs")
TRANSFORM_JOB = ResourceKind("TransformJob", "transform-job", "/aws/sagemaker/TransformJobs")
TUNING_JOB = ResourceKind("HyperParameterTuningJob", "hyper-parameter-tuning-job")
ENDPOINT = ResourceKind("Endpoint", "endpoint", "/aws/sagemaker/Endpoints/{name}")
ENDPOINT_CONFIG = ResourceKind("EndpointConfig", "endpoint-config")
MODEL = ResourceKind("Model", "model")
MODEL_PACKAGE = ResourceKind("ModelPackage", "model-package")
MODEL_PACKAGE_GROUP = ResourceKind("ModelPackageGroup", "model-package-group")
MONITORING_SCHEDULE = ResourceKind("MonitoringSchedule", "monitoring-schedule")
KINDS = (
    TRAINING_JOB,
    PROCESSING_JOB,
    TRANSFORM_JOB,
    TUNING_JOB,
    ENDPOINT,
    ENDPOINT_CONFIG,
    MODEL,
    MODEL_PACKAGE,
    MODEL_PACKAGE_GROUP,
    MONITORING_SCHEDULE,
)
BY_WORD = {kind.word: kind for kind in KINDS}
