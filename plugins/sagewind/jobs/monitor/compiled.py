"""The kernels of `vectorised` compiled with numba: one pass over a column's bytes, without the interpreter's lock.

Both modules give the same results to the last bit. Hashes follow the xxHash specification; decimal texts become doubles
by Clinger's exact case, else by the algorithm of Eisel and Lemire ("Number parsing at a gigabyte per second", 2021),
and what neither decides is left to Python's own `float`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

#: Without Python's errors for a division by zero, of which there is none.
kernel = njit(nogil=True, cache=True, error_model="numpy")

P1, P2, P3, P4, P5 = (
    np.uint64(0x9E3779B185EBCA87),
    np.uint64(0xC2B2AE3D27D4EB4F),
    np.uint64(0x165667B19E3779F9),
    np.uint64(0x85EBCA77C2B2AE63),
    np.uint64(0x27D4EB2F165667C5),
)
SEED = np.uint64(42)
ZERO, ONE = np.uint64(0), np.uint64(1)
U32 = np.uint64(32)
U64 = np.uint64(64)
SIGN_BIT = np.uint64(0x8000000000000000)
LOWEST_POWER, HIGHEST_POWER = -342, 308
#: What `scan_texts` counts, by place in its `counts`.
MISSING, INTEGRAL, FRACTIONAL, BOOLEAN, TEXT, VALUES, UNPARSED, INTEGER_SUM, TOO_LARGE, NEW = range(10)
NOT_A_NUMBER, IS_INTEGRAL, IS_FRACTIONAL = 0, 1, 2


def _powers() -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The leading 128 bits (rounded down) of every power of ten in the range, as pairs low and high."""
    table = np.empty((HIGHEST_POWER - LOWEST_POWER + 1, 2), dtype=np.uint64)
    for row, exponent in enumerate(range(LOWEST_POWER, HIGHEST_POWER + 1)):
        tenth = 10**-exponent if exponent < 0 else 1
        power = 10**exponent if exponent >= 0 else (1 << (128 + tenth.bit_length())) // tenth
        shift = power.bit_length() - 128
        bits = power >> shift if shift >= 0 else power << -shift
        table[row] = bits & 0xFFFFFFFFFFFFFFFF, bits >> 64
    return table


POWERS = _powers()
EXACT = np.array([10.0**exponent for exponent in range(23)])


@intrinsic
def _load64(typing: Any, data: Any, index: Any) -> Any:
    """Eight bytes as one little-endian word, from any address."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), code


@intrinsic
def _byte(typing: Any, data: Any, index: Any) -> Any:
    """One byte as a number; unlike `_byte(data, index)` without the check for a negative index."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        loaded = builder.load(builder.gep(array.data, [arguments[1]]))
        return builder.zext(loaded, ir.IntType(64))

    return types.int64(data, types.int64), code


@kernel
def _rotate(word: Any, by: Any) -> Any:
    return (word << by) | (word >> (U64 - by))


@kernel
def _round(state: Any, lane: Any) -> Any:
    return _rotate(state + lane * P2, np.uint64(31)) * P1


@kernel
def _finish(state: Any) -> Any:
    state = (state ^ (state >> np.uint64(33))) * P2
    state = (state ^ (state >> np.uint64(29))) * P3
    return state ^ (state >> U32)


@kernel
def _stripes(data: Any, low: Any, high: Any) -> Any:
    a, b, c, d = SEED + P1 + P2, SEED + P2, SEED, SEED - P1
    while low + 32 <= high:
        a = _round(a, _load64(data, low))
        b = _round(b, _load64(data, low + 8))
        c = _round(c, _load64(data, low + 16))
        d = _round(d, _load64(data, low + 24))
        low += 32
    state = _rotate(a, ONE) + _rotate(b, np.uint64(7)) + _rotate(c, np.uint64(12)) + _rotate(d, np.uint64(18))
    for lane in (a, b, c, d):
        state = (state ^ _round(ZERO, lane)) * P1 + P4
    return state


@kernel
def _xxh64(data: Any, low: Any, high: Any) -> Any:
    length = high - low
    if length >= 32:
        state = _stripes(data, low, high)
        low += length // 32 * 32
    else:
        state = SEED + P5
    state += np.uint64(length)
    while low + 8 <= high:
        state = _rotate(state ^ _round(ZERO, _load64(data, low)), np.uint64(27)) * P1 + P4
        low += 8
    if low + 4 <= high:
        word = np.uint64(_byte(data, low)) | np.uint64(_byte(data, low + 1)) << np.uint64(8)
        word |= np.uint64(_byte(data, low + 2)) << np.uint64(16) | np.uint64(_byte(data, low + 3)) << np.uint64(24)
        state = _rotate(state ^ (word * P1), np.uint64(23)) * P2 + P3
        low += 4
    while low < high:
        state = _rotate(state ^ (np.uint64(_byte(data, low)) * P5), np.uint64(11)) * P1
        low += 1
    return _finish(state)


