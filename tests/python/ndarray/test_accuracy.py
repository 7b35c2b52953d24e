# SPDX-License-Identifier: Apache-2.0
"""Elementwise functions of float32 against float64, in units of the last place."""
import numpy as np
import pytest

from mxnet import gluon, nd


def ulps(got, exact):
    """The largest distance from `exact`, in units of the last place of float32 there."""
    return np.max(np.abs(got.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32)))


@pytest.mark.parametrize("name, low, high", [("tanh", -12, 12), ("exp", -80, 80), ("sigmoid", -80, 80),
                                             ("sin", -50, 50), ("expm1", -20, 80), ("arctan", -50, 50)])
def test_within_four_units(name, low, high):
    x = np.concatenate([np.linspace(low, high, 200_001), np.logspace(-30, 0, 10_001),
                        -np.logspace(-30, 0, 10_001)]).astype(np.float32)
    wide = x.astype(np.float64)
    exact = 1 / (1 + np.exp(-wide)) if name == "sigmoid" else getattr(np, name)(wide)
    assert ulps(getattr(nd, name)(nd.array(x)).asnumpy(), exact) <= 4


def test_softrelu_within_four_units():
    x = np.concatenate([np.linspace(-80, 80, 200_001), np.logspace(-30, 0, 10_001)]).astype(np.float32)
    got = nd.Activation(nd.array(x), act_type="softrelu").asnumpy()
    assert ulps(got, np.logaddexp(0, x.astype(np.float64))) <= 4
    edges = nd.Activation(nd.array([np.nan, np.inf, -np.inf]), act_type="softrelu").asnumpy()
    assert np.isnan(edges[0]) and edges[1:].tolist() == [np.inf, 0]


def test_erfinv():
    special = pytest.importorskip("scipy.special")
    x = np.concatenate([np.linspace(-1, 1, 200_001), 1 - np.logspace(-7, 0, 10_001), -np.logspace(-30, -1, 10_001)])
    x = x[np.abs(x.astype(np.float32)) < 1]
    got, exact = nd.erfinv(nd.array(x)).asnumpy(), special.erfinv(x.astype(np.float32).astype(np.float64))
    assert ulps(got, exact) <= 4
    np.testing.assert_allclose(nd.erfinv(nd.array(x, dtype="float64")).asnumpy(), special.erfinv(x), rtol=1e-14)
    edges = nd.erfinv(nd.array([1, -1, 1.5, -2, np.nan, 0, -0.0])).asnumpy()
    assert edges[:2].tolist() == [np.inf, -np.inf] and np.isnan(edges[2:5]).all()
    assert edges[5:].tolist() == [0, 0] and np.signbit(edges[6])


def test_edges():
    x = nd.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 30.0])
    tanh = nd.tanh(x).asnumpy()
    assert np.isnan(tanh[0]) and tanh[1:5].tolist() == [1, -1, 0, 0] and tanh[6] == 1
    assert np.signbit(tanh[4]) and tanh[5] > 0
    relu = nd.relu(x).asnumpy()
    assert np.isnan(relu[0]) and relu[1:5].tolist() == [np.inf, 0, 0, 0] and not np.signbit(relu[4])


class Mixed(gluon.HybridBlock):
    """Links of chains with a rounding behind each, around a function that is none."""

    def hybrid_forward(self, F, a, b, c):
        z = F.relu(F.tanh(a * b + c) * c - b)
        return F.broadcast_maximum(F.square(z) / (F.abs(a) + 1), -c) * 3


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("size", [5, 1003, 40_000])
def test_compiled_equals_eager(dtype, size):
    rng = np.random.RandomState(0)
    arrays = [rng.standard_normal(size) * scale for scale in (1, 100, 1e4)]
    for array, value in zip(arrays, (np.nan, np.inf, -np.inf)):
        array[:: 5] = value
    arrays = [nd.array(array).astype(dtype) for array in arrays]
    net = Mixed()
    eager = net(*arrays).astype("float32").asnumpy()
    net.hybridize()
    np.testing.assert_array_equal(net(*arrays).astype("float32").asnumpy(), eager)
