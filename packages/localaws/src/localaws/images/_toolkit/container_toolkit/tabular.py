"""The data of the built-in algorithms: training channels in File, FastFile and Pipe mode, and inference bodies.

Source: "Common Data Formats for Training" and "... for Inference" of the developer guide.
"""

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from container_toolkit import base, recordio
from container_toolkit.base import UserError

CSV, JSON, JSON_LINES, RECORDIO = "text/csv", "application/json", "application/jsonlines", recordio.CONTENT_TYPE
TRAINING_TYPES = (RECORDIO, CSV)


@dataclass(frozen=True)
class ContentType:
    """A MIME type with its parameters."""

    name: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> "ContentType":
        name, *rest = (part.strip() for part in text.split(";"))
        pairs = (part.partition("=") for part in rest if part)
        return cls(name.lower(), {key.strip().lower(): value.strip() for key, _eq, value in pairs})

    def label_size(self, default: int) -> int:
        """How many leading columns are labels; UserError when that is no number."""
        given = self.parameters.get("label_size", str(default))
        if not given.isdecimal():
            raise UserError(f"label_size of content type {self.name} must be a number, found {given!r}.")
        return int(given)


def streams(name: str, mode: str, epoch: int = 0) -> Iterator[tuple[str, BinaryIO]]:
    """The data of a channel as named byte streams: each file in the order of names, or the pipe of an epoch."""
    if mode == "Pipe":
        fifo = base.base_dir() / "input" / "data" / f"{name}_{epoch}"
        with fifo.open("rb", buffering=1 << 20) as pipe:
            yield fifo.name, pipe
        return
    directory = base.channel_dir(name)
    for path in sorted(path for path in directory.rglob("*") if path.is_file() and path.stat().st_size):
        with path.open("rb", buffering=1 << 20) as file:
            yield str(path.relative_to(directory)), file


def read_channel(name: str, channel: dict[str, Any], width: int = 0, *, part: bool = False) -> tuple[Any, Any]:
    """Features and labels (rows x label size) of a whole channel; UserError in AWS's words for what cannot be read.

    A `part` of a channel that is divided among several hosts may be empty.
    """
    import numpy as np

    given = channel.get("ContentType") or RECORDIO
    kind = ContentType.parse(given)
    if kind.name not in TRAINING_TYPES:
        raise UserError(
            f"The content type {given!r} of channel {name!r} is not supported; it must be one of "
            f"{', '.join(TRAINING_TYPES)}."
        )
    tables = []
    for file, stream in streams(name, channel.get("TrainingInputMode", "File")):
        try:
            if kind.name == CSV:
                tables.append(_split(read_csv(stream), kind.label_size(1)))
            else:
                tables.append(recordio.matrix(map(recordio.decode, recordio.frames(stream)), width))
        except ValueError as error:
            raise UserError(
                f"Unable to read data channel '{name}'. Requested content-type is '{given}'. Please verify the data "
                f"matches the requested content-type. (caused by {file}: {error})"
            ) from None
    tables = [table for table in tables if len(table[0])]
    if not tables and part:
        return np.empty((0, width)), np.empty((0, 0))
    if not tables:
        raise UserError(f"The data channel '{name}' holds no data.")
    if len(sizes := {table[0].shape[1] for table in tables}) > 1:
        raise UserError(f"The files of data channel '{name}' have different numbers of features: {sorted(sizes)}.")
    features, labels = (np.concatenate([table[side] for table in tables]) for side in (0, 1))
    bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        raise UserError(f"Row {int(bad.argmax()) + 1} of data channel '{name}' holds a missing or infinite feature.")
    return features, labels


def _split(table: Any, labels: int) -> tuple[Any, Any]:
    if len(table) and table.shape[1] <= labels:
        raise ValueError(f"{table.shape[1]} column(s), of which {labels} are labels: no features are left")
    return table[:, labels:], table[:, :labels]


def read_csv(stream: BinaryIO) -> Any:
    """A table of numbers without header; ValueError says what is none."""
    import numpy as np

    lines = io.TextIOWrapper(stream, encoding="utf-8")
    try:
        return np.loadtxt(lines, delimiter=",", ndmin=2, comments=None, quotechar='"')
    finally:
        lines.detach()


