# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxnet import nd


def one_or_more(a):
    """mx.nd gives one element as an array of shape (1,)."""
    return a.reshape(1) if a.ndim == 0 else a


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_basic_indexing_as_numpy(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    source = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    expected = source[key]
    got = nd.array(source)[key].asnumpy()
    np.testing.assert_array_equal(got, one_or_more(expected))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_basic_assignment_as_numpy(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    source = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    x = nd.array(source)
    part = source[key]
    value = data.draw(st.sampled_from(["number", "array", "numpy", "row"]))
    if value == "number":
        source[key] = 5
        x[key] = 5
    elif value == "row" and part.ndim and part.size:
        row = np.full(part.shape[-1:], 3, np.float32)
        source[key] = row
        x[key] = nd.array(row)
    else:
        new = np.asarray(part) * 2 + 1
        source[key] = new
        x[key] = nd.array(new) if value == "array" and new.ndim else new
    np.testing.assert_array_equal(x.asnumpy(), source)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_integer_array_indexing_as_numpy(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    key = data.draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(min_dims=1, max_dims=2, max_side=4)))
    source = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    x = nd.array(source)
    np.testing.assert_array_equal(x[key].asnumpy(), source[key])
    as_nd = tuple(nd.array(k, dtype="int32") for k in key)
    np.testing.assert_array_equal(x[as_nd].asnumpy(), source[key])
    x[key] = -1
    source[key] = -1
    np.testing.assert_array_equal(x.asnumpy(), source)


def test_mixed_keys():
    source = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    x = nd.array(source)
    for key in [([0, 2],), (slice(None), [1, 3]), ([0, 1], slice(1, 3)), (Ellipsis, [4, 0]), ([0, 2], [1, 3], 2),
                (1, [0, 3]), ([[0], [2]], [1, 3]), (slice(None, None, -1), 0)]:
        np.testing.assert_array_equal(x[key].asnumpy(), source[key], err_msg=str(key))


def test_boolean_mask():
    source = np.arange(12, dtype=np.float32).reshape(3, 4)
    x = nd.array(source)
    mask = source > 5
    np.testing.assert_array_equal(x[nd.array(mask, dtype="bool")].asnumpy(), source[mask])
    np.testing.assert_array_equal(x[np.array([True, False, True])].asnumpy(), source[[0, 2]])
    x[nd.array(mask, dtype="bool")] = 0
    assert x.asnumpy().max() == 5


def test_float_indices_truncate():
    x = nd.array(np.arange(5))
    np.testing.assert_array_equal(x[nd.array([1.7, 3.2])].asnumpy(), [1, 3])


@pytest.mark.parametrize("key", [3, -4, (0, 9), (0, 0, 0), nd.array([0, 3]), [-5]])
def test_out_of_range(key):
    x = nd.zeros((3, 4))
    with pytest.raises(IndexError):
        x[key].asnumpy()
    with pytest.raises(IndexError):
        x[key] = 1


def test_assignment_of_wrong_shape():
    x = nd.zeros((2, 3))
    with pytest.raises(ValueError):
        x[:] = nd.ones((5, 5))
    with pytest.raises(TypeError):
        x[:] = "text"


def test_slices_beyond_the_end_are_empty():
    x = nd.arange(3)
    assert x[5:9].shape == (0,)
    assert x[2:1].asnumpy().size == 0


def test_int64_values_survive_assignment():
    x = nd.zeros((2,), dtype="int64")
    x[0] = 2**62 + 1
    assert int(x[0].asscalar()) == 2**62 + 1


@pytest.mark.parametrize("key", [(True,), (False,), (slice(None), True), (..., 0, True), (True, [0, 1]),
                                 (slice(4, 1), [True, False, True, True, False], ..., [-1]), ([0, 1], ..., [0, 2]),
                                 ([0, 1], ..., [1, 0], [2, 0])])
def test_masks_of_no_axes_and_ellipses_of_no_axes(key):
    base = np.arange(60, dtype="float32").reshape(4, 5, 3)
    array = nd.array(base)
    np.testing.assert_array_equal(array[key].asnumpy(), base[key])
    array[key] = -1
    base[key] = -1
    np.testing.assert_array_equal(array.asnumpy(), base)


def test_index_arrays_into_a_large_array():
    base = np.arange(40 * 50 * 30, dtype="float32").reshape(40, 50, 30)
    array = nd.array(base)
    rows, columns = np.array([[3], [-1]]), np.array([0, 7, 49])
    for key in ((rows, columns), (slice(None, None, 7), columns), (rows, slice(2, 9), columns[:1]), (0, columns),
                (base[..., 0] > 30000,), (columns[:2], ..., None, columns[1:] % 30)):
        np.testing.assert_array_equal(array[key].asnumpy(), base[key])


def test_transpose_by_name():
    array = nd.arange(24).reshape((2, 3, 4))
    assert array.transpose(axes=(2, 0, 1)).shape == (4, 2, 3)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(600, 300), (3, 5, 7), (4, 1)])
def test_take_along_each_axis(shape, dtype):
    rng = np.random.default_rng(3)
    array = rng.integers(0, 100, shape).astype(dtype)
    for axis, extent in enumerate(shape):
        index = rng.integers(-2, extent + 2, 133)
        taken = nd.take(nd.array(array, dtype=dtype), nd.array(index), axis=axis).asnumpy()
        np.testing.assert_array_equal(taken, np.take(array, np.clip(index, 0, extent - 1), axis=axis))
