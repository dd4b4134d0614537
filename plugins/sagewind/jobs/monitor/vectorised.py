"""The kernels in numpy and Arrow alone: what runs where there is no numba, and for small data, where loading it costs
more than it gains. Results are those of `compiled`, to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sagewind.jobs.monitor import kll
from sagewind.jobs.monitor.hyperloglog import PRECISION, REGISTERS, Registers
from sagewind.jobs.monitor.tally import Scan, ValueTally
from sagewind.jobs.monitor.texts import PADDING, Bytes, Floats, Texts, Words, binary_of, mask_of, numpy_of, places_of

Places = NDArray[np.int64]
P1, P2, P3, P4, P5 = (
    np.uint64(prime)
    for prime in (
        0x9E3779B185EBCA87,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )
)
SEED = 42
#: Deequ's patterns (StatefulDataType): what makes a text a number.
INTEGRAL = re.compile(rb"[-+]? ?[0-9]+")
FRACTIONAL = re.compile(rb"[-+]? ?[0-9]+(?:\.[0-9]+(?:[Ee][-+]?[0-9]+)?|[Ee][-+]?[0-9]+)")
#: After a sign and a blank Spark's cast gives no number, though the pattern allows both.
UNCASTABLE = re.compile(rb"[-+] ")
OTHER = np.ones(256, dtype=np.uint8)
OTHER[list(b"0123456789.-+eE ")] = 0
DIGIT = np.zeros(256, dtype=bool)
DIGIT[48:58] = True
#: Where a batch has fewer different texts than a quarter of its rows, each is looked at once.
FEW = 4


def xxh64(values: Sequence[bytes], seed: int = SEED) -> Words:
    """XXH64 of each value (github.com/Cyan4973/xxHash, doc/xxhash_spec.md)."""
    lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64) if len(values) else lengths
    data = np.frombuffer(b"".join(values) + bytes(PADDING), dtype=np.uint8)
    return _hash(data, starts, lengths, seed)


def _hash(data: Bytes, starts: Places, lengths: Places, seed: int = SEED) -> Words:
    """XXH64 of pieces of `data` (which ends with padding); pieces of one length are hashed together."""
    hashes = np.empty(len(starts), dtype=np.uint64)
    # A word at every byte: numpy reads from addresses that are no multiple of eight, too.
    words = np.lib.stride_tricks.as_strided(
        data[: 8 * (len(data) // 8)].view(np.uint64), (max(len(data) - 7, 0),), (1,)
    )
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    edges = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist(), len(order)]
    for low, high in pairwise(edges):
        if low < high:
            rows = order[low:high]
            hashes[rows] = _hash_equal(words, starts[rows], int(ordered[low]), seed)
    return hashes


def _hash_equal(words: Words, starts: Places, length: int, seed: int) -> Words:
    state = _stripes(words, starts, length, seed) + np.uint64(length)
    at = length // 32 * 32
    while at + 8 <= length:
        state = _rotate(state ^ _round(np.uint64(0), words[starts + at]), 27) * P1 + P4
        at += 8
    if at == length:
        return finish(state)
    rest = words[starts + at]
    if at + 4 <= length:
        state = _rotate(state ^ ((rest & np.uint64(0xFFFFFFFF)) * P1), 23) * P2 + P3
        rest = rest >> np.uint64(32)
        at += 4
    for shift in range(0, 8 * (length - at), 8):
        state = _rotate(state ^ (((rest >> np.uint64(shift)) & np.uint64(0xFF)) * P5), 11) * P1
    return finish(state)


def finish(state: Words) -> Words:
    """The hash of a state: every bit of it decides on every bit of the hash."""
    state = (state ^ (state >> np.uint64(33))) * P2
    state = (state ^ (state >> np.uint64(29))) * P3
    return state ^ (state >> np.uint64(32))


def _stripes(words: Words, starts: Places, length: int, seed: int) -> Words:
    """Consume whole 32-byte stripes and return the state."""
    first = [value & 0xFFFFFFFFFFFFFFFF for value in (seed + int(P1) + int(P2), seed + int(P2), seed, seed - int(P1))]
    if length < 32:
        return np.full(len(starts), seed + int(P5), dtype=np.uint64)
    lanes = [np.full(len(starts), value, dtype=np.uint64) for value in first]
    for at in range(0, length - 31, 32):
        lanes = [_round(lane, words[starts + at + 8 * number]) for number, lane in enumerate(lanes)]
    state = _rotate(lanes[0], 1) + _rotate(lanes[1], 7) + _rotate(lanes[2], 12) + _rotate(lanes[3], 18)
    for lane in lanes:
        state = (state ^ _round(np.uint64(0), lane)) * P1 + P4
    return state


def _round(state: Words | np.uint64, lane: Words) -> Words:
    return _rotate(state + lane * P2, 31) * P1


def _rotate(words: Words, by: int) -> Words:
    return (words << np.uint64(by)) | (words >> np.uint64(64 - by))


def register(registers: Registers, hashes: Words) -> None:
    """Enter hashes; a register holds the longest run of leading zeros plus one, so its smallest rest decides."""
    smallest = np.full(REGISTERS, np.iinfo(np.uint64).max, dtype=np.uint64)
    rest = (hashes << np.uint64(PRECISION)) | np.uint64(1 << (PRECISION - 1))
    places = (hashes >> np.uint64(64 - PRECISION)).astype(np.int64)
    np.minimum.at(smallest, places, rest)
    seen = np.bincount(places, minlength=REGISTERS) > 0
    ranks = [65 - int(value).bit_length() if here else 0 for value, here in zip(smallest, seen, strict=True)]
    np.maximum(registers, np.array(ranks, dtype=np.uint8), out=registers)


class Vectorised:
    """The kernels that every image can run."""

    name = "numpy"

    def scan(self, texts: Texts, registers: Registers, tally: ValueTally, numeric: bool) -> Scan:
        """One pass over texts; see `compiled.scan_texts`."""
        present = texts.present
        rows = np.flatnonzero(present)
        found = Scan(missing=len(texts) - len(rows))
        if not len(rows):
            return found
        unique = _few(texts, present) if tally.open else None
        if unique is None:
            tally.close()
            if tally.domain:
                tally.add(_known(texts, tally.domain))
            self._scan_all(texts, rows, registers, found)
        else:
            self._scan_unique(unique, registers, tally, found)
        if numeric and not found.boolean and not found.text:
            _parse(texts, rows, found)
        return found

    def _scan_unique(self, unique: dict[bytes, int], registers: Registers, tally: ValueTally, found: Scan) -> None:
        register(registers, xxh64(list(unique)))
        tally.add(unique)
        for value, count in unique.items():
            found.add(kind(value), count)

    def _scan_all(self, texts: Texts, rows: Places, registers: Registers, found: Scan) -> None:
        starts = texts.offsets[:-1].astype(np.int64)[rows]
        lengths = texts.lengths[rows]
        base = int(starts[0])
        data = np.concatenate([texts.data[base : int(starts[-1] + lengths[-1])], np.zeros(PADDING, dtype=np.uint8)])
        starts = starts - base
        with np.errstate(over="ignore"):
            register(registers, _hash(data, starts, lengths))
        if not _plain(data[:-PADDING], starts, lengths, found):
            _classify(texts, rows, data, starts, lengths, found)

    def hash_words(self, words: Words, short: bool, registers: Registers) -> None:
        """XXH64 of typed values into the registers."""
        with np.errstate(over="ignore"):
            if short:
                state = _rotate(np.uint64(SEED + int(P5) + 4) ^ (words * P1), 23) * P2 + P3
            else:
                state = _rotate(np.uint64(SEED + int(P5) + 8) ^ _round(np.uint64(0), words), 27) * P1 + P4
            register(registers, finish(state))

    def add_moments(self, values: Floats, moments: Floats) -> None:
        """Running sum, Spark's Welford step, extremes; `moments` is (sum, count, mean, squares, min, max)."""
        # numpy's sum is pairwise and Python 3.12's is compensated; a running sum is neither.
        with np.errstate(over="ignore", invalid="ignore"):
            moments[0] = np.cumsum(np.concatenate([moments[:1], values]))[-1]
        count, mean, squares = moments[1:4].tolist()
        for value in values.tolist():
            count += 1.0
            delta = value - mean
            step = delta / count
            mean += step
            squares += delta * (delta - step)
        moments[1:4] = count, mean, squares
        # Of equal values the first counts: 0.0 and -0.0 are equal.
        least, most = values[np.argmin(values)], values[np.argmax(values)]
        moments[4] = least if least < moments[4] else moments[4]
        moments[5] = most if most > moments[5] else moments[5]

    def add_to_sketch(self, values: Floats, sketch: kll.Sketch) -> None:
        """Add values in their order."""
        sketch.update(values)


