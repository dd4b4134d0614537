"""What other tools take for the statistics of the monitor: one program, run in an environment of its own.

    python monitor_peers.py TOOL csv|parquet FILE

Count, missing, sum, mean, deviation, minimum, maximum, approximate distinct values and a histogram of ten equal
intervals of every numeric column; missing, approximate distinct values and the most common values of every text column.
"""

from __future__ import annotations

import sys
from typing import Any

BINS = 10
TOP = 120


def _polars(kind: str, path: str) -> None:
    import polars as pl
    from polars import selectors as cs

    lazy = pl.scan_csv(path) if kind == "csv" else pl.scan_parquet(path)
    numeric, text = cs.numeric(), cs.string()
    first = lazy.select(
        pl.len().alias("rows"),
        pl.all().null_count().name.suffix("_missing"),
        numeric.sum().name.suffix("_sum"), numeric.mean().name.suffix("_mean"), numeric.std(ddof=0).name.suffix("_std"),
        numeric.min().name.suffix("_min"), numeric.max().name.suffix("_max"),
        pl.all().approx_n_unique().name.suffix("_distinct"),
    ).collect(engine="streaming").row(0, named=True)  # fmt: skip
    schema = lazy.collect_schema()
    for name in [name for name, kind in schema.items() if kind == pl.String]:
        if first[f"{name}_distinct"] <= TOP:
            lazy.group_by(name).len().collect(engine="streaming")
    del text
    histograms = []
    for name in [name for name, kind in schema.items() if kind.is_numeric()]:
        low, high = first[f"{name}_min"], first[f"{name}_max"]
        place = ((pl.col(name) - low) / ((high - low) or 1) * BINS).floor().clip(0, BINS - 1)
        histograms += [(place == number).sum().alias(f"{name}_{number}") for number in range(BINS)]
    lazy.select(histograms).collect(engine="streaming")


def _duckdb(kind: str, path: str) -> None:
    import duckdb

    source = f"read_csv('{path}')" if kind == "csv" else f"read_parquet('{path}')"
    database = duckdb.connect()
    types = database.execute(f"describe select * from {source}").fetchall()
    numeric = [row[0] for row in types if row[1] != "VARCHAR"]
    texts = [row[0] for row in types if row[1] == "VARCHAR"]
    parts = ["count(*)"]
    for name in numeric:
        parts += [f"{function}({name})" for function in ("count", "sum", "avg", "stddev_pop", "min", "max")]
    parts += [f"approx_count_distinct({name})" for name in numeric + texts] + [f"count({name})" for name in texts]
    row = database.execute(f"select {', '.join(parts)} from {source}").fetchone() or ()
    ends = {name: (row[5 + 6 * at], row[6 + 6 * at]) for at, name in enumerate(numeric)}
    distinct = dict(zip(texts, row[1 + 6 * len(numeric) + len(numeric) :], strict=False))
    bins = []
    for name, (low, high) in ends.items():
        place = f"least({BINS - 1}, floor(({name} - {low}) / {(high - low) or 1} * {BINS}))"
        bins += [f"count(*) filter ({place} = {number})" for number in range(BINS)]
    database.execute(f"select {', '.join(bins)} from {source}").fetchall()
    few = [name for name in texts if distinct[name] <= TOP]
    if few:
        sets = ", ".join(f"({name})" for name in few)
        database.execute(f"select {', '.join(few)}, count(*) from {source} group by grouping sets ({sets})").fetchall()


def _pandas(kind: str, path: str) -> None:
    import numpy as np
    import pandas as pd

    table = pd.read_csv(path) if kind == "csv" else pd.read_parquet(path)
    table.isna().sum()
    for name in table.columns:
        column = table[name]
        if column.dtype.kind in "if":
            column.sum(), column.mean(), column.std(ddof=0), column.min(), column.max(), column.nunique()
            np.histogram(column.to_numpy(), bins=BINS)
        elif column.nunique() <= TOP:
            column.value_counts()


def _whylogs(kind: str, path: str) -> None:
    import pandas as pd
    import whylogs

    table = pd.read_csv(path) if kind == "csv" else pd.read_parquet(path)
    whylogs.log(table).view().to_pandas()


def _parse(kind: str, path: str) -> None:
    """Parsing alone: the least that any of them can take."""
    import polars as pl

    lazy = pl.scan_csv(path) if kind == "csv" else pl.scan_parquet(path)
    lazy.select(pl.all().null_count()).collect(engine="streaming")


TOOLS: dict[str, Any] = {
    "polars": _polars, "duckdb": _duckdb, "pandas": _pandas, "whylogs": _whylogs, "parse": _parse,
}  # fmt: skip

if __name__ == "__main__":
    TOOLS[sys.argv[1]](sys.argv[2], sys.argv[3])
