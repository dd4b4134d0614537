"""Data quality: statistics and constraints of a data set, and its violations of a baseline's constraints.

Without `baseline_constraints` this makes a baseline, with it a check.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagewind.facts import contract
from sagewind.jobs.analysis.dataset import metric_time, required
from sagewind.jobs.analysis.output import conclude
from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.job import UserError, read_json, write_json
from sagewind.jobs.monitor import checks, cloudwatch, column_profile, constraints, drift_file, inputs, report, scripts
from sagewind.jobs.monitor.column_profile import ColumnProfile
from sagewind.jobs.monitor.constraints import FeatureConstraint


@dataclass(frozen=True)
class Baseline:
    """What the data is held against; `statistics` (by feature) is empty if only constraints were given."""

    constraints: Sequence[FeatureConstraint]
    statistics: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class DataQualityResult:
    """What a check has found: the distances of the columns, and the violations."""

    distances: Mapping[str, checks.Distance]
    violations: Sequence[checks.DataQualityViolation]


def main() -> None:
    """Run the job with the settings of its environment."""
    _refuse_unsupported()
    baseline = read_baseline()
    known = [constraint.name for constraint in baseline.constraints] if baseline else []
    domains = {each.name: each.domain for each in baseline.constraints if each.domain is not None} if baseline else {}
    dataset = inputs.read(known, domains)
    profiles = column_profile.profiles(dataset.columns)
    output = contract.resolve(required(contract.OUTPUT_PATH))
    statistics = write_statistics(output, dataset.rows, profiles)
    outcome = _check(output, baseline, profiles, statistics) if baseline else None
    _publish(profiles, baseline, outcome)
    write_report(
        output,
        statistics,
        baseline,
        outcome,
        [*dataset.notes, f"The window: {CaptureWindow.of_environment().words()}."],
    )
    _tell(dataset, outcome)
    after = os.environ.get(contract.POSTPROCESSOR)
    if after:
        scripts.postprocess(contract.resolve(after), contract.POSTPROCESSOR)


def _refuse_unsupported() -> None:
    for name, harmless in contract.UNSUPPORTED.items():
        value = os.environ.get(name, "")
        if value not in harmless:
            raise UserError(f"the setting {name} is {value!r}, which this analyzer does not implement: leave it out")


def read_baseline() -> Baseline | None:
    """The baseline that the environment names, or None for a baseline run."""
    path = os.environ.get(contract.BASELINE_CONSTRAINTS)
    if not path:
        return None
    document = read_json(contract.resolve(path), "the baseline's constraints")
    given = os.environ.get(contract.BASELINE_STATISTICS)
    features: list[Mapping[str, Any]] = []
    if given:
        features = read_json(contract.resolve(given), "the baseline's statistics").get("features") or []
    method = os.environ.get(contract.CATEGORICAL_DRIFT) or None
    return Baseline(constraints.read(document, method), {str(feature["name"]): feature for feature in features})


def write_statistics(output: Path, rows: int, profiles: Sequence[ColumnProfile]) -> Mapping[str, Any]:
    """statistics.json and constraints.json; returns the statistics."""
    statistics = {
        "version": constraints.VERSION,
        "dataset": {"item_count": rows},
        "features": [each.statistics() for each in profiles],
    }
    write_json(output / contract.STATISTICS_JSON, statistics)
    method = os.environ.get(contract.CATEGORICAL_DRIFT) or None
    write_json(output / contract.CONSTRAINTS_JSON, constraints.suggest(profiles, method))
    return statistics


def _check(
    output: Path, baseline: Baseline, profiles: Sequence[ColumnProfile], statistics: Mapping[str, Any]
) -> DataQualityResult:
    by_name = {each.name: each for each in profiles}
    distances = checks.distances(baseline.constraints, baseline.statistics, by_name)
    found = checks.violations(baseline.constraints, by_name, distances)
    write_json(output / contract.VIOLATIONS_JSON, {"violations": [violation.record() for violation in found]})
    write_json(output / contract.DRIFT_JSON, drift_file.document(baseline.statistics, statistics, distances))
    return DataQualityResult(distances, found)


def write_report(
    output: Path,
    statistics: Mapping[str, Any],
    baseline: Baseline | None,
    outcome: DataQualityResult | None,
    notes: Sequence[str],
) -> None:
    """The page for people."""
    page = report.render(
        statistics,
        baseline.statistics if baseline else {},
        outcome.distances if outcome else {},
        outcome.violations if outcome else None,
        notes,
    )
    (output / contract.REPORT_HTML).write_text(page, encoding="utf-8")


def _publish(profiles: Sequence[ColumnProfile], baseline: Baseline | None, outcome: DataQualityResult | None) -> None:
    if os.environ.get(contract.PUBLISH_CLOUDWATCH) != constraints.ENABLED:
        return
    silent = {each.name for each in baseline.constraints if not each.settings.emit_metrics} if baseline else set()
    profiles = [each for each in profiles if each.name not in silent]
    path = cloudwatch.write(contract.cloudwatch_dir(), profiles, outcome.distances if outcome else {}, metric_time())
    print(f"monitor: metrics for CloudWatch in {path}")


def _tell(dataset: inputs.Dataset, outcome: DataQualityResult | None) -> None:
    """The log and the message."""
    for note in dataset.notes:
        print(f"monitor: {note}")
    print(f"monitor: {dataset.rows} rows, {len(dataset.columns)} columns analysed")
    found = outcome.violations if outcome else ()
    for violation in found:
        print(f"monitor: {violation.feature_name}: {violation.constraint_check_type}: {violation.description}")
    conclude(len(found))
