"""Processing job `monitor`: the analyzer of SageMaker Model Monitor's data quality, as an ordinary job of our own.

It honours AWS's contract: settings in environment variables; statistics.json, constraints.json and (with a baseline)
constraint_violations.json in the output; the verdict in the message file; metric files if asked for. Without
`baseline_constraints` it makes a baseline, with it a check. Violations are a result, not a failure: the exit code is 0.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from include.jobs import capture, checks, cloudwatch, constraints, contract, monitor_report, raw_files
from include.jobs.capture import Captured, Window
from include.jobs.config import parse_time
from include.jobs.constraints import Constraint
from include.jobs.job import UserError, read_json, run, write_json, write_message
from include.jobs.profile import ColumnProfile

CSV, JSON, PARQUET, CAPTURE = "csv", "json", "parquet", "sagemakerCaptureJson"
TRUE = (True, "true", "True")
CAPTURE_INDEXES = ("endpointInput", "endpointOutput")


@dataclass(frozen=True)
class Baseline:
    """What the data is held against; `statistics` (by feature) is empty if only constraints were given."""

    constraints: Sequence[Constraint]
    statistics: Mapping[str, Mapping[str, Any]]


@dataclass
class Dataset:
    """Columns of text by name, and what was seen on the way in (lines for the log and the report)."""

    columns: dict[str, list[str]]
    notes: list[str] = field(default_factory=list)


def main() -> None:
    """Run the job with the settings of its environment."""
    _refuse_unsupported()
    baseline = read_baseline()
    dataset = read_dataset(baseline)
    domains = {each.name: each.domain for each in baseline.constraints} if baseline else {}
    profiles = [ColumnProfile.of(name, cells, domains.get(name)) for name, cells in dataset.columns.items()]
    rows = profiles[0].present + profiles[0].missing
    output = contract.resolve(_required(contract.OUTPUT_PATH))
    statistics = {
        "version": constraints.VERSION,
        "dataset": {"item_count": rows},
        "features": [profile.statistics() for profile in profiles],
    }
    write_json(output / contract.STATISTICS_JSON, statistics)
    write_json(output / contract.CONSTRAINTS_JSON, constraints.suggest(profiles))
    by_name = {profile.name: profile for profile in profiles}
    distances: dict[str, checks.Distance] = {}
    found: list[checks.Violation] | None = None
    if baseline is not None:
        distances = checks.distances(baseline.constraints, baseline.statistics, by_name)
        found = checks.violations(baseline.constraints, by_name, distances)
        write_json(output / contract.VIOLATIONS_JSON, {"violations": [violation.record() for violation in found]})
    _publish(profiles, distances)
    report = monitor_report.render(
        statistics, baseline.statistics if baseline else {}, distances, found, [*dataset.notes, _window().words()]
    )
    (output / contract.REPORT_HTML).write_text(report, encoding="utf-8")
    _tell(rows, profiles, dataset.notes, found)


def _refuse_unsupported() -> None:
    for name, harmless in contract.UNSUPPORTED.items():
        value = os.environ.get(name, "")
        if value not in harmless:
            raise UserError(f"the setting {name} is {value!r}, which this analyzer does not implement: leave it out")


def _required(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise UserError(f"the environment variable {name} is missing: set it as for SageMaker Model Monitor's analyzer")
    return value


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
    return Baseline(constraints.read(document), {str(feature["name"]): feature for feature in features})


def read_dataset(baseline: Baseline | None) -> Dataset:
    """The data to analyse, by the format that the environment names; UserError if there is none."""
    folder = contract.resolve(_required(contract.DATASET_SOURCE))
    kind, options = _format()
    known = [constraint.name for constraint in baseline.constraints] if baseline else []
    if kind == CAPTURE:
        return _captured(folder, options, known)
    if not folder.exists() or not any(path.is_file() for path in folder.rglob("*")):
        raise UserError(f"no data: {contract.DATASET_SOURCE} {folder} holds no file, check the job's input")
    headless = kind == CSV and options.get("header") not in TRUE
    table = raw_files.read_folder(folder, raw_files.POSITIONAL if headless else None)
    names = table.columns
    if headless:
        names = [known[index] if index < len(known) else name for index, name in enumerate(table.columns)]
    return Dataset(dict(zip(names, table.cells, strict=True)), [f"{len(table)} rows of {', '.join(table.files)}"])


def _format() -> tuple[str, Mapping[str, Any]]:
    text = _required(contract.DATASET_FORMAT)
    try:
        ((kind, options),) = json.loads(text).items()
    except (ValueError, AttributeError) as error:
        raise UserError(
            f'{contract.DATASET_FORMAT} is {text!r}: write JSON such as {{"csv": {{"header": true}}}}'
        ) from error
    if kind not in (CSV, JSON, PARQUET, CAPTURE):
        raise UserError(f"{contract.DATASET_FORMAT} is {kind!r}: use one of {CSV}, {JSON}, {PARQUET}, {CAPTURE}")
    return kind, options or {}


def _captured(folder: Path, options: Mapping[str, Any], known: Sequence[str]) -> Dataset:
    names = options.get("captureIndexNames") or CAPTURE_INDEXES[:1]
    strange = [name for name in names if name not in CAPTURE_INDEXES]
    if strange:
        raise UserError(f"captureIndexNames holds {strange[0]!r}: use {' and/or '.join(CAPTURE_INDEXES)}")
    captured = capture.read(folder, names, _window(), os.environ.get(contract.EXCLUDED_INFERENCE_IDS, ""))
    return Dataset(captured.named(known), _capture_notes(captured))


def _capture_notes(captured: Captured) -> list[str]:
    notes = [f"{captured.rows} rows of {captured.requests} captured requests"]
    if captured.outside:
        notes.append(f"{captured.outside} requests lie outside the window")
    if captured.excluded:
        notes.append(f"{captured.excluded} requests are excluded by their inference id")
    if captured.corrupt:
        notes.append(f"{captured.corrupt} captured lines could not be read")
        notes += captured.corrupt_lines
    return notes


def _window() -> Window:
    start, end = (os.environ.get(name) for name in (contract.START_TIME, contract.END_TIME))
    return Window(
        parse_time(start, contract.START_TIME) if start else None, parse_time(end, contract.END_TIME) if end else None
    )


def _publish(profiles: Sequence[ColumnProfile], distances: Mapping[str, checks.Distance]) -> None:
    if os.environ.get(contract.PUBLISH_CLOUDWATCH) != constraints.ENABLED:
        return
    given = os.environ.get(contract.METRIC_TIME) or os.environ.get(contract.END_TIME)
    moment = parse_time(given, "the time of the metrics") if given else datetime.now(timezone.utc)  # noqa: UP017
    path = cloudwatch.write(contract.cloudwatch_dir(), profiles, distances, moment)
    print(f"monitor: metrics for CloudWatch in {path}")


def _tell(
    rows: int, profiles: Sequence[ColumnProfile], notes: Sequence[str], found: Sequence[checks.Violation] | None
) -> None:
    """The log and the message; its texts are those of AWS's analyzer."""
    for note in notes:
        print(f"monitor: {note}")
    print(f"monitor: {rows} rows, {len(profiles)} columns analysed")
    for violation in found or ():
        print(f"monitor: {violation.feature_name}: {violation.constraint_check_type}: {violation.description}")
    if found:
        write_message(f"CompletedWithViolations: Job completed successfully with {len(found)} violations.")
    else:
        write_message("Completed: Job completed successfully with no violations.")


if __name__ == "__main__":
    sys.exit(run(main))
