"""RecordIO-protobuf, the format that SageMaker's built-in algorithms share: framing and the `Record` message.

Framing (MXNet's RecordIO): the magic number, a word with a flag in its upper 3 bits and the length in the lower 29,
the bytes, padding to 4. Message: record.proto in "Common Data Formats for Training" of the developer guide. Written
here because no package of AWS's images or of ours holds it; the message has few fields, its numbers are packed.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from container_toolkit.base import UserError

CONTENT_TYPE = "application/x-recordio-protobuf"

_MAGIC = 0xCED7230A
_HEADER = struct.Struct("<II")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DTYPES = {2: "<f4", 3: "<f8", 7: "<i4"}
"""Fields of the message Value: float32_tensor, float64_tensor, int32_tensor."""


@dataclass(frozen=True)
class Tensor:
    """Values; `keys` are the positions of the values of a sparse vector whose size is in `shape`."""

    values: Any
    keys: Any = None
    shape: tuple[int, ...] = ()

    def dense(self, width: int = 0) -> Any:
        """A vector of at least `width` numbers."""
        import numpy as np

        if self.keys is None or not len(self.keys):
            return np.asarray(self.values, dtype=np.float64)
        size = max(int(np.prod(self.shape)) if self.shape else 0, width, int(self.keys.max()) + 1)
        vector = np.zeros(size)
        vector[self.keys] = self.values
        return vector


@dataclass(frozen=True)
class TensorRecord:
    """One observation: named feature tensors and label tensors."""

    features: dict[str, Tensor] = field(default_factory=dict)
    label: dict[str, Tensor] = field(default_factory=dict)


def frames(stream: BinaryIO) -> Iterator[bytes]:
    """The records of a RecordIO stream; ValueError where it is none or ends within a record."""
    parts: list[bytes] = []
    while head := _read(stream, _HEADER.size, at_end=True):
        magic, word = _HEADER.unpack(head)
        if magic != _MAGIC:
            raise ValueError(f"no RecordIO: magic number {magic:#x} where {_MAGIC:#x} belongs")
        flag, length = word >> 29, word & ((1 << 29) - 1)
        body = _read(stream, length)
        _read(stream, -length % 4)
        if flag == _WHOLE:
            yield body
            continue
        # A record that holds the magic number itself is cut there, and put together again with it.
        parts = [body] if flag == _FIRST else [*parts, struct.pack("<I", _MAGIC), body]
        if flag == _LAST:
            yield b"".join(parts)


def _read(stream: BinaryIO, size: int, *, at_end: bool = False) -> bytes:
    """Exactly `size` bytes, also from a pipe; nothing at the end of the stream where that is allowed."""
    pieces, missing = [], size
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    if missing and not (at_end and missing == size):
        raise ValueError("RecordIO ends within a record")
    return b"".join(pieces)


def frame(body: bytes) -> bytes:
    """One record in RecordIO framing, cut at every aligned magic number that it holds itself."""
    mark = struct.pack("<I", _MAGIC)
    cuts = []
    at = body.find(mark)
    while at >= 0:
        if at % 4 == 0:
            cuts.append(at)
            at = body.find(mark, at + 4)
        else:
            at = body.find(mark, at + 1)
    if not cuts:
        return _frame(_WHOLE, body)
    pieces = [body[start:end] for start, end in zip([0, *(c + 4 for c in cuts)], [*cuts, len(body)], strict=True)]
    flags = [_FIRST, *([_MIDDLE] * (len(pieces) - 2)), _LAST]
    return b"".join(map(_frame, flags, pieces))


def _frame(flag: int, body: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, flag << 29 | len(body)) + body + b"\0" * (-len(body) % 4)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field of a message; IndexError or struct.error when it is cut."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"no protobuf message: wire type {wire}")
        if at + size > len(data):
            raise ValueError("a protobuf message ends within a field")
        yield number, wire, data[at : at + size]
        at += size


def decode(data: bytes) -> TensorRecord:
    """One Record message; ValueError when it is none."""
    maps: dict[int, dict[str, Tensor]] = {1: {}, 2: {}}
    try:
        for number, wire, value in _fields(data):
            if number in maps and wire == _BYTES:
                entry = {key: part for key, _wire, part in _fields(value)}
                if 2 in entry:
                    maps[number][entry.get(1, b"").decode("utf-8")] = _value(entry[2])
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"no Record message: {error}") from None
    return TensorRecord(maps[1], maps[2])


def _value(data: bytes) -> Tensor:
    for number, _wire, body in _fields(data):
        if number in _DTYPES:
            return _tensor(body, _DTYPES[number])
        if number == 9:
            raise ValueError("a Record holds bytes, numbers are needed")
    import numpy as np

    return Tensor(np.empty(0))


def _tensor(data: bytes, dtype: str) -> Tensor:
    import numpy as np

    values: list[Any] = []
    integers: dict[int, list[int]] = {2: [], 3: []}
    for number, wire, body in _fields(data):
        if number == 1:
            values.append(_numbers(body, wire, dtype))
        elif number in integers:
            integers[number] += _packed(body) if wire == _BYTES else [body]
    joined = values[0] if len(values) == 1 else np.concatenate(values or [np.empty(0, dtype)])
    return Tensor(joined, np.array(integers[2], dtype=np.int64) if integers[2] else None, tuple(integers[3]))


def _numbers(body: Any, wire: int, dtype: str) -> Any:
    import numpy as np

    if dtype != "<i4":
        return np.frombuffer(body, dtype)  # packed or a single fixed value: the same bytes
    found = _packed(body) if wire == _BYTES else [body]
    return np.array(found, dtype=np.uint64).astype(np.uint32).astype(np.int32)  # negative ones have ten bytes


def _packed(body: bytes) -> list[int]:
    found, at = [], 0
    while at < len(body):
        value, at = _varint(body, at)
        found.append(value)
    return found


def _put_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _put(number: int, body: bytes) -> bytes:
    return _put_varint(number << 3 | _BYTES) + _put_varint(len(body)) + body


def encode(record: TensorRecord) -> bytes:
    """A Record message with float32 tensors, as the algorithms answer."""
    import numpy as np

    out = b""
    for number, entries in ((1, record.features), (2, record.label)):
        for name, tensor in entries.items():
            body = _put(1, np.asarray(tensor.values, dtype="<f4").tobytes())
            if tensor.keys is not None:
                body += _put(2, b"".join(_put_varint(int(key)) for key in tensor.keys))
            if tensor.shape:
                body += _put(3, b"".join(map(_put_varint, tensor.shape)))
            out += _put(number, _put(1, name.encode()) + _put(2, _put(2, body)))
    return out


def write(records: Iterable[TensorRecord]) -> bytes:
    """Records as RecordIO-protobuf."""
    return b"".join(frame(encode(record)) for record in records)


def matrix(records: Iterable[TensorRecord], width: int = 0) -> tuple[Any, Any]:
    """Features (rows x columns) and labels (rows x label size, which may be 0) of records.

    Raises UserError for records without the feature `values` or of different widths.
    """
    import numpy as np

    rows, labels = [], []
    for number, record in enumerate(records, 1):
        if "values" not in record.features:
            raise UserError(f"Record {number} has no feature called 'values', it has {sorted(record.features)}.")
        rows.append(record.features["values"].dense(width))
        labels.append(record.label["values"].dense() if "values" in record.label else np.empty(0))
    if not rows:
        return np.empty((0, width)), np.empty((0, 0))
    for name, vectors in (("values", rows), ("labels", labels)):
        if len(sizes := {len(vector) for vector in vectors}) > 1:
            raise UserError(f"The records have {name} of different sizes: {sorted(sizes)}.")
    return np.stack(rows), np.stack(labels)
