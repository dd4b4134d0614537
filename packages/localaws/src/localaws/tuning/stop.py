"""Which running training jobs of a tuning job are not worth their time: the median rule and Hyperband.

Both look at the objective metric each time a training job prints it, which counts as one epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import median
from typing import Any, Protocol

from localaws.coverage import Behaviour
from localaws.errors import ValidationException

# Static hyperparameters from which Hyperband's MaxResource is taken (HyperbandStrategyConfig, MaxResource).
EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
MOST_EPOCHS = 20_000  # HyperbandStrategyConfig, MaxResource
MIN_RESOURCE = 1
BEHAVIOURS = (
    Behaviour(
        "early stopping Auto: a training job is stopped when its objective is worse than the median of the running "
        "averages, up to the same epoch, of the training jobs before it",
        "documented",
        "developer guide, Stop Training Jobs Early",
    ),
    Behaviour("the training jobs before it are those that have completed, and one is enough for a median", "assumed"),
    Behaviour("an epoch is one line of the log with the objective metric", "assumed"),
    Behaviour(
        "Hyperband stops no training job before MinResource",
        "documented",
        "API reference, HyperbandStrategyConfig, MinResource",
    ),
    Behaviour(
        "Hyperband takes MaxResource from the static hyperparameters epochs, numepochs, n-epochs, n_epochs or "
        "num_epochs when it is not given, else the request is refused",
        "documented",
        "API reference, HyperbandStrategyConfig, MaxResource",
    ),
    Behaviour(
        "its text: `MaxResource parameter is not provided and could not be inferred ...`",
        "seen",
        "awslabs/graphstorm issue 1243",
    ),
    Behaviour("a training job that goes on after MaxResource is stopped; one that ends there completes", "assumed"),
    Behaviour("MinResource is 1 when it is not given; Hyperband promotes one in three", "assumed"),
)


class Stopper(Protocol):
    """A rule. Trials are named by the numbers that `begin` is called with."""

    def begin(self, trial: int) -> None:
        """A training job is started."""

    def report(self, trial: int, values: Sequence[float]) -> bool:
        """Whether a training job is to be stopped, after its last value; `values` are all so far."""

    def complete(self, trial: int, values: Sequence[float]) -> None:
        """A training job has completed."""


class MedianRule:
    """TrainingJobEarlyStoppingType Auto."""

    def __init__(self, *, maximize: bool) -> None:
        self._maximize = maximize
        self._averages: list[list[float]] = []  # of each completed job: its running average at each epoch

    def begin(self, trial: int) -> None:
        """See Stopper."""

    def report(self, trial: int, values: Sequence[float]) -> bool:
        """See Stopper."""
        epoch = len(values) - 1
        others = [averages[epoch] for averages in self._averages if len(averages) > epoch]
        if not others:
            return False
        return values[-1] < median(others) if self._maximize else values[-1] > median(others)

    def complete(self, trial: int, values: Sequence[float]) -> None:
        """See Stopper."""
        self._averages.append([total / count for count, total in enumerate(accumulate(values), start=1)])


class Hyperband:
    """Strategy Hyperband: several brackets of asynchronous successive halving, as optuna's pruner does them.

    `limit` stops what goes on after it; None when the training jobs end there by themselves.
    """

    def __init__(self, *, maximize: bool, least: int, most: int, limit: int | None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # The pruner deals trials out to its brackets by a hash of the study's name: it must not be a random one.
        self._study = optuna.create_study(
            study_name="hyperband",
            direction="maximize" if maximize else "minimize",
            pruner=optuna.pruners.HyperbandPruner(min_resource=least, max_resource=most, reduction_factor=3),
        )
        self._limit = limit
        self._trials: dict[int, Any] = {}

    def begin(self, trial: int) -> None:
        """See Stopper."""
        self._trials[trial] = self._study.ask()

    def report(self, trial: int, values: Sequence[float]) -> bool:
        """See Stopper."""
        if self._limit is not None and len(values) > self._limit:
            return True
        known = self._trials[trial]
        known.report(values[-1], step=len(values))
        return bool(known.should_prune())

    def complete(self, trial: int, values: Sequence[float]) -> None:
        """See Stopper; what counts has been reported."""


def resources(config: Mapping[str, Any], static: Mapping[str, str]) -> tuple[int, int, int | None]:
    """Hyperband's least and most resource and its limit; ValidationException when they cannot be told."""
    given = config.get("StrategyConfig", {}).get("HyperbandStrategyConfig", {})
    where = "StrategyConfig.HyperbandStrategyConfig"
    least, limit = given.get("MinResource", MIN_RESOURCE), given.get("MaxResource")
    most = limit
    if most is None:
        found = [static[key] for key in EPOCHS if key in static]
        if not found or not found[0].isdigit() or int(found[0]) < 1:
            raise ValidationException(
                "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters "
                "of TrainingJobDefinition."
            )
        most = int(found[0])
    if most > MOST_EPOCHS:
        raise ValidationException(f"{where}.MaxResource is {most}; it must not be above {MOST_EPOCHS}")
    if least > most:
        raise ValidationException(f"{where}: MinResource {least} must not be above MaxResource {most}")
    return least, most, limit


def make_stopper(config: Mapping[str, Any], static: Mapping[str, str], *, maximize: bool) -> Stopper | None:
    """The rule that a tuning job's configuration asks for, None for none."""
    if config["Strategy"] == "Hyperband":
        least, most, limit = resources(config, static)
        return Hyperband(maximize=maximize, least=least, most=most, limit=limit)
    if config.get("TrainingJobEarlyStoppingType") == "Auto":
        return MedianRule(maximize=maximize)
    return None
