"""The kinds of SageMaker jobs as a table. A new kind is a row of `KINDS` and its name in `KindName`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sagewind.facts.calls import NAME_LIMIT, ApiNames

KindName = Literal["processing", "training", "tuning", "transform"]
#: Ends of a job. Everything else is alive; `Stopped` is never a success.
ENDED = frozenset({"Completed", "Failed", "Stopped"})

Fields = Mapping[str, Any]
#: Names of fields, each inside the one before it.
Path = tuple[str, ...]
_STOPPING = ("StoppingCondition", "MaxRuntimeInSeconds")
#: The limit of a request that names none: one day (API reference, for training; the SDK says the same of processing).
DEFAULT_LIMIT = 86400


def _channels(request: Fields) -> Iterator[Fields]:
    for item in request.get("InputDataConfig", ()):
        yield item["DataSource"].get("S3DataSource", {})


def _processing_inputs(request: Fields) -> Iterator[Fields]:
    for item in request.get("ProcessingInputs", ()):
        yield item.get("S3Input", {})


def _transform_input(request: Fields) -> Iterator[Fields]:
    yield request["TransformInput"]["DataSource"].get("S3DataSource", {})


def _no_outputs(request: Fields) -> dict[str, str]:
    return {}


def _processing_outputs(request: Fields) -> dict[str, str]:
    found = request.get("ProcessingOutputConfig", {}).get("Outputs", ())
    return {item["OutputName"]: item["S3Output"]["S3Uri"] for item in found if "S3Output" in item}


def _transform_output(request: Fields) -> dict[str, str]:
    return {"transform": request["TransformOutput"]["S3OutputPath"]}


@dataclass(frozen=True)
class JobApi(ApiNames):
    """One kind of job: its calls and fields, and where its requests and descriptions say what is asked of all kinds.

    Paths lie in the request of one run: a job of many trainings (`definition`) holds that request in a field.
    """

    name: KindName
    #: What such a job is called on the pages of Airflow.
    shown: str
    #: Path of such jobs' pages in AWS's console (not documented; as its own pages show it).
    console: str
    #: Where the number and type of the machines lie.
    machines: Path
    #: Where the time limit lies, in seconds; None: such jobs have none.
    limit: Path | None = _STOPPING
    #: The parts of a request that may name an S3 object or folder to read.
    sources: Callable[[Fields], Iterable[Fields]] = _channels
    #: S3 URIs by the names of the outputs, for a job that has such.
    outputs: Callable[[Fields], dict[str, str]] = _no_outputs
    #: Field of a job of many trainings that holds their request; `definition` + "s" holds several.
    definition: str = ""
    #: Where such a job says how many trainings, how many at once, and for how many seconds together.
    budget: Path = ()
    #: Field with the time of the start, where it has another name than the stem says.
    started: str = ""
    #: Stem of the jobs in whose log group its log is, where that is not its own.
    logged_as: str = ""
    name_limit: int = NAME_LIMIT

    @property
    def stop(self) -> str:
        """Method that stops one."""
        return f"stop_{self.snake}"

    @property
    def summaries(self) -> str:
        """Field of the answer of `list`."""
        return f"{self.stem}Summaries"

    @property
    def started_field(self) -> str:
        """Field with the time at which the job's program started."""
        return self.started or f"{self.stem.removesuffix('Job')}StartTime"

    @property
    def ended_field(self) -> str:
        """Field with the time of the end."""
        return f"{self.stem.removesuffix('Job')}EndTime"

    @property
    def log_group(self) -> str:
        """Group of CloudWatch Logs whose streams begin with the name of the job, or of its trainings."""
        return f"/aws/sagemaker/{self.logged_as or self.stem}s"

    @property
    def resource(self) -> str:
        """The kind as ARNs and the local endpoint's status page write it, for example `processing-job`."""
        return self.snake.replace("_", "-")

    @property
    def of_trainings(self) -> bool:
        """Whether it runs trainings of its own and chooses the best."""
        return bool(self.definition)

    def runs(self, request: Fields) -> Sequence[Fields]:
        """The requests of its runs: its own, or those of its trainings."""
        if not self.of_trainings:
            return [request]
        return [request[self.definition]] if self.definition in request else request[f"{self.definition}s"]

    def own_limit(self, description: Fields) -> int | None:
        """Seconds after which the service itself stops such a job, as far as its description says."""
        path = (*self.budget, "MaxRuntimeInSeconds") if self.budget else self.limit
        found = _at(description, path) if path else None
        return None if found is None else int(found)

    def limit_seconds(self, request: Fields, no_limit_minutes: int, start_seconds: float) -> int:
        """Seconds that a task waits for the job: its time limit plus `start_seconds`, the allowance for its start.

        A job of many trainings may run them one round after another.
        """
        at_once = _there(request, self.budget)["MaxParallelTrainingJobs"] if self.budget else 1
        rounds = -(-self.count(request) // at_once)
        return int(rounds * (self.run_seconds(request, no_limit_minutes) + start_seconds))

    def run_seconds(self, request: Fields, no_limit_minutes: int) -> int:
        """The longest limit of its runs, AWS's own where one names none; `no_limit_minutes` if such jobs have none."""
        if self.limit is None:
            return no_limit_minutes * 60
        return max(int(_at(run, self.limit) or DEFAULT_LIMIT) for run in self.runs(request))

    def count(self, request: Fields) -> int:
        """How many runs there are at most."""
        return int(_there(request, self.budget)["MaxNumberOfTrainingJobs"]) if self.budget else 1

    def cluster(self, request: Fields) -> Fields:
        """`InstanceType` and `InstanceCount` that a Create request asks for, of a run."""
        found: Fields = _there(self.runs(request)[0], self.machines)
        return found

    def reads(self, request: Fields) -> Iterator[str]:
        """S3 URIs of the folders and files that the job reads."""
        for run in self.runs(request):
            for source in self.sources(run):
                if "S3Uri" in source:  # a file system or a feature group has none
                    yield source["S3Uri"]

    def writes(self, request: Fields) -> Iterator[str]:
        """S3 URIs of the folders that the job writes."""
        yield from self.outputs(request).values()
        artifacts = (_at(run, ("OutputDataConfig", "S3OutputPath")) for run in self.runs(request))
        yield from dict.fromkeys(folder for folder in artifacts if folder)


def _there(found: Any, path: Path) -> Any:
    for key in path:
        found = found[key]
    return found


def _at(found: Any, path: Path) -> Any:
    for key in path:
        found = found.get(key, {})
    return found or None


KINDS: Mapping[KindName, JobApi] = {
    kind.name: kind
    for kind in (
        JobApi(
            stem="ProcessingJob",
            name="processing",
            shown="SageMaker processing",
            console="processing-jobs",
            machines=("ProcessingResources", "ClusterConfig"),
            sources=_processing_inputs,
            outputs=_processing_outputs,
        ),
        JobApi(
            stem="TrainingJob",
            name="training",
            shown="SageMaker training",
            console="jobs",
            machines=("ResourceConfig",),
        ),
        JobApi(
            stem="HyperParameterTuningJob",
            name="tuning",
            shown="SageMaker tuning",
            console="hyper-tuning-jobs",
            machines=("ResourceConfig",),
            definition="TrainingJobDefinition",
            budget=("HyperParameterTuningJobConfig", "ResourceLimits"),
            started="CreationTime",
            logged_as="TrainingJob",
            name_limit=32,
        ),
        JobApi(
            stem="TransformJob",
            name="transform",
            shown="SageMaker batch transform",
            console="transform-jobs",
            machines=("TransformResources",),
            limit=None,
            sources=_transform_input,
            outputs=_transform_output,
        ),
    )
}
