"""The charts of the evaluation page, per problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sagewind.facts.job_json import JobConfig
from sagewind.jobs import page, svg
from sagewind.jobs.metrics import Floats
from sagewind.jobs.svg import Plot, number

BINS = 20
CALIBRATION_BINS = 10
MOST_DOTS = 600
Document = Mapping[str, Any]


def sections(config: JobConfig, actual: Floats, scores: Floats, evaluation: Document) -> list[str]:
    """The parts of the page between the key numbers and the feature importance."""
    if config.problem == "binary":
        return _binary(config, actual, scores, evaluation)
    if config.problem == "multiclass":
        return _multiclass(actual, scores, evaluation)
    return _regression(actual, scores)


def importance(features: Sequence[Document]) -> str:
    """Bars of the features' shares, the longest filling the width."""
    largest = max((float(feature["share"]) for feature in features), default=0.0) or 1.0
    items = [
        (str(feature["feature"]), float(feature["share"]) / largest, f"{float(feature['share']):.1%}")
        for feature in features
    ]
    return svg.horizontal_bars("Feature importance", items)


def _binary(config: JobConfig, actual: Floats, scores: Floats, evaluation: Document) -> list[str]:
    classes, block = evaluation["classes"], evaluation["binary_classification_metrics"]
    counts = [[block["confusion_matrix"][row][column] for column in "01"] for row in "01"]
    ranking = page.section(
        "How well the score ranks", page.grid(_roc(block, evaluation["metrics"]), _precision_recall(block, evaluation))
    )
    decisions = page.section(
        f"Decisions at the cut-off {config.evaluate.threshold:g}",
        page.grid(
            page.figure(
                "Confusion matrix",
                svg.matrix("Confusion matrix", classes, counts),
                "Each row is what really was, each column what the model said; blue is right, orange is wrong.",
                narrow=True,
            ),
            _thresholds(config, evaluation),
        ),
    )
    trust = page.section(
        "How far the score can be trusted",
        page.grid(_histogram(config, actual, scores, classes), _calibration(actual, scores, classes[1])),
    )
    return [ranking, decisions, trust]


def _roc(block: Document, measured: Document) -> str:
    curve = block["receiver_operating_characteristic_curve"]
    points = list(zip(curve["false_positive_rates"], curve["true_positive_rates"], strict=True))
    plot = Plot("ROC curve", f"Area under the curve {measured['auc']:.4f}", (0, 1), (0, 1))
    plot.axes("False positive rate", "True positive rate")
    plot.line([(0, 0), (1, 1)], "ref")
    plot.area(points, "s1")
    plot.line(points, "s1")
    at = (block["false_positive_rate"]["value"], block["true_positive_rate"]["value"])
    plot.dots([at], "s2", 5, [f"At the cut-off: {at[0]:.3f}, {at[1]:.3f}"])
    caption = (
        f"AUC {measured['auc']:.4f}: how often a random positive scores above a random negative. The dashed line is "
        "guessing; the dot is the cut-off."
    )
    return page.figure("ROC curve", plot.svg(), caption)


def _precision_recall(block: Document, evaluation: Document) -> str:
    curve, measured = block["precision_recall_curve"], evaluation["metrics"]
    points = list(zip(curve["recalls"], curve["precisions"], strict=True))
    counts = block["confusion_matrix"]
    share = sum(counts["1"].values()) / evaluation["rows"]
    plot = Plot("Precision-recall curve", f"Average precision {measured['au_prc']:.4f}", (0, 1), (0, 1))
    plot.axes("Recall", "Precision")
    plot.line([(0, share), (1, share)], "ref")
    plot.area(points, "s1")
    plot.line(points, "s1")
    plot.dots([(measured["recall"], measured["precision"])], "s2", 5)
    caption = (
        f"Average precision {measured['au_prc']:.4f}. The dashed line is guessing: "
        f"{share:.1%} of the rows are positive; the dot is the cut-off."
    )
    return page.figure("Precision and recall", plot.svg(), caption)


def _thresholds(config: JobConfig, evaluation: Document) -> str:
    def row(name: str, threshold: float, facts: Document) -> tuple[str, ...]:
        shown = (facts[key] for key in ("accuracy", "precision", "recall", "f1"))
        return name, f"{threshold:.3f}", *(f"{value:.3f}" for value in shown)

    rows = [row("As set", config.evaluate.threshold, evaluation["metrics"])]
    rows += [
        row(f"Best {entry['goal'].replace('_', ' ')}", entry["threshold"], entry)
        for entry in evaluation["best_thresholds"]
    ]
    table = page.table(("Cut-off", "At", "Accuracy", "Precision", "Recall", "F1"), rows, range(1, 6))
    advice = "Best on these test rows, so a little flattering. A cut-off costs nothing to change (evaluate.threshold)."
    return page.card("<h3>What other cut-offs would give</h3>", table, page.paragraph(advice, "muted"))


