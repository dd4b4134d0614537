"""Script-mode training of a scikit-learn estimator, in AWS's prebuilt scikit-learn image or anywhere with scikit-learn.

Arguments: `--estimator NAME`, `--seed N`, `--problem auto|binary|multiclass|regression`; any other `--name value` goes
to the estimator (a name it does not have is an error). Reads $SM_CHANNEL_TRAIN and $SM_CHANNEL_VALIDATION (CSV, label
first, no header), prints `validation:<metric>=<value>` lines, writes model.joblib and code/inference.py to
$SM_MODEL_DIR. This file is packed flat next to serve.py, so it imports nothing of the project.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

MODEL_FILE = "model.joblib"
#: Estimator name -> module and class per kind of problem; True: features are scaled first.
ESTIMATORS: dict[str, tuple[str, str | None, str | None, bool]] = {
    "logistic_regression": ("linear_model", "LogisticRegression", None, True),
    "linear_regression": ("linear_model", None, "LinearRegression", True),
    "ridge": ("linear_model", None, "Ridge", True),
    "random_forest": ("ensemble", "RandomForestClassifier", "RandomForestRegressor", False),
    "extra_trees": ("ensemble", "ExtraTreesClassifier", "ExtraTreesRegressor", False),
    "gradient_boosting": ("ensemble", "GradientBoostingClassifier", "GradientBoostingRegressor", False),
    "hist_gradient_boosting": ("ensemble", "HistGradientBoostingClassifier", "HistGradientBoostingRegressor", False),
    "mlp": ("neural_network", "MLPClassifier", "MLPRegressor", True),
}
DEFAULTS: dict[str, dict[str, Any]] = {"logistic_regression": {"max_iter": 1000}, "mlp": {"max_iter": 500}}
PROBLEMS = ("auto", "binary", "multiclass", "regression")
MOST_CLASSES = 100


class TrainUserError(Exception):
    """Something the user can put right; the text is one sentence."""


def main(argv: list[str]) -> None:
    """Train, measure, save; TrainUserError says what the user has to change."""
    options, parameters = parse(argv)
    features, labels = read_channel("train")
    validation, validation_labels = read_channel("validation")
    if validation.shape[1] != features.shape[1]:
        raise TrainUserError(f"train rows have {features.shape[1]} features, validation rows {validation.shape[1]}")
    problem = options.problem if options.problem != "auto" else guess_problem(labels)
    if problem != "regression":
        check_classes(labels, validation_labels)
    model = build(options.estimator, problem, parameters, options.seed)
    try:
        model.fit(features, labels)
    except ValueError as error:
        reason = str(error).strip().splitlines()[0]
        raise TrainUserError(f"{options.estimator} cannot be trained on this data: {reason}") from error
    for name, value in measure(model, problem, validation, validation_labels).items():
        print(f"validation:{name}={value!r}", flush=True)
    save(model, Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model")))


def parse(argv: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Our own options, and the estimator's parameters with their types."""
    parser = argparse.ArgumentParser(description="Train a scikit-learn estimator", allow_abbrev=False)
    parser.add_argument("--estimator", default="logistic_regression")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--problem", default="auto")
    parser.add_argument("--model_dir", help="passed by some SDK versions; SM_MODEL_DIR counts")
    options, rest = parser.parse_known_args(argv)
    if options.estimator not in ESTIMATORS:
        raise TrainUserError(f"hyper-parameter estimator is {options.estimator!r}: use one of {', '.join(ESTIMATORS)}")
    if options.problem not in PROBLEMS:
        raise TrainUserError(f"hyper-parameter problem is {options.problem!r}: use one of {', '.join(PROBLEMS)}")
    parameters: dict[str, Any] = {}
    while rest:
        name = rest.pop(0)
        # The toolkit passes a hyper-parameter of one letter with one hyphen: -C 0.5.
        short = len(name) == 2 and name[0] == "-" and name[1].isalpha()
        if not (short or name.startswith("--")) or not rest:
            raise TrainUserError(
                f"the arguments hold {name!r} without its value: give hyper-parameters as --name value"
            )
        # SageMaker's tuner adds parameters of its own, which begin with an underscore.
        if not name.startswith("--_"):
            parameters[name.lstrip("-")] = typed(rest[0])
        rest.pop(0)
    return options, parameters


