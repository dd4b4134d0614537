"""Warm start: what earlier tuning jobs found out is the beginning of a new one's search.

Rules from the developer guide, "Run a Warm Start Hyperparameter Tuning Job".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from localaws.context import Context
from localaws.coverage import Behaviour
from localaws.errors import ValidationException
from localaws.store import StoredResource
from localaws.tuning.strategies import Observation
from localaws.tuning.tuning_request import TUNED_FOR, TrainingDefinition, read_definitions

PAGE = "developer guide, Run a Warm Start Hyperparameter Tuning Job"
MOST_CHANGES = 10
CHANGEABLE = (
    "algorithmSpecification", "inputDataConfig", "outputDataConfig", "staticHyperParameters", "roleArn",
    "resourceConfig", "stoppingCondition", "vpcConfig", "enableManagedSpotTraining", "checkpointConfig",
)  # fmt: skip
KEPT = ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "RetryStrategy", "Environment")
BEHAVIOURS = (
    Behaviour(
        "warm start: parents have ended, tune for the same metric and have the same hyperparameters of the same types",
        "documented",
        PAGE,
    ),
    Behaviour(
        "warm start: environment, retries, isolation and encryption stay those of the parents",
        "seen",
        "aws/sagemaker-python-sdk issue 3693",
    ),
    Behaviour("warm start: at most 10 changes of static values or to static", "documented", PAGE),
    Behaviour("warm start: IdenticalDataAndAlgorithm needs the parents' input data and image", "documented", PAGE),
    Behaviour("warm start: of the image only the repository is compared, not the tag", "assumed"),
    Behaviour("warm start: OverallBestTrainingJob is shown for IdenticalDataAndAlgorithm", "documented", PAGE),
    Behaviour("warm start: a parent's own parents are not looked at", "documented", PAGE),
    Behaviour("warm start: for strategies Bayesian and Random; only Bayesian learns from it", "documented", PAGE),
    Behaviour("warm start: the parents' training jobs do not count against MaxNumberOfTrainingJobs", "assumed"),
    Behaviour("texts of the refusals of warm start", "assumed"),
)
TrialsOf = Callable[[StoredResource], Sequence[tuple[Mapping[str, str], float]]]


def parents(ctx: Context, request: Mapping[str, Any], kind: str) -> list[StoredResource]:
    """The parent tuning jobs of a request; those that were deleted meanwhile are left out."""
    given = request.get("WarmStartConfig", {}).get("ParentHyperParameterTuningJobs", ())
    found = (ctx.store.get(kind, each.get("HyperParameterTuningJobName", "")) for each in given)
    return [each for each in found if each is not None]


def check(
    ctx: Context, request: Mapping[str, Any], found: tuple[TrainingDefinition, ...], kind: str, terminal: frozenset[str]
) -> None:
    """ValidationException for a warm start that AWS refuses."""
    warm = request.get("WarmStartConfig")
    if warm is None:
        return
    strategy = request["HyperParameterTuningJobConfig"]["Strategy"]
    if strategy not in ("Bayesian", "Random"):
        raise ValidationException(f"WarmStartConfig does not go with strategy {strategy}: use Bayesian or Random")
    if len(found) > 1:
        raise ValidationException("WarmStartConfig is for tuning jobs with one training definition")
    for each in warm["ParentHyperParameterTuningJobs"]:
        name = each.get("HyperParameterTuningJobName", "")
        parent = ctx.store.get(kind, name)
        if parent is None:
            raise ValidationException(f"WarmStartConfig: there is no hyperparameter tuning job '{name}'")
        if parent.status not in terminal:
            raise ValidationException(f"WarmStartConfig: the parent '{name}' is {parent.status}, it must have ended")
        old = read_definitions(parent.body)
        if len(old) > 1:
            raise ValidationException(f"WarmStartConfig: the parent '{name}' has several training definitions")
        _check_pair(name, old[0], found[0], identical=warm["WarmStartType"] == "IdenticalDataAndAlgorithm")


def _check_pair(name: str, old: TrainingDefinition, new: TrainingDefinition, *, identical: bool) -> None:
    where = f"WarmStartConfig: the parent '{name}'"
    if old.objective != new.objective:
        raise ValidationException(f"{where} tunes for {old.objective.metric}, this job for {new.objective.metric}")
    kinds = {r.name: r.kind for r in old.ranges}
    before, after = set(old.static) | set(kinds), set(new.static) | {r.name for r in new.ranges}
    before.discard(TUNED_FOR)
    after.discard(TUNED_FOR)
    if before != after:
        raise ValidationException(
            f"{where} has the hyperparameters {', '.join(sorted(before))}, this job {', '.join(sorted(after))}: "
            "static and tuned ones together must be the same"
        )
    for each in new.ranges:
        if kinds.get(each.name, each.kind) != each.kind:
            raise ValidationException(f"{where} tunes '{each.name}' as {kinds[each.name]}, this job as {each.kind}")
    if (changes := _changes(old, new)) > MOST_CHANGES:
        raise ValidationException(
            f"{where} differs in {changes} values of hyperparameters that are static in this job; "
            f"at most {MOST_CHANGES} are possible"
        )
    if changed := [key for key in KEPT if old.document.get(key) != new.document.get(key)]:
        raise ValidationException(
            f"Only the following fields in TrainingJobDefinition are allowed to change: [{', '.join(CHANGEABLE)}]. "
            f"Changed against the parent '{name}': {', '.join(changed)}"
        )
    if identical:
        _check_identical(where, old.document, new.document)


def _changes(old: TrainingDefinition, new: TrainingDefinition) -> int:
    """How many changes to static values there are: a categorical's values, and old and new static value, count."""
    tuned = {r.name: max(1, len(r.values)) for r in old.ranges}
    count = 0
    for name, value in new.static.items():
        if name in tuned:
            count += tuned[name]
        elif name in old.static and old.static[name] != value:
            count += 2
    return count


def _check_identical(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    def repository(document: Mapping[str, Any]) -> str:
        image: str = document["AlgorithmSpecification"]["TrainingImage"]
        return image.rpartition("/")[2].partition(":")[0]

    if repository(old) != repository(new):
        raise ValidationException(f"{where} has another training image: use WarmStartType TransferLearning")
    if old.get("InputDataConfig") != new.get("InputDataConfig"):
        raise ValidationException(f"{where} has other input data: use WarmStartType TransferLearning")


def observations(jobs: Sequence[StoredResource], trials: TrialsOf, new: TrainingDefinition) -> list[Observation]:
    """What the parents tried and found, as far as it lies in the ranges of the new tuning job."""
    known: list[Observation] = []
    for parent in jobs:
        for tried, value in trials(parent):
            if all(r.name in tried and r.holds(tried[r.name]) for r in new.ranges):
                known.append(({r.name: tried[r.name] for r in new.ranges}, value))
    return known
