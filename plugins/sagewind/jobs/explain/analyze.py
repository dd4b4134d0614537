"""Processing job: which features the model's answers rest on, and whether that has changed since the baseline.

Reads analysis_config.json, the model artifact (input `model`, as `evaluate` does: no endpoint is started) and the
model's inputs from a table or captured data; writes analysis.json in Clarify's layout, which is also the baseline's
constraints, in a check constraint_violations.json, explanation.json (ours: how it was computed) and report.html.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sagewind.facts import contract
from sagewind.jobs import scoring
from sagewind.jobs.analysis import clarify, dataset, output, settings
from sagewind.jobs.analysis.records import RecordSource, RecordTally
from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.explain import config as configuration
from sagewind.jobs.explain import explainers, features, report
from sagewind.jobs.explain.config import ExplainConfig
from sagewind.jobs.explain.explainers import Attributions
from sagewind.jobs.explain.ndcg import ndcg
from sagewind.jobs.explain.result import ExplainResult
from sagewind.jobs.job import UserError, read_json, write_json
from sagewind.jobs.metrics import Floats

PROGRAM = "model-explainability"
VERSION = "1.0"
EXPLANATION_JSON = "explanation.json"
LOCAL_FOLDER = "explanations_shap"
#: What a baseline and its check must have in common, else their attributions cannot be compared.
SAME = ("algorithm", "aggregation", "unit")


def main() -> None:
    """Run the job with the settings of its environment; UserError for settings or data that allow no verdict."""
    settings.refuse_unsupported()
    config = configuration.load()
    given = os.environ.get(contract.BASELINE_CONSTRAINTS)
    result = explain(config, source(config))
    if given:
        path = contract.resolve(given)
        result.baseline = read_baseline(read_json(path, "the baseline's constraints"))
        _require_same(path.with_name(EXPLANATION_JSON), result.how)
        compare(result)
    _write(result)


def source(config: ExplainConfig) -> RecordSource:
    """Where the rows come from, by environment and configuration; neither labels nor responses are needed."""
    text = os.environ.get(contract.DATASET_FORMAT) or clarify.table_format(config.dataset_type, config.headers)
    kind, options = dataset.dataset_format(text)
    headers = list(config.headers)
    if kind in (dataset.CAPTURE, dataset.MERGED):
        left_out = {
            headers[each] if isinstance(each, int) and each < len(headers) else each for each in _left_out(config)
        }
        headers = [name for name in headers if name not in left_out]
    wanted = settings.attributes()
    return RecordSource(
        folder=settings.folder(contract.DATASET_SOURCE, clarify.DATA),
        kind=kind,
        options=options,
        attributes=settings.Attributes(features=wanted.features or config.features),
        window=CaptureWindow.of_environment(),
        excluded=os.environ.get(contract.EXCLUDED_INFERENCE_IDS, ""),
        headers=headers,
        labelled=False,
        predicted=False,
    )


def _left_out(config: ExplainConfig) -> list[str | int]:
    return [*([] if config.label is None else [config.label]), *config.excluded]


def explain(config: ExplainConfig, where: RecordSource) -> ExplainResult:
    """Global attributions of the model in the input `model` on the rows of the source."""
    tally = RecordTally()
    captured = where.kind in (dataset.CAPTURE, dataset.MERGED)
    most = config.max_rows or max(configuration.MOST_ROWS.values())
    sampler = features.sample(where, [] if captured else _left_out(config), most, config.seed, tally)
    with tempfile.TemporaryDirectory() as unpacked:
        archive = contract.input_dir(contract.MODEL) / contract.MODEL_ARCHIVE
        scorer = scoring.load(archive, Path(unpacked), len(sampler.names))
        chosen = explainers.algorithm(config.algorithm, scorer)
        rows = sampler.take(config.rows(chosen))
        if chosen == explainers.TREE:
            found = explainers.tree(Path(unpacked), rows)
        else:
            how = explainers.Kernel(
                background=config.background_rows(rows, sampler.names),
                samples=config.sample_count(len(sampler.names)),
                use_logit=config.use_logit,
                seed=config.seed,
            )
            found = explainers.kernel_shap(scorer.score, rows, how)
    return summarize(config, found, sampler.names, tally, len(rows))


def summarize(
    config: ExplainConfig, found: Attributions, names: list[str], tally: RecordTally, explained: int
) -> ExplainResult:
    """Global attributions from local ones; UserError if the model gave none that are numbers."""
    if not np.isfinite(found.values).all():
        raise UserError(
            "the model's answers are no finite numbers for some mixtures of rows: "
            "give methods.shap.baseline rows that the model can take, without missing values"
        )
    together = {"mean_abs": _mean_abs, "mean_sq": _mean_sq, "median": _median}[config.aggregation](found.values)
    texts = [config.label_text(index) for index in range(len(found.expected))]
    how = {
        "algorithm": found.algorithm,
        "implementation": found.implementation,
        "unit": found.unit,
        "aggregation": config.aggregation,
        "rows": tally.used,
        "rows_explained": explained,
        "features": len(names),
    }
    result = ExplainResult(
        labels={text: dict(zip(names, together[:, i].tolist(), strict=True)) for i, text in enumerate(texts)},
        expected=dict(zip(texts, found.expected.tolist(), strict=True)),
        tally=tally,
        how=how,
    )
    result.notes.append(
        f"{explained} of {tally.used} rows explained by {found.algorithm} SHAP ({found.implementation}), "
        f"{config.aggregation}, in units of {found.unit}"
    )
    if config.local:
        _write_local(found.values, names)
    return result


def _mean_abs(values: Floats) -> Floats:
    return np.asarray(np.abs(values).mean(axis=0), dtype=np.float64)


def _mean_sq(values: Floats) -> Floats:
    return np.asarray((values**2).mean(axis=0), dtype=np.float64)


def _median(values: Floats) -> Floats:
    return np.asarray(np.median(values, axis=0), dtype=np.float64)


def read_baseline(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Global attributions by label from an analysis.json; UserError if it holds none."""
    try:
        labels = document["explanations"]["kernel_shap"]
        return {
            str(label): {str(name): float(value) for name, value in entry["global_shap_values"].items()}
            for label, entry in labels.items()
        }
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"the baseline's constraints hold no explanations.kernel_shap ({error!r}): "
            "give the analysis.json of an explainability baseline"
        ) from error


