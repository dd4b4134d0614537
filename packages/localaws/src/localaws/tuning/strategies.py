"""Which hyperparameters a tuning job tries next: the strategies, each over the ranges of one training definition.

optuna does the searching; it is imported by the first tuning job, because that takes most of a second.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from localaws.coverage import Behaviour
from localaws.tuning.ranges import Range, combinations, grid_size

STARTUP = (2, 10)  # least and most random trials before the Bayesian search uses what it has seen
DRAWS = 50  # how often a strategy may come up with what was tried before
Observation = tuple[Mapping[str, str], float]  # hyperparameters that a parent tuning job tried, and their objective
BEHAVIOURS = (
    Behaviour("Bayesian search is a tree-structured Parzen estimator; AWS's search will try other values", "assumed"),
    Behaviour(
        "with a RandomSeed the list of trials is the same each time, for each strategy and any number at once; AWS "
        "promises more consistent lists only",
        "assumed",
    ),
    Behaviour(
        "Hyperband chooses its hyperparameters at random",
        "documented",
        "developer guide, Create a Hyperparameter Optimization Tuning Job, Tuning Strategy",
    ),
    Behaviour(
        "Grid tries every combination of categorical values once",
        "documented",
        "developer guide, How Hyperparameter Tuning Works, Grid Search",
    ),
    Behaviour("Grid goes through its combinations in the order of ranges and values", "assumed"),
    Behaviour("no combination is tried twice", "assumed"),
)


class TrialSearch(Protocol):
    """A strategy. Trials are counted from 0 in the order in which they are asked for."""

    size: int | None  # how many trials there can be, None for any number

    def ready(self) -> bool:
        """Whether the next trial can be asked for now, or first the result of an earlier one is needed."""

    def ask(self) -> dict[str, str]:
        """The hyperparameters of the next trial, as texts."""

    def replay(self, tried: Mapping[str, str]) -> None:
        """The next trial was begun by an earlier run of the endpoint, with these hyperparameters."""

    def tell(self, trial: int, value: float | None) -> None:
        """The objective of a trial; None when its training gave none."""


class GridSearch:
    """Every combination of categorical values, in the order of the ranges."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        self._ranges = tuple(ranges)
        self.size: int | None = grid_size(self._ranges)
        self._rest = itertools.product(*(r.values for r in self._ranges))

    def ready(self) -> bool:
        """A grid needs no results."""
        return True

    def ask(self) -> dict[str, str]:
        """See Search."""
        return {r.name: v for r, v in zip(self._ranges, next(self._rest), strict=True)}

    def replay(self, tried: Mapping[str, str]) -> None:
        """See Search."""
        next(self._rest)

    def tell(self, trial: int, value: float | None) -> None:
        """A grid does not learn."""