@kernel
def _leading_zeros(word: Any) -> Any:
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if word >> np.uint64(64 - step) == ZERO:
            zeros += step
            word = word << np.uint64(step)
    return zeros


@kernel
def _register(registers: Any, code: Any) -> None:
    """HyperLogLog at precision 9; a register holds the longest run of leading zeros plus one."""
    index = np.int64(code >> np.uint64(55))
    rest = (code << np.uint64(9)) | np.uint64(256)
    # A longer run needs that many zero bits: nearly every value stops at this comparison.
    if rest >> (U64 - np.uint64(registers[index])) == ZERO or registers[index] == 0:
        rank = _leading_zeros(rest) + 1
        if rank > registers[index]:
            registers[index] = rank


@kernel
def _count(keys: Any, tallies: Any, room: Any, code: Any) -> Any:
    """Add one to a value's tally; 1 if the value is new, -1 if it is new and there is no room left, else 0."""
    key = code if code != ZERO else ONE
    mask = np.uint64(len(keys) - 1)
    place = np.int64((key >> np.uint64(20)) & mask)
    while keys[place] != ZERO:
        if keys[place] == key:
            tallies[place] += 1
            return 0
        place = (place + 1) & np.int64(mask)
    if room[0] <= 0:
        room[0] = -1
        return -1
    room[0] -= 1
    keys[place] = key
    tallies[place] = 1
    return 1


@kernel
def _wide(left: Any, right: Any) -> Any:
    """The 128-bit product as high and low word."""
    low_mask = np.uint64(0xFFFFFFFF)
    a, b, c, d = left >> U32, left & low_mask, right >> U32, right & low_mask
    bd, bc, ad = b * d, b * c, a * d
    middle = (bd >> U32) + (bc & low_mask) + (ad & low_mask)
    return a * c + (bc >> U32) + (ad >> U32) + (middle >> U32), left * right


@kernel
def _eisel_lemire(digits: Any, exponent: Any) -> Any:
    """Bits of the double nearest to digits * 10**exponent, or 0 where the approximation does not decide."""
    if digits == ZERO or exponent < LOWEST_POWER or exponent > HIGHEST_POWER:
        return ZERO
    shift = _leading_zeros(digits)
    digits = digits << np.uint64(shift)
    binary = ((217706 * exponent) >> 16) + 64 + 1023 - shift
    row = exponent - LOWEST_POWER
    high, low = _wide(digits, POWERS[row, 1])
    nine = np.uint64(0x1FF)
    if high & nine == nine and low + digits < digits:
        more_high, more_low = _wide(digits, POWERS[row, 0])
        merged = low + more_high
        merged_high = high + ONE if merged < low else high
        if merged_high & nine == nine and merged + ONE == ZERO and more_low + digits < digits:
            return ZERO
        high, low = merged_high, merged
    top = high >> np.uint64(63)
    mantissa = high >> (top + np.uint64(9))
    binary -= 1 - np.int64(top)
    if low == ZERO and high & nine == ZERO and mantissa & np.uint64(3) == ONE:
        return ZERO
    mantissa = (mantissa + (mantissa & ONE)) >> ONE
    if mantissa >> np.uint64(53) > ZERO:
        mantissa = mantissa >> ONE
        binary += 1
    if binary < 1 or binary >= 0x7FF:
        return ZERO
    return np.uint64(binary) << np.uint64(52) | mantissa & np.uint64(0xFFFFFFFFFFFFF)


@kernel
def _digits(data: Any, low: Any, high: Any, value: Any, seen: Any) -> Any:
    """Read digits: where they end, their value, how many significant ones were seen (the value holds 19 of them)."""
    while low < high:
        digit = _byte(data, low) - 48
        if digit < 0 or digit > 9:
            break
        if seen > 0 or digit > 0:
            if seen < 19:
                value = value * np.uint64(10) + np.uint64(digit)
            seen += 1
        low += 1
    return low, value, seen


@kernel
def _exponent(data: Any, low: Any, high: Any) -> Any:
    """The number after e or E up to the end: (valid, value)."""
    negative = False
    if low < high and (_byte(data, low) == 43 or _byte(data, low) == 45):
        negative = _byte(data, low) == 45
        low += 1
    if low == high:
        return False, 0
    value = 0
    while low < high:
        digit = _byte(data, low) - 48
        if digit < 0 or digit > 9:
            return False, 0
        if value < 100000:
            value = value * 10 + digit
        low += 1
    return True, -value if negative else value


@kernel
def _number(data: Any, low: Any, high: Any) -> Any:
    """Deequ's classification of a text: (kind, digits, how many of them, power of ten)."""
    start, digits, seen = low, ZERO, 0
    low, digits, seen = _digits(data, low, high, digits, seen)
    if low == start:
        return NOT_A_NUMBER, ZERO, 0, 0
    if low == high:
        return IS_INTEGRAL, digits, seen, 0
    power = 0
    if _byte(data, low) == 46:
        point = low + 1
        low, digits, seen = _digits(data, point, high, digits, seen)
        power = point - low
        if power == 0:
            return NOT_A_NUMBER, ZERO, 0, 0
    if low < high:
        if _byte(data, low) != 69 and _byte(data, low) != 101:
            return NOT_A_NUMBER, ZERO, 0, 0
        valid, exponent = _exponent(data, low + 1, high)
        if not valid:
            return NOT_A_NUMBER, ZERO, 0, 0
        power += exponent
    return IS_FRACTIONAL, digits, seen, power


