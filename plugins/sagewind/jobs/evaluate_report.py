"""The page that a product owner reads after an evaluation: verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sagewind.facts.job_json import JobConfig
from sagewind.jobs import evaluate_charts as charts
from sagewind.jobs import page
from sagewind.jobs.metrics import Floats
from sagewind.jobs.page import Html
from sagewind.jobs.svg import number

NAMES = {
    "auc": "AUC (ranking quality)",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "au_prc": "Average precision",
    "balanced_accuracy": "Balanced accuracy",
    "true_positive_rate": "True positive rate",
    "true_negative_rate": "True negative rate",
    "false_positive_rate": "False positive rate",
    "false_negative_rate": "False negative rate",
    "logloss": "Log loss (lower is better)",
    "weighted_precision": "Precision, weighted",
    "weighted_recall": "Recall, weighted",
    "weighted_f1": "F1, weighted",
    "rmse": "Root mean squared error",
    "mae": "Mean absolute error",
    "mse": "Mean squared error",
    "r2": "R² (share of variance explained)",
}
KEY = {
    "binary": ("auc", "accuracy", "precision", "recall", "f1", "logloss"),
    "multiclass": ("accuracy", "balanced_accuracy", "weighted_f1", "weighted_precision", "logloss"),
    "regression": ("rmse", "mae", "r2"),
}
Document = Mapping[str, Any]


def render(
    config: JobConfig, actual: Floats, scores: Floats, schema: Document, summary: Document, evaluation: Document
) -> str:
    """The whole page, from what evaluation.json, schema.json and summary.json hold and the scored rows."""
    sections = [
        _verdict(evaluation),
        _key_numbers(config, actual, scores, evaluation),
        *charts.sections(config, actual, scores, evaluation),
        _importance(evaluation),
        _data(schema, summary),
    ]
    run = f"run {config.run_key} · " if config.run_key else ""
    subtitle = f"{run}{config.problem} model of “{schema['target']}”, measured on {len(actual):,} test rows"
    footer = (
        "All numbers are measured on rows that were kept from training. The same numbers, unrounded, are in "
        "evaluation.json beside this page; the score of every test row is in scores.csv."
    )
    return page.document(f"Evaluation of {config.model}", subtitle, sections, footer)


def _verdict(evaluation: Document) -> str:
    gates = evaluation["gates"]
    failed = [gate for gate in gates if not gate["passed"]]
    if not gates:
        return page.verdict(
            None, "No gate is set for this model", "It goes on whatever its numbers are: set evaluate.gates."
        )
    if failed:
        missed = "; ".join(f"{gate['metric']} is {number(gate['value'])}, required {gate['rule']}" for gate in failed)
        headline = f"Not good enough: {len(failed)} of {len(gates)} gates not met"
        banner = page.verdict(False, headline, f"{missed}.")
    else:
        count = "the one gate is" if len(gates) == 1 else f"all {len(gates)} gates are"
        banner = page.verdict(True, f"Good enough: {count} met", "The model may be registered and deployed.")
    rows = [
        (
            NAMES.get(gate["metric"], gate["metric"]),
            gate["rule"],
            f"{gate['value']:.6g}",
            page.yes_no(gate["passed"], "met", "not met"),
        )
        for gate in gates
    ]
    return banner + "<br>" + page.card(page.table(("Gate", "Required", "Measured", "Verdict"), rows, numeric=(1, 2)))


def _key_numbers(config: JobConfig, actual: Floats, scores: Floats, evaluation: Document) -> str:
    measured = evaluation["metrics"]
    tiles = [(number(measured[name]), NAMES[name]) for name in KEY[config.problem]]
    rest = [(NAMES[name], repr(round(value, 6))) for name, value in measured.items()]
    return page.section(
        "Key numbers",
        page.tiles(tiles),
        f'<div class="note">{page.paragraph(_plain_words(config, actual, scores, evaluation))}</div>',
        page.details("All metrics", page.card(page.table(("Metric", "Value"), rest, numeric=(1,)))),
    )


def _plain_words(config: JobConfig, actual: Floats, scores: Floats, evaluation: Document) -> str:
    """What the numbers mean, in a sentence or two without jargon, next to the simplest alternative."""
    measured = evaluation["metrics"]
    if config.problem == "regression":
        plain = float(((actual - actual.mean()) ** 2).mean() ** 0.5)
        return (
            f"A prediction is off by {number(measured['mae'])} on average. Always answering the mean "
            f"({number(float(actual.mean()))}) would have a root mean squared error of {number(plain)} instead of "
            f"{number(measured['rmse'])}."
        )
    classes = evaluation["classes"]
    shares = [float((actual == code).mean()) for code in range(len(classes))]
    common = max(range(len(classes)), key=lambda code: shares[code])
    alternative = (
        f"Always answering “{classes[common]}” would be right for {shares[common]:.1%} of the rows; "
        f"the model is right for {measured['accuracy']:.1%}."
    )
    if config.problem == "multiclass":
        return alternative
    return (
        f"Of 100 rows that the model calls “{classes[1]}”, {measured['precision'] * 100:.0f} really are; of 100 that "
        f"really are, it finds {measured['recall'] * 100:.0f} (cut-off {config.evaluate.threshold:g}). {alternative}"
    )


def _importance(evaluation: Document) -> str:
    measure = evaluation["feature_importance"]["measure"]
    features = evaluation["feature_importance"]["features"]
    explained = {
        "gain": "How much each feature improved the trees' splits on average (gain).",
        "impurity": "How much each feature reduced the trees' impurity.",
        "coefficient": "Size of each feature's coefficient after scaling: its pull on the prediction, either way.",
        "permutation": "How much quality is lost when a feature's values are shuffled.",
    }[measure]
    chart = charts.importance(features[:15])
    more = f" The {len(features) - 15} others are in evaluation.json." if len(features) > 15 else ""
    return page.section(
        "What the model looks at",
        page.figure("Most important features", chart, f"{explained} The bars show shares of the total.{more}"),
    )


def _data(schema: Document, summary: Document) -> str:
    rows = summary["rows"]
    gone = [(f"Removed: {reason}", f"{count:,}") for reason, count in rows["removed"].items() if count]
    flow = [("Rows read", f"{rows['in']:,}"), *gone, ("Rows used", f"{rows['out']:,}")]
    flow.append(("Rows that repeat another one", f"{summary['duplicates']:,}"))
    classes = schema["classes"]
    balance = [
        (part, f"{facts['rows']:,}", *(f"{facts['classes'][name]:,}" for name in classes))
        if classes
        else (part, f"{facts['rows']:,}", number(facts["mean"]), f"{number(facts['min'])} … {number(facts['max'])}")
        for part, facts in summary["splits"].items()
    ]
    few = len(classes) <= 12
    headings = ("Part", "Rows", *(classes if classes else ("Mean", "Range")))
    split = page.table(headings if few else headings[:2], [row if few else row[:2] for row in balance], range(1, 20))
    columns = [_column(name, facts) for name, facts in summary["columns"].items()]
    headed = ("Column", "Kind", "Missing", "Distinct", "Values")
    warnings = "".join(page.paragraph(f"Note: {warning}.", "muted") for warning in summary["warnings"])
    return page.section(
        "The data behind it",
        page.grid(page.card(page.table(("Rows", "Count"), flow, numeric=(1,))), page.card(split)),
        warnings,
        page.details(f"All {len(columns)} columns", page.card(page.table(headed, columns, numeric=(2, 3)))),
    )


def _column(name: str, facts: Document) -> tuple[str | Html, ...]:
    if "mean" in facts:
        values = f"{number(facts['min'])} … {number(facts['max'])}, mean {number(facts['mean'])}"
    else:
        values = ", ".join(f"{value} ({count:,})" for value, count in facts.get("most_frequent", {}).items())
    return name, facts["kind"], f"{facts['missing']:,}", f"{facts['distinct']:,}", values
