"""Sensor on the executions of a monitoring schedule, for accounts that have SageMaker Model Monitor."""

from __future__ import annotations

from typing import Any

from sagewind.sensors.base import WatchSensor


class MonitoringExecutionSensor(WatchSensor):
    """Green when the newest execution due at or after `after` has completed, with or without violations.

    Its record says which: {schedule, status, scheduled, job, reason}. The provider has no such sensor.
    """

    about = (
        "Waits for an execution of the monitoring schedule. Green with violations too. Red: the execution failed or "
        "did not come; the reason is in the log."
    )
    watch = "monitoring_execution"

    def __init__(self, *, schedule: str, after: str = "", **kwargs: Any) -> None:
        super().__init__(arguments={"schedule": schedule, "after": after}, **kwargs)
