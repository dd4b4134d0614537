"""Measurements beside their floor, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One thing measured in seconds, and the least that it could take: both measured in turns on one machine."""

    name: str
    floor: Sequence[float]
    ours: Sequence[float]

    @property
    def ratio(self) -> float:
        """Ratio of the medians: 1 means that we add nothing."""
        return median(self.ours) / median(self.floor)


def render(title: str, floor: str, rows: Sequence[Row]) -> str:
    """A table of medians with the spread behind each."""
    width = max(len(row.name) for row in rows)
    lines = [title, f"floor: {floor}", f"{'':{width}}  {'floor s':>18}  {'ours s':>18}  ratio"]
    for row in rows:
        lines.append(f"{row.name:{width}}  {_spread(row.floor):>18}  {_spread(row.ours):>18}  {row.ratio:5.2f}")
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
