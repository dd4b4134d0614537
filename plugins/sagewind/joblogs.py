"""A job's log in CloudWatch: its last lines at the end, or what is new while it runs, under one rate budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sagewind.aws import AwsClients, is_missing
from sagewind.budget import LOGS
from sagewind.facts.kinds import JobApi

#: Lines that are shown of a job that went well, and of one that did not.
GOOD_LINES, BAD_LINES = 5, 50
#: Log events that one look takes at most of each stream.
_AT_ONCE = 1000


def tail(aws: AwsClients, kind: JobApi, name: str, lines: int = BAD_LINES) -> list[str]:
    """The last log lines of the job, oldest first; empty if it wrote none.

    A log that cannot be read (a role without CloudWatch, throttling) is one line that says so: how a job ended does not
    depend on its log.
    """
    from botocore.exceptions import ClientError

    try:
        return _tail(aws, kind, name, lines)
    except ClientError as error:
        return [f"its log could not be read: {error}"]


def _tail(aws: AwsClients, kind: JobApi, name: str, lines: int) -> list[str]:
    logs, found = aws.client("logs"), []
    for stream in _streams(aws, kind, name):
        events = logs.get_log_events(
            logGroupName=kind.log_group, logStreamName=stream, startFromHead=False, limit=lines
        )
        found += [(event["timestamp"], event["message"]) for event in events["events"]]
    # Stable, so lines of one host with the same time stay in their order.
    return [message for _, message in sorted(found, key=lambda item: item[0])][-lines:]


def _streams(aws: AwsClients, kind: JobApi, name: str) -> list[str]:
    from botocore.exceptions import ClientError

    try:
        found = aws.client("logs").describe_log_streams(logGroupName=kind.log_group, logStreamNamePrefix=f"{name}/")
    except ClientError as error:
        if is_missing(error):
            return []
        raise
    return [stream["logStreamName"] for stream in found["logStreams"]]


def last_words(aws: AwsClients, kind: JobApi, record: dict[str, Any], lines: int = GOOD_LINES) -> list[str]:
    """What a job that went well leaves in its task's log: what is billed, where its log is, its last lines.

    When many jobs end at once the lines are left out (the log says where they are): a wait must not be longer for them.
    """
    name = record["name"]
    seconds = record["billable_seconds"]
    billed = "" if seconds is None else f", {seconds:g} billable seconds"
    words = [f"{kind.name} job {name} is {record['status']}{billed}; its log: {kind.log_group}, streams {name}/"]
    if lines and LOGS.take(2):
        words += [f"[{name}] {line}" for line in tail(aws, kind, name, lines)]
    return words


@dataclass
class Tail:
    """Where reading a job's streams has come to: stream -> token of the next events."""

    tokens: dict[str, str] = field(default_factory=dict)


def fresh(aws: AwsClients, kind: JobApi, name: str, seen: Tail) -> list[str]:
    """Lines that the job has written since the last look; none if the budget is used up (the next look has them)."""
    if not LOGS.take(1):
        return []
    lines = []
    for stream in _streams(aws, kind, name):
        if not LOGS.take(1):
            break
        token = {"nextToken": seen.tokens[stream]} if stream in seen.tokens else {}
        page = aws.client("logs").get_log_events(
            logGroupName=kind.log_group, logStreamName=stream, startFromHead=True, limit=_AT_ONCE, **token
        )
        seen.tokens[stream] = page["nextForwardToken"]
        lines += [f"[{name}] {event['message']}" for event in page["events"]]
    return lines
