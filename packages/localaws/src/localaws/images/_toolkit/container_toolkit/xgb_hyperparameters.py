"""The hyperparameters of AWS's built-in XGBoost algorithm: names, types, ranges, dependencies and messages.

Source of the rules: docs.aws.amazon.com/sagemaker/latest/dg/xgboost_hyperparameters.html and the behaviour of the
open-source container (hyperparameter_validation.py of aws/sagemaker-xgboost-container, 3.0-5).
"""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from container_toolkit.base import UserError

MAXIMIZE = (
    *("accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg", "precision"),
    *("r2", "recall", "precision_macro", "precision_micro", "recall_macro", "recall_micro"),
)
"""Evaluation metrics of which more is better."""

MINIMIZE = (
    *("aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "interval-regression-accuracy"),
    *("logloss", "mae", "mape", "merror", "mlogloss", "mphe", "mse", "poisson-nloglik", "rmse", "rmsle"),
    "tweedie-nloglik",
)
"""Evaluation metrics of which less is better."""

_THRESHOLD_METRICS = ("error", "ndcg", "map")

OBJECTIVES = (
    *("aft_loss_distribution", "binary:logistic", "binary:logitraw", "binary:hinge", "count:poisson"),
    *("multi:softmax", "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "reg:linear", "reg:squarederror"),
    *("reg:logistic", "reg:gamma", "reg:pseudohubererror", "reg:squaredlogerror", "reg:absoluteerror", "reg:tweedie"),
    *("survival:aft", "survival:cox"),
)

ALIASES = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}


@dataclass(frozen=True)
class Interval:
    """A range of numbers; `low_open`/`high_open` leave the end itself out."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        below, above = (operator.le if self.low_open else operator.lt), (operator.ge if self.high_open else operator.gt)
        return not (self.low is not None and below(value, self.low)) and not (
            self.high is not None and above(value, self.high)
        )

    def __str__(self) -> str:
        start = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low}"
        end = "+inf)" if self.high is None else f"{self.high}{')' if self.high_open else ']'}"
        return f"{start}, {end}"


@dataclass(frozen=True)
class Spec:
    """How one hyperparameter is read and what it may be."""

    parse: Callable[[str], Any]
    allowed: Interval | tuple[Any, ...]

    def check(self, name: str, value: Any) -> None:
        """Raises UserError in the container's words."""
        if isinstance(self.allowed, Interval) or self.parse is str:
            if value not in self.allowed:
                shown = self.allowed if isinstance(self.allowed, Interval) else list(self.allowed)
                raise UserError(f"Hyperparameter {name}: {value} is not in {shown}")
        elif any(item not in self.allowed for item in value):
            raise UserError(f"Hyperparameter {name}: value {value} not in range {list(self.allowed)}")


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def _numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, int) for item in value)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _tuple(text: str) -> Any:
    value = _literal(text)
    if not _numbers(value):
        raise ValueError(f"{text} is no tuple of numbers")
    return tuple(value)


def _groups(text: str) -> Any:
    value = _literal(text)
    if not isinstance(value, list) or not all(_numbers(group) for group in value):
        raise ValueError(f"{text} is no list of lists of numbers")
    return value


def _integer(low: float | None = None, high: float | None = None, **ends: bool) -> Spec:
    return Spec(int, Interval(low, high, **ends))


def _number(low: float | None = None, high: float | None = None, **ends: bool) -> Spec:
    return Spec(float, Interval(low, high, **ends))


def _choice(*values: str) -> Spec:
    return Spec(str, values)


_TREE_UPDATERS = (
    *("grow_colmaker", "distcol", "grow_histmaker", "grow_skmaker", "sync", "refresh", "prune"),
    "grow_quantile_histmaker",
)
_LINEAR_UPDATERS = ("shotgun", "coord_descent")

SPECS: dict[str, Spec] = {
    "num_round": _integer(1),
    "csv_weights": _integer(0, 1),
    "early_stopping_rounds": _integer(1),
    "booster": _choice("gbtree", "gblinear", "dart"),
    "verbosity": _integer(0, 3),
    "nthread": _integer(1),
    "eta": _number(0, 1),
    "gamma": _number(0),
    "max_depth": _integer(0),
    "min_child_weight": _number(0),
    "max_delta_step": _number(0),
    "subsample": _number(0, 1, low_open=True),
    "colsample_bytree": _number(0, 1, low_open=True),
    "colsample_bylevel": _number(0, 1, low_open=True),
    "colsample_bynode": _number(0, 1, low_open=True),
    "lambda": _number(0),
    "alpha": _number(0),
    "tree_method": _choice("auto", "exact", "approx", "hist", "gpu_hist"),
    "sketch_eps": _number(0, 1, low_open=True, high_open=True),
    "scale_pos_weight": _number(0, low_open=True),
    "updater": Spec(_list, (*_TREE_UPDATERS, *_LINEAR_UPDATERS)),
    "dsplit": _choice("row", "col"),
    "refresh_leaf": _integer(0, 1),
    "process_type": _choice("default", "update"),
    "grow_policy": _choice("depthwise", "lossguide"),
    "max_leaves": _integer(0),
    "max_bin": _integer(0),
    "predictor": _choice("auto", "cpu_predictor", "gpu_predictor"),
    "monotone_constraints": Spec(_tuple, (-1, 0, 1)),
    "interaction_constraints": Spec(_groups, ()),
    "sample_type": _choice("uniform", "weighted"),
    "normalize_type": _choice("tree", "forest"),
    "rate_drop": _number(0, 1),
    "one_drop": _integer(0, 1),
    "skip_drop": _number(0, 1),
    "lambda_bias": _number(0, 1),
    "tweedie_variance_power": _number(1, 2, low_open=True, high_open=True),
    "objective": _choice(*OBJECTIVES),
    "num_class": _integer(2),
    "base_score": _number(0),
    "_kfold": _integer(2),
    "_num_cv_round": _integer(1),
    "_tuning_objective_metric": _choice(*(f"validation:{name}" for name in (*MAXIMIZE, *MINIMIZE))),
    "eval_metric": Spec(_list, (*MAXIMIZE, *MINIMIZE)),
    "seed": _integer(-(2**31), 2**31 - 1, low_open=True, high_open=True),
    "num_parallel_tree": _integer(1),
    "save_model_on_termination": _choice("true", "false"),
    "aft_loss_distribution": _choice("normal", "logistic", "extreme"),
    "aft_loss_distribution_scale": _number(0),
    "deterministic_histogram": _choice("true", "false"),
    "sampling_method": _choice("uniform", "gradient_based"),
    "prob_buffer_row": _integer(1, low_open=True),
    "use_dask_gpu_training": _choice("true", "false"),
}

