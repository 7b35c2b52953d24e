# SPDX-License-Identifier: Apache-2.0
"""Loops and branches: eager = hybridized = bound, with gradients; what files hold; what is refused."""

import gc
import json

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet._core import _ext

RTOL = 1e-5


class Run(gluon.HybridBlock):
    """A function of (F, *arrays) as a block."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def hybrid_forward(self, F, *args):
        return self.function(F, *args)


def flat(value):
    return [leaf for item in value for leaf in flat(item)] if isinstance(value, (list, tuple)) else [value]


def eager_or_hybrid(function, arrays, hybridize):
    block = Run(lambda F, *args: flat(function(F, *args)))
    if hybridize:
        block.hybridize()
    arrays = [nd.array(a) for a in arrays]
    for a in arrays:
        a.attach_grad()
    with autograd.record():
        outputs = block(*arrays)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        heads = [nd.cos(out).sum() for out in outputs]  # a gradient that differs from element to element
    autograd.backward(heads)
    return [out.asnumpy() for out in outputs] + [a.grad.asnumpy() for a in arrays]


def bound(function, arrays, reload):
    names = [f"x{i}" for i in range(len(arrays))]
    outputs = mx.sym.Group([mx.sym.identity(s) for s in flat(function(mx.sym, *map(mx.sym.var, names)))])
    if reload:
        text = outputs.tojson()
        outputs = mx.sym.load_json(text)
        assert outputs.tojson() == text
    args = {name: nd.array(a) for name, a in zip(names, arrays)}
    ex = outputs.bind(mx.cpu(), args, args_grad={name: nd.zeros(a.shape) for name, a in args.items()})
    ex.forward(is_train=True)
    ex.backward([-nd.sin(out) for out in ex.outputs])
    shapes = outputs.infer_shape(**{name: a.shape for name, a in args.items()})[1]
    assert shapes == [out.shape for out in ex.outputs]
    return [out.asnumpy() for out in ex.outputs] + [ex.grad_dict[name].asnumpy() for name in names]


def check_all_forms(function, arrays):
    """The results and gradients, after checking that every way to run the function gives the same."""
    wanted = eager_or_hybrid(function, arrays, False)
    for got in (eager_or_hybrid(function, arrays, True), bound(function, arrays, False), bound(function, arrays, True)):
        assert len(got) == len(wanted)
        for g, w in zip(got, wanted):
            np.testing.assert_allclose(g, w, rtol=RTOL, atol=1e-6)
    return wanted


def arrays(*shapes):
    rng = np.random.default_rng(3)
    return [rng.uniform(0.5, 1.5, shape).astype("float32") for shape in shapes]


def scan(F, x, s, w):
    outer = F.exp(w)

    def body(x, s):
        y = F.broadcast_add(x * s, outer)
        return y, s + y * 0.1

    return F.contrib.foreach(body, x, s)


def test_foreach():
    x, s, w = arrays((4, 2, 3), (2, 3), (1, 3))
    out, last, *_ = check_all_forms(scan, [x, s, w])
    state, rows = s, []
    for step in x:
        rows.append(step * state + np.exp(w))
        state = state + rows[-1] * 0.1
    np.testing.assert_allclose(out, rows, rtol=RTOL)
    np.testing.assert_allclose(last, state, rtol=RTOL)


@pytest.mark.parametrize("length", [1, 2])
def test_foreach_over_vectors(length):
    out = check_all_forms(lambda F, x, s: F.contrib.foreach(lambda x, s: (x * s, s + x), x, s), arrays((length,), (1,)))
    assert out[0].shape == (length, 1)


def test_foreach_nested_formats():
    def function(F, x, y, s):
        def body(data, states):
            (a, (b,)), (s, (t,)) = data, states
            return [a * s, [b + t]], [s + b, [t * 1.5]]

        return F.contrib.foreach(body, [x, [y]], [s, [s]])

    check_all_forms(function, arrays((3, 2), (3, 2), (2,)))
    x, y, s = map(mx.sym.var, "xys")
    out, states = mx.sym.contrib.foreach(lambda d, s: ([d[0], [d[1][0]]], [s[0] * 1, [s[1][0] * 1]]), [x, [y]],
                                         [s, [s]])
    assert [type(part) for part in (out, out[1], states, states[1])] == [list] * 4


@pytest.mark.parametrize("case", ["no outputs", "no states", "passed through", "one output twice"])
def test_foreach_corners(case):
    def function(F, x, s):
        if case == "no outputs":
            return F.contrib.foreach(lambda x, s: ([], [s[0] + x]), x, [s])[1]
        if case == "no states":
            return [F.contrib.foreach(lambda x, s: (x * 2, []), x, [])[0], s * 1]
        if case == "passed through":
            return F.contrib.foreach(lambda x, s: (x, s), x, s)

        def body(x, s):
            y = x * s
            return [y, y], y

        return F.contrib.foreach(body, x, s)

    check_all_forms(function, arrays((3, 2), (2,)))


def test_loops_in_loops():
    def function(F, x, s, w):
        def outer(rows, s):
            out, s = F.contrib.foreach(lambda row, t: (row * w + t, F.tanh(t + row)), rows, s)
            total = F.contrib.while_loop(lambda i, a: i < 3, lambda i, a: ([], [i + 1, a + s * i]),
                                         [F.sum(s) * 0, s], max_iterations=5)[1][1]
            return [out, total], s

        return F.contrib.foreach(outer, x, s)

    check_all_forms(function, arrays((3, 2, 4), (4,), (4,)))


def loop(F, i, a, w):
    return F.contrib.while_loop(lambda i, a: i < 5, lambda i, a: ([a * w, i], [i + 1, F.tanh(a + i * w)]), [i, a],
                                max_iterations=8)


def test_while_loop():
    i, a, w = np.zeros(1, "float32"), *arrays((3,), (3,))
    out, counts, last, *_ = check_all_forms(loop, [i, a, w])
    assert out.shape == (8, 3) and last[0] == 5
    np.testing.assert_array_equal(counts[:, 0], [0, 1, 2, 3, 4, 0, 0, 0])
    assert not out[5:].any()


def test_while_loop_that_is_cut_off():
    out = check_all_forms(lambda F, i: F.contrib.while_loop(lambda i: i < 5, lambda i: (i * 2, i + 1), i,
                                                            max_iterations=2), [np.zeros(1, "float32")])
    np.testing.assert_array_equal(out[0], [[0], [2]])


def test_while_loop_without_a_step():
    i, a = np.full(1, 9, "float32"), arrays((3,))[0]
    got = bound(lambda F, i, a: loop(F, i, a, a), [i, a], False)
    assert not got[0].any() and got[0].shape == (8, 3) and got[2] == 9
    assert nd.contrib.while_loop(lambda i: i < 5, lambda i: (i, i), nd.array(i), max_iterations=3)[0] == []


def test_while_loop_without_outputs():
    check_all_forms(lambda F, i, a: F.contrib.while_loop(lambda i, a: F.sum(a) < 20, lambda i, a: ([], [i + 1, a * 2]),
                                                         [i, a], max_iterations=9)[1],
                    [np.zeros(1, "float32"), *arrays((3,))])


@pytest.mark.parametrize("value", [1.0, 7.0])
def test_cond(value):
    def function(F, p, a, b):
        return F.contrib.cond(F.sum(p) < 5, lambda: [a * b, a], lambda: [a - b, F.exp(b)])

    out = check_all_forms(function, [np.full(1, value, "float32"), *arrays((2, 2), (2, 2))])
    assert len(out) == 5


def test_cond_in_foreach():
    def function(F, x, s):
        def body(x, s):
            return F.contrib.cond(F.sum(x) > 2, lambda: x * s, lambda: x + s), s + x

        return F.contrib.foreach(body, x, s)

    check_all_forms(function, arrays((5, 2), (2,)))


def test_second_order():
    def function(x, s):
        out, last = nd.contrib.foreach(lambda x, s: (x * s, s * x * x), x, s)
        return out.sum() + last.sum()

    def gradient_of_gradient(block):
        x, s = map(nd.array, arrays((3, 2), (2,)))
        x.attach_grad()
        with autograd.record():
            y = block(x, s)
            gradient = autograd.grad(y, x, create_graph=True)[0]
            z = (gradient * gradient).sum()
        z.backward()
        return x.grad.asnumpy()

    block = Run(lambda F, x, s: sum(F.sum(part) for part in F.contrib.foreach(
        lambda x, s: (x * s, s * x * x), x, s)))
    block.hybridize()
    np.testing.assert_allclose(gradient_of_gradient(block), gradient_of_gradient(function), rtol=1e-4)


class Recurrent(gluon.HybridBlock):
    """An unrolled cell with weights of unknown shapes, and a norm with moving statistics inside the loop."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.inner = gluon.nn.Dense(4, flatten=False)
            self.hidden = gluon.nn.Dense(4, flatten=False)
            self.norm = gluon.nn.BatchNorm(axis=1)
            self.out = gluon.nn.Dense(2)

    def hybrid_forward(self, F, x, s):
        def body(x, s):
            h = F.tanh(self.norm(self.inner(x) + self.hidden(s)))
            return h, h

        out, last = F.contrib.foreach(body, x, s)
        return self.out(F.sum(out, axis=0) + last)


