"""AWS's built-in linear learner: regression, binary and multiclass classification.

Sources: "Linear Learner Algorithm" of the developer guide with its hyperparameters, metrics and response formats; the
lines of the log and the metric expressions were seen in public reports of jobs.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from container_toolkit import base, linear_fit, linear_scores, mxnet_file, tabular
from container_toolkit.algorithm import MODEL, AlgorithmTraining, BuiltInAlgorithm, model_file, report
from container_toolkit.base import UserError
from container_toolkit.rules import AUTO, Rule, choice, flag, integer, number

_BINARY_LOSSES, _MULTICLASS_LOSSES = ("logistic", "hinge_loss"), ("softmax_loss",)
_REGRESSION_LOSSES = (
    *("squared_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss"),
    *("quantile_loss", "huber_loss"),
)
LOSSES = {
    "binary_classifier": _BINARY_LOSSES,
    "multiclass_classifier": _MULTICLASS_LOSSES,
    "regressor": _REGRESSION_LOSSES,
}
"""The losses of each type; the first is what `auto` means."""


def _weight(text: str) -> Any:
    value = text if text in ("balanced", AUTO) else float(text)
    if value != text and value <= 0:
        raise ValueError(text)
    return value


RULES = {
    "feature_dim": integer(auto=True),
    "num_classes": integer(low=2, high=1_000_000),
    "predictor_type": choice("binary_classifier", "multiclass_classifier", "regressor", required=True),
    "accuracy_top_k": integer(default=3),
    "balance_multiclass_weights": flag(False),
    "beta_1": number(0, high=1, auto=True),
    "beta_2": number(0, high=1, auto=True),
    "bias_lr_mult": number(0, above=True, auto=True),
    "bias_wd_mult": number(0, auto=True),
    "binary_classifier_model_selection_criteria": choice(
        *("accuracy", "f_beta", "f1", "precision_at_target_recall", "recall_at_target_precision"),
        *("loss_function", "cross_entropy_loss"),
        default="accuracy",
    ),
    "early_stopping_patience": integer(default=3),
    "early_stopping_tolerance": number(0, 0.001, above=True),
    "epochs": integer(default=15),
    "f_beta": number(0, 1.0, above=True),
    "huber_delta": number(0, 1.0, above=True),
    "init_bias": number(default=0.0),
    "init_method": choice("uniform", "normal", default="uniform"),
    "init_scale": number(0, 0.07, above=True),
    "init_sigma": number(0, 0.01, above=True),
    "l1": number(0, auto=True),
    "learning_rate": number(0, above=True, auto=True),
    "loss": choice(AUTO, *_BINARY_LOSSES, *_MULTICLASS_LOSSES, *_REGRESSION_LOSSES, default=AUTO),
    "loss_insensitivity": number(0, 0.01, above=True),
    "lr_scheduler_factor": number(0, high=1, above=True, auto=True),
    "lr_scheduler_minimum_lr": number(0, above=True, auto=True),
    "lr_scheduler_step": integer(auto=True),
    "margin": number(0, 1.0, above=True),
    "mini_batch_size": integer(default=None),
    "momentum": number(0, high=1, auto=True),
    "normalize_data": flag(True, auto=True),
    "normalize_label": flag(AUTO, auto=True),
    "num_calibration_samples": integer(auto=True),
    "num_models": integer(auto=True),
    "num_point_for_scaler": integer(default=10_000),
    "optimizer": choice(AUTO, "sgd", "adam", "rmsprop", default=AUTO),
    "positive_example_weight_mult": Rule(_weight, 1.0),
    "quantile": number(0, 0.5, high=1),
    "target_precision": number(0, 0.8, high=1),
    "target_recall": number(0, 0.8, high=1),
    "unbias_data": flag(AUTO, auto=True),
    "unbias_label": flag(AUTO, auto=True),
    "use_bias": flag(True),
    "use_lr_scheduler": flag(True),
    "wd": number(0, auto=True),
}

ALGORITHM = BuiltInAlgorithm(
    "container_toolkit.linear_learner",
    "linear learner",
    RULES,
    ("train", "validation", "test"),
    labelled=True,
    integers=("predicted_label",),
)

_BATCH = 1000
_UPDATES = 50  # of an epoch at least, where mini_batch_size is left out and the data are few
_NAMES = {"arg:fc0_weight", "arg:fc0_bias"}


def train(training: AlgorithmTraining) -> None:
    """Normalise, fit, choose, report, write."""
    parameters = training.parameters
    loss = check(parameters)
    data = {name: found for name in ("train", "validation", "test") if (found := training.data(name)) is not None}
    for name, (_rows, labels) in data.items():
        check_labels(parameters, name, labels)
    rows, labels = data["train"]
    if parameters["mini_batch_size"] is None:
        parameters["mini_batch_size"] = min(_BATCH, max(1, -(-len(rows) // _UPDATES)))
        report(f"mini_batch_size is {parameters['mini_batch_size']} for {len(rows)} records")
    scaler = Scaler(parameters, rows, labels)
    classes = parameters["num_classes"] if parameters["predictor_type"] == "multiclass_classifier" else 0
    problem = linear_fit.Problem(parameters, loss, classes)
    fitted, chosen = run(training, problem, scaler, data)
    held = "validation" if "validation" in data else "train"
    model = choose(parameters, loss, problem, scaler, fitted, len(chosen.rate), data[held])
    model.save(base.model_dir())
    for name, (some, truth) in data.items():
        for metric, value in model.metrics(parameters, problem, some, truth).items():
            kind = "loss" if metric in linear_scores.LOSSES or metric.endswith("_objective") else "score"
            training.score(name, metric, value)
            training.quality(name, metric, value, kind=kind)


def check(parameters: dict[str, Any]) -> str:
    """The loss of the predictor type; UserError for what does not go together."""
    kind, loss = parameters["predictor_type"], parameters["loss"]
    if loss != AUTO and loss not in LOSSES[kind]:
        raise UserError(f"loss {loss} cannot be used with predictor_type {kind}: use one of {', '.join(LOSSES[kind])}.")
    if kind == "multiclass_classifier" and (parameters["num_classes"] or 0) < 3:
        raise UserError("num_classes must be given and at least 3 when predictor_type is multiclass_classifier.")
    return LOSSES[kind][0] if loss == AUTO else loss


def check_labels(parameters: dict[str, Any], channel: str, labels: Any) -> None:
    """Labels that the predictor type can learn."""
    import numpy as np

    kind = parameters["predictor_type"]
    top = {"binary_classifier": 1, "multiclass_classifier": (parameters["num_classes"] or 0) - 1}.get(kind)
    bad = ~np.isfinite(labels)
    if top is not None:
        bad |= (labels < 0) | (labels > top) | (labels % 1 != 0)
    if bad.any():
        row = int(bad.argmax())
        range_ = "a number" if top is None else f"a whole number from 0 to {top}"
        raise UserError(
            f"The label of record {row + 1} of data channel '{channel}' is {labels[row]:g}; for predictor_type {kind} "
            f"it must be {range_}."
        )


class Scaler:
    """What takes features (and for regression the label) to mean 0 and deviation 1, and a model back again."""

    def __init__(self, parameters: dict[str, Any], rows: Any, labels: Any) -> None:
        import numpy as np

        def asked(name: str, default: bool) -> bool:
            return default if parameters[name] == AUTO else bool(parameters[name])

        bias, regressor = parameters["use_bias"], parameters["predictor_type"] == "regressor"
        some, truth = rows[: parameters["num_point_for_scaler"]], labels[: parameters["num_point_for_scaler"]]
        deviation = some.std(axis=0)
        scale = asked("normalize_data", True)
        self.deviation = np.where(deviation > 0, deviation, 1.0) if scale else np.ones(rows.shape[1])
        centre = bias and asked("unbias_data", True)
        self.mean = some.mean(axis=0) if centre else np.zeros(rows.shape[1])
        label = regressor and asked("normalize_label", True)
        self.label_deviation = float(truth.std()) or 1.0 if label else 1.0
        self.label_mean = float(truth.mean()) if regressor and bias and asked("unbias_label", True) else 0.0

    def rows(self, rows: Any) -> Any:
        """Normalised features."""
        import numpy as np

        return ((rows - self.mean) / self.deviation).astype(np.float32)

    def labels(self, labels: Any) -> Any:
        """Normalised labels."""
        import numpy as np

        return ((labels - self.label_mean) / self.label_deviation).astype(np.float32)

    def plain(self, weights: Any, bias: Any) -> tuple[Any, Any]:
        """The model on features and labels as they are given."""
        plain = weights / self.deviation[:, None] * self.label_deviation
        return plain, bias * self.label_deviation + self.label_mean - self.mean @ plain


def run(
    training: AlgorithmTraining, problem: linear_fit.Problem, scaler: Scaler, data: dict[str, tuple[Any, Any]]
) -> tuple[linear_fit.Fit, linear_fit.Variants]:
    """Train all models and report every epoch."""
    import numpy as np

    parameters = training.parameters
    rows, labels = data["train"]
    positives = float((labels == 1).sum())
    balance = (len(labels) - positives) / positives if positives else 1.0
    chosen = linear_fit.variants(parameters, balance, 4 * rows.size * max(problem.classes, 1))
    counts = np.bincount(labels.astype(int), minlength=problem.classes) if problem.classes else None

    def prepared(some: Any, truth: Any) -> tuple[Any, Any, Any]:
        weights = np.ones((len(truth), len(chosen.rate)), dtype=np.float32)
        if parameters["predictor_type"] == "binary_classifier":
            weights[truth == 1] = chosen.positive
        elif counts is not None and parameters["balance_multiclass_weights"]:
            weights *= (len(labels) / np.maximum(counts, 1) / problem.classes)[truth.astype(int), None]
        return scaler.rows(some), scaler.labels(truth), weights

    held = prepared(*data["validation"]) if "validation" in data else None
    fitted = None
    for epoch, trained, checked, best in linear_fit.fit(
        parameters, problem, chosen, prepared(rows, labels), held, parameters["use_bias"]
    ):
        training.quality("train", f"{problem.name}_objective", trained, kind="loss", epoch=epoch)
        if checked is not None:
            training.quality("validation", f"{problem.name}_objective", checked, kind="loss", epoch=epoch)
        training.progress(100 * (epoch + 1) / parameters["epochs"])
        fitted = best
    assert fitted is not None
    return fitted, chosen


def choose(
    parameters: dict[str, Any],
    loss: str,
    problem: linear_fit.Problem,
    scaler: Scaler,
    fitted: linear_fit.Fit,
    count: int,
    data: tuple[Any, Any],
) -> "LinearModel":
    """The best of the models on the held-out data, with the threshold that its criterion asks for."""
    import numpy as np

    rows, labels = data
    candidates = []
    for number_ in range(count):
        weights, bias = scaler.plain(fitted.weights[:, number_, :].astype(float), fitted.biases[number_].astype(float))
        model = LinearModel({"predictor_type": parameters["predictor_type"], "loss": loss}, weights, bias)
        outputs = model.outputs(rows)
        if not np.isfinite(outputs).all():
            continue
        value = -float(objective(problem, outputs, labels))
        if parameters["predictor_type"] == "binary_classifier":
            scores = model.scores(outputs)[:, 0]
            size = parameters["num_calibration_samples"]
            part = slice(None) if size == AUTO else slice(size)
            model.threshold, reached = linear_scores.threshold(scores[part], labels[part], parameters, model.threshold)
            value = value if np.isnan(reached) else reached
        candidates.append((value, -number_, model))
    if not candidates:
        raise UserError("Training diverged: no model has finite weights. Normalise the data or lower learning_rate.")
    report(f"Chosen is model {-max(candidates, key=lambda entry: entry[:2])[1]} of {count}")
    return max(candidates, key=lambda entry: entry[:2])[2]


def objective(problem: linear_fit.Problem, outputs: Any, labels: Any) -> float:
    """The mean loss of outputs."""
    import numpy as np

    weights = np.ones((len(labels), 1))
    return float(problem.evaluate(outputs[:, None, :].astype(float), labels, weights)[0][0])


class LinearModel:
    """Weights (features x outputs) and biases on plain features."""

    def __init__(self, meta: dict[str, Any], weights: Any, bias: Any) -> None:
        self.meta, self.weights, self.bias = meta, weights, bias
        self.width = len(weights)
        self.threshold = float(meta.get("threshold", 0.0 if meta["loss"] == "hinge_loss" else 0.5))

    def outputs(self, rows: Any) -> Any:
        """Rows x outputs before any link."""
        return rows @ self.weights + self.bias

    def scores(self, outputs: Any) -> Any:
        """Probabilities where the loss knows them."""
        if self.meta["loss"] == "logistic":
            return linear_fit.sigmoid(outputs)
        return linear_fit.softmax(outputs) if self.meta["loss"] == "softmax_loss" else outputs

    def __call__(self, features: Any, *, verbose: bool) -> dict[str, Any]:
        """score, and predicted_label of a classifier."""
        scores = self.scores(self.outputs(features))
        if self.meta["predictor_type"] == "multiclass_classifier":
            return {"score": scores, "predicted_label": scores.argmax(axis=1)}
        if self.meta["predictor_type"] == "binary_classifier":
            return {"score": scores[:, 0], "predicted_label": (scores[:, 0] > self.threshold).astype(int)}
        return {"score": scores[:, 0]}

    def metrics(
        self, parameters: dict[str, Any], problem: linear_fit.Problem, rows: Any, labels: Any
    ) -> dict[str, float]:
        """What is reported of the final model on a channel."""
        outputs = self.outputs(rows)
        found = {f"{problem.name}_objective": objective(problem, outputs, labels)}
        if self.meta["predictor_type"] == "multiclass_classifier":
            return found | linear_scores.multiclass(outputs, labels, parameters["accuracy_top_k"], parameters["f_beta"])
        if self.meta["predictor_type"] == "binary_classifier":
            scores = self.scores(outputs)[:, 0]
            return found | linear_scores.binary(scores, labels, self.threshold, parameters["f_beta"])
        return found | linear_scores.regression(outputs[:, 0], labels)

    def save(self, directory: Path) -> None:
        """A zip archive with the parts that AWS's algorithm leaves: symbol, parameters, own settings."""
        arrays = {"arg:fc0_weight": self.weights.T, "arg:fc0_bias": self.bias}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("mx-mod-0000.params", mxnet_file.dump(arrays))
            archive.writestr("mx-mod-symbol.json", json.dumps(symbol(len(self.bias))))
            archive.writestr("additional-params.json", json.dumps({**self.meta, "threshold": self.threshold}))
        tabular.write_atomically(directory / MODEL, buffer.getvalue())