def _histogram(config: JobConfig, actual: Floats, scores: Floats, classes: Sequence[str]) -> str:
    edges = np.linspace(0, 1, BINS + 1)
    heights = [np.histogram(scores[actual == code], edges)[0] / max(1, int((actual == code).sum())) for code in (0, 1)]
    plot = Plot(
        "Scores by actual class",
        f"Share of {classes[0]} and {classes[1]} rows per score interval",
        (0, 1),
        (0, max(float(max(values.max() for values in heights)) * 1.08, 0.01)),
    )
    plot.axes(f"Score (probability of {classes[1]})", "Share of the class")
    half = 0.5 / BINS
    for index in range(BINS):
        start = float(edges[index])
        # The positive class is series 1 (blue) everywhere on the page.
        for offset, code, style in ((0.0, 1, "s1"), (half, 0, "s2")):
            height = float(heights[code][index])
            tip = f"{height:.1%} of {classes[code]} score {start:.2f} to {start + 2 * half:.2f}"
            plot.bar(start + offset, start + offset + half, height, style, tip)
    plot.vertical(config.evaluate.threshold, f"cut-off {config.evaluate.threshold:g}")
    caption = "The further the two groups stand apart, the fewer mistakes any cut-off makes."
    return page.figure("Scores by actual class", plot.svg(), caption, legend=(classes[1], classes[0]))


def _calibration(actual: Floats, scores: Floats, positive: str) -> str:
    bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    points, tips = [], []
    for index in range(CALIBRATION_BINS):
        rows = bins == index
        if rows.any():
            points.append((float(scores[rows].mean()), float(actual[rows].mean())))
            tips.append(f"{int(rows.sum()):,} rows score {points[-1][0]:.2f}, {points[-1][1]:.1%} are {positive}")
    plot = Plot("Calibration", "; ".join(tips), (0, 1), (0, 1))
    plot.axes("Mean score", f"Share that is {positive}")
    plot.line([(0, 0), (1, 1)], "ref")
    plot.line(points, "s1")
    plot.dots(points, "s1", 4.5, tips)
    caption = "On the dashed line a score can be read as a probability. Intervals with few rows scatter."
    return page.figure("Calibration", plot.svg(), caption)


def _multiclass(actual: Floats, scores: Floats, evaluation: Document) -> list[str]:
    classes, block = evaluation["classes"], evaluation["multiclass_classification_metrics"]
    rows = [
        (name, f"{int(entry['rows']):,}", f"{entry['precision']:.3f}", f"{entry['recall']:.3f}")
        for name, entry in zip(classes, evaluation["per_class"], strict=True)
    ]
    table = page.card(
        "<h3>Each class</h3>", page.table(("Class", "Rows", "Precision", "Recall"), rows, numeric=(1, 2, 3))
    )
    shown: list[str] = [table, _confidence(actual, scores)]
    if len(classes) <= 20:
        counts = [
            [block["confusion_matrix"][str(row)][str(column)] for column in range(len(classes))]
            for row in range(len(classes))
        ]
        caption = "Each row is what really was, each column what the model said; the diagonal is right."
        shown.insert(0, page.figure("Confusion matrix", svg.matrix("Confusion matrix", classes, counts), caption))
    return [page.section("Decisions per class", page.grid(*shown))]


def _confidence(actual: Floats, scores: Floats) -> str:
    right = scores.argmax(axis=1) == actual
    best = scores.max(axis=1)
    edges = np.linspace(0, 1, BINS + 1)
    counts = [np.histogram(best[chosen], edges)[0] for chosen in (right, ~right)]
    plot = Plot(
        "Confidence", "Rows per probability of the predicted class", (0, 1), (0, float(max(map(max, counts))) * 1.08)
    )
    plot.axes("Probability of the predicted class", "Rows")
    half = 0.5 / BINS
    for index in range(BINS):
        for offset, values, style, word in ((0.0, counts[0], "s1", "right"), (half, counts[1], "s2", "wrong")):
            start = float(edges[index]) + offset
            plot.bar(start, start + half, float(values[index]), style, f"{int(values[index]):,} rows {word}")
    caption = "Mistakes should stand on the left: a model should be unsure where it is wrong."
    return page.figure("Confidence", plot.svg(), caption, legend=("right", "wrong"))


def _regression(actual: Floats, predicted: Floats) -> list[str]:
    step = max(1, len(actual) // MOST_DOTS)
    low, high = float(min(actual.min(), predicted.min())), float(max(actual.max(), predicted.max()))
    fit = Plot(
        "Predicted and actual values",
        f"{len(actual)} rows from {number(low)} to {number(high)}",
        (low, high),
        (low, high),
    )
    fit.axes("Actual", "Predicted")
    fit.line([(low, low), (high, high)], "ref")
    fit.dots(list(zip(actual[::step].tolist(), predicted[::step].tolist(), strict=True)), "s1 soft", 3.2)
    errors = predicted - actual
    counts, edges = np.histogram(errors, BINS)
    spread = Plot(
        "Errors", "Rows per size of error", (float(edges[0]), float(edges[-1])), (0, float(counts.max()) * 1.08)
    )
    spread.axes("Predicted minus actual", "Rows")
    for index, count in enumerate(counts.tolist()):
        start, end = float(edges[index]), float(edges[index + 1])
        spread.bar(start, end, count, "s1", f"{count:,} rows between {number(start)} and {number(end)}")
    spread.vertical(0.0, "exact")
    worst = f"Half of the rows are off by less than {number(float(np.median(np.abs(errors))))}."
    return [
        page.section(
            "How close the predictions are",
            page.grid(
                page.figure("Predicted and actual", fit.svg(), "On the dashed line a prediction is exact."),
                page.figure("Errors", spread.svg(), f"Right of zero the model guesses too high. {worst}"),
            ),
        )
    ]
