# SPDX-License-Identifier: Apache-2.0
import gc

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, nd


def leaf(values, req="write"):
    x = nd.array(values)
    x.attach_grad(req)
    return x


def test_scopes():
    assert not autograd.is_recording() and not autograd.is_training()
    with autograd.record():
        assert autograd.is_recording() and autograd.is_training()
        with autograd.pause():
            assert not autograd.is_recording() and not autograd.is_training()
        with autograd.predict_mode():
            assert autograd.is_recording() and not autograd.is_training()
    with autograd.record(train_mode=False):
        assert autograd.is_recording() and not autograd.is_training()
    with autograd.train_mode():
        assert autograd.is_training() and not autograd.is_recording()
    assert not autograd.is_recording()

    @autograd.pause()
    def quiet():
        return autograd.is_recording()

    with autograd.record():
        assert not quiet() and autograd.is_recording()
    with pytest.raises(ZeroDivisionError):
        with autograd.record():
            raise ZeroDivisionError
    assert not autograd.is_recording()


def test_chain_and_accumulation():
    x = leaf([1, 2, 3])
    with autograd.record():
        y = x * x + 2 * x
        z = (y * x).sum()
    z.backward()
    v = np.array([1, 2, 3.0])
    np.testing.assert_allclose(x.grad.asnumpy(), 3 * v**2 + 4 * v, rtol=1e-6)


def test_head_gradients_and_several_heads():
    x = leaf([1, 2])
    with autograd.record():
        y, z = x * 2, x * 3
    autograd.backward([y, z], [nd.array([1, 10]), None])
    np.testing.assert_array_equal(x.grad.asnumpy(), [5, 23])
    with autograd.record():
        y = x * 2
    with pytest.raises(ValueError):
        y.backward(nd.ones((5,)))


def test_requests():
    for req, expected in (("write", [2, 2]), ("add", [6, 6]), ("null", None)):
        x = leaf([1, 1], req)
        for _ in range(3):
            with autograd.record():
                y = x * 2
            if req == "null":
                with autograd.record():
                    w = leaf([1, 1])
                    y = x * 2 * w
            y.backward()
        if expected:
            np.testing.assert_array_equal(x.grad.asnumpy(), expected)
    with pytest.raises(ValueError):
        leaf([1], "sum")


def test_gradient_buffer_is_one_array_for_life():
    x = leaf([1, 2])
    held = x.grad
    with autograd.record():
        y = x * x
    y.backward()
    np.testing.assert_array_equal(held.asnumpy(), [2, 4])
    outside = leaf([5])
    outside.grad[:] = 42
    blocked = leaf([1, 2])
    blocked.grad[:] = 42
    with autograd.record():
        y = nd.BlockGrad(blocked) + x
    y.backward()
    np.testing.assert_array_equal(outside.grad.asnumpy(), [42])
    np.testing.assert_array_equal(blocked.grad.asnumpy(), [0, 0])
    np.testing.assert_array_equal(held.asnumpy(), [1, 1])


def test_fresh_flag():
    x = leaf([1])
    assert not x._fresh_grad
    with autograd.record():
        y = x * 2
    y.backward()
    assert x._fresh_grad
    x._fresh_grad = False
    assert not x._fresh_grad


def test_current_values_are_read():
    x, w = leaf([2.0]), leaf([1.0])
    with autograd.record():
        y = x * w
    w[:] = 7
    y.backward()
    assert x.grad.asscalar() == 7
    with autograd.record():
        y = nd.exp(x)
    y[:] = 100
    y.backward()
    assert x.grad.asscalar() == 100


@pytest.mark.parametrize("write", [
    lambda x, y: x.__iadd__(1),
    lambda x, y: y.__iadd__(1),
    lambda x, y: x.__setitem__(slice(None), 3),
    lambda x, y: y.__setitem__(0, 3),
    lambda x, y: nd.exp(x, out=y),
    lambda x, y: nd.zeros((3,)).__setitem__(slice(0, 2), y),
])
def test_refused_while_recording(write):
    x = leaf([1, 2])
    with autograd.record():
        y = x * 2
        with pytest.raises(mx.MXNetError):
            write(x, y)


def test_recorded_assignment_to_a_whole_buffer():
    x = leaf([1, 2])
    buffer = nd.zeros((2,))
    with autograd.record():
        buffer[:] = x * 3
        z = buffer * 2
    z.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [6, 6])


