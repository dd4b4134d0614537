"""The `train` program of the XGBoost image: AWS's built-in algorithm, or script mode when a program is named."""

import os
import re
from typing import Any

from container_toolkit import base, script_mode, xgb_data, xgb_hyperparameters
from container_toolkit.base import UserError, log
from container_toolkit.environment import TrainingEnvironment

MODEL_NAME = "xgboost-model"
_SCRATCH_NAME = f".{MODEL_NAME}.ubj"
CHANNELS = ("train", "validation", "code")

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


def main() -> None:
    """Algorithm mode unless a program is named."""
    environment = TrainingEnvironment.read()
    if environment.program:
        script_mode.run(environment)
        return
    log("Running XGBoost Sagemaker in algorithm mode")
    given = base.read_config("hyperparameters", {})
    train_algorithm(xgb_hyperparameters.validate(given), check_channels(environment.channels), environment.resources)


def check_channels(given: dict[str, Any]) -> dict[str, Any]:
    """The channels of the algorithm, or a UserError in the container's words."""
    if "train" not in given:
        raise UserError("Missing required channel: train")
    for name, channel in given.items():
        if name not in CHANNELS:
            raise UserError(f"Extraneous channel found: {name}")
        if channel.get("TrainingInputMode", "File") == "Pipe":
            raise UserError(
                f"Pipe mode of channel {name} is no longer supported. Please use Fast File mode (default) instead."
            )
        if name != "code":
            xgb_data.content_type(channel.get("ContentType"))
    return given


def check_labels(name: str, labels: Any, objective: str, classes: int) -> None:
    """The labels that an objective can learn, else a UserError with the first row that has another."""
    if objective.startswith("multi:"):
        bad, rule = (labels < 0) | (labels >= classes) | (labels % 1 != 0), "label must be in [0, num_class)"
    elif objective.startswith("binary:") or objective == "reg:logistic":
        bad, rule = (labels < 0) | (labels > 1), "label must be in [0,1] for logistic regression"
    else:
        return
    if bad.any():
        row = int(bad.argmax())
        raise UserError(f"{rule}, but row {row + 1} of channel {name} has the label {labels[row]:g}.")


def load_channel(xgboost: Any, name: str, kind: str, parameters: dict[str, Any], *, weights: bool) -> Any:
    """A channel as DMatrix, or None when it holds no data."""
    found = xgb_data.read(base.channel_dir(name), kind, weights=weights)
    if found is None:
        return None
    features, labels, given = found
    check_labels(name, labels, parameters.get("objective", ""), parameters.get("num_class", 0))
    return xgboost.DMatrix(features, label=labels, weight=given)


def train_algorithm(parameters: dict[str, Any], channels: dict[str, Any], resources: dict[str, Any]) -> None:
    """Train with validated parameters and leave the model in the model directory."""
    if len(resources["hosts"]) > 1:
        raise UserError(f"The local image trains on one instance; InstanceCount is {len(resources['hosts'])}.")
    base.hide("pandas", "sklearn")
    import xgboost

    kind = xgb_data.content_type(channels["train"].get("ContentType"))
    weights = parameters.pop("csv_weights", 0) == 1
    train = load_channel(xgboost, "train", kind, parameters, weights=weights)
    if train is None:
        raise UserError(f"No data in training channel path {base.channel_dir('train')}")
    validation = None
    if "validation" in channels:
        validation = load_channel(xgboost, "validation", kind, parameters, weights=weights)
        if validation is None:
            raise UserError(f"No data in validation channel path {base.channel_dir('validation')}")
    if validation is not None and kind != xgb_data.LIBSVM and validation.num_col() != train.num_col():
        raise UserError(
            f"The train channel has {train.num_col()} features but the validation channel has {validation.num_col()}."
        )
    log(f"Train matrix has {train.num_row()} rows and {train.num_col()} columns")
    if validation is not None:
        log(f"Validation matrix has {validation.num_row()} rows")
    booster = boost(xgboost, parameters, train, validation)
    save(booster)


def save(booster: Any) -> None:
    """Put the model in its place, whole at any moment; the suffix of the scratch file chooses the format (UBJSON)."""
    directory = base.model_dir()
    directory.mkdir(parents=True, exist_ok=True)
    scratch = directory / _SCRATCH_NAME
    booster.save_model(scratch)
    scratch.replace(directory / MODEL_NAME)


def boost(xgboost: Any, parameters: dict[str, Any], train: Any, validation: Any) -> Any:
    """xgboost.train with the container's metrics, early stopping and log lines."""
    rounds = parameters.pop("num_round")
    metrics, stopping_metric, custom = choose_metrics(parameters)
    if metrics:
        parameters["eval_metric"] = metrics
    watch = [(train, "train")] + ([(validation, "validation")] if validation is not None else [])
    parts = _callbacks(xgboost, parameters, stopping_metric, validation is not None)
    if "updater" in parameters:
        parameters["updater"] = ",".join(parameters["updater"])
    try:
        return xgboost.train(
            parameters,
            train,
            num_boost_round=rounds,
            evals=watch,
            custom_metric=custom,
            callbacks=[_in_order(xgboost, parts)],
            verbose_eval=False,
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


def _callbacks(xgboost: Any, parameters: dict[str, Any], metric: str | None, has_validation: bool) -> list[Any]:
    # SageMaker's log shows a tab as #011, and the algorithm's metric expressions look for that.
    callbacks = [xgboost.callback.EvaluationMonitor(logger=lambda text: _print(text.replace("\t", "#011")))]
    if parameters.pop("save_model_on_termination", "false") == "true":
        callbacks.append(_save_each_round(xgboost))
        _leave_quietly_on_sigterm()
    rounds = parameters.pop("early_stopping_rounds", None)
    if rounds and metric and has_validation:
        maximize = metric.split("@")[0] in xgb_hyperparameters.MAXIMIZE
        callbacks.append(
            xgboost.callback.EarlyStopping(
                rounds=rounds, data_name="validation", metric_name=metric, maximize=maximize, save_best=True
            )
        )
    elif rounds:
        log("early_stopping_rounds has no effect without a validation channel and an eval_metric (as on SageMaker)")
    return callbacks


def _print(text: str) -> None:
    print(text.rstrip("\n"), flush=True)


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


def _save_each_round(xgboost: Any) -> Any:
    class SaveModel(xgboost.callback.TrainingCallback):  # type: ignore[misc,name-defined]
        """The model so far, whole at any moment, for a job that is stopped."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            save(model)
            return False

    return SaveModel()


def _leave_quietly_on_sigterm() -> None:
    import signal

    def leave(_number: int, _frame: object) -> None:
        (base.model_dir() / _SCRATCH_NAME).unlink(missing_ok=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
