"""One boosting of the built-in XGBoost algorithm: metrics, log lines, early stopping, checkpoints, model files.

Source: train.py, callback.py and checkpointing.py of aws/sagemaker-xgboost-container.
"""

import os
import re
import signal
from pathlib import Path
from typing import Any

from container_toolkit import base, xgb_hyperparameters
from container_toolkit.base import UserError, log

MODEL_NAME = "xgboost-model"
CHECKPOINT_NAME = "xgboost-checkpoint"
_KEPT = 5  # checkpoints, as in AWS's container

# What XGBoost says when the user's data or parameters are at fault; anything else is a fault of the algorithm.
_USER_FAULTS = (
    "label must be in [0,1] for logistic regression",
    "label must be in [0, num_class)",
    "Target is multiclass but average='binary'",
    "feature_names mismatch",
    "Check failed: preds.size() == info.labels_.size()",
    "the dataset only contains pos or neg samples",
    "base_score must be in (0,1)",
    "label must be nonnegative",
    "Parameter reg_lambda should be greater equal to 0",
    "Label contains NaN, infinity or a value too large",
)


def save(booster: Any, name: str = MODEL_NAME) -> None:
    """Put a model in its place in the model directory."""
    write(booster, base.model_dir() / name)


def write(booster: Any, path: Path) -> None:
    """A model file that is whole at any moment; the suffix of the scratch file chooses the format.

    UBJSON as AWS's images have it since XGBoost 2, the older binary format before.
    """
    import xgboost

    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "ubj" if int(xgboost.__version__.split(".")[0]) > 1 else "bin"
    scratch = path.with_name(f".{path.name}.{suffix}")
    booster.save_model(str(scratch))
    scratch.replace(path)


def boost(
    xgboost: Any,
    parameters: dict[str, Any],
    train: Any,
    validation: Any,
    *,
    master: bool = True,
    fold: int | None = None,
    shown: Any = None,
    results: dict[str, Any] | None = None,
) -> Any:
    """xgboost.train with the container's metrics, early stopping, checkpoints and log lines.

    Only the `master` of several hosts writes files. `fold` numbers the models of a cross validation, whose lines show
    the metrics on the whole train channel, `shown`; `results` takes the metrics of every round.
    """
    parameters = dict(parameters)
    rounds = parameters.pop("num_round")
    metrics, stopping_metric, custom = choose_metrics(parameters)
    if metrics:
        parameters["eval_metric"] = metrics
    watch = [(train if shown is None else shown, "train")] + (
        [(validation, "validation")] if validation is not None else []
    )
    folder = checkpoint_folder(fold)
    start, done = load_checkpoint(xgboost, folder)
    # Lines and checkpoints of a training that goes on are numbered on.
    parts = [_Report(done)] if master else []
    if folder and master:
        parts.append(_SaveCheckpoint(folder, done))
    parts += _model_callbacks(xgboost, parameters, stopping_metric, validation is not None, master, fold)
    if "updater" in parameters:
        parameters["updater"] = ",".join(parameters["updater"])
    try:
        return xgboost.train(
            parameters,
            train,
            num_boost_round=max(rounds - done, 0),
            evals=watch,
            custom_metric=custom,
            callbacks=[_in_order(xgboost, parts)],
            verbose_eval=False,
            xgb_model=start,
            evals_result=results,
        )
    except (xgboost.core.XGBoostError, ValueError) as error:
        if any(text in str(error) for text in _USER_FAULTS):
            raise UserError(_first_lines(str(error))) from None
        base.fail(f"XGB train call failed with exception:\n {_first_lines(str(error))}")


def _first_lines(text: str) -> str:
    """XGBoost's message without the C++ position before it and the stack after it."""
    return re.sub(r"^\[[\d:]+\] \S+:\d+: ", "", text.split("Stack trace:")[0].strip())


def choose_metrics(parameters: dict[str, Any]) -> tuple[list[str], str | None, Any]:
    """XGBoost's own metrics, the one that decides on early stopping, and the evaluator of the container's metrics.

    As in the container the tuner's objective is added to eval_metric and is the one that stops.
    """
    tuned = parameters.pop("_tuning_objective_metric", "").removeprefix("validation:")
    asked = parameters.pop("eval_metric", [])
    every = sorted({*asked, tuned}) if tuned else list(asked)
    custom = [name for name in every if name in _custom_names()]
    objective = parameters.get("objective", "reg:squarederror")
    evaluate = None
    if custom:
        from container_toolkit import xgb_metrics

        evaluate = xgb_metrics.evaluator(custom, objective)
    stopping = tuned or (asked[-1] if asked else None)
    return [name for name in every if name not in custom], stopping, evaluate


