"""Hyperparameter tuning jobs: the operations; `tuning` runs them, `search` chooses what is tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from include.localaws import training, tuning
from include.localaws.context import Context
from include.localaws.errors import ResourceInUse, ResourceNotFound, ValidationException
from include.localaws.execution import refuse, tag_map
from include.localaws.listing import list_page
from include.localaws.metrics import definitions
from include.localaws.registry import on_start, operation
from include.localaws.resources import training_job
from include.localaws.search import Range, grid_size, read_ranges
from include.localaws.store import Resource
from include.localaws.tuning import KIND, TRANSITIONS, Objective

UNSUPPORTED = (
    "WarmStartConfig",
    "Autotune",
    "TrainingJobDefinitions",
    "HyperParameterTuningJobConfig.StrategyConfig",
    "TrainingJobDefinition.DefinitionName",
    "TrainingJobDefinition.HyperParameterRanges",
    "TrainingJobDefinition.HyperParameterTuningResourceConfig.InstanceConfigs",
    "TrainingJobDefinition.HyperParameterTuningResourceConfig.AllocationStrategy",
)
TUNED_FOR = "_tuning_objective_metric"  # by which AWS tells a built-in algorithm what to measure


@operation("CreateHyperParameterTuningJob")
def create_tuning_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Accept a tuning job and let it begin."""
    total = _check(ctx, request)
    name = request["HyperParameterTuningJobName"]
    arn = ctx.config.arn(KIND, name)
    body = {k: v for k, v in request.items() if k != "Tags"} | {"TotalJobs": total}
    ctx.store.insert(KIND, name, arn, "InProgress", body, tag_map(request))
    tuning.submit(ctx, name)
    return {"HyperParameterTuningJobArn": arn}


def _check(ctx: Context, request: dict[str, Any]) -> int:
    """Raise ValidationException, or return how many training jobs there will be; completes the definition."""
    refuse(request, *UNSUPPORTED)
    config = request["HyperParameterTuningJobConfig"]
    definition = request.get("TrainingJobDefinition")
    if definition is None:
        raise ValidationException("TrainingJobDefinition is required")
    if "HyperParameterTuningJobObjective" not in config and "TuningObjective" not in definition:
        raise ValidationException("HyperParameterTuningJobConfig.HyperParameterTuningJobObjective is required")
    if config.get("TrainingJobEarlyStoppingType", "Off") != "Off":
        raise ValidationException("TrainingJobEarlyStoppingType Auto is not supported here, use Off")
    convergence = config.get("TuningJobCompletionCriteria", {}).get("ConvergenceDetected", {})
    if convergence.get("CompleteOnConvergence", "Disabled") != "Disabled":
        raise ValidationException("CompleteOnConvergence Enabled is not supported here, use Disabled")
    ranges = read_ranges(config.get("ParameterRanges", {}))
    static = definition.get("StaticHyperParameters", {})
    if both := [r.name for r in ranges if r.name in static]:
        raise ValidationException(f"Hyperparameter '{both[0]}' is both static and tuned")
    total = _total(config, ranges)
    sample = tuning.child_request(request, f"{request['HyperParameterTuningJobName']}-001-00000000", {})
    training_job.check(ctx, sample)
    _check_objective(ctx, request, definition)
    return total


def _total(config: dict[str, Any], ranges: tuple[Range, ...]) -> int:
    strategy = config["Strategy"]
    wanted: int | None = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if strategy == "Hyperband":
        raise ValidationException("Strategy Hyperband is not supported here, use Bayesian, Random or Grid")
    if strategy == "Grid":
        size = grid_size(ranges)
        if wanted not in (None, size):
            raise ValidationException(
                f"MaxNumberOfTrainingJobs is {wanted}, but the grid has {size} combinations: leave it out"
            )
        return size
    if wanted is None:
        raise ValidationException(f"ResourceLimits.MaxNumberOfTrainingJobs is required for strategy {strategy}")
    return wanted


def _check_objective(ctx: Context, request: dict[str, Any], definition: dict[str, Any]) -> None:
    """The objective must be a metric that is read from the log; a built-in algorithm is told to measure it."""
    metric = Objective.of(request).metric
    algorithm = definition["AlgorithmSpecification"]
    image = ctx.images.resolve(algorithm["TrainingImage"])
    known = [d.name for d in definitions(algorithm.get("MetricDefinitions", ()), image.metrics)]
    if metric not in known:
        raise ValidationException(
            f"The objective metric '{metric}' is not defined; metrics of this algorithm: {', '.join(known) or 'none'}"
        )
    if image.metrics:
        definition["StaticHyperParameters"] = {TUNED_FOR: metric, **definition.get("StaticHyperParameters", {})}


def _find(ctx: Context, name: str) -> Resource:
    found = ctx.store.get(KIND, name)
    if found is None:
        # The Airflow provider takes exactly this code as "there is none"; the model lists ResourceNotFound too.
        raise ValidationException(f"Requested resource not found: hyperparameter tuning job {name}")
    return found


