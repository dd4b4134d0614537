"""Processing job `prepare`: raw files -> cleaned, encoded and split CSV files, their schema, and what happened to rows.

Reads the inputs `raw` and `config`; writes train, validation, test (label first, no header), batch (the test features),
baseline (the train features with a header, for the monitor) and schema (schema.json, summary.json).
"""

from __future__ import annotations

import csv
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sagewind.facts import contract
from sagewind.facts.job_json import JobConfig
from sagewind.jobs import columns, encoding, labels, raw_files
from sagewind.jobs.columns import CATEGORICAL, NUMERIC, FeatureColumn
from sagewind.jobs.config import load, parse_time
from sagewind.jobs.encoding import Encoder
from sagewind.jobs.job import UserError, run, write_json
from sagewind.jobs.labels import Labels
from sagewind.jobs.raw_files import RawTable
from sagewind.jobs.splitting import split

VERSION = 1
FILES = {
    contract.TRAIN: contract.TRAIN_CSV,
    contract.VALIDATION: contract.VALIDATION_CSV,
    contract.TEST: contract.TEST_CSV,
}


@dataclass
class Cleaned:
    """Rows that go into the split, and why the others do not."""

    features: list[FeatureColumn]
    labels: Labels
    rows_in: int
    removed: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    missing: dict[str, int] = field(default_factory=dict)

    def take(self, rows: Sequence[int]) -> None:
        """Keep these rows only."""
        self.features = [column.take(rows) for column in self.features]
        self.labels = self.labels.take(rows)


def main() -> None:
    """Run the job with the inputs of its container."""
    config = load()
    table = raw_files.read_folder(contract.input_dir(contract.RAW), config.data.columns)
    cleaned = clean(table, config)
    strata = [int(value or 0) if cleaned.labels.classes else 0 for value in cleaned.labels.values]
    names = [f"class {name!r} of {config.data.target!r}" for name in cleaned.labels.classes] or ["the data"]
    parts = split(strata, names, asdict(config.data.split), config.seed)
    encoders = [
        encoding.fit(column.take(parts[contract.TRAIN]), encode=config.data.encode, missing=config.data.missing)
        for column in cleaned.features
    ]
    write_parts(cleaned, encoders, parts)
    schema = schema_document(config, cleaned, encoders, parts)
    summary = summary_document(table, cleaned, encoders, parts)
    folder = contract.output_dir(contract.SCHEMA)
    write_json(folder / contract.SCHEMA_JSON, schema)
    write_json(folder / contract.SUMMARY_JSON, summary)
    _log(schema, summary)


def clean(table: RawTable, config: JobConfig) -> Cleaned:
    """Choose the rows and read the columns; UserError names the column and value that cannot be used."""
    data = config.data
    _check_columns(table, config)
    cells = {name: table.column(name) for name in table.columns}
    removed: dict[str, int] = {}
    rows: Iterable[int] = range(len(table))
    if data.time_column and config.window.end:
        rows = _keep(removed, "at or after the end of the window", rows, _in_window(table, config))
    seen: set[tuple[str, ...]] = set()
    first = [not (row in seen or seen.add(row)) for row in zip(*table.cells, strict=True)]  # type: ignore[func-returns-value]
    if data.deduplicate:
        rows = _keep(removed, "repeats another row", rows, first)
    target = labels.read(cells[data.target], table.place, config)
    rows = _keep(removed, "the label is missing", rows, [value is not None for value in target.values])
    left_out = {*data.drop, data.target, data.time_column}
    features = [
        columns.read(name, cells[name], table.place, declared=_declared(name, config), na_values=data.na_values)
        for name in table.columns
        if name not in left_out
    ]
    missing = {column.name: column.missing for column in features}
    counts = {name: sum(flags[row] for row in rows) for name, flags in missing.items()}
    if data.missing == "drop":
        complete = [not any(flags) for flags in zip(*missing.values(), strict=True)]
        rows = _keep(removed, "a feature is missing", rows, complete)
    result = Cleaned(features, target, len(table), removed, first.count(False), counts)
    result.take(list(rows))
    if not result.labels.values:
        raise UserError(f"no row is left of {len(table)} (removed: {_counts(removed)}): check data and its settings")
    return result


def _check_columns(table: RawTable, config: JobConfig) -> None:
    data, known = config.data, ", ".join(table.columns)
    if data.target not in table.columns:
        raise UserError(
            f"target column {data.target!r} is not in {table.files[0]}, its columns are: {known}; set data.target, "
            "or data.columns if the file has no header"
        )
    named = {"drop": data.drop, "numeric": data.numeric, "categorical": data.categorical}
    named["time_column"] = (data.time_column,) if data.time_column else ()
    for key, names in named.items():
        for name in sorted(names):
            if name not in table.columns:
                raise UserError(f"data.{key} names the column {name!r}, {table.files[0]} has: {known}")
    if len(table.columns) - len({*data.drop, data.target, data.time_column} & set(table.columns)) == 0:
        raise UserError(f"{table.files[0]} has no feature left beside the target {data.target!r}: check data.drop")


def _declared(name: str, config: JobConfig) -> str | None:
    if name in config.data.numeric:
        return NUMERIC
    return CATEGORICAL if name in config.data.categorical else None


