"""The bias monitor's check: a metric that is farther from balance than in the baseline is a violation.

The rule and the fields of a violation are documented, the text is as seen in AWS's outputs. Balance is 0 (documented)
and, for DI, parity at 1: DI is compared by its logarithm. That is ours; the guide's rule, read literally, would report
a DI that rises from 0.7 to 1 and pass one that falls to 0.2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sagewind.jobs.job import UserError

VERSION = "1.0"
PRE, POST = "pre_training_bias_metrics", "post_training_bias_metrics"
RATIOS = ("DI",)


@dataclass(frozen=True)
class Key:
    """A metric of one group of one facet; `value` is the group as analysis.json names it."""

    stage: str
    facet: str
    value: str
    metric: str

    def place(self) -> tuple[str, str, str, str]:
        """By which it is found again: the maximum in an interval like `(40, 90]` changes with the data."""
        return self.stage, self.facet, re.sub(r",[^,]*\]$", "", self.value), self.metric

    def words(self) -> str:
        """The metric and its group, for people."""
        return f"{self.metric} of {self.facet} {self.value}"


@dataclass(frozen=True)
class BiasViolation:
    """One entry of constraint_violations.json; `facet_value` is the group as the configuration names it."""

    key: Key
    facet_value: str
    description: str

    def record(self) -> dict[str, str]:
        """The entry as JSON."""
        return {
            "facet": self.key.facet,
            "facet_value": self.facet_value,
            "metric_name": self.key.metric,
            "constraint_check_type": "bias_drift_check",
            "description": self.description,
        }


def number(value: Any) -> float | None:
    """A metric's value as analysis.json holds it, None for one that is not defined."""
    if value in ("Infinity", "-Infinity"):
        return math.inf if value == "Infinity" else -math.inf
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)


def metrics(analysis: Mapping[str, Any]) -> Iterator[tuple[Key, float | None]]:
    """All metrics of an analysis.json; UserError if it is none."""
    try:
        for stage in (PRE, POST):
            for facet, groups in (analysis.get(stage) or {}).get("facets", {}).items():
                for group in groups:
                    value = str(group["value_or_threshold"])
                    for metric in group["metrics"]:
                        yield Key(stage, str(facet), value, str(metric["name"])), number(metric.get("value"))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"the baseline's constraints are no analysis.json of a bias analysis ({error!r}): give that of the baseline"
        ) from error


def kinds(analysis: Mapping[str, Any]) -> dict[str, bool]:
    """For the label and each facet of a baseline, whether it was compared with a threshold.

    A check follows its baseline: decided anew on fewer rows, an age of 40 could become an age above 40.
    """
    found: dict[str, bool] = {}
    for stage in (PRE, POST):
        block = analysis.get(stage) or {}
        if "label_value_or_threshold" in block:
            found[str(block.get("label"))] = _interval(str(block["label_value_or_threshold"]))
    for key, _ in metrics(analysis):
        found[key.facet] = _interval(key.value)
    return found


def _interval(text: str) -> bool:
    return text.startswith("(") and text.endswith("]")


def distance(metric: str, value: float) -> float:
    """How far a value is from balance, without unit."""
    if metric in RATIOS:
        return abs(math.log(value)) if 0 < value < math.inf else math.inf
    return abs(value)


def check(
    baseline: Mapping[str, Any], current: Mapping[str, Any], values: Mapping[str, str]
) -> tuple[list[BiasViolation], list[str]]:
    """The violations, and what could not be compared, in words; `values` are the configured ones by facet."""
    now = {key.place(): (key, value) for key, value in metrics(current)}
    found, unchecked = [], []
    for key, before in metrics(baseline):
        here = now.get(key.place())
        if before is None:
            continue
        if here is None or here[1] is None:
            unchecked.append(key.words())
        elif distance(key.metric, here[1]) > distance(key.metric, before):
            text = f"Metric value {here[1]} doesn't meet the baseline constraint requirement {before}"
            found.append(BiasViolation(here[0], values.get(key.facet) or here[0].value, text))
    return found, unchecked
