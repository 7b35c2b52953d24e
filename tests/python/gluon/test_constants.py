# SPDX-License-Identifier: Apache-2.0
"""What compiled graphs compute once from parameters follows every change of them."""
import io
import threading

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


class Folded(gluon.HybridBlock):
    """Arithmetic on parameters before they meet data, in half precision and back, and a view of one."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.scale = self.params.get("scale", shape=(4, 1), init=mx.init.One())
            self.weight = self.params.get("weight", shape=(4, 6), init=mx.init.Uniform(1))

    def hybrid_forward(self, F, x, scale, weight):
        w = F.broadcast_mul(F.cast(F.cast(weight, "float16"), "float32") * 2 + 1, F.exp(scale))
        return F.FullyConnected(x, w, num_hidden=4, no_bias=True) + F.reshape(scale, (1, 4))


def conv_net(channels=8):
    net = nn.HybridSequential()
    with net.name_scope():
        net.add(nn.Conv2D(channels, 3, padding=1, in_channels=3), nn.BatchNorm(in_channels=channels),
                nn.Activation("relu"), nn.Conv2D(4, 1, in_channels=channels, use_bias=False), nn.Flatten(),
                nn.Dense(70, in_units=4 * 36))
    return net


CASES = {"conv": (conv_net, (2, 3, 6, 6)), "arithmetic": (Folded, (5, 6))}


@pytest.fixture(params=sorted(CASES))
def pair(request):
    """A compiled network, the same arrays in another that is not, and data."""
    make, shape = CASES[request.param]
    mx.random.seed(3)
    fast, slow = make(), make()
    fast.initialize(mx.init.Uniform(0.5))
    slow.initialize()
    data = nd.random.uniform(shape=shape)
    fast(data), slow(data)
    share(fast, slow)
    fast.hybridize(static_alloc=True, static_shape=True)
    agree(fast, slow, data)
    return fast, slow, data


def share(fast, slow):
    for own, other in zip(slow.collect_params().values(), fast.collect_params().values()):
        own.set_data(other.data())


def agree(fast, slow, data):
    share(fast, slow)
    expected = slow(data).asnumpy()
    for _ in range(2):
        np.testing.assert_allclose(fast(data).asnumpy(), expected, rtol=2e-5, atol=2e-6 * np.abs(expected).max())


def parameters(net):
    return list(net.collect_params().values())


def test_set_data(pair):
    fast, slow, data = pair
    for param in parameters(fast):
        param.set_data(nd.random.uniform(0.5, 1.5, shape=param.shape))
        agree(fast, slow, data)


def test_writes_in_place(pair):
    fast, slow, data = pair
    for param in parameters(fast):
        array = param.data()
        array[:] = nd.random.uniform(0.5, 1.5, shape=param.shape)
        agree(fast, slow, data)
        array *= 1.5
        agree(fast, slow, data)
        array[0] = 0.25
        agree(fast, slow, data)
        nd.random.uniform(0.5, 1, shape=param.shape, out=array)
        agree(fast, slow, data)


def test_optimizer_steps(pair):
    fast, slow, data = pair
    trainer = gluon.Trainer(fast.collect_params(), "adam", {"learning_rate": 0.05})
    before = fast(data).asnumpy()
    for _ in range(3):
        with autograd.record():
            loss = (fast(data) ** 2).sum()
        loss.backward()
        trainer.step(1)
        agree(fast, slow, data)
    assert not np.allclose(before, fast(data).asnumpy(), rtol=1e-3)


def test_files_and_fresh_arrays(pair, tmp_path):
    fast, slow, data = pair
    fast.save_parameters(str(tmp_path / "a"))
    expected = fast(data).asnumpy()
    fast.initialize(mx.init.Uniform(0.1), force_reinit=True)
    agree(fast, slow, data)
    fast.load_parameters(str(tmp_path / "a"))
    np.testing.assert_array_equal(fast(data).asnumpy(), expected)
    for param in parameters(fast):
        param.reset_ctx(mx.cpu(1))
    data1 = data.as_in_context(mx.cpu(1))
    np.testing.assert_array_equal(fast(data1).asnumpy(), expected)


def test_cast():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, in_channels=3), nn.Dense(80, in_units=64))
    net.initialize(mx.init.Uniform(0.5))
    net.hybridize()
    data = nd.random.uniform(shape=(2, 3, 6, 6))
    single = net(data).asnumpy()
    for dtype, tolerance in (("float16", 2e-2), ("float64", 1e-2), ("float32", 1e-2)):
        net.cast(dtype)
        out = net(data.astype(dtype))
        assert out.dtype == np.dtype(dtype)
        np.testing.assert_allclose(out.asnumpy().astype("float32"), single, rtol=tolerance, atol=tolerance)


def test_writes_through_exports(pair):
    fast, slow, data = pair
    for param in parameters(fast):
        for value in (0.5, 0.75):
            io.BytesIO(np.full(param.shape, value, "float32").tobytes()).readinto(param.data())
            agree(fast, slow, data)


def test_writes_through_dlpack(pair):
    fast, slow, data = pair
    for param in parameters(fast):
        alias = mx.nd.from_dlpack(mx.nd.to_dlpack_for_write(param.data()))
        for value in (0.5, 0.75):
            alias[:] = value
            agree(fast, slow, data)
        del alias
        agree(fast, slow, data)


def test_foreign_memory():
    op = mx._core._ext.CachedOp(
        mx.sym.FullyConnected(mx.sym.var("x"), mx.sym.var("w") * 2, num_hidden=64, no_bias=True),
        {"param_indices": [1]})
    raw = np.random.RandomState(0).rand(64, 64).astype("float32")
    weight, x = nd.from_numpy(raw, zero_copy=True), nd.ones((3, 64))
    raw.setflags(write=True)
    for value in (1.0, 3.0, 2.0):
        raw[:] = value
        assert np.array_equal(op(x, weight).asnumpy(), np.full((3, 64), 128 * value, "float32"))


def test_statistics_between_calls(pair):
    fast, slow, data = pair
    for _ in range(3):
        with autograd.record():
            fast(data + 1)
        agree(fast, slow, data)
        with autograd.train_mode():
            fast(data * 3)
        agree(fast, slow, data)


def test_calls_leave_parameters_alone(pair):
    fast, _, data = pair
    fast(data)
    versions = [param.data()._version for param in parameters(fast)]
    fast(data)
    assert versions == [param.data()._version for param in parameters(fast)]


def test_other_arrays_at_each_call():
    op = mx._core._ext.CachedOp(mx.sym.dot(mx.sym.var("x"), mx.sym.exp(mx.sym.var("w"))), {"param_indices": [1]})
    x = nd.ones((2, 3))
    for value in (0, 1, 0, 1):
        assert np.allclose(op(x, nd.full((3, 3), value)).asnumpy(), 3 * np.exp(value))


def test_error_of_a_parameter_is_not_kept():
    op = mx._core._ext.CachedOp(mx.sym.dot(mx.sym.var("x"), mx.sym.exp(mx.sym.var("w"))), {"param_indices": [1]})
    x, weight = nd.ones((2, 3)), nd.ones((3, 3))
    for _ in range(2):
        bad = nd.gather_nd(nd.ones((3, 3)), nd.array([[7, 7, 7]]))
        with pytest.raises(IndexError):
            op(x, bad).asnumpy()
    assert np.allclose(op(x, weight).asnumpy(), 3 * np.e, rtol=1e-5)
    weight[:] = 0
    assert np.allclose(op(x, weight).asnumpy(), 3)


def test_threads():
    """Two threads with other weights each, and one that changes its own between calls."""
    op = mx._core._ext.CachedOp(
        mx.sym.FullyConnected(mx.sym.var("x"), mx.sym.exp(mx.sym.var("w")), num_hidden=128, no_bias=True),
        {"param_indices": [1]})
    x = nd.ones((4, 128))
    failures = []

    def work(seed):
        weight = nd.zeros((128, 128))
        for step in range(60):
            value = (seed + step % 2) * 0.1
            if step % 3 == 0 or step % 2:
                weight[:] = value
            got = op(x, weight).asnumpy()
            expected = 128 * np.exp(weight.asnumpy()[0, 0])
            if not np.allclose(got, expected, rtol=1e-4):
                failures.append((seed, step, got[0, 0], expected))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_bad_indices():
    with pytest.raises(ValueError, match="param_indices"):
        mx._core._ext.CachedOp(mx.sym.exp(mx.sym.var("x")), {"param_indices": [4]})
