"""Processing job `evaluate`: score the test rows with the artifact, measure the model, write evaluation and report.

Reads the inputs `model`, `test`, `schema` and `config`; writes evaluation.json, constraints.json (of the model's
quality), report.html and scores.csv.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sagewind.facts import contract, gates
from sagewind.facts.job_json import JobConfig
from sagewind.facts.metrics import BY_PROBLEM, MONITOR_TYPES
from sagewind.jobs import evaluate_report, importance, metrics, quality_statistics, scoring
from sagewind.jobs import quality_constraints as constraints
from sagewind.jobs.config import load
from sagewind.jobs.job import UserError, read_json, run, write_json
from sagewind.jobs.metrics import Codes, Floats
from sagewind.jobs.scoring import Scorer

VERSION = 1


@dataclass(frozen=True)
class Scored:
    """The test rows with what the model says of them."""

    schema: Mapping[str, Any]
    features: Floats
    actual: Floats
    scores: Floats

    @property
    def codes(self) -> Codes:
        """The actual class codes."""
        return self.actual.astype(np.int64)


def main() -> None:
    """Run the job with the inputs of its container."""
    config = load()
    folder = contract.input_dir(contract.SCHEMA)
    schema = read_json(folder / contract.SCHEMA_JSON, "the schema of the test rows")
    summary = read_json(folder / contract.SUMMARY_JSON, "the data summary")
    features, actual = read_test(contract.input_dir(contract.TEST) / contract.TEST_CSV, schema, config.problem)
    with tempfile.TemporaryDirectory() as unpacked:
        archive = contract.input_dir(contract.MODEL) / contract.MODEL_ARCHIVE
        scorer = scoring.load(archive, Path(unpacked), features.shape[1])
        scores = check_scores(scorer.score(features), len(features), config.problem, len(schema["classes"]))
        scored = Scored(schema, features, actual, scores)
        evaluation = evaluate(config, scored, scorer)
    output = contract.output_dir(contract.EVALUATION)
    _write_scores(output / contract.SCORES_CSV, scores)
    write_json(output / contract.EVALUATION_JSON, evaluation)
    # What the quality of later predictions is held against.
    kind = MONITOR_TYPES[config.problem]
    write_json(output / contract.CONSTRAINTS_JSON, constraints.suggest(kind, evaluation[constraints.METRICS[kind]]))
    report = evaluate_report.render(config, scored.actual, scores, schema, summary, evaluation)
    (output / contract.REPORT_HTML).write_text(report, encoding="utf-8")
    for name, value in evaluation["metrics"].items():
        print(f"evaluate: test:{name}={value:.6g}")
    for gate in evaluation["gates"]:
        print(f"evaluate: gate {gate['metric']} {gate['rule']}: {'met' if gate['passed'] else 'NOT met'}")


def read_test(path: Path, schema: Mapping[str, Any], problem: str) -> tuple[Floats, Floats]:
    """Features (an empty cell is NaN) and labels of the test rows; UserError if they do not fit the schema."""
    if not path.exists():
        raise UserError(f"the test rows are missing: no file {path.name} in the input {contract.TEST!r}")
    if schema.get("problem") != problem:
        raise UserError(f"the schema is of a {schema.get('problem')} problem, job.json says {problem}: prepare again")
    width = len(schema["features"]) + 1
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file), start=1):
            if len(row) != width:
                raise UserError(f"line {number} of {path.name} has {len(row)} cells, the schema says {width}")
            try:
                rows.append([float(cell) if cell else np.nan for cell in row])
            except ValueError as error:
                raise UserError(f"line {number} of {path.name} holds a cell that is no number ({error})") from error
    if not rows:
        raise UserError(f"{path.name} is empty: there is nothing to evaluate on")
    table = np.array(rows, dtype=np.float64)
    _check_labels(table[:, 0], problem, list(schema["classes"]))
    return table[:, 1:], table[:, 0]


def _check_labels(actual: Floats, problem: str, classes: list[str]) -> None:
    if problem == "regression":
        return
    found = sorted(set(actual.tolist()))
    strange = [label for label in found if label not in range(len(classes))]
    if strange:
        raise UserError(f"test.csv holds the label {strange[0]!r}, the schema has the codes 0 to {len(classes) - 1}")
    if problem == "binary" and len(found) < 2:
        raise UserError(f"test.csv holds only class {classes[int(found[0])]!r}: a test needs rows of both classes")


def check_scores(scores: Floats, rows: int, problem: str, classes: int) -> Floats:
    """The scores in the shape of the problem; UserError says what the model gave instead."""
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    wanted = (rows, classes) if problem == "multiclass" else (rows,)
    if scores.shape != wanted:
        raise UserError(f"the model's scores have the shape {scores.shape}, a {problem} problem needs {wanted}")
    if not np.isfinite(scores).all():
        raise UserError(f"the model gave {int((~np.isfinite(scores)).sum())} scores that are no finite numbers")
    if problem != "regression" and (scores.min() < 0 or scores.max() > 1):
        raise UserError(
            f"the model's scores reach from {scores.min():.4g} to {scores.max():.4g}, a {problem} problem needs "
            "probabilities: choose an objective that gives them"
        )
    return scores


def evaluate(config: JobConfig, scored: Scored, scorer: Scorer) -> dict[str, Any]:
    """Everything that evaluation.json holds."""
    names = [str(feature["name"]) for feature in scored.schema["features"]]
    measured, block, extra = _measure(config, scored)
    flat = {name: measured[name] for name in BY_PROBLEM[config.problem]}
    return {
        "version": VERSION,
        "model": config.model,
        "run_key": config.run_key,
        "problem": config.problem,
        "classes": scored.schema["classes"],
        "rows": len(scored.actual),
        "threshold": config.evaluate.threshold if config.problem == "binary" else None,
        constraints.METRICS[MONITOR_TYPES[config.problem]]: block,
        "metrics": flat,
        "gates": judged(config.evaluate.gates, flat),
        **extra,
        "feature_importance": importance.importances(
            scorer, names, scored.features, _quality(config.problem), scored.actual, config.seed
        ),
    }


def judged(rules: Mapping[str, str], measured: Mapping[str, float]) -> list[dict[str, Any]]:
    """The gates as the report shows them, by the rules of the task `gate`; UserError if one cannot be judged."""
    try:
        return [outcome.record() for outcome in gates.judge(rules, measured)]
    except gates.GateError as error:
        raise UserError(f"{contract.JOB_JSON}: {error}") from None


def _measure(config: JobConfig, scored: Scored) -> tuple[dict[str, float], dict[str, Any], dict[str, Any]]:
    """Flat metrics, AWS's block and what else the problem has."""
    scores, codes = scored.scores, scored.codes
    if config.problem == "binary":
        flat = metrics.binary(codes, scores, config.evaluate.threshold)
        predicted = (scores >= config.evaluate.threshold).astype(np.int64)
        block = quality_statistics.binary_block(codes, predicted, scores, config.seed)
        return flat, block, {"best_thresholds": metrics.best_thresholds(codes, scores)}
    if config.problem == "multiclass":
        predicted = scores.argmax(axis=1)
        classes = scores.shape[1]
        block = quality_statistics.multiclass_block(codes, predicted, classes, config.seed)
        return (
            metrics.multiclass(codes, scores),
            block,
            {"per_class": metrics.per_class(metrics.confusion(codes, predicted, classes))},
        )
    return (
        metrics.regression(scored.actual, scores),
        quality_statistics.regression_block(scored.actual, scores, config.seed),
        {},
    )


def _quality(problem: str) -> Any:
    """What permutation importance watches: AUC, accuracy or r2."""
    if problem == "binary":
        return lambda actual, scores: metrics.Ranking.of(actual.astype(np.int64), scores).auc()
    if problem == "multiclass":
        return lambda actual, scores: float(np.mean(scores.argmax(axis=1) == actual))
    return lambda actual, scores: metrics.regression(actual, scores)["r2"]


def _write_scores(path: Path, scores: Floats) -> None:
    rows = scores.reshape(len(scores), -1).tolist()
    path.write_text("".join(",".join(map(repr, row)) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(run(main))