@kernel
def _double(digits: Any, seen: Any, power: Any, negative: Any, bits: Any, values: Any, place: Any) -> Any:
    """Store the double nearest to digits * 10**power; False where that needs a slower way."""
    if seen > 19:
        return False
    if digits <= np.uint64(9007199254740992) and -22 <= power <= 22:
        value = np.float64(digits)
        value = value / EXACT[-power] if power < 0 else value * EXACT[power]
        values[place] = -value if negative else value
        return True
    if power == 0:
        value = np.float64(digits)
        values[place] = -value if negative else value
        return True
    word = _eisel_lemire(digits, power)
    bits[place] = word | SIGN_BIT if negative else word
    return word != ZERO


@kernel
def _is_boolean(data: Any, low: Any, high: Any) -> Any:
    if high - low == 4:
        start = _byte(data, low) == 116 and _byte(data, low + 1) == 114
        return start and _byte(data, low + 2) == 117 and _byte(data, low + 3) == 101
    if high - low == 5:
        start = _byte(data, low) == 102 and _byte(data, low + 1) == 97 and _byte(data, low + 2) == 108
        return start and _byte(data, low + 3) == 115 and _byte(data, low + 4) == 101
    return False


@kernel
def seed(keys: Any, tallies: Any, room: Any, codes: Any) -> None:
    """Enter values that are counted from the start, with no appearance yet."""
    for code in codes:
        _count(keys, tallies, room, code)
    tallies[:] = 0


@kernel
def scan_texts(  # noqa: C901 - one loop over the cells: calls out of it would pass a dozen arrays each
    data: Any,
    offsets: Any,
    first: Any,
    rows: Any,
    valid: Any,
    masked: Any,
    registers: Any,
    keys: Any,
    tallies: Any,
    room: Any,
    counting: Any,
    seeded: Any,
    numeric: Any,
    values: Any,
    unparsed: Any,
    new: Any,
    counts: Any,
) -> Any:
    """One pass over `rows` texts. Without `masked`, an empty text is missing; else `valid` says what is present.

    While `numeric`, the texts' doubles are left in `values` and the rows that Python must parse in `unparsed` (as pairs
    place, row). First appearances of counted values are rows in `new`; a table that starts with `seeded` values goes on
    counting those when it is full. Returns whether values are still counted.
    """
    bits = values.view(np.uint64)
    for row in range(rows):
        low, high = np.int64(offsets[first + row]), np.int64(offsets[first + row + 1])
        if (masked and valid[row] == 0) or (not masked and low == high):
            counts[MISSING] += 1
            continue
        code = _xxh64(data, low, high)
        _register(registers, code)
        if counting:
            added = _count(keys, tallies, room, code)
            if added > 0:
                new[counts[NEW]] = row
                counts[NEW] += 1
            elif added < 0 and not seeded:
                counting = False
        start, negative, spaced = low, False, False
        if low < high and (_byte(data, low) == 43 or _byte(data, low) == 45):
            negative = _byte(data, low) == 45
            low += 1
        if low < high and _byte(data, low) == 32:
            # The pattern allows one blank here; after a sign the cast to a number then fails, as it does in Spark.
            spaced = low > start
            low += 1
        kind, digits, seen, power = _number(data, low, high)
        if kind == NOT_A_NUMBER:
            counts[BOOLEAN if _is_boolean(data, start, high) else TEXT] += 1
            numeric = False
            continue
        counts[INTEGRAL if kind == IS_INTEGRAL else FRACTIONAL] += 1
        if not numeric or spaced:
            continue
        place = counts[VALUES]
        if not _double(digits, seen, power, negative, bits, values, place):
            unparsed[2 * counts[UNPARSED]], unparsed[2 * counts[UNPARSED] + 1] = place, row
            counts[UNPARSED] += 1
        counts[VALUES] = place + 1
        if seen > 19 or digits > np.uint64(0x7FFFFFFFFFFFFFFF):
            counts[TOO_LARGE] = 1
        elif kind == IS_INTEGRAL:
            counts[INTEGER_SUM] += -np.int64(digits) if negative else np.int64(digits)
    return counting


@kernel
def hash_words(words: Any, rows: Any, short: Any, registers: Any) -> None:
    """XXH64 of 8-byte (or, if `short`, 4-byte) values into the registers."""
    for row in range(rows):
        word = words[row]
        if short:
            state = _rotate((SEED + P5 + np.uint64(4)) ^ (word * P1), np.uint64(23)) * P2 + P3
        else:
            state = _rotate((SEED + P5 + np.uint64(8)) ^ _round(ZERO, word), np.uint64(27)) * P1 + P4
        _register(registers, _finish(state))
