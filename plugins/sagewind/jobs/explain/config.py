"""The part of Clarify's analysis configuration that explanations are about, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sagewind.jobs.analysis.clarify import FILE, FORMATS, find
from sagewind.jobs.analysis.payload import UnusableRecord, number
from sagewind.jobs.explain import explainers, kernel
from sagewind.jobs.job import UserError, read_json
from sagewind.jobs.metrics import Floats

AGGREGATIONS = ("mean_abs", "median", "mean_sq")
#: Rows that are explained at most unless `max_rows` says otherwise; TreeSHAP is fast, Kernel SHAP asks the model often.
MOST_ROWS = {explainers.TREE: 50_000, explainers.KERNEL: 500}


@dataclass(frozen=True)
class ExplainConfig:
    """What is to be explained and how. `algorithm` and `max_rows` are settings of our own below `methods.shap`."""

    headers: tuple[str, ...]
    label: str | int | None
    excluded: tuple[str | int, ...]
    features: str | None
    dataset_type: str
    label_headers: tuple[str, ...]
    background: tuple[tuple[float, ...], ...]
    samples: int | None
    aggregation: str
    use_logit: bool
    seed: int
    local: bool
    algorithm: str
    max_rows: int | None

    def rows(self, algorithm: str) -> int:
        """How many rows are explained at most."""
        return self.max_rows or MOST_ROWS[algorithm]

    def background_rows(self, rows: Floats, names: list[str]) -> Floats:
        """The background of Kernel SHAP: as configured, else one row of the column means (Clarify clusters instead)."""
        if not self.background:
            with np.errstate(invalid="ignore"):
                counts = np.maximum((~np.isnan(rows)).sum(axis=0), 1)
            return np.asarray(np.nansum(rows, axis=0) / counts, dtype=np.float64)[None, :]
        if any(len(row) != len(names) for row in self.background):
            raise UserError(
                f"{FILE}: a row of methods.shap.baseline has {len(self.background[0])} values, the data has "
                f"{len(names)} features ({', '.join(names[:6])} ...): give one value per feature"
            )
        return np.array(self.background, dtype=np.float64)

    def sample_count(self, features: int) -> int:
        """How many sets of features Kernel SHAP asks for."""
        return self.samples or kernel.default_samples(features)

    def label_text(self, index: int) -> str:
        """The name of an output of the model."""
        return self.label_headers[index] if index < len(self.label_headers) else f"label{index}"


def load() -> ExplainConfig:
    """The configuration of the input `config`; UserError names the key that is missing or wrong."""
    return parse(read_json(find(), "the analysis configuration"))


def parse(document: Mapping[str, Any]) -> ExplainConfig:
    """Typed form of the configuration's JSON."""
    shap = (document.get("methods") or {}).get("shap")
    if not isinstance(shap, Mapping):
        raise UserError(f'{FILE}: methods.shap is missing: write at least {{"methods": {{"shap": {{}}}}}}')
    predictor = document.get("predictor") or {}
    dataset_type = str(document.get("dataset_type") or "text/csv")
    if dataset_type not in FORMATS:
        raise UserError(f"{FILE}: dataset_type is {dataset_type!r}: use one of {', '.join(FORMATS)}")
    return ExplainConfig(
        headers=tuple(map(str, document.get("headers") or ())),
        label=document.get("label"),
        excluded=tuple(document.get("excluded_columns") or ()),
        features=document.get("features"),
        dataset_type=dataset_type,
        label_headers=tuple(map(str, predictor.get("label_headers") or ())),
        background=_background(shap.get("baseline")),
        samples=_count(shap, "num_samples"),
        aggregation=_choice(shap, "agg_method", AGGREGATIONS),
        use_logit=bool(shap.get("use_logit")),
        seed=_count(shap, "seed", least=0) or 0,
        local=bool(shap.get("save_local_shap_values")),
        algorithm=_choice(shap, "algorithm", explainers.ALGORITHMS),
        max_rows=_count(shap, "max_rows"),
    )


def _background(given: Any) -> tuple[tuple[float, ...], ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not given:
        raise UserError(f"{FILE}: methods.shap.baseline is {given!r}: write its rows themselves, [[0.5, 1, ...]]")
    rows: list[Any] = [row.get("features") if isinstance(row, Mapping) else row for row in given]
    try:
        return tuple(tuple(number(cell, "value") for cell in row) for row in rows)
    except (UnusableRecord, TypeError) as error:
        raise UserError(f"{FILE}: methods.shap.baseline holds a row that is none of numbers ({error})") from error


def _count(shap: Mapping[str, Any], key: str, least: int = 1) -> int | None:
    value = shap.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{FILE}: methods.shap.{key} is {value!r}: give a whole number of at least {least}")
    return value


def _choice(shap: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = shap.get(key) or allowed[0]
    if value not in allowed:
        raise UserError(f"{FILE}: methods.shap.{key} is {value!r}: use one of {', '.join(allowed)}")
    return str(value)
