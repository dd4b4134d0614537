"""Gates: rules such as `auc: ">= 0.98"` that decide whether a model may go on."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
_RULE = re.compile(r"\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


class GateError(ValueError):
    """A gate cannot be judged: its rule is malformed, or what it names was not measured. The text is one sentence."""


@dataclass(frozen=True)
class Gate:
    """One rule on one metric. `threshold` is in the metric's own unit."""

    metric: str
    comparison: str
    threshold: float

    @property
    def rule(self) -> str:
        """The rule as people write it, e.g. `>= 0.98`."""
        return f"{self.comparison} {self.threshold!r}"

    def met_by(self, value: float) -> bool:
        """True if `value` satisfies the rule; a NaN never does."""
        return not math.isnan(value) and _OPERATORS[self.comparison](value, self.threshold)


def parse(metric: str, rule: str) -> Gate:
    """Read a rule such as `>= 0.98`; GateError says what a rule looks like."""
    match = _RULE.fullmatch(rule)
    if match is None:
        raise GateError(f"evaluate.gates.{metric} is {rule!r}: write a comparison and a number, such as '>= 0.9'")
    return Gate(metric, match[1], float(match[2]))


@dataclass(frozen=True)
class GateOutcome:
    """What one gate said of one measured value."""

    gate: Gate
    value: float

    @property
    def passed(self) -> bool:
        """True if the gate is met."""
        return self.gate.met_by(self.value)

    def record(self) -> dict[str, Any]:
        """The outcome as plain JSON values."""
        return {
            "metric": self.gate.metric,
            "rule": self.gate.rule,
            "value": self.value,
            "passed": self.passed,
        }

    def sentence(self) -> str:
        """E.g. `auc is 0.9712, required >= 0.98`."""
        return f"{self.gate.metric} is {self.value:.6g}, required {self.gate.rule}"


def judge(rules: Mapping[str, str], metrics: Mapping[str, Any]) -> list[GateOutcome]:
    """Apply every rule to the measured metrics, in the order of the rules.

    A metric that is missing or not a number is a GateError, never a pass: a gate that cannot be evaluated protects
    nothing.
    """
    return [GateOutcome(parse(metric, rule), measured(metrics, metric)) for metric, rule in rules.items()]


def measured(metrics: Mapping[str, Any], metric: str) -> float:
    """The value of `metric` in an evaluation; GateError if it holds no number for it. NaN, True and null are none."""
    value = metrics.get(metric)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        known = ", ".join(sorted(metrics)) or "none"
        raise GateError(f"gate {metric!r} cannot be judged: the evaluation holds {value!r} for it (measured: {known})")
    return float(value)


def champion_outcome(metric: str, candidate: float, champion: float, tolerance: float, *, larger: bool) -> GateOutcome:
    """The rule that a candidate is not worse than the champion by more than `tolerance` (same unit as the metric)."""
    bound = champion - tolerance if larger else champion + tolerance
    return GateOutcome(Gate(metric, ">=" if larger else "<=", bound), candidate)