def symbol(outputs: int) -> dict[str, Any]:
    """MXNet's graph of one fully connected layer."""
    nodes: list[dict[str, Any]] = [{"op": "null", "name": name, "inputs": []} for name in ("data", "fc0_weight")]
    nodes.append({"op": "null", "name": "fc0_bias", "inputs": []})
    layer = {"op": "FullyConnected", "name": "fc0", "attrs": {"num_hidden": str(outputs)}}
    nodes.append({**layer, "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]]})
    return {
        "nodes": nodes,
        "arg_nodes": [0, 1, 2],
        "node_row_ptr": [0, 1, 2, 3, 4],
        "heads": [[3, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10100]},
    }


def load(directory: Path) -> LinearModel:
    """The model of a directory."""
    try:
        with zipfile.ZipFile(io.BytesIO(model_file(directory, MODEL))) as archive:
            arrays = mxnet_file.load(archive.read("mx-mod-0000.params"))
            meta = json.loads(archive.read("additional-params.json"))
        assert isinstance(arrays, dict)
        return LinearModel(meta, arrays["arg:fc0_weight"].T.astype(float), arrays["arg:fc0_bias"].astype(float))
    except (ValueError, KeyError, AssertionError, zipfile.BadZipFile) as error:
        raise UserError(f"The model archive holds no linear learner model of this image: {error}.") from None
