"""What a CreateHyperParameterTuningJob request asks for: its training definitions, and what AWS refuses in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.jobs import training_request
from localaws.log_metrics import definitions as metric_definitions
from localaws.tuning.ranges import Range, combinations, grid_size, read_ranges
from localaws.tuning.stop import resources

TUNED_FOR = "_tuning_objective_metric"  # by which AWS tells a built-in algorithm what to measure
PASSED_ON = (
    "AlgorithmSpecification", "RoleArn", "InputDataConfig", "VpcConfig", "OutputDataConfig", "ResourceConfig",
    "StoppingCondition", "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "RetryStrategy",
    "EnableManagedSpotTraining", "CheckpointConfig", "Environment",
)  # fmt: skip
BEHAVIOURS = (
    Behaviour(
        "a built-in algorithm gets the hyperparameter _tuning_objective_metric",
        "documented",
        "developer guide, Define Hyperparameter Ranges",
    ),
    Behaviour("several training definitions are tried in turn, each with a search of its own", "assumed"),
    Behaviour("several training definitions must all maximize or all minimize", "assumed"),
    Behaviour(
        "early stopping Auto is for one training definition only",
        "documented",
        "developer guide, Create a Hyperparameter Optimization Tuning Job, Early Stopping",
    ),
    Behaviour(
        "Hyperband does not go with TrainingJobEarlyStoppingType Auto",
        "documented",
        "API reference, HyperParameterTuningJobConfig, TrainingJobEarlyStoppingType",
    ),
    Behaviour(
        "MaxNumberOfTrainingJobs of a grid is its size, or left out",
        "documented",
        "developer guide, How Hyperparameter Tuning Works, Grid Search",
    ),
    Behaviour(
        "ranges with fewer combinations than MaxNumberOfTrainingJobs are refused, with AWS's text",
        "seen",
        "aws/amazon-sagemaker-operator-for-k8s issue 123",
    ),
    Behaviour("of several InstanceConfigs the first is taken: there is capacity for every instance type", "assumed"),
)


@dataclass(frozen=True)
class TuningObjective:
    """What is tuned for."""

    metric: str
    maximize: bool

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is strictly better."""
        return value > other if self.maximize else value < other


@dataclass(frozen=True)
class TrainingDefinition:
    """One training definition of a tuning job; `name` is None where the request needs none."""

    name: str | None
    document: Mapping[str, Any]
    objective: TuningObjective
    ranges: tuple[Range, ...]

    @property
    def static(self) -> Mapping[str, str]:
        """The hyperparameters that are not tuned."""
        found: Mapping[str, str] = self.document.get("StaticHyperParameters", {})
        return found

    def child_request(self, name: str, tuned: Mapping[str, str]) -> dict[str, Any]:
        """The CreateTrainingJob request of one training job."""
        made = {key: self.document[key] for key in PASSED_ON if key in self.document}
        if given := self.document.get("HyperParameterTuningResourceConfig"):
            chosen = given.get("InstanceConfigs", [given])[0]
            keys = ("InstanceType", "InstanceCount", "VolumeSizeInGB")
            made["ResourceConfig"] = {key: chosen[key] for key in keys if key in chosen}
            if "VolumeKmsKeyId" in given:
                made["ResourceConfig"]["VolumeKmsKeyId"] = given["VolumeKmsKeyId"]
        return {**made, "TrainingJobName": name, "HyperParameters": {**self.static, **tuned}}


def _objective(given: Mapping[str, Any]) -> TuningObjective:
    return TuningObjective(given["MetricName"], given["Type"] == "Maximize")


def read_definitions(request: Mapping[str, Any]) -> tuple[TrainingDefinition, ...]:
    """The training definitions of a request or of a stored tuning job; ValidationException for what is missing."""
    config = request["HyperParameterTuningJobConfig"]
    one, several = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions")
    if (one is None) == (several is None):
        raise ValidationException("Exactly one of TrainingJobDefinition and TrainingJobDefinitions is required")
    if one is not None:
        return (_definition(one, "TrainingJobDefinition", config),)
    found = tuple(_definition(each, f"TrainingJobDefinitions[{n}]", {}) for n, each in enumerate(several or ()))
    for key, other in (("ParameterRanges", "HyperParameterRanges"),
                       ("HyperParameterTuningJobObjective", "TuningObjective")):  # fmt: skip
        if config.get(key):
            raise ValidationException(
                f"HyperParameterTuningJobConfig.{key} does not go with TrainingJobDefinitions: "
                f"give {other} in each of them"
            )
    _check_several(found)
    return found


