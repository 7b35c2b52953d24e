# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers against stacks of cells, and both against what MXNet 1.9.1 gives."""

import json

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import rnn


def fill(block):
    """The same parameters in every program."""
    for k, p in enumerate(block.collect_params().values()):
        p.set_data(nd.array(np.sin(np.arange(np.prod(p.shape)) * (k + 1)).reshape(p.shape)))
    return block


def filled(block):
    block.initialize()
    return fill(block)


def data(*shape):
    return nd.array(np.cos(np.arange(np.prod(shape))).reshape(shape))


def with_gradients(run, *arrays):
    """Outputs of `run`, and the gradients of their squares' sum."""
    for array in arrays:
        array.attach_grad()
    with autograd.record():
        outputs = run()
        total = sum(((o * o).sum() for o in outputs), nd.zeros(1))
    total.backward()
    return [o.asnumpy() for o in outputs], [a.grad.asnumpy() for a in arrays]


def assert_same(got, want, rtol=1e-4):
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=rtol, atol=1e-5)


# Output of the last step of the last row and gradient of the first inputs, in 1.9.1.
FACTS = [
    ("RNN", {}, [0.0, 0.0, 0.94695], [2.00366, 0.40454]),
    (
        "RNN",
        {"activation": "tanh", "bidirectional": True},
        [-0.96978, -0.96101, 0.17017, 0.62214, 0.79243, 0.7297],
        [2.23919, 2.69024],
    ),
    ("LSTM", {"num_layers": 2}, [-0.49895, -0.6243, 0.13207], [-0.11878, -0.09391]),
    (
        "LSTM",
        {"bidirectional": True, "layout": "NTC"},
        [-0.23718, 0.11896, -0.04086, -0.29352, -0.3235, 0.15215],
        [0.29033, -0.01634],
    ),
    (
        "GRU",
        {"num_layers": 2, "bidirectional": True},
        [0.10808, 0.37713, 0.75115, 0.5916, -0.17958, 0.51803],
        [-0.1254, -0.01384],
    ),
]


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("kind,params,last,gradient", FACTS)
def test_numbers_of_1_9(kind, params, last, gradient, hybrid):
    layer = filled(getattr(rnn, kind)(3, input_size=2, **params))
    if hybrid:
        layer.hybridize()
    x = data(4, 2, 2)
    (y,), (dx,) = with_gradients(lambda: [layer(x)], x)
    np.testing.assert_allclose(y[-1, -1], last, atol=2e-5)
    np.testing.assert_allclose(dx[0, 0], gradient, atol=2e-5)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("layout", ["TNC", "NTC"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind,more", [("RNN", {"activation": "tanh"}), ("RNN", {}), ("LSTM", {}), ("GRU", {})])
def test_layer_is_a_stack_of_cells(kind, more, directions, layout, hybrid):
    layer = filled(getattr(rnn, kind)(5, 2, layout=layout, bidirectional=directions == 2, input_size=3, **more))
    cells = layer._unfuse()
    if hybrid:
        layer.hybridize()
    x = data(4, 3, 3)
    params = [p.data() for p in layer.collect_params().values()]
    states = layer.begin_state(x.shape[layout.find("N")], func=nd.ones)

    def fused():
        y, last = layer(x, states)
        return [y, *last]

    def unrolled():
        kinds = len(states)  # cells hold h and c of a layer together, the layer all h, then all c
        begin = [states[k][i] for i in range(2 * directions) for k in range(kinds)]
        y, last = cells.unroll(x.shape[layout.find("T")], x, begin, layout=layout, merge_outputs=True)
        return [y, *(nd.stack(*last[k::kinds]) for k in range(kinds))]

    got, got_gradients = with_gradients(fused, x, *states, *params)
    want, want_gradients = with_gradients(unrolled, x, *states, *params)
    assert_same(got, want)
    assert_same(got_gradients, want_gradients)


@pytest.mark.parametrize("hybrid", [False, True])
def test_states_are_returned_where_they_were_given(hybrid):
    layer = filled(rnn.LSTM(4, input_size=3))
    if hybrid:
        layer.hybridize()
    x = data(5, 2, 3)
    for _ in range(2):
        assert isinstance(layer(x), nd.NDArray)
        y, (h, c) = layer(x, layer.begin_state(2))
        assert (y.shape, h.shape, c.shape) == ((5, 2, 4), (1, 2, 4), (1, 2, 4))
    np.testing.assert_array_equal(y[-1].asnumpy(), h[0].asnumpy())
    first, state = layer(x[:2], layer.begin_state(2))
    second, _ = layer(x[2:], state)
    np.testing.assert_allclose(nd.concat(first, second, dim=0).asnumpy(), y.asnumpy(), rtol=1e-5, atol=1e-6)


def test_one_state_needs_no_list():
    layer = filled(rnn.GRU(4, input_size=3))
    y, states = layer(data(2, 2, 3), nd.ones((1, 2, 4)))
    assert y.shape == (2, 2, 4) and len(states) == 1


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("directions", [1, 2])
def test_sequence_length(kind, directions):
    """A short sequence in a batch is as if it were alone."""
    params = {"num_layers": 2, "bidirectional": directions == 2, "input_size": 3}
    layer = filled(getattr(rnn, kind)(4, use_sequence_length=True, **params))
    alone = getattr(rnn, kind)(4, params=layer.params, **params)
    x = data(5, 3, 3)
    y, last = layer(x, layer.begin_state(3), nd.array([2, 5, 3], dtype="int32"))
    for i, length in enumerate([2, 5, 3]):
        own, own_last = alone(x[:length, i : i + 1], alone.begin_state(1))
        np.testing.assert_allclose(y[:length, i].asnumpy(), own[:, 0].asnumpy(), rtol=1e-5, atol=1e-6)
        assert not y[length:, i].asnumpy().any()
        for a, b in zip(last, own_last, strict=True):
            np.testing.assert_allclose(a[:, i].asnumpy(), b[:, 0].asnumpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("directions", [1, 2])
def test_sequence_length_in_a_graph(directions):
    class Net(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            with self.name_scope():
                self.layer = rnn.GRU(4, bidirectional=directions == 2, input_size=3, use_sequence_length=True)

        def hybrid_forward(self, F, x, lengths):
            return self.layer(x, sequence_length=lengths)

    net = filled(Net())
    x, lengths = data(5, 3, 3), nd.array([2, 5, 3])
    want = net(x, lengths).asnumpy()
    net.hybridize()
    np.testing.assert_allclose(net(x, lengths).asnumpy(), want, rtol=1e-6)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_size_of_the_inputs_is_found(kind, hybrid):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Dense(6, flatten=False), getattr(rnn, kind)(4, 2, bidirectional=True), gluon.nn.Dense(2))
    net.initialize()
    if hybrid:
        net.hybridize()
    assert net(data(5, 3, 7)).shape == (5, 2)
    gates = 16 if kind == "LSTM" else 12
    assert net[1].l0_i2h_weight.shape == net[1].r0_i2h_weight.shape == (gates, 6)
    assert net[1].l1_i2h_weight.shape == (gates, 8)


def test_names():
    layer = rnn.LSTM(6, 2, bidirectional=True, projection_size=3, prefix="lstm_")
    names = list(layer.collect_params())
    kinds = ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias", "h2r_weight")
    assert sorted(names) == sorted(f"lstm_{d}{i}_{kind}" for i in range(2) for d in "lr" for kind in kinds)
    assert repr(rnn.LSTM(6, 2, input_size=5)) == "LSTM(5 -> 6, TNC, num_layers=2)"
    assert repr(rnn.GRU(6, layout="NTC", bidirectional=True)) == "GRU(None -> 6, NTC, bidirectional)"
    assert repr(rnn.RNN(6, dropout=0.5)) == "RNN(None -> 6, TNC, dropout=0.5)"
    assert repr(rnn.LSTM(6, 2)._unfuse()) == (
        "HybridSequentialRNNCell(\n(0): LSTMCell(None -> 24)\n(1): LSTMCell(6 -> 24)\n)"
    )


def test_names_in_files(tmp_path):
    file = str(tmp_path / "x.params")
    layer = filled(rnn.GRU(6, 2, dropout=0.3, input_size=5))
    layer.save_parameters(file)
    kinds = ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias")
    assert set(nd.load(file)) == {f"_unfused.{i}.{kind}" for i in range(2) for kind in kinds}
    again = rnn.GRU(6, 2, input_size=5)
    again.load_parameters(file)
    x = data(3, 2, 5)
    np.testing.assert_array_equal(again(x).asnumpy(), layer(x).asnumpy())
    net = gluon.nn.HybridSequential()
    net.add(filled(rnn.GRU(6, bidirectional=True, input_size=5)))
    net.save_parameters(file)
    assert set(nd.load(file)) == {f"0._unfused.0.{d}_cell.{kind}" for d in "lr" for kind in kinds}


def test_export(tmp_path):
    class Net(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            with self.name_scope():
                self.layer = rnn.LSTM(6, input_size=5)

        def hybrid_forward(self, F, x):
            return self.layer(x)

    net = filled(Net())
    net.hybridize()
    x = data(4, 3, 5)
    want = net(x).asnumpy()
    net.export(str(tmp_path / "net"))
    nodes = json.loads((tmp_path / "net-symbol.json").read_text())["nodes"]
    ops = [node["op"] for node in nodes if node["op"] != "null"]
    assert ops == ["Reshape"] * 4 + ["_rnn_param_concat"] + ["_zeros"] * 2 + ["RNN"]
    attrs = nodes[-1]["attrs"]
    assert attrs["mode"] == "lstm" and attrs["state_size"] == "6" and attrs["state_outputs"] == "True"
    again = gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), "data", str(tmp_path / "net-0000.params"))
    np.testing.assert_allclose(again(x).asnumpy(), want, rtol=1e-6)


# --- the operator that takes parameters as they are

PARTS = {"state_size": 4, "num_layers": 2, "mode": "lstm", "bidirectional": True, "state_outputs": True}


def parts_of(vector):
    """The vector's parts in their shapes: 2 layers, both directions, 5 inputs, 4 units."""
    shapes = [(16, 5), (16, 4)] * 2 + [(16, 8), (16, 4)] * 2 + [(16,)] * 8
    ends = np.cumsum([0] + [int(np.prod(s)) for s in shapes])
    return [vector[ends[i] : ends[i + 1]].reshape(s) for i, s in enumerate(shapes)]


@pytest.mark.parametrize("dtype,tolerance", [("float64", 1e-12), ("float32", 1e-5), ("float16", 2e-2)])
@pytest.mark.parametrize("req", ["write", "add", "mixed"])
def test_parts(req, dtype, tolerance):
    rng = np.random.RandomState(2)
    vector = rng.randn(2 * 16 * (5 + 4) + 2 * 16 * (8 + 4) + 8 * 16) * 0.4
    others = [nd.array(rng.randn(*s), dtype=dtype) for s in ((6, 3, 5), (4, 3, 4), (4, 3, 4))]
    whole, parts = nd.array(vector, dtype=dtype), [nd.array(p, dtype=dtype) for p in parts_of(vector)]
    reqs = [("write", "add", "null")[i % 3] if req == "mixed" else req for i in range(len(parts))]
    whole.attach_grad()
    for part, kind in zip(parts, reqs, strict=True):
        part.attach_grad(kind)
        if kind != "null":
            part.grad[:] = 1
    grads, outputs = [], []
    for run in (
        lambda x, h, c: nd.RNN(x, whole, h, c, **PARTS),
        lambda x, h, c: nd._internal._rnn_parts(x, h, c, *parts, **PARTS),
    ):
        for array in others:
            array.attach_grad()
        with autograd.record():
            ys = run(*others)
            total = sum((y.astype("float64") ** 2).sum() for y in ys)
        total.backward()
        outputs.append([y.asnumpy() for y in ys])
        grads.append([a.grad.asnumpy() for a in others])
    for got, want in zip(outputs[1] + grads[1], outputs[0] + grads[0], strict=True):
        np.testing.assert_array_equal(got, want)
    for part, kind, want in zip(parts, reqs, parts_of(whole.grad.asnumpy()), strict=True):
        if kind != "null":
            want = want + (kind == "add")
            np.testing.assert_allclose(part.grad.asnumpy(), want, rtol=tolerance, atol=tolerance)


def test_parts_are_counted():
    with pytest.raises(mx.MXNetError, match="takes 19 inputs"):
        nd._internal._rnn_parts(nd.ones((2, 3, 5)), nd.ones((4, 3, 4)), nd.ones((4, 3, 4)), nd.ones((16, 5)), **PARTS)


# --- dropout


def rnn_call(x, params, state, p, train=True, **more):
    with autograd.record(train_mode=train):
        return nd.RNN(x, params, state, state_size=4, num_layers=3, mode="gru", p=p, **more)


def rnn_arrays(dtype="float64"):
    rng = np.random.RandomState(3)
    size = 3 * 4 * (5 + 4 + 2) + 2 * 3 * 4 * (4 + 4 + 2)
    arrays = (rng.randn(6, 2, 5), rng.randn(size) * 0.4, rng.randn(3, 2, 4))
    return [nd.array(a, dtype=dtype) for a in arrays]


def test_dropout_between_layers():
    x, params, state = rnn_arrays("float32")
    plain = rnn_call(x, params, state, 0.0).asnumpy()
    np.testing.assert_array_equal(rnn_call(x, params, state, 0.4, train=False).asnumpy(), plain)
    mx.random.seed(4)
    first = rnn_call(x, params, state, 0.4).asnumpy()
    second = rnn_call(x, params, state, 0.4).asnumpy()
    mx.random.seed(4)
    np.testing.assert_array_equal(rnn_call(x, params, state, 0.4).asnumpy(), first)
    assert np.abs(first - second).max() > 1e-3 and np.abs(first - plain).max() > 1e-3
    # Everything dropped: what is below the last layer does not matter.
    np.testing.assert_allclose(rnn_call(x, params, state, 1.0).asnumpy(), rnn_call(2 * x, params, state, 1.0).asnumpy())


@pytest.mark.parametrize("train", [True, False])
def test_gradient_under_dropout(train):
    arrays = rnn_arrays()
    rng = np.random.RandomState(5)

    def run():
        mx.random.seed(9)
        return rnn_call(*arrays, 0.4, train)

    for a in arrays:
        a.attach_grad()
    mx.random.seed(9)
    with autograd.record(train_mode=train):
        y = nd.RNN(*arrays, state_size=4, num_layers=3, mode="gru", p=0.4)
    y.backward()
    for a in arrays:
        base, direction = a.copy(), nd.array(rng.randn(*a.shape), dtype="float64")
        values = []
        for step in (1e-5, -1e-5):
            a[:] = base + step * direction
            values.append(run().sum().asscalar())
        a[:] = base
        want = (values[0] - values[1]) / 2e-5
        assert abs((a.grad * direction).sum().asscalar() - want) < 1e-6 * max(1, abs(want))


def test_only_wanted_gradients_are_computed():
    x, params, state = rnn_arrays()
    everything = []
    for wanted in (range(3), [0], [1], [2]):
        arrays = [a.copy() for a in (x, params, state)]
        for i in wanted:
            arrays[i].attach_grad()
        with autograd.record():
            y = nd.RNN(*arrays, state_size=4, num_layers=3, mode="gru")
        y.backward()
        grads = [arrays[i].grad.asnumpy() for i in wanted]
        everything.append(grads)
    assert_same([g[0] for g in everything[1:]], everything[0])


def test_no_gradients_of_higher_order_with_dropout():
    x, params, state = rnn_arrays()
    x.attach_grad()
    with autograd.record():
        y = nd.RNN(x, params, state, state_size=4, num_layers=3, mode="gru", p=0.5)
        (dx,) = autograd.grad(y.sum(), [x], create_graph=True)
        with pytest.raises(mx.MXNetError, match="higher order"):
            dx.sum().backward()


# --- cells


@pytest.mark.parametrize("layout", ["TNC", "NTC"])
@pytest.mark.parametrize("merge", [True, False, None])
@pytest.mark.parametrize(
    "make", [lambda: rnn.LSTMCell(4), lambda: rnn.BidirectionalCell(rnn.GRUCell(4), rnn.RNNCell(3))]
)
def test_unroll_with_lengths(make, merge, layout):
    cell = make()
    cell.initialize()
    x = data(5, 3, 2)
    steps, batch = (5, 3) if layout == "TNC" else (3, 5)
    lengths = [2, 5, 3] if layout == "TNC" else [2, 3, 1, 3, 1]
    y, states = cell.unroll(steps, x, layout=layout, merge_outputs=merge, valid_length=nd.array(lengths))
    assert isinstance(y, list) == (merge is False)
    y = nd.stack(*y, axis=layout.find("T")) if merge is False else y
    rows = x if layout == "NTC" else x.swapaxes(0, 1)
    y = y if layout == "NTC" else y.swapaxes(0, 1)
    for i in range(batch):
        own, own_states = cell.unroll(lengths[i], rows[i : i + 1, : lengths[i]], merge_outputs=True)
        np.testing.assert_allclose(y[i, : lengths[i]].asnumpy(), own[0].asnumpy(), rtol=1e-5, atol=1e-6)
        assert not y[i, lengths[i] :].asnumpy().any()
        for a, b in zip(states, own_states, strict=True):
            np.testing.assert_allclose(a[i].asnumpy(), b[0].asnumpy(), rtol=1e-5, atol=1e-6)


def test_stepping_is_unrolling():
    stack = rnn.HybridSequentialRNNCell()
    stack.add(rnn.LSTMCell(6, input_size=5))
    stack.add(rnn.DropoutCell(0.3))
    stack.add(rnn.ResidualCell(rnn.GRUCell(6, input_size=6)))
    stack.add(rnn.ZoneoutCell(rnn.RNNCell(4, input_size=6), 0.2, 0.3))
    assert len(stack) == 4 and isinstance(stack[1], rnn.DropoutCell)
    assert repr(stack) == (
        "HybridSequentialRNNCell(\n(0): LSTMCell(5 -> 24)\n(1): DropoutCell(rate=0.3, axes=())\n"
        "(2): ResidualCell(GRUCell(6 -> 18))\n(3): ZoneoutCell(p_out=0.2, p_state=0.3, RNNCell(6 -> 4, tanh))\n)"
    )
    stack.initialize()
    x = data(2, 3, 5)
    y, last = stack.unroll(3, x, merge_outputs=True)
    states = stack.begin_state(batch_size=2)
    assert [s.shape for s in states] == [(2, 6), (2, 6), (2, 6), (2, 4)]
    stack.reset()
    for t in range(3):
        out, states = stack(x[:, t], states)
        np.testing.assert_allclose(out.asnumpy(), y[:, t].asnumpy(), rtol=1e-5, atol=1e-6)
    assert_same([s.asnumpy() for s in states], [s.asnumpy() for s in last])
    stack.hybridize()
    np.testing.assert_allclose(stack.unroll(3, x, merge_outputs=True)[0].asnumpy(), y.asnumpy(), rtol=1e-5, atol=1e-6)


def test_names_of_a_cell_in_a_graph():
    cell = rnn.LSTMCell(6, input_size=5, prefix="lstm_")
    x = mx.sym.var("x")
    y, states = cell.unroll(2, x, merge_outputs=True)
    assert [s.name for s in states] == ["lstm_t1_out", "lstm_t1_state"]
    weights = ["lstm_i2h_weight", "lstm_i2h_bias", "lstm_h2h_weight", "lstm_h2h_bias"]
    assert y.list_arguments() == ["x", *weights]
    assert y.infer_shape(x=(4, 2, 5))[1] == [(4, 2, 6)]
    names = y.get_internals().list_outputs()
    assert {"lstm_begin_state_0_output", "lstm_t0_i2h_output", "lstm_t0_slice_output0"} <= set(names)


def test_zoneout():
    x, states = data(2, 3), [nd.ones((2, 4))]
    cell = rnn.RNNCell(4, input_size=3)
    cell.initialize()
    want = cell(x, states)[0].asnumpy()
    whole = rnn.ZoneoutCell(cell, 1.0, 1.0)
    np.testing.assert_array_equal(whole(x, states)[0].asnumpy(), want)
    whole.reset()
    with autograd.record():
        out, after = whole(x, states)
    # Dropping all of the mask means keeping all of what was before.
    np.testing.assert_array_equal(out.asnumpy(), 0)
    np.testing.assert_array_equal(after[0].asnumpy(), 1)


def test_dropout_cell():
    cell = rnn.DropoutCell(0.5)
    x = nd.ones((3, 40, 5))
    y, states = cell.unroll(40, x, merge_outputs=True)
    assert states == [] and (y.asnumpy() == 1).all()
    with autograd.record():
        y, _ = cell.unroll(40, x, merge_outputs=True)
    assert set(np.unique(y.asnumpy())) == {0, 2}


def test_modified_cells_are_not_called():
    cell = rnn.LSTMCell(4)
    rnn.ZoneoutCell(cell, 0.1)
    with pytest.raises(AssertionError, match="modifier cell"):
        cell.begin_state(2)
    with pytest.raises(AssertionError, match="twice"):
        rnn.ResidualCell(cell)
    both = rnn.BidirectionalCell(rnn.GRUCell(3), rnn.GRUCell(3))
    with pytest.raises(NotImplementedError, match="unroll"):
        both(nd.ones((1, 3)), both.begin_state(batch_size=1))
    with pytest.raises(AssertionError, match="zoneout"):
        rnn.ZoneoutCell(both)
    with pytest.raises(AssertionError, match="4 steps"):
        rnn.GRUCell(3).unroll(4, nd.ones((1, 3, 2)))
