# SPDX-License-Identifier: Apache-2.0
"""The dtype rules of mx.nd: no promotion, scalars are converted to the array's dtype first."""
import numpy as np
import pytest

import mxnet as mx
from mxnet import nd

ALL = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool", "bfloat16"]


def test_defaults():
    assert nd.array([1, 2]).dtype is np.float32
    assert nd.array(np.array([1, 2], dtype=np.int64)).dtype is np.float32
    assert nd.array(nd.array([1], dtype="int64")).dtype is np.int64
    assert nd.array([1.0], dtype="float64").dtype is np.float64


@pytest.mark.parametrize("name", ALL)
def test_round_trip(name):
    x = nd.array([0, 1, 1], dtype=name)
    back = x.asnumpy()
    if name == "bfloat16":
        assert back.dtype.names == ("bfloat16",)
        assert x.dtype == np.dtype([("bfloat16", np.uint16)])
    else:
        assert back.dtype == np.dtype(name) and x.dtype is np.dtype(name).type
    np.testing.assert_array_equal(x.astype("float32").asnumpy(), [0, 1, 1])


def test_scalars_are_converted_first():
    i = nd.array([5, 7], dtype="int32")
    np.testing.assert_array_equal((i + 1.5).asnumpy(), [6, 8])
    np.testing.assert_array_equal((i * 0.5).asnumpy(), [0, 0])
    np.testing.assert_array_equal((i / 2).asnumpy(), [2, 3])
    assert (i + 1.5).dtype is np.int32
    assert (nd.array([1], dtype="float16") + 1.5).dtype is np.float16


def test_comparisons_keep_the_dtype():
    for name in ("float32", "int32", "float16"):
        x = nd.array([1, 2, 3], dtype=name)
        got = x > 1
        assert got.dtype is np.dtype(name).type
        np.testing.assert_array_equal(got.asnumpy(), [0, 1, 1])


def test_dtypes_do_not_mix():
    with pytest.raises(mx.MXNetError, match="elemwise_add.*dtype"):
        nd.ones((2,)) + nd.ones((2,), dtype="float64")


def test_float_to_integer_wraps_through_int64():
    x = nd.array([300.7, -1.5, 3.9])
    np.testing.assert_array_equal(x.astype("uint8").asnumpy(), [44, 255, 3])
    nan = nd.array([np.nan, np.inf, -np.inf]).astype("int32").asnumpy()
    assert nan.shape == (3,)  # any value, but no crash


def test_integer_division_by_zero_gives_zero():
    x = nd.array([4, -4], dtype="int32")
    zero = nd.zeros((2,), dtype="int32")
    np.testing.assert_array_equal((x / zero).asnumpy(), [0, 0])
    np.testing.assert_array_equal((x % zero).asnumpy(), [0, 0])
    np.testing.assert_array_equal((x / 0).asnumpy(), [0, 0])


def test_numpy_scalars_are_numbers():
    x = nd.array([1, 2])
    for two in (np.float32(2), np.int64(2), np.float64(2)):
        np.testing.assert_array_equal((x * two).asnumpy(), [2, 4])
        np.testing.assert_array_equal((x - two).asnumpy(), [-1, 0])
        left = two * x
        assert isinstance(left, nd.NDArray)
        np.testing.assert_array_equal(left.asnumpy(), [2, 4])


def test_other_operands_are_refused():
    x = nd.ones((2, 2))
    for other in ("a", np.ones((2, 2)), None):
        with pytest.raises(TypeError):
            x + other
        with pytest.raises(TypeError):
            other + x


def test_truth():
    assert not nd.array([])
    assert nd.array([3]) and not nd.array([0])
    with pytest.raises(ValueError):
        bool(nd.ones((2,)))


def test_python_numbers():
    assert float(nd.array([2.5])) == 2.5 and int(nd.array([2.5])) == 2
    assert [10, 20, 30][nd.array([1], dtype="int32")] == 20
    with pytest.raises(TypeError):
        [10, 20][nd.array([1.0])]
    assert nd.array([7]).asscalar() == 7
    with pytest.raises(ValueError):
        nd.ones((2,)).asscalar()


def test_unknown_dtype():
    with pytest.raises(TypeError, match="float16, float32"):
        nd.zeros((1,), dtype="complex64")


def test_hash_is_identity():
    x, y = nd.ones((2,)), nd.ones((2,))
    assert {x: 1, y: 2}[x] == 1
