"""Hyperparameter tuning jobs: the operations; `tuning.tuning_run` runs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.jobs import training
from localaws.jobs.job_records import JobRecords
from localaws.kinds import TUNING_JOB
from localaws.listing import list_page
from localaws.member_checks import refuse, tag_map
from localaws.registry import on_start, operation
from localaws.resources import training_job
from localaws.store import StoredResource
from localaws.tuning import tuning_request, tuning_run
from localaws.tuning import warm_start as tuning_warm
from localaws.tuning.trials import Trials, best, not_improving, summary
from localaws.tuning.tuning_request import PASSED_ON
from localaws.tuning.tuning_run import KIND, TRANSITIONS

JOBS = JobRecords(
    TUNING_JOB, "Requested resource not found: hyperparameter tuning job {name}", TRANSITIONS, tuning_run.stop
)
_DEFINITIONS = ("TrainingJobDefinition", "TrainingJobDefinitions")
_NOT_THERE = "AlgorithmSpecification.TrainingImageConfig", "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries"


def _of_trainings(members: Iterable[str]) -> tuple[str, ...]:
    """Members of CreateTrainingJob, as far as training definitions have them, as members of this request."""
    known = [m for m in members if m.split(".")[0] in PASSED_ON and not m.startswith(_NOT_THERE)]
    return tuple(f"{definition}.{member}" for definition in _DEFINITIONS for member in known)


UNSUPPORTED = (
    "Autotune",
    "HyperParameterTuningJobConfig.ParameterRanges.AutoParameters",
    *(f"{definition}.HyperParameterRanges.AutoParameters" for definition in _DEFINITIONS),
    *_of_trainings(training_job.UNSUPPORTED),
)
ECHOED = (
    *(f"{definition}.HyperParameterTuningResourceConfig.AllocationStrategy" for definition in _DEFINITIONS),
    *_of_trainings(training_job.ECHOED),
)
BEHAVIOURS = (
    Behaviour("deleting a tuning job leaves its training jobs", "assumed"),
    Behaviour(
        "sorted by FinalObjectiveMetricValue, training jobs without an objective are not listed",
        "documented",
        "API reference, ListTrainingJobsForHyperParameterTuningJob, SortBy",
    ),
    Behaviour("a training job that failed by an internal error is counted as RetryableError", "assumed"),
)


@operation("CreateHyperParameterTuningJob")
def create_tuning_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Accept a tuning job and let it begin."""
    refuse(request, *UNSUPPORTED)
    definitions, total = tuning_request.check(ctx, request)
    tuning_warm.check(ctx, request, definitions, KIND, TRANSITIONS.terminal)
    name = request["HyperParameterTuningJobName"]
    arn = ctx.config.arn(KIND, name)
    body = {k: v for k, v in request.items() if k != "Tags"} | {"TotalJobs": total}
    ctx.store.insert(KIND, name, arn, "InProgress", body, tag_map(request))
    tuning_run.submit(ctx, name)
    return {"HyperParameterTuningJobArn": arn}


def _counters(trials: Trials) -> dict[str, Any]:
    """How many training jobs are where; a job that failed by this endpoint's fault could be tried again."""
    status = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
    results = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for job in trials.jobs:
        pending = job.status not in training.TRANSITIONS.terminal
        if job.status == "Failed":
            internal = job.body.get("FailureReason", "").startswith("InternalServerError")
            status["RetryableError" if internal else "NonRetryableError"] += 1
        else:
            status["InProgress" if pending else job.status] += 1
        value = trials.value(job)
        results["Pending" if pending else "Failed" if value is None else "Succeeded"] += 1
    return {"TrainingJobStatusCounters": status, "ObjectiveStatusCounters": results}


def _common(found: StoredResource, trials: Trials) -> dict[str, Any]:
    return {
        **TUNING_JOB.head(found),
        "HyperParameterTuningEndTime": found.body.get("HyperParameterTuningEndTime"),
        **_counters(trials),
    }


@operation("DescribeHyperParameterTuningJob")
def describe_tuning_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one tuning job, with the best training job so far."""
    found = JOBS.find(ctx, request["HyperParameterTuningJobName"])
    trials = Trials(ctx, found)
    top = trials.best()
    details = {
        "NumberOfTrainingJobsObjectiveNotImproving": not_improving(
            trials.definitions[0].objective, trials.ended_values()
        ),
        "ConvergenceDetectedTime": found.body.get("ConvergenceDetectedTime"),
    }
    return {
        **found.body,
        **_common(found, trials),
        "BestTrainingJob": None if top is None else summary(found, trials, top),
        "OverallBestTrainingJob": _overall_best(ctx, found, trials),
        "TuningJobCompletionDetails": {key: value for key, value in details.items() if value is not None},
    }


def _overall_best(ctx: Context, found: StoredResource, trials: Trials) -> dict[str, Any] | None:
    """The best training job of a tuning job and of those it was warm started from on identical data."""
    if found.body.get("WarmStartConfig", {}).get("WarmStartType") != "IdenticalDataAndAlgorithm":
        return None
    families = [(found, trials), *((p, Trials(ctx, p)) for p in tuning_warm.parents(ctx, found.body, KIND))]
    owners = {job.arn: (owner, family) for owner, family in families for job in family.jobs}
    valued = [(job, v) for _, family in families for job in family.jobs if (v := family.value(job)) is not None]
    top = best(trials.definitions[0].objective, valued)
    return None if top is None else summary(*owners[top.arn], top)


@operation("ListHyperParameterTuningJobs")
def list_tuning_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries, oldest first unless asked otherwise."""

    def summary(found: StoredResource) -> dict[str, Any]:
        config = found.body["HyperParameterTuningJobConfig"]
        return {
            **_common(found, Trials(ctx, found)),
            "Strategy": config["Strategy"],
            "ResourceLimits": config["ResourceLimits"],
        }

    return list_page(ctx.store.list(KIND), request, TUNING_JOB.summaries, summary, default_sort="Name")


@operation("ListTrainingJobsForHyperParameterTuningJob")
def list_training_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The training jobs of a tuning job; sorted by objective, those without one are left out, as in AWS."""
    found = JOBS.find(ctx, request["HyperParameterTuningJobName"])
    trials = Trials(ctx, found)
    jobs = trials.jobs
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        valued = [(job, trials.value(job)) for job in jobs]
        jobs = [
            replace(job, body=job.body | {"FinalObjectiveMetricValue": value})
            for job, value in valued
            if value is not None
        ]
    return list_page(
        jobs, request, "TrainingJobSummaries", lambda job: summary(found, trials, job), default_sort="Name"
    )


@operation("StopHyperParameterTuningJob")
def stop_tuning_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Stop all training jobs of a tuning job and begin no more."""
    JOBS.stop(ctx, request["HyperParameterTuningJobName"])
    return {}


@operation("DeleteHyperParameterTuningJob")
def delete_tuning_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the record of a tuning job that has ended; its training jobs stay."""
    JOBS.delete(ctx, request["HyperParameterTuningJobName"])
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Tuning jobs go on where they were; that of their training jobs which ran has failed, see `training_job`.

    This hook runs after that of training jobs, because this module imports that one.
    """
    for found in JOBS.unfinished(ctx):
        tuning_run.submit(ctx, found.name)
        if found.status == "Stopping":
            ctx.jobs.stop(KIND, found.name)
