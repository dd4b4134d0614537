"""RecordIO-protobuf against Google's protobuf runtime with AWS's published message, and MXNet's framing rules."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from container_toolkit import recordio
from container_toolkit.base import UserError
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

MAGIC = struct.pack("<I", 0xCED7230A)


def _message(file: Any, name: str, fields: list[tuple[str, int, str, str]]) -> None:
    """A message of repeated packed numbers or single messages: name, number, type, label."""
    message = file.message_type.add(name=name)
    for field, number, kind, label in fields:
        entry = message.field.add(name=field, number=number, label=f"LABEL_{label}")
        if kind.startswith("."):
            entry.type, entry.type_name = "TYPE_MESSAGE", kind
        else:
            entry.type = f"TYPE_{kind}"
            entry.options.packed = label == "REPEATED" and kind != "BYTES"
        if not entry.options.ByteSize():
            entry.ClearField("options")


@pytest.fixture(scope="session")
def record_class() -> Any:
    """The class of aialgs.data.Record, as "Common Data Formats for Training" declares it."""
    file = descriptor_pb2.FileDescriptorProto(name="record.proto", package="aialgs.data", syntax="proto2")
    for name, kind in (("Float32Tensor", "FLOAT"), ("Float64Tensor", "DOUBLE"), ("Int32Tensor", "INT32")):
        _message(
            file,
            name,
            [
                ("values", 1, kind, "REPEATED"),
                ("keys", 2, "UINT64", "REPEATED"),
                ("shape", 3, "UINT64", "REPEATED"),
            ],
        )
    tensors = [("float32_tensor", 2, "Float32"), ("float64_tensor", 3, "Float64"), ("int32_tensor", 7, "Int32")]
    _message(file, "Value", [(n, number, f".aialgs.data.{kind}Tensor", "OPTIONAL") for n, number, kind in tensors])
    record = file.message_type.add(name="Record")
    for name, number in (("features", 1), ("label", 2)):
        entry = record.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
        entry.field.add(
            name="value", number=2, type="TYPE_MESSAGE", label="LABEL_OPTIONAL", type_name=".aialgs.data.Value"
        )
        kind = f".aialgs.data.Record.{name.title()}Entry"
        record.field.add(name=name, number=number, type="TYPE_MESSAGE", label="LABEL_REPEATED", type_name=kind)
    record.field.add(name="uid", number=3, type="TYPE_STRING", label="LABEL_OPTIONAL")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aialgs.data.Record"))


@pytest.mark.parametrize("tensor", ["float32_tensor", "float64_tensor", "int32_tensor"])
def test_records_of_the_runtime_are_read(record_class: Any, tensor: str) -> None:
    record = record_class(uid="a")
    getattr(record.features["values"], tensor).values.extend([1, -3, 7])
    record.label["values"].float32_tensor.values.extend([4])
    found = recordio.decode(record.SerializeToString())
    assert found.features["values"].dense().tolist() == [1, -3, 7]
    assert found.label["values"].dense().tolist() == [4]


def test_sparse_records_are_read(record_class: Any) -> None:
    record = record_class()
    tensor = record.features["values"].float32_tensor
    tensor.values.extend([2.5, 1.0])
    tensor.keys.extend([300, 0])
    tensor.shape.extend([1000])
    vector = recordio.decode(record.SerializeToString()).features["values"].dense()
    assert (vector.shape, vector[300], vector[0], vector.sum()) == ((1000,), 2.5, 1.0, 3.5)


@given(values=st.lists(st.floats(width=32, allow_nan=False), max_size=40), name=st.text(max_size=8))
def test_written_records_are_read_by_the_runtime(record_class: Any, values: list[float], name: str) -> None:
    written = recordio.encode(recordio.TensorRecord(label={name: recordio.Tensor(np.array(values))}))
    record = record_class.FromString(written)
    assert list(record.label[name].float32_tensor.values) == values
    assert recordio.decode(written).label[name].dense().tolist() == values


@given(bodies=st.lists(st.lists(st.sampled_from([MAGIC, b"\0", b"ab", b"abcd"]), max_size=8).map(b"".join), max_size=6))
def test_frames_survive(bodies: list[bytes]) -> None:
    data = b"".join(map(recordio.frame, bodies))
    assert len(data) % 4 == 0
    assert list(recordio.frames(io.BytesIO(data))) == bodies


def test_the_framing_is_mxnets() -> None:
    assert recordio.frame(b"abcde") == MAGIC + struct.pack("<I", 5) + b"abcde\0\0\0"
    cut = recordio.frame(b"abcd" + MAGIC + b"ef")
    assert cut == MAGIC + struct.pack("<I", 1 << 29 | 4) + b"abcd" + MAGIC + struct.pack("<I", 3 << 29 | 2) + b"ef\0\0"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1,2,3\n4,5,6\n", "no RecordIO: magic number"),
        (recordio.frame(b"abcdefgh")[:-3], "ends within a record"),
        (recordio.frame(b"\x0a\x09abc"), "ends within a field"),
    ],
)
def test_other_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        list(map(recordio.decode, recordio.frames(io.BytesIO(data))))


def test_records_of_different_widths_are_refused() -> None:
    records = [recordio.TensorRecord(features={"values": recordio.Tensor(np.ones(n))}) for n in (2, 3)]
    with pytest.raises(UserError, match=r"values of different sizes: \[2, 3\]"):
        recordio.matrix(records)
    with pytest.raises(UserError, match="Record 1 has no feature called 'values', it has \\['x'\\]"):
        recordio.matrix([recordio.TensorRecord(features={"x": recordio.Tensor(np.ones(1))})])
