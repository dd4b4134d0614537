"""The page of a monitor run: verdict first, then each finding in words, then every column beside the baseline.

Written for somebody who never saw the JSON files: each column shows its shape in the training data and now, and the
numbers that decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sagewind.jobs import page
from sagewind.jobs.monitor.checks import DataQualityViolation, Distance, category_counts
from sagewind.jobs.monitor.kll import Distribution
from sagewind.jobs.page import Html
from sagewind.jobs.svg import number

Document = Mapping[str, Any]
BINS, TOP = 20, 8
WIDTH, HEIGHT = 220, 56
#: Columns that are shown at once; the others are folded away.
OPEN = 12
MEANING = {
    "data_type_check": "other kind of value",
    "completeness_check": "missing values",
    "baseline_drift_check": "other distribution",
    "missing_column_check": "columns missing",
    "extra_column_check": "columns too many",
    "categorical_values_check": "unknown categories",
}
STYLE = """<style>.spark{width:220px;height:56px;margin:0}.spark .s1{fill:var(--s1)}.spark .s2{fill:var(--s2)}
td .spark+small{color:var(--muted)}</style>"""


def render(
    statistics: Document,
    baseline: Mapping[str, Document],
    distances: Mapping[str, Distance],
    found: Sequence[DataQualityViolation] | None,
    notes: Sequence[str],
) -> str:
    """The whole page. `found` is None for a baseline run; `baseline` holds the baseline's statistics by feature."""
    features = {str(feature["name"]): feature for feature in statistics["features"]}
    rows = statistics["dataset"]["item_count"]
    sections = [STYLE, _verdict(found, rows, len(features))]
    if found:
        sections.append(_findings(found, features, baseline))
    sections += [_columns(features, baseline, distances, found or ()), _notes(notes)]
    title = "Baseline of the training data" if found is None else "Data quality of the traffic"
    files = ["statistics.json", "constraints.json"]
    files += [] if found is None else ["constraint_violations.json", "drift.json"]
    footer = f"{', '.join(files)} beside this page hold it all."
    return page.document(title, f"{rows:,} rows · {len(features)} columns", sections, footer)


def _verdict(found: Sequence[DataQualityViolation] | None, rows: int, columns: int) -> str:
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


def _findings(
    found: Sequence[DataQualityViolation], features: Mapping[str, Document], baseline: Mapping[str, Document]
) -> str:
    rows = [
        (
            violation.feature_name,
            MEANING[violation.constraint_check_type],
            _in_words(violation, baseline.get(violation.feature_name), features.get(violation.feature_name)),
            violation.description,
        )
        for violation in found
    ]
    headings = ("Column", "Finding", "In words", "As AWS words it")
    return page.section("What is wrong", page.card(page.table(headings, rows)))


def _in_words(violation: DataQualityViolation, before: Document | None, now: Document | None) -> str:
    if before is None or now is None:
        return ""
    if violation.constraint_check_type == "completeness_check":
        return f"{_share(_block(before))} of the rows had a value in training, {_share(_block(now))} have one now."
    if violation.constraint_check_type == "baseline_drift_check":
        return f"In training: {_values(before)}. Now: {_values(now)}."
    if violation.constraint_check_type == "categorical_values_check":
        new = [value for value in category_counts(now) if value not in category_counts(before)]
        return f"Not seen in training: {', '.join(new[:5])}." if new else "Values that were not seen in training."
    return f"It was {before['inferred_type']} in training and is {now['inferred_type']} now."


def _columns(
    features: Mapping[str, Document],
    baseline: Mapping[str, Document],
    distances: Mapping[str, Distance],
    found: Sequence[DataQualityViolation],
) -> str:
    """A row for every column: those with findings first, then the farthest from the baseline."""
    bad = {violation.feature_name for violation in found}
    ordered = sorted(features, key=lambda name: (name not in bad, -_excess(distances.get(name))))
    rows = [_row(name, features[name], baseline.get(name), distances.get(name), name in bad) for name in ordered]
    headings: Sequence[str] = ("Column", "Values", "Present", "Distinct about")
    if baseline:
        headings = ("Column", "Training data", "Now", "Present", "Distinct about", "Distance (allowed)", "Verdict")
    shown = page.card(page.table(headings, rows[:OPEN]))
    more = page.details(f"{len(rows) - OPEN} more columns", page.card(page.table(headings, rows[OPEN:])))
    explained = (
        "The distance is the largest gap between the two cumulative distributions (or shares of a category), less what "
        "samples of these sizes differ by from chance; 0 is no difference, 1 is nothing in common. (Where the baseline "
        "asks for ChiSquared it is a p-value, and a small one is a difference.)"
    )
    intro = page.paragraph(explained, "muted") if distances else ""
    return page.section("Every column", intro, shown, more if len(rows) > OPEN else "")


