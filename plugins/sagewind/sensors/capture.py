"""Sensor on captured traffic."""

from __future__ import annotations

from typing import Any

from sagewind.sensors.base import WatchSensor


class CaptureSensor(WatchSensor):
    """Green once at least `requests` captured requests lie below `folder`; the provider has no such sensor."""

    about = (
        "Waits until the endpoint's captured requests lie in S3. Red: too few came in time; does the endpoint capture?"
    )
    watch = "captured"

    def __init__(self, *, folder: str, requests: int, **kwargs: Any) -> None:
        super().__init__(arguments={"folder": folder, "requests": requests}, **kwargs)
