"""Sensor on the approval of a model package; the provider has none."""

from __future__ import annotations

from typing import Any

from sagewind.sensors.base import WatchSensor


class ApprovalSensor(WatchSensor):
    """Green when the package is `Approved`, by whomever and wherever; red when it is `Rejected`."""

    about = (
        "Waits until the version is approved, in Airflow or in AWS. Red: it was rejected, or nobody decided in time."
    )
    watch = "approval"

    def __init__(self, *, package_arn: str, **kwargs: Any) -> None:
        super().__init__(arguments={"package_arn": package_arn}, **kwargs)
