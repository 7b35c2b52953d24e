# SPDX-License-Identifier: Apache-2.0
"""Gradients of higher order through compositions; the records check the second order of every operator."""

import numpy as np

import mxnet as mx
from mxnet import autograd, nd


def norm(x):
    return nd.L2Normalization(x)


def test_third_order_is_that_of_the_formula():
    def third(function):
        x = nd.array([[0.5, -1.0, 2.0]], dtype="float64")
        x.attach_grad()
        with autograd.record():
            value = (function(x) * nd.array([[1.0, 2.0, 3.0]], dtype="float64")).sum()
            for _ in range(2):
                (gradient,) = autograd.grad(value, [x], create_graph=True)
                value = (gradient * gradient).sum()
        value.backward()
        return x.grad.asnumpy()

    def formula(x):
        return x / nd.sqrt((x * x).sum() + 1e-10)

    np.testing.assert_allclose(third(norm), third(formula), rtol=1e-8)


def test_penalty_on_the_gradient_of_data_reaches_the_weights():
    layer = mx.gluon.rnn.LSTM(4, input_size=3)
    layer.initialize(mx.init.Uniform(0.5))
    x = nd.random.uniform(shape=(5, 2, 3))
    x.attach_grad()
    with autograd.record():
        total = layer(x).sum()
        (gradient,) = autograd.grad(total, [x], create_graph=True)
        (gradient * gradient).sum().backward()
    for parameter in layer.collect_params().values():
        assert np.abs(parameter.grad().asnumpy()).sum() > 0, parameter.name


def test_half_types_are_float_inside_and_keep_their_type():
    x = nd.array([[300.0, 400.0]], dtype="float16")  # squares beyond float16
    x.attach_grad()
    with autograd.record():
        (gradient,) = autograd.grad(norm(x)[0, 0], [x], create_graph=True)
        gradient.sum().backward()
    assert gradient.dtype == np.float16 and x.grad.dtype == np.float16
    np.testing.assert_allclose(gradient.asnumpy(), [[0.00128, -0.00096]], rtol=1e-2)
    assert np.isfinite(x.grad.asnumpy()).all()
