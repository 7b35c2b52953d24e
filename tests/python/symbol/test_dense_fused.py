# SPDX-License-Identifier: Apache-2.0
"""Plans join FullyConnected with the activation and the sum that follow it: the result is that of single operators."""

import numpy as np
import pytest

from mxnet import autograd, gluon, nd


def dense(F, x, w, b, **more):
    return F.FullyConnected(x, w, b, num_hidden=70, **more)


NETS = {
    "relu": lambda F, x, w, b, r: F.Activation(dense(F, x, w, b), act_type="relu"),
    "gelu": lambda F, x, w, b, r: F.LeakyReLU(dense(F, x, w, b), act_type="gelu"),
    "tanh, sum": lambda F, x, w, b, r: r + F.tanh(dense(F, x, w, b)),
    "sum": lambda F, x, w, b, r: dense(F, x, w, b) + r,
    "sum with itself": lambda F, x, w, b, r: (lambda y: y + y)(dense(F, x, w, b)),
    "two products": lambda F, x, w, b, r: F.sigmoid(dense(F, x, w, b)) + F.relu(dense(F, x, w * 2, b)),
    "read twice": lambda F, x, w, b, r: F.relu(dense(F, x, w, b)) * (dense(F, x, w, b) + r),
    "broadcast sum": lambda F, x, w, b, r: F.broadcast_add(dense(F, x, w, b), F.slice_axis(r, axis=0, begin=0, end=1)),
    "leaky is another": lambda F, x, w, b, r: F.LeakyReLU(dense(F, x, w, b), slope=0.1) + r,
    "no bias": lambda F, x, w, b, r: F.relu(F.FullyConnected(x, w, num_hidden=70, no_bias=True)) + r,
    "last axis": lambda F, x, w, b, r: F.reshape(
        F.relu(dense(F, F.reshape(x, (2, -1, 90)), w, b, flatten=False)) + F.reshape(r, (2, -1, 70)), (-3, 0)
    ),
}


class Net(gluon.HybridBlock):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def hybrid_forward(self, F, *inputs):
        return self.function(F, *inputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [4, 130])
@pytest.mark.parametrize("name", NETS)
def test_agrees_with_single_operators(name, rows, dtype):
    rng = np.random.RandomState(1)
    arrays = [nd.array(rng.uniform(-1, 1, s), dtype=dtype) for s in [(rows, 90), (70, 90), (70,), (rows, 70)]]
    eager, hybrid = Net(NETS[name]), Net(NETS[name])
    hybrid.hybridize(static_alloc=True, static_shape=True)
    wanted = eager(*arrays).asnumpy()
    np.testing.assert_allclose(hybrid(*arrays).asnumpy(), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(hybrid(*arrays).asnumpy(), wanted, rtol=1e-5, atol=1e-5)
    for a in arrays:
        a.attach_grad()
    with autograd.record():
        out = hybrid(*arrays)
    out.backward()
    np.testing.assert_allclose(out.asnumpy(), wanted, rtol=1e-5, atol=1e-5)


def test_nan_passes():
    x = nd.array(np.full((130, 90), np.nan, "f"))
    w, b, r = nd.ones((70, 90)), nd.ones((70,)), nd.ones((130, 70))
    net = Net(NETS["relu"])
    net.hybridize()
    assert np.isnan(net(x, w, b, r).asnumpy()).all()
