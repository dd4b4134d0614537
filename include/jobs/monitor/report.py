"""The page of a monitor run: verdict first, then each violation, the drift of all columns and their statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from include.jobs import page
from include.jobs.monitor.checks import Distance, Violation
from include.jobs.monitor.kll import Distribution
from include.jobs.svg import Plot, number

#: Columns whose distributions are drawn, the farthest from the baseline first.
DRAWN = 6
POINTS = 120
Document = Mapping[str, Any]


def render(
    statistics: Document,
    baseline: Mapping[str, Document],
    distances: Mapping[str, Distance],
    found: Sequence[Violation] | None,
    notes: Sequence[str],
) -> str:
    """The whole page. `found` is None for a baseline run; `baseline` holds the baseline's statistics by feature."""
    features = {str(feature["name"]): feature for feature in statistics["features"]}
    rows = statistics["dataset"]["item_count"]
    sections = [_verdict(found, rows, len(features))]
    if found:
        sections.append(_violations(found))
    if distances:
        sections.append(_drift(distances))
        sections.append(_distributions(features, baseline, distances))
    sections += [_columns(features, baseline), _notes(notes)]
    title = "Baseline of the training data" if found is None else "Data quality of the traffic"
    footer = "statistics.json, constraints.json and constraint_violations.json beside this page hold the numbers."
    subtitle = f"{rows:,} rows · {len(features)} columns"
    return page.document(title, subtitle, sections, footer)


def _verdict(found: Sequence[Violation] | None, rows: int, columns: int) -> str:
    if found is None:
        return page.verdict(True, "Baseline made", f"Later data is held against these {rows:,} rows of training data.")
    if not found:
        return page.verdict(
            True, "No violations: the data looks like the training data", f"{rows:,} rows, {columns} columns checked."
        )
    names = list(dict.fromkeys(violation.feature_name for violation in found))
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    noun = "violation" if len(found) == 1 else "violations"
    return page.verdict(False, f"{len(found)} {noun}: the data differs from the training data", f"Concerned: {shown}.")


def _violations(found: Sequence[Violation]) -> str:
    meaning = {
        "data_type_check": "other kind of value",
        "completeness_check": "missing values",
        "baseline_drift_check": "other distribution",
        "missing_column_check": "columns missing",
        "extra_column_check": "columns too many",
        "categorical_values_check": "unknown categories",
    }
    rows = [
        (violation.feature_name, meaning[violation.constraint_check_type], violation.description) for violation in found
    ]
    return page.section("What is wrong", page.card(page.table(("Column", "Finding", "Details"), rows)))


def _drift(distances: Mapping[str, Distance]) -> str:
    ordered = sorted(distances.values(), key=lambda distance: -distance.value / (distance.threshold or 1))
    rows = [
        (
            distance.name,
            distance.kind.lower(),
            f"{distance.value:.4f}",
            number(distance.threshold),
            page.yes_no(not distance.exceeded, "like the baseline", "drifted"),
        )
        for distance in ordered
    ]
    headings = ("Column", "Kind", "Distance", "Allowed", "Verdict")
    explained = (
        "The distance is the largest gap between the two cumulative distributions, less what samples of these sizes "
        "differ by from chance; 0 is no difference, 1 is none in common."
    )
    table = page.table(headings, rows[:10], numeric=(2, 3))
    rest = page.table(headings, rows[10:], numeric=(2, 3))
    more = page.details(f"{len(rows) - 10} more columns", rest) if len(rows) > 10 else ""
    return page.section("Distance from the training data", page.card(page.paragraph(explained, "muted"), table, more))


def _distributions(
    features: Mapping[str, Document], baseline: Mapping[str, Document], distances: Mapping[str, Distance]
) -> str:
    ordered = sorted(distances.values(), key=lambda distance: -distance.value / (distance.threshold or 1))
    numeric = [distance for distance in ordered if distance.kind == "Numerical"][:DRAWN]
    if not numeric:
        return ""
    charts = [_overlay(distance, baseline[distance.name], features[distance.name]) for distance in numeric]
    return page.section("The columns that differ most", page.grid(*charts))


def _overlay(distance: Distance, before: Document, now: Document) -> str:
    numbers = before["numerical_statistics"], now["numerical_statistics"]
    low = min(entry["min"] for entry in numbers)
    high = max(entry["max"] for entry in numbers)
    points = np.linspace(low, high, POINTS)
    plot = Plot(f"Distribution of {distance.name}", f"Distance {distance.value:.3f}", (low, high), (0, 1), height=280)
    plot.axes(distance.name, "Share of rows at most")
    for entry, style in zip(numbers, ("s1", "s2 dash"), strict=True):
        distribution = Distribution.of(entry["distribution"]["kll"]["sketch"]["data"])
        shares = distribution.at_most(points) / distribution.total
        plot.line(list(zip(points.tolist(), shares.tolist(), strict=True)), style)
    caption = (
        f"Mean {number(numbers[0]['mean'])} in training, {number(numbers[1]['mean'])} now; "
        f"distance {distance.value:.3f}, allowed {number(distance.threshold)}."
    )
    return page.figure(distance.name, plot.svg(), caption, legend=("training data", "now (dashed)"))


def _columns(features: Mapping[str, Document], baseline: Mapping[str, Document]) -> str:
    rows = [_column(name, feature, baseline.get(name)) for name, feature in features.items()]
    table = page.table(("Column", "Type", "Present", "Distinct about", "Values", "In training"), rows, numeric=(2, 3))
    return page.section("All columns", page.details(f"Statistics of {len(rows)} columns", page.card(table)))


def _column(name: str, feature: Document, before: Document | None) -> tuple[str, ...]:
    entry = feature.get("numerical_statistics") or feature["string_statistics"]
    distinct = entry.get("approximate_num_distinct_values", entry.get("distinct_count"))
    return (
        name,
        feature["inferred_type"],
        f"{entry['completeness']:.2%}",
        f"{int(distinct):,}",
        _values(feature),
        _values(before) if before else "",
    )


def _values(feature: Document) -> str:
    numbers = feature.get("numerical_statistics")
    if numbers:
        return f"{number(numbers['min'])} … {number(numbers['max'])}, mean {number(numbers['mean'])}"
    distribution = (feature.get("string_statistics") or {}).get("distribution") or {}
    buckets = (distribution.get("categorical") or {}).get("buckets") or []
    common = sorted(buckets, key=lambda bucket: -bucket["count"])[:4]
    return ", ".join(f"{bucket['value']} ({bucket['count']:,})" for bucket in common)


def _notes(notes: Sequence[str]) -> str:
    return page.section("How it was read", *(page.paragraph(note, "muted") for note in notes))
