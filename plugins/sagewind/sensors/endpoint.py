"""Sensor on an endpoint: in service with this config, not just in service."""

from __future__ import annotations

from typing import Any

from sagewind.sensors.base import TriggeredSensor


class EndpointSensor(TriggeredSensor):
    """Green only when the endpoint serves with `config`; a roll-back to another config is a failure.

    The provider's sensor does not compare the config and takes `OutOfService` and `UpdateRollbackFailed` for success.
    """

    template_fields = ("endpoint", "config")
    trigger_path = "sagewind.triggers.endpoint.EndpointTrigger"
    trigger_fields = ("endpoint", "config")

    def __init__(self, *, endpoint: str, config: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.endpoint = endpoint
        self.config = config
        self.arm()
