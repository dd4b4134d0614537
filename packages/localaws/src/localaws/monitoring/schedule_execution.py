"""One execution of a monitoring schedule: the processing job that it starts, and what became of it."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from localaws import shapes
from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ApiError
from localaws.jobs import processing_request, s3data
from localaws.jobs.outcome import JobError
from localaws.kinds import MONITORING_SCHEDULE, PROCESSING_JOB
from localaws.monitoring.definition import MonitoringJob, captured_to, of_schedule
from localaws.monitoring.merge import merge, truth
from localaws.monitoring.times import DAY, ExecutionWindow, hour_path, recurrence, stamp, window
from localaws.s3.errors import S3Error
from localaws.store import StoredResource

log = logging.getLogger("localaws.monitoring")

KIND = "monitoring-execution"
PROCESSING = PROCESSING_JOB.word
NO_DATA = "Job inputs had no data"
VIOLATIONS = "constraint_violations.json"
MOST_INPUTS = 10  # of a processing job
BASELINE, CODE, CONFIG = "/opt/ml/processing/baseline", "/opt/ml/processing/code", "/opt/ml/processing/input/config"
ALIVE = ("Pending", "InProgress", "Stopping")
CONTRACT = "developer guide, Container Contract Inputs (model-monitor-byoc-contract-inputs)"
BEHAVIOURS = (
    Behaviour("environment of a monitoring job: dataset_source, start_time, end_time ...", "documented", CONTRACT),
    Behaviour(
        "input below LocalPath/endpoint/variant/yyyy/mm/dd/hh, perhaps more than asked for", "documented", CONTRACT
    ),
    Behaviour(
        "an execution without captured data: `Failed`, `Job inputs had no data`",
        "seen",
        "sagemaker-python-sdk issue 2634",
    ),
    Behaviour("its processing job is called model-monitoring-...", "seen", "reports to the sagemaker-python-sdk"),
    Behaviour(
        "`CompletedWithViolations` by the job's exit message, else by constraint_violations.json in its output",
        "assumed",
    ),
    Behaviour("reports are in `<output>/<endpoint>/<schedule>/yyyy/mm/dd/hh` of the scheduled time", "assumed"),
    Behaviour("local paths of baselines, scripts and configuration files", "assumed"),
    Behaviour("publish_cloudwatch_metrics is Enabled unless the request says otherwise", "documented", CONTRACT),
)


class NoData(Exception):
    """There is nothing captured in the window of an execution."""


@dataclass(frozen=True)
class ExecutionRun:
    """What one execution works with."""

    schedule: str
    monitor: MonitoringJob
    scheduled: float
    window: ExecutionWindow
    captured: str  # S3 URI below which the endpoint's data are captured

    @property
    def report(self) -> str:
        """S3 URI of this execution's reports."""
        hour = hour_path(datetime.fromtimestamp(self.scheduled, UTC))
        return s3data.join(self.monitor.output["S3Uri"], self.monitor.endpoint, self.schedule, hour)


def variants(ctx: Context, run: ExecutionRun) -> list[str]:
    """The variants that have captured anything, by the folders below the endpoint's."""
    bucket, prefix = s3data.split(s3data.join(run.captured, run.monitor.endpoint, ""))
    return sorted({key[len(prefix) :].split("/")[0] for key in ctx.s3.iter_keys(bucket, prefix)})


def _has_data(ctx: Context, uri: str) -> bool:
    bucket, prefix = s3data.split(s3data.join(uri, ""))
    return next(iter(ctx.s3.iter_keys(bucket, prefix)), None) is not None


def folders(ctx: Context, base: str, run: ExecutionRun, most: int) -> list[str]:
    """Endpoint/variant/hour below `base`, those with data in the window; days, or variants, where hours are too many.

    A processing job has at most ten inputs; that a job may be given more than its window is documented.
    """
    found = [
        (f"{run.monitor.endpoint}/{variant}", hour_path(hour))
        for variant in variants(ctx, run)
        for hour in run.window.hours()
        if _has_data(ctx, s3data.join(base, run.monitor.endpoint, variant, hour_path(hour)))
    ]
    for length in (13, 10, 7, 4):  # yyyy/mm/dd/hh, yyyy/mm/dd, yyyy/mm, yyyy
        cut = list(dict.fromkeys(f"{variant}/{hour[:length]}" for variant, hour in found))
        if len(cut) <= most:
            return cut
    return [run.monitor.endpoint]


def _merged(ctx: Context, run: ExecutionRun) -> str:
    """Merge ground truth into the captured data of the window; returns the S3 URI of what stands for the capture."""
    assert run.monitor.truth is not None
    labels = truth(ctx.s3, run.monitor.truth, run.window.hours())
    moment = hour_path(datetime.fromtimestamp(run.scheduled, UTC))
    target = s3data.join(run.monitor.output["S3Uri"], "merge", run.schedule, moment)  # nothing of other executions
    for variant in variants(ctx, run):
        for hour in run.window.hours():
            place = (run.monitor.endpoint, variant, hour_path(hour))
            merge(ctx.s3, s3data.join(run.captured, *place), labels, s3data.join(target, *place))
    return target