_NOT_HERE = {
    "use_dask_gpu_training": "training on GPUs",
    "gpu_hist": "training on GPUs",
    "gpu_predictor": "training on GPUs",
}


def validate(given: dict[str, str]) -> dict[str, Any]:
    """The parsed hyperparameters, aliases resolved; raises UserError in the words of AWS's container."""
    named = {ALIASES.get(name, name): value for name, value in given.items()}
    if "num_round" not in named:
        raise UserError("Missing required hyperparameter: num_round")
    parsed: dict[str, Any] = {}
    for name, value in named.items():
        if name not in SPECS:
            raise UserError(f"Extraneous hyperparameter found: {name}")
        try:
            parsed[name] = SPECS[name].parse(value)
        except ValueError:
            raise UserError(f"Hyperparameter {name}: could not parse value (caused by ValueError)") from None
    for name, value in parsed.items():
        _check_range(name, value)
    _check_dependencies(parsed)
    _refuse_what_is_not_here(parsed)
    return parsed


def _check_range(name: str, value: Any) -> None:
    if name == "eval_metric":
        SPECS[name].check(name, [_plain_metric(metric) for metric in value])
    elif name == "interaction_constraints":
        if not all(item in Interval(1) for group in value for item in group):
            raise UserError(f"Hyperparameter {name}: value {value} not in range {Interval(1)}")
    else:
        SPECS[name].check(name, value)


def _plain_metric(metric: str) -> str:
    """`error@0.4` as `error`, after a look at the threshold."""
    if "<function" in metric:
        raise UserError(f"User defined evaluation metric {metric} is not supported yet.")
    name, at, threshold = (part.strip() for part in metric.partition("@"))
    if not at:
        return metric
    if name not in _THRESHOLD_METRICS:
        raise UserError(
            f"Metric '{metric}' is not supported. Parameter 'eval_metric' with customized threshold should be one of "
            "these options: 'error', 'ndcg', 'map'."
        )
    try:
        float(threshold)
    except ValueError:
        raise UserError(f"Threshold value 't' in '{name}@t' expects float input.") from None
    return name


def _check_dependencies(parsed: dict[str, Any]) -> None:
    objective, method = parsed.get("objective", "reg:squarederror"), parsed.get("tree_method")
    if objective in ("multi:softmax", "multi:softprob") and "num_class" not in parsed:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    metrics = parsed.get("eval_metric", [])
    if "auc" in metrics and not objective.startswith(("binary:", "rank:")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise UserError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
    if "monotone_constraints" in parsed and method not in ("exact", "hist"):
        raise UserError(
            "monotone_constraints can be used only when the tree_method parameter is set to either 'exact' or 'hist'."
        )
    if "interaction_constraints" in parsed and method not in ("exact", "hist", "approx"):
        raise UserError(
            "interaction_constraints can be used only when the tree_method parameter is set to either 'exact', 'hist' "
            "or 'approx'."
        )
    if "updater" in parsed:
        _check_updater(parsed["updater"], parsed)


def _check_updater(updaters: list[str], parsed: dict[str, Any]) -> None:
    if parsed.get("booster") == "gblinear":
        if len(updaters) != 1 or updaters[0] not in _LINEAR_UPDATERS:
            raise UserError("Linear updater should be one of these options: 'shotgun', 'coord_descent'.")
    elif parsed.get("process_type") == "update":
        if not set(updaters) <= {"refresh", "prune"}:
            raise UserError("process_type 'update' can only be used with updater 'refresh' and 'prune'")
    elif not set(updaters) <= set(_TREE_UPDATERS):
        raise UserError(f"Tree updater should be selected from these options: {', '.join(map(repr, _TREE_UPDATERS))}.")
    elif sum(name.startswith("grow_") or name == "distcol" for name in updaters) > 1:
        raise UserError("Only one tree grow plugin can be selected.")


def _refuse_what_is_not_here(parsed: dict[str, Any]) -> None:
    asked = {name for name, value in parsed.items() if value != "false"}
    asked |= {parsed.get("tree_method", ""), parsed.get("predictor", "")}
    for name in sorted(asked & set(_NOT_HERE)):
        raise UserError(f"Hyperparameter value {name}: the local image does not support {_NOT_HERE[name]}.")
