# SPDX-License-Identifier: Apache-2.0
"""Compiled graphs that record nothing fold and fuse layers: the same results, from fewer kernels."""
import os
import subprocess
import sys

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


class Apply(gluon.HybridBlock):
    """A function of F and some blocks."""

    def __init__(self, function, *blocks):
        super().__init__()
        self.function = function
        self.blocks = blocks
        for i, block in enumerate(blocks):
            setattr(self, f"b{i}", block)

    def hybrid_forward(self, F, x):
        return self.function(F, x, *self.blocks)


def conv(channels=8, kernel=3, **options):
    options.setdefault("padding", kernel // 2)
    return nn.Conv2D(channels, kernel, **options)


def check(net, shape, tolerance=2e-5, dtype="float32"):
    """Compares the compiled network, whose statistics are no longer zero and one, with single operators."""
    mx.random.seed(1)
    data = nd.random.uniform(-1, 1, shape=shape).astype(dtype)
    net.initialize(mx.init.Uniform(0.3))
    net.cast(dtype)
    for _ in range(2):
        with autograd.record():
            net(data * 2 + 1)
    for name, param in net.collect_params().items():
        if name.endswith(("gamma", "beta")):
            param.set_data(nd.random.uniform(0.5, 1.5, shape=param.shape))
    expected = net(data).asnumpy().astype("float32")
    net.hybridize(static_alloc=True, static_shape=True)
    for _ in range(2):
        np.testing.assert_allclose(net(data).asnumpy().astype("float32"), expected, rtol=tolerance, atol=tolerance)
    return net, data


def sequence(*blocks):
    net = nn.HybridSequential()
    net.add(*blocks)
    return net


NORMS = {
    "plain": (lambda: sequence(conv(use_bias=False), nn.BatchNorm()), (2, 3, 9, 9)),
    "bias": (lambda: sequence(conv(), nn.BatchNorm()), (2, 3, 9, 9)),
    "fixed gamma": (lambda: sequence(conv(), nn.BatchNorm(scale=False, center=False)), (2, 3, 9, 9)),
    "global": (lambda: sequence(conv(), nn.BatchNorm(use_global_stats=True, epsilon=0.1)), (2, 3, 9, 9)),
    "groups": (lambda: sequence(conv(groups=4), nn.BatchNorm()), (2, 4, 9, 9)),
    "depthwise": (lambda: sequence(conv(groups=8, use_bias=False), nn.BatchNorm()), (2, 8, 9, 9)),
    "1d": (lambda: sequence(nn.Conv1D(8, 3), nn.BatchNorm()), (2, 3, 9)),
    "3d": (lambda: sequence(nn.Conv3D(8, 3), nn.BatchNorm()), (1, 3, 5, 6, 7)),
    "deconvolution": (lambda: sequence(nn.Conv2DTranspose(8, 3, strides=2), nn.BatchNorm()), (2, 3, 5, 5)),
    "deconvolution groups": (lambda: sequence(nn.Conv2DTranspose(8, 3, groups=2), nn.BatchNorm()), (2, 4, 5, 5)),
    "dense": (lambda: sequence(nn.Dense(70), nn.BatchNorm()), (5, 40)),
    "dense last": (lambda: sequence(nn.Dense(70, flatten=False, use_bias=False), nn.BatchNorm(axis=2)), (5, 3, 40)),
    "dense other axis": (lambda: sequence(nn.Dense(70, flatten=False), nn.BatchNorm(axis=1)), (5, 3, 40)),
    "other axis": (lambda: sequence(conv(), nn.BatchNorm(axis=-1)), (2, 3, 9, 9)),
    "first": (lambda: sequence(nn.BatchNorm(), nn.Activation("relu"), conv()), (2, 3, 9, 9)),
    "twice": (lambda: sequence(conv(), nn.BatchNorm(), nn.BatchNorm(), nn.Activation("relu")), (2, 3, 9, 9)),
    "shared": (lambda: Apply(lambda F, x, c, n: n(c(x)) + c(x), conv(), nn.BatchNorm()), (2, 3, 9, 9)),
    "two readers": (lambda: Apply(lambda F, x, c, n: (lambda y: n(y) * y)(c(x)), conv(), nn.BatchNorm()), (2, 3, 9, 9)),
}


@pytest.mark.parametrize("case", NORMS)
def test_batch_norm(case):
    make, shape = NORMS[case]
    check(make(), shape)


ACTIVATIONS = {
    "relu": lambda F, x: F.relu(x),
    "Activation": lambda F, x: F.Activation(x, act_type="relu"),
    "relu6": lambda F, x: F.clip(x, 0, 6),
    "clip": lambda F, x: F.clip(x, -0.25, 0.5),
    "sigmoid": lambda F, x: F.sigmoid(x),
    "tanh": lambda F, x: F.Activation(x, act_type="tanh"),
    "softrelu": lambda F, x: F.Activation(x, act_type="softrelu"),
    "softsign": lambda F, x: F.Activation(x, act_type="softsign"),
    "mish": lambda F, x: F.Activation(x, act_type="mish"),
    "leaky": lambda F, x: F.LeakyReLU(x, act_type="leaky", slope=0.3),
    "elu": lambda F, x: F.LeakyReLU(x, act_type="elu", slope=0.7),
    "selu": lambda F, x: F.LeakyReLU(x, act_type="selu"),
    "gelu": lambda F, x: F.LeakyReLU(x, act_type="gelu"),
    "hard_sigmoid": lambda F, x: F.hard_sigmoid(x, alpha=0.3, beta=0.4),
    "swish": lambda F, x: x * F.sigmoid(x),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("channels", [3, 16], ids=["few channels", "channels"])
def test_activation(name, channels):
    function = ACTIVATIONS[name]
    check(Apply(lambda F, x, c, d: function(F, c(x)) + function(F, d(x) + x), conv(channels), conv(channels)),
          (2, channels, 7, 7), tolerance=1e-4)


RESIDUALS = {
    "identity": lambda F, x, c, d, e: F.relu(c(x) + x),
    "other side": lambda F, x, c, d, e: F.relu(x + c(x)),
    "two convolutions": lambda F, x, c, d, e: F.relu(c(x) + d(x)),
    "same one twice": lambda F, x, c, d, e: (lambda y: F.relu(y + y))(c(x)),
    "sum is read again": lambda F, x, c, d, e: (lambda y: F.relu(y) * y)(c(x) + d(x)),
    "residual is read later": lambda F, x, c, d, e: (lambda y: F.relu(c(y) + y) - y)(d(x)),
    "chain": lambda F, x, c, d, e: F.relu(e(F.relu(d(F.relu(c(x) + x)) + x)) + x),
    "broadcast": lambda F, x, c, d, e: F.broadcast_add(c(x), F.mean(x, axis=(2, 3), keepdims=True)),
    "view": lambda F, x, c, d, e: c(x) + F.reshape(F.reshape(d(x), (0, -1)), (0, 16, 6, 6)),
    "output": lambda F, x, c, d, e: F.concat(c(x), c(x) + x),
}


@pytest.mark.parametrize("case", RESIDUALS)
def test_residual(case):
    layers = [conv(16, in_channels=16) for _ in range(3)]
    check(Apply(RESIDUALS[case], *layers), (2, 16, 6, 6), tolerance=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 7, 7), (2, 14, 9), (1, 30, 31)])
