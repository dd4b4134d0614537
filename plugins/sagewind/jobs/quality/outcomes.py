"""Predictions beside what came true, collected row by row as small numbers: what the metrics are computed from.

Memory grows with the rows by some 24 bytes each; labels are kept once per class. A row whose label or score cannot be
used is left out, counted and shown in the tally.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sagewind.jobs.analysis.payload import UnusableRecord, number
from sagewind.jobs.analysis.records import RecordTally, Sample
from sagewind.jobs.columns import is_number
from sagewind.jobs.job import UserError
from sagewind.jobs.labels import class_name
from sagewind.jobs.metrics import Codes, Floats

#: Labels that are taken for the positive class where `positive_label` is not given, the first that occurs.
USUAL_POSITIVES = ("1", "true", "True", "TRUE")
#: The other class where none occurs.
NEGATIVES = {"1": "0", "true": "false", "True": "False", "TRUE": "FALSE"}
MOST_CLASSES = 1000


class Classes:
    """Class names by code, in the order in which they came."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def code(self, value: Any, what: str) -> int:
        """The code of a label as it stands in a record; UnusableRecord if there is none."""
        if isinstance(value, list | dict):
            raise UnusableRecord(f"the {what} is a {type(value).__name__}, it must be a single value")
        text = "" if value is None else class_name(str(value).strip())
        if not text:
            raise UnusableRecord(f"the {what} is empty")
        if text not in self.codes and len(self.codes) >= MOST_CLASSES:
            raise UserError(f"there are more than {MOST_CLASSES} classes: set problem_type to Regression")
        return self.codes.setdefault(text, len(self.codes))


def is_known(label: Any, classes: Sequence[str]) -> bool:
    """Whether a label is one of the model's classes; True where these are not given, or there is no single label."""
    return not classes or label in (None, "") or class_name(str(label).strip()) in classes


class Regression:
    """Actual and predicted numbers."""

    def __init__(self) -> None:
        self.pairs = array("d")

    def add(self, sample: Sample) -> None:
        """Take a row; UnusableRecord if it cannot be used."""
        guess = sample.prediction if sample.prediction is not None else sample.probability
        self.pairs.extend((number(sample.label, "label"), number(guess, "prediction")))

    def arrays(self) -> tuple[Floats, Floats]:
        """Actual and predicted."""
        table = np.frombuffer(self.pairs, dtype=np.float64).reshape(-1, 2)
        return table[:, 0], table[:, 1]


class Multiclass:
    """Actual and predicted class codes.

    `known` are the model's classes in the order of its scores; without them a class goes by its index. A label of
    another class counts: whatever the model predicts for it is wrong.
    """

    def __init__(self, known: Sequence[str] = ()) -> None:
        self.known = tuple(known)
        self.classes = Classes()
        self.pairs = array("q")
        self.strangers = 0

    def add(self, sample: Sample) -> None:
        """Take a row; without a predicted label, the class whose score is largest (its index) is the prediction."""
        guess = sample.prediction
        if guess is None:
            if not isinstance(sample.probability, list):
                raise UnusableRecord("there is neither a predicted label nor a list of class scores")
            scores = [number(score, "class score") for score in sample.probability]
            if self.known and len(scores) != len(self.known):
                raise UnusableRecord(
                    f"the response has {len(scores)} class scores, the model has {len(self.known)} classes"
                )
            guess = max(range(len(scores)), key=scores.__getitem__)
            guess = self.known[guess] if self.known else guess
        self.strangers += not is_known(sample.label, self.known)
        self.pairs.extend((self.classes.code(sample.label, "label"), self.classes.code(guess, "prediction")))

    def arrays(self) -> tuple[Codes, Codes, list[str]]:
        """Actual codes, predicted codes and the classes by code: sorted, numbers by size."""
        if self.pairs and self.strangers == len(self.pairs) // 2:
            raise UserError(
                f"no label is one of the model's classes ({', '.join(self.known[:8])}): "
                "write labels as they stand in the target column"
            )
        names = sort_classes(self.classes.codes)
        order = np.zeros(len(names), dtype=np.int64)
        for position, name in enumerate(names):
            order[self.classes.codes[name]] = position
        table = order[np.frombuffer(self.pairs, dtype=np.int64)].reshape(-1, 2)
        return table[:, 0], table[:, 1], names


