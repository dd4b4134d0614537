"""The model files of the built-in algorithms against bytes that MXNet 1.9.1 itself wrote with `mx.nd.save`."""

from __future__ import annotations

import numpy as np
import pytest
from container_toolkit import mxnet_file

LIST = bytes.fromhex(
    "120100000000000000000000000000000100000000000000c9fa93f9000000000200000002000000000000000300000000000000"
    "010000000000000000000000000000000000803f0000004000004040000080400000a0400000000000000000"
)
NAMED = bytes.fromhex(
    "120100000000000000000000000000000300000000000000c9fa93f90000000002000000010000000000000002000000000000000100000000"
    "000000000000000000803f00000040c9fa93f90000000001000000030000000000000001000000000000000000000000004040000080400000"
    "a040c9fa93f90000000002000000020000000000000003000000000000000100000000000000000000000000803f0000803f0000803f000080"
    "3f0000803f0000803f030000000000000004000000000000006d65616e010000000000000073010000000000000076"
)


def test_the_bytes_are_mxnets() -> None:
    assert mxnet_file.dump([np.arange(6).reshape(2, 3)]) == LIST
    named = {"mean": np.array([[1, 2]]), "s": np.array([3, 4, 5]), "v": np.ones((2, 3))}
    assert mxnet_file.dump(named) == NAMED


def test_they_are_read_back() -> None:
    assert [array.tolist() for array in mxnet_file.load(LIST)] == [[[0, 1, 2], [3, 4, 5]]]
    found = mxnet_file.load(NAMED)
    assert isinstance(found, dict)
    assert {name: array.shape for name, array in found.items()} == {"mean": (1, 2), "s": (3,), "v": (2, 3)}


@pytest.mark.parametrize("data", [b"\0" * 24, LIST[:-30], LIST[:24] + b"\0" * 8 + LIST[32:]])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no MXNet NDArray file|ends within an array|another version"):
        mxnet_file.load(data)
