"""Gates as the report shows them. The task `gate` decides; this program says the same of the same numbers."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from sagewind.jobs.job import UserError

COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
RULE = re.compile(r"\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def judge(rules: Mapping[str, str], measured: Mapping[str, float]) -> list[dict[str, Any]]:
    """Each rule with its value and whether it passed, in the order of the rules; UserError if it cannot be judged."""
    outcomes = []
    for metric, rule in rules.items():
        match = RULE.fullmatch(rule)
        if match is None:
            raise UserError(f"job.json: evaluate.gates.{metric} is {rule!r}: write a comparison and a number, '>= 0.9'")
        if metric not in measured:
            raise UserError(
                f"job.json: evaluate.gates names {metric!r}, which was not measured: use one of {', '.join(measured)}"
            )
        value = measured[metric]
        passed = COMPARISONS[match[1]](value, float(match[2]))
        outcomes.append({"metric": metric, "rule": f"{match[1]} {float(match[2])!r}", "value": value, "passed": passed})
    return outcomes
