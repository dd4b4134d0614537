"""constraints.json: what a baseline suggests that later data must fulfil, and reading it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagewind.jobs.job import UserError
from sagewind.jobs.monitor import drift
from sagewind.jobs.monitor.column_profile import ColumnProfile

VERSION = 0.0
ENABLED = "Enabled"
#: The values that AWS's container writes into every baseline.
MONITORING_CONFIG: dict[str, Any] = {
    "evaluate_constraints": ENABLED,
    "emit_metrics": ENABLED,
    "datatype_check_threshold": 1.0,
    "domain_content_threshold": 1.0,
    "distribution_constraints": {
        "perform_comparison": ENABLED,
        "comparison_threshold": 0.1,
        "comparison_method": drift.ROBUST,
        "categorical_comparison_threshold": 0.1,
        "categorical_drift_method": "LInfinity",
    },
}


@dataclass(frozen=True)
class Settings:
    """How strictly a feature is held to its baseline: the document's settings with the feature's own on top."""

    evaluate: bool
    emit_metrics: bool
    datatype_threshold: float
    domain_threshold: float
    compare: bool
    numeric_threshold: float
    categorical_threshold: float
    method: str
    categorical_method: str


@dataclass(frozen=True)
class FeatureConstraint:
    """What the baseline says of one feature. `domain` is None if the feature may hold any value."""

    name: str
    inferred_type: str
    completeness: float
    domain: tuple[str, ...] | None
    settings: Settings


def suggest(profiles: Sequence[ColumnProfile], categorical_method: str | None = None) -> dict[str, Any]:
    """The document for a baseline of these columns; the setting `categorical_drift_method` is written into it."""
    config = MONITORING_CONFIG
    if categorical_method is not None:
        _one_of("setting categorical_drift_method", categorical_method, drift.CATEGORICAL_METHODS)
        compared = {**config["distribution_constraints"], "categorical_drift_method": categorical_method}
        config = {**config, "distribution_constraints": compared}
    return {
        "version": VERSION,
        "features": [_suggest(profile) for profile in profiles],
        "monitoring_config": config,
    }


def _one_of(what: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise UserError(f"the {what} is {value!r}: use one of {', '.join(allowed)}")


def _suggest(profile: ColumnProfile) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": profile.name,
        "inferred_type": profile.inferred_type,
        "completeness": profile.completeness,
    }
    if profile.numeric:
        entry["num_constraints"] = {"is_non_negative": profile.min >= 0}
    categories = profile.categories()
    if categories:
        entry["string_constraints"] = {"domains": list(categories)}
    return entry


def read(document: Mapping[str, Any], categorical_method: str | None = None) -> list[FeatureConstraint]:
    """The features of a constraints document in their order; UserError names what it lacks.

    `categorical_method` (the setting of the environment) goes before what the document says.
    """
    common = document.get("monitoring_config") or MONITORING_CONFIG
    if categorical_method is not None:
        compared = {**(common.get("distribution_constraints") or {}), "categorical_drift_method": categorical_method}
        common = {**common, "distribution_constraints": compared}
    try:
        return [_read(entry, common) for entry in document["features"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"the baseline's constraints cannot be read ({type(error).__name__}: {error}): run the baseline again"
        ) from error


def _read(entry: Mapping[str, Any], common: Mapping[str, Any]) -> FeatureConstraint:
    domains = (entry.get("string_constraints") or {}).get("domains")
    return FeatureConstraint(
        name=str(entry["name"]),
        inferred_type=str(entry["inferred_type"]),
        completeness=float(entry["completeness"]),
        domain=None if domains is None else tuple(map(str, domains)),
        settings=_settings(common, _overrides(entry)),
    )


def _overrides(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    # AWS's documentation spells the key both ways.
    return entry.get("monitoringConfigOverrides") or entry.get("monitoring_config_overrides") or {}


def _settings(common: Mapping[str, Any], own: Mapping[str, Any]) -> Settings:
    plain = {**MONITORING_CONFIG, **common, **own}
    compared = {
        **MONITORING_CONFIG["distribution_constraints"],
        **(common.get("distribution_constraints") or {}),
        **(own.get("distribution_constraints") or {}),
    }
    _one_of("baseline's comparison_method", compared["comparison_method"], drift.METHODS)
    _one_of("baseline's categorical_drift_method", compared["categorical_drift_method"], drift.CATEGORICAL_METHODS)
    return Settings(
        evaluate=plain["evaluate_constraints"] == ENABLED,
        emit_metrics=plain["emit_metrics"] == ENABLED,
        datatype_threshold=float(plain["datatype_check_threshold"]),
        domain_threshold=float(plain["domain_content_threshold"]),
        compare=compared["perform_comparison"] == ENABLED,
        numeric_threshold=float(compared["comparison_threshold"]),
        categorical_threshold=float(compared["categorical_comparison_threshold"]),
        method=str(compared["comparison_method"]),
        categorical_method=str(compared["categorical_drift_method"]),
    )
