# SPDX-License-Identifier: Apache-2.0
"""Layers against NumPy, and their shapes."""
import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


def run(layer, x, compiled=False):
    layer.initialize()
    layer.hybridize(compiled)
    return layer(nd.array(x)).asnumpy()


@pytest.mark.parametrize("layer, shape, expected", [
    (lambda: nn.Dense(3), (2, 4, 5), (2, 3)), (lambda: nn.Dense(3, flatten=False), (2, 4, 5), (2, 4, 3)),
    (lambda: nn.Conv1D(4, 3), (2, 3, 10), (2, 4, 8)), (lambda: nn.Conv2D(4, 3, padding=1), (2, 3, 8, 8), (2, 4, 8, 8)),
    (lambda: nn.Conv2D(6, (3, 2), strides=2, groups=3, in_channels=3, use_bias=False), (1, 3, 9, 8), (1, 6, 4, 4)),
    (lambda: nn.Conv3D(4, 2), (1, 2, 4, 5, 6), (1, 4, 3, 4, 5)),
    (lambda: nn.Conv2DTranspose(4, 3, strides=2, output_padding=1), (1, 3, 5, 5), (1, 4, 12, 12)),
    (lambda: nn.Conv1DTranspose(4, 3), (1, 3, 5), (1, 4, 7)),
    (lambda: nn.MaxPool2D(), (1, 2, 6, 7), (1, 2, 3, 3)),
    (lambda: nn.MaxPool2D(ceil_mode=True), (1, 2, 6, 7), (1, 2, 3, 4)),
    (lambda: nn.AvgPool1D(3, 2, 1), (1, 2, 7), (1, 2, 4)), (lambda: nn.MaxPool3D(2), (1, 2, 4, 4, 4), (1, 2, 2, 2, 2)),
    (lambda: nn.GlobalAvgPool2D(), (1, 2, 6, 7), (1, 2, 1, 1)), (lambda: nn.GlobalMaxPool1D(), (1, 2, 6), (1, 2, 1)),
    (lambda: nn.Flatten(), (2, 3, 4), (2, 12)), (lambda: nn.Embedding(10, 4), (2, 3), (2, 3, 4)),
    (lambda: nn.BatchNorm(), (2, 3, 4), (2, 3, 4)), (lambda: nn.LayerNorm(), (2, 3, 4), (2, 3, 4)),
    (lambda: nn.Dropout(0.5), (2, 3), (2, 3)),
])
def test_shapes(layer, shape, expected):
    x = np.random.RandomState(0).randint(0, 5, shape).astype("float32")
    layer = layer()
    eager = run(layer, x)
    assert eager.shape == expected
    layer.hybridize()
    assert_allclose(layer(nd.array(x)).asnumpy(), eager, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer, reference", [
    (lambda: nn.Activation("relu"), lambda x: np.maximum(x, 0)), (lambda: nn.Activation("tanh"), np.tanh),
    (lambda: nn.Activation("sigmoid"), lambda x: 1 / (1 + np.exp(-x))),
    (lambda: nn.Activation("softrelu"), lambda x: np.log1p(np.exp(x))),
    (lambda: nn.Activation("softsign"), lambda x: x / (1 + np.abs(x))),
    (lambda: nn.LeakyReLU(0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    (lambda: nn.PReLU(), lambda x: np.where(x > 0, x, 0.25 * x)),
    (lambda: nn.ELU(2.0), lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
    (lambda: nn.SELU(), lambda x: 1.0507009873554804934 * np.where(x > 0, x, 1.6732632423543772848 * np.expm1(x))),
    (lambda: nn.GELU(), lambda x: 0.5 * x * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2)))),
    (lambda: nn.Swish(2.0), lambda x: x / (1 + np.exp(-2 * x))),
    (lambda: nn.Lambda("tanh"), np.tanh),
    (lambda: nn.HybridLambda(lambda F, x: F.relu(x) + 1), lambda x: np.maximum(x, 0) + 1),
])
def test_activations(layer, reference):
    x = np.linspace(-3, 3, 24).reshape(4, 6).astype("float32")
    for compiled in (False, True):
        layer_ = layer()
        layer_.initialize()
        layer_.hybridize(compiled)
        assert_allclose(layer_(nd.array(x)).asnumpy(), reference(x), rtol=1e-5, atol=1e-6)


def test_dense_numbers():
    dense = nn.Dense(2, activation="relu", weight_initializer=mx.init.Constant(nd.array([[1, 2], [-1, -1]])),
                     bias_initializer=mx.init.One(), in_units=2)
    assert run(dense, [[1, 1], [0, 2]]).tolist() == [[4, 0], [5, 0]]


