"""Rules for the hyperparameters of the built-in algorithms, as tables, and the sentences of a refusal.

AWS's algorithms validate against JSON schemas; the wording here is theirs as far as it is known.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from container_toolkit.base import UserError

AUTO = "auto"
PLATFORM = ("_tuning_objective_metric", "_num_gpus", "_num_kv_servers", "_kvstore", "_log_level", "_enable_profiler")
"""Set by SageMaker or tuning the machine: accepted and without effect here."""


@dataclass(frozen=True)
class Rule:
    """One hyperparameter: how its text is read, what it may be, and its value when it is left out."""

    parse: Callable[[str], Any]
    default: Any = None
    required: bool = False
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    choices: tuple[Any, ...] = ()
    auto: bool = False

    def read(self, name: str, text: str) -> Any:
        """The value; UserError when the text is none or out of range."""
        if self.auto and text == AUTO:
            return AUTO
        try:
            value = self.parse(text)
        except ValueError:
            kind = {"int": "integer", "float": "number"}.get(getattr(self.parse, "__name__", ""), "value")
            raise _refusal(f"{name}: {text!r} is not a valid {kind}") from None
        if self.choices and value not in self.choices:
            raise _refusal(f"{name}: {text!r} is not one of {list(self.choices)}")
        if self.low is not None and (value <= self.low if self.open_low else value < self.low):
            than = "or equal to the minimum" if self.open_low else "the minimum"
            raise _refusal(f"{name}: {text} is less than {than} of {self.low:g}")
        if self.high is not None and value > self.high:
            raise _refusal(f"{name}: {text} is greater than the maximum of {self.high:g}")
        return value


def _refusal(text: str) -> UserError:
    return UserError(
        f"Unable to initialize the algorithm. Failed to validate hyperparameters. (caused by ValidationError: {text})"
    )


def _true_false(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def integer(
    low: int = 1, default: Any = None, *, high: int | None = None, required: bool = False, auto: bool = False
) -> Rule:
    """A whole number of at least `low`."""
    return Rule(int, AUTO if auto and default is None else default, required, low, high, auto=auto)


def number(
    low: float | None = None, default: Any = None, *, high: float | None = None, above: bool = False, auto: bool = False
) -> Rule:
    """A number; `above` leaves the lower end out."""
    return Rule(float, AUTO if auto and default is None else default, False, low, high, above, auto=auto)


def choice(*values: str, default: str | None = None, required: bool = False) -> Rule:
    """One of some texts."""
    return Rule(str, default, required, choices=values)


def flag(default: Any, *, auto: bool = False) -> Rule:
    """true or false."""
    return Rule(_true_false, default, auto=auto)


def names(*allowed: str, default: list[str]) -> Rule:
    """A list of some of the texts, as JSON or as the SDKs write it (`[msd, ssd]`, `['msd']`)."""

    def parse(text: str) -> list[str]:
        found = [part.strip(" '\"") for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
        if not found or not set(found) <= set(allowed):
            raise ValueError(text)
        return found

    return Rule(parse, default)


def validate(given: Mapping[str, str], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """All hyperparameters with their values or defaults; UserError for what is unknown, missing or out of range."""
    unknown = sorted(set(given) - set(rules) - set(PLATFORM))
    if unknown:
        listed, verb = ", ".join(map(repr, unknown)), "was" if len(unknown) == 1 else "were"
        raise UserError(
            f"Additional hyperparameters are not allowed ({listed} {verb} unexpected) (caused by ValidationError)"
        )
    for name, rule in rules.items():
        if rule.required and name not in given:
            raise _refusal(f"{name!r} is a required property")
    return {name: rule.read(name, given[name]) if name in given else rule.default for name, rule in rules.items()}
