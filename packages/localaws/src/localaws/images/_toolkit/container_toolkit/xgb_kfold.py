"""Repeated k-fold cross validation of the built-in XGBoost algorithm (`_kfold`, `_num_cv_round`).

Source: train.py and prediction_utils.py of aws/sagemaker-xgboost-container: one model per fold, the mean of the metrics
in the log, the predictions for the rows that a model has not seen in output/data/predictions.csv.
"""

from typing import Any

from container_toolkit import base
from container_toolkit.base import UserError, log
from container_toolkit.xgb_boost import MODEL_NAME, boost, save

PREDICTIONS = "predictions.csv"
_SEED = 0  # AWS's folds differ from run to run; here a training can be repeated


def cross_validate(xgboost: Any, parameters: dict[str, Any], train: Any, validation: Any, every: Any) -> None:
    """Train on the folds of `every` (both channels together) and leave models and predictions."""
    import numpy as np
    from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

    folds, repeats = parameters.pop("_kfold"), parameters.pop("_num_cv_round", 1)
    objective = parameters.get("objective", "reg:squarederror")
    classes = "num_class" in parameters or objective.startswith("binary:")
    labels, count = every.get_label(), every.num_row()
    if folds > count:
        raise UserError(f"_kfold is {folds}, but the channels have {count} rows only.")
    log(f"Run {repeats}-round of {folds}-fold cross validation with {count} rows")
    kind = RepeatedStratifiedKFold if classes else RepeatedKFold
    parts = kind(n_splits=folds, n_repeats=repeats, random_state=parameters.get("seed", _SEED))
    results: list[dict[str, Any]] = []
    predicted = np.full((repeats, count), np.nan)
    odds = np.full((repeats, count), np.nan)
    for number, (rows, held) in enumerate(parts.split(np.zeros(count), labels if classes else None)):
        log(f"Train cross validation fold {number % folds + 1}")
        found: dict[str, Any] = {}
        part = every.slice(rows)
        booster = boost(xgboost, parameters, part, validation, fold=number, results=found, shown=train)
        save(booster, f"{MODEL_NAME}-{number}")
        results.append(found)
        scores = booster.predict(every.slice(held))
        odds[number // folds, held], predicted[number // folds, held] = (
            _classes(scores) if classes else (scores, scores)
        )
        if (number + 1) % folds == 0:
            log(f"The metrics of round {number // folds + 1} cross validation")
            _report(parameters["num_round"], results[-folds:])
    if repeats > 1:
        log(f"The overall metrics of {repeats}-round cross validation")
        _report(parameters["num_round"], results)
    _write(labels, odds, predicted, classes)


def _classes(scores: Any) -> tuple[Any, Any]:
    """The probability and the number of the class of each row."""
    if scores.ndim > 1:
        return scores.max(axis=1), scores.argmax(axis=1)
    return scores, (scores > 0.5).astype(int)


def _report(rounds: int, results: list[dict[str, Any]]) -> None:
    import numpy as np

    line = f"[{rounds}]"
    for metric in results[0]["train"]:
        for data in results[0]:
            line += f"#011{data}-{metric}:{np.mean([found[data][metric][-1] for found in results]):.5f}"
    print(line, flush=True)


def _write(labels: Any, odds: Any, predicted: Any, classes: bool) -> None:
    """Label and mean prediction of each row; for classes label, mean probability and most frequent class."""
    import numpy as np

    columns = [labels, odds.mean(axis=0)]
    if classes:
        from scipy import stats

        columns.append(stats.mode(predicted, axis=0).mode.reshape(-1))
    directory = base.base_dir() / "output" / "data"
    directory.mkdir(parents=True, exist_ok=True)
    np.savetxt(directory / PREDICTIONS, np.column_stack(columns), delimiter=",", fmt="%f")
