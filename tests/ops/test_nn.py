# SPDX-License-Identifier: Apache-2.0
"""What the records of the neural-network operators cannot say."""

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, nd


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def output_gradient(op, x, label, head=None, **params):
    data, label = nd.array(x), nd.array(label)
    data.attach_grad()
    with autograd.record():
        y = op(data, label, **params)
    y.backward(None if head is None else nd.array(head))
    return data.grad.asnumpy()


LABELS = np.array([0.0, 1, 2, 1])


@pytest.mark.parametrize(
    "params,factor",
    [
        ({}, 1),
        (dict(grad_scale=3), 3),
        (dict(normalization="batch"), 1 / 4),
        (dict(normalization="valid"), 1 / 4),
        (dict(normalization="valid", ignore_label=1), 1 / 2),
        (dict(normalization="valid", ignore_label=1, use_ignore=True), np.array([[0.5], [0], [0.5], [0]])),
        (dict(normalization="batch", ignore_label=1, use_ignore=True), np.array([[0.25], [0], [0.25], [0]])),
    ],
)
def test_softmax_output_gradient(params, factor):
    x = np.random.default_rng(0).standard_normal((4, 3))
    expected = (softmax(x) - np.eye(3)[LABELS.astype(int)]) * factor
    for head in (None, np.full((4, 3), 7.0)):  # the head gradient is ignored
        got = output_gradient(nd.SoftmaxOutput, x, LABELS, head, **params)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_softmax_output_head_gradient():
    x = np.random.default_rng(0).standard_normal((4, 3))
    head = np.random.default_rng(1).standard_normal((4, 3))
    got = output_gradient(nd.SoftmaxOutput, x, LABELS, head, out_grad=True)
    np.testing.assert_allclose(got, (softmax(x) - np.eye(3)[LABELS.astype(int)]) * head, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalization,divisor", [("null", 20), ("batch", 40), ("valid", 40)])
def test_softmax_output_positions(normalization, divisor):
    rng = np.random.default_rng(0)
    x, label = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    expected = (softmax(x, 1) - np.moveaxis(np.eye(3)[label], -1, 1)) / divisor
    for given in (label, label.reshape(2, 20)):
        got = output_gradient(nd.SoftmaxOutput, x, given * 1.0, multi_output=True, normalization=normalization)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_softmax_output_smoothing_and_probabilities():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3))
    target = np.eye(3)[LABELS.astype(int)] * 0.7 + (1 - np.eye(3)[LABELS.astype(int)]) * 0.15
    got = output_gradient(nd.SoftmaxOutput, x, LABELS, smooth_alpha=0.3)
    np.testing.assert_allclose(got, softmax(x) - target, rtol=1e-5, atol=1e-6)
    got = output_gradient(nd.SoftmaxOutput, x, target, normalization="batch")
    np.testing.assert_allclose(got, softmax(x) - target, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (4, 1), (4, 2, 3), (4,)])
