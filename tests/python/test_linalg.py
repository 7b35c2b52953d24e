# SPDX-License-Identifier: Apache-2.0
"""Gradients of decompositions of symmetric matrices, second derivatives, and what large matrices need."""

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd


def symmetric_gradient(function, a, heads):
    """Gradient of sum(heads * function(sym(a))) by central differences."""
    out = np.zeros_like(a)
    for index in np.ndindex(a.shape):
        values = []
        for step in (1e-5, -1e-5):
            moved = a.copy()
            moved[index] += step
            outs = function(mx.nd.array((moved + moved.T) / 2, dtype="float64"))
            outs = outs if isinstance(outs, list) else [outs]
            values.append(sum((o.asnumpy() * h).sum() for o, h in zip(outs, heads, strict=True)))
        out[index] = (values[0] - values[1]) / 2e-5
    return out


@pytest.mark.parametrize("name,params", [("potrf", {}), ("potrf", {"lower": False}), ("syevd", {})])
def test_gradient_of_a_symmetric_matrix(name, params):
    rng = np.random.default_rng(5)
    a = rng.standard_normal((4, 4))
    a = a @ a.T + np.eye(4)
    x = mx.nd.array(a, dtype="float64")
    x.attach_grad()

    def function(x):
        return getattr(mx.nd.linalg, name)(x, **params)

    with autograd.record():
        outs = function(x)
    outs = outs if isinstance(outs, list) else [outs]
    heads = [rng.standard_normal(o.shape) for o in outs]
    autograd.backward(outs, [mx.nd.array(h, dtype="float64") for h in heads])
    np.testing.assert_allclose(x.grad.asnumpy(), symmetric_gradient(function, a, heads), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["potrf", "syevd"])
def test_second_derivative(name):
    rng = np.random.default_rng(7)
    a = rng.standard_normal((3, 3))
    a = a @ a.T + np.eye(3)
    direction = rng.standard_normal((3, 3))

    def slope(values):
        x = mx.nd.array((values + values.T) / 2, dtype="float64")
        x.attach_grad()
        with autograd.record():
            outs = getattr(mx.nd.linalg, name)(x)
            outs = outs if isinstance(outs, list) else [outs]
            loss = sum((o * o * o).sum() for o in outs)
            first = autograd.grad(loss, x, create_graph=True, retain_graph=True)[0]
            along = (first * mx.nd.array(direction, dtype="float64")).sum()
        along.backward()
        return along.asscalar(), x.grad.asnumpy()

    got = slope(a)[1]
    got = (got + got.T) / 2
    for index in ((0, 0), (2, 1), (0, 2)):
        step = np.zeros_like(a)
        step[index] += 1e-5
        want = (slope(a + step)[0] - slope(a - step)[0]) / 2e-5
        np.testing.assert_allclose(got[index], want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype,tolerance", [("float32", 2e-4), ("float64", 1e-11)])
@pytest.mark.parametrize("n", [1, 2, 17, 33, 64, 257])
def test_decompositions_of_any_size(n, dtype, tolerance):
    rng = np.random.default_rng(n)
    a = rng.standard_normal((2, n, n))
    s = mx.nd.array(a @ a.swapaxes(1, 2) / n + np.eye(n), dtype=dtype)
    x = mx.nd.array(a, dtype=dtype)
    la, product = mx.nd.linalg, mx.nd.linalg.gemm2

    def close(got, want):
        np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=0, atol=tolerance * n**0.5)

    eye = mx.nd.array(np.broadcast_to(np.eye(n), (2, n, n)), dtype=dtype)
    factor = la.potrf(s)
    close(product(factor, factor, transpose_b=True), s)
    close(product(la.potri(factor), s), eye)
    close(product(la.inverse(s), s), eye)
    q, low = la.gelqf(x)
    close(product(low, q), x)
    close(product(q, q, transpose_b=True), eye)
    u, values = la.syevd(s)
    close(product(u * values.expand_dims(2), u, transpose_a=True), s)
    close(product(u, u, transpose_b=True), eye)
    assert (np.diff(values.asnumpy(), axis=1) >= 0).all()
    sign, size = la.slogdet(x)
    want = np.linalg.slogdet(x.asnumpy().astype("float64"))
    np.testing.assert_allclose(sign.asnumpy(), want[0])
    np.testing.assert_allclose(size.asnumpy(), want[1], rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-3)


def test_eigenvalues_that_are_equal_or_separate():
    for a in (np.zeros((5, 5)), np.eye(40), np.diag(np.arange(30.0)), np.kron(np.eye(8), np.ones((4, 4)))):
        u, values = mx.nd.linalg.syevd(mx.nd.array(a, dtype="float64"))
        u, values = u.asnumpy(), values.asnumpy()
        np.testing.assert_allclose(u.T @ np.diag(values) @ u, a, atol=1e-12)
        np.testing.assert_allclose(u @ u.T, np.eye(len(a)), atol=1e-12)


def test_results_do_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((3, 150, 150))
    whole = mx.nd.linalg.inverse(mx.nd.array(a)).asnumpy()
    for i in range(3):
        assert (mx.nd.linalg.inverse(mx.nd.array(a[i])).asnumpy() == whole[i]).all()