def test_view_made_outside_is_not_connected():
    x = leaf([[1, 2], [3, 4]])
    outside = x[0]
    with autograd.record():
        y = x[0] * 2
        z = outside * 5
    with pytest.raises(mx.MXNetError):
        z.backward()
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [[2, 2], [0, 0]])


def test_indexing_is_differentiable():
    x = leaf(np.arange(12.0).reshape(3, 4))
    for key in (0, (0, 1), (slice(None), 2), (slice(None, None, 2), slice(1, 3)), [0, 0, 2], (Ellipsis, 1)):
        with autograd.record():
            y = (x[key] * 2).sum()
        y.backward()
        expected = np.zeros((3, 4))
        np.add.at(expected, key, 2)
        np.testing.assert_array_equal(x.grad.asnumpy(), expected, err_msg=str(key))


def test_second_backward_needs_retain_graph():
    x = leaf([3.0])
    with autograd.record():
        y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.asscalar() == 6
    with pytest.raises(mx.MXNetError, match="retain_graph"):
        y.backward()
    with autograd.record():
        a = x * x
        b = a * 2
    b.backward()
    with autograd.record():
        c = a * x  # `a` is a constant now
    c.backward()
    assert x.grad.asscalar() == 9


def test_nothing_recorded():
    x = nd.ones((2,))
    with pytest.raises(mx.MXNetError, match="record"):
        (x * 2).backward()


def test_grad_leaves_buffers_alone():
    x = leaf([1.0, 2.0])
    x.grad[:] = 5
    with autograd.record():
        y = x * x
    g = autograd.grad(y, x)[0]
    np.testing.assert_array_equal(g.asnumpy(), [2, 4])
    np.testing.assert_array_equal(x.grad.asnumpy(), [5, 5])


def test_grad_of_intermediates_and_unused():
    x, u = leaf([2.0]), leaf([3.0])
    with autograd.record():
        m = x * 3
        y = m * m + u * 0
    gm, gx, gu = autograd.grad(y, [m, x, u])
    assert gm.asscalar() == 12 and gx.asscalar() == 36 and gu.asscalar() == 0
    with autograd.record():
        y = x * x
    g = autograd.grad(y, [u])
    assert g[0].asscalar() == 0


def test_higher_order():
    x = leaf([0.5, 1.5])
    with autograd.record():
        y = nd.sin(x) * nd.exp(x)
        g = autograd.grad(y, x, create_graph=True, retain_graph=True)[0]
        h = autograd.grad(g, x, create_graph=True, retain_graph=True)[0]
    h.backward()
    v = np.array([0.5, 1.5])
    np.testing.assert_allclose(g.asnumpy(), np.exp(v) * (np.sin(v) + np.cos(v)), rtol=1e-5)
    np.testing.assert_allclose(h.asnumpy(), 2 * np.exp(v) * np.cos(v), rtol=1e-5)
    np.testing.assert_allclose(x.grad.asnumpy(), 2 * np.exp(v) * (np.cos(v) - np.sin(v)), rtol=1e-5)


def test_gradient_penalty():
    x, w = leaf([[1.0, 2.0]]), leaf([[3.0, -1.0]])
    with autograd.record():
        y = nd.FullyConnected(nd.tanh(x * w), nd.ones((1, 2)), num_hidden=1, no_bias=True)
        g = autograd.grad(y, x, create_graph=True, retain_graph=True)[0]
        loss = (g * g).sum()
    loss.backward()
    eps = 1e-3

    def penalty(v):
        t = np.tanh(np.array([[1.0, 2.0]]) * v)
        return (((1 - t * t) * v) ** 2).sum()

    base = np.array([[3.0, -1.0]])
    expected = [[(penalty(base + eps * e) - penalty(base - eps * e)) / (2 * eps) for e in np.eye(2)]]
    np.testing.assert_allclose(w.grad.asnumpy(), np.array(expected).reshape(1, 2), rtol=1e-2, atol=1e-4)


def test_attach_grad_cuts_the_graph():
    x = leaf([2.0])
    with autograd.record():
        y = x * 3
        y.attach_grad()
        z = y * y
    z.backward()
    assert y.grad.asscalar() == 12
    assert x.grad.asscalar() == 0


def test_detach():
    x = leaf([2.0])
    with autograd.record():
        y = x * x
        z = y.detach() * x
    z.backward()
    assert x.grad.asscalar() == 4


def test_integer_gradients():
    x = nd.array([2, 3], dtype="int32")
    x.attach_grad()
    with autograd.record():
        y = x * x
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [4, 6])


