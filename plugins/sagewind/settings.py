"""What a user or a test may set about polling, pauses, retries and patience, as one table.

A setting stands in section `[sagewind]` of Airflow's configuration or in the environment as
`AIRFLOW__SAGEWIND__<NAME>`. It is read where it is used and never when a module is loaded; `check` reads all of them,
so that a wrong one is an import error of the DAG files and not of a task hours later.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sagewind.pipeline.errors import did_you_mean

SECTION = "sagewind"
PREFIX = f"AIRFLOW__{SECTION}__".upper()
_DAY = 86400.0
#: What Airflow itself takes for a truth value.
_WORDS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True)
class Number:
    """A setting that is a number; `lowest` may be another setting, than which it is not smaller.

    `read_by` says which of Airflow's processes must know it; "DAG files" are read by the dag-processor and by workers.
    """

    name: str
    default: float
    lowest: float | Number
    highest: float
    read_by: str
    meaning: str
    whole: bool = False

    def read(self) -> float:
        """The present value; ValueError with one sentence if it is not allowed."""
        text = _text(self.name)
        if text is None and not isinstance(self.lowest, Number):
            return self.default
        lowest = self.lowest.read() if isinstance(self.lowest, Number) else self.lowest
        try:
            value = self.default if text is None else float(text)
        except ValueError:
            value = float("nan")  # which lies in no range
        if not lowest <= value <= self.highest or (self.whole and value % 1):
            found = f"{self.default:g}, its default" if text is None else repr(text)
            raise ValueError(f"the setting [{SECTION}] {self.name} is {found}: write {self._wanted(lowest)}")
        return value

    def count(self) -> int:
        """The same where only whole numbers are allowed."""
        return int(self.read())

    def _wanted(self, lowest: float) -> str:
        named = f" ({self.lowest.name})" if isinstance(self.lowest, Number) else ""
        return f"a {'whole ' if self.whole else ''}number from {lowest:g}{named} to {self.highest:g}"

    @property
    def allowed(self) -> str:
        """What may be written, for the page of settings."""
        lowest = f"`{self.lowest.name}`" if isinstance(self.lowest, Number) else f"{self.lowest:g}"
        return f"{lowest} to {self.highest:g}{', whole' if self.whole else ''}"

    @property
    def shown(self) -> str:
        """The default, for the page of settings."""
        return f"{self.default:g}"


@dataclass(frozen=True)
class Switch:
    """A setting that is True or False."""

    name: str
    default: bool
    read_by: str
    meaning: str
    allowed = "True or False"

    def read(self) -> bool:
        """The present value; ValueError with one sentence if it is neither."""
        text = _text(self.name)
        if text is None:
            return self.default
        if text.lower() not in _WORDS:
            raise ValueError(f"the setting [{SECTION}] {self.name} is {text!r}: write {self.allowed}")
        return _WORDS[text.lower()]

    @property
    def shown(self) -> str:
        """The default, for the page of settings."""
        return str(self.default)


@dataclass(frozen=True)
class Folder:
    """A setting that is a folder which exists, by its whole path; not set unless it is written."""

    name: str
    read_by: str
    meaning: str
    allowed = "the whole path of a folder"
    default = None
    shown = ""

    def read(self) -> Path | None:
        """The folder, None if the setting is not written; ValueError with one sentence if there is no such folder."""
        text = _text(self.name)
        if not text:
            return None
        folder = Path(text)
        if not (folder.is_absolute() and folder.is_dir()):
            raise ValueError(f"the setting [{SECTION}] {self.name} is {text!r}: write {self.allowed} that is there")
        return folder


_FILES, _TRIGGERER, _WORKER = "DAG files", "triggerer", "worker"
_BOTH = "triggerer, worker"

PROJECT = Folder(
    "project", _FILES,
    "the project whose `include/models` and scripts are read; not set: the nearest above a DAG file that has them",
)  # fmt: skip
TRIGGERER = Switch(
    "triggerer",
    True,
    "DAG files, worker",
    "whether this Airflow runs a triggerer; without one, sensors look from workers",
)
SENSOR_LOOK_AGAIN = Number(
    "sensor_look_again_seconds", 60.0, 1.0, _DAY, _FILES,
    "without a triggerer: between two looks of a sensor that was given no `poke_interval`",
)  # fmt: skip
POLL_FIRST = Number(
    "poll_first_seconds", 0.4, 0.001, 3600.0, _BOTH,
    "between two questions to AWS about what is young: a job, an endpoint, a package",
)  # fmt: skip
POLL_LONGEST = Number(
    "poll_longest_seconds", 30.0, POLL_FIRST, 3600.0, _BOTH, "the same about what is old; the pause grows up to this"
)  # fmt: skip
POLL_RECONCILE = Number(
    "poll_reconcile_seconds", 300.0, 0.0, _DAY, _TRIGGERER,
    "between two lists of the jobs that are alive, which tell of a deleted job and of one that AWS's list left out",
)  # fmt: skip
POLL_AHEAD = Number(
    "poll_ahead_seconds", 2.0, 0.0, 3600.0, _TRIGGERER,
    "until AWS is asked again about a job that its list shows as ended and its description does not",
)  # fmt: skip
LIVE_LOG = Number(
    "live_log_seconds", 5.0, 0.001, 3600.0, _TRIGGERER, "between two looks for new log lines with `logs=\"live\"`"
)  # fmt: skip
FAULT_FIRST = Number(
    "fault_first_seconds", 1.0, 0.001, 3600.0, _TRIGGERER,
    "until a wait asks again after a fault of AWS that passes; twice as long each time",
)  # fmt: skip
FAULT_LONGEST = Number("fault_longest_seconds", 60.0, FAULT_FIRST, 3600.0, _TRIGGERER, "the longest of these pauses")
RETRIES = Number(
    "retries", 3, 0, 100, _FILES,
    "how often a task is tried again after a fault of AWS or the network, and a job that AWS lost", whole=True,
)  # fmt: skip
RETRY_DELAY = Number(
    "retry_delay_seconds", 10.0, 0.0, _DAY, "DAG files, worker",
    "before the first of these tries; twice as long each time",
)  # fmt: skip
RETRY_DELAY_LONGEST = Number(
    "retry_delay_longest_seconds", 600.0, RETRY_DELAY, _DAY, "DAG files, worker", "the longest of these pauses"
)  # fmt: skip
CAPACITY_FIRST = Number(
    "capacity_first_seconds", 60.0, 1.0, _DAY, _WORKER,
    "before a job task is tried again for want of machines or quota; twice as long each time",
)  # fmt: skip
CAPACITY_LONGEST = Number(
    "capacity_longest_seconds", 1800.0, CAPACITY_FIRST, _DAY, _WORKER,
    "the longest of these pauses; a job task has 60 tries, which must last for the 12 hours that it waits",
)  # fmt: skip
JOB_START = Number(
    "job_start_seconds", 1800.0, 0.0, 7 * _DAY, _WORKER,
    "what a task waits for its job beyond the job's own time limit: for machines, the image, the data",
)  # fmt: skip
JOB_STOP = Number(
    "job_stop_seconds", 1200.0, 0.0, _DAY, _WORKER,
    "what a task waits for the end of a job that was asked to stop and stands in its way",
)  # fmt: skip
ENDPOINT_CHANGE = Number(
    "endpoint_change_seconds", 2400.0, 0.0, _DAY, _WORKER,
    "what a task waits for an endpoint that is being created, updated or deleted",
)  # fmt: skip
ENDPOINT_IDLE = Number(
    "endpoint_idle_hours", 24, 1, 24 * 365, _FILES, "without a request: housekeeping tells of the endpoint", whole=True
)  # fmt: skip
JOB_ORPHAN = Number(
    "job_orphan_hours", 24, 1, 24 * 365, _FILES,
    "a job that runs longer than this and than its own limit has no owner in the eyes of housekeeping", whole=True,
)  # fmt: skip
APPROVAL_LOOK_AGAIN = Number(
    "approval_look_again_seconds", 300.0, 1.0, _DAY, _FILES,
    "between two looks of an open question (`ask_approval`) whether the package was decided about in AWS",
)  # fmt: skip

SETTINGS: tuple[Folder | Number | Switch, ...] = (
    PROJECT, TRIGGERER, SENSOR_LOOK_AGAIN, POLL_FIRST, POLL_LONGEST, POLL_RECONCILE, POLL_AHEAD, LIVE_LOG, FAULT_FIRST,
    FAULT_LONGEST, RETRIES, RETRY_DELAY, RETRY_DELAY_LONGEST, CAPACITY_FIRST, CAPACITY_LONGEST, JOB_START, JOB_STOP,
    ENDPOINT_CHANGE, APPROVAL_LOOK_AGAIN, ENDPOINT_IDLE, JOB_ORPHAN,
)  # fmt: skip


def check() -> None:
    """ValueError with one sentence if a value is not allowed, or a name in the section is none of ours."""
    from airflow.sdk.configuration import conf

    known = {setting.name for setting in SETTINGS}
    given = {name.removeprefix(PREFIX).lower() for name in os.environ if name.startswith(PREFIX)}
    if conf.has_section(SECTION):
        given |= {name for name, _ in conf.items(SECTION)}
    if unknown := sorted(given - known):
        hint = did_you_mean(unknown[0], known) or f"use one of {', '.join(sorted(known))}"
        raise ValueError(f"{unknown[0]} in section [{SECTION}] is no setting: {hint}")
    for setting in SETTINGS:
        setting.read()


def _text(name: str) -> str | None:
    """What is written, from the environment or else the file. Imported here: few who import a setting read one."""
    from airflow.sdk.configuration import conf

    found: str | None = conf.get(SECTION, name, fallback=None)
    return None if found is None else found.strip()


if __name__ == "__main__":  # the stack asks before it starts
    try:
        check()
    except ValueError as error:
        sys.exit(str(error))
