"""What can be learnt and done about a job through the API: look, stop, log lines, the record that a task returns."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from sagewind import endings, tags
from sagewind.aws import AwsClients, look
from sagewind.facts.kinds import ENDED, KINDS, JobApi
from sagewind.facts.tags import HANDED, STOP

Description = dict[str, Any]
#: How the reason of a tuning job begins that had no good training.
_ALL_FAILED = "All training jobs failed"


def ended(kind: JobApi, description: Description) -> bool:
    """True if the job will not change any more."""
    return description[kind.status_field] in ENDED


def stop(aws: AwsClients, kind: JobApi, name: str, cause: str) -> bool:
    """Ask the service to stop the job; False if it had ended, is stopping already or is not there.

    `cause` is written on the job first, so that whoever finds it stopped knows that it was one of us, and why; it is
    taken away again if the service refuses to stop the job.
    """
    from botocore.exceptions import ClientError

    found = look(aws, kind, name)
    if found is None or ended(kind, found) or found[kind.status_field] == "Stopping":
        return False
    tags.write(aws, found[kind.arn_field], {STOP: cause})
    try:
        getattr(aws.client("sagemaker"), kind.stop)(**{kind.name_field: name})
    except ClientError:
        again = look(aws, kind, name)
        if again is None or ended(kind, again):
            return False
        if again[kind.status_field] != "Stopping":  # else the service had heard: only its answer was lost
            with suppress(ClientError):
                tags.remove(aws, found[kind.arn_field], STOP)
            raise
    return True


def progress(kind: JobApi, description: Description) -> str:
    """One line that changes whenever something about the job is worth telling."""
    status = str(description[kind.status_field])
    if kind.of_trainings:
        counters = description.get("TrainingJobStatusCounters", {})
        # A description holds the limits in its configuration, a summary of a list by themselves.
        limits = description.get("ResourceLimits") or description["HyperParameterTuningJobConfig"]["ResourceLimits"]
        total = limits["MaxNumberOfTrainingJobs"]
        best = description.get("BestTrainingJob", {}).get("FinalHyperParameterTuningJobObjectiveMetric")
        found = f", best {best['MetricName']} {best['Value']:.5g}" if best else ""
        return f"{status}: {counters.get('Completed', 0)} of {total} trainings done{found}"
    secondary = description.get("SecondaryStatus")
    return f"{status} ({secondary})" if secondary else status


def with_cause(aws: AwsClients, kind: JobApi, description: Description) -> Description:
    """The description of an ended job, with the reason that tells why it failed.

    A tuning job without a single good training says only that: why they failed stands with them. A reason that is the
    user's matter goes before one that is AWS's, so that no fault of the code is tried again.
    """
    if not kind.of_trainings or not str(description.get("FailureReason")).startswith(_ALL_FAILED):
        return description
    page = aws.client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=description[kind.name_field], StatusEquals="Failed", MaxResults=100
    )
    reasons = [str(item["FailureReason"]) for item in page["TrainingJobSummaries"] if item.get("FailureReason")]
    reasons.sort(key=lambda reason: endings.of_reason(reason) is not endings.EndingCause.USER_CODE)  # stable
    if not reasons:
        return description
    return {**description, "FailureReason": f"{reasons[0]} ({description['FailureReason']})"}


def hand_over(aws: AwsClients, record: dict[str, Any]) -> None:
    """Write on the job that its task has returned it: a clear from then on wants another one."""
    tags.write(aws, record["arn"], {HANDED: "yes"})


def record(aws: AwsClients, kind: JobApi, description: Description, generation: int) -> dict[str, Any]:
    """The small typed record of a job: plain JSON, no raw description.

    `seconds` is the running time and `billable_seconds` what is paid, both in seconds (None while unknown).
    """
    seconds = _seconds(description.get(kind.started_field), description.get(kind.ended_field))
    result: dict[str, Any] = {
        "kind": kind.name,
        "name": description[kind.name_field],
        "arn": description[kind.arn_field],
        "status": description[kind.status_field],
        "generation": generation,
        "seconds": seconds,
        "billable_seconds": description.get("BillableTimeInSeconds", seconds),
        "artifact": None,
        "outputs": kind.outputs(description),
        "metrics": {},
        # A job program's own sentence says more than "AlgorithmError, see the log"; other failures have none.
        "reason": description.get("ExitMessage") or description.get("FailureReason"),
    }
    if kind.of_trainings:
        _best_training(aws, result, description)
    else:
        _training(result, description)
    return result


def _training(result: dict[str, Any], description: Description) -> None:
    result["artifact"] = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
    for metric in description.get("FinalMetricDataList", []):
        result["metrics"][metric["MetricName"]] = float(metric["Value"])


def _best_training(aws: AwsClients, result: dict[str, Any], description: Description) -> None:
    best = description.get("BestTrainingJob")
    if not best:
        return
    training = KINDS["training"]
    name = best[training.name_field]
    _training(result, getattr(aws.client("sagemaker"), training.describe)(**{training.name_field: name}))
    result["best"] = {
        "name": name,
        "hyperparameters": dict(best.get("TunedHyperParameters", {})),
    }
    result["trainings"] = dict(description.get("TrainingJobStatusCounters", {}))
    consumed = description.get("ConsumedResources", {}).get("RuntimeInSeconds")
    if consumed is not None:
        result["billable_seconds"] = consumed


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if start and end else None