def _file_input(name: str, uri: str, folder: str) -> tuple[dict[str, Any], str]:
    """A processing input of one object, and the path at which the program finds it."""
    s3 = {"S3Uri": uri, "LocalPath": folder, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": s3}, str(PurePosixPath(folder, PurePosixPath(uri).name))


def _further_inputs(monitor: MonitoringJob) -> Iterator[tuple[dict[str, Any], str | None, str]]:
    """Inputs beside the data: the input, the variable that names its path (None: none does), and that path."""
    app = monitor.app
    for name, variable, uri, folder in (
        ("constraints", "baseline_constraints", monitor.constraints, f"{BASELINE}/constraints"),
        ("baseline", "baseline_statistics", monitor.statistics, f"{BASELINE}/stats"),
        ("pre_processor_script", "record_preprocessor_script", app.get("RecordPreprocessorSourceUri"),
         f"{CODE}/preprocessing"),
        ("post_processor_script", "post_analytics_processor_script", app.get("PostAnalyticsProcessorSourceUri"),
         f"{CODE}/postprocessing"),
        ("analysis_config", None, app.get("ConfigUri"), CONFIG),
    ):  # fmt: skip
        if uri is not None:
            given, path = _file_input(name, uri, folder)
            yield given, variable, path


def environment(run: ExecutionRun) -> dict[str, str]:
    """The variables of the container contract, without those of baseline and scripts."""
    kind = "sagemakerCaptureJson" if run.monitor.truth is None else "sagemakerMergeJson"
    return {
        "publish_cloudwatch_metrics": "Enabled",
        **run.monitor.attributes(),
        **run.monitor.environment,
        "dataset_format": json.dumps({kind: {"captureIndexNames": ["endpointInput", "endpointOutput"]}}),
        "dataset_source": run.monitor.source["LocalPath"],
        "output_path": run.monitor.output["LocalPath"],
        "start_time": stamp(run.window.start),
        "end_time": stamp(run.window.end),
        "metric_time": stamp(run.window.start),
        "sagemaker_endpoint_name": run.monitor.endpoint,
        "sagemaker_monitoring_schedule_name": run.schedule,
        "sagemaker_endpoint_datacapture_prefix": run.captured,
    }


def request_of(run: ExecutionRun, name: str, base: str, found: Sequence[str], limit: float) -> dict[str, Any]:
    """The CreateProcessingJob request of an execution; `found` are the folders with data below `base`."""
    monitor = run.monitor
    inputs: list[dict[str, Any]] = []
    for number, folder in enumerate(found, 1):
        s3 = {
            "S3Uri": s3data.join(base, folder, ""),
            "LocalPath": str(PurePosixPath(monitor.source["LocalPath"], folder)),
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
            "S3DataDistributionType": monitor.source.get("S3DataDistributionType", "FullyReplicated"),
        }
        inputs.append({"InputName": f"endpoint_input_{number}", "S3Input": s3})
    variables = environment(run)
    for given, variable, path in _further_inputs(monitor):
        inputs.append(given)
        if variable is not None:
            variables[variable] = path
    result = {
        "S3Uri": run.report,
        "LocalPath": monitor.output["LocalPath"],
        "S3UploadMode": monitor.output.get("S3UploadMode", "EndOfJob"),
    }
    outputs: dict[str, Any] = {"Outputs": [{"OutputName": "result", "S3Output": result}]}
    app = {k: monitor.app[k] for k in ("ImageUri", "ContainerEntrypoint", "ContainerArguments") if k in monitor.app}
    request = {
        "ProcessingJobName": name,
        "ProcessingInputs": inputs,
        "ProcessingOutputConfig": outputs | ({"KmsKeyId": monitor.key} if monitor.key else {}),
        "ProcessingResources": {"ClusterConfig": dict(monitor.cluster)},
        "StoppingCondition": {"MaxRuntimeInSeconds": int(monitor.limit or limit)},
        "AppSpecification": app,
        "Environment": variables,
        "RoleArn": monitor.role,
    }
    return request | ({"NetworkConfig": dict(monitor.network)} if monitor.network else {})


def start(ctx: Context, schedule: StoredResource, scheduled: float) -> StoredResource:
    """Begin an execution: its record, and its processing job unless there is nothing to look at.

    The record names the job before there is one: whatever the process's end leaves behind belongs together.
    """
    config = schedule.body["MonitoringScheduleConfig"]
    unique = uuid.uuid4().hex[:24]
    name = f"{schedule.name}/{unique}"
    moment = datetime.fromtimestamp(scheduled, UTC).strftime("%Y%m%d%H%M")
    body = {
        "job": f"model-monitoring-{moment}-{unique}",
        "MonitoringScheduleName": schedule.name,
        "ScheduledTime": scheduled,
        "EndpointName": schedule.body.get("EndpointName"),
        "MonitoringJobDefinitionName": config.get("MonitoringJobDefinitionName"),
        "MonitoringType": schedule.body.get("MonitoringType"),
    }
    ctx.store.insert(KIND, name, ctx.config.arn(KIND, name), "Pending", body)
    try:
        job = _start_job(ctx, schedule, scheduled, body["job"])
    except (ApiError, JobError, S3Error, NoData) as error:
        return ctx.store.update(KIND, name, status="Failed", FailureReason=str(error)[:1024])
    except Exception:
        log.exception("monitoring schedule %s: an execution could not be started", schedule.name)
        reason = "InternalServerError: the execution could not be started; the endpoint's log has the details"
        return ctx.store.update(KIND, name, status="Failed", FailureReason=reason)
    found = ctx.store.update(KIND, name, status="InProgress", ProcessingJobArn=job.arn)
    ticket = ctx.jobs.find(PROCESSING, job.name)
    if ticket is not None:
        ticket.when_ended(lambda: _settled(ctx, name))
    return settle(ctx, found)


def _settled(ctx: Context, name: str) -> None:
    found = ctx.store.get(KIND, name)
    if found is not None:
        settle(ctx, found)


def _start_job(ctx: Context, schedule: StoredResource, scheduled: float, name: str) -> StoredResource:
    config = schedule.body["MonitoringScheduleConfig"]
    monitor = of_schedule(ctx, config)
    run = ExecutionRun(
        schedule=schedule.name,
        monitor=monitor,
        scheduled=scheduled,
        window=window(config, monitor.source, scheduled),
        captured=captured_to(ctx, monitor.endpoint),
    )
    base = run.captured if monitor.truth is None else _merged(ctx, run)
    found = folders(ctx, base, run, MOST_INPUTS - len(list(_further_inputs(monitor))))
    if not found:
        raise NoData(NO_DATA)
    period = recurrence(config)
    request = request_of(run, name, base, found, min(period.period if period else DAY, DAY))
    model = shapes.operation_model("CreateProcessingJob")
    assert model is not None
    processing_request.create(ctx, shapes.validate(model.input_shape, request))
    return ctx.store.update(PROCESSING, name, MonitoringScheduleArn=schedule.arn)


def bring_back(ctx: Context) -> None:
    """Settle the executions that were being started when the process ended: with their job, or as failed.

    To be called while no other execution is being started.
    """
    for execution in ctx.store.list(KIND):
        if execution.status != "Pending":
            continue
        job = ctx.store.get(PROCESSING, execution.body.get("job", ""))
        if job is None:
            reason = "InternalServerError: the endpoint ended before the processing job of this execution was started"
            ctx.store.update(KIND, execution.name, status="Failed", FailureReason=reason)
            continue
        schedule = ctx.config.arn(MONITORING_SCHEDULE.word, execution.body["MonitoringScheduleName"])
        ctx.store.update(PROCESSING, job.name, MonitoringScheduleArn=schedule)
        settle(ctx, ctx.store.update(KIND, execution.name, status="InProgress", ProcessingJobArn=job.arn))


def settle(ctx: Context, execution: StoredResource) -> StoredResource:
    """The execution with the status that its processing job has now; none while it is being started."""
    if execution.status not in ALIVE or execution.status == "Pending":
        return execution
    job = ctx.store.get(PROCESSING, execution.body["job"])
    if job is None:
        reason = "The processing job of this execution was deleted"
        return ctx.store.update(KIND, execution.name, status="Failed", FailureReason=reason)
    status = job.status
    if status == "Completed" and violated(ctx, job):
        status = "CompletedWithViolations"
    if status == execution.status:
        return execution
    return ctx.store.update(KIND, execution.name, status=status, FailureReason=job.body.get("FailureReason"))


def violated(ctx: Context, job: StoredResource) -> bool:
    """Whether a completed job found violations: by what it said at its end, else by its report."""
    message = str(job.body.get("ExitMessage") or "")
    if message.startswith("Completed"):
        return message.startswith("CompletedWithViolations")
    for output in job.body["ProcessingOutputConfig"]["Outputs"]:
        uri = s3data.join(output["S3Output"]["S3Uri"], VIOLATIONS)
        try:
            with ctx.s3.open(*s3data.split(uri)) as handle:
                report: Mapping[str, Any] = json.load(handle)
        except S3Error:
            continue
        except ValueError:
            log.warning("%s is not valid JSON: the execution counts as without violations", uri)
            continue
        if report.get("violations"):
            return True
    return False


def summary(execution: StoredResource) -> dict[str, Any]:
    """A MonitoringExecutionSummary."""
    return {
        **execution.body,
        "CreationTime": execution.created,
        "LastModifiedTime": execution.modified,
        "MonitoringExecutionStatus": execution.status,
    }
