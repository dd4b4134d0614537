"""When a monitoring schedule is due, and which hours of captured data an execution looks at. All times are UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localaws.coverage import Behaviour
from localaws.errors import ValidationException

NOW = "NOW"
HOUR = 3600
DAY = 24 * HOUR
CRON = re.compile(r"cron\(0 (?:(?P<every_hour>\*)|(?P<first>\d{1,2})(?:/(?P<every>\d{1,2}))?) \? \* \* \*\)")
DURATION = re.compile(r"(?P<sign>-?)P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+)S)?)?")
SCHEDULE_PAGE = "developer guide, The cron expression for monitoring schedule"
BEHAVIOURS = (
    Behaviour("schedules: hourly, daily, every N hours from an hour on, or NOW", "documented", SCHEDULE_PAGE),
    Behaviour("an execution starts on the minute; AWS lets up to 20 minutes pass", "documented", SCHEDULE_PAGE),
    Behaviour("without a ScheduleConfig: daily at midnight; AWS picks the hour", "documented", "ScheduleConfig"),
    Behaviour("an execution looks at the period since the scheduled time before it", "assumed"),
    Behaviour(
        "StartTimeOffset and EndTimeOffset count from the scheduled time",
        "documented",
        "developer guide, Schedule model quality monitoring jobs",
    ),
    Behaviour("every N hours: where N does not divide 24, the hours go on over midnight", "assumed"),
)


@dataclass(frozen=True)
class Recurrence:
    """Every `every` hours, at hours of the day that include `first`."""

    first: int
    every: int

    def latest(self, at: float) -> float:
        """The last due time that is not after `at`."""
        hour = int(at // HOUR)
        return float((hour - (hour - self.first) % self.every) * HOUR)

    def following(self, at: float) -> float:
        """The first due time after `at`."""
        return self.latest(at) + self.every * HOUR

    @property
    def period(self) -> float:
        """Seconds from one due time to the next."""
        return float(self.every * HOUR)


DAILY = Recurrence(0, 24)


def recurrence(config: Mapping[str, Any]) -> Recurrence | None:
    """What a MonitoringScheduleConfig asks for; None for NOW. ValidationException for any other expression."""
    if "ScheduleConfig" not in config:
        return DAILY
    text = config["ScheduleConfig"]["ScheduleExpression"]
    if text == NOW:
        return None
    match = CRON.fullmatch(text)
    first = int(match["first"] or 0) if match else 24
    every = (1 if match["every_hour"] else int(match["every"] or 24)) if match else 0
    if first > 23 or not 1 <= every <= 24:
        raise ValidationException(
            f"ScheduleExpression {text!r} is not supported: use cron(0 * ? * * *), cron(0 [00-23] ? * * *), "
            f"cron(0 [00-23]/[01-24] ? * * *) or {NOW}"
        )
    return Recurrence(first, every)


def seconds(duration: str, member: str) -> float:
    """An ISO 8601 duration of days and smaller units, such as -PT1H; ValidationException naming the member."""
    match = DURATION.fullmatch(duration)
    if match is None or duration.endswith(("P", "T")):
        raise ValidationException(f"{member} {duration!r} is no ISO 8601 duration such as -PT1H or -P1D")
    parts = (("d", DAY), ("h", HOUR), ("m", 60), ("s", 1))
    total = sum(int(match[unit] or 0) * size for unit, size in parts)
    if total and not match["sign"]:
        raise ValidationException(f"{member} {duration!r} lies after the scheduled time: give a negative duration")
    return -float(total)


@dataclass(frozen=True)
class ExecutionWindow:
    """The data of one execution: from `start` up to, not including, `end`, in epoch seconds."""

    start: float
    end: float

    def hours(self) -> Iterator[datetime]:
        """The hours that the window touches."""
        hour = self.start // HOUR * HOUR
        while hour < self.end:
            yield datetime.fromtimestamp(hour, UTC)
            hour += HOUR


def window(config: Mapping[str, Any], source: Mapping[str, Any], scheduled: float) -> ExecutionWindow:
    """The window of an execution: by the schedule's analysis times, else the input's offsets, else the last period.

    Raises ValidationException for times that make no window.
    """
    period = recurrence(config)
    analysis = config.get("ScheduleConfig", {})
    start, end = analysis.get("DataAnalysisStartTime"), analysis.get("DataAnalysisEndTime")
    if period is None and (start is None or end is None):
        raise ValidationException(
            f"DataAnalysisStartTime and DataAnalysisEndTime are required with the ScheduleExpression {NOW}"
        )
    first = seconds(start, "DataAnalysisStartTime") if start else None
    last = seconds(end, "DataAnalysisEndTime") if end else None
    if first is None and (offset := source.get("StartTimeOffset")):
        first = seconds(offset, "StartTimeOffset")
    if last is None and (offset := source.get("EndTimeOffset")):
        last = seconds(offset, "EndTimeOffset")
    if first is None:
        first = -(period.period if period else DAY)
    found = ExecutionWindow(scheduled + first, scheduled + (last or 0.0))
    if found.end <= found.start:
        raise ValidationException(f"The analysis would end {-(last or 0.0):g} s before the schedule, but begin later")
    if (start or end) and found.end - found.start > DAY:
        raise ValidationException("DataAnalysisEndTime follows DataAnalysisStartTime by more than 24 hours")
    return found


def stamp(moment: float) -> str:
    """A time as the containers are given it, e.g. 2019-12-01T15:20:00Z."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def hour_path(moment: datetime) -> str:
    """yyyy/mm/dd/hh."""
    return moment.strftime("%Y/%m/%d/%H")