class Binary:
    """Actual and predicted labels with the score of the positive class, NaN where there is none.

    `known` are the model's two classes, the positive one last; without them they are taken from the labels.
    """

    NO_CODE = -1

    def __init__(self, threshold: float, positive: str | None, known: Sequence[str] = ()) -> None:
        self.threshold = threshold
        self.known = tuple(known)
        self.positive = self.known[-1] if known else None if positive is None else class_name(positive)
        self.classes = Classes()
        self.pairs = array("q")
        self.scores = array("d")

    def add(self, sample: Sample) -> None:
        """Take a row; the prediction is the predicted label, else whether the score is above the threshold."""
        score = math.nan if sample.probability is None else number(sample.probability, "probability")
        if not is_known(sample.label, self.known):
            raise UnusableRecord(f"the label {sample.label!r} is none of the model's classes ({', '.join(self.known)})")
        label = self.classes.code(sample.label, "label")
        guess = self.NO_CODE
        if sample.prediction is not None:
            guess = self.classes.code(sample.prediction, "prediction")
        elif math.isnan(score):
            raise UnusableRecord("there is neither a predicted label nor a probability")
        self.pairs.extend((label, guess))
        self.scores.append(score)

    def arrays(self, tally: RecordTally) -> tuple[Codes, Codes, Floats | None, tuple[str, str]]:
        """Actual, predicted (1 is positive), scores (None if any row lacks one), and the names of 0 and 1.

        Rows with a label that is neither of the two classes are rejected; the negative class is the most frequent of
        those that are not positive.
        """
        table = np.frombuffer(self.pairs, dtype=np.int64).reshape(-1, 2)
        scores = np.frombuffer(self.scores, dtype=np.float64)
        names = list(self.classes.codes)
        positive = self._positive(names)
        counts = np.bincount(table[table >= 0], minlength=len(names))
        others = sorted((name for name in names if name != positive), key=lambda name: -counts[names.index(name)])
        negative = others[0] if others else NEGATIVES.get(positive, f"not {positive}")
        negative = self.known[0] if self.known else negative
        kept = np.ones(len(table), dtype=bool)
        for name in others[1:]:
            rows = (table == names.index(name)).any(axis=1) & kept
            kept &= ~rows
            for _ in range(int(rows.sum())):
                tally.reject("a row", f"the class {name!r} is neither {positive!r} nor {negative!r}")
        code = names.index(positive) if positive in names else len(names)
        chosen = np.where(table[:, 1] == self.NO_CODE, scores > self.threshold, table[:, 1] == code)
        actual, predicted = (table[:, 0] == code)[kept].astype(np.int64), chosen[kept].astype(np.int64)
        complete = not np.isnan(scores[kept]).any()
        return actual, predicted, scores[kept] if complete else None, (negative, positive)

    def _positive(self, names: list[str]) -> str:
        if self.positive is not None:
            return self.positive
        usual = next((name for name in USUAL_POSITIVES if name in names), None)
        if usual is not None:
            return usual
        if names == ["0"]:  # nothing but negatives: the other class of 0 is 1
            return "1"
        raise UserError(
            f"the labels are {', '.join(sort_classes(names)[:8])}: name the positive one in the setting positive_label"
        )


def sort_classes(names: Iterable[str]) -> list[str]:
    """Class names in the order of reports: numbers by size, texts by spelling."""
    found = list(names)
    return sorted(found, key=float) if all(map(is_number, found)) else sorted(found)
