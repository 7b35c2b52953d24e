# SPDX-License-Identifier: Apache-2.0
"""BatchNorm on rows of channels, and joined with the relu behind it in plans."""

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn

SHAPES = [(6, 16), (5, 20), (3, 33), (4, 24, 5, 3), (1, 9, 7, 2), (2, 40, 3, 4, 2), (2100, 16)]


def numbers(rng, *shape, dtype="float32"):
    return nd.array(rng.standard_normal(shape)).astype(dtype)


def reference(x, gamma, beta, dy, eps):
    """y, dx, dgamma, dbeta, mean, variance in float64."""
    axes = tuple(i for i in range(x.ndim) if i != 1)
    along = (1, -1) + (1,) * (x.ndim - 2)
    mean, var = x.mean(axes), x.var(axes)
    inverse = 1 / np.sqrt(var + eps)
    z = (x - mean.reshape(along)) * inverse.reshape(along)
    n = x.size // x.shape[1]
    sums, dots = dy.sum(axes), (dy * z).sum(axes)
    dx = (gamma * inverse).reshape(along) * (dy - (sums.reshape(along) + z * dots.reshape(along)) / n)
    return z * gamma.reshape(along) + beta.reshape(along), dx, dots, sums, mean, var


def channels_last(x):
    """The same numbers as a convolution leaves them."""
    c = x.shape[1]
    if x.ndim == 2:
        return x
    weight = nd.array(np.eye(c).reshape((c, c) + (1,) * (x.ndim - 2))).astype(x.dtype)
    return nd.Convolution(x, weight, kernel=(1,) * (x.ndim - 2), num_filter=c, no_bias=True)


