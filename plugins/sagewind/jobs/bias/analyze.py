"""Processing job: bias of data and predictions, as SageMaker Clarify and the bias monitor measure it.

Reads analysis_config.json and a table with labels and predictions (a baseline: no `baseline_constraints`) or merged
data (a check); writes analysis.json (also the baseline's constraints), in a check constraint_violations.json, and
report.html. Unlike Clarify it starts no endpoint: predictions are a column of the table or the captured responses.
"""

from __future__ import annotations

import math
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sagewind.facts import contract
from sagewind.jobs.analysis import clarify, dataset, output, records, settings
from sagewind.jobs.analysis.payload import UnusableRecord, number
from sagewind.jobs.analysis.records import RecordSource, RecordTally, Sample
from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.bias import config as configuration
from sagewind.jobs.bias import drift, metrics, report
from sagewind.jobs.bias.columns import CodedColumn, Selected, require_some, select, text_of
from sagewind.jobs.bias.config import BiasConfig, Facet
from sagewind.jobs.bias.drift import POST, PRE, Key
from sagewind.jobs.bias.metrics import Bools, FacetRows, Floats
from sagewind.jobs.bias.result import BiasResult
from sagewind.jobs.job import UserError, read_json, write_json

PROGRAM = "model-bias"
STAGES = {PRE: "Pre-training", POST: "Post-Training"}


@dataclass
class BiasTable:
    """The rows that take part: labels, predictions (labels or scores) and inputs by column."""

    label: CodedColumn
    predicted: CodedColumn
    scores: array[float] = field(default_factory=lambda: array("d"))
    inputs: dict[str, CodedColumn] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    rows: int = 0

    def add(self, sample: Sample, leave_out: frozenset[str]) -> None:
        """Take a row; UnusableRecord if its label or prediction is missing or no such thing."""
        if sample.label is not None and not text_of(sample.label):
            raise UnusableRecord("the label is empty")
        guess, score = sample.prediction, math.nan
        if guess is None and isinstance(sample.probability, list):
            scores = [number(each, "class score") for each in sample.probability]
            guess = scores.index(max(scores))
        elif guess is None and sample.probability is not None:
            score = number(sample.probability, "probability")
        elif guess is not None and not text_of(guess):
            raise UnusableRecord("the predicted label is empty")
        self.names = self.names or list(sample.inputs)
        self.label.add(sample.label)
        self.predicted.add(guess)
        self.scores.append(score)
        for name in sample.inputs:
            if name not in self.inputs and name not in leave_out:
                self.inputs[name] = CodedColumn(name)
                for _ in range(self.rows):
                    self.inputs[name].add(None)
        for name, column in self.inputs.items():
            column.add(sample.inputs.get(name))
        self.rows += 1

    def column(self, which: str | int, settings_name: str, named: BiasConfig) -> CodedColumn:
        """An input column by name or index; UserError naming the columns that there are."""
        name = named.name(which)
        if name not in self.inputs and name.isdigit() and int(name) < len(self.names):
            name = self.names[int(name)]
        if name not in self.inputs:
            shown = ", ".join(self.inputs)
            raise UserError(
                f"{clarify.FILE}: {settings_name} is {which!r}, the data's feature columns are {shown}: "
                "name one of these"
            )
        return self.inputs[name]


def main() -> None:
    """Run the job with the settings of its environment; UserError for settings or data that allow no verdict."""
    settings.refuse_unsupported()
    config = configuration.load()
    given = os.environ.get(contract.BASELINE_CONSTRAINTS)
    baseline = read_json(contract.resolve(given), "the baseline's constraints") if given else None
    result = analyse(config, source(config), drift.kinds(baseline) if baseline is not None else None)
    if baseline is not None:
        values = {config.name(facet.column): facet.text for facet in config.facets}
        result.baseline = baseline
        result.violations, result.unchecked = drift.check(baseline, result.analysis, values)
    _write(result, config)


