"""Faults on request: what a job's tag or an admin call asks to go wrong. Off unless asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TAG = "localaws:fault"


@dataclass(frozen=True)
class JobFaults:
    """What is to go wrong with one job or endpoint; times in seconds from the start of the program."""

    slow_start: float = 0.0  # before the program starts, in `Starting`
    capacity: bool = False  # no instance is found: the job fails with CapacityError
    hang: bool = False  # the program ignores SIGTERM and never ends by itself
    kill_after: float | None = None  # SIGKILL to the program
    exit_code: int | None = None  # the program's exit code is replaced
    stop_after: float | None = None  # stopped as if by somebody else
    interrupt_after: float | None = None  # the spot instance is taken away (managed spot training only)
    corrupt_artifact: bool = False  # model.tar.gz is cut in half
    fail_health_check: bool = False  # the model server's /ping never answers 200


class Faults:
    """All faults that are asked for in one endpoint; thread safe."""

    def for_call(self, operation: str) -> None:
        """Raise the ApiError that was asked for the next calls of this operation, if any."""

    def of(self, tags: Mapping[str, str]) -> JobFaults:
        """The faults that a resource's tags ask for."""
        return JobFaults()