def _excess(distance: Distance | None) -> float:
    return 0.0 if distance is None else distance.excess


def _row(name: str, now: Document, before: Document | None, distance: Distance | None, bad: bool) -> tuple[str, ...]:
    label = Html(f"<strong>{escape(name)}</strong><br><small>{escape(str(now['inferred_type']))}</small>")
    ends = _ends([now, before])
    picture = Html(f"{_picture(now, ends, before, 's2')}<small>{escape(_values(now))}</small>")
    if before is None:
        return (label, picture, _share(_block(now)), _distinct(now))
    training = Html(f"{_picture(before, ends, before, 's1')}<small>{escape(_values(before))}</small>")
    return (
        label,
        training,
        picture,
        f"{_share(_block(before))} → {_share(_block(now))}",
        f"{_distinct(before)} → {_distinct(now)}",
        f"{distance.value:.3f} ({number(distance.threshold)})" if distance is not None else "not compared",
        page.yes_no(not bad, "as in training", "differs"),
    )


def _block(feature: Document) -> Document:
    found: Document = feature.get("numerical_statistics") or feature.get("string_statistics") or {}
    return found


def _share(block: Document) -> str:
    share = float(block.get("completeness", 0.0))
    return "100 %" if share == 1 else f"{100 * share:.2f} %"


def _distinct(feature: Document) -> str:
    block = _block(feature)
    return f"{int(block.get('approximate_num_distinct_values', block.get('distinct_count', 0))):,}"


def _values(feature: Document) -> str:
    numbers = feature.get("numerical_statistics")
    if numbers:
        return f"{number(numbers['min'])} … {number(numbers['max'])}, mean {number(float(numbers['mean']))}"
    common = sorted(category_counts(feature).items(), key=lambda pair: -pair[1])[:3]
    if not common:
        return "no value" if not _block(feature)["common"]["num_present"] else "too many values to list"
    return ", ".join(f"{value} ({int(count):,})" for value, count in common)


def _ends(features: Sequence[Document | None]) -> tuple[float, float] | None:
    """The range that both pictures of a column share."""
    blocks = [feature["numerical_statistics"] for feature in features if feature and "numerical_statistics" in feature]
    if not blocks:
        return None
    return min(block["min"] for block in blocks), max(block["max"] for block in blocks)


def _picture(feature: Document, ends: tuple[float, float] | None, order: Document | None, style: str) -> str:
    numbers = feature.get("numerical_statistics")
    if numbers and ends:
        distribution = Distribution.of(numbers["distribution"]["kll"]["sketch"]["data"])
        edges = np.linspace(*ends, BINS + 1)
        ranks = np.concatenate([[0.0], distribution.at_most(edges[1:])])
        return _bars(
            (np.diff(ranks) / (distribution.total or 1)).tolist(), f"{number(ends[0])} to {number(ends[1])}", style
        )
    counts = category_counts(feature)
    if not counts:
        return ""
    reference = category_counts(order) if order else counts
    names = sorted({*reference, *counts}, key=lambda value: (-reference.get(value, 0), value))[:TOP]
    total = sum(counts.values())
    return _bars([counts.get(name, 0) / total for name in names], ", ".join(names), style)


def _bars(shares: Sequence[float], title: str, style: str) -> str:
    most = max(shares, default=0) or 1
    step = WIDTH / max(len(shares), 1)
    bars = "".join(
        f'<rect class="{style}" x="{step * at:.1f}" y="{HEIGHT - max(share / most * HEIGHT, 1 if share else 0):.1f}" '
        f'width="{max(step - 1.5, 1):.1f}" height="{max(share / most * HEIGHT, 1 if share else 0):.1f}"/>'
        for at, share in enumerate(shares)
    )
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" preserveAspectRatio="none">'
        f"<title>{escape(title)}</title>{bars}</svg>"
    )


def _notes(notes: Sequence[str]) -> str:
    return page.section("How it was read", *(page.paragraph(note, "muted") for note in notes))
