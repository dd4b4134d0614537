"""Loading a model artifact and scoring rows with it, the way its endpoint would."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np

from sagewind.facts import contract
from sagewind.jobs.job import UserError
from sagewind.jobs.metrics import Floats

CSV = "text/csv"
#: The end of a model in XGBoost's binary JSON: the version that wrote it, as three small integers.
_SAVED_BY = re.compile(rb"version\[#L\x00{7}\x03[iU](.)[iU](.)[iU].\}\Z", re.DOTALL)


@dataclass(frozen=True)
class Scorer:
    """A loaded model. `score` takes features (rows x columns) and returns one score, or one row of them, per row.

    `native` names the importance measure that the model brings along ("gain", "coefficient", "impurity"), with its
    value per feature; both are None if it has none.
    """

    kind: str
    score: Callable[[Floats], Floats]
    native: str | None
    importance: list[float] | None


def load(archive: Path, folder: Path, features: int) -> Scorer:
    """Unpack `archive` into `folder` and load the model; UserError if it is none that this job can score."""
    unpack(archive, folder)
    if (folder / contract.INFERENCE_PY).exists():
        return _script(folder, features)
    for artifact, read in ARTIFACTS.items():
        if (folder / artifact).exists():
            return read(folder / artifact, features)
    found = ", ".join(sorted(path.name for path in folder.rglob("*") if path.is_file())) or "nothing"
    raise UserError(
        f"{archive.name} holds {found}: an artifact needs {' or '.join(map(repr, ARTIFACTS))} (built-in algorithm) "
        f"or {contract.INFERENCE_PY!r} (script mode)"
    )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the regular files of a tar archive below `folder`; links, devices and paths that leave it are refused.

    Done member by member: `filter="data"` does the same but is absent from early Python 3.10, which the images have.
    """
    if not archive.exists():
        raise UserError(f"the model artifact is missing: no file {archive.name} in the input {contract.MODEL!r}")
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _extract(tar, member, folder)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{archive.name} cannot be unpacked ({error}): train the model again") from error


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = PurePosixPath(member.name)
    if member.isdir():
        return
    source = tar.extractfile(member) if member.isreg() else None
    if source is None or name.is_absolute() or ".." in name.parts:
        raise UserError(f"the model artifact holds {member.name!r}, which is no plain file below its root: refused")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as file:
        while block := source.read(1 << 20):
            file.write(block)


def _xgboost(path: Path, features: int) -> Scorer:
    try:
        import xgboost
    except ModuleNotFoundError as error:
        raise UserError(
            "the artifact is an XGBoost model but this image has no xgboost: evaluate in the image that trained it"
        ) from error
    content = path.read_bytes()
    _require_version(content, xgboost.__version__)
    try:
        booster = xgboost.Booster()
        # From memory, because the format is guessed from a file's suffix and AWS's artifact has none.
        booster.load_model(bytearray(content))
    except xgboost.core.XGBoostError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{path.name} is no model that xgboost {xgboost.__version__} can read ({reason})") from error
    if booster.num_features() > features:
        raise UserError(f"the model was trained on {booster.num_features()} features, test.csv has {features}")
    learner = json.loads(booster.save_config())["learner"]
    objective = learner["objective"]["name"]

    def score(rows: Floats) -> Floats:
        matrix = xgboost.DMatrix(rows, missing=np.nan)
        margin = objective in ("multi:softmax", "binary:logitraw")
        raw = np.asarray(booster.predict(matrix, output_margin=margin, validate_features=False), dtype=np.float64)
        return _probabilities(objective, raw)

    gains = booster.get_score(importance_type="gain")
    names = booster.feature_names or [f"f{number}" for number in range(features)]
    return Scorer("xgboost", score, "gain", [float(gains.get(name, 0.0)) for name in names])


def _require_version(content: bytes, runtime: str) -> None:
    """UserError if a newer xgboost saved the model: 3.0 reads a model of 3.4 without complaint and scores nonsense."""
    match = _SAVED_BY.search(content[-64:])
    saved = (match[1][0], match[2][0]) if match else (0, 0)
    major, minor = runtime.split(".")[:2]
    if saved > (int(major), int(minor)):
        raise UserError(
            f"the model was saved by xgboost {saved[0]}.{saved[1]} and this image has {runtime}, which would read it "
            "wrongly: evaluate in the image that trained it"
        )


def _probabilities(objective: str, raw: Floats) -> Floats:
    """Probabilities where the objective's own prediction is a class number or a log-odds value."""
    if objective == "multi:softmax":
        powers = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    if objective == "binary:logitraw":
        return np.asarray(1 / (1 + np.exp(-raw)))
    return raw


def _script(folder: Path, features: int) -> Scorer:
    module = _import(folder / contract.INFERENCE_PY)
    if not hasattr(module, "model_fn"):
        raise UserError(f"{contract.INFERENCE_PY} in the artifact has no model_fn: define it, it loads the model")
    model = module.model_fn(str(folder))

    def score(rows: Floats) -> Floats:
        data: Any = rows
        if hasattr(module, "input_fn"):
            data = module.input_fn(csv_body(rows), CSV)
        predict = getattr(module, "predict_fn", lambda given, loaded: loaded.predict(given))
        return np.asarray(predict(data, model), dtype=np.float64)

    native, importance = _estimator_importance(model, features)
    return Scorer("script", score, native, importance)


class _Beside(MetaPathFinder):
    """Finds the modules that lie beside inference.py, after all installed ones; the serving container has them too."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec if it is in the folder; sub-modules are found through their package."""
        return PathFinder.find_spec(fullname, [self.folder], target) if path is None else None


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("inference", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path.name} in the artifact is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules["inference"] = module
    sys.meta_path.append(_Beside(path.parent))
    spec.loader.exec_module(module)
    return module


def csv_body(rows: Floats) -> str:
    """Rows as the CSV body of a request: exact numbers, an empty cell for a missing value."""
    body = io.StringIO()
    for row in rows.tolist():
        body.write(",".join("" if value != value else repr(value) for value in row) + "\n")
    return body.getvalue()


def _estimator_importance(model: Any, features: int) -> tuple[str | None, list[float] | None]:
    """Importance that a scikit-learn estimator (or the last step of a pipeline that keeps the columns) has.

    A coefficient is comparable between features only if they are scaled; train.py scales them.
    """
    steps = getattr(model, "steps", None)
    final = steps[-1][1] if steps else model
    for attribute, name in (("feature_importances_", "impurity"), ("coef_", "coefficient")):
        values = getattr(final, attribute, None)
        if values is not None and np.shape(values)[-1] == features:
            return name, np.abs(np.atleast_2d(values)).mean(axis=0).tolist()
    return None, None


#: How to read what built-in algorithms leave, by the file that `sagewind.facts.algorithms` names.
ARTIFACTS: Mapping[str, Callable[[Path, int], Scorer]] = {contract.XGBOOST_MODEL: _xgboost}