def _custom_names() -> frozenset[str]:
    from container_toolkit import xgb_metrics

    return xgb_metrics.NAMES


def _model_callbacks(
    xgboost: Any, parameters: dict[str, Any], metric: str | None, has_validation: bool, master: bool, fold: int | None
) -> list[Any]:
    callbacks: list[Any] = []
    if parameters.pop("save_model_on_termination", "false") == "true" and master:
        name = MODEL_NAME if fold is None else f"{MODEL_NAME}-{fold}"
        callbacks.append(_SaveModel(name))
        _leave_quietly_on_sigterm()
    rounds = parameters.pop("early_stopping_rounds", None)
    if rounds and metric and has_validation:
        maximize = metric.split("@")[0] in xgb_hyperparameters.MAXIMIZE
        callbacks.append(
            xgboost.callback.EarlyStopping(
                rounds=rounds, data_name="validation", metric_name=metric, maximize=maximize, save_best=master
            )
        )
    elif rounds:
        log("early_stopping_rounds has no effect without a validation channel and an eval_metric (as on SageMaker)")
    return callbacks


class _Part:
    """What _in_order asks of a part, besides XGBoost's own callbacks."""

    def before_training(self, model: Any) -> Any:
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        return False

    def after_training(self, model: Any) -> Any:
        return model


class _Report(_Part):
    """A line per round. SageMaker's log shows a tab as #011, and the algorithm's metric expressions look for that."""

    def __init__(self, first: int) -> None:
        self._first = first

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        pairs = ((data, name, values[-1]) for data, found in evals_log.items() for name, values in found.items())
        print(f"[{epoch + self._first}]" + "".join(f"#011{d}-{n}:{v:.5f}" for d, n, v in pairs), flush=True)
        return False


class _SaveModel(_Part):
    """The model so far, for a job that is stopped."""

    def __init__(self, name: str) -> None:
        self._name = name

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        save(model, self._name)
        return False


class _SaveCheckpoint(_Part):
    """A checkpoint per round, the newest five of them."""

    def __init__(self, folder: Path, first: int) -> None:
        self._folder, self._first = folder, first

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        number = epoch + self._first
        write(model, self._folder / f"{CHECKPOINT_NAME}.{number}")
        (self._folder / f"{CHECKPOINT_NAME}.{number - _KEPT}").unlink(missing_ok=True)
        return False


def _in_order(xgboost: Any, parts: list[Any]) -> Any:
    """One callback of several: XGBoost keeps callbacks in a set and asks no further once one says stop.

    Without this the line of the last round is in the log in some runs only.
    """

    class InOrder(xgboost.callback.TrainingCallback):  # type: ignore[misc,name-defined]
        def before_training(self, model: Any) -> Any:
            for part in parts:
                model = part.before_training(model)
            return model

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            verdicts = [part.after_iteration(model, epoch, evals_log) for part in parts]
            return any(verdicts)

        def after_training(self, model: Any) -> Any:
            for part in parts:
                model = part.after_training(model)
            return model

    return InOrder()


def _leave_quietly_on_sigterm() -> None:
    def leave(_number: int, _frame: object) -> None:
        for scratch in base.model_dir().glob(f".{MODEL_NAME}*"):
            scratch.unlink(missing_ok=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)


def checkpoint_folder(fold: int | None) -> Path | None:
    """Where the job keeps checkpoints, None when it keeps none; each model of a cross validation has its own."""
    given = base.read_config("checkpointconfig", {})
    if not given:
        return None
    local = Path(given.get("LocalPath") or "/opt/ml/checkpoints")
    if local.is_relative_to("/opt/ml"):
        local = base.base_dir() / local.relative_to("/opt/ml")
    return local if fold is None else local / f"model-{fold}"


def load_checkpoint(xgboost: Any, folder: Path | None) -> tuple[Any, int]:
    """The newest checkpoint that can be read and the number of rounds in it; (None, 0) without one."""
    if folder is None or not folder.is_dir():
        return None, 0
    found = [path for path in folder.iterdir() if re.fullmatch(rf"{CHECKPOINT_NAME}\.\d+", path.name)]
    for path in sorted(found, key=lambda p: int(p.name.rpartition(".")[2]), reverse=True):
        try:
            booster = xgboost.Booster(model_file=str(path))
        except xgboost.core.XGBoostError:
            log(f"Checkpoint {path.name} cannot be read, an older one is tried")
            continue
        rounds = int(path.name.rpartition(".")[2]) + 1
        log(f"Checkpoint loaded from {path}")
        log(f"Resuming from iteration {rounds}")
        return booster, rounds
    return None, 0