def _in_window(table: RawTable, config: JobConfig) -> list[bool]:
    name, end = config.data.time_column or "", config.window.end
    where = f"time column {name!r} in {{}}"
    return [
        end is not None and parse_time(cell, where.format(table.place(row))) < end
        for row, cell in enumerate(table.column(name))
    ]


def _keep(removed: dict[str, int], reason: str, rows: Iterable[int], keep: Sequence[bool]) -> list[int]:
    before = list(rows)
    kept = [row for row in before if keep[row]]
    removed[reason] = len(before) - len(kept)
    return kept


def write_parts(cleaned: Cleaned, encoders: Sequence[Encoder], parts: Mapping[str, Sequence[int]]) -> None:
    """Write the split files, the batch and the baseline."""
    names = [feature.name for encoder in encoders for feature in encoder.features]
    for part, rows in parts.items():
        cells = encoding.transform_all(encoders, [column.take(rows) for column in cleaned.features])
        first = cleaned.labels.take(rows).texts()
        _write_rows(contract.output_dir(part) / FILES[part], [first, *cells])
        if part == contract.TEST:
            _write_rows(contract.output_dir(contract.BATCH) / contract.BATCH_CSV, cells)
        if part == contract.TRAIN:
            _write_rows(contract.output_dir(contract.BASELINE) / contract.BASELINE_CSV, cells, header=names)


def _write_rows(path: Path, cells: Sequence[Sequence[str]], header: Sequence[str] | None = None) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        if header:
            csv.writer(file, lineterminator="\n").writerow(header)
        # The cells are numbers or empty: no quoting is needed, and joining is much faster than csv.writer.
        file.writelines(",".join(row) + "\n" for row in zip(*cells, strict=True))


def schema_document(
    config: JobConfig, cleaned: Cleaned, encoders: Sequence[Encoder], parts: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """schema.json: what the columns of the split files mean."""
    return {
        "version": VERSION,
        "target": config.data.target,
        "problem": config.problem,
        "classes": list(cleaned.labels.classes),
        "features": [feature.record() for encoder in encoders for feature in encoder.features],
        "rows": {part: len(rows) for part, rows in parts.items()},
    }


def summary_document(
    table: RawTable, cleaned: Cleaned, encoders: Sequence[Encoder], parts: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """summary.json: rows in and out with reasons, missing values, duplicates, balance of each split, warnings."""
    columns_out = {column.name: _describe(column, cleaned.missing[column.name]) for column in cleaned.features}
    return {
        "version": VERSION,
        "files": _files(table),
        "blank_lines": table.blank_lines,
        "rows": {"in": cleaned.rows_in, "out": len(cleaned.labels.values), "removed": cleaned.removed},
        "duplicates": cleaned.duplicates,
        "columns": columns_out,
        "unknown_categories": {encoder.column: encoder.unknown for encoder in encoders if encoder.unknown},
        "splits": {part: _balance(cleaned.labels.take(rows)) for part, rows in parts.items()},
        "warnings": _warnings(columns_out, len(cleaned.labels.values)),
    }


def _files(table: RawTable) -> list[dict[str, Any]]:
    ends = [*table.starts[1:], len(table)]
    return [
        {"name": name, "rows": end - start} for name, start, end in zip(table.files, table.starts, ends, strict=True)
    ]


def _describe(column: FeatureColumn, missing: int) -> dict[str, Any]:
    described: dict[str, Any] = {"kind": column.kind, "missing": missing}
    if column.kind == NUMERIC:
        present = [value for value in column.numbers if not math.isnan(value)]
        described["distinct"] = len(set(present))
        if present:
            described |= {"min": min(present), "mean": math.fsum(present) / len(present), "max": max(present)}
        return described
    counts = Counter(text for text in column.texts if text is not None)
    return described | {"distinct": len(counts), "most_frequent": dict(counts.most_common(5))}


def _balance(target: Labels) -> dict[str, Any]:
    values = [value for value in target.values if value is not None]
    if not target.classes:
        return {"rows": len(values), "min": min(values), "mean": math.fsum(values) / len(values), "max": max(values)}
    counts = Counter(values)
    return {
        "rows": len(values),
        "classes": {name: counts[float(code)] for code, name in enumerate(target.classes)},
    }


def _warnings(described: Mapping[str, Mapping[str, Any]], rows: int) -> list[str]:
    warnings = []
    for name, facts in described.items():
        if facts["distinct"] <= 1:
            warnings.append(f"column {name!r} has the same value in every row and tells a model nothing")
        if facts["kind"] == CATEGORICAL and facts["distinct"] > max(50, rows / 2):
            warnings.append(f"column {name!r} has {facts['distinct']} categories in {rows} rows: is it an identifier?")
    return warnings


def _counts(removed: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in removed.items() if count) or "none"


def _log(schema: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    rows = summary["rows"]
    print(f"prepare: {rows['in']} rows in, {rows['out']} out (removed: {_counts(rows['removed'])})")
    print(
        f"prepare: {len(schema['features'])} features, {summary['duplicates']} duplicate rows, parts {schema['rows']}"
    )
    for warning in summary["warnings"]:
        print(f"prepare: warning: {warning}")


if __name__ == "__main__":
    sys.exit(run(main))
