"""constraints.json: what a baseline suggests that later data must fulfil, and reading it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.jobs import drift
from include.jobs.job import UserError
from include.jobs.profile import ColumnProfile

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


@dataclass(frozen=True)
class Constraint:
    """What the baseline says of one feature. `domain` is None if the feature may hold any value."""

    name: str
    inferred_type: str
    completeness: float
    domain: frozenset[str] | None
    settings: Settings


def suggest(profiles: Sequence[ColumnProfile]) -> dict[str, Any]:
    """The document for a baseline of these columns."""
    return {
        "version": VERSION,
        "features": [_suggest(profile) for profile in profiles],
        "monitoring_config": MONITORING_CONFIG,
    }


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


def read(document: Mapping[str, Any]) -> list[Constraint]:
    """The features of a constraints document in their order; UserError names what it lacks."""
    common = document.get("monitoring_config") or MONITORING_CONFIG
    try:
        return [_read(entry, common) for entry in document["features"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"the baseline's constraints cannot be read ({type(error).__name__}: {error}): run the baseline again"
        ) from error


def _read(entry: Mapping[str, Any], common: Mapping[str, Any]) -> Constraint:
    domains = (entry.get("string_constraints") or {}).get("domains")
    return Constraint(
        name=str(entry["name"]),
        inferred_type=str(entry["inferred_type"]),
        completeness=float(entry["completeness"]),
        domain=None if domains is None else frozenset(map(str, domains)),
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
    if compared["comparison_method"] not in drift.METHODS:
        raise UserError(
            f"the baseline's comparison_method is {compared['comparison_method']!r}: use one of "
            f"{', '.join(drift.METHODS)}"
        )
    if compared["categorical_drift_method"] != "LInfinity":
        raise UserError(
            f"the baseline's categorical_drift_method is {compared['categorical_drift_method']!r}: "
            "only LInfinity is implemented"
        )
    return Settings(
        evaluate=plain["evaluate_constraints"] == ENABLED,
        emit_metrics=plain["emit_metrics"] == ENABLED,
        datatype_threshold=float(plain["datatype_check_threshold"]),
        domain_threshold=float(plain["domain_content_threshold"]),
        compare=compared["perform_comparison"] == ENABLED,
        numeric_threshold=float(compared["comparison_threshold"]),
        categorical_threshold=float(compared["categorical_comparison_threshold"]),
        method=str(compared["comparison_method"]),
    )
