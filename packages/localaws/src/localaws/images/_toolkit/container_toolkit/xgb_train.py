"""The `train` program of the XGBoost image: AWS's built-in algorithm, or script mode when a program is named."""

from typing import Any

from container_toolkit import base, script_mode, xgb_boost, xgb_data, xgb_hyperparameters
from container_toolkit.base import UserError, log
from container_toolkit.environment import TrainingEnvironment

CHANNELS = ("train", "validation", "code")


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
        if name != "code":
            kind = xgb_data.content_type(channel.get("ContentType"))
            if channel.get("TrainingInputMode", "File") == "Pipe":
                check_pipe(kind)
    return given


def check_pipe(kind: str) -> None:
    """Images since 3.0 have no Pipe mode; earlier ones have it for all formats but libsvm."""
    import xgboost

    if int(xgboost.__version__.split(".")[0]) > 1:
        name = {"csv": "CSV", "parquet": "Parquet", "recordio-protobuf": "RecordIO-Protobuf"}.get(kind, kind)
        raise UserError(
            f"Pipe mode for {name} is no longer supported. Please use Fast File mode (default) instead. "
            "Set input_mode='File' in your SageMaker Estimator or TrainingInput."
        )
    if kind not in xgb_data.PIPED:
        raise UserError("Pipe mode not supported for LibSVM.")


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


def load_channel(
    name: str, channel: dict[str, Any], kind: str, parameters: dict[str, Any], *, weights: bool
) -> tuple[Any, Any, Any] | None:
    """Features, labels and weights of a channel, or None when it holds no data."""
    if channel.get("TrainingInputMode", "File") == "Pipe":
        fifo = base.base_dir() / "input" / "data" / f"{name}_0"
        found = xgb_data.read_pipe(fifo, kind, name, weights=weights)
    else:
        found = xgb_data.read(base.channel_dir(name), kind, weights=weights)
    if found is not None:
        check_labels(name, found[1], parameters.get("objective", ""), parameters.get("num_class", 0))
    return found


def joined(parts: list[tuple[Any, Any, Any]]) -> tuple[Any, Any, Any] | None:
    """Several channels one after the other."""
    import numpy as np

    if len(parts) < 2:
        return parts[0] if parts else None
    features, labels, weights = zip(*parts, strict=True)
    if isinstance(features[0], np.ndarray):
        rows = np.concatenate(features)
    else:
        from scipy.sparse import vstack

        width = max(part.shape[1] for part in features)
        for part in features:
            part.resize(part.shape[0], width)
        rows = vstack(features, format="csr")
    given = None
    if any(part is not None for part in weights):
        given = np.concatenate([np.ones(len(y)) if w is None else w for w, y in zip(weights, labels, strict=True)])
    return rows, np.concatenate(labels), given


def train_algorithm(parameters: dict[str, Any], channels: dict[str, Any], resources: dict[str, Any]) -> None:
    """Train with validated parameters and leave the model in the model directory."""
    folds = "_kfold" in parameters
    if not folds:
        base.hide("pandas", "sklearn")
    import xgboost

    kind = xgb_data.content_type(channels["train"].get("ContentType"))
    weights = parameters.pop("csv_weights", 0) == 1
    names = [name for name in ("train", "validation") if name in channels]
    data = {name: load_channel(name, channels[name], kind, parameters, weights=weights) for name in names}
    matrices = {name: matrix(xgboost, found) for name, found in data.items()}
    every = matrix(xgboost, joined([found for found in data.values() if found is not None])) if folds else None
    del data  # the matrices are copies
    hosts = resources["hosts"]
    if len(hosts) > 1:
        if folds:
            raise UserError(f"_kfold works on one instance; InstanceCount is {len(hosts)}.")
        from container_toolkit import xgb_distributed

        def job(master: bool) -> None:
            train_one(xgboost, parameters, matrices, kind, master=master)

        ready = all(found is not None for found in matrices.values())
        xgb_distributed.train(xgboost, hosts, resources["current_host"], ready, job)
        return
    for name, found in matrices.items():
        if found is None:
            what = "training" if name == "train" else name
            raise UserError(f"No data in {what} channel path {base.channel_dir(name)}")
    if folds:
        from container_toolkit import xgb_kfold

        check_widths(matrices, kind)
        xgb_kfold.cross_validate(xgboost, parameters, matrices["train"], matrices.get("validation"), every)
        return
    train_one(xgboost, parameters, matrices, kind, master=True)


def matrix(xgboost: Any, found: tuple[Any, Any, Any] | None) -> Any:
    """A DMatrix, or None for no data."""
    return None if found is None else xgboost.DMatrix(found[0], label=found[1], weight=found[2])


def check_widths(matrices: dict[str, Any], kind: str) -> None:
    """The channels have the same features; in libsvm the last ones may be left out."""
    train, validation = matrices["train"], matrices.get("validation")
    if validation is not None and kind != xgb_data.LIBSVM and validation.num_col() != train.num_col():
        raise UserError(
            f"The train channel has {train.num_col()} features but the validation channel has {validation.num_col()}."
        )


def train_one(xgboost: Any, parameters: dict[str, Any], matrices: dict[str, Any], kind: str, *, master: bool) -> None:
    """Train one model, on this host or together with others, and write it on the `master`."""
    check_widths(matrices, kind)
    train, validation = matrices["train"], matrices.get("validation")
    log(f"Train matrix has {train.num_row()} rows and {train.num_col()} columns")
    if validation is not None:
        log(f"Validation matrix has {validation.num_row()} rows")
    booster = xgb_boost.boost(xgboost, parameters, train, validation, master=master)
    if master:
        xgb_boost.save(booster)