def parse_body(body: bytes, content_type: str | None, width: int) -> Any:
    """The features of an inference body; ValueError for a body and UserError for a type that cannot be read."""
    kind = ContentType.parse(content_type or CSV)
    if kind.name == CSV:
        table = read_csv(io.BytesIO(body)) if body.strip() else None
        if table is None:
            raise ValueError("the body is empty")
        return _split(table, kind.label_size(0))[0]
    if kind.name == JSON:
        document = json.loads(body)
        if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
            raise ValueError("the JSON document needs a list called 'instances'")
        return _rows([_json_features(instance) for instance in document["instances"]], width)
    if kind.name == JSON_LINES:
        return _rows([_json_features(json.loads(line)) for line in body.splitlines() if line.strip()], width)
    if kind.name == RECORDIO:
        return recordio.matrix(map(recordio.decode, recordio.frames(io.BytesIO(body))), width)[0]
    raise UserError(f"Content-type {kind.name} is not supported.")


def _json_features(instance: Any) -> recordio.Tensor:
    """`{"features": [...]}` or `{"data": {"features": {"values": [...], "keys": [...], "shape": [...]}}}`."""
    import numpy as np

    element = instance.get("data", instance) if isinstance(instance, dict) else None
    features = element.get("features") if isinstance(element, dict) else None
    if isinstance(features, list):
        features = {"values": features}
    if not isinstance(features, dict) or not isinstance(features.get("values"), list):
        raise ValueError("each instance needs 'features' with a list of values")
    try:
        keys = np.array(features["keys"], dtype=np.int64) if features.get("keys") else None
        values = np.array(features["values"], dtype=np.float64)
        shape = tuple(int(size) for size in features.get("shape", ()))
    except TypeError as error:
        raise ValueError(str(error)) from None
    if values.ndim != 1 or (keys is not None and keys.shape != values.shape):
        raise ValueError("the values of an instance must be one list of numbers, keys another of the same length")
    return recordio.Tensor(values, keys, shape)


def _rows(tensors: list[recordio.Tensor], width: int) -> Any:
    import numpy as np

    rows = [tensor.dense(width) for tensor in tensors]
    if not rows:
        raise ValueError("the body holds no instances")
    if len(sizes := {len(row) for row in rows}) > 1:
        raise ValueError(f"the instances have different numbers of features: {sorted(sizes)}")
    return np.stack(rows)


def respond(fields: dict[str, Any], accept: ContentType, *, whole: str, integers: tuple[str, ...] = ()) -> bytes:
    """Predictions in a response format; `fields` are columns of one value or one vector per record.

    `whole` is the name of the list in a JSON document. Columns in `integers` are written without a decimal point,
    except in RecordIO, which knows float32 only. ValueError for a format that the algorithms do not answer in.
    """
    import numpy as np

    names, columns = list(fields), [np.asarray(column) for column in fields.values()]
    if accept.name == RECORDIO:
        return recordio.write(
            recordio.TensorRecord(
                label={n: recordio.Tensor(np.atleast_1d(c[row])) for n, c in zip(names, columns, strict=True)}
            )
            for row in range(len(columns[0]))
        )
    lists = [
        (column.astype(int) if name in integers else column.astype(np.float32).astype(float)).tolist()
        for name, column in zip(names, columns, strict=True)
    ]
    if accept.name == CSV:
        rows = zip(*lists, strict=True)
        cells = (
            ",".join(repr(v) for cell in row for v in (cell if isinstance(cell, list) else [cell])) for row in rows
        )
        return "".join(f"{line}\n" for line in cells).encode()
    records = [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]
    if accept.name == JSON:
        return json.dumps({whole: records}).encode()
    if accept.name == JSON_LINES:
        return "".join(f"{json.dumps(record)}\n" for record in records).encode()
    raise ValueError(accept.name)


def write_atomically(path: Path, content: bytes) -> None:
    """A file of the model, whole at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(content)
    scratch.replace(path)
