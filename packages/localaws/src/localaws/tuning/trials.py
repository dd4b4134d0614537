"""The training jobs of a tuning job: their names, their objective values, which is best, whether they still improve."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.jobs import training
from localaws.store import StoredResource
from localaws.tuning.tuning_request import TrainingDefinition, TuningObjective, read_definitions

# Stored records hold more than the API shows. Of a tuning job: LaunchedTrainingJobs, how many it has begun. Of a
# training job: TuningDefinition, the index of its definition; ObjectiveHistory, what it printed, when that mattered.
SIGNIFICANT = 0.01  # an improvement of 1 % or less is none (API reference, BestObjectiveNotImproving)
BEHAVIOURS = (
    Behaviour("names of a tuning job's trainings: <tuning job>-<number>-<eight hexadecimal digits>", "assumed"),
    Behaviour(
        "a training job counts as not improving when it is not more than 1 % better than the best before it",
        "documented",
        "API reference, HyperParameterTuningJobCompletionDetails",
    ),
    Behaviour("a training job that was stopped early keeps its last objective value", "assumed"),
)


def child_name(found: StoredResource, number: int) -> str:
    """The name of a tuning job's training job; numbers begin with 1."""
    digest = hashlib.sha256(f"{found.arn}{found.created}{number}".encode()).hexdigest()[:8]
    return f"{found.name}-{number:03d}-{digest}"


def numbered(ctx: Context, found: StoredResource) -> list[StoredResource | None]:
    """The training jobs of a tuning job in the order they were begun; None for one that was deleted."""
    launched = found.body.get("LaunchedTrainingJobs", 0)
    jobs = [ctx.store.get(training.KIND, child_name(found, n)) for n in range(1, launched + 1)]
    # The endpoint may have ended between the creation of a training job and its count.
    last = ctx.store.get(training.KIND, child_name(found, launched + 1))
    return jobs if last is None else [*jobs, last]


def children(ctx: Context, found: StoredResource) -> list[StoredResource]:
    """The training jobs of a tuning job that are still there, oldest first."""
    return [job for job in numbered(ctx, found) if job is not None]


class Trials:
    """The training jobs of one tuning job with what they were tried for."""

    def __init__(self, ctx: Context, found: StoredResource) -> None:
        self.definitions: tuple[TrainingDefinition, ...] = read_definitions(found.body)
        self.jobs = children(ctx, found)

    def definition(self, job: StoredResource) -> TrainingDefinition:
        """The definition that a training job was made from."""
        index: int = job.body.get("TuningDefinition", 0)
        return self.definitions[index]

    def value(self, job: StoredResource) -> float | None:
        """The final objective of a training job, None while or when there is none."""
        return final_value(self.definition(job).objective, job)

    def best(self) -> StoredResource | None:
        """The training job with the best objective; of equals the one that came first."""
        valued = [(job, value) for job in self.jobs if (value := self.value(job)) is not None]
        return best(self.definitions[0].objective, valued)

    def observations(self) -> list[tuple[dict[str, str], float]]:
        """All hyperparameters of the training jobs that have an objective, with it."""
        return [
            ({**self.definition(job).static, **job.body["TunedHyperParameters"]}, value)
            for job in self.jobs
            if (value := self.value(job)) is not None
        ]

    def ended_values(self) -> list[float]:
        """The objectives in the order in which the training jobs ended."""
        ended = sorted(self.jobs, key=lambda job: job.body.get("TrainingEndTime", job.modified))
        return [value for job in ended if (value := self.value(job)) is not None]


def best(objective: TuningObjective, valued: Iterable[tuple[StoredResource, float]]) -> StoredResource | None:
    """The job with the best value; of equals the one that came first."""
    found: tuple[StoredResource, float] | None = None
    for job, value in valued:
        if found is None or objective.better(value, found[1]):
            found = job, value
    return None if found is None else found[0]


def final_value(objective: TuningObjective, job: StoredResource) -> float | None:
    """The last value of the objective that a training job gave; None while it runs and when it failed."""
    if job.status not in ("Completed", "Stopped"):
        return None
    for metric in job.body.get("FinalMetricDataList", ()):
        if metric["MetricName"] == objective.metric:
            return float(metric["Value"])
    return None


def not_improving(objective: TuningObjective, values: Sequence[float]) -> int:
    """How many of the last values are no significant improvement on the best before them."""
    count, top = 0, None
    for value in values:
        if top is None:
            top = value
            continue
        least = top + abs(top) * SIGNIFICANT * (1 if objective.maximize else -1)
        count = 0 if objective.better(value, least) else count + 1
        top = value if objective.better(value, top) else top
    return count


def summary(found: StoredResource, trials: Trials, job: StoredResource) -> dict[str, Any]:
    """HyperParameterTrainingJobSummary of the API."""
    definition = trials.definition(job)
    objective, value = definition.objective, trials.value(job)
    pending = job.status not in training.TRANSITIONS.terminal
    metric = {
        "Type": "Maximize" if objective.maximize else "Minimize",
        "MetricName": objective.metric,
        "Value": value,
    }
    return {
        "TrainingJobDefinitionName": definition.name,
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "TuningJobName": found.name,
        "CreationTime": job.created,
        "TrainingStartTime": job.body.get("TrainingStartTime"),
        "TrainingEndTime": job.body.get("TrainingEndTime"),
        "TrainingJobStatus": job.status,
        "TunedHyperParameters": job.body["TunedHyperParameters"],
        "FailureReason": job.body.get("FailureReason"),
        "FinalHyperParameterTuningJobObjectiveMetric": None if value is None else metric,
        "ObjectiveStatus": "Pending" if pending else "Failed" if value is None else "Succeeded",
    }
