"""The data formats of the built-in XGBoost algorithm: CSV (label first, no header), libsvm, Parquet, RecordIO-protobuf.

Training and serving read libsvm indices as they stand (from 0 or 1), so both see the same columns.
"""

from pathlib import Path
from typing import Any

from container_toolkit import recordio
from container_toolkit.base import UserError

CSV, LIBSVM, PARQUET, RECORDIO = "csv", "libsvm", "parquet", "recordio-protobuf"

CONTENT_TYPES = {
    "csv": CSV,
    "text/csv": CSV,
    "libsvm": LIBSVM,
    "text/libsvm": LIBSVM,
    "text/x-libsvm": LIBSVM,
    "parquet": PARQUET,
    "application/x-parquet": PARQUET,
    "recordio-protobuf": RECORDIO,
    "application/x-recordio-protobuf": RECORDIO,
}

PIPED = (CSV, PARQUET, RECORDIO)
"""What images before 3.0 read in Pipe mode."""

_DELIMITERS = ",\t;|: "
_MISSING = ["", "nan", "NaN", "NAN", "NA", "null"]
_MAX_DEPTH = 3


def content_type(given: str | None) -> str:
    """csv, libsvm, parquet or recordio-protobuf for a MIME type; libsvm without one, as in AWS's container."""
    if given is None:
        return LIBSVM
    name, *parameters = (part.strip() for part in given.lower().split(";"))
    if name not in CONTENT_TYPES:
        raise UserError(f"{given} is not an accepted ContentType: {', '.join(CONTENT_TYPES)}.")
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if CONTENT_TYPES[name] == CSV and key.strip() == "label_size" and value.strip() != "1":
            raise UserError(
                f"{given} is not an accepted csv ContentType. Optional parameter label_size must be equal to 1"
            )
    return CONTENT_TYPES[name]


def data_files(directory: Path) -> list[Path]:
    """The files of a channel in the order of their names, at most three levels deep; hidden ones are an error."""
    if not directory.is_dir():
        return []
    found = []
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        if not path.is_file() or len(relative.parts) > _MAX_DEPTH:
            continue
        if path.name.startswith("."):
            raise UserError("Hidden file found in the data path! Remove that before training.")
        if not path.name.startswith("_") and path.stat().st_size:
            found.append(path)
    return found


def read(directory: Path, kind: str, *, weights: bool = False) -> tuple[Any, Any, Any] | None:
    """Features, labels and weights (or None) of all files of a channel; None when it holds no data."""
    files = data_files(directory)
    return _read_files(files, kind, directory.name, weights) if files else None


