"""Sensor on the approval of a model package; the provider has none."""

from __future__ import annotations

from typing import Any

from sagewind.sensors.base import TriggeredSensor


class ApprovalSensor(TriggeredSensor):
    """Green when the package is `Approved`, by whomever and wherever; red when it is `Rejected`."""

    template_fields = ("package_arn",)
    trigger_path = "sagewind.triggers.package.ApprovalTrigger"
    trigger_fields = ("package_arn",)

    def __init__(self, *, package_arn: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.package_arn = package_arn
        self.arm()
