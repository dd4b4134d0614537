"""Processing job: model quality, as SageMaker Model Monitor's analyzer does it with `analysis_type` MODEL_QUALITY.

Settings are AWS's environment variables. Without `baseline_constraints` it makes a baseline (statistics.json and
constraints.json) from a table with predictions and labels; with it, it checks merged data (or a table) and writes
constraint_violations.json too. Violations are a result, not a failure: the exit code is 0. A page, report.html, is
always written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from sagewind.facts import contract
from sagewind.jobs import quality_constraints as constraints
from sagewind.jobs import quality_statistics
from sagewind.jobs.analysis import dataset, output, records, settings
from sagewind.jobs.analysis.payload import UnusableRecord
from sagewind.jobs.analysis.records import RecordSource, RecordTally, Sample
from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.job import UserError, read_json, write_json
from sagewind.jobs.quality import outcomes, report
from sagewind.jobs.quality.result import QualityResult
from sagewind.jobs.quality_constraints import MetricConstraint

PROGRAM = "model-quality"
#: The five draws of the standard deviation; one seed, so that a run repeated says the same.
SEED = 0
DATA = f"{contract.ROOT}/processing/input_data"


def main() -> None:
    """Run the job with the settings of its environment; UserError for settings or data that allow no verdict."""
    settings.refuse_unsupported()
    problem = settings.choice(contract.PROBLEM_TYPE, tuple(constraints.METRICS))
    given = os.environ.get(contract.BASELINE_CONSTRAINTS)
    baseline = None
    if given:
        baseline = constraints.read(read_json(contract.resolve(given), "the baseline's constraints"), problem)
    result = measure(source(), problem)
    if baseline is not None:
        judge(result, baseline, result.block)
    write(result)


def judge(result: QualityResult, baseline: Sequence[MetricConstraint], block: Mapping[str, Any]) -> None:
    """Hold the metrics of `block` against the constraints and note what was found."""
    result.violations, result.unchecked = constraints.check(baseline, block)
    result.thresholds = {constraint.metric: constraint.threshold for constraint in baseline}


def source() -> RecordSource:
    """Where the rows come from, by the environment."""
    kind, options = dataset.dataset_format(dataset.required(contract.DATASET_FORMAT))
    wanted = settings.attributes()
    if kind == dataset.CAPTURE:
        raise UserError(
            f"{contract.DATASET_FORMAT} is {kind}, which holds no labels: merge the captured data with "
            f"its ground truth and give {dataset.MERGED}"
        )
    if kind != dataset.MERGED:
        _require_columns(wanted)
    return RecordSource(
        folder=settings.folder(contract.DATASET_SOURCE, DATA),
        kind=kind,
        options=options,
        attributes=wanted,
        window=CaptureWindow.of_environment(),
        excluded=os.environ.get(contract.EXCLUDED_INFERENCE_IDS, ""),
        requested=False,
    )


def _require_columns(wanted: settings.Attributes) -> None:
    if wanted.ground_truth is None:
        raise UserError(f"{settings.GROUND_TRUTH_ATTRIBUTE} is missing: name the column of the labels")
    if wanted.inference is None and wanted.probability is None:
        raise UserError(
            f"{settings.INFERENCE_ATTRIBUTE} and {settings.PROBABILITY_ATTRIBUTE} are missing: "
            "name the column of the predictions, of the probabilities, or both"
        )


def measure(where: RecordSource, problem: str, classes: Sequence[str] = ()) -> QualityResult:
    """Statistics of all rows of the source; UserError if none can be used.

    `classes` are the model's classes in the order of its scores, where they are known.
    """
    tally = RecordTally()
    if problem == "Regression":
        numbers = outcomes.Regression()
        _collect(records.read(where, tally), numbers, tally)
        tally.require_rows("predictions with labels")
        return QualityResult(problem, quality_statistics.regression_block(*numbers.arrays(), SEED), tally)
    if problem == "MulticlassClassification":
        codes = outcomes.Multiclass(classes)
        _collect(records.read(where, tally), codes, tally)
        tally.require_rows("predictions with labels")
        actual, predicted, names = codes.arrays()
        block = quality_statistics.multiclass_block(actual, predicted, len(names), SEED, names)
        return QualityResult(problem, block, tally, tuple(names))
    return _binary(where, tally, classes)


def _binary(where: RecordSource, tally: RecordTally, classes: Sequence[str]) -> QualityResult:
    rows = outcomes.Binary(where.attributes.threshold, where.attributes.positive_label, classes)
    _collect(records.read(where, tally), rows, tally)
    tally.require_rows("predictions with labels")
    actual, predicted, scores, pair = rows.arrays(tally)
    tally.used = len(actual)
    tally.require_rows("predictions with labels")
    block = quality_statistics.binary_block(actual, predicted, scores, SEED, pair)
    return QualityResult("BinaryClassification", block, tally, pair)


def _collect(
    samples: Iterator[Sample], rows: outcomes.Regression | outcomes.Multiclass | outcomes.Binary, tally: RecordTally
) -> None:
    for sample in samples:
        try:
            rows.add(sample)
        except UnusableRecord as error:
            if sample.label in (None, ""):
                tally.unlabelled += 1
            else:
                tally.reject(sample.where, str(error))
            continue
        tally.used += 1


def write(result: QualityResult) -> None:
    """Everything that a run leaves behind: files, metrics, page, log, message."""
    folder = settings.folder(contract.OUTPUT_PATH)
    dataset: dict[str, Any] = {"item_count": result.tally.used}
    for name in (contract.START_TIME, contract.END_TIME):
        if os.environ.get(name):
            dataset[name] = os.environ[name]
    # Keys beside item_count are assumed.
    dataset["evaluation_time"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    block = {constraints.METRICS[result.problem]: result.block}
    write_json(folder / contract.STATISTICS_JSON, {"version": constraints.VERSION, "dataset": dataset, **block})
    write_json(folder / contract.CONSTRAINTS_JSON, constraints.suggest(result.problem, result.block))
    if result.violations is not None:
        entries = [violation.record() for violation in result.violations]
        write_json(folder / contract.VIOLATIONS_JSON, {"violations": entries})
    output.publish(_metrics(result), PROGRAM)
    (folder / contract.REPORT_HTML).write_text(report.render(result), encoding="utf-8")
    texts = None if result.violations is None else [violation.description for violation in result.violations]
    output.tell(PROGRAM, result.notes(), texts)


def _metrics(result: QualityResult) -> Iterator[output.MetricDatum]:
    for name, entry in result.block.items():
        if isinstance(entry, Mapping) and "value" in entry:
            yield output.MetricDatum(name, float(entry["value"]))
    if result.violations is not None:
        yield output.MetricDatum("total_number_of_violations", float(len(result.violations)))
