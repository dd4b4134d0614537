"""The compiled kernels behind the interface of `vectorised.Vectorised`; importing this module needs numba."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sagewind.jobs.monitor import compiled, compiled_sketch, kll
from sagewind.jobs.monitor.hyperloglog import Registers
from sagewind.jobs.monitor.tally import REMEMBERED, Scan, ValueTally
from sagewind.jobs.monitor.texts import Floats, Texts, Words
from sagewind.jobs.monitor.vectorised import xxh64

NO_FLAGS = np.empty(0, dtype=np.uint8)


@dataclass
class _Table:
    """An open-addressing hash table of values: their hashes, counts, how many more fit, and their bytes."""

    keys: NDArray[np.uint64]
    tallies: NDArray[np.int64]
    room: NDArray[np.int64]
    names: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, domain: list[bytes]) -> _Table:
        size = 2048
        while size < 2 * (REMEMBERED + len(domain)):
            size *= 2
        table = cls(np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.int64), np.array([len(domain)]))
        compiled.seed(table.keys, table.tallies, table.room, xxh64(domain))
        table.room[0] = REMEMBERED
        return table

    def read(self, tally: ValueTally) -> None:
        """Bring the counts into the tally."""
        counts = dict(zip(self.keys.tolist(), self.tallies.tolist(), strict=True))
        for names, target in ((list(tally.domain), tally.domain), (self.names, tally.counts)):
            for name, code in zip(names, xxh64(names).tolist(), strict=True):
                target[name] = counts[code or 1]


@dataclass
class _Scratch:
    """Arrays that a scan fills; one set for each call, since threads scan columns at once."""

    values: Floats
    unparsed: NDArray[np.int64]
    new: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, rows: int) -> _Scratch:
        return cls(
            np.empty(rows),
            np.empty(2 * rows, dtype=np.int64),
            np.empty(rows, dtype=np.int64),
            np.zeros(10, dtype=np.int64),
        )


NO_TABLE = _Table(np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))


class Compiled:
    """The kernels for data of any size; they run without the interpreter's lock."""

    name = "compiled"

    def scan(self, texts: Texts, registers: Registers, tally: ValueTally, numeric: bool) -> Scan:
        """One pass over texts; see `compiled.scan_texts`."""
        counting = tally.open or bool(tally.domain)
        if counting and tally.table is None:
            tally.table = _Table.of(list(tally.domain))
        table = tally.table or NO_TABLE
        scratch = _Scratch.of(len(texts))
        masked = not texts.empty_is_missing
        compiled.scan_texts(
            texts.data,
            texts.offsets,
            0,
            len(texts),
            texts.present.view(np.uint8) if masked else NO_FLAGS,
            masked,
            registers,
            table.keys,
            table.tallies,
            table.room,
            counting,
            bool(tally.domain),
            numeric,
            scratch.values,
            scratch.unparsed,
            scratch.new,
            scratch.counts,
        )
        if tally.open:
            table.names += [texts.at(row) for row in scratch.new[: scratch.counts[compiled.NEW]].tolist()]
            if table.room[0] < 0:
                table.names.clear()
                tally.close()
                if not tally.domain:
                    tally.table = None
        return _scan(texts, scratch, numeric)

    def hash_words(self, words: Words, short: bool, registers: Registers) -> None:
        """XXH64 of typed values into the registers."""
        compiled.hash_words(words, len(words), short, registers)

    def add_moments(self, values: Floats, moments: Floats) -> None:
        """Running sum, Spark's Welford step, extremes; `moments` is (sum, count, mean, squares, min, max)."""
        compiled_sketch.add_moments(values, len(values), moments)

    def add_to_sketch(self, values: Floats, sketch: kll.Sketch) -> None:
        """Add values in their order."""
        state = (sketch.arena, sketch.lengths, sketch.compactions, sketch.offsets, kll.SIZES, sketch.meta)
        taken, ordered = 0, False
        while True:
            taken = compiled_sketch.add_to_sketch(values, taken, ordered, *state)
            held, waiting = int(sketch.meta[1]), int(sketch.lengths[0])
            if held <= sketch.meta[2] or waiting < kll.SIZES[0]:
                return
            # An odd last item stays behind unsorted.
            items = sketch.arena[held - waiting : held - waiting % 2]
            negative = compiled_sketch.negative_zeros(items)
            items.sort()
            if negative:
                compiled_sketch.order_zeros(items, negative)
            ordered = True


def _scan(texts: Texts, scratch: _Scratch, numeric: bool) -> Scan:
    counts = scratch.counts.tolist()
    found = Scan(
        missing=counts[compiled.MISSING],
        integral=counts[compiled.INTEGRAL],
        fractional=counts[compiled.FRACTIONAL],
        boolean=counts[compiled.BOOLEAN],
        text=counts[compiled.TEXT],
        integer_sum=counts[compiled.INTEGER_SUM],
        too_large=bool(counts[compiled.TOO_LARGE]),
    )
    if numeric and not found.boolean and not found.text:
        found.values = scratch.values[: counts[compiled.VALUES]]
        for place, row in scratch.unparsed[: 2 * counts[compiled.UNPARSED]].reshape(-1, 2).tolist():
            found.values[place] = float(texts.at(row))
    return found
