"""The order in which AWS's analyzer lists a column's categories: that of Scala 2.12's immutable map.

Deequ counts values into such a map (ColumnProfiler.computeHistograms). With more than four keys it is a trie over the
keys' improved hash codes, five bits at a time from the lowest; with up to four it keeps the order of insertion, and
that is the order of the map of (column, value) pairs of all columns, by the pairs' hash codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WORD = 0xFFFFFFFF
#: Scala's maps of up to so many keys keep the order of insertion.
SMALL = 4
PRODUCT_SEED = 0xCAFEBABE


def java_hash(text: str) -> int:
    """String.hashCode of Java, as an unsigned word."""
    code = 0
    encoded = text.encode("utf-16-be", "surrogatepass")
    for index in range(0, len(encoded), 2):
        code = (31 * code + (encoded[index] << 8 | encoded[index + 1])) & WORD
    return code


def pair_hash(first: str, second: str) -> int:
    """hashCode of a Scala pair of strings: MurmurHash3 over the two hash codes."""
    state = PRODUCT_SEED
    for code in (java_hash(first), java_hash(second)):
        mixed = _rotate(code * 0xCC9E2D51 & WORD, 15) * 0x1B873593 & WORD
        state = (_rotate(state ^ mixed, 13) * 5 + 0xE6546B64) & WORD
    state ^= 2
    state = (state ^ state >> 16) * 0x85EBCA6B & WORD
    state = (state ^ state >> 13) * 0xC2B2AE35 & WORD
    return state ^ state >> 16


def _rotate(word: int, by: int) -> int:
    return (word << by | word >> (32 - by)) & WORD


def trie_key(code: int) -> tuple[int, ...]:
    """Where a hash code lies in a HashMap of Scala 2.12; to sort by."""
    code = (code + (~(code << 9) & WORD)) & WORD
    code ^= code >> 14
    code = (code + (code << 4)) & WORD
    code ^= code >> 10
    return tuple(code >> shift & 31 for shift in range(0, 35, 5))


def ordered(column: str, values: Sequence[str], all_values: int) -> list[str]:
    """The values in the order of the map. `all_values` counts the values of all columns that are counted."""
    if len(values) > SMALL:
        return sorted(values, key=lambda value: trie_key(java_hash(value)))
    if all_values > SMALL:
        return sorted(values, key=lambda value: trie_key(pair_hash(column, value)))
    return list(values)


def arrange(column: str, counts: Mapping[str, int], all_values: int) -> dict[str, int]:
    """The counts in that order."""
    return {value: counts[value] for value in ordered(column, list(counts), all_values)}
