# SPDX-License-Identifier: Apache-2.0
"""Compiled graphs: aliases, recording, several calls in flight, gradients of gradients."""
import threading

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, nd
from mxnet._core._ext import CachedOp


def chain(x, y):
    return (x * 2 + y).tanh() * x - 1


@pytest.fixture
def op():
    return CachedOp(chain(mx.sym.var("x"), mx.sym.var("y")), [("static_alloc", True), ("static_shape", True)])


def pair(shape, seed=0):
    rng = np.random.RandomState(seed)
    arrays = nd.array(rng.randn(*shape)), nd.array(rng.randn(*shape))
    for array in arrays:
        array.attach_grad()
    return arrays


@pytest.mark.parametrize("shape", [(3, 4), (1,), (300, 500)])
def test_equals_single_operators(op, shape):
    x, y = pair(shape)
    with autograd.record():
        expected = chain(x, y)
    expected.backward()
    grads = x.grad.asnumpy(), y.grad.asnumpy()
    assert np.array_equal(op(x, y).asnumpy(), expected.asnumpy())
    with autograd.record():
        out = op(x, y)
    out.backward()
    assert np.array_equal(out.asnumpy(), expected.asnumpy())
    np.testing.assert_allclose(x.grad.asnumpy(), grads[0], rtol=1e-6)
    np.testing.assert_allclose(y.grad.asnumpy(), grads[1], rtol=1e-6)


def test_several_forwards_before_backward(op):
    pairs = [pair((5, 6), seed) for seed in range(4)]
    with autograd.record():
        outs = [op(x, y) for x, y in pairs]
    for out in reversed(outs):
        out.backward(retain_graph=True)
    for (x, _), out in zip(pairs, outs):
        grad = x.grad.asnumpy()
        out.backward()
        assert np.array_equal(x.grad.asnumpy(), grad)


def test_backward_reads_current_values():
    x, w = nd.array([3.0]), nd.array([1.0])
    x.attach_grad()
    op = CachedOp(mx.sym.var("x") * mx.sym.var("w"))
    with autograd.record():
        out = op(x, w)
    w[:] = 7
    out.backward()
    assert x.grad.asscalar() == 7


def test_outputs_are_fresh_and_inputs_alias():
    x = mx.sym.var("x")
    op = CachedOp(mx.sym.Group([x, x * 2]))
    a = nd.ones((3,))
    same, first = op(a)
    _, second = op(a)
    same[:] = 5
    assert a.asnumpy().tolist() == [5, 5, 5]
    first[:] = 0
    assert second.asnumpy().tolist() == [2, 2, 2]


def test_requests_follow_the_variables(op):
    x, y = pair((3, 4))
    y.attach_grad(grad_req="add")
    for _ in range(2):
        with autograd.record():
            out = op(x, y)
        out.backward()
    twice = y.grad.asnumpy()
    y.attach_grad(grad_req="write")
    with autograd.record():
        out = op(x, y)
    out.backward()
    np.testing.assert_allclose(twice, 2 * y.grad.asnumpy(), rtol=1e-6)


def test_the_same_array_twice():
    x = nd.array([1.0, 2.0])
    x.attach_grad()
    op = CachedOp(mx.sym.var("a") * mx.sym.var("b"))
    with autograd.record():
        out = op(x, x)
    out.backward()
    assert x.grad.asnumpy().tolist() == [2, 4]


def test_gradient_of_gradient(op):
    x, y = pair((3, 4))

    def second(function):
        with autograd.record():
            grad = autograd.grad(function(x, y), [x], create_graph=True)[0]
            out = grad * grad
        out.backward()
        return x.grad.asnumpy()

    np.testing.assert_allclose(second(op), second(chain), rtol=1e-5)


def test_threads(op):
    x, y = pair((64, 64))
    expected = chain(x, y).asnumpy()
    wrong = []

    def work():
        for _ in range(50):
            if not np.array_equal(op(x, y).asnumpy(), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_out(op):
    x, y = nd.array([[1.0, 2.0]]), nd.array([[3.0, 4.0]])
    expected = chain(x, y).asnumpy()
    out = nd.zeros((1, 2))
    assert op(x, y, out=out) is out
    assert np.array_equal(out.asnumpy(), expected)
    op(x, y, out=x)
    assert np.array_equal(x.asnumpy(), expected)
    with pytest.raises(mx.MXNetError, match="output 0"):
        op(x, y, out=nd.zeros((3,)))


def test_forward_on_arrays_is_traced():
    class Net(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.dense = mx.gluon.nn.Dense(8)

        def forward(self, x):
            h = self.dense(x).tanh().reshape((0, 2, 4)).reshape((0, -1))
            return h * 2 + h[:, 0:1], h[0]

    net = Net()
    net.initialize()
    x = nd.random.normal(shape=(5, 4))
    expected = [out.asnumpy() for out in net(x)]
    net.hybridize()
    for _ in range(2):
        for out, value in zip(net(x), expected):
            np.testing.assert_allclose(out.asnumpy(), value, rtol=1e-6)


def test_random_operators_draw_anew_and_backward_sees_the_same_mask():
    op = CachedOp(mx.sym.Dropout(mx.sym.var("x"), p=0.5))
    x = nd.ones((1000,))
    x.attach_grad()
    outs = []
    for _ in range(2):
        with autograd.record():
            out = op(x)
        out.backward()
        assert np.array_equal(out.asnumpy(), x.grad.asnumpy())
        outs.append(out.asnumpy())
    assert not np.array_equal(*outs)


def test_an_output_without_gradient_does_not_disturb_others():
    x = mx.sym.var("x")
    op = CachedOp(mx.sym.Group([x * 2, mx.sym.random.multinomial(mx.sym.softmax(x))]))
    a = nd.ones((2, 3))
    a.attach_grad()
    with autograd.record():
        doubled, _ = op(a)
    doubled.backward()
    assert (a.grad.asnumpy() == 2).all()


def test_data_dependent_operators_run_eagerly():
    x = mx.sym.var("x")
    if not hasattr(mx.sym.contrib, "boolean_mask"):
        pytest.skip("no operator with extents that depend on data")
    op = CachedOp(mx.sym.contrib.boolean_mask(x * 2, mx.sym.var("mask")))
    a = nd.array([[1, 2], [3, 4], [5, 6]])
    a.attach_grad()
    with autograd.record():
        out = op(a, nd.array([1, 0, 1]))
    out.backward()
    assert out.asnumpy().tolist() == [[2, 4], [10, 12]]
    assert a.grad.asnumpy().tolist() == [[2, 2], [0, 0], [2, 2]]


def test_bad_calls(op):
    x, y = pair((3, 4))
    with pytest.raises(TypeError, match="takes 2 inputs"):
        op(x)
    with pytest.raises(TypeError, match="NDArray"):
        op(x, 3)
    with pytest.raises(mx.MXNetError, match="_plus"):
        op(x, nd.ones((5, 5)))
    with pytest.raises(mx.MXNetError, match="nothing"):
        CachedOp(mx.sym.var("x") * 2, [("nothing", 1)])
    assert op(x, y).shape == (3, 4)
