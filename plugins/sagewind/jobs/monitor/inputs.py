"""The data set that the environment names: its files in the window, read into the state of all columns."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagewind.facts import contract
from sagewind.jobs.analysis.dataset import CAPTURE, JSON, MERGED, PARQUET, TRUE, dataset_format, required
from sagewind.jobs.analysis.window import CaptureWindow
from sagewind.jobs.config import parse_time
from sagewind.jobs.job import UserError
from sagewind.jobs.monitor import engine, kernels, read_csv, read_parquet, rows, scripts
from sagewind.jobs.monitor.batches import ReaderRemarks
from sagewind.jobs.monitor.capture import INDEXES, Captured
from sagewind.jobs.monitor.column import ColumnState
from sagewind.jobs.monitor.engine import DatasetState, Domains, InputPart
from sagewind.jobs.monitor.rows import Row

CAPTURE_SUFFIXES = (".jsonl", ".json", ".gz")
#: Columns that batch transform appends to a CSV line for monitoring: the inference id and its time.
ADDED_COLUMNS = 2


@dataclass
class Dataset:
    """All columns after the last row, and sentences for the log and the report on how they were read."""

    rows: int
    columns: list[ColumnState]
    notes: list[str] = field(default_factory=list)


def read(known: Sequence[str], domains: Domains) -> Dataset:
    """Read the data set; `known` are the baseline's columns, which name those of files without header.

    UserError if there is no data, or it cannot be what the format says.
    """
    begun = time.perf_counter()
    source = contract.resolve(required(contract.DATASET_SOURCE))
    kind, options = dataset_format(required(contract.DATASET_FORMAT))
    window = CaptureWindow.of_environment()
    notes: list[str] = []
    files = _files(source, window, kind, notes)
    preprocess = _preprocessor()
    if kind in (CAPTURE, MERGED):
        state = _captured(files, options, window, known, domains, notes)
    elif kind == JSON:
        state = _json(files, options, known, domains, preprocess)
    else:
        state = _parts(files, kind, options, known, domains, preprocess, notes)
    if not state.rows:
        raise UserError(f"no data: no row in {_named(files)}: give a data set with at least one row")
    if kind not in (CAPTURE, MERGED):
        notes.insert(0, f"{state.rows} rows of {_named(files)}")
    notes += state.seen.notes()
    for column in state.columns.values():
        if column.not_finite:
            notes.append(
                f"{column.not_finite} values of {column.name} are infinite or no number: they count as missing"
            )
    print(f"monitor: read in {time.perf_counter() - begun:.2f} s")
    return Dataset(state.rows, list(state.columns.values()), notes)


def _named(files: Sequence[Path]) -> str:
    names = ", ".join(path.name for path in files[:3])
    return names + (f" and {len(files) - 3} more files" if len(files) > 3 else "")


def _files(source: Path, window: CaptureWindow, kind: str, notes: list[str]) -> list[Path]:
    found = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
    found = [path for path in found if not path.name.startswith((".", "_"))]
    if kind in (CAPTURE, MERGED):
        # Their records carry their own time: a folder of another hour may hold some of this window.
        return [path for path in found if path.suffix in CAPTURE_SUFFIXES]
    found = [path for path in found if not _is_manifest(path)]
    if not found:
        raise UserError(f"no data: {contract.DATASET_SOURCE} {source} holds no file, check the job's input")
    inside = [path for path in found if window.touches(path)]
    if len(inside) < len(found):
        notes.append(f"{len(found) - len(inside)} files lie in folders of hours outside the window")
    if not inside:
        raise UserError(f"no data: all {len(found)} files lie in folders of hours outside the window {window.words()}")
    return inside


def _is_manifest(path: Path) -> bool:
    """True for the lists of files that batch transform's capture writes; what they list is an input of its own."""
    if path.suffix in (".parquet", ".csv", ".gz"):
        return False
    with path.open("rb") as file:
        start = file.read(256).lstrip()
    return start.startswith(b"[") and b'"prefix"' in start


def _preprocessor() -> Callable[[scripts.InferenceRecord], list[Row]] | None:
    given = os.environ.get(contract.PREPROCESSOR)
    return scripts.preprocessor(contract.resolve(given), contract.PREPROCESSOR) if given else None


def _captured(
    files: Sequence[Path],
    options: Mapping[str, Any],
    window: CaptureWindow,
    known: Sequence[str],
    domains: Domains,
    notes: list[str],
) -> DatasetState:
    names = options.get("captureIndexNames") or INDEXES[:1]
    strange = [name for name in names if name not in INDEXES]
    if strange:
        raise UserError(f"captureIndexNames holds {strange[0]!r}: use {' and/or '.join(INDEXES)}")
    captured = Captured(
        names,
        window,
        excluded=os.environ.get(contract.EXCLUDED_INFERENCE_IDS, ""),
        output_last=options.get("output_columns_position") == "END",
        preprocess=_preprocessor(),
    )
    state = DatasetState(domains)
    state = _consume(captured.read(files, state.seen), state, known, sum(path.stat().st_size for path in files))
    captured.refuse_nothing()
    notes += captured.notes()
    return state


def _consume(found: Iterator[Row], state: DatasetState, known: Sequence[str], size: int) -> DatasetState:
    chosen = kernels.choose(os.environ.get(contract.ANALYSIS_KERNELS) or kernels.AUTO, size)
    return engine.consume(rows.gathered(found, known), state, chosen, 1).finish()


