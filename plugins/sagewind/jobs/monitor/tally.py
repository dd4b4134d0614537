"""What a pass over texts finds, and the capped counts of a column's different values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sagewind.jobs.monitor.texts import Floats

#: Different values that are remembered while reading. More than this never come out as at most 120 by the estimate:
#: 512 values leave 188 of 512 registers empty on average, 120 are estimated from no fewer than 405.
REMEMBERED = 512


@dataclass
class Scan:
    """Counts of one piece of a column by Deequ's types, and its doubles if all of them are numbers."""

    missing: int = 0
    integral: int = 0
    fractional: int = 0
    boolean: int = 0
    text: int = 0
    integer_sum: int = 0
    too_large: bool = False
    values: Floats = field(default_factory=lambda: np.empty(0))

    def add(self, kind: str, count: int) -> None:
        """Count values of one type."""
        setattr(self, kind, getattr(self, kind) + count)


class ValueTally:
    """Counts of values by their bytes, in the order of first appearance; `domain` values always have a place.

    When there are too many others it is closed: then only those of the domain are counted.
    """

    def __init__(self, domain: Iterable[str] = ()) -> None:
        self.domain = dict.fromkeys((value.encode() for value in domain), 0)
        self.counts: dict[bytes, int] = {}
        self.open = True
        #: What the compiled kernels keep instead of `counts`; made by them.
        self.table: Any = None

    def add(self, counts: Mapping[bytes, int]) -> None:
        """Add counted values."""
        for value, count in counts.items():
            if value in self.domain:
                self.domain[value] += count
            elif value in self.counts:
                self.counts[value] += count
            elif self.open and len(self.counts) < REMEMBERED:
                self.counts[value] = count
            else:
                self.close()

    def close(self) -> None:
        """Forget what is not in the domain."""
        self.open = False
        self.counts.clear()