def test_broadcast_gradients():
    a, b = leaf(np.ones((3, 1))), leaf(np.ones((1, 4)))
    with autograd.record():
        y = a + b * 2
    y.backward()
    assert a.grad.shape == (3, 1) and (a.grad.asnumpy() == 4).all()
    assert b.grad.shape == (1, 4) and (b.grad.asnumpy() == 6).all()


def test_long_tape():
    x = leaf([1.0])
    with autograd.record():
        y = x
        for _ in range(100_000):
            y = y + 1
    y.backward()
    assert x.grad.asscalar() == 1
    with autograd.record():
        y = x
        for _ in range(100_000):
            y = y + 1
    del y
    gc.collect()


class Sigmoid(autograd.Function):
    def forward(self, x):
        y = 1 / (1 + nd.exp(-x))
        self.save_for_backward(y)
        return y

    def backward(self, dy):
        y, = self.saved_tensors
        return dy * y * (1 - y)


def test_function():
    x = leaf([0.0, 1.0])
    with autograd.record():
        y = Sigmoid()(x * 2)
    y.backward()
    s = 1 / (1 + np.exp(-np.array([0, 2.0])))
    np.testing.assert_allclose(x.grad.asnumpy(), 2 * s * (1 - s), rtol=1e-5)
    f = Sigmoid()
    f(x)
    with pytest.raises(RuntimeError):
        f(x)


def test_function_with_several_inputs_and_outputs():
    class Split(autograd.Function):
        def forward(self, a, b):
            return a + b, a - b

        def backward(self, ds, dd):
            return ds + dd, ds - dd

    a, b = leaf([1.0]), leaf([2.0])
    with autograd.record():
        s, d = Split()(a, b)
        y = s * 3 + d * 5
    y.backward()
    assert a.grad.asscalar() == 8 and b.grad.asscalar() == -2
    with autograd.record():
        s, _ = Split()(a, b)
    s.backward()
    assert a.grad.asscalar() == 1


def test_exception_in_function_backward():
    class Bad(autograd.Function):
        def forward(self, x):
            return x * 1

        def backward(self, dy):
            raise KeyError("mine")

    x = leaf([1.0])
    with autograd.record():
        y = Bad()(x)
    with pytest.raises(KeyError, match="mine"):
        y.backward()
    with autograd.record():
        y = x * 2
    y.backward()
    assert x.grad.asscalar() == 2 and not autograd.is_recording()


def test_flags_belong_to_a_thread():
    import threading
    seen = []
    with autograd.record():
        thread = threading.Thread(target=lambda: seen.append((autograd.is_recording(), autograd.is_training())))
        thread.start()
        thread.join()
    assert seen == [(False, False)]


def test_mark_variables():
    x, g = nd.ones((2,)), nd.zeros((2,))
    autograd.mark_variables([x], [g])
    with autograd.record():
        y = x * 4
    y.backward()
    np.testing.assert_array_equal(g.asnumpy(), [4, 4])
    with pytest.raises(mx.MXNetError):
        autograd.mark_variables([x], [nd.zeros((3,))])


def test_get_symbol():
    a, b = nd.array([[1.0, 2], [3, 4]]), nd.array([[1.0, 0], [2, 1]])
    a.attach_grad()
    with autograd.record():
        first, second = nd.split(nd.dot(a, b) + a * 2, num_outputs=2)
        out = first * second
    symbol = autograd.get_symbol(out)
    assert symbol.list_arguments() == ["var0", "null0"]
    assert symbol.list_outputs() == ["node_4_output"]
    again = symbol.bind(mx.cpu(), {"var0": a, "null0": b}).forward()[0]
    np.testing.assert_array_equal(again.asnumpy(), out.asnumpy())
    assert autograd.get_symbol(a).list_arguments() == ["var0"]
    with pytest.raises(TypeError, match="NDArray"):
        autograd.get_symbol(3)


def test_get_symbol_of_a_hybridized_block():
    block = mx.gluon.nn.Dense(2, activation="relu")
    block.initialize()
    block.hybridize()
    x = nd.ones((3, 4))
    with autograd.record():
        out = (block(x) * 2).sum()
    symbol = autograd.get_symbol(out)
    operators = [name for name in symbol.get_internals().list_outputs() if name.endswith("_output")]
    assert len(operators) == 4 and symbol.list_arguments()[0].startswith("null")
