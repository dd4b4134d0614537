"""The page of an explanation: verdict first, then the features by attribution, beside their place in the baseline."""

from __future__ import annotations

from collections.abc import Mapping

from sagewind.jobs import page, svg
from sagewind.jobs.analysis import output
from sagewind.jobs.explain.ndcg import THRESHOLD
from sagewind.jobs.explain.result import ExplainResult
from sagewind.jobs.svg import number

FOOTER = "analysis.json, explanation.json and constraint_violations.json beside this page hold the numbers."
#: Features that are drawn; the table holds all.
DRAWN = 15
READING = (
    "nDCG compares the two rankings: 1 is the same order, less the further up features that mattered in the baseline "
    f"have fallen. Below {THRESHOLD} it is a violation."
)


def render(result: ExplainResult) -> str:
    """The whole page."""
    title = "Baseline of feature attributions" if result.baseline is None else "What the predictions rest on"
    subtitle = f"{result.how['rows_explained']:,} rows · {result.how['features']} features · {result.how['unit']}"
    sections = [_verdict(result)]
    if result.scores:
        sections.append(_scores(result))
    for label, values in result.labels.items():
        sections.append(_label(label, values, (result.baseline or {}).get(label)))
    sections.append(output.notes([*result.tally.notes(), *result.notes]))
    return page.document(title, subtitle, sections, FOOTER)


def _verdict(result: ExplainResult) -> str:
    if result.baseline is None:
        return page.verdict(True, "Baseline made", "Later attributions are ranked against these.")
    if result.drifted:
        shown = ", ".join(f"{label} (nDCG {result.scores[label]:.3f})" for label in result.drifted[:6])
        return page.verdict(
            False, "The predictions rest on other features than in the baseline", f"Concerned: {shown}."
        )
    least = min(result.scores.values())
    if result.unchecked:
        shown = ", ".join(result.unchecked)
        return page.verdict(None, "No violations, but not everything could be compared", f"Only on one side: {shown}.")
    return page.verdict(
        True, "No violations: the features matter in the same order", f"The lowest nDCG is {least:.3f}."
    )


def _scores(result: ExplainResult) -> str:
    rows = [
        (label, f"{score:.4f}", str(THRESHOLD), page.yes_no(score >= THRESHOLD, "same ranking", "drifted"))
        for label, score in result.scores.items()
    ]
    table = page.table(("Label", "nDCG", "Least allowed", "Verdict"), rows, numeric=(1, 2))
    return page.section("How alike the rankings are", page.card(page.paragraph(READING, "muted"), table))


def _label(label: str, values: Mapping[str, float], before: Mapping[str, float] | None) -> str:
    ordered = sorted(values, key=lambda name: -abs(values[name]))
    most = max((abs(value) for value in values.values()), default=0.0) or 1.0
    bars = [(name, abs(values[name]) / most, number(values[name])) for name in ordered[:DRAWN]]
    chart = svg.horizontal_bars(f"Attribution of each feature to {label}", bars)
    places = {} if before is None else _places(before)
    rows = []
    for place, name in enumerate(ordered, start=1):
        row = [str(place), name, number(values[name])]
        if before is not None:
            row += [number(before[name]) if name in before else "none", str(places.get(name, "none"))]
        rows.append(row)
    headings = ("Place", "Feature", "Attribution", "Baseline", "Place in the baseline")
    table = page.table(headings[: 3 if before is None else 5], rows, numeric=(0, 2, 3, 4))
    figure = page.figure("Attributions", chart, "How much each feature moves the answer, over all explained rows.")
    return page.section(f"Attributions · {label}", figure, page.details("All features", table))


def _places(values: Mapping[str, float]) -> dict[str, int]:
    ordered = sorted(values, key=lambda name: -abs(values[name]))
    return {name: place for place, name in enumerate(ordered, start=1)}
