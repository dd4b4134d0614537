"""How AWS-like the endpoint's times are: at once (the default), or slow and late as AWS is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """Delays in seconds; all zero: as fast as the machine is."""

    name: str = "fast"
    start: float = 0.0  # a job's `Starting` before its data are downloaded
    endpoint: float = 0.0  # an endpoint's `Creating` or `Updating` before its servers start
    list_lag: float = 0.0  # a new resource is not in lists before this time has passed


FAST = Profile()
PROFILES = {FAST.name: FAST}
