"""Moments and sketches compiled with numba: numbers in their order, as `compiled` has read them.

The results are those of `vectorised` and `kll` to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sagewind.jobs.monitor.compiled import SIGN_BIT, kernel


@kernel
def add_moments(values: Any, count: Any, moments: Any) -> None:
    """Running sum, Spark's Welford step, extremes; `moments` is (sum, count, mean, squares, min, max)."""
    total, n, mean, squares = moments[0], moments[1], moments[2], moments[3]
    least, most = moments[4], moments[5]
    for place in range(count):
        value = values[place]
        total += value
        n += 1.0
        delta = value - mean
        step = delta / n
        mean += step
        squares += delta * (delta - step)
        if value < least:
            least = value
        if value > most:
            most = value
    moments[0], moments[1], moments[2], moments[3] = total, n, mean, squares
    moments[4], moments[5] = least, most


@kernel
def negative_zeros(items: Any) -> Any:
    """How many items are -0.0."""
    found = 0
    for item in items:
        if item == 0.0 and np.signbit(item):
            found += 1
    return found


@kernel
def order_zeros(items: Any, negative: Any) -> None:
    """Put so many -0.0 before the 0.0 among sorted items, as Java sorts doubles.

    Numpy takes them for equal, and its vectorised sort may even make one of the other.
    """
    count = len(items)
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if items[middle] < 0.0:
            low = middle + 1
        else:
            high = middle
    end = low
    while end < count and items[end] == 0.0:
        end += 1
    for place in range(low, end):
        items[place] = -0.0 if place < low + negative else 0.0


@kernel
def merge_runs(items: Any, count: Any, words: Any, spare: Any) -> None:
    """Sort a few sorted runs that lie one after the other (any level but the lowest), in Java's order of doubles."""
    bits = items.view(np.uint64)
    for place in range(count):
        word = bits[place]
        words[place] = ~word if word & SIGN_BIT else word | SIGN_BIT
    source, target = words, spare
    runs = 2
    while runs > 1:
        runs, low = 0, 0
        while low < count:
            middle = low + 1
            while middle < count and source[middle - 1] <= source[middle]:
                middle += 1
            high = middle
            if middle < count:
                high = middle + 1
                while high < count and source[high - 1] <= source[high]:
                    high += 1
            left, right = low, middle
            for place in range(low, high):
                if right >= high or (left < middle and source[left] <= source[right]):
                    target[place] = source[left]
                    left += 1
                else:
                    target[place] = source[right]
                    right += 1
            low = high
            runs += 1
        source, target = target, source
    for place in range(count):
        word = source[place]
        bits[place] = word & ~SIGN_BIT if word & SIGN_BIT else ~word


@kernel
def _compact(arena: Any, lengths: Any, compactions: Any, offsets: Any, level: Any, levels: Any) -> Any:
    """Move every second item of a level up. Levels lie in the arena from the highest down to 0, so they only shift."""
    start = 0
    for above in range(level + 1, levels):
        start += lengths[above]
    if compactions[level] % 2 == 1:
        offsets[level] = 1 - offsets[level]
    compactions[level] += 1
    even = lengths[level] - lengths[level] % 2
    if level > 0:
        words, spare = np.empty(even, dtype=np.uint64), np.empty(even, dtype=np.uint64)
        merge_runs(arena[start : start + even], even, words, spare)
    half = even // 2
    first = start + offsets[level]
    for place in range(half):
        arena[start + place] = arena[first + 2 * place]
    rest = lengths[level] % 2
    for below in range(level):
        rest += lengths[below]
    for place in range(rest):
        arena[start + half + place] = arena[start + even + place]
    lengths[level + 1] += half
    lengths[level] -= even
    return half


@kernel
def add_to_sketch(
    values: Any,
    taken: Any,
    ordered: Any,
    arena: Any,
    lengths: Any,
    compactions: Any,
    offsets: Any,
    sizes: Any,
    meta: Any,
) -> Any:
    """Add values from `taken` on, one by one; `meta` is (levels, items held, capacity of the levels).

    Stops where level 0 must be compacted and returns how many values are in; the caller then sorts the level (numpy's
    sort is several times faster than one written here) and calls again with `ordered`.
    """
    levels, held, capacity = meta[0], meta[1], meta[2]
    count = len(values)
    while True:
        if held > capacity:
            full = 0
            while full < levels and lengths[full] < sizes[full]:
                full += 1
            if full == 0 and not ordered:
                break
            if full < levels:
                ordered = ordered and full != 0
                if full + 1 == levels:
                    levels += 1
                    capacity += sizes[full + 1]
                held -= _compact(arena, lengths, compactions, offsets, full, levels)
        if taken == count:
            break
        piece = min(max(1, capacity - held + 1), count - taken)
        for place in range(piece):
            arena[held + place] = values[taken + place]
        lengths[0] += piece
        held += piece
        taken += piece
    meta[0], meta[1], meta[2] = levels, held, capacity
    return taken