def _child_summary(found: Resource, objective: Objective, child: Resource) -> dict[str, Any]:
    value = objective.value(child)
    pending = child.status not in training.TRANSITIONS.terminal
    metric = {
        "Type": "Maximize" if objective.maximize else "Minimize",
        "MetricName": objective.metric,
        "Value": value,
    }
    return {
        "TrainingJobName": child.name,
        "TrainingJobArn": child.arn,
        "TuningJobName": found.name,
        "CreationTime": child.created,
        "TrainingStartTime": child.body.get("TrainingStartTime"),
        "TrainingEndTime": child.body.get("TrainingEndTime"),
        "TrainingJobStatus": child.status,
        "TunedHyperParameters": child.body["TunedHyperParameters"],
        "FailureReason": child.body.get("FailureReason"),
        "FinalHyperParameterTuningJobObjectiveMetric": None if value is None else metric,
        "ObjectiveStatus": "Pending" if pending else "Failed" if value is None else "Succeeded",
    }


def _counters(objective: Objective, jobs: list[Resource]) -> dict[str, Any]:
    """How many training jobs are where; a job that failed by this endpoint's fault could be tried again."""
    status = dict.fromkeys(("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped"), 0)
    results = dict.fromkeys(("Succeeded", "Pending", "Failed"), 0)
    for job in jobs:
        pending = job.status not in training.TRANSITIONS.terminal
        if job.status == "Failed":
            internal = job.body.get("FailureReason", "").startswith("InternalServerError")
            status["RetryableError" if internal else "NonRetryableError"] += 1
        else:
            status["InProgress" if pending else job.status] += 1
        value = objective.value(job)
        results["Pending" if pending else "Failed" if value is None else "Succeeded"] += 1
    return {"TrainingJobStatusCounters": status, "ObjectiveStatusCounters": results}


def _common(ctx: Context, found: Resource) -> dict[str, Any]:
    return {
        "HyperParameterTuningJobName": found.name,
        "HyperParameterTuningJobArn": found.arn,
        "HyperParameterTuningJobStatus": found.status,
        "CreationTime": found.created,
        "LastModifiedTime": found.modified,
        "HyperParameterTuningEndTime": found.body.get("HyperParameterTuningEndTime"),
        **_counters(Objective.of(found.body), tuning.children(ctx, found.arn)),
    }


@operation("DescribeHyperParameterTuningJob")
def describe_tuning_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one tuning job, with the best training job so far."""
    found = _find(ctx, request["HyperParameterTuningJobName"])
    objective = Objective.of(found.body)
    top = tuning.best(objective, tuning.children(ctx, found.arn))
    return {
        **found.body,
        **_common(ctx, found),
        "BestTrainingJob": None if top is None else _child_summary(found, objective, top),
    }


@operation("ListHyperParameterTuningJobs")
def list_tuning_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries, oldest first unless asked otherwise."""

    def summary(found: Resource) -> dict[str, Any]:
        config = found.body["HyperParameterTuningJobConfig"]
        return {
            **_common(ctx, found),
            "Strategy": config["Strategy"],
            "ResourceLimits": config["ResourceLimits"],
        }

    return list_page(ctx.store.list(KIND), request, "HyperParameterTuningJobSummaries", summary, default_sort="Name")


@operation("ListTrainingJobsForHyperParameterTuningJob")
def list_training_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """The training jobs of a tuning job; sorted by objective, those without one are left out, as in AWS."""
    found = _find(ctx, request["HyperParameterTuningJobName"])
    objective = Objective.of(found.body)
    jobs = tuning.children(ctx, found.arn)
    if request.get("SortBy") == "FinalObjectiveMetricValue":
        valued = [(job, objective.value(job)) for job in jobs]
        jobs = [
            replace(job, body=job.body | {"FinalObjectiveMetricValue": value})
            for job, value in valued
            if value is not None
        ]
    return list_page(
        jobs, request, "TrainingJobSummaries", lambda job: _child_summary(found, objective, job), default_sort="Name"
    )


@operation("StopHyperParameterTuningJob")
def stop_tuning_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Stop all training jobs of a tuning job and begin no more."""
    name = request["HyperParameterTuningJobName"]
    with ctx.store.exclusive():
        found = _find(ctx, name)
        if not TRANSITIONS.allows(found.status, "stop"):
            raise ValidationException(
                f"The request was rejected because the hyperparameter tuning job is in status {found.status}."
            )
        ctx.store.transition(KIND, name, TRANSITIONS, "stop")
    ctx.jobs.stop(KIND, name)
    return {}


@operation("DeleteHyperParameterTuningJob")
def delete_tuning_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the record of a tuning job that has ended; its training jobs stay."""
    name = request["HyperParameterTuningJobName"]
    with ctx.store.exclusive():
        found = ctx.store.get(KIND, name)
        if found is None:
            raise ResourceNotFound(f"Requested resource not found: hyperparameter tuning job {name}")
        if found.status not in TRANSITIONS.terminal:
            raise ResourceInUse(f"The hyperparameter tuning job {name} is in status {found.status}: stop it first")
        ctx.store.delete(KIND, name)
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Tuning jobs go on where they were; that of their training jobs which ran has failed, see `training_job`.

    This hook runs after that of training jobs, because this module imports that one.
    """
    for found in ctx.store.list(KIND):
        if found.status in TRANSITIONS.terminal:
            continue
        tuning.submit(ctx, found.name)
        if found.status == "Stopping":
            ctx.jobs.stop(KIND, found.name)
