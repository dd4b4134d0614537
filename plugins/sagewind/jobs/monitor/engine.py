"""Runs the columns through the kernels: one pass over the data, memory of a few batches.

`exact` keeps the order of the rows within each column, so that sums, deviations and sketches are those of a single
reader, to the last bit; columns are shared out among threads (compiled kernels let go of the interpreter's lock) or,
with the numpy kernels, among processes that each read their columns. `parallel` shares out byte ranges and row groups
and merges their states in order: registers by maximum, moments as Spark does, sketches as Deequ does. Then distinct
counts stay equal, moments agree to rounding and ranks to the sketch's error.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field

from sagewind.jobs.monitor import kernels as kernel_choice
from sagewind.jobs.monitor import read_csv, read_parquet
from sagewind.jobs.monitor.batches import ColumnBatch, ReaderRemarks
from sagewind.jobs.monitor.column import ColumnState
from sagewind.jobs.monitor.kernels import Kernels
from sagewind.jobs.monitor.read_csv import CsvPart
from sagewind.jobs.monitor.read_parquet import ParquetPart
from sagewind.jobs.monitor.texts import Numbers, Texts

EXACT, PARALLEL = "exact", "parallel"
#: Bytes of input from which other processes pay for their start.
WORTH_PROCESSES = 64 << 20
InputPart = CsvPart | ParquetPart
Domains = Mapping[str, Iterable[str] | None]


@dataclass
class DatasetState:
    """Columns by name after `rows` rows, and what the readers reported."""

    domains: Domains
    rows: int = 0
    columns: dict[str, ColumnState] = field(default_factory=dict)
    seen: ReaderRemarks = field(default_factory=ReaderRemarks)

    def column(self, name: str) -> ColumnState:
        """The column of that name; a new one is missing in all rows so far."""
        if name not in self.columns:
            self.columns[name] = ColumnState(name, self.domains.get(name))
            self.columns[name].add_missing(self.rows)
        return self.columns[name]

    def merge(self, later: DatasetState) -> None:
        """Take in the state of later rows."""
        for name, column in later.columns.items():
            self.column(name).merge(column)
        for name in self.columns.keys() - later.columns.keys():
            self.columns[name].add_missing(later.rows)
        self.rows += later.rows
        self.seen.merge(later.seen)

    def finish(self) -> DatasetState:
        """Make all columns portable."""
        for column in self.columns.values():
            column.finish()
        return self


def consume(batches: Iterable[ColumnBatch], state: DatasetState, kernels: Kernels, threads: int) -> DatasetState:
    """Run batches through the kernels in their order; the next batch is read while columns are at work."""
    with ThreadPoolExecutor(threads) as pool:
        running: list[Future[None]] = []
        for batch in batches:
            _wait(running)
            running = _start(batch, state, kernels, pool)
        _wait(running)
    return state


def _wait(running: Iterable[Future[None]]) -> None:
    for future in running:
        future.result()


def _start(batch: ColumnBatch, state: DatasetState, kernels: Kernels, pool: Executor) -> list[Future[None]]:
    running = []
    for name in batch.columns:
        state.column(name)
    for name, column in state.columns.items():
        running.append(pool.submit(_add, column, batch.columns.get(name), batch.rows, kernels))
    state.rows += batch.rows
    return running


def _add(column: ColumnState, piece: Texts | Numbers | None, rows: int, kernels: Kernels) -> None:
    if piece is None:
        column.add_missing(rows)
    elif isinstance(piece, Texts):
        column.add_texts(piece, kernels)
    else:
        column.add_numbers(piece, kernels)


def read(part: InputPart, seen: ReaderRemarks) -> Iterator[ColumnBatch]:
    """A part's batches."""
    return read_csv.read(part, seen) if isinstance(part, CsvPart) else read_parquet.read(part, seen)


def run_part(part: InputPart, domains: Domains, kernels_name: str, threads: int) -> DatasetState:
    """One part from its beginning to its end; the state is portable."""
    state = DatasetState(domains)
    return consume(read(part, state.seen), state, kernel_choice.choose(kernels_name, 0), threads).finish()


def analyse(parts: Sequence[InputPart], domains: Domains, kernels: Kernels, mode: str) -> DatasetState:
    """All parts in their order, in one of the two modes."""
    cores = len(os.sched_getaffinity(0))
    if mode == PARALLEL:
        pieces = [piece for part in parts for piece in _split(part, cores)]
        return _merged(_spread(pieces, domains, kernels, cores))
    if kernels.name == kernel_choice.NUMPY and cores > 1 and _size(parts) >= WORTH_PROCESSES:
        return _by_columns(parts, domains, kernels, cores)
    state = DatasetState(domains)
    for part in parts:
        consume(read(part, state.seen), state, kernels, cores)
    return state.finish()


def _size(parts: Iterable[InputPart]) -> int:
    return sum(part.path.stat().st_size for part in parts)


def _split(part: InputPart, pieces: int) -> Sequence[InputPart]:
    return read_csv.split(part, pieces) if isinstance(part, CsvPart) else read_parquet.split(part, pieces)


def _spread(parts: Sequence[InputPart], domains: Domains, kernels: Kernels, cores: int) -> list[DatasetState]:
    """A state for each part, from threads or processes."""
    with _pool(kernels, _size(parts), cores) as pool:
        return list(pool.map(run_part, parts, *_constant(len(parts), dict(domains), kernels.name, 1)))


def _pool(kernels: Kernels, size: int, cores: int) -> Executor:
    if kernels.name == kernel_choice.NUMPY and size >= WORTH_PROCESSES:
        return ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn"))
    return ThreadPoolExecutor(cores)


def _constant(times: int, *values: object) -> list[list[object]]:
    return [[value] * times for value in values]


def _merged(states: Sequence[DatasetState]) -> DatasetState:
    first = states[0]
    for state in states[1:]:
        first.merge(state)
    return first


def _by_columns(parts: Sequence[InputPart], domains: Domains, kernels: Kernels, cores: int) -> DatasetState:
    """Each process reads all parts for its share of the columns."""
    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    shares = [names[share::cores] for share in range(cores)]
    tasks = [[part.only([n for n in share if n in part.columns]) for part in parts] for share in shares if share]
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        run: Callable[..., Iterator[DatasetState]] = pool.map
        states = list(run(_run_in_order, tasks, *_constant(len(tasks), dict(domains), kernels.name)))
    joined = states[0]
    for state in states[1:]:
        joined.columns.update(state.columns)
    joined.columns = {name: joined.columns[name] for name in names}
    return joined


def _run_in_order(parts: Sequence[InputPart], domains: Domains, kernels_name: str) -> DatasetState:
    state = DatasetState(domains)
    for part in parts:
        consume(read(part, state.seen), state, kernel_choice.choose(kernels_name, 0), 1)
    return state.finish()
