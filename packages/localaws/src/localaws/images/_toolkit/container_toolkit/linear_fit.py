"""Stochastic gradient descent over several linear models at once, as AWS's linear learner trains them.

Source: "Linear Learner Hyperparameters" and "How Linear Learner Works" of the developer guide: one model is trained as
asked for, the others with close parameters; the best is chosen on the validation data afterwards.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from container_toolkit.rules import AUTO

_RATES = {"adam": 0.02, "rmsprop": 0.01, "sgd": 0.05}
_CLOSE_RATES = (1.0, 5.0, 0.2)
_CLOSE_DECAYS = (0.0, 1e-4, 1e-2)
_CLOSE_L1 = (0.0, 1e-4)
_WORK = 2e9  # multiplications of an epoch that `num_models = auto` stays below
_MODELS = 12


@dataclass(frozen=True)
class Loss:
    """A loss of one output: its values and its derivative, both from outputs and labels of one shape."""

    name: str
    value: Callable[[Any, Any], Any]
    slope: Callable[[Any, Any], Any]


def losses(parameters: dict[str, Any]) -> dict[str, Loss]:
    """The losses of one output by their hyperparameter value."""
    import numpy as np

    edge, delta = parameters["loss_insensitivity"], parameters["huber_delta"]
    quantile, margin = parameters["quantile"], parameters["margin"]

    def beyond(z: Any, y: Any) -> Any:
        return np.maximum(np.abs(z - y) - edge, 0)

    def side(y: Any) -> Any:
        return 2 * y - 1

    return {
        "logistic": Loss(
            "binary_classification_cross_entropy",
            lambda z, y: np.logaddexp(0, z) - y * z,
            lambda z, y: sigmoid(z) - y,
        ),
        "hinge_loss": Loss(
            "hinge_loss",
            lambda z, y: np.maximum(margin - side(y) * z, 0),
            lambda z, y: -side(y) * (side(y) * z < margin),
        ),
        "squared_loss": Loss("mse", lambda z, y: (z - y) ** 2, lambda z, y: 2 * (z - y)),
        "absolute_loss": Loss("absolute_loss", lambda z, y: np.abs(z - y), lambda z, y: np.sign(z - y)),
        "eps_insensitive_squared_loss": Loss(
            "eps_insensitive_squared_loss",
            lambda z, y: beyond(z, y) ** 2,
            lambda z, y: 2 * beyond(z, y) * np.sign(z - y),
        ),
        "eps_insensitive_absolute_loss": Loss(
            "eps_insensitive_absolute_loss", beyond, lambda z, y: np.sign(z - y) * (np.abs(z - y) > edge)
        ),
        "quantile_loss": Loss(
            "quantile_loss",
            lambda z, y: np.maximum(quantile * (y - z), (quantile - 1) * (y - z)),
            lambda z, y: np.where(y > z, -quantile, 1 - quantile),
        ),
        "huber_loss": Loss(
            "huber_loss",
            lambda z, y: np.where(np.abs(z - y) < delta, 0.5 * (z - y) ** 2, delta * (np.abs(z - y) - 0.5 * delta)),
            lambda z, y: np.clip(z - y, -delta, delta),
        ),
    }


def sigmoid(z: Any) -> Any:
    """The logistic function, without overflow."""
    import numpy as np

    return 0.5 * (1 + np.tanh(0.5 * z))


def softmax(z: Any) -> Any:
    """Probabilities over the last axis."""
    import numpy as np

    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@dataclass
class Variants:
    """The settings in which the models differ, one number per model."""

    rate: Any
    decay: Any
    l1: Any
    positive: Any


def variants(parameters: dict[str, Any], balance: float, size: int) -> Variants:
    """The first model as asked for, the others close to it; `size` is the work of one model in an epoch."""
    import numpy as np

    optimizer = optimizer_of(parameters)
    rate = _RATES[optimizer] if parameters["learning_rate"] == AUTO else parameters["learning_rate"]
    asked = {name: 0.0 if parameters[name] == AUTO else parameters[name] for name in ("wd", "l1")}
    weight = parameters["positive_example_weight_mult"]
    weights = (1.0, balance**0.5, balance) if weight == AUTO else (balance if weight == "balanced" else weight,)
    close = [
        (rate * factor, max(asked["wd"], decay), max(asked["l1"], l1), positive)
        for l1 in _CLOSE_L1
        for decay in _CLOSE_DECAYS
        for factor in _CLOSE_RATES
        for positive in weights
    ]
    close = list(dict.fromkeys(close))
    count = parameters["num_models"]
    count = max(1, min(_MODELS, int(_WORK / max(size, 1)))) if count == AUTO else count
    picked = [close[number % len(close)] for number in range(count)]
    return Variants(*(np.array(column, dtype=np.float32) for column in zip(*picked, strict=True)))


def optimizer_of(parameters: dict[str, Any]) -> str:
    """adam unless another is asked for."""
    return "adam" if parameters["optimizer"] == AUTO else parameters["optimizer"]


class Optimizer:
    """Steps of Adam, RMSProp or SGD with momentum for weights (features x models x outputs) and biases."""

    def __init__(self, parameters: dict[str, Any], chosen: Variants, shapes: list[tuple[int, ...]]) -> None:
        import numpy as np

        def given(name: str, default: float) -> float:
            return default if parameters[name] == AUTO else float(parameters[name])

        self._kind = optimizer_of(parameters)
        self._beta1, self._beta2 = given("beta_1", 0.9), given("beta_2", 0.999 if self._kind == "adam" else 0.9)
        self._momentum = given("momentum", 0.9)
        self._rate = chosen.rate[:, None]
        self._bias_rate = given("bias_lr_mult", 1.0)
        self._scheduled = parameters["use_lr_scheduler"]
        self._factor, self._every = given("lr_scheduler_factor", 0.99), given("lr_scheduler_step", 100)
        self._lowest = given("lr_scheduler_minimum_lr", 1e-5)
        self._first = [np.zeros(shape, dtype=np.float32) for shape in shapes]
        self._second = [np.zeros(shape, dtype=np.float32) for shape in shapes]
        self._steps = 0

    def step(self, values: list[Any], slopes: list[Any]) -> Any:
        """Change weights and biases in place; the learning rate of each model at this step."""
        import numpy as np

        rate = self._rate
        if self._scheduled:
            rate = np.maximum(rate * self._factor ** int(self._steps / self._every), np.minimum(self._lowest, rate))
        self._steps += 1
        for number, (value, slope) in enumerate(zip(values, slopes, strict=True)):
            value -= (rate if number == 0 else rate * self._bias_rate) * self._direction(number, slope)
        return rate

    def _direction(self, number: int, slope: Any) -> Any:
        import numpy as np

        first, second = self._first[number], self._second[number]
        if self._kind == "sgd":
            first *= self._momentum
            first += slope
            return first
        second *= self._beta2
        second += (1 - self._beta2) * slope**2
        if self._kind == "rmsprop":
            return slope / (np.sqrt(second) + 1e-8)
        first *= self._beta1
        first += (1 - self._beta1) * slope
        grown = 1 - self._beta1**self._steps
        return first / grown / (np.sqrt(second / (1 - self._beta2**self._steps)) + 1e-8)


class Problem:
    """Labels, weights and loss of one training: one output per model, or one per class."""

    def __init__(self, parameters: dict[str, Any], loss: str, classes: int) -> None:
        self.classes = classes
        self.loss = None if loss == "softmax_loss" else losses(parameters)[loss]
        self.name = self.loss.name if self.loss else "multiclass_cross_entropy"

    def evaluate(self, outputs: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
        """Mean loss of each model, and the slope of that mean; outputs are rows x models x outputs."""
        import numpy as np

        if self.loss is None:
            odds = softmax(outputs)
            truth = labels.astype(int)
            chosen = np.take_along_axis(odds, truth[:, None, None], axis=2)[:, :, 0]
            values = -np.log(np.maximum(chosen, 1e-12))
            odds[np.arange(len(truth)), :, truth] -= 1
            slopes = odds * weights[:, :, None]
        else:
            values = self.loss.value(outputs[:, :, 0], labels[:, None])
            slopes = (self.loss.slope(outputs[:, :, 0], labels[:, None]) * weights)[:, :, None]
        return (values * weights).mean(axis=0), (slopes / len(labels)).astype(np.float32)


@dataclass
class Fit:
    """The models after training: weights (features x models x outputs) and biases (models x outputs)."""

    weights: Any
    biases: Any

    def outputs(self, rows: Any, number: int) -> Any:
        """Rows x outputs of one model."""
        return rows @ self.weights[:, number, :] + self.biases[number]


def fit(
    parameters: dict[str, Any],
    problem: Problem,
    chosen: Variants,
    train: tuple[Any, Any, Any],
    validation: tuple[Any, Any, Any] | None,
    bias: bool,
) -> Iterator[tuple[int, float, float | None, Fit]]:
    """Epoch after epoch: its number, the best model's mean loss in training and validation, the best models so far.

    `train` and `validation` are rows, labels and weights (rows x models), rows and labels normalised. Ends early as
    early_stopping_patience says.
    """
    import numpy as np

    rows, labels, weights = train
    models, outputs = len(chosen.rate), max(problem.classes, 1)
    state = _start(parameters, rows.shape[1], models, outputs)
    optimizer = Optimizer(parameters, chosen, [value.shape for value in state])
    best = Fit(state[0].copy(), state[1].copy())
    lowest = np.full(models, np.inf)
    patience, bar = 0, np.inf
    decay = chosen.decay[:, None]
    bias_decay = decay * (0.0 if parameters["bias_wd_mult"] == AUTO else parameters["bias_wd_mult"])
    rng = np.random.default_rng(0)
    for epoch in range(parameters["epochs"]):
        total = np.zeros(models)
        for part in _batches(len(rows), parameters["mini_batch_size"], rng):
            scores = np.tensordot(rows[part], state[0], axes=1) + state[1]
            values, slopes = problem.evaluate(scores, labels[part], weights[part])
            total += values * len(part)
            down = np.tensordot(rows[part].T, slopes, axes=1) + decay * state[0]
            level = (slopes.sum(axis=0) + bias_decay * state[1]) * bias
            rate = optimizer.step(state, [down, level])
            if chosen.l1.any():
                state[0][:] = np.sign(state[0]) * np.maximum(np.abs(state[0]) - rate * chosen.l1[:, None], 0)
        trained = total / len(rows)
        checked = None
        if validation is not None:
            scores = np.tensordot(validation[0], state[0], axes=1) + state[1]
            checked = problem.evaluate(scores, validation[1], validation[2])[0]
        watched = np.nan_to_num(trained if checked is None else checked, nan=np.inf)
        better = watched < lowest
        best.weights[:, better], best.biases[better] = state[0][:, better], state[1][better]
        lowest = np.minimum(lowest, watched)
        yield epoch, float(np.nanmin(trained)), None if checked is None else float(np.nanmin(checked)), best
        improved = bar - lowest.min() > parameters["early_stopping_tolerance"] * abs(bar) if bar < np.inf else True
        patience = 0 if improved else patience + 1
        bar = min(bar, float(lowest.min()))
        if patience >= parameters["early_stopping_patience"]:
            return


def _start(parameters: dict[str, Any], width: int, models: int, outputs: int) -> list[Any]:
    """The same first weights for every model."""
    import numpy as np

    rng = np.random.default_rng(0)
    if parameters["init_method"] == "normal":
        first = rng.normal(0, parameters["init_sigma"], (width, 1, outputs))
    else:
        first = rng.uniform(-parameters["init_scale"], parameters["init_scale"], (width, 1, outputs))
    weights = np.repeat(first, models, axis=1).astype(np.float32)
    return [weights, np.full((models, outputs), parameters["init_bias"], dtype=np.float32)]


def _batches(rows: int, size: int, rng: Any) -> Iterator[Any]:
    order = rng.permutation(rows)
    for start in range(0, rows, size):
        yield order[start : start + size]