@pytest.mark.parametrize("ends", [lambda F, x: F.clip(x, 0, 0.5), lambda F, x: F.relu(x), lambda F, x: x + 1],
                         ids=["clip", "relu", "sum"])
def test_window_of_one_point(stride, size, ends):
    batch, *image = size
    layer = conv(40, 1, strides=stride, in_channels=24)
    net, data = check(Apply(lambda F, x, c: ends(F, c(x)), layer), (batch, 24, *image))
    weight, bias = (p.data().asnumpy() for p in (layer.weight, layer.bias))
    met = data.asnumpy()[:, :, ::stride, ::stride]
    expected = ends(nd, nd.array(np.einsum("ncij,oc->noij", met, weight[:, :, 0, 0]) + bias[:, None, None])).asnumpy()
    np.testing.assert_allclose(net(data).asnumpy(), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype,tolerance", [("float16", 2e-2), ("float64", 1e-9)])
def test_dtypes(dtype, tolerance):
    check(sequence(conv(), nn.BatchNorm(), nn.Activation("relu"), conv(4, 1), nn.BatchNorm()), (2, 3, 6, 6),
          tolerance=tolerance, dtype=dtype)


def block(channels, stride):
    body = sequence(conv(channels, 1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"),
                    conv(channels, 3, strides=stride, use_bias=False), nn.BatchNorm(), nn.Activation("relu"),
                    conv(4 * channels, 1, use_bias=False), nn.BatchNorm())
    short = sequence(conv(4 * channels, 1, strides=stride, use_bias=False), nn.BatchNorm())
    return Apply(lambda F, x, b, s: F.Activation(b(x) + s(x), act_type="relu"), body, short)


def residual_net():
    return sequence(conv(16, 7, strides=2, use_bias=False), nn.BatchNorm(), nn.Activation("relu"),
                    nn.MaxPool2D(3, 2, 1),
                    block(8, 1), block(16, 2), nn.GlobalAvgPool2D(), nn.Flatten(), nn.Dense(10))


def test_residual_network_and_training_between():
    net, data = check(residual_net(), (2, 3, 32, 32), tolerance=1e-4)
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01})
    for _ in range(2):
        with autograd.record():
            loss = (net(data) ** 2).mean()
        loss.backward()
        trainer.step(1)
        got = net(data).asnumpy()
        net.hybridize(False)
        np.testing.assert_allclose(got, net(data).asnumpy(), rtol=1e-4, atol=1e-4)
        net.hybridize()


