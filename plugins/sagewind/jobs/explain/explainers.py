"""Which algorithm explains a model: exact TreeSHAP inside XGBoost, else Kernel SHAP.

XGBoost computes exact TreeSHAP itself (`pred_contribs`), in margin units, without the shap library, which none of
AWS's prebuilt images holds. Any other model is explained by Kernel SHAP: by the shap library where it is installed,
else by our own of the same definition.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sagewind.facts import contract
from sagewind.jobs.explain import kernel
from sagewind.jobs.job import UserError
from sagewind.jobs.metrics import Floats
from sagewind.jobs.scoring import Scorer

TREE, KERNEL, AUTO = "tree", "kernel", "auto"
ALGORITHMS = (AUTO, TREE, KERNEL)


@dataclass(frozen=True)
class Attributions:
    """Local attributions (rows x features x outputs), the expected value per output, and how they were computed."""

    values: Floats
    expected: Floats
    algorithm: str
    implementation: str
    unit: str


@dataclass(frozen=True)
class Kernel:
    """How Kernel SHAP is to run: background rows, number of feature sets, logit or not, seed."""

    background: Floats
    samples: int
    use_logit: bool
    seed: int


def algorithm(wanted: str, scorer: Scorer) -> str:
    """`tree` or `kernel`; UserError if trees are asked for and the model has none."""
    if wanted == TREE and scorer.kind != "xgboost":
        raise UserError(
            f"methods.shap.algorithm is {TREE!r}, the model is a {scorer.kind}: use {KERNEL!r}, it explains any model"
        )
    return (TREE if scorer.kind == "xgboost" else KERNEL) if wanted == AUTO else wanted


def tree(folder: Path, rows: Floats) -> Attributions:
    """TreeSHAP of the XGBoost model that was unpacked into `folder`."""
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray((folder / contract.XGBOOST_MODEL).read_bytes()))
    matrix = xgboost.DMatrix(rows, missing=np.nan)
    found = np.asarray(booster.predict(matrix, pred_contribs=True, validate_features=False), dtype=np.float64)
    if found.ndim == 2:
        found = found[:, None, :]
    values, expected = found[:, :, :-1].swapaxes(1, 2), found[:, :, -1].mean(axis=0)
    return Attributions(values, expected, TREE, f"xgboost {xgboost.__version__}", "margin")


def kernel_shap(score: Callable[[Floats], Floats], rows: Floats, how: Kernel) -> Attributions:
    """Kernel SHAP, by the shap library where it is installed."""
    unit = "log-odds" if how.use_logit else "the model's answer"
    if how.use_logit:
        _require_probabilities(score, np.concatenate([rows, how.background]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import shap
    except ImportError:
        link = kernel.logit if how.use_logit else kernel.identity
        values, expected = kernel.explain(score, rows, how.background, how.samples, link, how.seed)
        return Attributions(values, expected, KERNEL, "built in", unit)
    return _by_library(shap, score, rows, how, unit)


def _require_probabilities(score: Callable[[Floats], Floats], rows: Floats) -> None:
    """UserError if an answer has no log-odds; the shap library would go on with numbers that mean nothing."""
    answers = np.asarray(score(rows), dtype=np.float64)
    if not ((answers > 0) & (answers < 1)).all():
        raise UserError(
            f"methods.shap.use_logit needs answers between 0 and 1, the model's reach from {answers.min():.4g} to "
            f"{answers.max():.4g}: leave use_logit out"
        )


def _by_library(shap: object, score: Callable[[Floats], Floats], rows: Floats, how: Kernel, unit: str) -> Attributions:
    def answers(data: Floats) -> Floats:
        found = np.asarray(score(np.asarray(data, dtype=np.float64)), dtype=np.float64)
        return found[:, None] if found.ndim == 1 else found

    # The library draws from numpy's global generator, and by default drops features by a lasso: both are set.
    np.random.seed(how.seed)
    link = "logit" if how.use_logit else "identity"
    explainer = shap.KernelExplainer(answers, how.background, link=link)  # type: ignore[attr-defined]
    found = explainer.shap_values(rows, nsamples=how.samples, l1_reg=False, silent=True)
    values = np.stack(found, axis=-1) if isinstance(found, list) else np.asarray(found, dtype=np.float64)
    values = values[:, :, None] if values.ndim == 2 else values
    expected = np.atleast_1d(np.asarray(explainer.expected_value, dtype=np.float64))
    version = shap.__version__  # type: ignore[attr-defined]
    return Attributions(values, expected, KERNEL, f"shap {version}", unit)