def test_batchnorm_trains_its_statistics():
    layer = nn.BatchNorm(in_channels=2)
    layer.initialize()
    x = nd.random.normal(3, 2, shape=(64, 2, 5))
    with autograd.record():
        out = layer(x)
    values = out.asnumpy()
    assert_allclose(values.mean(axis=(0, 2)), 0, atol=1e-5)
    assert_allclose(values.std(axis=(0, 2)), 1, atol=1e-3)
    assert_allclose(layer.running_mean.data().asnumpy(), 0.1 * x.asnumpy().mean(axis=(0, 2)), rtol=1e-4)
    frozen = layer(x).asnumpy()
    assert not np.allclose(frozen, values)
    layer.cast("float16")
    assert layer.gamma.dtype == "float32"


def test_layernorm():
    x = np.random.RandomState(0).rand(4, 6).astype("float32")
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    assert_allclose(run(nn.LayerNorm(), x), expected, rtol=1e-4, atol=1e-5)


def test_dropout_only_in_training():
    layer = nn.Dropout(0.5)
    x = nd.ones((1000,))
    assert (layer(x).asnumpy() == 1).all()
    with autograd.record():
        values = layer(x).asnumpy()
    assert set(np.unique(values)) == {0, 2}
    assert 300 < (values == 0).sum() < 700


def test_concurrent():
    for container in (gluon.contrib.nn.HybridConcurrent(axis=1), gluon.contrib.nn.Concurrent(axis=1)):
        container.add(gluon.contrib.nn.Identity(), nn.HybridLambda(lambda F, x: x * 2))
        assert container(nd.ones((1, 2))).asnumpy().tolist() == [[1, 1, 2, 2]]


def test_pixel_shuffle():
    x = np.arange(8).reshape(1, 4, 1, 2).astype("float32")
    out = gluon.contrib.nn.PixelShuffle2D(2)(nd.array(x)).asnumpy()
    assert out.shape == (1, 1, 2, 4)
    assert out[0, 0].tolist() == [[0, 2, 1, 3], [4, 6, 5, 7]]


def test_pixel_shuffle_3d():
    x = np.arange(48).reshape(1, 24, 1, 1, 2).astype("float32")
    layer = gluon.contrib.nn.PixelShuffle3D((2, 3, 2))
    want = x.reshape(1, 2, 2, 3, 2, 1, 1, 2).transpose(0, 1, 5, 2, 6, 3, 7, 4).reshape(1, 2, 2, 3, 4)
    assert repr(layer) == "PixelShuffle3D((2, 3, 2))"
    np.testing.assert_array_equal(layer(nd.array(x)).asnumpy(), want)


def test_sync_batch_norm_on_one_device():
    x = nd.random.normal(shape=(4, 3, 2, 2))
    results = []
    for layer in (gluon.contrib.nn.SyncBatchNorm(momentum=0.5, prefix="n_"), nn.BatchNorm(momentum=0.5, prefix="n_")):
        layer.initialize()
        with autograd.record():
            out = layer(x)
        results.append([out.asnumpy(), layer.running_mean.data().asnumpy()])
    for ours, want in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, want)
    layer = gluon.contrib.nn.SyncBatchNorm(in_channels=3, num_devices=4, epsilon=1e-3, scale=False, prefix="s_")
    assert repr(layer) == ("SyncBatchNorm(eps=0.001, momentum=0.9, fix_gamma=True, use_global_stats=False, ndev=4, "
                           "key='s_', in_channels=3)")


def test_bad_arguments():
    for make in (lambda: nn.Conv2D(3, (3, 3, 3)), lambda: nn.Conv2D(3, 3, layout="NCW"), lambda: nn.Lambda("nope"),
                 lambda: nn.LeakyReLU(-1)):
        with pytest.raises(AssertionError):
            make()
    with pytest.raises(ValueError, match="Unrecognized"):
        nn.HybridLambda(3)
    with pytest.raises(mx.MXNetError):
        dense = nn.Dense(2, in_units=3)
        dense.initialize()
        dense(nd.ones((1, 4)))


def test_repr():
    conv = nn.Conv2D(3, 3, in_channels=2, padding=1, strides=2, dilation=2, use_bias=False, activation="relu")
    assert repr(conv) == ("Conv2D(2 -> 3, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), "
                          "bias=False, Activation(relu))")
    assert repr(nn.MaxPool2D()) == ("MaxPool2D(size=(2, 2), stride=(2, 2), padding=(0, 0), ceil_mode=False, "
                                    "global_pool=False, pool_type=max, layout=NCHW)")
    assert repr(nn.LayerNorm()) == "LayerNorm(eps=1e-05, axis=-1, center=True, scale=True, in_channels=0)"
    assert repr(nn.Embedding(2, 3)) == "Embedding(2 -> 3, float32)"
