"""Approximate number of distinct values as AWS's analyzer counts it: HyperLogLog++ with 512 registers over XXH64.

The hash (64 bit, seed 42) is taken of a cell's UTF-8 text, not of its number. Up to 400 distinct values the estimate is
linear counting, above it the raw estimate less its published bias; the relative standard deviation is 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from include.jobs.hll_bias import BIAS, ESTIMATES

Words = NDArray[np.uint64]

PRECISION = 9
REGISTERS = 1 << PRECISION
LINEAR_UP_TO = 400
NEIGHBOURS = 6
SEED = 42
ALPHA_M2 = 0.7213 / (1 + 1.079 / REGISTERS) * REGISTERS * REGISTERS

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


class DistinctCounter:
    """Counts distinct texts in constant memory."""

    def __init__(self) -> None:
        self.registers = np.zeros(REGISTERS, dtype=np.int64)

    def update(self, values: Collection[str]) -> None:
        """Add values; giving a value twice changes nothing, so callers may pass a set."""
        if not values:
            return
        hashes = xxh64(values)
        rest = (hashes << np.uint64(PRECISION)) | np.uint64(1 << (PRECISION - 1))
        index = (hashes >> np.uint64(64 - PRECISION)).astype(np.int64)
        np.maximum.at(self.registers, index, _leading_zeros(rest) + 1)

    def estimate(self) -> int:
        """The estimate, rounded half up."""
        zeros = int(np.sum(self.registers == 0))
        if zeros:
            linear = REGISTERS * math.log(REGISTERS / zeros)
            if linear <= LINEAR_UP_TO:
                return math.floor(linear + 0.5)
        raw = ALPHA_M2 / float(np.sum(np.exp2(-self.registers.astype(np.float64))))
        corrected = raw - _bias(raw) if raw < 5.0 * REGISTERS else raw
        return math.floor(corrected + 0.5)


def _bias(raw: float) -> float:
    """Mean published bias of the estimates nearest to `raw`."""
    position = int(np.searchsorted(ESTIMATES, raw))
    low = max(position - NEIGHBOURS + 1, 0)
    high = min(low + NEIGHBOURS, len(ESTIMATES))
    while high < len(ESTIMATES) and abs(raw - ESTIMATES[high]) < abs(raw - ESTIMATES[low]):
        low, high = low + 1, high + 1
    return sum(BIAS[low:high]) / (high - low)


def _leading_zeros(words: Words) -> NDArray[np.int64]:
    zeros = np.zeros(len(words), dtype=np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        short = words < np.uint64(1 << (64 - step))
        zeros[short] += step
        words = np.where(short, words << np.uint64(step), words)
    return zeros


def xxh64(values: Collection[str], seed: int = SEED) -> Words:
    """XXH64 of each text's UTF-8 bytes (algorithm: github.com/Cyan4973/xxHash, doc/xxhash_spec.md).

    Texts of the same length are hashed together, one numpy operation per step for all of them.
    """
    encoded = [value.encode() for value in values]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    hashes = np.empty(len(encoded), dtype=np.uint64)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        joined = b"".join([encoded[row] for row in rows])
        hashes[rows] = _hash_block(np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), length), seed)
    return hashes


def _hash_block(block: NDArray[np.uint8], seed: int) -> Words:
    count, length = block.shape
    start, state = _stripes(block, seed)
    with np.errstate(over="ignore"):
        state = state + np.uint64(length)
        while start + 8 <= length:
            state = _rotate(state ^ _round(np.zeros(count, dtype=np.uint64), _lane(block, start, "<u8")), 27) * P1 + P4
            start += 8
        if start + 4 <= length:
            state = _rotate(state ^ (_lane(block, start, "<u4") * P1), 23) * P2 + P3
            start += 4
        for position in range(start, length):
            state = _rotate(state ^ (block[:, position].astype(np.uint64) * P5), 11) * P1
        state = (state ^ (state >> np.uint64(33))) * P2
        state = (state ^ (state >> np.uint64(29))) * P3
    return state ^ (state >> np.uint64(32))


def _stripes(block: NDArray[np.uint8], seed: int) -> tuple[int, Words]:
    """Consume whole 32-byte stripes; returns how many bytes were read and the state."""
    count, length = block.shape
    full: Callable[[int], Words] = lambda value: np.full(count, value & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)  # noqa: E731
    if length < 32:
        return 0, full(seed + int(P5))
    lanes = [full(seed + int(P1) + int(P2)), full(seed + int(P2)), full(seed), full(seed - int(P1))]
    with np.errstate(over="ignore"):
        for start in range(0, length - 31, 32):
            lanes = [_round(lane, _lane(block, start + 8 * number, "<u8")) for number, lane in enumerate(lanes)]
        state = sum((_rotate(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18), strict=True)), full(0))
        for lane in lanes:
            state = (state ^ _round(full(0), lane)) * P1 + P4
    return length // 32 * 32, state


def _lane(block: NDArray[np.uint8], start: int, kind: str) -> Words:
    size = np.dtype(kind).itemsize
    return np.ascontiguousarray(block[:, start : start + size]).view(kind)[:, 0].astype(np.uint64)


def _round(state: Words, lane: Words) -> Words:
    return _rotate(state + lane * P2, 31) * P1


def _rotate(words: Words, by: int) -> Words:
    return (words << np.uint64(by)) | (words >> np.uint64(64 - by))
