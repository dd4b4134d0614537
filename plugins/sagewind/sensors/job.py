"""Sensor on a job that another task, run or system started."""

from __future__ import annotations

from typing import Any

from sagewind.kinds import KINDS, KindName
from sagewind.sensors.base import TriggeredSensor


class JobSensor(TriggeredSensor):
    """Green only when the job is `Completed`; the provider's sensors also take `Stopped` for success."""

    template_fields = ("job_name",)
    trigger_path = "sagewind.triggers.job.ObserveJobTrigger"
    trigger_fields = ("kind", "job_name")

    def __init__(self, *, kind: KindName, job_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"unknown kind of job {kind!r}: use one of {', '.join(KINDS)}")
        self.kind = kind
        self.job_name = job_name
        self.arm()
