"""The page of a model-quality run: verdict first, then each metric beside its limit, then matrix and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sagewind.jobs import page, svg
from sagewind.jobs.analysis import output
from sagewind.jobs.quality.result import QualityResult
from sagewind.jobs.quality_constraints import OPERATORS
from sagewind.jobs.svg import Plot, number

FOOTER = "statistics.json, constraints.json and constraint_violations.json beside this page hold the numbers."
#: More classes than this are not drawn as a matrix: it could not be read.
MOST_DRAWN = 12


def render(result: QualityResult) -> str:
    """The whole page."""
    baseline = result.violations is None
    title = "Baseline of the model's quality" if baseline else "Quality of the model's predictions"
    subtitle = f"{result.tally.used:,} predictions with their ground truth · {result.problem}"
    sections = [_verdict(result), _metrics(result), _matrix(result.block, result.classes), _curves(result.block)]
    sections.append(output.notes(result.notes()))
    return page.document(title, subtitle, [section for section in sections if section], FOOTER)


def _verdict(result: QualityResult) -> str:
    rows = f"{result.tally.used:,} predictions"
    lost = result.tally.unusable
    left_out = f" {lost:,} other {'record' if lost == 1 else 'records'} could not be used." if lost else ""
    if result.violations is None:
        return page.verdict(
            True, "Baseline made", f"Later predictions are held against the metrics of these {rows}.{left_out}"
        )
    if result.violations:
        names = ", ".join(violation.metric for violation in result.violations)
        noun = "metric is" if len(result.violations) == 1 else "metrics are"
        return page.verdict(
            False, f"{len(result.violations)} {noun} worse than the limit", f"Concerned: {names}.{left_out}"
        )
    if result.unchecked:
        missing = ", ".join(result.unchecked)
        detail = f"Not defined here: {missing}.{left_out}"
        return page.verdict(None, "No violations, but not everything could be checked", detail)
    if left_out:
        return page.verdict(None, "No violations, but not every record could be used", f"{rows} checked.{left_out}")
    return page.verdict(True, "No violations: every metric is within its limit", f"{rows} checked.")


def _metrics(result: QualityResult) -> str:
    values = {name: entry for name, entry in result.block.items() if isinstance(entry, Mapping) and "value" in entry}
    bad = {violation.metric for violation in result.violations or ()}
    checked = [name for name in values if name in (result.thresholds or OPERATORS[result.problem])]
    rows = [
        _unchecked(name, result.thresholds[name])
        if name in result.unchecked
        else _row(name, values[name], result.thresholds.get(name), name in bad)
        for name in [*checked, *(name for name in result.unchecked if name not in checked)]
    ]
    others = [_row(name, entry, None, False)[:3] for name, entry in values.items() if name not in checked]
    headings = ("Metric", "Value", "Standard deviation", "Limit", "Verdict")
    more = page.details("Metrics without a limit", page.table(headings[:3], others, numeric=(1, 2))) if others else ""
    shown = headings if result.violations is not None else headings[:3]
    table = page.table(shown, [row[: len(shown)] for row in rows], numeric=(1, 2, 3))
    return page.section("The numbers", page.card(table, more))


def _row(name: str, entry: Mapping[str, Any], limit: float | None, bad: bool) -> tuple[str, ...]:
    deviation = entry["standard_deviation"]
    spread = "fewer than 200 rows" if isinstance(deviation, str) else number(deviation)
    if limit is None:
        return name, number(entry["value"]), spread, "none", ""
    return name, number(entry["value"]), spread, number(limit), page.yes_no(not bad, "within the limit", "worse")


def _unchecked(name: str, limit: float) -> tuple[str, ...]:
    return name, "not defined", "", number(limit), "not checked"


def _matrix(block: Mapping[str, Any], classes: Sequence[str]) -> str:
    if "confusion_matrix" not in block or not 2 <= len(classes) <= MOST_DRAWN:
        return ""
    counts = [[block["confusion_matrix"][row][column] for column in classes] for row in classes]
    chart = svg.matrix("Confusion matrix", classes, counts)
    caption = "Rows are what came true, columns what was predicted; right predictions lie on the diagonal."
    return page.section("Right and wrong predictions", page.figure("Confusion matrix", chart, caption, narrow=True))


def _curves(block: Mapping[str, Any]) -> str:
    if "receiver_operating_characteristic_curve" not in block:
        return ""
    roc, recall = block["receiver_operating_characteristic_curve"], block["precision_recall_curve"]
    first = Plot("ROC curve", "True positive rate against false positive rate", (0, 1), (0, 1))
    first.axes("False positive rate", "True positive rate")
    first.line([(0, 0), (1, 1)], "ref")
    first.line(list(zip(roc["false_positive_rates"], roc["true_positive_rates"], strict=True)), "s1")
    second = Plot("Precision and recall", "Precision against recall", (0, 1), (0, 1))
    second.axes("Recall", "Precision")
    second.line(list(zip(recall["recalls"], recall["precisions"], strict=True)), "s1")
    return page.section(
        "Over all thresholds",
        page.grid(
            page.figure("ROC curve", first.svg(), "The nearer to the upper left corner, the better."),
            page.figure("Precision and recall", second.svg(), "The nearer to the upper right corner, the better."),
        ),
    )
