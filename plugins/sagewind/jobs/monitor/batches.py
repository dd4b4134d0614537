"""What the readers hand to the engine: a few thousand rows at a time, and what they saw on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from sagewind.jobs.monitor.texts import Numbers, Texts, binary_of

#: Examples of each kind of trouble that are shown; all are counted.
SHOWN = 20


@dataclass(frozen=True)
class ColumnBatch:
    """Consecutive rows by column; a column that is not there is missing in all of them."""

    rows: int
    columns: Mapping[str, Texts | Numbers]


@dataclass
class ReaderRemarks:
    """What a reader had to report: counts by sentence, and the first examples."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    def add(self, what: str, example: str = "", count: int = 1) -> None:
        """Count a trouble; `what` is the rest of a sentence that begins with the count."""
        self.counts[what] = self.counts.get(what, 0) + count
        if example and len(self.examples) < SHOWN:
            self.examples.append(example)

    def merge(self, other: ReaderRemarks) -> None:
        """Take in what another reader reported."""
        for what, count in other.counts.items():
            self.add(what, count=count)
        self.examples += other.examples[: SHOWN - len(self.examples)]

    def notes(self) -> list[str]:
        """Sentences for the log and the report."""
        return [f"{count} {what}" for what, count in self.counts.items()] + self.examples


def utf8(name: str, array: pa.Array, seen: ReaderRemarks) -> pa.Array:
    """The array with whatever is not UTF-8 replaced by U+FFFD, as Java reads it; such cells are counted."""
    texts = Texts(array, True)
    if not len(texts.lengths):
        return array
    data = texts.data[int(texts.offsets[0]) : int(texts.offsets[-1])]
    if not len(data) or int(data.max()) < 128 or _decodes(data.tobytes()):
        return array
    cells: Sequence[bytes] = array.to_pylist()
    repaired = []
    for cell in cells:
        fixed = cell.decode("utf-8", "replace").encode()
        if fixed != cell:
            seen.add("cells are not UTF-8: what cannot be read is replaced", f"column {name!r} holds {cell!r}")
        repaired.append(fixed)
    return binary_of(repaired, array.type)


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def texts_of(cells: Sequence[str | None]) -> Texts:
    """Texts of Python strings; None and "" are missing."""
    return Texts(binary_of([(cell or "").encode("utf-8", "replace") for cell in cells]), True)
