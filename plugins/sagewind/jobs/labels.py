"""The target column: class codes for classification, numbers for regression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sagewind.facts.job_json import JobConfig
from sagewind.jobs.columns import is_number
from sagewind.jobs.job import UserError

#: More classes than this mean that the target is a quantity or an identifier.
MOST_CLASSES = 1000


@dataclass(frozen=True)
class Labels:
    """Labels of all rows. `values` are class codes (classification) or numbers; None where the label is missing."""

    classes: tuple[str, ...]
    values: Sequence[float | None]

    def take(self, rows: Sequence[int]) -> Labels:
        """The same classes with these rows only."""
        return Labels(self.classes, [self.values[row] for row in rows])

    def texts(self) -> list[str]:
        """The labels as the first column of the split files: `0`, `1`, ... or exact numbers."""
        return [str(int(value or 0)) if self.classes else repr(value) for value in self.values]


def read(cells: Sequence[str], place: Callable[[int], str], config: JobConfig) -> Labels:
    """Labels of the target column; UserError names what makes them unusable for the problem."""
    missing = config.data.na_values | {""}
    texts = [None if cell in missing else cell for cell in cells]
    if config.problem == "regression":
        return Labels((), [_number(text, row, place, config.data.target) for row, text in enumerate(texts)])
    names = {text: class_name(text) for text in set(texts) if text is not None}
    classes = _classes(set(names.values()), config)
    codes = {name: float(code) for code, name in enumerate(classes)}
    return Labels(classes, [None if text is None else codes[names[text]] for text in texts])


def class_name(text: str) -> str:
    """A label's canonical form: `1.0` is `1`; `>50K.` is `>50K` (the census test file ends its labels with a dot)."""
    if is_number(text):
        number = float(text)
        return str(int(number)) if number.is_integer() else repr(number)
    return text.removesuffix(".")


def _number(text: str | None, row: int, place: Callable[[int], str], target: str) -> float | None:
    if text is None:
        return None
    if not is_number(text):
        raise UserError(
            f"target column {target!r} holds {text!r} in {place(row)}, which is not a number: "
            "correct it, add it to data.na_values, or make the problem binary or multiclass"
        )
    return float(text)


def _classes(found: set[str], config: JobConfig) -> tuple[str, ...]:
    """Class names by code: sorted, numbers by size; in binary problems the positive class is 1."""
    target, shown = config.data.target, ", ".join(sorted(found)[:8])
    if len(found) < 2:
        raise UserError(
            f"target column {target!r} holds only {shown or 'missing values'}: "
            "a classifier needs rows of at least two classes"
        )
    if len(found) > MOST_CLASSES:
        raise UserError(f"target column {target!r} has {len(found)} classes: make the problem regression")
    ordered = sorted(found, key=float) if all(map(is_number, found)) else sorted(found)
    if config.problem == "multiclass":
        return tuple(ordered)
    if len(found) > 2:
        raise UserError(
            f"target column {target!r} has {len(found)} classes ({shown}), a binary problem has two: "
            "make the problem multiclass, or correct the labels"
        )
    if config.data.positive is None:
        return tuple(ordered)
    positive = class_name(config.data.positive)
    if positive not in found:
        raise UserError(f"data.positive is {positive!r}, target column {target!r} holds {shown}: name one of these")
    return (*(name for name in ordered if name != positive), positive)