@pytest.mark.parametrize("dtype,tolerance", [("float32", 2e-5), ("float16", 4e-3), ("bfloat16", 3e-2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows(shape, dtype, tolerance):
    rng = np.random.default_rng(0)
    x = channels_last((numbers(rng, *shape) * 2 + 3).astype(dtype))
    gamma, beta, dy = numbers(rng, shape[1]), numbers(rng, shape[1]), numbers(rng, *shape, dtype=dtype)
    mean, var = nd.zeros(shape[1]), nd.ones(shape[1])
    for a in (x, gamma, beta):
        a.attach_grad()
    with autograd.record():
        y = nd.BatchNorm(x, gamma, beta, mean, var, fix_gamma=False, momentum=0.75, eps=1e-3)
    y.backward(dy)
    wide = [a.astype("float32").asnumpy().astype("float64") for a in (x, gamma, beta, dy)]
    expected = reference(*wide, 1e-3)
    got = [y, x.grad, gamma.grad, beta.grad]
    for g, e in zip(got, expected):
        np.testing.assert_allclose(g.astype("float32").asnumpy(), e, rtol=tolerance, atol=tolerance * np.abs(e).max())
    np.testing.assert_allclose(mean.asnumpy(), 0.25 * expected[4], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(var.asnumpy(), 0.75 + 0.25 * expected[5], rtol=1e-4)


def test_variance_of_distant_data():
    """A mean of 10,000 deviations costs no digits."""
    x = np.random.default_rng(0).standard_normal((3000, 16)).astype("float32") + np.float32(1e4)
    mean, var = nd.zeros(16), nd.zeros(16)
    with autograd.train_mode():
        nd.BatchNorm(nd.array(x), nd.ones(16), nd.zeros(16), mean, var, momentum=0.0)
    np.testing.assert_allclose(var.asnumpy(), x.astype("float64").var(0), rtol=1e-4)


class Joined(gluon.HybridBlock):
    """relu(norm(x)), relu(norm(x) + x), relu(norm(x) + norm(x)), and norms that are read twice or by others."""

    def __init__(self, kind, channels, **params):
        super().__init__()
        self.kind = kind
        with self.name_scope():
            self.conv = nn.Conv2D(channels, 1, in_channels=channels)
            self.norm = nn.BatchNorm(in_channels=channels, **params)
            self.other = nn.BatchNorm(in_channels=channels, **params) if kind in ("two norms", "chain") else None

    def hybrid_forward(self, F, x):
        x = self.conv(x)
        if self.kind == "relu":
            return F.relu(self.norm(x)) * 2
        if self.kind == "activation of a sum":
            return F.Activation(self.norm(x) + x, act_type="relu") * x
        if self.kind == "two norms":
            return F.relu(self.norm(x) + self.other(x))
        if self.kind == "chain":
            return F.relu(self.other(F.relu(x + self.norm(x)))) + x
        n = self.norm(x)  # read twice
        return F.relu(n) + n if self.kind == "read twice" else F.sigmoid(n)


def train(kind, hybrid, channels, dtype, req, params):
    rng = np.random.default_rng(1)
    net = Joined(kind, channels, **params)
    net.initialize()
    for _, p in sorted(net.collect_params().items(), key=lambda item: item[0].split("_", 1)[1]):
        p.set_data(nd.array(rng.random(p.shape) + 0.2))
        if p.grad_req != "null":
            p.grad_req = req
    net.cast(dtype)
    if hybrid:
        net.hybridize(static_alloc=True, static_shape=True)
    x, dy = numbers(rng, 3, channels, 4, 5, dtype=dtype), numbers(rng, 3, channels, 4, 5, dtype=dtype)
    x.attach_grad(req)
    outputs = []
    for _ in range(2):
        with autograd.record():
            y = net(x)
        y.backward(dy)
        outputs.append(y)
    everything = outputs + [x.grad]
    for _, p in sorted(net.collect_params().items(), key=lambda item: item[0].split("_", 1)[1]):
        everything.append(p.data())
        if p.grad_req != "null":
            everything.append(p.grad())
    return [a.astype("float32").asnumpy() for a in everything]


@pytest.mark.parametrize("kind", ["relu", "activation of a sum", "two norms", "chain", "read twice", "other"])
@pytest.mark.parametrize(
    "channels,dtype,req,params",
    [
        (16, "float32", "write", {}),
        (20, "float32", "add", dict(scale=False, momentum=0.5)),
        (16, "float32", "write", dict(use_global_stats=True)),
        (4, "float32", "write", {}),  # too few for vectors
        (16, "float16", "write", {}),
        (16, "float64", "write", {}),
    ],
)
def test_joined_equals_single_operators(kind, channels, dtype, req, params):
    single, joined = (train(kind, hybrid, channels, dtype, req, params) for hybrid in (False, True))
    tolerance = 2e-2 if dtype == "float16" else 1e-4
    for a, b in zip(single, joined):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * max(1, np.abs(a).max()))


def test_joined_gradients_of_gradients():
    rng = np.random.default_rng(0)
    net = Joined("activation of a sum", 16)
    net.initialize()
    x = numbers(rng, 2, 16, 3, 3)
    x.attach_grad()
    results = []
    for hybrid in (False, True):
        net.hybridize(hybrid)
        with autograd.record():
            first = autograd.grad(net(x).sum(), x, create_graph=True, retain_graph=True)[0]
            z = (first * first).sum()
        z.backward()
        results.append(x.grad.asnumpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-3, atol=1e-3)


def test_joined_in_an_executor():
    data = mx.sym.Variable("data")
    y = mx.sym.relu(mx.sym.BatchNorm(data, fix_gamma=False, name="bn"))
    exe = y.simple_bind(mx.cpu(), data=(4, 16), grad_req="write")
    x = np.random.default_rng(0).standard_normal((4, 16)).astype("float32")
    for name, value in dict(data=x, bn_gamma=np.ones(16), bn_beta=np.zeros(16)).items():
        exe.arg_dict[name][:] = value
    exe.aux_dict["bn_moving_var"][:] = 1
    out = exe.forward(is_train=True)[0].asnumpy()
    exe.backward(nd.ones((4, 16)))
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)
    np.testing.assert_allclose(out, np.maximum(expected, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(exe.grad_dict["bn_beta"].asnumpy(), (expected > 0).sum(0), rtol=1e-5)
    plain = exe.forward(is_train=False)[0].asnumpy()  # with the moving statistics
    z = (x - 0.1 * x.mean(0)) / np.sqrt(0.9 + 0.1 * x.var(0) + 1e-3)
    np.testing.assert_allclose(plain, np.maximum(z, 0), rtol=1e-4, atol=1e-5)