@pytest.mark.parametrize("name", ["LinearRegressionOutput", "LogisticRegressionOutput", "MAERegressionOutput"])
def test_regression_gradient(name, shape):
    rng = np.random.default_rng(0)
    x, label = rng.standard_normal(shape), rng.standard_normal(shape)
    y = 1 / (1 + np.exp(-x)) if name.startswith("Logistic") else x
    expected = np.sign(y - label) if name.startswith("MAE") else y - label
    got = output_gradient(getattr(nd, name), x, label, grad_scale=2)
    np.testing.assert_allclose(got, expected * 2 / np.prod(shape[1:]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("params", [{}, dict(use_linear=True), dict(margin=0.5, regularization_coefficient=2)])
def test_svm_gradient(params):
    x = np.random.default_rng(0).standard_normal((4, 3))
    sign = 2 * np.eye(3)[LABELS.astype(int)] - 1
    short = np.maximum(params.get("margin", 1) - sign * x, 0)
    slope = (short > 0) if params.get("use_linear") else 2 * short
    expected = -sign * slope * params.get("regularization_coefficient", 1)
    np.testing.assert_allclose(output_gradient(nd.SVMOutput, x, LABELS, **params), expected, rtol=1e-5, atol=1e-6)


def test_batch_norm_moves_statistics_once_per_training_forward():
    rng = np.random.default_rng(0)
    x = nd.array(rng.standard_normal((4, 3, 2)))
    gamma, beta, mean, var = nd.array([2, 3, 4]), nd.zeros(3), nd.zeros(3), nd.ones(3)
    x.attach_grad()
    with autograd.record():
        y = nd.BatchNorm(x, gamma, beta, mean, var, momentum=0.5)
    batch = x.asnumpy().mean((0, 2))
    np.testing.assert_allclose(mean.asnumpy(), 0.5 * batch, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(gamma.asnumpy(), 1)  # fix_gamma
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(mean.asnumpy(), 0.5 * batch, rtol=1e-5, atol=1e-6)
    nd.BatchNorm(x, gamma, beta, mean, var)
    np.testing.assert_allclose(mean.asnumpy(), 0.5 * batch, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("global_statistics", [False, True])
def test_batch_norm_gradient_outside_training(global_statistics):
    x, gamma = nd.array(np.random.default_rng(0).standard_normal((4, 3, 2))), nd.array([2, 3, 4])
    var = nd.array([1, 2, 4])
    x.attach_grad()
    with autograd.record(train_mode=global_statistics):
        y = nd.BatchNorm(
            x, gamma, nd.zeros(3), nd.ones(3), var, eps=0.0, fix_gamma=False, use_global_stats=global_statistics
        )
    y.backward()
    expected = (gamma / var.sqrt()).asnumpy().reshape(1, 3, 1) * np.ones(x.shape)
    np.testing.assert_allclose(x.grad.asnumpy(), expected, rtol=1e-5)


def test_batch_norm_of_halves_keeps_statistics_in_float32():
    x = nd.array(np.random.default_rng(0).standard_normal((8, 3, 4, 4))).astype("float16")
    vectors = [nd.ones(3), nd.zeros(3), nd.zeros(3), nd.ones(3)]
    with autograd.train_mode():
        y = nd.BatchNorm(x, *vectors, fix_gamma=False)
    assert y.dtype == np.float16
    assert vectors[2].dtype == np.float32
    normal = x.asnumpy().astype(np.float64)
    normal = (normal - normal.mean((0, 2, 3), keepdims=True)) / np.sqrt(normal.var((0, 2, 3), keepdims=True) + 1e-3)
    np.testing.assert_allclose(y.asnumpy(), normal, atol=5e-3)


def test_dropout_backward_uses_the_mask_of_forward():
    x = nd.ones((100, 100))
    x.attach_grad()
    with autograd.record():
        y = nd.Dropout(x, p=0.4)
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), y.asnumpy())


def test_dropout_is_the_identity_outside_training():
    x = nd.ones((3, 4))
    x.attach_grad()
    with autograd.record(train_mode=False):
        y = nd.Dropout(x, p=0.5) * 3
    y.backward()
    np.testing.assert_array_equal(y.asnumpy(), 3)
    np.testing.assert_array_equal(x.grad.asnumpy(), 3)
    with autograd.record():
        y = nd.Dropout(x, p=0.0)
    np.testing.assert_array_equal(y.asnumpy(), 1)
    with autograd.record():
        y = nd.Dropout(x, p=1.0)
    np.testing.assert_array_equal(y.asnumpy(), 0)


def test_dropout_follows_the_seed():
    results = []
    for seed in (1, 1, 2):
        mx.random.seed(seed)
        with autograd.train_mode():
            results.append([nd.Dropout(nd.ones((40, 50)), p=0.5).asnumpy() for _ in range(2)])
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0][0] != results[2][0]).any()
    assert (results[0][0] != results[0][1]).any()