def typed(text: str) -> Any:
    """A hyper-parameter's text as number, boolean, null or list (JSON, Python spelling of constants too), else text."""
    constants = {"True": True, "False": False, "None": None}
    if text in constants:
        return constants[text]
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_channel(name: str) -> tuple[Any, Any]:
    """Features and labels of all CSV files of a channel; an empty cell is a missing value."""
    folder = Path(os.environ.get(f"SM_CHANNEL_{name.upper()}", f"/opt/ml/input/data/{name}"))
    files = (
        sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".") if folder.is_dir() else []
    )
    lines = [(path, number, line) for path in files for number, line in enumerate(path.open(encoding="utf-8"), 1)]
    rows = [(path, number, line.rstrip("\r\n").split(",")) for path, number, line in lines if line.strip()]
    if not rows:
        raise TrainUserError(f"channel {name!r} has no rows: give it a folder of CSV files, label first, no header")
    width = len(rows[0][2])
    table = np.empty((len(rows), width))
    for index, (path, number, cells) in enumerate(rows):
        if len(cells) != width:
            raise TrainUserError(f"line {number} of {path.name} has {len(cells)} cells, the first row has {width}")
        try:
            table[index] = [float(cell) if cell else math.nan for cell in cells]
        except ValueError as error:
            raise TrainUserError(f"line {number} of {path.name} holds a cell that is no number ({error})") from error
    if np.isnan(table[:, 0]).any():
        raise TrainUserError(f"channel {name!r} has rows without a label: the label is the first column")
    return table[:, 1:], table[:, 0]


def guess_problem(labels: Any) -> str:
    """Class codes 0..k-1 (k at most 100, all present) are classes; anything else is a quantity to predict."""
    found = sorted(set(labels.tolist()))
    if len(found) > MOST_CLASSES or found != [float(code) for code in range(len(found))]:
        return "regression"
    return "binary" if len(found) == 2 else "multiclass"


def check_classes(labels: Any, validation_labels: Any) -> None:
    """TrainUserError if there is nothing to tell apart, or a class that training never shows."""
    known = set(labels.tolist())
    if len(known) < 2:
        raise TrainUserError(f"the train rows hold only class {known.pop():g}: a classifier needs rows of two classes")
    strange = sorted(set(validation_labels.tolist()) - known)
    if strange:
        raise TrainUserError(
            f"the validation rows hold class {strange[0]:g}, which no train row has: split the rows again"
        )


def build(name: str, problem: str, parameters: dict[str, Any], seed: int) -> Any:
    """The estimator with its parameters and seed; TrainUserError for a parameter that it does not have."""
    from importlib import import_module

    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    module, classifier, regressor, scaled = ESTIMATORS[name]
    wanted = regressor if problem == "regression" else classifier
    if wanted is None:
        other = "classification" if problem == "regression" else "regression"
        raise TrainUserError(
            f"estimator {name!r} is for {other}, this is a {problem} problem: choose another estimator"
        )
    estimator = getattr(import_module(f"sklearn.{module}"), wanted)()
    allowed = estimator.get_params()
    for key in parameters:
        if key not in allowed:
            raise TrainUserError(f"{name} has no hyper-parameter {key!r}: use one of {', '.join(sorted(allowed))}")
    seeded = {"random_state": seed} if "random_state" in allowed else {}
    estimator.set_params(**{**DEFAULTS.get(name, {}), **seeded, **parameters})
    return make_pipeline(StandardScaler(), estimator) if scaled else estimator


def measure(model: Any, problem: str, features: Any, labels: Any) -> dict[str, float]:
    """Metrics of the validation rows."""
    from sklearn import metrics

    predicted = model.predict(features)
    if problem == "regression":
        squared = float(metrics.mean_squared_error(labels, predicted))
        absolute, r2 = metrics.mean_absolute_error(labels, predicted), metrics.r2_score(labels, predicted)
        return {"rmse": squared**0.5, "mae": float(absolute), "mse": squared, "r2": float(r2)}
    probabilities = model.predict_proba(features)
    result = {
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "logloss": float(metrics.log_loss(labels, probabilities, labels=model.classes_)),
    }
    if problem == "binary":
        result["auc"] = float(metrics.roc_auc_score(labels, probabilities[:, 1]))
        result["f1"] = float(metrics.f1_score(labels, predicted))
    else:
        result["weighted_f1"] = float(metrics.f1_score(labels, predicted, average="weighted"))
    return result


def save(model: Any, folder: Path) -> None:
    """Write the model and the serving script, which the inference container imports from code/inference.py."""
    import joblib

    (folder / "code").mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / MODEL_FILE)
    shutil.copyfile(Path(__file__).with_name("serve.py"), folder / "code" / "inference.py")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except TrainUserError as problem_found:
        print(problem_found, file=sys.stderr, flush=True)
        sys.exit(1)
