"""The `serve` program of the XGBoost image: the built-in algorithm's server, or script mode when a program is named."""

import io
import json
import os
from pathlib import Path
from typing import Any

from container_toolkit import base, recordio, xgb_data
from container_toolkit.base import UserError, log
from container_toolkit.server import Answer, default_accept, serve

ACCEPTED = ("application/json", "text/csv")


def main() -> None:
    """Load the model, then listen."""
    # As in AWS's container: one thread per prediction; more only costs time for the small bodies of an endpoint.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if os.environ.get("SAGEMAKER_PROGRAM"):
        from container_toolkit import script_serve

        script_serve.main()
        return
    if os.environ.get("SAGEMAKER_INFERENCE_OUTPUT"):
        raise UserError("SAGEMAKER_INFERENCE_OUTPUT is set: the local image does not support selectable inference.")
    base.hide("pandas", "sklearn")
    import xgboost

    boosters = load_boosters(xgboost, base.model_dir())
    predictor = XGBoostPredictor(xgboost, boosters)
    log(f"Model objective : {predictor.objective}")
    serve(predictor)


def load_boosters(xgboost: Any, directory: Path) -> list[Any]:
    """All models of the directory (a cross validation leaves several), which answer together.

    SAGEMAKER_INFERENCE_ENSEMBLE=false takes the first only. Pickles are not loaded, they could run anything.
    """
    files = [path for path in sorted(directory.glob("*")) if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise UserError("The model directory must hold an XGBoost model, it holds nothing.")
    together = os.environ.get("SAGEMAKER_INFERENCE_ENSEMBLE", "true").lower() == "true"
    return [_load(xgboost, path) for path in (files if together else files[:1])]


def _load(xgboost: Any, path: Path) -> Any:
    booster = xgboost.Booster({"nthread": int(os.environ["OMP_NUM_THREADS"])})
    try:
        booster.load_model(str(path))
    except xgboost.core.XGBoostError as error:
        reason = str(error).split("Stack trace:")[0].strip()
        raise UserError(f"Model {path.name} cannot be loaded by XGBoost {xgboost.__version__}: {reason}") from None
    return booster


class XGBoostPredictor:
    """Answers invocations with the models' predictions; statuses and formats are those of AWS's container."""

    def __init__(self, xgboost: Any, boosters: list[Any]) -> None:
        self._xgboost = xgboost
        self._boosters = boosters
        self.objective = json.loads(boosters[0].save_config())["learner"]["objective"]["name"]

    def _predict(self, features: Any) -> Any:
        """The prediction of the one model; of several the mean, or the most frequent class where they are classes."""
        import numpy as np

        matrix = self._xgboost.DMatrix(features)
        found = [booster.predict(matrix, validate_features=False) for booster in self._boosters]
        if len(found) == 1:
            return found[0]
        if self.objective not in ("multi:softmax", "binary:hinge"):
            return np.mean(found, axis=0)
        classes = np.unique(found)
        votes = (np.array(found)[..., None] == classes).sum(axis=0)
        return classes[votes.argmax(axis=-1)]

    def __call__(self, body: bytes, content_type: str | None, accept: str | None) -> Answer:
        """204 for an empty body, 415 for one that cannot be read, 400 for one the model refuses, 406 for Accept."""
        if not body:
            return 204, "text/plain", b""
        try:
            features = self._features(body, content_type)
        except (UserError, ValueError) as error:
            return 415, "text/plain", str(error).encode()
        try:
            scores = self._predict(features).tolist()
        except (self._xgboost.core.XGBoostError, ValueError) as error:
            reason = str(error).split("Stack trace:")[0].strip()
            return 400, "text/plain", f"Unable to evaluate payload provided: {reason}".encode()
        wanted = default_accept(accept, "text/csv")
        if wanted not in ACCEPTED:
            message = f"Accept type {wanted} is not supported. Please use supported accept types: {list(ACCEPTED)}."
            return 406, "text/plain", message.encode()
        return 200, wanted, encode(scores, wanted).encode()

    def _features(self, body: bytes, content_type: str | None) -> Any:
        kind = xgb_data.content_type(content_type)
        if kind == xgb_data.CSV:
            return parse_csv(body)
        if kind == xgb_data.LIBSVM:
            return parse_libsvm(body, self._boosters[0].num_features())
        if kind == xgb_data.RECORDIO:
            return recordio.matrix(map(recordio.decode, recordio.frames(io.BytesIO(body))))[0]
        raise UserError(f"Content-type {content_type} is not supported.")


def parse_csv(body: bytes) -> Any:
    """Rows of numbers without label or header; blank cells are missing values."""
    import numpy as np

    try:
        lines = body.decode("utf-8").strip().splitlines()
        mark = xgb_data.delimiter_of(lines[0]) if lines else ","
        rows = [[float(cell) if cell.strip() else float("nan") for cell in line.split(mark)] for line in lines]
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(
            f"Loading csv data failed with Exception, please ensure data is in csv format:\n {type(error)}\n {error}"
        ) from None


def parse_libsvm(body: bytes, width: int) -> Any:
    """Rows of `index:value`, with or without a label in front."""
    lines = body.decode("utf-8", "replace").strip().splitlines()
    rows = [[item for position, item in enumerate(line.split()) if position or ":" in item] for line in lines]
    try:
        return xgb_data.sparse_rows(rows, width)
    except ValueError as error:
        raise ValueError(
            f"Loading libsvm data failed with Exception, please ensure data is in libsvm format:\n {error}"
        ) from None


def encode(scores: list[Any], accept: str) -> str:
    """One line per record, the classes of a record separated by commas.

    repr of the float32 widened to a double: it reads back exactly, and it is what AWS's container prints. In a batch
    transform (SAGEMAKER_BATCH) that container writes a record with several classes as a list in brackets.
    """
    if accept == "application/json":
        return json.dumps({"predictions": [{"score": score} for score in scores]})
    if os.environ.get("SAGEMAKER_BATCH"):
        return "".join(f"{score}\n" for score in scores)
    return "".join((",".join(map(repr, s)) if isinstance(s, list) else repr(s)) + "\n" for s in scores)
