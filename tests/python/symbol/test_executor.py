# SPDX-License-Identifier: Apache-2.0
"""Executors: binding, requests, monitors, reshape."""
import re

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, nd


def product():
    return mx.sym.var("x") * mx.sym.var("y")


def filled(executor, value=3):
    for array in executor.arg_arrays:
        array[:] = value
    return executor


def test_forward_and_backward():
    executor = filled(product().simple_bind(mx.cpu(), x=(2,), y=(2,)))
    out = executor.forward(is_train=True)
    assert out[0].asnumpy().tolist() == [9, 9]
    executor.backward([nd.array([1, 2])])
    assert executor.grad_dict["x"].asnumpy().tolist() == [3, 6]
    held = executor.outputs[0]
    executor.forward(x=nd.array([1, 2]))
    assert held.asnumpy().tolist() == [3, 6]
    executor.backward(nd.array([1, 1]))
    assert executor.grad_dict["y"].asnumpy().tolist() == [1, 2]
    assert list(executor.output_dict) == executor._symbol.list_outputs()


@pytest.mark.parametrize("req", ["add", ["add", "null"], {"x": "add"}])
def test_requests(req):
    executor = filled(product().simple_bind(mx.cpu(), grad_req=req, x=(2,), y=(2,)))
    executor.grad_dict["x"][:] = 1
    for _ in range(2):
        executor.forward(is_train=True)
        executor.backward(nd.ones((2,)))
    assert executor.grad_dict["x"].asnumpy().tolist() == [7, 7]
    assert (executor.grad_dict["y"] is None) == (req != "add")


def test_monitor_that_knows_the_executor_does_not_keep_it_alive():
    import gc
    import weakref
    executor = product().simple_bind(mx.cpu(), x=(2,), y=(2,))
    seen = []
    executor.set_monitor_callback(lambda name, array, executor=executor: seen.append(name))
    executor.forward()
    assert seen == executor._symbol.list_outputs()
    alive = weakref.ref(executor)
    del executor
    gc.collect()
    assert alive() is None
    with pytest.raises(TypeError, match="callable"):
        product().simple_bind(mx.cpu(), x=(2,), y=(2,)).set_monitor_callback(3)


def test_reshape_uses_the_memory_that_is_there():
    executor = product().simple_bind(mx.cpu(), x=(4,), y=(4,))
    executor.set_monitor_callback(lambda *_: None)
    smaller = executor.reshape(x=(3,), y=(3,))
    smaller.arg_dict["x"][:] = 7
    assert executor.arg_dict["x"].asnumpy().tolist() == [7, 7, 7, 0]
    assert smaller._monitor is not None


def test_groups_of_devices():
    with mx.AttrScope(ctx_group="one"):
        x = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=3, name="a")
    with mx.AttrScope(ctx_group="two"):
        x = mx.sym.FullyConnected(x, num_hidden=2, name="b")
    executor = x.simple_bind(mx.cpu(5), group2ctx={"one": mx.cpu(0), "two": mx.cpu(1)}, data=(2, 4))
    assert {name: array.context.device_id for name, array in executor.arg_dict.items()} == {
        "data": 0, "a_weight": 0, "a_bias": 0, "b_weight": 1, "b_bias": 1}
    assert executor.grad_dict["b_bias"].context == mx.cpu(1) and executor.outputs[0].context == mx.cpu(1)
    filled(executor, 1)
    assert executor.forward(is_train=True)[0].asnumpy().tolist() == [[16, 16]] * 2
    executor.backward(nd.ones((2, 2)))
    assert executor.grad_dict["data"].asnumpy().tolist() == [[6] * 4] * 2
    for training in (True, False):
        assert executor.forward(is_train=training)[0].context == mx.cpu(1)


def test_bind():
    x, y, grad = nd.array([1, 2]), nd.array([3, 4]), nd.zeros((2,))
    executor = product().bind(mx.cpu(), {"x": x, "y": y}, args_grad={"y": grad})
    executor.forward(is_train=True)
    executor.backward(nd.ones((2,)))
    assert grad.asnumpy().tolist() == [1, 2]
    x[:] = 5
    assert executor.forward()[0].asnumpy().tolist() == [15, 20]
    assert product().eval(x=x, y=y)[0].asnumpy().tolist() == [15, 20]
    with pytest.raises(ValueError, match="`y` is missing"):
        product().bind(mx.cpu(), {"x": x})
    with pytest.raises(ValueError):
        product().bind(mx.cpu(), [x])
    with pytest.raises(ValueError, match="foo"):
        product().simple_bind(mx.cpu(), grad_req="foo", x=(2,), y=(2,))
    with pytest.raises(RuntimeError, match="x"):
        product().simple_bind(mx.cpu())


