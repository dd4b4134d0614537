"""What sensors observe: one look at a job, an endpoint, a package, captured traffic or a monitoring execution.

A look is a plain function of the AWS clients and a few arguments. The triggerer calls it again and again; where there
is no triggerer a worker does. A look never creates, changes or stops anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sagewind import capture, endings, endpoints, job_records, tags
from sagewind.aws import AwsClients, look
from sagewind.facts.kinds import KINDS, KindName
from sagewind.facts.tags import STOP

WaitVerdict = Literal["waiting", "good", "bad"]


@dataclass(frozen=True)
class Seen:
    """One look: whether to go on waiting, a line for the log, and the record that the task returns at its end."""

    verdict: WaitVerdict
    line: str
    record: dict[str, Any] | None = None


def job(aws: AwsClients, *, kind: KindName, job_name: str) -> Seen:
    """A job that another task, run or system started: good only if it is `Completed`."""
    found = look(aws, KINDS[kind], job_name)
    if found is None:
        return Seen("bad", f"{kind} job {job_name} does not exist")
    if not job_records.ended(KINDS[kind], found):
        return Seen("waiting", f"{kind} job {job_name}: {job_records.progress(KINDS[kind], found)}")
    return job_ended(aws, kind, found)


def job_ended(aws: AwsClients, kind: KindName, found: dict[str, Any]) -> Seen:
    """The end of a job from its description."""
    found = job_records.with_cause(aws, KINDS[kind], found)
    record = job_records.record(aws, KINDS[kind], found, 0)
    if record["status"] == "Completed":
        return Seen("good", f"{kind} job {record['name']} is Completed", record)
    ending = endings.classify(KINDS[kind], found, tags.read(aws, record["arn"]).get(STOP))
    return Seen("bad", ending.sentence, {**record, "cause": ending.cause.value})


def endpoint(aws: AwsClients, *, endpoint: str, config: str) -> Seen:
    """An endpoint: good only if it is in service with this config."""
    verdict, sentence = endpoints.judge(endpoints.look(aws, endpoint), endpoint, config)
    if verdict == "serving":
        return Seen("good", sentence, {"name": endpoint, "status": "InService", "config": config})
    return Seen("waiting" if verdict == "changing" else "bad", sentence)


def approval(aws: AwsClients, *, package_arn: str) -> Seen:
    """A person's word on a model package."""
    found = aws.client("sagemaker").describe_model_package(ModelPackageName=package_arn)
    status, remark = found["ModelApprovalStatus"], found.get("ApprovalDescription", "")
    record = {"arn": package_arn, "status": status, "remark": remark}
    if status == "Approved":
        return Seen("good", f"model package {package_arn} is approved", record)
    if status == "Rejected":
        return Seen("bad", f"model package {package_arn} was rejected: {remark or 'no remark'}", record)
    return Seen("waiting", f"waiting for the approval of {package_arn}", record)


def captured(aws: AwsClients, *, folder: str, requests: int) -> Seen:
    """Captured traffic, which the service writes with a delay: good once there is enough."""
    found = capture.count_requests(aws, folder)
    record = {"requests": found, "folder": folder}
    line = f"{found} captured requests below {folder}, {requests} are needed"
    return Seen("good" if found >= requests else "waiting", line, record)


def monitoring_execution(aws: AwsClients, *, schedule: str, after: str) -> Seen:
    """The newest execution of a monitoring schedule that was due at or after `after` (ISO time, empty for any).

    `CompletedWithViolations` is good: the check did what it is for, the record says what it found. The provider has no
    such sensor.
    """
    filters = {"ScheduledTimeAfter": after} if after else {}
    page = aws.client("sagemaker").list_monitoring_executions(
        MonitoringScheduleName=schedule, SortBy="ScheduledTime", SortOrder="Descending", MaxResults=1, **filters
    )
    if not page["MonitoringExecutionSummaries"]:
        return Seen("waiting", f"monitoring schedule {schedule} has had no execution yet")
    found = page["MonitoringExecutionSummaries"][0]
    status = found["MonitoringExecutionStatus"]
    record = {
        "schedule": schedule,
        "status": status,
        "scheduled": found["ScheduledTime"].isoformat(),
        "job": found.get("ProcessingJobArn"),
        "reason": found.get("FailureReason"),
    }
    line = f"monitoring execution of {schedule} due at {record['scheduled']} is {status}"
    if status in ("Completed", "CompletedWithViolations"):
        return Seen("good", line, record)
    if status in ("Failed", "Stopped"):
        return Seen("bad", f"{line}: {record['reason'] or 'no reason given'}", record)
    return Seen("waiting", line, record)


#: What a trigger is given by name: functions do not survive its serialization.
WATCHES: Mapping[str, Callable[..., Seen]] = {
    "job": job,
    "endpoint": endpoint,
    "approval": approval,
    "captured": captured,
    "monitoring_execution": monitoring_execution,
}
