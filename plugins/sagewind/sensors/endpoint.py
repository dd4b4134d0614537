"""Sensor on an endpoint: in service with this config, not just in service."""

from __future__ import annotations

from typing import Any

from sagewind.sensors.base import WatchSensor


class EndpointSensor(WatchSensor):
    """Green only when the endpoint serves with `config`; a roll-back to another config is a failure.

    The provider's sensor does not compare the config and takes `OutOfService` and `UpdateRollbackFailed` for success.
    """

    about = (
        "Waits until the endpoint serves with this run's config. Red: it failed, was rolled back or took too long; the "
        "reason is in the log, more in the endpoint's own log."
    )
    watch = "endpoint"

    def __init__(self, *, endpoint: str, config: str, **kwargs: Any) -> None:
        super().__init__(arguments={"endpoint": endpoint, "config": config}, **kwargs)
