"""What an explanation found, between the analysis that finds it and the page that shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sagewind.jobs.analysis.records import RecordTally
from sagewind.jobs.explain.ndcg import THRESHOLD


@dataclass
class ExplainResult:
    """What one run found: global attributions and expected value by label. `scores` are the nDCG of a check."""

    labels: dict[str, dict[str, float]]
    expected: dict[str, float]
    tally: RecordTally
    how: dict[str, Any]
    baseline: dict[str, dict[str, float]] | None = None
    scores: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def drifted(self) -> list[str]:
        """Labels whose attributions rank otherwise than in the baseline."""
        return [label for label, score in self.scores.items() if score < THRESHOLD]

    def violations(self) -> list[dict[str, str]]:
        """Entries of constraint_violations.json; fields and text as documented."""
        return [
            {
                "label": label,
                "metric_name": "shap",
                "constraint_check_type": "feature_attribution_drift_check",
                "description": f"Feature attribution drift {self.scores[label]} exceeds threshold {THRESHOLD}",
            }
            for label in self.drifted
        ]
