"""ParameterRanges of the API: what a tuning job may choose from, read and checked once.

Rules are those of the developer guide, "Define Hyperparameter Ranges" and "How Hyperparameter Tuning Works".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localaws.coverage import Behaviour
from localaws.errors import ValidationException

AUTO_LOG_SPAN = 1000.0  # Auto scaling becomes logarithmic when a range spans three orders of magnitude or more
MOST_RANGES = 30  # integer, continuous and categorical together
BEHAVIOURS = (
    Behaviour("Auto scaling of a range is logarithmic from three orders of magnitude", "assumed"),
    Behaviour(
        "logarithmic ranges start above 0, reverse logarithmic ones lie within [0, 1) and are continuous",
        "documented",
        "developer guide, Define Hyperparameter Ranges, scaling types",
    ),
    Behaviour(
        "at most 30 hyperparameters are tuned", "documented", "developer guide, Resource Limits for Automatic Tuning"
    ),
)


@dataclass(frozen=True)
class Range:
    """One tuned hyperparameter; `scale` is linear, log or reverse (logarithmic in 1 - value)."""

    name: str
    kind: str  # integer, continuous or categorical
    low: float = 0.0
    high: float = 0.0
    scale: str = "linear"
    values: tuple[str, ...] = ()

    def text(self, value: Any) -> str:
        """The value as the training job gets it."""
        if self.kind == "continuous":
            # 1 - y may leave the range by one rounding step
            number = 1.0 - float(value) if self.scale == "reverse" else float(value)
            return repr(min(max(number, self.low), self.high))
        return str(value)

    def value(self, text: str) -> Any:
        """The inverse of `text`; ValueError for a text that is no such number."""
        if self.kind == "continuous":
            if self.scale != "reverse":
                return float(text)
            return min(max(1.0 - float(text), 1.0 - self.high), 1.0 - self.low)
        return int(text) if self.kind == "integer" else text

    def holds(self, text: str) -> bool:
        """Whether a value, given as the text of a hyperparameter, lies in the range."""
        if self.kind == "categorical":
            return text in self.values
        try:
            number = float(int(text)) if self.kind == "integer" else float(text)
        except ValueError:
            return False
        return self.low <= number <= self.high


def _scale(name: str, low: float, high: float, scaling: str) -> str:
    if scaling == "Auto":
        return "log" if low > 0 and high / low >= AUTO_LOG_SPAN else "linear"
    if scaling == "Logarithmic" and low <= 0:
        raise ValidationException(f"ParameterRanges '{name}': Logarithmic scaling needs a MinValue above 0")
    if scaling == "ReverseLogarithmic" and not 0 <= low <= high < 1:
        raise ValidationException(
            f"ParameterRanges '{name}': ReverseLogarithmic scaling needs a range within 0 and 1 (1 excluded)"
        )
    return {"Linear": "linear", "Logarithmic": "log", "ReverseLogarithmic": "reverse"}[scaling]


def _numeric(given: Mapping[str, Any], kind: str) -> Range:
    name = given["Name"]
    convert = int if kind == "integer" else float
    try:
        low, high = convert(given["MinValue"]), convert(given["MaxValue"])
    except ValueError:
        raise ValidationException(
            f"ParameterRanges '{name}': '{given['MinValue']}' and '{given['MaxValue']}' must be {kind} numbers"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValidationException(f"ParameterRanges '{name}': MinValue {low} must not be above MaxValue {high}")
    scaling = given.get("ScalingType", "Auto")
    if kind == "integer" and scaling == "ReverseLogarithmic":
        raise ValidationException(f"ParameterRanges '{name}': ReverseLogarithmic is for continuous parameters only")
    return Range(name, kind, low, high, _scale(name, low, high, scaling))


def _categorical(given: Mapping[str, Any]) -> Range:
    values = tuple(given["Values"])
    if doubled := sorted({v for v in values if values.count(v) > 1}):
        raise ValidationException(f"ParameterRanges '{given['Name']}': the value '{doubled[0]}' is given twice")
    return Range(given["Name"], "categorical", values=values)


def read_ranges(given: Mapping[str, Any]) -> tuple[Range, ...]:
    """ParameterRanges of the API; raises ValidationException naming the parameter."""
    if given.get("AutoParameters"):
        raise ValidationException("ParameterRanges.AutoParameters is not supported by the local AWS endpoint")
    ranges = [
        *(_numeric(r, "integer") for r in given.get("IntegerParameterRanges", ())),
        *(_numeric(r, "continuous") for r in given.get("ContinuousParameterRanges", ())),
        *(_categorical(r) for r in given.get("CategoricalParameterRanges", ())),
    ]
    names = [r.name for r in ranges]
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise ValidationException(f"ParameterRanges: '{doubled[0]}' is given more than once")
    if not ranges:
        raise ValidationException("ParameterRanges names no hyperparameter to tune")
    if len(ranges) > MOST_RANGES:
        raise ValidationException(
            f"ParameterRanges names {len(ranges)} hyperparameters to tune; at most {MOST_RANGES} are possible"
        )
    return tuple(ranges)


def combinations(ranges: Iterable[Range]) -> float:
    """How many different combinations the ranges hold; infinity when one of them is continuous."""
    size = 1.0
    for each in ranges:
        if each.kind == "continuous":
            return math.inf
        size *= len(each.values) if each.kind == "categorical" else each.high - each.low + 1
    return size


def grid_size(ranges: Iterable[Range]) -> int:
    """How many combinations a grid has; raises ValidationException for a range that is not categorical."""
    size = 1
    for each in ranges:
        if each.kind != "categorical":
            raise ValidationException(f"ParameterRanges '{each.name}': Grid search takes categorical parameters only")
        size *= len(each.values)
    return size
