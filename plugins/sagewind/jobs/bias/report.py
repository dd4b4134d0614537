"""The page of a bias run: verdict first, then for every group each metric in words beside its baseline."""

from __future__ import annotations

import math
from typing import Any

from sagewind.jobs import page
from sagewind.jobs.analysis import output
from sagewind.jobs.bias import drift
from sagewind.jobs.bias.drift import POST, PRE, Key
from sagewind.jobs.bias.result import BiasResult
from sagewind.jobs.svg import number

FOOTER = "analysis.json and constraint_violations.json beside this page hold the numbers."
TITLES = {PRE: "In the data: labels", POST: "In the predictions"}
#: What a metric compares; "the group" is the facet's, "the rest" everybody else.
MEANING = {
    "CDDL": "the group's share of the refused less its share of the accepted, within strata",
    "CI": "how much larger the rest is than the group",
    "DPL": "positive labels: share in the rest less share in the group",
    "JS": "how far apart the label distributions are, symmetric",
    "KL": "how far the rest's labels are from the group's",
    "KS": "the largest gap between the label distributions",
    "LP": "the distance between the label distributions",
    "TVD": "half the sum of the gaps between the label distributions",
    "AD": "accuracy: the rest's less the group's",
    "CDDPL": "as CDDL, of the predictions",
    "DAR": "precision: the rest's less the group's",
    "DCA": "labelled positives per predicted positive: the rest's less the group's",
    "DCR": "labelled negatives per predicted negative: the group's less the rest's",
    "DI": "positive predictions: share in the group over share in the rest; 1 is parity",
    "DPPL": "positive predictions: share in the rest less share in the group",
    "DRR": "right refusals per refusal: the group's less the rest's",
    "FT": "members of the group who would be predicted otherwise with the rest's neighbours",
    "GE": "how unequally wrong predictions benefit, over all rows",
    "RD": "recall: the rest's less the group's",
    "SD": "specificity: the group's less the rest's",
    "TE": "false negatives per false positive: the group's less the rest's",
}


def render(result: BiasResult) -> str:
    """The whole page."""
    baseline = result.violations is None
    title = "Baseline of bias" if baseline else "Bias of data and predictions"
    before = {key.place(): value for key, value in drift.metrics(result.baseline)}
    bad = {violation.key for violation in result.violations or ()}
    sections = [_verdict(result), *_decided(result, before)]
    for stage, heading in TITLES.items():
        for facet, groups in result.analysis.get(stage, {}).get("facets", {}).items():
            sections += [_group(result, stage, heading, facet, group, before, bad) for group in groups]
    sections.append(output.notes([*result.tally.notes(), *result.notes]))
    return page.document(title, f"{result.tally.used:,} rows", sections, FOOTER)


def _verdict(result: BiasResult) -> str:
    if result.violations is None:
        return page.verdict(True, "Baseline made", "Later metrics may not be farther from balance than these.")
    if result.violations:
        names = ", ".join(violation.key.words() for violation in result.violations[:6])
        more = f" and {len(result.violations) - 6} more" if len(result.violations) > 6 else ""
        count = f"{len(result.violations)} metric{'s are' if len(result.violations) > 1 else ' is'}"
        return page.verdict(False, f"{count} farther from balance than in the baseline", f"Concerned: {names}{more}.")
    if result.unchecked:
        shown = ", ".join(result.unchecked[:6])
        return page.verdict(None, "No violations, but not everything could be checked", f"Not defined here: {shown}.")
    return page.verdict(True, "No violations: as balanced as in the baseline", f"{result.tally.used:,} rows checked.")


def _decided(result: BiasResult, before: dict[tuple[str, str, str, str], float | None]) -> list[str]:
    """The violations with the numbers that decided; nothing where there are none."""
    if not result.violations:
        return []
    now = dict(drift.metrics(result.analysis))
    rows = []
    for violation in result.violations:
        key = violation.key
        value, old = now.get(key), before.get(key.place())
        rows.append((key.metric, MEANING[key.metric], f"{key.facet} = {key.value}", _number(value), _number(old)))
    table = page.table(("Metric", "What it compares", "Group", "Value", "Baseline"), rows, numeric=(3, 4))
    return [page.section("What is farther from balance", page.card(table))]


def _group(
    result: BiasResult,
    stage: str,
    heading: str,
    facet: str,
    group: dict[str, Any],
    before: dict[tuple[str, str, str, str], float | None],
    bad: set[Key],
) -> str:
    value = str(group["value_or_threshold"])
    members, rows = result.sizes[facet, value]
    lines = []
    for metric in group["metrics"]:
        key = Key(stage, facet, value, metric["name"])
        old = before.get(key.place())
        meaning = MEANING[metric["name"]]
        if metric["value"] is None:
            meaning += f"; not defined: {metric['error']}"
        cells = [metric["name"], meaning, _number(drift.number(metric["value"])), _number(old)]
        judged = old is not None and metric["value"] is not None
        lines.append([*cells, page.yes_no(key not in bad, "no farther", "farther") if judged else "not compared"])
    width = 3 if result.violations is None else 5
    headings = ("Metric", "What it compares", "Value", "Baseline", "From balance")
    table = page.table(headings[:width], [line[:width] for line in lines], numeric=(2, 3))
    words = page.paragraph(f"{members:,} of {rows:,} rows belong to the group.", "muted")
    return page.section(f"{heading} · {facet} = {value}", page.card(words, table))


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return number(value) if math.isfinite(value) else str(value)
