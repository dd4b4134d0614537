"""What a model-quality run found, between the analysis that finds it and the page that shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sagewind.jobs.analysis.records import RecordTally
from sagewind.jobs.quality_constraints import ModelQualityViolation


@dataclass
class QualityResult:
    """What one run found. `violations` is None for a baseline; `unchecked` are constraints without a value."""

    problem: str
    block: Mapping[str, Any]
    tally: RecordTally
    classes: tuple[str, ...] = ()
    violations: list[ModelQualityViolation] | None = None
    unchecked: list[str] = field(default_factory=list)
    thresholds: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """What the reader has to know beside the numbers."""
        found = [*self.tally.notes(), *self.remarks]
        if self.problem == "BinaryClassification" and "auc" not in self.block:
            found.append("auc and au_prc are not defined: they need scores and rows of both classes")
        if self.unchecked:
            found.append(f"without a value in this run, so not checked: {', '.join(self.unchecked)}")
        return found