def test_blocks_in_loops():
    x, s = map(nd.array, arrays((5, 3, 6), (3, 4)))
    results = []
    for hybridize in (False, True):
        mx.random.seed(1)
        net = Recurrent()
        net.initialize(mx.init.Normal(0.5))
        if hybridize:
            net.hybridize()
        for _ in range(2):
            with autograd.record():
                y = net(x, s)
            y.backward()
        results.append([y.asnumpy(), net.inner.weight.grad().asnumpy(), net.norm.running_mean.data().asnumpy(),
                        net(x, s).asnumpy()])
    for got, wanted in zip(*results):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_export_and_import(tmp_path):
    x, s = map(nd.array, arrays((5, 3, 6), (3, 4)))
    net = Recurrent()
    net.initialize()
    net.hybridize()
    wanted = net(x, s).asnumpy()
    net.export(str(tmp_path / "net"))
    again = gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data0", "data1"],
                                      str(tmp_path / "net-0000.params"))
    np.testing.assert_allclose(again(x, s).asnumpy(), wanted, rtol=1e-6)


# As 1.9.1 writes mx.sym.contrib.while_loop(lambda i, a: i < 5, lambda i, a: ([a * 2], [i + 1, a + i]), ...).
WHILE_NODE = {
    "op": "_while_loop", "name": "_while_loop0",
    "attrs": {"cond_input_locs": "[0]", "func_input_locs": "[1, 0]", "func_var_locs": "[1, 0]", "max_iterations": "8",
              "num_args": "4", "num_out_data": "1", "num_outputs": "3"},
    "inputs": [[0, 0, 0], [1, 0, 0]],
    "subgraphs": [
        {"nodes": [
            {"op": "null", "name": "i-0", "attrs": {"__subgraph_name__": "wl_cond0"}, "inputs": []},
            {"op": "_lesser_scalar", "name": "_lesser_scalar0",
             "attrs": {"__subgraph_name__": "wl_cond0", "scalar": "5"}, "inputs": [[0, 0, 0]]}],
         "arg_nodes": [0], "node_row_ptr": [0, 1, 2], "heads": [[1, 0, 0]]},
        {"nodes": [
            {"op": "null", "name": "a-0", "attrs": {"__subgraph_name__": "wl_func0"}, "inputs": []},
            {"op": "_mul_scalar", "name": "_mulscalar0",
             "attrs": {"__subgraph_name__": "wl_func0", "scalar": "2"}, "inputs": [[0, 0, 0]]},
            {"op": "null", "name": "i-0", "attrs": {"__subgraph_name__": "wl_func0"}, "inputs": []},
            {"op": "_plus_scalar", "name": "_plusscalar0",
             "attrs": {"__subgraph_name__": "wl_func0", "scalar": "1"}, "inputs": [[2, 0, 0]]},
            {"op": "elemwise_add", "name": "_plus0", "attrs": {"__subgraph_name__": "wl_func0"},
             "inputs": [[0, 0, 0], [2, 0, 0]]}],
         "arg_nodes": [0, 2], "node_row_ptr": [0, 1, 2, 3, 4, 5], "heads": [[1, 0, 0], [3, 0, 0], [4, 0, 0]]}]}