def test_monitors_see_the_graph_as_it_was_written():
    net, data = check(sequence(conv(), nn.BatchNorm(), nn.Activation("relu")), (1, 3, 5, 5))
    seen = []
    net.register_op_hook(lambda name, op, array: seen.append(op or name))
    net(data)
    assert len(seen) >= 3


PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import test_inference as t
from mxnet import nd
net = t.residual_net()
net.initialize()
net(nd.ones((1, 3, 32, 32)))
net.hybridize()
print("--", file=sys.stderr, flush=True)
net(nd.ones((1, 3, 32, 32))).wait_to_read()
"""


@pytest.mark.parametrize("fuse", ["1", "0"])
def test_kernels_of_a_residual_network(fuse):
    """Convolutions alone are left, and one fused sum per block; MXNET_FUSE_INFERENCE=0 leaves all in its place."""
    env = dict(os.environ, MXNET_VERBOSE_KERNELS="1", MXNET_FUSE_INFERENCE=fuse)
    program = PROGRAM.format(folder=os.path.dirname(os.path.abspath(__file__)))
    lines = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stderr
    compiled = lines.split("--\n")[1].splitlines()
    count = {name: sum(f"mxnet: {name}(" in line for line in compiled)
             for name in ("BatchNorm", "_fused_convolution", "_fused_convolution_add", "Convolution")}
    norm_free = {"BatchNorm": 0, "_fused_convolution": 5, "_fused_convolution_add": 2, "Convolution": 2}
    written = {"BatchNorm": 9, "_fused_convolution": 0, "_fused_convolution_add": 0, "Convolution": 9}
    # A small kernel is prepared again for one thread.
    wanted = norm_free if fuse == "1" else written
    assert {k: v > 0 for k, v in count.items()} == {k: v > 0 for k, v in wanted.items()}
