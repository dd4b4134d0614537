"""The environment of the analyses beyond data quality: AWS's variable names once, read into typed values.

Documented names: SageMaker developer guide, container contract inputs, and the SDK's model_monitoring module.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from sagewind.facts import contract
from sagewind.jobs.analysis.dataset import required
from sagewind.jobs.job import UserError

INFERENCE_ATTRIBUTE = "inference_attribute"
PROBABILITY_ATTRIBUTE = "probability_attribute"
GROUND_TRUTH_ATTRIBUTE = "ground_truth_attribute"
THRESHOLD_ATTRIBUTE = "probability_threshold_attribute"
POSITIVE_LABEL = "positive_label"
FEATURES_ATTRIBUTE = "features_attribute"
ENABLED = "Enabled"

#: Settings of AWS's analyzers that change what is analysed and are not implemented here: any value is refused.
UNSUPPORTED = ("record_preprocessor_script", "post_analytics_processor_script", "exclude_features_attribute")


@dataclass(frozen=True)
class Attributes:
    """Where prediction, probability and label stand in a record: a column's name, its index from zero, or a JMESPath.

    `threshold` is the probability above which (not at which) a record is positive: so documented for
    `ProbabilityThresholdAttribute` of the bias monitor, assumed to hold for model quality too; 0.5 by default.
    """

    inference: str | None = None
    probability: str | None = None
    ground_truth: str | None = None
    threshold: float = 0.5
    positive_label: str | None = None
    features: str | None = None


def attributes() -> Attributes:
    """The attributes that the environment names; UserError for a threshold that is no number."""
    threshold = number(THRESHOLD_ATTRIBUTE, "0.5")
    return Attributes(
        inference=os.environ.get(INFERENCE_ATTRIBUTE) or None,
        probability=os.environ.get(PROBABILITY_ATTRIBUTE) or None,
        ground_truth=os.environ.get(GROUND_TRUTH_ATTRIBUTE) or None,
        threshold=threshold,
        positive_label=os.environ.get(POSITIVE_LABEL) or None,
        features=os.environ.get(FEATURES_ATTRIBUTE) or None,
    )


def number(name: str, default: str) -> float:
    """The variable's value; UserError if it is no finite number."""
    text = os.environ.get(name) or default
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"{name} is {text!r}: give a number such as {default}")
    return found


def refuse_unsupported() -> None:
    """UserError for a setting that would silently not be honoured."""
    for name in UNSUPPORTED:
        if os.environ.get(name):
            raise UserError(
                f"the setting {name} is {os.environ[name]!r}, which this analysis does not implement: leave it out"
            )


def choice(name: str, allowed: tuple[str, ...]) -> str:
    """The variable's value, one of `allowed`; UserError otherwise."""
    value = required(name)
    if value not in allowed:
        raise UserError(f"{name} is {value!r}: use one of {', '.join(allowed)}")
    return value


def folder(name: str, default: str | None = None) -> Path:
    """The path that a variable gives, below the container's root; `default` where it is absent."""
    return contract.resolve(os.environ.get(name) or default or required(name))
