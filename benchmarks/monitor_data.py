"""The data of the monitor benchmark: 30 columns, 24 numeric and 6 of text, one of them with about a million values.

python -m benchmarks.monitor_data ROWS FOLDER      writes data-ROWS.csv and data-ROWS.parquet
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

SEED = 20
CHUNK = 250_000
NUMERIC, TEXTS = 24, 6
#: Drawn from twice as many ids, so that 2,000,000 rows hold about 1,100,000 different ones.
IDS = 1_360_000
WORDS = {"country": 60, "city": 5_000, "device": 8, "plan": 3, "agent": 400}


def chunks(rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of rows; the same for the same number of rows."""
    draw = np.random.default_rng(SEED)
    for start in range(0, rows, CHUNK):
        yield _chunk(draw, min(CHUNK, rows - start))


def _chunk(draw: np.random.Generator, rows: int) -> pa.RecordBatch:
    columns: dict[str, pa.Array] = {}
    for number in range(NUMERIC):
        columns[f"n{number:02}"] = pa.array(_numbers(draw, rows, number))
    ids = draw.integers(0, IDS, rows)
    columns["session"] = pa.array([f"s{value:08x}" for value in ids.tolist()])
    for name, size in WORDS.items():
        values = pa.array([f"{name}-{value}" for value in range(size)])
        columns[name] = values.take(pa.array(np.minimum(draw.zipf(1.3, rows), size) - 1))
    return pa.RecordBatch.from_pydict(columns)


def _numbers(draw: np.random.Generator, rows: int, number: int) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    """Whole numbers, amounts of two decimals, and measurements of four."""
    if number % 4 == 0:
        return draw.integers(0, 10 ** (1 + number // 4), rows)
    if number % 4 == 1:
        return np.round(draw.gamma(2.0, 150.0, rows), 2)
    return np.round(draw.normal(number, 1.0 + number, rows), 4)


def write(rows: int, folder: Path) -> tuple[Path, Path]:
    """Write both files unless they are there; returns their paths."""
    csv, parquet = (folder / f"data-{rows}.{suffix}" for suffix in ("csv", "parquet"))
    if csv.exists() and parquet.exists():
        return csv, parquet
    folder.mkdir(parents=True, exist_ok=True)
    schema = next(chunks(1)).schema
    options = pa.csv.WriteOptions(quoting_style="none")
    with pa.csv.CSVWriter(csv, schema, write_options=options) as one, pa.parquet.ParquetWriter(parquet, schema) as two:
        for batch in chunks(rows):
            one.write_batch(batch)
            two.write_batch(batch)
    return csv, parquet


if __name__ == "__main__":
    sys.stdout.write("\n".join(str(path) for path in write(int(sys.argv[1]), Path(sys.argv[2]))) + "\n")