def kind(value: bytes) -> str:
    """Deequ's type of one text: `integral`, `fractional`, `boolean` or `text`."""
    if INTEGRAL.fullmatch(value):
        return "integral"
    if FRACTIONAL.fullmatch(value):
        return "fractional"
    return "boolean" if value in (b"true", b"false") else "text"


def _few(texts: Texts, present: NDArray[np.bool_]) -> dict[bytes, int] | None:
    """The different texts and their counts in the order of appearance, or None if there are too many."""
    array = texts.array if present.all() else texts.array.filter(mask_of(present))
    counted = pc.value_counts(array.view(_binary(array.type)))
    if len(counted) > max(64, len(array) // FEW):
        return None
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _known(texts: Texts, domain: Mapping[bytes, int]) -> dict[bytes, int]:
    """How often each value of the domain appears."""
    array = texts.array.view(_binary(texts.array.type))
    wanted = pc.is_in(array, value_set=binary_of(list(domain), array.type))
    counted = pc.value_counts(array.filter(wanted))
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _binary(kind: pa.DataType) -> pa.DataType:
    return pa.large_binary() if "large" in str(kind) else pa.binary()


def _plain(data: Bytes, starts: Places, lengths: Places, found: Scan) -> bool:
    """Count the types of texts that are all plain decimals such as `-12.5`; False if one is anything else."""
    if not bool((DIGIT[data] | (data == 46) | (data == 45)).all()) or not lengths.all():
        return False
    signed = data[starts] == 45
    if int((data == 45).sum()) != int(signed.sum()) or bool((lengths <= signed).any()):
        return False
    points = np.flatnonzero(data == 46)
    owners = np.searchsorted(starts, points, side="right") - 1
    ends = starts + lengths
    if len(points):
        inside = (points > starts[owners]).all() and (points + 1 < ends[owners]).all()
        if not inside or not (np.diff(owners) > 0).all():
            return False
        if not DIGIT[data[points - 1]].all() or not DIGIT[data[points + 1]].all():
            return False
    found.fractional += len(points)
    found.integral += len(starts) - len(points)
    return True


def _classify(texts: Texts, rows: Places, data: Bytes, starts: Places, lengths: Places, found: Scan) -> None:
    """Count the types of texts one by one, where their characters leave that open."""
    filled = np.flatnonzero(lengths)
    strange = np.ones(len(starts), dtype=bool)
    if len(filled):
        strange[filled] = np.add.reduceat(OTHER[data[:-PADDING]], starts[filled], dtype=np.int64) > 0
    open_rows = rows[~strange]
    found.text += int(strange.sum())
    array = texts.array.view(_binary(texts.array.type))
    words = int(pc.sum(pc.is_in(array, value_set=binary_of([b"true", b"false"], array.type))).as_py() or 0)
    found.text -= words
    found.boolean += words
    for row in open_rows.tolist():
        found.add(kind(texts.at(row)), 1)


def _parse(texts: Texts, rows: Places, found: Scan) -> None:
    """The doubles of texts that are all numbers, and the sum of whole ones as a 64-bit integer."""
    array = texts.array if len(rows) == len(texts) else texts.array.take(places_of(rows))
    array = array.view(pa.large_string() if "large" in str(array.type) else pa.string())
    try:
        found.values = numpy_of(pc.cast(array, pa.float64()))
        if not found.fractional:
            with np.errstate(over="ignore"):
                found.integer_sum = int(np.sum(numpy_of(pc.cast(array, pa.int64()))))
    except pa.ArrowInvalid:
        _parse_singly(texts, rows, found)


def _parse_singly(texts: Texts, rows: Places, found: Scan) -> None:
    cells = [cell for cell in (texts.at(row) for row in rows.tolist()) if not UNCASTABLE.match(cell)]
    found.values = np.array([float(cell) for cell in cells], dtype=np.float64)
    if not found.fractional:
        whole = [int(cell) for cell in cells]
        found.too_large = any(abs(value) >= 1 << 63 for value in whole)
        found.integer_sum = wrapped(sum(whole))


def wrapped(value: int) -> int:
    """The value as a 64-bit integer that overflows as Java's does."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