def test_what_files_hold():
    i, a = mx.sym.var("i"), mx.sym.var("a")
    with mx.name.NameManager():
        out, last = mx.sym.contrib.while_loop(lambda i, a: i < 5, lambda i, a: ([a * 2], [i + 1, a + i]), [i, a],
                                              max_iterations=8, name="wl")
    node = json.loads(mx.sym.Group([*out, *last]).tojson())["nodes"][-1]
    assert node == WHILE_NODE


def broken_files():
    i = mx.sym.var("i")
    text = mx.sym.contrib.while_loop(lambda i: i < 5, lambda i: (i, i + 1), i, max_iterations=8)[0].tojson()
    for change in (lambda n: n.pop("subgraphs"), lambda n: n["subgraphs"].pop(), lambda n: n.update(subgraphs=3),
                   lambda n: n["subgraphs"][0].pop("heads"), lambda n: n["attrs"].update(func_var_locs="[7]"),
                   lambda n: n["attrs"].update(cond_input_locs="[]"), lambda n: n["attrs"].update(num_outputs="5"),
                   lambda n: n["attrs"].update(num_args="9"), lambda n: n["attrs"].update(max_iterations="-1"),
                   lambda n: n["subgraphs"].__setitem__(0, n["subgraphs"][1])):
        data = json.loads(text)
        change(data["nodes"][-1])
        yield json.dumps(data)


