"""What a run costs, roughly: on-demand prices per instance hour, for the dry run. Never for a bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagewind.facts.kinds import KINDS, KindName
from sagewind.facts.prices import DOLLARS_PER_HOUR


@dataclass(frozen=True)
class Line:
    """One line of an estimate: `machines` of one type for `hours`; `until` tells for how long in words."""

    what: str
    machine: str
    machines: int
    hours: float
    until: str = ""

    @property
    def dollars(self) -> float | None:
        """The cost, None if the price is unknown."""
        price = DOLLARS_PER_HOUR.get(self.machine)
        return None if price is None else price * self.machines * self.hours

    @property
    def shown(self) -> str:
        """The line as a row of a table."""
        dollars = "unknown" if self.dollars is None else f"{self.dollars:.2f}"
        return f"{self.what:15} {self.machines:3} x {self.machine:16} {dollars:>7}{self.until}"


def job(what: str, kind: KindName, request: Mapping[str, Any], transform_minutes: int) -> Line:
    """The job of a Create request, with all its trainings, at its time limit; a normal one ends in minutes."""
    api = KINDS[kind]
    cluster = api.cluster(request)
    machines = cluster["InstanceCount"] * api.count(request)
    return Line(what, cluster["InstanceType"], machines, api.run_seconds(request, transform_minutes) / 3600)


def endpoint(variant: Mapping[str, Any]) -> Line:
    """A day of one variant of an endpoint config."""
    until = " a day, used or not, until it is deleted"
    return Line("endpoint", variant["InstanceType"], variant["InitialInstanceCount"], 24, until)
