"""Sensor on captured traffic."""

from __future__ import annotations

from typing import Any

from sagewind.sensors.base import TriggeredSensor


class CaptureSensor(TriggeredSensor):
    """Green once at least `requests` captured requests lie below `folder`; the provider has no such sensor."""

    template_fields = ("folder",)
    trigger_path = "sagewind.triggers.capture.CaptureTrigger"
    trigger_fields = ("folder", "requests")

    def __init__(self, *, folder: str, requests: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.requests = requests
        self.arm()