def source(config: BiasConfig) -> RecordSource:
    """Where the rows come from, by environment and configuration."""
    text = os.environ.get(contract.DATASET_FORMAT) or clarify.table_format(config.dataset_type, config.headers)
    kind, options = dataset.dataset_format(text)
    captured = kind in (dataset.CAPTURE, dataset.MERGED)
    wanted = settings.attributes()
    threshold = wanted.threshold
    if config.threshold is not None and not os.environ.get(settings.THRESHOLD_ATTRIBUTE):
        threshold = config.threshold
    headers = list(config.headers)
    if captured and config.label is not None and config.label_name() in headers:
        headers.remove(config.label_name())  # a request holds the features alone
    label = None if config.label is None else _attribute(config, config.label)
    predicted = wanted.inference or (
        None if config.predicted_label is None or captured else _attribute(config, config.predicted_label)
    )
    return RecordSource(
        folder=settings.folder(contract.DATASET_SOURCE, clarify.DATA),
        kind=kind,
        options=options,
        attributes=replace(
            wanted,
            inference=predicted,
            ground_truth=wanted.ground_truth or label,
            threshold=threshold,
            features=wanted.features or config.features,
        ),
        window=CaptureWindow.of_environment(),
        excluded=os.environ.get(contract.EXCLUDED_INFERENCE_IDS, ""),
        headers=headers,
        labelled=kind != dataset.CAPTURE,
    )


def _attribute(config: BiasConfig, column: str | int) -> str:
    return str(column) if config.dataset_type == "application/jsonlines" else config.name(column)


def analyse(config: BiasConfig, where: RecordSource, kinds: Mapping[str, bool] | None) -> BiasResult:
    """All metrics of all facets; UserError if there is nothing to analyse.

    `kinds` says of label and facets whether the baseline compared them with a threshold; None in a baseline, in which a
    value that selects no row is the user's error.
    """
    tally, table = RecordTally(), BiasTable(CodedColumn(config.label_name()), CodedColumn("predicted label"))
    for sample in records.read(where, tally):
        try:
            table.add(sample, _no_features(where, list(sample.inputs)))
        except UnusableRecord as error:
            tally.reject(sample.where, str(error))
            continue
        tally.used += 1
    tally.require_rows("labelled records")
    notes: list[str] = []
    label = _labels(config, table, notes, kinds)
    predicted = _predictions(config, table, where.attributes.threshold, kinds)
    if predicted is None and config.post_required:
        raise UserError(
            "post-training bias needs predictions: name their column with predicted_label or inference_attribute "
            "(this job starts no endpoint)"
        )
    group = table.column(config.group_variable, "group_variable", config) if config.group_variable is not None else None
    everything = FacetRows(
        facet=np.zeros(table.rows, dtype=bool),
        label=None if label is None else label.rows,
        predicted=predicted,
        group=None if group is None else group.array,
    )
    text = ",".join(map(str, config.label_values)) if label is None else label.text
    return _measured(config, table, everything, text, BiasResult({}, {}, tally, notes, {}), kinds)


def _no_features(where: RecordSource, names: list[str]) -> frozenset[str]:
    """The columns of a table that are label or prediction; a captured request has none."""
    if where.kind in (dataset.CAPTURE, dataset.MERGED):
        return frozenset()
    wanted = where.attributes
    given = [name for name in (wanted.ground_truth, wanted.inference, wanted.probability) if name]
    return frozenset(
        names[int(name)] if name not in names and name.isdigit() and int(name) < len(names) else name for name in given
    )


def _labels(
    config: BiasConfig, table: BiasTable, notes: list[str], kinds: Mapping[str, bool] | None
) -> Selected | None:
    if not table.label.values:
        notes.append("there is no ground truth: metrics that need it are not defined")
        return None
    found = select(table.label, config.label_values, "the label", quantity=_quantity(config, table, kinds))
    if kinds is None:
        require_some(found, table.label, "the label")
    elif not found.rows.any():
        notes.append(
            f"no row has the positive outcome {found.text}: the labels hold {', '.join(table.label.texts[:8])}"
        )
    return found


def _quantity(config: BiasConfig, table: BiasTable, kinds: Mapping[str, bool] | None) -> bool:
    """Whether labels and predictions are compared with a threshold."""
    known = (kinds or {}).get(table.label.name)
    column = table.label if table.label.values else table.predicted
    return column.quantity(config.label_values) if known is None else known


def _predictions(
    config: BiasConfig, table: BiasTable, threshold: float, kinds: Mapping[str, bool] | None
) -> Bools | None:
    """Which rows are predicted positive: the predicted label is one of the positive values, or the score is above."""
    scores = np.frombuffer(table.scores, dtype=np.float64)
    if not table.predicted.values:
        return None if np.isnan(scores).all() else scores > threshold
    quantity = _quantity(config, table, kinds)
    labels = select(table.predicted, config.label_values, "the prediction", quantity=quantity)
    return labels.rows | (scores > threshold)


