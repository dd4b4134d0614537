"""A piece of one column as it is handed to the kernels: texts in Arrow's layout, or the words and values of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
#: Zero bytes behind the data, so that eight bytes can be read from any place in it.
PADDING = 8


def mask_of(flags: Flags) -> pa.Array:
    """Flags as an Arrow array. (`pyarrow.array` of a numpy array or a list would import pandas.)"""
    bits = np.packbits(flags, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, pa.py_buffer(bits)])


def places_of(places: NDArray[np.int64]) -> pa.Array:
    """Row numbers as an Arrow array."""
    return pa.Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(np.ascontiguousarray(places))])


def numpy_of(array: pa.Array) -> NDArray[Any]:
    """The numbers of an Arrow array without nulls. (Its own `to_numpy` would import pandas.)"""
    kind = np.dtype(array.type.to_pandas_dtype())
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.empty(0, dtype=kind)
    return np.frombuffer(buffer, dtype=kind)[array.offset : array.offset + len(array)]


def binary_of(values: Sequence[bytes], kind: pa.DataType | None = None) -> pa.Array:
    """Values as an Arrow array of binaries (large ones unless `kind` says otherwise)."""
    kind = pa.large_binary() if kind is None else kind
    width = np.int64 if "large" in str(kind) else np.int32
    offsets = np.zeros(len(values) + 1, dtype=width)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))])


@dataclass(frozen=True)
class Texts:
    """Texts of one column; `array` is an Arrow array of (large) strings or binaries.

    Where `empty_is_missing` (CSV), a text without characters is no value, as for Spark; else a null alone is none.
    """

    array: Any
    empty_is_missing: bool

    def __len__(self) -> int:
        return len(self.array)

    @cached_property
    def offsets(self) -> NDArray[Any]:
        """Where each text starts in `data`, and where the last one ends."""
        wide = "large" in str(self.array.type)
        buffer = self.array.buffers()[1]
        if buffer is None or not len(self.array):
            return np.zeros(1, dtype=np.int32)
        start = self.array.offset
        return np.frombuffer(buffer, dtype=np.int64 if wide else np.int32)[start : start + len(self.array) + 1]

    @cached_property
    def data(self) -> Bytes:
        """The bytes of all texts."""
        buffer = self.array.buffers()[2]
        return np.zeros(0, dtype=np.uint8) if buffer is None else np.frombuffer(buffer, dtype=np.uint8)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Bytes of each text."""
        ends: NDArray[np.int64] = self.offsets.astype(np.int64)
        return ends[1:] - ends[:-1]

    @cached_property
    def present(self) -> Flags:
        """Which rows hold a value."""
        if self.empty_is_missing:
            return self.lengths > 0
        if not self.array.null_count:
            return np.ones(len(self.array), dtype=bool)
        bits = np.unpackbits(np.frombuffer(self.array.buffers()[0], dtype=np.uint8), bitorder="little")
        return bits[self.array.offset : self.array.offset + len(self.array)].astype(bool)

    def at(self, row: int) -> bytes:
        """The bytes of one text."""
        return self.data[int(self.offsets[row]) : int(self.offsets[row + 1])].tobytes()


@dataclass(frozen=True)
class Numbers:
    """Numbers of one typed column: of the values that are there, doubles and the words that Spark hashes."""

    values: Floats
    words: Words
    short: bool
    integral: bool
    missing: int
    #: Of whole numbers, as a 64-bit integer that overflows; None if one does not fit.
    integer_sum: int | None
