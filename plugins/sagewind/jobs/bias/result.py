"""What a bias run found, between the analysis that finds it and the page that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagewind.jobs.analysis.records import RecordTally
from sagewind.jobs.bias.drift import BiasViolation


@dataclass
class BiasResult:
    """What one run found. `violations` is None for a baseline."""

    analysis: dict[str, Any]
    baseline: Mapping[str, Any]
    tally: RecordTally
    notes: list[str]
    sizes: dict[tuple[str, str], tuple[int, int]]
    violations: list[BiasViolation] | None = None
    unchecked: list[str] = field(default_factory=list)