def test_max_pooling_gives_the_gradient_to_the_first_of_equals():
    x = nd.ones((1, 20, 4, 4))
    x.attach_grad()
    with autograd.record():
        y = nd.Pooling(x, kernel=(2, 2), stride=(2, 2))
    y.backward()
    expected = np.zeros((1, 20, 4, 4))
    expected[:, :, ::2, ::2] = 1
    np.testing.assert_array_equal(x.grad.asnumpy(), expected)


def test_embedding_gradient_adds_equal_indices():
    weight = nd.ones((4, 3))
    weight.attach_grad("add")
    for _ in range(2):
        with autograd.record():
            y = nd.Embedding(nd.array([1, 1, 3, 9]), weight, input_dim=4, output_dim=3)
        y.backward()
    np.testing.assert_array_equal(weight.grad.asnumpy(), np.array([[0], [4], [0], [4]]) * np.ones((4, 3)))


def batch_norm(x, gamma, beta, **params):
    mean, var = nd.ones(4, dtype="float64") / 3, nd.ones(4, dtype="float64") * 2
    return nd.BatchNorm(x, gamma, beta, mean, var, **{"fix_gamma": False, **params})


def second_order(op, arrays, seed=0):
    """Gradient of <v, gradient> by autograd and by differences, float64."""
    rng = np.random.default_rng(seed)
    inputs = [nd.array(a, dtype="float64") for a in arrays]
    for a in inputs:
        a.attach_grad()
    directions = [nd.array(rng.standard_normal(a.shape), dtype="float64") for a in arrays]
    head = nd.array(rng.standard_normal(op(*inputs).shape), dtype="float64")

    def projected(create_graph):
        with autograd.record():
            y = op(*inputs)
            grads = autograd.grad(y, inputs, head_grads=head, create_graph=create_graph, retain_graph=create_graph)
            return sum(
                ((g * d).sum() for g, d in zip(grads[1:], directions[1:], strict=True)),
                (grads[0] * directions[0]).sum(),
            )

    projected(True).backward()
    exact = [a.grad.asnumpy() for a in inputs]
    for a, grad in zip(inputs, exact, strict=True):
        base = a.asnumpy()
        step = rng.standard_normal(base.shape)
        values = []
        for sign in (1, -1):
            a[:] = nd.array(base + sign * 1e-5 * step, dtype="float64")
            values.append(float(projected(False).asnumpy().item()))
        a[:] = nd.array(base, dtype="float64")
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(float((grad * step).sum()), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(
    "op,shapes",
    [
        (lambda x, w, b: nd.FullyConnected(x, w, b, num_hidden=3), [(2, 2, 2), (3, 4), (3,)]),
        (lambda x, w: nd.FullyConnected(x, w, num_hidden=3, no_bias=True, flatten=False), [(2, 2, 4), (3, 4)]),
        (
            lambda x, w, b: nd.Convolution(
                x, w, b, kernel=(3, 2), num_filter=4, num_group=2, stride=(2, 1), pad=(1, 0)
            ),
            [(2, 4, 5, 4), (4, 2, 3, 2), (4,)],
        ),
        (
            lambda x, w: nd.Deconvolution(x, w, kernel=(3, 3), num_filter=2, stride=(2, 2), pad=(1, 1)),
            [(2, 2, 3, 3), (2, 2, 3, 3)],
        ),
        (lambda a, b: nd.dot(a, b, transpose_a=True), [(4, 3), (4, 2)]),
        (lambda a, b: nd.batch_dot(a, b, transpose_b=True), [(2, 3, 4), (2, 5, 4)]),
        (lambda a, b: nd.linalg_gemm2(a, b, alpha=2.0), [(2, 3, 4), (2, 4, 5)]),
        (lambda x: nd.softmax(x, axis=1, temperature=2.0), [(2, 4, 3)]),
        (lambda x: nd.log_softmax(x), [(3, 4)]),
        (lambda x: nd.softmin(x), [(3, 4)]),
        (lambda x, g, b: nd.LayerNorm(x, g, b), [(3, 5), (5,), (5,)]),
        (lambda x, g, b: nd.LayerNorm(x, g, b, axis=1), [(3, 5, 2), (5,), (5,)]),
        (lambda x, g, b: nd.InstanceNorm(x, g, b), [(2, 3, 5), (3,), (3,)]),
        (lambda x, g, b: nd.GroupNorm(x, g, b, num_groups=2), [(2, 4, 3), (2,), (2,)]),
        (lambda x, g, b: batch_norm(x, g, b), [(3, 4, 2, 2), (4,), (4,)]),
        (lambda x, g, b: batch_norm(x, g, b, use_global_stats=True), [(3, 4, 2, 2), (4,), (4,)]),
        (lambda x, g, b: batch_norm(x, g, b, axis=-1), [(3, 2, 4), (4,), (4,)]),
        (lambda x, b: batch_norm(x, nd.ones(4, dtype="float64"), b, fix_gamma=True), [(3, 4, 2, 2), (4,)]),
        (lambda x: nd.Pooling(x * x, kernel=(2, 2), stride=(2, 1), pool_type="max"), [(2, 3, 4, 4)]),
        (
            lambda x: nd.Pooling(x * x, kernel=(2, 2), pad=(1, 1), pool_type="avg", count_include_pad=False),
            [(2, 3, 4, 4)],
        ),
    ],
)
def test_second_order(op, shapes):
    rng = np.random.default_rng(4)
    second_order(op, [rng.standard_normal(s) for s in shapes])


@pytest.mark.parametrize("channels,filters", [(1, 20), (20, 50), (3, 16), (16, 32), (7, 5)])
@pytest.mark.parametrize(
    "kernel,pad,stride", [((5, 5), (0, 0), (1, 1)), ((3, 3), (1, 1), (2, 2)), ((1, 1), (0, 0), (1, 1))]
)
def test_fast_convolutions_equal_the_reference_kernel(channels, filters, kernel, pad, stride):
    against_float64((3, channels, 12, 13), filters, dict(kernel=kernel, pad=pad, stride=stride))


@pytest.mark.parametrize(
    "data,stride",
    [
        ((2, 40, 9, 11), (1, 1)),
        ((3, 40, 13, 12), (2, 2)),
        ((3, 33, 14, 15), (2, 3)),
        ((3, 40, 70), (2,)),
        ((2, 34, 5, 8, 9), (1, 2, 2)),
        ((9, 35, 12, 10), (1, 1)),
    ],
)
def test_convolutions_of_one_point(data, stride):
    against_float64(data, 37, dict(kernel=(1,) * len(stride), stride=stride))


def against_float64(data, filters, window):
    rng = np.random.default_rng(0)
    shapes = [data, (filters, data[1], *window["kernel"]), (filters,)]
    arrays = [rng.standard_normal(s) for s in shapes]
    params = dict(num_filter=filters, **window)
    results = {}
    for dtype in ("float32", "float64"):  # float64 has the reference kernel alone
        inputs = [nd.array(a, dtype=dtype) for a in arrays]
        for a in inputs:
            a.attach_grad()
        with autograd.record():
            y = nd.Convolution(*inputs, **params)
        y.backward(nd.array(np.random.default_rng(1).standard_normal(y.shape), dtype=dtype))
        results[dtype] = [y.asnumpy(), *(a.grad.asnumpy() for a in inputs)]
    for fast, exact in zip(results["float32"], results["float64"], strict=True):
        np.testing.assert_allclose(fast, exact, rtol=1e-3, atol=1e-3)


def convolution_weight_gradient(x, dy, kernel, stride, dilate, pad):
    """In float64, by taps; two spatial axes."""
    padded = np.pad(x, ((0, 0), (0, 0), (pad[0], pad[0]), (pad[1], pad[1])))
    out = np.zeros((dy.shape[1], x.shape[1], *kernel))
    rows, cols = dy.shape[2:]
    for r in range(kernel[0]):
        for s in range(kernel[1]):
            y0, x0 = r * dilate[0], s * dilate[1]
            part = padded[:, :, y0 : y0 + rows * stride[0] : stride[0], x0 : x0 + cols * stride[1] : stride[1]]
            out[:, :, r, s] = np.einsum("nkyx,ncyx->kc", dy, part[:, :, :rows, :cols])
    return out


@pytest.mark.parametrize(
    "shape,filters,kernel,stride,dilate,pad",
    [
        ((2, 16, 9, 11), 16, (3, 3), (1, 1), (1, 1), (1, 1)),
        ((3, 29, 8, 7), 17, (3, 3), (2, 2), (1, 1), (1, 1)),
        ((1, 32, 13, 10), 64, (3, 5), (2, 3), (2, 1), (0, 4)),
        ((2, 16, 6, 5), 20, (1, 4), (1, 1), (1, 1), (0, 2)),
        ((2, 48, 5, 6), 19, (2, 1), (2, 2), (1, 1), (3, 3)),
        ((1, 256, 3, 5), 260, (1, 1), (1, 1), (1, 1), (0, 0)),
        ((2, 270, 6, 7), 256, (1, 1), (2, 2), (1, 1), (0, 0)),
        ((1, 256, 3, 3), 256, (1, 1), (2, 1), (1, 1), (2, 2)),
        ((1, 16, 70, 300), 16, (3, 3), (1, 1), (1, 1), (1, 1)),  # several bands
    ],
)
def test_convolution_weight_gradients(shape, filters, kernel, stride, dilate, pad):
    """Channels and filters that fill panels or not, windows that reach into padding on every side."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype("float32")
    w, b = nd.zeros((filters, shape[1], *kernel)), nd.zeros((filters,))
    params = dict(kernel=kernel, stride=stride, dilate=dilate, pad=pad, num_filter=filters)
    dy = None
    for req, times in (("write", 1), ("add", 2)):
        w.attach_grad(req)
        b.attach_grad(req)
        for _ in range(times):
            with autograd.record():
                y = nd.Convolution(nd.array(x), w, b, **params)
            if dy is None:
                dy = rng.standard_normal(y.shape).astype("float32")
            y.backward(nd.array(dy))
        expected = convolution_weight_gradient(x, dy.astype("float64"), kernel, stride, dilate, pad) * times
        np.testing.assert_allclose(w.grad.asnumpy(), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(b.grad.asnumpy(), dy.sum((0, 2, 3)) * times, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    "shape,filters,pad",
    [
        ((2, 64, 15, 16), 64, (1, 1)),
        ((1, 64, 22, 26), 80, (0, 2)),  # edges that cut tiles, padding that differs
        ((3, 80, 12, 13), 64, (2, 0)),
        ((1, 128, 21, 21), 96, (1, 1)),
        ((8, 288, 7, 7), 256, (1, 1)),  # many weights
    ],
)
def test_convolution_three_by_three(shape, filters, pad):
    """Enough channels and places for the transformed kernels: forward with bias, all gradients."""
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal(shape), rng.standard_normal((filters, shape[1], 3, 3)), rng.standard_normal(filters)
    arrays = {}
    for dtype in ("float32", "float64"):  # float64 takes the portable kernel
        data, weight, bias = (nd.array(a.astype("float32"), dtype=dtype) for a in (x, w, b))
        for a in (data, weight, bias):
            a.attach_grad("add" if dtype == "float32" else "write")
        with autograd.record():
            y = nd.Convolution(data, weight, bias, kernel=(3, 3), pad=pad, num_filter=filters)
        y.backward(y)
        arrays[dtype] = [a.asnumpy() for a in (y, data.grad, weight.grad, bias.grad)]
    for got, expected in zip(arrays["float32"], arrays["float64"]):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def pooled_by_numpy(x, kind, kernel, stride, pad):
    """(output, gradient of its weighted sum, weights) of two-dimensional pooling, window by window."""
    low = -np.inf if kind == "max" else 0.0
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=low)
    rows, cols = ((n + 2 * pad - kernel) // stride + 1 for n in x.shape[2:])
    out, slope = np.zeros((*x.shape[:2], rows, cols)), np.zeros(padded.shape)
    weights = np.random.default_rng(1).standard_normal(out.shape)
    for i in range(rows):
        for j in range(cols):
            window = (slice(None), slice(None), slice(i * stride, i * stride + kernel),
                      slice(j * stride, j * stride + kernel))
            points, weight = padded[window], weights[:, :, i, j, None, None]
            if kind == "max":
                out[:, :, i, j] = points.max((2, 3))
                first = np.zeros(points.shape).reshape(*x.shape[:2], -1)
                np.put_along_axis(first, points.reshape(first.shape).argmax(-1)[..., None], 1, -1)
                slope[window] += weight * first.reshape(points.shape)
            else:
                scale = 1 / kernel**2 if kind == "avg" else 1
                out[:, :, i, j] = scale * points.sum((2, 3))
                slope[window] += scale * weight
    inside = slice(pad, -pad or None)
    return out, slope[:, :, inside, inside], weights


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", ["max", "avg", "sum"])
@pytest.mark.parametrize("shape", [(1, 1, 7, 6), (2, 3, 9, 5), (1, 8, 8, 8), (3, 7, 5, 17), (2, 20, 4, 4)])
def test_pooling_of_any_number_of_planes(shape, kind, dtype):
    x = np.random.default_rng(2).standard_normal(shape).astype(dtype).astype(np.float64)
    tolerance = 4e-3 if dtype == "float16" else 1e-5
    for kernel, stride, pad in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)]:
        out, slope, weights = pooled_by_numpy(x, kind, kernel, stride, pad)
        data = nd.array(x, dtype=dtype)
        data.attach_grad()
        with autograd.record():
            y = nd.Pooling(data, kernel=(kernel,) * 2, stride=(stride,) * 2, pad=(pad,) * 2, pool_type=kind)
        y.backward(nd.array(weights, dtype=dtype))
        np.testing.assert_allclose(y.asnumpy(), out, tolerance, tolerance)
        np.testing.assert_allclose(data.grad.asnumpy(), slope, tolerance, 4 * tolerance)


@pytest.mark.parametrize("beta", [0.75, 0.6])
@pytest.mark.parametrize("shape,size", [((2, 5, 3, 7), 3), ((1, 20, 13, 11), 5), ((1, 4, 1, 300), 101)])
def test_lrn_of_any_number_of_positions(shape, size, beta):
    rng = np.random.default_rng(3)
    x, head = rng.standard_normal(shape), rng.standard_normal(shape)
    near = np.abs(np.subtract.outer(np.arange(shape[1]), np.arange(shape[1]))) <= size // 2
    base = 2 + 0.1 / size * np.einsum("cd,ndhw->nchw", near, x * x)
    shared = np.einsum("cd,ndhw->nchw", near, head * x * base ** (-beta - 1))
    slope = head * base**-beta - 0.2 * beta / size * x * shared
    data = nd.array(x)
    data.attach_grad()
    with autograd.record():
        y = nd.LRN(data, nsize=size, alpha=0.1, beta=beta, knorm=2)
    y.backward(nd.array(head))
    np.testing.assert_allclose(y.asnumpy(), x * base**-beta, 1e-5, 1e-6)
    np.testing.assert_allclose(data.grad.asnumpy(), slope, 1e-5, 1e-5)