def _json(
    files: Sequence[Path],
    options: Mapping[str, Any],
    known: Sequence[str],
    domains: Domains,
    preprocess: Callable[[scripts.InferenceRecord], list[Row]] | None,
) -> DatasetState:
    lines = any(options.get(name) in TRUE for name in ("lines", "line")) or not options
    state = DatasetState(domains)

    def records() -> Iterator[Row]:
        for path in files:
            for record in rows.json_lines(path, lines, state.seen):
                payload = json.dumps(dict(record) if isinstance(record, Mapping) else list(record))
                yield from _preprocessed(record, payload, "JSON", preprocess, state.seen)

    return _consume(records(), state, known, sum(path.stat().st_size for path in files))


def _preprocessed(
    record: Row,
    payload: str,
    encoding: str,
    preprocess: Callable[[scripts.InferenceRecord], list[Row]] | None,
    seen: ReaderRemarks,
) -> list[Row]:
    """The record's rows after the user's script, which sees it as the input of a request."""
    if preprocess is None:
        return [record]
    part = {"data": payload, "encoding": encoding, "mode": "INPUT"}
    try:
        return preprocess(scripts.InferenceRecord({"captureData": {"endpointInput": part}, "eventVersion": "0"}))
    except Exception as error:
        seen.add("records made the pre-processing script fail and are left out", f"{type(error).__name__}: {error}")
        return []


def _parts(
    files: Sequence[Path],
    kind: str,
    options: Mapping[str, Any],
    known: Sequence[str],
    domains: Domains,
    preprocess: Callable[[scripts.InferenceRecord], list[Row]] | None,
    notes: list[str],
) -> DatasetState:
    header = options.get("header") in TRUE
    found = [
        read_parquet.whole(path)
        if kind == PARQUET or path.suffix == ".parquet"
        else read_csv.whole(path, header, () if header else _names_without_added(path, known, notes))
        for path in files
    ]
    parts = [part for part in found if part is not None]
    empty = [path.name for path, part in zip(files, found, strict=True) if part is None]
    if not parts:
        raise UserError(f"no data: {_named(files)} is empty: give a data set with a header and rows")
    if empty:
        notes.append(f"{len(empty)} files are empty: {', '.join(empty[:3])}")
    _compare(parts, notes)
    if preprocess is not None:
        state = DatasetState(domains)
        cells = (row for part in parts for row in _cells(part, preprocess, state.seen))
        return _consume(cells, state, known, 0)
    mode = _mode(parts)
    size = sum(part.path.stat().st_size for part in parts)
    chosen = kernels.choose(os.environ.get(contract.ANALYSIS_KERNELS) or kernels.AUTO, size)
    notes.append(f"read in {mode} mode with the {chosen.name} kernels")
    state = engine.analyse([_without_added(part, known) for part in parts], domains, chosen, mode)
    names = dict.fromkeys(name for part in parts for name in _without_added(part, known).columns)
    for name in names:  # a file with a header and no row has columns, too
        state.column(name)
    state.columns = {name: state.columns[name] for name in [*names, *state.columns] if name in state.columns}
    return state


def _mode(parts: Sequence[InputPart]) -> str:
    """The setting `analysis_mode`; without it one file is read exactly, several are read in parallel."""
    given = os.environ.get(contract.ANALYSIS_MODE)
    if given and given not in (engine.EXACT, engine.PARALLEL):
        raise UserError(f"the setting {contract.ANALYSIS_MODE} is {given!r}: use {engine.EXACT} or {engine.PARALLEL}")
    return given or (engine.EXACT if len(parts) == 1 else engine.PARALLEL)


def _compare(parts: Sequence[InputPart], notes: list[str]) -> None:
    """Note files whose columns are others than the first's: what a file lacks is missing in its rows."""
    first = set(parts[0].names)
    for part in parts[1:]:
        differing = sorted(first ^ set(part.names))
        if differing:
            notes.append(f"{part.path.name} has other columns than {parts[0].path.name} ({', '.join(differing[:5])})")


def _names_without_added(path: Path, known: Sequence[str], notes: list[str]) -> Sequence[str]:
    """The known names, and marks for the two columns that batch transform appends for monitoring."""
    if not known:
        return known
    with read_csv.opened(path) as file:
        line = file.readline(1 << 16).decode("utf-8", "replace").strip()
    cells = next(csv.reader([line]), [])
    if len(cells) != len(known) + ADDED_COLUMNS or not _is_time(cells[-1]):
        return known
    notes.append(f"the last two columns of {path.name} are the inference id and its time: left out")
    return [*known, *rows.ADDED_KEYS]


def _is_time(text: str) -> bool:
    try:
        parse_time(text, "")
    except UserError:
        return False
    return not text.isdigit()


def _without_added(part: InputPart, known: Sequence[str]) -> InputPart:
    added = [name for name in part.names if name in rows.ADDED_KEYS and name not in known]
    return part.only([name for name in part.names if name not in added]) if added else part


def _cells(
    part: InputPart, preprocess: Callable[[scripts.InferenceRecord], list[Row]], seen: ReaderRemarks
) -> Iterator[Row]:
    """Rows of a file one by one through the user's script."""
    for batch in engine.read(part, seen):
        columns = []
        for piece in batch.columns.values():
            cells = piece.array.to_pylist() if hasattr(piece, "array") else piece.values.tolist()
            columns.append([cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell for cell in cells])
        for row in zip(*columns, strict=True):
            text = io.StringIO()
            csv.writer(text, lineterminator="").writerow(row)
            record = dict(zip(batch.columns, map(rows.text_of, row), strict=True))
            yield from _preprocessed(record, text.getvalue(), "CSV", preprocess, seen)
