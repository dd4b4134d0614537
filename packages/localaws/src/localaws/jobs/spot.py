"""Managed spot training, retries and their time limits: how long a job may wait and run over all its attempts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localaws.coverage import Behaviour
from localaws.errors import ValidationException

ACCELERATED = ("ml.p", "ml.g", "ml.trn")  # instance families for which MaxPendingTimeInSeconds has an effect

BEHAVIOURS = (
    Behaviour(
        "MaxWaitTimeInSeconds: needed for managed spot training, at least MaxRuntimeInSeconds, refused without it",
        "documented",
        "StoppingCondition; Managed Spot Training",
    ),
    Behaviour(
        "`Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true`",
        "seen",
        "Kenza-AI/sagify issue 111, amazon-sagemaker-examples issue 869",
    ),
    Behaviour("text of the refusal of a MaxWaitTimeInSeconds that is missing or too small", "assumed"),
    Behaviour(
        "an interrupted spot job: Interrupted, Starting, Downloading, Training again, with its checkpoints",
        "documented",
        "developer guide, Managed Spot Training Lifecycle",
    ),
    Behaviour(
        "MaxWaitTimeInSeconds over: Stopping, then Stopped with MaxWaitTimeExceeded; also when no instance was found",
        "documented",
        "developer guide, Managed Spot Training Lifecycle",
    ),
    Behaviour("an interruption is announced by SIGTERM; SIGKILL follows as after a stop", "assumed"),
    Behaviour("BillableTimeInSeconds of a spot job: the time its instances were held, no discount", "assumed"),
    Behaviour(
        "no capacity: `CapacityError: Unable to provision requested ML compute capacity. ...`, after the start delay",
        "assumed",
    ),
    Behaviour(
        "RetryStrategy: tried again after InternalServerError only; time limits are for all attempts together",
        "documented",
        "RetryStrategy; StoppingCondition",
    ),
    Behaviour("a job that is tried again shows Restarting, then Starting", "assumed"),
    Behaviour(
        "MaxPendingTimeInSeconds has no effect on CPU instances", "documented", "StoppingCondition"
    ),
)  # fmt: skip
NO_CAPACITY = (
    "Unable to provision requested ML compute capacity. Please retry using a different ML instance type or after some "
    "time."
)


def check(request: Mapping[str, Any], instance_types: set[str]) -> None:
    """Raise ValidationException for stopping conditions that do not fit."""
    condition = request.get("StoppingCondition", {})
    spot = request.get("EnableManagedSpotTraining", False)
    wait, runtime = condition.get("MaxWaitTimeInSeconds"), condition.get("MaxRuntimeInSeconds")
    if wait is not None and not spot:
        raise ValidationException(
            "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
        )
    if spot and (wait is None or (runtime is not None and wait < runtime)):
        raise ValidationException(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
        )
    if "MaxPendingTimeInSeconds" in condition and any(t.startswith(ACCELERATED) for t in instance_types):
        raise ValidationException(
            "StoppingCondition.MaxPendingTimeInSeconds is not supported by the local AWS endpoint for accelerated "
            "instance types: leave it out"
        )
    if spot and request["ResourceConfig"].get("KeepAlivePeriodInSeconds"):
        raise ValidationException(
            "ResourceConfig.KeepAlivePeriodInSeconds cannot be given with EnableManagedSpotTraining: warm pools hold "
            "no spot instances"
        )


@dataclass
class TimeBudget:
    """The times of one job, over all its attempts; in seconds."""

    runtime: float
    wait: float  # until the job is given up, infinite without spot
    used: float = 0.0  # of runtime
    held: float = 0.0  # time that instances were held
    begun: float = field(default_factory=time.monotonic)
    _since: float | None = None

    @classmethod
    def of(cls, request: Mapping[str, Any], waited: float = 0.0) -> TimeBudget:
        """The budget of a stored request that has waited some seconds already."""
        condition = request["StoppingCondition"]
        wait = float(condition.get("MaxWaitTimeInSeconds", float("inf")))
        return cls(float(condition["MaxRuntimeInSeconds"]), wait, begun=time.monotonic() - waited)

    @property
    def wait_left(self) -> float:
        """Time until MaxWaitTimeInSeconds is over."""
        return max(0.0, self.begun + self.wait - time.monotonic())

    @property
    def runtime_left(self) -> float:
        """Time that the program may still run."""
        return max(0.0, self.runtime - self.used)

    def hold(self) -> None:
        """The instances are there."""
        self._since = time.monotonic()

    def release(self) -> None:
        """The instances are gone; nothing when they were not there."""
        if self._since is not None:
            self.held += time.monotonic() - self._since
            self._since = None