def read_pipe(fifo: Path, kind: str, name: str, *, weights: bool = False) -> tuple[Any, Any, Any] | None:
    """The same from the pipe of a channel's first epoch, which holds the channel's files one after the other."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        # The readers look at the first line first, and Parquet is read from its end: a pipe can do neither.
        copy = Path(scratch) / fifo.name
        with fifo.open("rb") as pipe, copy.open("wb") as file:
            shutil.copyfileobj(pipe, file, 1 << 20)
        return _read_files([copy], kind, name, weights) if copy.stat().st_size else None


def _read_files(files: list[Path], kind: str, channel: str, weights: bool) -> tuple[Any, Any, Any]:
    import numpy as np

    if kind == LIBSVM:
        return _read_libsvm(files)
    if kind == RECORDIO:
        features, labels = _read_recordio(files)
        return features, _checked(labels, channel), None
    table = np.concatenate([_read_csv(f) if kind == CSV else _read_parquet(f) for f in files])
    first = 2 if weights else 1
    if table.shape[1] <= first:
        raise UserError(f"Got {table.shape[1]} column(s) in {files[0].name}: a label and features are needed.")
    return table[:, first:], _checked(table[:, 0], channel), table[:, 1] if weights else None


def _checked(labels: Any, channel: str) -> Any:
    import numpy as np

    if not np.isfinite(labels).all():
        row = int(np.flatnonzero(~np.isfinite(labels))[0])
        raise UserError(
            f"Got input data without labels: the first column of row {row + 1} of channel {channel} is empty "
            "or no number. Please check the input data set."
        )
    return labels


def _read_recordio(files: list[Path]) -> tuple[Any, Any]:
    records = []
    for file in files:
        with file.open("rb", buffering=1 << 20) as stream:
            try:
                records += map(recordio.decode, recordio.frames(stream))
            except ValueError as error:
                raise UserError(
                    f"Failed to load recordio-protobuf data of file '{file.name}' with exception:\n{error}"
                ) from None
    features, labels = recordio.matrix(records)
    if labels.shape[1] != 1:
        raise UserError("Got input data without labels. Please check the input data set.")
    return features, labels[:, 0]


def delimiter_of(line: str) -> str:
    """The delimiter of a CSV line: the first of comma, tab, semicolon, bar, colon, blank that is in it."""
    return next((mark for mark in _DELIMITERS if mark in line), ",")


def _bad_format(file: Path, line: str, kind: str) -> UserError:
    return UserError(
        f"First line '{line[:50]}...' of file '{file.name}' is not '{kind}' format. "
        f"Please ensure the file is in '{kind}' format."
    )


def _read_csv(file: Path) -> Any:
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    with file.open(encoding="utf-8", errors="replace") as stream:
        line = stream.readline().rstrip("\r\n")
    mark = delimiter_of(line)
    cells = [cell.strip().strip('"') for cell in line.split(mark)]
    if any(cell not in _MISSING and not _is_number(cell) for cell in cells):
        raise _bad_format(file, line, "CSV")
    names = [f"{number}" for number in range(len(cells))]
    try:
        table = csv.read_csv(
            file,
            read_options=csv.ReadOptions(column_names=names),
            parse_options=csv.ParseOptions(delimiter=mark),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float64()), null_values=_MISSING, quoted_strings_can_be_null=True
            ),
        )
    except pa.ArrowInvalid as error:
        raise UserError(f"Failed to load csv data of file '{file.name}' with exception:\n{error}") from None
    return np.column_stack([column.to_numpy() for column in table.columns])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_parquet(file: Path) -> Any:
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
        columns = [column.cast(pa.float64()).to_numpy() for column in table.columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"Failed to load parquet data of file '{file.name}' with exception:\n{error}") from None
    return np.column_stack(columns)


def _read_libsvm(files: list[Path]) -> tuple[Any, Any, Any]:
    import numpy as np

    labels: list[float] = []
    weights: list[float] = []
    rows: list[list[str]] = []
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                head, *pairs = line.split() or [""]
                if not head:
                    continue
                label, _, weight = head.partition(":")
                if not _is_number(label) or (weight and not _is_number(weight)):
                    raise _bad_format(file, line.rstrip(), "LIBSVM")
                labels.append(float(label))
                weights.append(float(weight or 1))
                rows.append(pairs)
    try:
        features = sparse_rows(rows)
    except ValueError as error:
        raise _bad_format(files[0], str(error), "LIBSVM") from None
    return features, np.array(labels), np.array(weights) if set(weights) != {1.0} else None


def sparse_rows(rows: list[list[str]], width: int | None = None) -> Any:
    """Rows of `index:value` texts as a sparse matrix; ValueError with the text that is none."""
    from scipy.sparse import csr_matrix

    values: list[float] = []
    indices: list[int] = []
    starts = [0]
    for row in rows:
        for pair in row:
            index, colon, value = pair.partition(":")
            if not colon or not index.isdecimal() or not _is_number(value):
                raise ValueError(pair)
            indices.append(int(index))
            values.append(float(value))
        starts.append(len(indices))
    columns = max(indices, default=-1) + 1
    return csr_matrix((values, indices, starts), shape=(len(rows), max(columns, width or 0)))
