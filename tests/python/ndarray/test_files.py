# SPDX-License-Identifier: Apache-2.0
import struct

import numpy as np
import pytest

import mxnet as mx
from mxnet import nd

# Written by MXNet 1.9.1: nd.save(f, {'x': array([[1, 2], [3, 4]]), 'y': array([5], dtype='int64')}).
BY_1_9_1 = bytes.fromhex(
    "12010000000000000000000000000000" "0200000000000000" "c9fa93f9000000000200000002000000000000000200000000000000"
    "010000000000000000000000" "0000803f000000400000404000008040" "c9fa93f90000000001000000010000000000000001000000"
    "0000000006000000" "0500000000000000" "0200000000000000" "010000000000000078" "010000000000000079")


def legacy_file(version):
    """One float32 array [[1, 2, 3]] as old releases wrote it: v0 before storage types and 64-bit shapes, then v1."""
    head = struct.pack("<QQQ", 0x112, 0, 1)
    if version == 0:
        shape = struct.pack("<III", 2, 1, 3)
    else:
        shape = struct.pack("<IIqq", 0xF993FAC8, 2, 1, 3)
    body = shape + struct.pack("<iii", 1, 0, 0) + np.array([1, 2, 3], "<f4").tobytes()
    return head + body + struct.pack("<QQ", 1, 1) + b"w"


def test_reads_what_1_9_1_wrote(tmp_path):
    path = tmp_path / "a.params"
    path.write_bytes(BY_1_9_1)
    loaded = nd.load(str(path))
    np.testing.assert_array_equal(loaded["x"].asnumpy(), [[1, 2], [3, 4]])
    assert loaded["y"].dtype is np.int64 and int(loaded["y"].asscalar()) == 5


def test_writes_the_same_bytes():
    from mxnet._core import _ext
    got = _ext.save([nd.array([[1, 2], [3, 4]]), nd.array([5], dtype="int64")], ["x", "y"])
    assert got == BY_1_9_1


@pytest.mark.parametrize("version", [0, 1])
def test_reads_older_forms(version):
    loaded = nd.load_frombuffer(legacy_file(version))
    np.testing.assert_array_equal(loaded["w"].asnumpy(), [[1, 2, 3]])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool",
                                   "bfloat16"])
def test_round_trip(tmp_path, dtype):
    path = str(tmp_path / "f")
    x = nd.array(np.random.RandomState(0).randint(0, 2, (3, 4)), dtype=dtype)
    nd.save(path, [x])
    back, = nd.load(path)
    assert nd.NDArray is type(back) and back.shape == (3, 4)
    np.testing.assert_array_equal(back.astype("float32").asnumpy(), x.astype("float32").asnumpy())


def test_containers(tmp_path):
    path = str(tmp_path / "f")
    nd.save(path, nd.ones((2,)))
    assert isinstance(nd.load(path), list)
    nd.save(path, {})
    assert nd.load(path) == []
    nd.save(path, [nd.zeros((0, 3)), nd.array(5)])
    empty, scalar = nd.load(path)
    assert empty.shape == (0, 3) and scalar.shape == ()
    for bad in (5, [1], {1: nd.ones((1,))}):
        with pytest.raises(TypeError):
            nd.save(path, bad)


def test_views_are_saved_as_they_look(tmp_path):
    path = str(tmp_path / "f")
    x = nd.array(np.arange(12).reshape(3, 4))
    nd.save(path, [x[1], x[:, 1]])
    row, column = nd.load(path)
    np.testing.assert_array_equal(row.asnumpy(), [4, 5, 6, 7])
    np.testing.assert_array_equal(column.asnumpy(), [1, 5, 9])


def test_damaged_files_raise():
    for cut in range(len(BY_1_9_1)):
        with pytest.raises(ValueError):
            nd.load_frombuffer(BY_1_9_1[:cut])
    random = np.random.RandomState(7)
    for _ in range(3000):
        data = bytearray(BY_1_9_1)
        for _ in range(random.randint(1, 6)):
            data[random.randint(len(data))] = random.randint(256)
        try:
            nd.load_frombuffer(bytes(data))
        except mx.MXNetError:
            pass
        except UnicodeDecodeError:
            pass


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(OSError):
        nd.load(str(tmp_path / "none"))
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError):
        nd.load(str(tmp_path / "empty"))
