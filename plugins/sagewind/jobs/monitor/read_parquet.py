"""Parquet in record batches. Numbers keep their type: Spark hashes a column's typed value, not a text of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sagewind.jobs.job import UserError
from sagewind.jobs.monitor.batches import ColumnBatch, ReaderRemarks
from sagewind.jobs.monitor.texts import Numbers, Texts, numpy_of

ROWS = 65_536


@dataclass(frozen=True)
class ParquetPart:
    """Row groups of a file (None: all) with all or the `wanted` columns."""

    path: Path
    names: tuple[str, ...]
    groups: tuple[int, ...] | None = None
    wanted: tuple[str, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return self.names if self.wanted is None else self.wanted

    def only(self, wanted: Sequence[str]) -> ParquetPart:
        """The same rows with some of the columns."""
        return replace(self, wanted=tuple(wanted))


def _opened(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path.name} cannot be read as Parquet ({str(error).splitlines()[0]}): write it again"
        ) from error


def whole(path: Path) -> ParquetPart:
    """The file as one part; UserError if it is no Parquet or holds a column of lists or structures."""
    file = _opened(path)
    for field in file.schema_arrow:
        if pa.types.is_nested(field.type):
            raise UserError(
                f"column {field.name!r} of {path.name} holds {field.type}: give single values, or leave the column out"
            )
    return ParquetPart(path, tuple(file.schema_arrow.names))


def split(part: ParquetPart, pieces: int) -> list[ParquetPart]:
    """The part's row groups in about equal pieces."""
    count = _opened(part.path).num_row_groups
    edges = sorted({count * piece // pieces for piece in range(pieces + 1)})
    return [replace(part, groups=tuple(range(*pair))) for pair in pairwise(edges)]


def read(part: ParquetPart, seen: ReaderRemarks) -> Iterator[ColumnBatch]:
    """The part's rows in their order."""
    wanted = list(part.columns)
    file = _opened(part.path)
    groups = list(range(file.num_row_groups)) if part.groups is None else list(part.groups)
    for batch in file.iter_batches(batch_size=ROWS, row_groups=groups, columns=wanted):
        yield ColumnBatch(batch.num_rows, {name: typed(batch.column(name)) for name in wanted})


def typed(array: pa.Array) -> Texts | Numbers:
    """One column's rows: numbers by their Spark type, all else as text."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return typed(array.dictionary_decode())
    if pa.types.is_decimal(kind):
        array, kind = array.cast(pa.float64(), safe=False), pa.float64()
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numbers(array)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        array = array.cast(pa.string())
    return Texts(array, False)


def _numbers(array: pa.Array) -> Numbers:
    missing = array.null_count
    if missing:
        array = array.drop_null()
    raw = numpy_of(array)
    values = raw.astype(np.float64)
    if raw.dtype.kind == "f":
        short = raw.dtype.itemsize < 8
        # Spark hashes -0.0 as 0.0; adding zero does that.
        plain = (raw.astype(np.float32) if short else raw) + raw.dtype.type(0)
        words = plain.view(np.uint32).astype(np.uint64) if short else plain.view(np.uint64)
        return Numbers(values, words, short, False, missing, None)
    short = raw.dtype.itemsize < 8 and raw.dtype != np.uint32
    large = bool(raw.dtype == np.uint64 and len(raw) and raw.max() > np.uint64(1 << 63))
    whole_numbers = raw.astype(np.int64)
    words = whole_numbers.astype(np.int32).view(np.uint32).astype(np.uint64) if short else whole_numbers.view(np.uint64)
    with np.errstate(over="ignore"):
        total = None if large else int(np.sum(whole_numbers))
    return Numbers(values, words, short, True, missing, total)
