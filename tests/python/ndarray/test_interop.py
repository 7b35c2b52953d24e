# SPDX-License-Identifier: Apache-2.0
"""Memory shared with NumPy and other libraries."""
import gc
import weakref

import numpy as np
import pytest

import mxnet as mx
from mxnet import nd


def test_from_numpy_shares_and_freezes_the_source():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = nd.from_numpy(a)
    assert not a.flags.writeable
    x[0, 0] = 9
    assert a[0, 0] == 9
    with pytest.raises(ValueError):
        nd.from_numpy(np.arange(12.0).reshape(3, 4)[:, ::2])
    copy = nd.from_numpy(np.ones(3, np.float64), zero_copy=False)
    assert copy.dtype is np.float64


def test_source_lives_as_long_as_the_array():
    class Owner(np.ndarray):
        pass

    a = np.ones(4, np.float32).view(Owner)
    watch = weakref.ref(a)
    x = nd.from_numpy(a)
    y = x[1:3]
    del a, x
    gc.collect()
    assert watch() is not None and y.asnumpy().sum() == 2
    del y
    nd.waitall()
    nd.ones((1,)).asnumpy()
    gc.collect()
    assert watch() is None


def test_buffer_protocol():
    x = nd.array([[1, 2], [3, 4]])
    view = np.frombuffer(x, dtype=np.float32).reshape(2, 2)
    np.testing.assert_array_equal(view, [[1, 2], [3, 4]])
    m = memoryview(x)
    assert m.shape == (2, 2) and m.format == "f" and m.strides == (8, 4)
    x[0, 0] = 5
    x.wait_to_read()
    assert view[0, 0] == 5
    assert bytes(memoryview(nd.zeros((0,)))) == b""


def test_array_interface():
    x = nd.array([1, 2, 3])
    np.testing.assert_array_equal(np.asarray(x), [1, 2, 3])
    assert np.array(x, dtype=np.float64).dtype == np.float64
    assert np.add(np.asarray(x), 1).tolist() == [2, 3, 4]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8"])
def test_dlpack_with_numpy(dtype):
    x = nd.array([[1, 2], [3, 4]], dtype=dtype)
    a = np.from_dlpack(x)
    np.testing.assert_array_equal(a, x.asnumpy())
    x[0, 0] = 7
    x.wait_to_read()
    assert a[0, 0] == 7
    back = nd.from_dlpack(np.arange(4, dtype=dtype))
    np.testing.assert_array_equal(back.asnumpy(), [0, 1, 2, 3])


def test_dlpack_capsules():
    x = nd.ones((2, 2))
    y = nd.from_dlpack(x.to_dlpack_for_write())
    y[:] = 3
    np.testing.assert_array_equal(x.asnumpy(), np.full((2, 2), 3))
    capsule = x.to_dlpack_for_read()
    nd.from_dlpack(capsule)
    with pytest.raises(ValueError):
        nd.from_dlpack(capsule)
    with pytest.raises(TypeError):
        nd.from_dlpack(5)
    del capsule
    unused = x.to_dlpack_for_read()
    del unused
    gc.collect()


def test_devices():
    a, b = nd.ones((2,), ctx=mx.cpu(0)), nd.ones((2,), ctx=mx.cpu(1))
    assert a.context != b.context and (b + b).context == mx.cpu(1)
    assert (a + b).context == mx.cpu(0)
    with mx.cpu(2):
        assert nd.zeros((1,)).context == mx.cpu(2)
    assert mx.gpu(0).device_type == "gpu"
    with pytest.raises(mx.MXNetError, match="gpu"):
        nd.zeros((1,), ctx=mx.gpu(0))


def test_pickle_and_copy():
    import copy
    import pickle
    x = nd.array([[1, 2]], dtype="float64", ctx=mx.cpu(1))
    for y in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), copy.copy(x)):
        assert y.dtype is np.float64 and y.context == mx.cpu(1)
        np.testing.assert_array_equal(y.asnumpy(), x.asnumpy())


def test_memory_limit():
    nd.waitall()
    mx.storage.empty_cache()  # what other tests left would serve the request
    before = mx.storage.stats()
    mx.storage.set_limit(before["in_use"] + before["cached"] + (64 << 20))
    try:
        with pytest.raises(MemoryError, match="limit"):
            nd.zeros((1 << 28,)).wait_to_read()
        with pytest.raises(mx.MXNetError):
            nd.empty((1 << 40, 1 << 40))
        assert nd.ones((10,)).asnumpy().sum() == 10
    finally:
        mx.storage.set_limit(0)
    assert mx.storage.stats()["limit"] == 0


def test_releasing_memory():
    nd.waitall()
    mx.storage.reset_peak()
    base = mx.storage.stats()["in_use"]
    x = nd.zeros((1 << 20,))
    x.wait_to_read()
    assert mx.storage.stats()["in_use"] - base >= 4 << 20
    del x
    nd.waitall()
    assert mx.storage.stats()["in_use"] - base < 4 << 20
    mx.storage.empty_cache()
