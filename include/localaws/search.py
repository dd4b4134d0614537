"""Which hyperparameters a tuning job tries next: ranges of the API as a search space, and the strategies.

optuna does the searching; it is imported by the first tuning job, because that takes most of a second.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from include.localaws.errors import ValidationException

AUTO_LOG_SPAN = 1000.0  # Auto scaling becomes logarithmic when a range spans three orders of magnitude or more
STARTUP = (2, 10)  # least and most random trials before the Bayesian search uses what it has seen


@dataclass(frozen=True)
class Range:
    """One tuned hyperparameter; `scale` is linear, log or reverse (logarithmic in 1 - value)."""

    name: str
    kind: str  # integer, continuous or categorical
    low: float = 0.0
    high: float = 0.0
    scale: str = "linear"
    values: tuple[str, ...] = ()

    def text(self, value: Any) -> str:
        """The value as the training job gets it."""
        if self.kind == "continuous":
            # 1 - y may leave the range by one rounding step
            number = 1.0 - float(value) if self.scale == "reverse" else float(value)
            return repr(min(max(number, self.low), self.high))
        return str(value)

    def value(self, text: str) -> Any:
        """The inverse of `text`."""
        if self.kind == "continuous":
            return 1.0 - float(text) if self.scale == "reverse" else float(text)
        return int(text) if self.kind == "integer" else text


def _scale(name: str, low: float, high: float, scaling: str) -> str:
    if scaling == "Auto":
        return "log" if low > 0 and high / low >= AUTO_LOG_SPAN else "linear"
    if scaling == "Logarithmic" and low <= 0:
        raise ValidationException(f"ParameterRanges '{name}': Logarithmic scaling needs a MinValue above 0")
    if scaling == "ReverseLogarithmic" and not 0 <= low <= high < 1:
        raise ValidationException(
            f"ParameterRanges '{name}': ReverseLogarithmic scaling needs a range within 0 and 1 (1 excluded)"
        )
    return {"Linear": "linear", "Logarithmic": "log", "ReverseLogarithmic": "reverse"}[scaling]


def _numeric(given: Mapping[str, Any], kind: str) -> Range:
    name = given["Name"]
    convert = int if kind == "integer" else float
    try:
        low, high = convert(given["MinValue"]), convert(given["MaxValue"])
    except ValueError:
        raise ValidationException(
            f"ParameterRanges '{name}': '{given['MinValue']}' and '{given['MaxValue']}' must be {kind} numbers"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValidationException(f"ParameterRanges '{name}': MinValue {low} must not be above MaxValue {high}")
    scaling = given.get("ScalingType", "Auto")
    if kind == "integer" and scaling == "ReverseLogarithmic":
        raise ValidationException(f"ParameterRanges '{name}': ReverseLogarithmic is for continuous parameters only")
    return Range(name, kind, low, high, _scale(name, low, high, scaling))


def read_ranges(given: Mapping[str, Any]) -> tuple[Range, ...]:
    """ParameterRanges of the API; raises ValidationException naming the parameter."""
    if given.get("AutoParameters"):
        raise ValidationException("ParameterRanges.AutoParameters is not supported by the local AWS endpoint")
    ranges = [
        *(_numeric(r, "integer") for r in given.get("IntegerParameterRanges", ())),
        *(_numeric(r, "continuous") for r in given.get("ContinuousParameterRanges", ())),
        *(
            Range(r["Name"], "categorical", values=tuple(r["Values"]))
            for r in given.get("CategoricalParameterRanges", ())
        ),
    ]
    names = [r.name for r in ranges]
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise ValidationException(f"ParameterRanges: '{doubled[0]}' is given more than once")
    if not ranges:
        raise ValidationException("ParameterRanges names no hyperparameter to tune")
    return tuple(ranges)


class Search(Protocol):
    """A strategy. `ask` gives the hyperparameters of the next training job, `tell` takes a result."""

    def ask(self) -> dict[str, str]:
        """The next combination, as texts."""

    def tell(self, tried: Mapping[str, str], value: float | None) -> None:
        """The objective of a combination that was asked for; None when its training gave none."""


class GridSearch:
    """Every combination of categorical values, in the order of the ranges."""

    def __init__(self, ranges: Iterable[Range], skip: int) -> None:
        self._ranges = tuple(ranges)
        self._rest = itertools.islice(itertools.product(*(r.values for r in self._ranges)), skip, None)

    def ask(self) -> dict[str, str]:
        """See Search."""
        return {r.name: v for r, v in zip(self._ranges, next(self._rest), strict=True)}

    def tell(self, tried: Mapping[str, str], value: float | None) -> None:
        """A grid does not learn."""


class OptunaSearch:
    """Random search, or Bayesian search by a tree-structured Parzen estimator that counts running trials as bad.

    `skip` is how many combinations an earlier run of the endpoint asked for: the seed moves on by it, so that
    they are not repeated.
    """

    def __init__(
        self, ranges: Iterable[Range], *, bayesian: bool, maximize: bool, total: int, seed: int | None, skip: int
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._ranges = tuple(ranges)
        seed = None if seed is None else (seed + skip) % 2**32
        low, high = STARTUP
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = (
                optuna.samplers.TPESampler(
                    seed=seed, multivariate=True, constant_liar=True,
                    n_startup_trials=max(low, min(high, total // 3)),
                )
                if bayesian
                else optuna.samplers.RandomSampler(seed=seed)
            )  # fmt: skip
        self._study = optuna.create_study(sampler=sampler, direction="maximize" if maximize else "minimize")
        self._space = {r.name: self._distribution(r) for r in self._ranges}
        self._open: dict[tuple[tuple[str, str], ...], list[Any]] = {}

    def _distribution(self, given: Range) -> Any:
        kinds = self._optuna.distributions
        if given.kind == "categorical":
            return kinds.CategoricalDistribution(given.values)
        if given.kind == "integer":
            return kinds.IntDistribution(int(given.low), int(given.high), log=given.scale == "log")
        if given.scale == "reverse":
            return kinds.FloatDistribution(1.0 - given.high, 1.0 - given.low, log=True)
        return kinds.FloatDistribution(given.low, given.high, log=given.scale == "log")

    def ask(self) -> dict[str, str]:
        """See Search."""
        trial = self._study.ask(self._space)
        tried = {r.name: r.text(trial.params[r.name]) for r in self._ranges}
        self._open.setdefault(tuple(sorted(tried.items())), []).append(trial)
        return tried

    def tell(self, tried: Mapping[str, str], value: float | None) -> None:
        """See Search; combinations of an earlier run of the endpoint are welcome."""
        failed = self._optuna.trial.TrialState.FAIL
        waiting = self._open.get(tuple(sorted(tried.items())))
        if waiting:
            self._study.tell(waiting.pop(), value, state=failed if value is None else None)
        elif value is not None:
            params = {r.name: r.value(tried[r.name]) for r in self._ranges}
            trial = self._optuna.trial.create_trial(params=params, distributions=self._space, value=value)
            self._study.add_trial(trial)


def make_search(
    strategy: str, ranges: tuple[Range, ...], *, maximize: bool, total: int, seed: int | None, skip: int
) -> Search:
    """The search of a strategy of the API: Grid, Random or Bayesian."""
    if strategy == "Grid":
        return GridSearch(ranges, skip)
    return OptunaSearch(ranges, bayesian=strategy == "Bayesian", maximize=maximize, total=total, seed=seed, skip=skip)


def grid_size(ranges: Iterable[Range]) -> int:
    """How many combinations a grid has; raises ValidationException for a range that is not categorical."""
    size = 1
    for each in ranges:
        if each.kind != "categorical":
            raise ValidationException(f"ParameterRanges '{each.name}': Grid search takes categorical parameters only")
        size *= len(each.values)
    return size