def _measured(
    config: BiasConfig,
    table: BiasTable,
    everything: FacetRows,
    label: str,
    result: BiasResult,
    kinds: Mapping[str, bool] | None,
) -> BiasResult:
    stages = {PRE: config.pre_training} if config.pre_training else {}
    if everything.predicted is not None and config.post_training:
        stages[POST] = config.post_training
    blocks: dict[str, dict[str, list[dict[str, Any]]]] = {stage: {} for stage in stages}
    flips = any(metric.name == "FT" for metric in stages.get(POST, ()))
    numeric = {name: column.numbers() for name, column in table.inputs.items()} if flips else {}
    for column, selected in _selections(config, table, kinds):
        rows = _without_gaps(everything, selected, _features(numeric, column.name))
        gaps = int(selected.missing.sum())
        if gaps:
            result.notes.append(f"{gaps} rows have no {column.name}: they are left out of its metrics")
        result.sizes[column.name, selected.text] = (int(rows.facet.sum()), len(rows.facet))
        for stage, chosen in stages.items():
            entry = {"value_or_threshold": selected.text, "metrics": metrics.compute(chosen, rows)}
            blocks[stage].setdefault(column.name, []).append(entry)
    result.analysis["version"] = drift.VERSION
    for stage, facets in blocks.items():
        result.analysis[stage] = {"label": table.label.name, "facets": facets, "label_value_or_threshold": label}
    return result


def _selections(
    config: BiasConfig, table: BiasTable, kinds: Mapping[str, bool] | None
) -> Iterator[tuple[CodedColumn, Selected]]:
    for facet in config.facets:
        column = table.column(facet.column, "facet", config)
        known = (kinds or {}).get(column.name)
        for values in _groups(facet, column):
            selected = select(column, values, "the facet", quantity=known)
            if kinds is None:
                require_some(selected, column, "the facet")
            yield column, selected


def _groups(facet: Facet, column: CodedColumn) -> list[tuple[Any, ...]]:
    if facet.values:
        return [facet.values]
    if column.quantity(()):
        raise UserError(
            f"{clarify.FILE}: the facet {column.name!r} holds numbers: give the threshold of its group as "
            "value_or_threshold"
        )
    return [(text,) for text in column.texts]


def _features(numeric: Mapping[str, Floats | None], facet: str) -> Floats | None:
    """The model inputs without the facet, as numbers; None if one of them is no number throughout."""
    columns = [numbers for name, numbers in numeric.items() if name != facet]
    if not columns or any(numbers is None for numbers in columns):
        return None
    return np.column_stack([numbers for numbers in columns if numbers is not None])


def _without_gaps(rows: FacetRows, selected: Selected, features: Floats | None) -> FacetRows:
    kept = ~selected.missing
    return FacetRows(
        facet=selected.rows[kept],
        label=None if rows.label is None else rows.label[kept],
        predicted=None if rows.predicted is None else rows.predicted[kept],
        group=None if rows.group is None else rows.group[kept],
        features=None if features is None else features[kept],
    )


def _write(result: BiasResult, config: BiasConfig) -> None:
    folder = settings.folder(contract.OUTPUT_PATH, clarify.OUTPUT)
    write_json(folder / clarify.ANALYSIS_JSON, result.analysis)
    if result.violations is not None:
        entries = [violation.record() for violation in result.violations]
        write_json(folder / contract.VIOLATIONS_JSON, {"version": drift.VERSION, "violations": entries})
    output.publish(_metrics(result, config), PROGRAM)
    (folder / contract.REPORT_HTML).write_text(report.render(result), encoding="utf-8")
    texts = None
    if result.violations is not None:
        texts = [f"{violation.key.words()}: {violation.description}" for violation in result.violations]
    output.tell(PROGRAM, [*result.tally.notes(), *result.notes], texts)


def _metrics(result: BiasResult, config: BiasConfig) -> Iterator[output.MetricDatum]:
    configured = {config.name(facet.column): facet.text for facet in config.facets}
    labels = ",".join(map(str, config.label_values))
    for key, value in drift.metrics(result.analysis):
        if value is not None:
            yield output.MetricDatum(f"bias_metric_{key.metric}", value, _dimensions(key, config, configured, labels))


def _dimensions(key: Key, config: BiasConfig, configured: Mapping[str, str], labels: str) -> dict[str, str]:
    return {
        "BiasStage": STAGES[key.stage],
        "Label": config.label_name(),
        "LabelValue": labels,
        "Facet": key.facet,
        "FacetValue": configured.get(key.facet) or key.value,
    }
