"""The checks of a data-quality run: each column against its baseline, as constraint_violations.json lists them.

Texts of data_type_check, extra_column_check and the numeric baseline_drift_check are as seen in AWS's runs; the others
follow their form. One rule is ours: a baseline that itself lacks values (completeness between 0 and 1) is held against
a small sample with an allowance of three standard errors, because a plain comparison would raise an alarm on every
second ordinary sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagewind.jobs.monitor import drift
from sagewind.jobs.monitor.column_profile import ColumnProfile
from sagewind.jobs.monitor.constraints import FeatureConstraint
from sagewind.jobs.monitor.kll import Distribution

STANDARD_ERRORS = 3.0


@dataclass(frozen=True)
class DataQualityViolation:
    """One entry of constraint_violations.json."""

    feature_name: str
    constraint_check_type: str
    description: str

    def record(self) -> dict[str, str]:
        """The entry as JSON."""
        return {
            "feature_name": self.feature_name,
            "constraint_check_type": self.constraint_check_type,
            "description": self.description,
        }


@dataclass(frozen=True)
class Distance:
    """How far a column's distribution is from the baseline's."""

    name: str
    kind: str
    value: float
    threshold: float
    method: str

    @property
    def exceeded(self) -> bool:
        """True if this is a violation: a distance above the threshold, a p-value below it."""
        return self.value < self.threshold if self.method == drift.CHI_SQUARED else self.value > self.threshold

    @property
    def excess(self) -> float:
        """How far towards a violation this is, to sort by; above 1 it is one."""
        if self.method == drift.CHI_SQUARED:
            return self.threshold / self.value if self.value else math.inf
        return self.value / (self.threshold or 1)

    def words(self) -> str:
        """The description of a violation."""
        word = self.kind.lower()
        if self.method == drift.CHI_SQUARED:
            return f"{self.kind} chi-squared p-value: {self.value} is below {word} threshold: {self.threshold}"
        return f"{self.kind} distance: {self.value} exceeds {word} threshold: {self.threshold}"


def distances(
    constraints: Sequence[FeatureConstraint],
    statistics: Mapping[str, Mapping[str, Any]],
    profiles: Mapping[str, ColumnProfile],
) -> dict[str, Distance]:
    """Drift of every column that both sides describe in the same way; `statistics` is the baseline's, by name."""
    found = {}
    for constraint in constraints:
        profile, baseline = profiles.get(constraint.name), statistics.get(constraint.name)
        if profile is not None and profile.present and baseline and constraint.settings.compare:
            distance = _distance(constraint, baseline, profile)
            if distance is not None:
                found[constraint.name] = distance
    return found


def _distance(constraint: FeatureConstraint, baseline: Mapping[str, Any], profile: ColumnProfile) -> Distance | None:
    settings = constraint.settings
    numbers = baseline.get("numerical_statistics")
    if numbers and profile.numeric:
        reference = Distribution.of(numbers["distribution"]["kll"]["sketch"]["data"])
        value = drift.numeric(reference, Distribution.of(profile.sketch()), settings.method)
        return Distance(profile.name, "Numerical", value, settings.numeric_threshold, settings.method)
    counts = category_counts(baseline)
    current = profile.counts()
    if not counts or not current:
        return None
    if settings.categorical_method == drift.CHI_SQUARED:
        value = drift.chi_squared({name: float(count) for name, count in current.items()}, counts)[1]
        # With fewer than two categories there is no test, and no distance.
        if math.isnan(value):
            return None
        return Distance(profile.name, "Categorical", value, settings.categorical_threshold, drift.CHI_SQUARED)
    value = drift.categorical(counts, current, settings.method)
    return Distance(profile.name, "Categorical", value, settings.categorical_threshold, settings.method)


def category_counts(baseline: Mapping[str, Any]) -> dict[str, float]:
    """The counts of a feature's categories in statistics.json; empty if it has none."""
    texts = baseline.get("string_statistics") or {}
    buckets = ((texts.get("distribution") or {}).get("categorical") or {}).get("buckets") or ()
    return {str(bucket["value"]): float(bucket["count"]) for bucket in buckets}


def violations(
    constraints: Sequence[FeatureConstraint], profiles: Mapping[str, ColumnProfile], drifted: Mapping[str, Distance]
) -> list[DataQualityViolation]:
    """All violations, feature by feature in the baseline's order, then those of the set of columns."""
    found: list[DataQualityViolation] = []
    for constraint in constraints:
        profile = profiles.get(constraint.name)
        if profile is not None and constraint.settings.evaluate:
            found += _of_feature(constraint, profile, drifted.get(constraint.name))
    return found + list(_of_columns(constraints, profiles))


def _of_feature(
    constraint: FeatureConstraint, profile: ColumnProfile, distance: Distance | None
) -> Iterator[DataQualityViolation]:
    name = constraint.name
    match = profile.share_of(constraint.inferred_type)
    if match < constraint.settings.datatype_threshold:
        yield DataQualityViolation(
            name,
            "data_type_check",
            "Data type match requirement is not met. "
            f"Expected data type: {constraint.inferred_type}, Expected match: "
            f"{constraint.settings.datatype_threshold * 100}%. "
            f"Observed: Only {match * 100}% of data is {constraint.inferred_type}.",
        )
    rows = profile.present + profile.missing
    if profile.completeness < least_completeness(constraint.completeness, rows):
        yield DataQualityViolation(
            name,
            "completeness_check",
            "Data completeness requirement is not met. "
            f"Expected completeness: {constraint.completeness * 100}%. "
            f"Observed: Only {profile.completeness * 100}% of data is present.",
        )
    if distance is not None and distance.exceeded:
        yield DataQualityViolation(name, "baseline_drift_check", distance.words())
    share = _share_in_domain(constraint, profile)
    if share < constraint.settings.domain_threshold:
        yield DataQualityViolation(
            name, "categorical_values_check", f"Value: {share} does not meet the constraint requirement!"
        )


def least_completeness(baseline: float, rows: int) -> float:
    """The completeness below which `rows` rows violate a baseline; the baseline itself if it is 0 or 1."""
    if not rows:
        return 0.0
    return baseline - STANDARD_ERRORS * math.sqrt(baseline * (1 - baseline) / rows)


def _share_in_domain(constraint: FeatureConstraint, profile: ColumnProfile) -> float:
    """Share of the values that the baseline knew; 1.0 where the baseline allows any."""
    if constraint.domain is None or not profile.present:
        return 1.0
    return profile.in_domain / profile.present


def _of_columns(
    constraints: Sequence[FeatureConstraint], profiles: Mapping[str, ColumnProfile]
) -> Iterator[DataQualityViolation]:
    known = {constraint.name for constraint in constraints}
    numbers = (
        f"Number of columns in current dataset: {len(profiles)}, "
        f"Number of columns in baseline constraints: {len(constraints)}"
    )
    if known - set(profiles):
        yield DataQualityViolation(
            "Missing columns", "missing_column_check", f"There are missing columns in current dataset. {numbers}"
        )
    if set(profiles) - known:
        yield DataQualityViolation(
            "Extra columns", "extra_column_check", f"There are extra columns in current dataset. {numbers}"
        )