def _require_same(path: Path, now: Mapping[str, Any]) -> None:
    """Refuse a baseline of another algorithm, where the file beside it tells."""
    if not path.exists():
        return
    before = read_json(path, "the baseline's explanation")
    for key in SAME:
        if before.get(key) != now[key]:
            raise UserError(
                f"the baseline was explained with {key} {before.get(key)!r}, this run with {now[key]!r}: "
                "the two cannot be compared, use one analysis configuration for both"
            )


def compare(result: ExplainResult) -> None:
    """Fill in the nDCG of every label that both sides have; note the others and features that only one side has."""
    baseline = result.baseline or {}
    for label in sorted({*baseline, *result.labels}):
        if label not in baseline or label not in result.labels:
            side = "baseline" if label in baseline else "run"
            result.notes.append(f"the label {label} is in the {side} only: not compared")
            result.unchecked.append(label)
            continue
        before, now = baseline[label], result.labels[label]
        strange = sorted(set(before) ^ set(now))
        if strange:
            result.notes.append(
                f"features of {label} that only one side has count as 0 there: {', '.join(strange[:8])}"
            )
        result.scores[label] = ndcg(before, now)
    if not result.scores:
        raise UserError(
            f"the baseline explains {', '.join(baseline) or 'nothing'}, this run {', '.join(result.labels)}: "
            "give the baseline of the same model's outputs"
        )


def _write_local(values: Floats, names: list[str]) -> None:
    folder = settings.folder(contract.OUTPUT_PATH, clarify.OUTPUT) / LOCAL_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    outputs = values.shape[2]
    header = [f"{name}_label{index}" if outputs > 1 else name for index in range(outputs) for name in names]
    lines = [",".join(header)]
    lines += [",".join(map(repr, row)) for row in values.swapaxes(1, 2).reshape(len(values), -1).tolist()]
    (folder / "out.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write(result: ExplainResult) -> None:
    folder = settings.folder(contract.OUTPUT_PATH, clarify.OUTPUT)
    labels = {
        label: {"global_shap_values": values, "expected_value": result.expected[label]}
        for label, values in result.labels.items()
    }
    write_json(folder / clarify.ANALYSIS_JSON, {"version": VERSION, "explanations": {"kernel_shap": labels}})
    write_json(folder / EXPLANATION_JSON, {**result.how, "ndcg": result.scores, "notes": result.notes})
    texts = None
    if result.baseline is not None:
        found = result.violations()
        write_json(folder / contract.VIOLATIONS_JSON, {"version": VERSION, "violations": found})
        texts = [f"{entry['label']}: {entry['description']}" for entry in found]
    output.publish(_metrics(result), PROGRAM)
    (folder / contract.REPORT_HTML).write_text(report.render(result), encoding="utf-8")
    output.tell(PROGRAM, [*result.tally.notes(), *result.notes], texts)


def _metrics(result: ExplainResult) -> Iterator[output.MetricDatum]:
    for label, values in result.labels.items():
        common = {"ExplainabilityMethod": "KernelShap", "Label": label}
        for name, value in values.items():
            yield output.MetricDatum(f"feature_{name}", value, {**common, "ValueType": "GlobalShapValues"})
        yield output.MetricDatum("ExpectedValue", result.expected[label], {**common, "ValueType": "ExpectedValue"})