def test_bad_forward_arguments():
    executor = filled(product().simple_bind(mx.cpu(), x=(2,), y=(2,)))
    with pytest.raises(TypeError, match="z"):
        executor.forward(z=nd.ones((2,)))
    with pytest.raises(ValueError, match="Shape not match"):
        executor.forward(x=nd.ones((3,)))
    executor.forward(is_train=True)
    with pytest.raises(mx.MXNetError, match="loss"):
        executor.backward()


def test_same_numbers_as_the_tape():
    data = mx.sym.var("data")
    net = mx.sym.FullyConnected(data, num_hidden=8, name="a")
    net = mx.sym.FullyConnected(mx.sym.tanh(net), num_hidden=3, name="b")
    executor = net.simple_bind(mx.cpu(), data=(4, 5))
    rng = np.random.RandomState(0)
    arrays = {}
    for name, array in executor.arg_dict.items():
        array[:] = nd.array(rng.randn(*array.shape))
        arrays[name] = array.copy()
        arrays[name].attach_grad()
    with autograd.record():
        hidden = nd.tanh(nd.FullyConnected(arrays["data"], arrays["a_weight"], arrays["a_bias"], num_hidden=8))
        out = nd.FullyConnected(hidden, arrays["b_weight"], arrays["b_bias"], num_hidden=3)
    out.backward()
    executor.forward(is_train=True)
    executor.backward(nd.ones((4, 3)))
    np.testing.assert_allclose(executor.outputs[0].asnumpy(), out.asnumpy(), rtol=1e-5)
    for name, array in arrays.items():
        np.testing.assert_allclose(executor.grad_dict[name].asnumpy(), array.grad.asnumpy(), rtol=1e-4, atol=1e-5)


def test_auxiliary_states_move_once_per_training_forward():
    net = mx.sym.BatchNorm(mx.sym.var("data"), name="bn", momentum=0.5)
    executor = net.simple_bind(mx.cpu(), data=(4, 3))
    executor.arg_dict["data"][:] = nd.array(np.arange(12).reshape(4, 3))
    executor.forward(is_train=False)
    assert executor.aux_dict["bn_moving_mean"].asnumpy().tolist() == [0, 0, 0]
    executor.forward(is_train=True)
    executor.backward(nd.ones((4, 3)))
    np.testing.assert_allclose(executor.aux_dict["bn_moving_mean"].asnumpy(), [2.25, 2.75, 3.25])


def test_monitor():
    net = mx.sym.tanh(product() * 2, name="t")
    executor = filled(net.simple_bind(mx.cpu(), x=(2,), y=(2,)))
    seen = []
    executor.set_monitor_callback(lambda name, array: seen.append(name))
    executor.forward()
    assert seen[-1] == "t_output" and len(seen) == 3
    seen.clear()
    executor.set_monitor_callback(lambda name, array: seen.append(name), monitor_all=True)
    executor.forward()
    assert "x" in seen and "t_data" in seen


def test_reshape_and_copy_params():
    executor = filled(product().simple_bind(mx.cpu(), x=(4,), y=(4,)))
    smaller = executor.reshape(x=(2,), y=(2,))
    assert smaller.outputs[0].shape == (2,)
    with pytest.raises(AssertionError):
        executor.reshape(x=(8,), y=(8,))
    assert executor.reshape(allow_up_sizing=True, x=(8,), y=(8,)).outputs[0].shape == (8,)
    executor.copy_params_from({"x": nd.ones((4,))})
    assert executor.arg_dict["x"].asnumpy().tolist() == [1] * 4
    with pytest.raises(ValueError, match="zz"):
        executor.copy_params_from({"zz": nd.ones((4,))})
    executor.copy_params_from({"zz": nd.ones((4,))}, allow_extra_params=True)


def test_arithmetic_broadcasts_as_for_arrays():
    executor = (mx.sym.var("x") + mx.sym.var("y")).simple_bind(mx.cpu(), x=(2, 3), y=(1, 3))
    executor.arg_dict["y"][:] = nd.array([[1, 2, 3]])
    assert executor.forward(is_train=True)[0].asnumpy().tolist() == [[1, 2, 3], [1, 2, 3]]
    executor.backward(nd.ones((2, 3)))
    assert executor.grad_dict["y"].asnumpy().tolist() == [[2, 2, 2]]
    with pytest.raises(mx.MXNetError, match="_plus"):
        (mx.sym.var("x") + mx.sym.var("y")).simple_bind(mx.cpu(), x=(2, 3), y=(2, 4))


