"""The file format of MXNet's NDArray lists, in which AWS's algorithms leave their models (`mx.ndarray.load` reads it).

Dense float32 arrays on the CPU, with or without names; written after NDArray::Save of apache/mxnet 1.9.
"""

import struct
from typing import Any

_LIST = 0x112
_ARRAY = 0xF993FAC9
_DENSE, _CPU, _FLOAT32 = 0, 1, 0


def dump(arrays: dict[str, Any] | list[Any]) -> bytes:
    """The bytes of a list of arrays or of named arrays."""
    named = isinstance(arrays, dict)
    values = list(arrays.values()) if isinstance(arrays, dict) else arrays
    out = struct.pack("<QQQ", _LIST, 0, len(values)) + b"".join(map(_array, values))
    names = [name.encode() for name in arrays] if named else []
    return out + struct.pack("<Q", len(names)) + b"".join(struct.pack("<Q", len(n)) + n for n in names)


def _array(value: Any) -> bytes:
    import numpy as np

    data = np.ascontiguousarray(value, dtype="<f4")
    head = struct.pack("<Ii", _ARRAY, _DENSE) + struct.pack(f"<i{data.ndim}q", data.ndim, *data.shape)
    return head + struct.pack("<iii", _CPU, 0, _FLOAT32) + data.tobytes()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        self._at += size
        if self._at > len(self._data):
            raise ValueError("the file ends within an array")
        return self._data[self._at - size : self._at]

    def numbers(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))


def load(data: bytes) -> dict[str, Any] | list[Any]:
    """What `dump` wrote; ValueError for other bytes, and for arrays that are not dense float32."""
    reader = _Reader(data)
    magic, _reserved, count = reader.numbers("<QQQ")
    if magic != _LIST:
        raise ValueError("no MXNet NDArray file")
    values = [_read(reader) for _ in range(count)]
    (count,) = reader.numbers("<Q")
    names = [reader.take(*reader.numbers("<Q")).decode("utf-8") for _ in range(count)]
    return dict(zip(names, values, strict=True)) if names else values


def _read(reader: _Reader) -> Any:
    import numpy as np

    magic, kind = reader.numbers("<Ii")
    if (magic, kind) != (_ARRAY, _DENSE):
        raise ValueError("an array is of another version of MXNet or sparse")
    (dimensions,) = reader.numbers("<i")
    shape = reader.numbers(f"<{dimensions}q")
    _device, _number, dtype = reader.numbers("<iii")
    if dtype != _FLOAT32:
        raise ValueError("an array is not float32")
    return np.frombuffer(reader.take(4 * int(np.prod(shape))), "<f4").reshape(shape)
