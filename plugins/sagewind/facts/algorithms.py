"""What the project knows of each way to train: one record for each algorithm, one for each framework's image.

A new algorithm is a record in ALGORITHMS. If its artifact is of a kind that no other has, `sagewind.jobs.scoring` must
learn to read it as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sagewind.facts import contract
from sagewind.facts.metrics import Problem

RangeKind = Literal["Continuous", "Integer"]


@dataclass(frozen=True)
class PrebuiltImage:
    """One of AWS's images: `repository:tag`, and the account of its registry in each region that has one."""

    repository: str
    accounts: Mapping[str, str]


@dataclass(frozen=True)
class Algorithm:
    """A built-in algorithm: its image, what it must be told, what can be tuned, what it reports and leaves.

    `objectives` are the values that `objective_parameter` may have for each problem. `class_count` names the
    hyper-parameter that a multiclass problem requires; None: the algorithm counts the classes itself. `tunable` maps
    hyper-parameters to the kind of their range. `artifact` is the file in model.tar.gz by which the job programs know
    how to score it.
    """

    image: PrebuiltImage
    required: tuple[str, ...]
    objectives: Mapping[Problem, tuple[str, ...]]
    tunable: Mapping[str, RangeKind]
    eval_metrics: tuple[str, ...]
    artifact: str
    objective_parameter: str = "objective"
    class_count: str | None = None


#: Registry accounts of the xgboost and scikit-learn images by region (source: the SageMaker SDK's tables).
_FRAMEWORK_ACCOUNTS: Mapping[str, str] = {
    "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698",
    "ap-south-1": "720646828776",
    "ap-southeast-1": "121021644041",
    "ap-southeast-2": "783357654285",
    "ca-central-1": "341280168497",
    "eu-central-1": "492215442770",
    "eu-north-1": "662702820516",
    "eu-west-1": "141502667606",
    "eu-west-2": "764974769150",
    "eu-west-3": "659782779980",
    "sa-east-1": "737474898029",
    "us-east-1": "683313688378",
    "us-east-2": "257758044811",
    "us-west-1": "746614075791",
    "us-west-2": "246618743249",
}

_XGBOOST_IMAGE = PrebuiltImage("sagemaker-xgboost:3.0-5", _FRAMEWORK_ACCOUNTS)
_SKLEARN_IMAGE = PrebuiltImage("sagemaker-scikit-learn:1.4-2-py312-cpu-py3", _FRAMEWORK_ACCOUNTS)

#: Built-in XGBoost. Source: AWS developer guide, "XGBoost hyperparameters" and "Tune an XGBoost Model".
XGBOOST = Algorithm(
    image=_XGBOOST_IMAGE,
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
    artifact=contract.XGBOOST_MODEL,
    class_count="num_class",
)

ALGORITHMS: Mapping[str, Algorithm] = {"xgboost": XGBOOST}

#: Frameworks for script mode. The newest images that this project was tried with.
FRAMEWORKS: Mapping[str, PrebuiltImage] = {"sklearn": _SKLEARN_IMAGE, "xgboost": _XGBOOST_IMAGE}

#: Every image by the name that plans, templates and requests give it: that of its algorithm or framework.
IMAGES: Mapping[str, PrebuiltImage] = {
    **FRAMEWORKS,
    **{name: algorithm.image for name, algorithm in ALGORITHMS.items()},
}
#: The image that runs our own job programs, but for those that need what trained the model.
JOBS_IMAGE = "sklearn"