@pytest.mark.parametrize("text", list(broken_files()))
def test_broken_files_are_refused(text):
    with pytest.raises(ValueError, match="_while_loop|subgraph|heads"):
        mx.sym.load_json(text).bind(mx.cpu(), {"i": nd.zeros((1,))}).forward()


def test_what_is_refused():
    x, s = mx.sym.var("x"), mx.sym.var("s")
    for call, error, text in [
        (lambda: nd.contrib.foreach(lambda x, s: (x, s), 3, []), ValueError, "data must be an NDArray"),
        (lambda: nd.contrib.foreach(lambda x, s: (x, s), nd.array([]), []), ValueError, "no step"),
        (lambda: nd.contrib.foreach(lambda x, s: (x, s), [nd.ones((2,)), nd.ones((3,))], []), ValueError, "lengths"),
        (lambda: nd.contrib.while_loop(lambda i: 1, lambda i: (i, i), nd.ones((1,))), ValueError, "max_iterations"),
        (lambda: nd.contrib.while_loop(lambda: 1, lambda: (1, 1), [], 3), ValueError, "at least one"),
        (lambda: nd.contrib.while_loop(lambda i: i, lambda i: (i, i), nd.ones((2,)), 3), ValueError, "one element"),
        (lambda: nd.contrib.cond(nd.ones((2,)), lambda: 1, lambda: 2), ValueError, "one element"),
        (lambda: mx.sym.contrib.foreach(lambda x, s: (s, s), x, s), AssertionError, "data arrays have to be used"),
        (lambda: mx.sym.contrib.foreach(lambda x, s: (x, x), x, s), AssertionError, "state arrays have to be used"),
        (lambda: mx.sym.contrib.foreach(lambda x, s: (x, [s, s]), x, s), AssertionError, "different format"),
        (lambda: mx.sym.contrib.foreach(lambda x, s: (x, s), nd.ones((1,)), s), ValueError, "must be a Symbol"),
        (lambda: mx.sym.contrib.while_loop(lambda i: i, lambda i: (i, [i, i]), x, 3), ValueError, "1 loop variables"),
        (lambda: mx.sym.contrib.cond(x, lambda: x, lambda: [x, s]), ValueError, "same nesting"),
        (lambda: _ext.call_with_text("_foreach", [nd.ones((2,))], [
            ("num_args", "2"), ("num_outputs", "1"), ("num_out_data", "1"), ("in_data_locs", "[0]"),
            ("in_state_locs", "[]"), ("remain_locs", "[]")], None), ValueError, "no subgraph"),
    ]:
        with pytest.raises(error, match=text):
            call()


def test_shapes_that_do_not_fit():
    x, s = mx.sym.var("x"), mx.sym.var("s")
    out, _ = mx.sym.contrib.foreach(lambda d, s: (mx.sym.dot(d[0], s) + d[1], s), [x, mx.sym.var("y")], s)
    with pytest.raises(ValueError, match="lengths 3 and 4"):
        out.infer_shape(x=(3, 2, 2), y=(4, 2, 2), s=(2, 2))
    with pytest.raises(ValueError):
        out.infer_shape(x=(3, 2, 2), y=(3, 2, 2), s=(3, 2))


def test_empty_data():
    out, last = mx.sym.contrib.foreach(lambda x, s: (x * 2, s + 1), mx.sym.var("x"), mx.sym.var("s"))
    rows, state = _ext.CachedOp(mx.sym.Group([out, last]))(mx.nd.ones((3, 2))[3:], nd.ones((2,)))
    assert rows.shape == (0, 2) and state.asnumpy().tolist() == [1, 1]


def test_attributes_keep_the_graph():
    out, _ = mx.sym.contrib.foreach(lambda x, s: (x * 2, s + 1), mx.sym.var("x"), mx.sym.var("s"))
    out._set_attr(lr_mult="2")
    assert "subgraphs" in out.tojson()


def test_memory_does_not_grow():
    block = Run(lambda F, x, s: F.contrib.foreach(lambda x, s: (x * s, F.tanh(s + x)), x, s)[0])
    block.hybridize()
    x, s = nd.ones((20, 64)), nd.ones((64,))
    x.attach_grad()

    def used():
        nd.waitall()
        gc.collect()
        return mx.storage.stats(mx.cpu())["in_use"]

    for step in range(12):
        with autograd.record():
            y = block(x, s)
        y.backward()
        if step == 5:
            before = used()
    assert used() <= before