class OptunaSearch:
    """Random search, or Bayesian search by a tree-structured Parzen estimator that counts running trials as bad.

    With a seed, trial n of a Bayesian search is chosen from exactly the results of trials 0 to n - `parallel`,
    whichever came first: so the list does not depend on which of several training jobs ended first.
    """

    def __init__(
        self,
        ranges: Iterable[Range],
        *,
        bayesian: bool,
        maximize: bool,
        total: int,
        parallel: int,
        seed: int | None,
        known: Sequence[Observation] = (),
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._ranges = tuple(ranges)
        number = combinations(self._ranges)
        self.size: int | None = None if number == math.inf else int(number)
        self._tried: set[tuple[str, ...]] = set()
        self._parallel = parallel
        self._seeded = seed is not None
        self._in_order = bayesian and self._seeded
        low, high = STARTUP
        startup = max(low, min(high, total // 3))
        self._free = max(0, startup - len(known))  # so many first trials are random whatever came out
        self._study = optuna.create_study(
            study_name="search",
            sampler=self._sampler(bayesian, startup, None if seed is None else seed % 2**32),
            direction="maximize" if maximize else "minimize",
        )
        self._space = {r.name: self._distribution(r) for r in self._ranges}
        self._trials: list[Any] = []
        self._results: dict[int, float | None] = {}
        for tried, value in known:
            params = {r.name: r.value(tried[r.name]) for r in self._ranges}
            self._study.add_trial(optuna.trial.create_trial(params=params, distributions=self._space, value=value))

    def _sampler(self, bayesian: bool, startup: int, seed: int | None) -> Any:
        samplers = self._optuna.samplers
        if not bayesian:
            return samplers.RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self._optuna.exceptions.ExperimentalWarning)
            return samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=startup)

    def _distribution(self, given: Range) -> Any:
        kinds = self._optuna.distributions
        if given.kind == "categorical":
            return kinds.CategoricalDistribution(given.values)
        if given.kind == "integer":
            return kinds.IntDistribution(int(given.low), int(given.high), log=given.scale == "log")
        if given.scale == "reverse":
            return kinds.FloatDistribution(1.0 - given.high, 1.0 - given.low, log=True)
        return kinds.FloatDistribution(given.low, given.high, log=given.scale == "log")

    def _needed(self) -> int:
        """How many of the first trials must have ended before the next one can be chosen."""
        following = len(self._trials)
        return max(0, following + 1 - self._parallel) if self._in_order and following >= self._free else 0

    def ready(self) -> bool:
        """See Search."""
        return all(trial in self._results for trial in range(self._needed()))

    def ask(self) -> dict[str, str]:
        """See Search."""
        self._show()
        for _ in range(DRAWS):
            trial = self._study.ask(self._space)
            tried = {r.name: r.text(trial.params[r.name]) for r in self._ranges}
            if self.size is None or tuple(tried.values()) not in self._tried:
                break
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            tried = self._unseen()
            trial = self._fixed(tried)
        self._tried.add(tuple(tried.values()))
        self._trials.append(trial)
        return tried

    def _unseen(self) -> dict[str, str]:
        """A combination that was not tried yet: what chance did not meet is looked for in order."""
        values = [r.values or range(int(r.low), int(r.high) + 1) for r in self._ranges]
        for combination in itertools.product(*values):
            texts = tuple(r.text(value) for r, value in zip(self._ranges, combination, strict=True))
            if texts not in self._tried:
                return {r.name: text for r, text in zip(self._ranges, texts, strict=True)}
        raise RuntimeError("every combination of the ranges was tried")

    def _fixed(self, tried: Mapping[str, str]) -> Any:
        """A trial of given hyperparameters; those that are not given are drawn."""
        self._study.enqueue_trial({r.name: r.value(tried[r.name]) for r in self._ranges if r.name in tried})
        return self._study.ask(self._space)

    def _show(self) -> None:
        """Let the study learn: with a seed only what the next trial may know, else everything there is."""
        failed = self._optuna.trial.TrialState.FAIL
        for number in range(self._needed()) if self._in_order else range(len(self._trials)):
            trial = self._trials[number]
            if trial is None or number not in self._results:
                continue
            value = self._results[number]
            self._study.tell(trial, value, state=failed if value is None else None)
            self._trials[number] = None

    def replay(self, tried: Mapping[str, str]) -> None:
        """See Search; with a seed the sampler is brought to where it was."""
        if self._seeded and self.ready():
            if self.ask() == dict(tried):
                return
            self._study.tell(self._trials.pop(), state=self._optuna.trial.TrialState.FAIL)
        self._show()
        self._tried.add(tuple(tried.get(r.name, "") for r in self._ranges))
        self._trials.append(self._fixed(tried))

    def tell(self, trial: int, value: float | None) -> None:
        """See Search."""
        self._results[trial] = value


def make_search(
    strategy: str,
    ranges: tuple[Range, ...],
    *,
    maximize: bool,
    total: int,
    parallel: int,
    seed: int | None,
    known: Sequence[Observation] = (),
) -> TrialSearch:
    """The search of a strategy of the API; `known` are results of earlier tuning jobs, for Bayesian search."""
    if strategy == "Grid":
        return GridSearch(ranges)
    bayesian = strategy == "Bayesian"
    return OptunaSearch(
        ranges, bayesian=bayesian, maximize=maximize, total=total, parallel=parallel, seed=seed,
        known=known if bayesian else (),
    )  # fmt: skip
