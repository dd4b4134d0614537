"""What the project knows of each way to train: image, objectives, tunable hyper-parameters, metric names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

RangeKind = Literal["Continuous", "Integer"]


@dataclass(frozen=True)
class Algorithm:
    """A built-in algorithm: its image, what it must be told, what can be tuned and what it reports."""

    image: str
    required: tuple[str, ...]
    objectives: Mapping[str, tuple[str, ...]]
    tunable: Mapping[str, RangeKind]
    eval_metrics: tuple[str, ...]


#: Built-in XGBoost. Source: AWS developer guide, "XGBoost hyperparameters" and "Tune an XGBoost Model".
XGBOOST = Algorithm(
    image="xgboost",
    required=("num_round",),
    objectives={
        "binary": ("binary:logistic",),
        "multiclass": ("multi:softprob",),
        "regression": ("reg:squarederror", "reg:absoluteerror", "reg:gamma", "reg:tweedie"),
    },
    tunable={
        "alpha": "Continuous",
        "colsample_bylevel": "Continuous",
        "colsample_bynode": "Continuous",
        "colsample_bytree": "Continuous",
        "eta": "Continuous",
        "gamma": "Continuous",
        "lambda": "Continuous",
        "max_delta_step": "Integer",
        "max_depth": "Integer",
        "min_child_weight": "Continuous",
        "num_round": "Integer",
        "subsample": "Continuous",
    },
    eval_metrics=(
        "auc",
        "logloss",
        "error",
        "aucpr",
        "f1",
        "accuracy",
        "rmse",
        "mae",
        "mse",
        "mlogloss",
        "merror",
    ),
)

ALGORITHMS: Mapping[str, Algorithm] = {"xgboost": XGBOOST}

#: Frameworks for script mode -> image name.
FRAMEWORKS: Mapping[str, str] = {"sklearn": "sklearn", "xgboost": "xgboost"}
