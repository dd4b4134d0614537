"""Sensor on a job that another task, run or system started."""

from __future__ import annotations

from typing import Any

from sagewind.facts.kinds import KINDS, KindName
from sagewind.sensors.base import WatchSensor


class JobSensor(WatchSensor):
    """Green only when the job is `Completed`; the provider's sensors also take `Stopped` for success."""

    about = (
        "Waits for a job that another task started. Red: the job ended badly or took too long; the reason is in the "
        "log."
    )
    watch = "job"
    trigger = "WatchJobTrigger"

    def __init__(self, *, kind: KindName, job_name: str, **kwargs: Any) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown kind of job {kind!r}: use one of {', '.join(KINDS)}")
        super().__init__(arguments={"kind": kind, "job_name": job_name}, **kwargs)