def test_symbolic_gradient():
    x = mx.sym.var("x")
    grad = (x * x).gradient(["x"])
    assert grad.eval(x=nd.array([1, 2]))[0].asnumpy().tolist() == [2, 4]


def unrolled(steps, units):
    """A recurrent layer: each step reads the same weights."""
    weight, state = mx.sym.var("weight"), mx.sym.var("data")
    for _ in range(steps):
        state = mx.sym.tanh(mx.sym.FullyConnected(state, weight, num_hidden=units, no_bias=True))
    return mx.sym.sum(state), {"weight": (units, units), "data": (2, units)}


def test_terms_of_a_sum_of_gradients_are_not_kept():
    symbol, shapes = unrolled(12, 256)
    executor = symbol.simple_bind(mx.cpu(), **shapes)
    one = 4 * 256 * 256
    assert executor.planned_memory()["values"] < 2 * one
    rng = np.random.RandomState(0)
    arrays = {name: rng.randn(*shape).astype("f") / 16 for name, shape in shapes.items()}
    executor.forward(is_train=True, **arrays)
    executor.backward(nd.ones((1,)))
    recorded = {name: nd.array(array) for name, array in arrays.items()}
    for array in recorded.values():
        array.attach_grad()
    with autograd.record():
        state = recorded["data"]
        for _ in range(12):
            state = nd.tanh(nd.FullyConnected(state, recorded["weight"], num_hidden=256, no_bias=True))
        total = state.sum()
    total.backward()
    for name, array in recorded.items():
        np.testing.assert_allclose(executor.grad_dict[name].asnumpy(), array.grad.asnumpy(), rtol=1e-4, atol=1e-5)


def test_terms_that_come_in_another_order_than_the_sums():
    cell, data = mx.rnn.LSTMCell(64, prefix="l_"), mx.sym.Embedding(mx.sym.var("data"), input_dim=5, output_dim=64)
    outputs, _ = cell.unroll(30, data, merge_outputs=True)
    executor = mx.sym.sum(outputs).simple_bind(mx.cpu(), data=(2, 30))
    assert executor.planned_memory()["values"] < 4 * 4 * 4 * 64 * 64


@pytest.mark.parametrize("op", ["dot", "elemwise_mul"])
@pytest.mark.parametrize("grad_req", ["write", "add"])
def test_sums_of_terms_that_kernels_cannot_or_can_add(op, grad_req):
    x, y = mx.sym.var("x"), mx.sym.var("y")
    total = getattr(mx.sym, op)(x, y)
    for _ in range(5):
        total = total + getattr(mx.sym, op)(mx.sym.sin(total), y)
    symbol = mx.sym.sum(total)
    executor = symbol.simple_bind(mx.cpu(), x=(8, 8), y=(8, 8), grad_req=grad_req)
    rng = np.random.RandomState(1)
    for array in executor.grad_arrays:
        array[:] = 3
    executor.forward(is_train=True, x=rng.randn(8, 8) * 0.1, y=rng.randn(8, 8) * 0.1)
    executor.backward(nd.ones((1,)))
    for name in ("x", "y"):
        base = 3 if grad_req == "add" else 0
        probe = rng.randn(8, 8)
        probe /= np.sqrt((probe * probe).sum())
        values = []
        for step in (0.05, -0.05):
            other = {key: value.asnumpy() for key, value in executor.arg_dict.items()}
            other[name] = other[name] + step * probe
            values.append(symbol.eval(ctx=mx.cpu(), **{key: nd.array(v) for key, v in other.items()})[0].asscalar())
        slope = ((executor.grad_dict[name].asnumpy() - base) * probe).sum()
        np.testing.assert_allclose(slope, (values[0] - values[1]) / 0.1, rtol=0.02, atol=0.02)


def test_debug_str_tells_the_memory():
    symbol, shapes = unrolled(3, 512)
    lines = symbol.simple_bind(mx.cpu(), **shapes).debug_str().split("\n")
    assert re.fullmatch(r"Total \d+ MB allocated", lines[-3])
    assert any("Op:FullyConnected" in line for line in lines)
    # Graphs that no plan can hold.
    data = mx.sym.var("data")
    executor = mx.sym.contrib.boolean_mask(data, mx.sym.var("index")).simple_bind(mx.cpu(), data=(3, 2), index=(3,))
    assert executor.planned_memory()["values"] == 0