def _check_several(found: tuple[TrainingDefinition, ...]) -> None:
    names = [each.name for each in found]
    if None in names:
        raise ValidationException(f"TrainingJobDefinitions[{names.index(None)}].DefinitionName is required")
    if doubled := sorted({str(n) for n in names if names.count(n) > 1}):
        raise ValidationException(f"TrainingJobDefinitions: the DefinitionName '{doubled[0]}' is given more than once")
    if len({each.objective.maximize for each in found}) > 1:
        raise ValidationException("TrainingJobDefinitions: TuningObjective.Type must be the same in all of them")


def _definition(document: Mapping[str, Any], where: str, config: Mapping[str, Any]) -> TrainingDefinition:
    objective = config.get("HyperParameterTuningJobObjective") or document.get("TuningObjective")
    if objective is None:
        alone = "HyperParameterTuningJobConfig.HyperParameterTuningJobObjective"
        raise ValidationException(f"{alone if config else f'{where}.TuningObjective'} is required")
    if document.get("TuningObjective", objective) != objective:
        raise ValidationException(
            f"{where}.TuningObjective and HyperParameterTuningJobConfig.HyperParameterTuningJobObjective differ: "
            "leave one of them out"
        )
    own, common = document.get("HyperParameterRanges"), config.get("ParameterRanges")
    if own and common:
        raise ValidationException(
            f"{where}.HyperParameterRanges and HyperParameterTuningJobConfig.ParameterRanges are both given: "
            "leave one of them out"
        )
    ranges = read_ranges(own or common or {})
    static = document.get("StaticHyperParameters", {})
    if both := [r.name for r in ranges if r.name in static]:
        raise ValidationException(f"Hyperparameter '{both[0]}' is both static and tuned")
    if "ResourceConfig" in document and "HyperParameterTuningResourceConfig" in document:
        raise ValidationException(
            f"{where}.ResourceConfig and {where}.HyperParameterTuningResourceConfig are both given: "
            "leave one of them out"
        )
    return TrainingDefinition(document.get("DefinitionName"), document, _objective(objective), ranges)


def check(ctx: Context, request: Mapping[str, Any]) -> tuple[tuple[TrainingDefinition, ...], int]:
    """The definitions and how many training jobs there will be; ValidationException for what AWS refuses.

    Completes the static hyperparameters of built-in algorithms.
    """
    config = request["HyperParameterTuningJobConfig"]
    found = read_definitions(request)
    early = config.get("TrainingJobEarlyStoppingType", "Off") != "Off"
    if early and len(found) > 1:
        raise ValidationException("TrainingJobEarlyStoppingType Auto is for tuning jobs with one training definition")
    if early and config["Strategy"] == "Hyperband":
        raise ValidationException("Strategy Hyperband needs TrainingJobEarlyStoppingType Off: it stops jobs by itself")
    if config.get("StrategyConfig", {}).get("HyperbandStrategyConfig") and config["Strategy"] != "Hyperband":
        raise ValidationException(f"StrategyConfig.HyperbandStrategyConfig does not go with {config['Strategy']}")
    for each in found:
        training_request.check(ctx, each.child_request(f"{request['HyperParameterTuningJobName']}-001-00000000", {}))
        _check_objective(ctx, each)
        if config["Strategy"] == "Hyperband":
            resources(config, each.static)
    return found, _total(config, found)


def _total(config: Mapping[str, Any], found: tuple[TrainingDefinition, ...]) -> int:
    strategy = config["Strategy"]
    wanted: int | None = config["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    if strategy == "Grid":
        size = sum(grid_size(each.ranges) for each in found)
        if wanted not in (None, size):
            raise ValidationException(
                f"MaxNumberOfTrainingJobs is {wanted}, but the grid has {size} combinations: leave it out"
            )
        return size
    if wanted is None:
        raise ValidationException(f"ResourceLimits.MaxNumberOfTrainingJobs is required for strategy {strategy}")
    sizes = [combinations(each.ranges) for each in found]
    if sum(sizes) < wanted:
        raise ValidationException(
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
            f"combinations for the provided ranges [{sum(sizes)}] must be equal or greater than the value of "
            f"MaxNumberOfJobs, [{wanted}]. Provide additional ranges."
        )
    return wanted


def _check_objective(ctx: Context, given: TrainingDefinition) -> None:
    """The objective must be a metric that is read from the log; a built-in algorithm is told to measure it."""
    metric = given.objective.metric
    algorithm = given.document["AlgorithmSpecification"]
    image = ctx.images.resolve(algorithm["TrainingImage"])
    known = [d.name for d in metric_definitions(algorithm.get("MetricDefinitions", ()), image.metrics)]
    if metric not in known:
        raise ValidationException(
            f"The objective metric '{metric}' is not defined; metrics of this algorithm: {', '.join(known) or 'none'}"
        )
    if image.metrics and isinstance(given.document, dict):
        given.document["StaticHyperParameters"] = {TUNED_FOR: metric, **given.static}
