"""Training jobs: the operations; `jobs.training_request` makes them, `jobs.training` runs them."""

from __future__ import annotations

from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import training, training_request, warmpool
from localaws.jobs.job_records import JobRecords
from localaws.jobs.outcome import RESTART_REASON, AttemptOutcome, JobError
from localaws.jobs.training_steps import KIND, finish
from localaws.kinds import TRAINING_JOB
from localaws.listing import list_page
from localaws.member_checks import refuse, require
from localaws.registry import on_start, operation
from localaws.states import JOB_TRANSITIONS
from localaws.store import StoredResource
from localaws.store_query import Query

UNSUPPORTED = training_request.REFUSED
ECHOED: tuple[str, ...] = (
    "RoleArn",
    "VpcConfig",
    "EnableInterContainerTrafficEncryption",
    "OutputDataConfig.KmsKeyId",
    "ResourceConfig.VolumeSizeInGB",
    "ResourceConfig.VolumeKmsKeyId",
    "StoppingCondition.MaxPendingTimeInSeconds",
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries",
    "AlgorithmSpecification.TrainingImageConfig.TrainingRepositoryAccessMode",
    "ExperimentConfig",
    "ProfilerConfig",
    "InfraCheckConfig",
)
BEHAVIOURS = (
    Behaviour(
        "after a restart: a job that ran is Failed with InternalServerError, one that waited goes on, one that was "
        "being stopped is Stopped, one with retries left is tried again",
        "assumed",
    ),
    Behaviour("an ExperimentConfig is kept, no trial component is made", "assumed"),
)  # fmt: skip
JOBS = JobRecords(TRAINING_JOB, "Requested resource not found: training job {name}", JOB_TRANSITIONS, training.stop)


@operation("CreateTrainingJob")
def create_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Accept a job and put it into the schedule."""
    return {"TrainingJobArn": training_request.create(ctx, request)}


@operation("DescribeTrainingJob")
def describe_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Everything about one job."""
    warmpool.expire(ctx)
    found = JOBS.find(ctx, request["TrainingJobName"])
    return {
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        **found.body,
        **TRAINING_JOB.head(found),
    }


def _summary(found: StoredResource) -> dict[str, Any]:
    return {
        **TRAINING_JOB.head(found),
        "SecondaryStatus": found.body["SecondaryStatus"],
        "TrainingEndTime": found.body.get("TrainingEndTime"),
        "WarmPoolStatus": found.body.get(warmpool.SHOWN),
    }


@operation("ListTrainingJobs")
def list_training_jobs(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Summaries, oldest first unless asked otherwise."""
    refuse(request, "TrainingPlanArnEquals")
    warmpool.expire(ctx)
    wanted = request.get("WarmPoolStatusEquals")
    jobs = ctx.store.list(KIND) if wanted is None else ctx.store.find(KIND, Query(where={warmpool.STATE: wanted}))
    # AWS reads MaxResults jobs of any status and then filters them (ListTrainingJobs): pages may be short, or empty.
    status = request.get("StatusEquals") if ctx.profile.page is not None else None
    page = list_page(
        jobs, request, TRAINING_JOB.summaries, _summary, status_key="StatusEquals" if status is None else ""
    )
    if status is not None:
        shown = page[TRAINING_JOB.summaries]
        page[TRAINING_JOB.summaries] = [each for each in shown if each[TRAINING_JOB.status_member] == status]
    return page


@operation("UpdateTrainingJob")
def update_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Change how long a job's warm pool is kept; nothing else can be changed here."""
    refuse(request, "ProfilerConfig", "ProfilerRuleConfigurations", "RemoteDebugConfig")
    found = JOBS.find(ctx, request["TrainingJobName"])
    require(request, "ResourceConfig")
    warmpool.update(ctx, found, request["ResourceConfig"]["KeepAlivePeriodInSeconds"])
    return {"TrainingJobArn": found.arn}


@operation("StopTrainingJob")
def stop_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a job to end (SIGTERM, then SIGKILL); what it has saved is uploaded."""
    JOBS.stop(ctx, request["TrainingJobName"])
    return {}


@operation("DeleteTrainingJob")
def delete_training_job(ctx: Context, request: dict[str, Any]) -> dict[str, Any]:
    """Remove the record of a job that has ended; its model stays in S3."""
    JOBS.delete(ctx, request["TrainingJobName"])
    warmpool.forget(ctx, request["TrainingJobName"])
    return {}


@on_start
def bring_back(ctx: Context) -> None:
    """Jobs that had not begun are put into the schedule again, or are stopped; those that ran have failed."""
    for found in JOBS.unfinished(ctx):
        warmpool.lost(ctx, found.name)
        if found.status == "Stopping":
            finish(ctx, found.name, AttemptOutcome("stopped", "Stopped"))
            continue
        waiting = found.body["SecondaryStatus"] == "Starting"
        outcome = AttemptOutcome("fail", "Failed", RESTART_REASON)
        if waiting or training.retries_left(found.body):
            try:
                training_request.check(ctx, found.body)
            except ValidationException as error:  # an image that was there when the job was accepted
                outcome = AttemptOutcome("fail", "Failed", str(JobError("ClientError", error.message)))
            else:
                if not waiting:
                    training.begin_again(ctx, found.name)
                training.submit(ctx, found.name)
                continue
        finish(ctx, found.name, outcome)
