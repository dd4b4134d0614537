"""Serving functions of a scikit-learn model, for AWS's prebuilt image: train.py copies this to code/inference.py.

The answer is the score that the evaluation measured: the probability of class 1 (binary), one probability per class
(multi-class) or the predicted value (regression), one line or list entry per row.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

CSV, JSON = "text/csv", "application/json"
MODEL_FILE = "model.joblib"


def model_fn(model_dir: str) -> Any:
    """Load the estimator that train.py saved."""
    import joblib

    return joblib.load(Path(model_dir) / MODEL_FILE)


def input_fn(body: str | bytes, content_type: str) -> Any:
    """Rows of features from CSV (an empty cell is missing) or JSON (`[[..]]`, `[..]` or `{"instances": [..]}`)."""
    text = body.decode("utf-8") if isinstance(body, bytes | bytearray) else body
    kind = content_type.split(";")[0].strip().lower()
    if kind == CSV:
        rows = [line.split(",") for line in text.splitlines() if line.strip()]
        values: Any = [[float(cell) if cell.strip() else np.nan for cell in row] for row in rows]
    elif kind == JSON:
        values = _json_rows(json.loads(text))
    else:
        raise ValueError(f"content type {content_type!r} is not supported: send {CSV} or {JSON}")
    if not values or len({len(row) for row in values}) != 1:
        raise ValueError("the request must hold at least one row, and all rows equally many features")
    return np.array(values, dtype=np.float64)


def _json_rows(document: Any) -> list[list[float]]:
    rows = document.get("instances") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise ValueError('the JSON request must be a list of rows, or an object with the list "instances"')
    rows = [row["features"] if isinstance(row, dict) and "features" in row else row for row in rows]
    if rows and not isinstance(rows[0], list):
        rows = [rows]
    return [[np.nan if value is None else float(value) for value in row] for row in rows]


def predict_fn(data: Any, model: Any) -> Any:
    """Scores of the rows."""
    wanted = getattr(model, "n_features_in_", data.shape[1])
    if data.shape[1] != wanted:
        raise ValueError(f"the request has {data.shape[1]} features per row, the model was trained on {wanted}")
    if not hasattr(model, "predict_proba"):
        return model.predict(data)
    probabilities = model.predict_proba(data)
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


def output_fn(prediction: Any, accept: str) -> tuple[str, str]:
    """The scores as CSV (one line per row, exact numbers) or JSON (`{"predictions": [..]}`)."""
    values = np.asarray(prediction, dtype=np.float64).tolist()
    if accept.split(";")[0].strip().lower() == JSON:
        return json.dumps({"predictions": values}), JSON
    rows = [value if isinstance(value, list) else [value] for value in values]
    return "".join(",".join(map(repr, row)) + "\n" for row in rows), CSV
