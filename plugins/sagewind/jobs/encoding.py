"""Features from columns: categories become numbers and missing values are filled, as learned on the train rows only.

Policy for what training has not seen (a category that occurs only in validation or test): ordinal writes -1.0, one-hot
writes zeros in all of the column's features (what scikit-learn's OrdinalEncoder and OneHotEncoder do when told to
accept unknown categories). Such cells are counted in the summary.
A missing value is the empty cell under `keep` (zeros for one-hot), the train median or most frequent category under
`impute`; under `drop` the row is gone before it comes here.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sagewind.jobs.columns import CATEGORICAL, NUMERIC, FeatureColumn
from sagewind.jobs.job import UserError

ONEHOT = "onehot"
#: One-hot features that a single column may become.
MOST_CATEGORIES = 1000
UNKNOWN_CODE = "-1.0"
MISSING_CELL = ""


@dataclass(frozen=True)
class Feature:
    """One feature column of the split files, as schema.json describes it."""

    name: str
    kind: str
    source: str
    categories: tuple[str, ...] | None = None

    def record(self) -> dict[str, Any]:
        """The feature as schema.json holds it."""
        categories = None if self.categories is None else list(self.categories)
        return {"name": self.name, "kind": self.kind, "source": self.source, "categories": categories}


@dataclass
class Encoder:
    """What was learned of one column on the train rows. `fill` is the imputed value, None if nothing is imputed."""

    column: str
    features: list[Feature]
    fill: str | float | None
    codes: dict[str, str] = field(default_factory=dict)
    unknown: int = 0

    def transform(self, column: FeatureColumn) -> list[list[str]]:
        """The column's cells, one list per feature; floats are written so that they read back exactly."""
        if column.kind == NUMERIC:
            missing = MISSING_CELL if self.fill is None else repr(self.fill)
            return [[missing if value != value else repr(value) for value in column.numbers]]
        texts = [self.fill if text is None else text for text in column.texts]
        self.unknown += sum(text is not None and text not in self.codes for text in texts)
        if self.features[0].kind == ONEHOT:
            return [
                ["1.0" if text == category else "0.0" for text in texts]
                for category in self.features[0].categories or ()
            ]
        return [[MISSING_CELL if text is None else self.codes.get(str(text), UNKNOWN_CODE) for text in texts]]


def fit(column: FeatureColumn, *, encode: str, missing: str) -> Encoder:
    """Learn a column on its train rows; UserError if it has no value there or too many categories for one-hot."""
    if column.kind == NUMERIC:
        present = [value for value in column.numbers if value == value]
        _require(column, bool(present))
        fill = statistics.median(present) if missing == "impute" else None
        return Encoder(column.name, [Feature(column.name, NUMERIC, column.name)], fill)
    counts = Counter(text for text in column.texts if text is not None)
    _require(column, bool(counts))
    categories = tuple(sorted(counts))
    # Ties go to the first in alphabetical order, so that the result does not depend on the order of the rows.
    common = min(categories, key=lambda category: (-counts[category], category)) if missing == "impute" else None
    codes = {category: repr(float(code)) for code, category in enumerate(categories)}
    return Encoder(column.name, _features(column, categories, encode), common, codes)


def _features(column: FeatureColumn, categories: tuple[str, ...], encode: str) -> list[Feature]:
    if encode != ONEHOT:
        return [Feature(column.name, CATEGORICAL, column.name, categories)]
    if len(categories) > MOST_CATEGORIES:
        raise UserError(
            f"column {column.name!r} has {len(categories)} categories, too many for data.encode onehot "
            f"(at most {MOST_CATEGORIES}): use ordinal, or leave the column out (data.drop)"
        )
    return [Feature(f"{column.name}={category}", ONEHOT, column.name, categories) for category in categories]


def _require(column: FeatureColumn, found: bool) -> None:
    if not found:
        raise UserError(f"column {column.name!r} has no value in the train rows: leave it out (data.drop)")


def transform_all(encoders: Sequence[Encoder], columns: Sequence[FeatureColumn]) -> list[list[str]]:
    """Cells of all features, feature by feature, in the order of the schema."""
    return [cells for encoder, column in zip(encoders, columns, strict=True) for cells in encoder.transform(column)]
