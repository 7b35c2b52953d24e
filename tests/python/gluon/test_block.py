# SPDX-License-Identifier: Apache-2.0
"""Blocks: names, registration, hooks, running eagerly and compiled, export and import."""
import json
import pickle
import threading

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


class Net(gluon.HybridBlock):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.a = nn.Dense(3)
            self.b = nn.HybridSequential()
            with self.b.name_scope():
                self.b.add(nn.Dense(2, activation="relu"), nn.BatchNorm(), nn.Dropout(0.5))
        self.c = nn.Dense(4)

    def hybrid_forward(self, F, x):
        return self.c(self.b(self.a(x)))


@pytest.fixture(autouse=True)
def fresh_names():
    with mx.name.NameManager():
        yield


def small_net():
    net = nn.HybridSequential()
    net.add(nn.Dense(5, activation="tanh"), nn.Dense(2))
    net.initialize(mx.init.Xavier())
    return net


# --- names and structure

def test_names_inside_and_outside_of_scopes():
    net = Net()
    assert (net.prefix, net.name) == ("net0_", "net0")
    assert list(net.collect_params().keys())[:4] == [
        "net0_dense0_weight", "net0_dense0_bias", "net0_hybridsequential0_dense0_weight",
        "net0_hybridsequential0_dense0_bias"]
    assert "dense0_weight" in net.collect_params()
    assert "net0_hybridsequential0_batchnorm0_running_var" in net.collect_params()
    assert Net().prefix == "net1_"
    assert list(Net(prefix="foo_").collect_params().keys())[0] == "foo_dense0_weight"
    assert list(nn.Dense(3, prefix="").collect_params().keys()) == ["weight", "bias"]
    assert (nn.Flatten().prefix, nn.Flatten().prefix) == ("flatten0_", "flatten1_")
    prefixes = [layer.prefix for layer in (nn.Conv2D(1, 1), nn.MaxPool2D(), nn.Activation("relu"))]
    assert prefixes == ["conv0_", "pool0_", "relu0_"]


def test_names_by_place():
    assert list(Net()._collect_params_with_prefix()) == [
        "a.weight", "a.bias", "b.0.weight", "b.0.bias", "b.1.gamma", "b.1.beta", "b.1.running_mean",
        "b.1.running_var", "c.weight", "c.bias"]


def test_select_parameters():
    assert list(Net().collect_params(".*dense0_bias").keys()) == [
        "net0_dense0_bias", "net0_hybridsequential0_dense0_bias", "dense0_bias"]


def test_repr():
    assert repr(Net()) == """Net(
  (a): Dense(None -> 3, linear)
  (b): HybridSequential(
    (0): Dense(None -> 2, Activation(relu))
    (1): BatchNorm(axis=1, eps=1e-05, momentum=0.9, fix_gamma=False, use_global_stats=False, in_channels=None)
    (2): Dropout(p = 0.5, axes=())
  )
  (c): Dense(None -> 4, linear)
)"""


def test_containers():
    net = Net()
    assert len(net.b) == 3 and isinstance(net.b[1], nn.BatchNorm)
    assert [type(layer) for layer in net.b[:2]] == [nn.Dense, nn.BatchNorm]
    assert net.b[0:2].prefix == net.b.prefix


def test_registration_errors():
    net = Net()
    with pytest.raises(TypeError, match="Changing attribute type"):
        net.a = 5
    with pytest.raises(ValueError, match="must also be HybridBlock"):
        net.d = nn.Lambda("relu")
    with pytest.raises(ValueError, match="must also be HybridBlock"):
        net.b.add(5)
    net.a = nn.Dense(7)
    assert net._children["a"] is net.a


def test_blocks_in_a_list_are_warned_about():
    net = Net()
    net.list = [nn.Dense(2)]
    with pytest.warns(UserWarning, match="unregistered container"):
        net.collect_params()


def test_shared_parameters():
    first = nn.Dense(3, in_units=2)
    second = nn.Dense(3, in_units=2, params=first.params)
    first.initialize()
    assert second.weight is first.weight
    assert_allclose(second(nd.ones((1, 2))).asnumpy(), first(nd.ones((1, 2))).asnumpy())


def test_apply_visits_children_first():
    seen = []
    Net().apply(lambda block: seen.append(type(block).__name__))
    assert seen[-1] == "Net" and seen[0] == "Dense"


def test_hooks():
    calls = []
    net = small_net()
    pre = net.register_forward_pre_hook(lambda block, inputs: calls.append(("pre", type(inputs))))
    with net.register_forward_hook(lambda block, inputs, output: calls.append(("post", output.shape))):
        net(nd.ones((1, 3)))
    pre.detach()
    net(nd.ones((1, 3)))
    assert calls == [("pre", tuple), ("post", (1, 2))]


def test_summary(capsys):
    net = nn.HybridSequential()
    net.add(nn.Dense(3), nn.BatchNorm(), nn.Dropout(0.5), nn.Dense(2))
    net.initialize()
    net.summary(nd.ones((2, 4)))
    text = capsys.readouterr().out
    assert "Dense-1                                      (2, 3)              15" in text
    assert "Non-trainable params: 6" in text and "Total params: 35" in text
    net.hybridize()
    with pytest.raises(AssertionError, match="hybridized"):
        net.summary(nd.ones((2, 4)))


# --- eager and compiled

@pytest.mark.parametrize("flags", [{}, {"static_alloc": True}, {"static_alloc": True, "static_shape": True}])
def test_compiled_equals_eager(flags):
    net = small_net()
    x = nd.random.uniform(shape=(4, 3))
    results = []
    for compiled in (False, True, True):
        if compiled:
            net.hybridize(**flags)
        x.attach_grad()
        with autograd.record():
            out = net(x)
            loss = (out * out).sum()
        loss.backward()
        results.append([out.asnumpy(), x.grad.asnumpy(), *(p.grad().asnumpy() for p in net.collect_params().values())])
    for compiled in results[1:]:
        for first, second in zip(results[0], compiled):
            assert_allclose(first, second, rtol=1e-5, atol=1e-6)


def test_one_trace_serves_all_shapes_and_modes():
    traces = []

    class Counted(gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            traces.append(F.__name__)
            return F.Dropout(x, p=0.5) * 2

    net = Counted()
    net.hybridize()
    for shape in ((2,), (3, 4), (1, 2, 3)):
        assert (net(nd.ones(shape)).asnumpy() == 2).all()
    with autograd.record():
        assert set(np.unique(net(nd.ones((100,))).asnumpy())) == {0, 4}
    assert len(traces) == 1


def test_nested_arguments_and_results():
    class Nested(gluon.HybridBlock):
        def hybrid_forward(self, F, a, states, missing=None):
            return a + states[0], [states[1], a] if missing is None else missing

    net = Nested()
    a, b, c = nd.array([1.0]), nd.array([2.0]), nd.array([3.0])
    for compiled in (False, True):
        net.hybridize(compiled)
        for _ in range(2):
            first, (second, third) = net(a, [b, c])
            assert (first.asscalar(), second.asscalar(), third.asscalar()) == (3, 3, 1)
    assert net(a, [b, c], b)[1].asscalar() == 2  # another nesting, another trace
    with pytest.raises(ValueError, match="5"):
        net(a, [b, c], 5)


def test_several_outputs_of_one_operator():
    class Split(gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return F.split(x, num_outputs=2, axis=1)

    net = Split()
    for compiled in (False, True):
        net.hybridize(compiled)
        left, right = net(nd.array([[1, 2]]))
        assert (left.asscalar(), right.asscalar()) == (1, 2)


def test_compiled_follows_its_parameters():
    net = nn.Dense(1, use_bias=False, in_units=1)
    net.initialize(mx.init.One())
    net.hybridize()
    x = nd.ones((1, 1))
    assert net(x).asscalar() == 1
    net.weight.set_data(nd.array([[3]]))
    assert net(x).asscalar() == 3
    net.weight.data()[:] = 4
    assert net(x).asscalar() == 4
    net.initialize(mx.init.Constant(5), force_reinit=True)
    assert net(x).asscalar() == 5
    net.collect_params().reset_ctx(mx.cpu(1))
    assert net(nd.ones((1, 1), ctx=mx.cpu(1))).context == mx.cpu(1)
    with pytest.raises(RuntimeError, match="not initialized on context"):
        net(x)
    net.collect_params().reset_ctx(mx.cpu(0))
    net.cast("float64")
    assert net(x.astype("float64")).dtype == np.float64


def test_outputs_are_fresh_arrays():
    net = small_net()
    net.hybridize(static_alloc=True, static_shape=True)
    first = net(nd.ones((2, 3)))
    kept = first.asnumpy()
    net(nd.zeros((2, 3)))
    assert (first.asnumpy() == kept).all()


def test_neither_array_nor_symbol():
    with pytest.raises(ValueError, match="one NDArray or one Symbol"):
        nn.Flatten()(5)


def test_called_on_a_symbol():
    net = Net()
    out = net(mx.sym.var("data"))
    assert out.list_arguments()[:2] == ["data", "net0_dense0_weight"]
    assert out.name == "dense0_fwd"


# --- forward(x)

class Plain(gluon.HybridBlock):
    """Written with forward: traced on arrays."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(4)
        self.scale = self.params.get("scale", shape=(4,), init="ones")

    def forward(self, x):
        y = self.dense(x) * self.scale.data(x.context)
        return y.reshape((-1, 2)) if x.shape[0] > 1 else y


def test_forward_on_arrays_eager_and_compiled():
    net = Plain()
    net.initialize(mx.init.Xavier())
    x = nd.random.uniform(shape=(3, 5))
    eager = net(x)
    assert eager.shape == (6, 2)
    net.hybridize()
    assert_allclose(net(x).asnumpy(), eager.asnumpy(), rtol=1e-6)
    assert net(x[:1]).shape == (1, 4)  # another shape, another trace
    with autograd.record():
        out = net(x).sum()
    out.backward()
    assert (net.scale.grad().asnumpy() != 0).any()


def test_forward_inside_a_hybrid_forward_network():
    net = nn.HybridSequential()
    net.add(nn.Dense(3), Plain())
    net.initialize()
    x = nd.ones((2, 3))
    eager = net(x).asnumpy()
    net.hybridize()
    assert_allclose(net(x).asnumpy(), eager, rtol=1e-6)


def test_forward_with_its_own_infer_shape():
    class Late(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.weight = self.params.get("weight", shape=(0, 2), allow_deferred_init=True)

        def infer_shape(self, x):
            self.weight.shape = (x.shape[1], 2)

        def forward(self, x):
            return nd.dot(x, self.weight.data())

    for compiled in (False, True):
        net = Late()
        net.initialize()
        net.hybridize(compiled)
        assert net(nd.ones((1, 3))).shape == (1, 2)
        assert net.weight.shape == (3, 2)


@pytest.mark.parametrize("decide", [lambda x: float(x.sum().asscalar()) > 0, lambda x: x.sum() > 0,
                                    lambda x: x.asnumpy().sum() > 0])
def test_forward_that_looks_at_values_is_not_compiled(decide):
    class Decides(gluon.HybridBlock):
        def forward(self, x):
            return x * 2 if decide(x) else x * 3

    net = nn.HybridSequential()
    net.add(Decides(), nn.Flatten())
    net.hybridize()
    with pytest.warns(UserWarning, match="cannot be compiled"):
        assert net(nd.array([[1.0]])).asscalar() == 2
    assert net(nd.array([[-1.0]])).asscalar() == -3


# --- files

def test_export_and_import(tmp_path):
    net = Net()
    net.initialize()
    x = nd.random.uniform(shape=(2, 4))
    with pytest.raises(RuntimeError, match="hybridize"):
        net.export(str(tmp_path / "net"))
    net.hybridize()
    expected = net(x)
    net.export(str(tmp_path / "net"), epoch=3)
    saved = nd.load(str(tmp_path / "net-0003.params"))
    assert "arg:net0_dense0_weight" in saved
    assert "aux:net0_hybridsequential0_batchnorm0_running_mean" in saved
    graph = json.loads((tmp_path / "net-symbol.json").read_text())
    names = [node["name"] for node in graph["nodes"]]
    assert names[0] == "data" and "net0_dense0_fwd" in names and "net0_hybridsequential0_dense0_relu_fwd" in names
    loaded = gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0003.params"))
    assert_allclose(loaded(x).asnumpy(), expected.asnumpy(), rtol=1e-6)
    with autograd.record():
        out = loaded(x).sum()
    out.backward()
    assert loaded.collect_params()["net0_dense0_weight"].grad().shape == (3, 4)
    with pytest.raises(AssertionError, match="missing"):
        gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["other"], str(tmp_path / "net-0003.params"))
    with pytest.raises(ValueError, match="1 inputs"):
        loaded(x, x)
    symbol, arguments, states = mx.model.load_checkpoint(str(tmp_path / "net"), 3)
    assert set(arguments) | set(states) == set(net.collect_params().keys())


def test_symbol_block_of_symbols():
    x = mx.sym.var("x")
    block = gluon.SymbolBlock([x * 2, x + 1], [x])
    double, plus = block(nd.ones((2,)))
    assert double.asnumpy().tolist() == [2, 2] and plus.asnumpy().tolist() == [2, 2]
    composed = gluon.SymbolBlock(x * 2, x)(mx.sym.var("y") + 1)
    assert composed.eval(y=nd.ones((1,)))[0].asscalar() == 4
    dense = gluon.SymbolBlock(mx.sym.FullyConnected(x, num_hidden=3, name="fc"), x)
    dense.initialize()
    assert dense(nd.ones((2, 4))).shape == (2, 3)


def test_parameter_files(tmp_path):
    net, other = Net(), Net()
    for n in (net, other):
        n.initialize(mx.init.Normal(1))
        n(nd.ones((2, 4)))
    path = str(tmp_path / "net.params")
    net.save_parameters(path)
    assert "b.0.weight" in nd.load(path)
    other.load_parameters(path)
    assert_allclose(other.c.weight.data().asnumpy(), net.c.weight.data().asnumpy())
    fresh = Net()
    fresh.load_parameters(path)  # not initialized: takes the shapes from the file
    assert_allclose(fresh(nd.ones((2, 4))).asnumpy(), net(nd.ones((2, 4))).asnumpy(), rtol=1e-6)
    with pytest.raises(AssertionError, match="missing in file"):
        nn.BatchNorm().load_parameters(path, ignore_extra=True)
    with pytest.raises(AssertionError, match="not present"):
        net.a.load_parameters(path, allow_missing=True)
    with pytest.raises(mx.MXNetError):
        net.load_parameters(str(tmp_path / "absent"))


def test_load_accepts_full_names_and_exported_files(tmp_path):
    net = Net(prefix="n_")
    net.initialize()
    net.hybridize()
    x = nd.ones((2, 4))
    expected = net(x).asnumpy()
    net.export(str(tmp_path / "net"))
    net.collect_params().save(str(tmp_path / "full"))
    for path in ("net-0000.params", "full"):
        with mx.name.NameManager():
            again = Net(prefix="n_")
        again.c = nn.Dense(4, prefix=net.c.prefix)
        again.load_parameters(str(tmp_path / path))
        assert_allclose(again(x).asnumpy(), expected, rtol=1e-6)


def test_load_checks_shapes_and_dtypes(tmp_path):
    path = str(tmp_path / "d")
    dense = nn.Dense(3, in_units=2)
    dense.initialize()
    dense.save_parameters(path)
    with pytest.raises(AssertionError, match="shape incompatible"):
        nn.Dense(4).load_parameters(path)
    with pytest.raises(AssertionError, match="dtype incompatible"):
        nn.Dense(3, dtype="float64").load_parameters(path)
    double = nn.Dense(3, dtype="float64")
    double.load_parameters(path, cast_dtype=True)
    assert double.weight.data().dtype == np.float64
    single = nn.Dense(3, dtype="float64")
    single.load_parameters(path, cast_dtype=True, dtype_source="saved")
    assert single.weight.data().dtype == np.float32
    with pytest.raises(AssertionError, match="previous"):
        dense.load_parameters(path, ctx=mx.cpu(1))


def test_save_and_load_structure(tmp_path):
    net = small_net()
    net(nd.ones((1, 3)))
    net.save(str(tmp_path / "m"))
    again = small_net()
    again.load(str(tmp_path / "m"))
    assert_allclose(again(nd.ones((1, 3))).asnumpy(), net(nd.ones((1, 3))).asnumpy())
    with pytest.raises(ValueError, match="structure"):
        nn.Dense(2).load(str(tmp_path / "m"))


def test_pickle():
    net = small_net()
    net.hybridize()
    x = nd.ones((1, 3))
    expected = net(x).asnumpy()
    assert_allclose(pickle.loads(pickle.dumps(net))(x).asnumpy(), expected)


def test_forward_from_many_threads():
    net = small_net()
    net.hybridize()
    x = nd.random.uniform(shape=(3, 4))
    expected = None
    wrong = []

    def serve():
        for _ in range(20):
            if not np.allclose(net(x).asnumpy(), expected, rtol=1e-5):
                wrong.append(1)

    twin = nn.HybridSequential()
    twin.add(nn.Dense(5, activation="tanh"), nn.Dense(2))
    twin.initialize()
    twin(x)
    net(x)
    for source, target in zip(net.collect_params().values(), twin.collect_params().values()):
        target.set_data(source.data())
    expected = twin(x).asnumpy()
    net.hybridize()  # the threads begin with the trace
    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_op_hook():
    seen = []
    net = small_net()
    net(nd.ones((1, 3)))
    net.hybridize()
    net.register_op_hook(lambda name, operator, array: seen.append(str(name)))
    net(nd.ones((1, 3)))
    assert any("dense0_fwd" in name for name in seen) and any("dense1_fwd" in name for name in seen)
    seen.clear()
    net.register_op_hook(lambda name, operator, array: seen.append((str(name).split("_")[-1], operator)), True)
    net(nd.ones((1, 3)))
    assert seen[:4] == [(name, "FullyConnected") for name in ("data", "weight", "bias", "output")]


class Pair(gluon.HybridBlock):
    """Several inputs, a parameter, and one or two outputs."""

    def __init__(self, form):
        super().__init__()
        self._form = form
        self.scale = self.params.get("scale", shape=(2,), init="ones")

    def hybrid_forward(self, F, x, y, scale):
        first, second = x * scale + y, x - y
        return {"one": first, "list": [first, second], "tuple": (first, second)}[self._form]


@pytest.mark.parametrize("form", ["one", "list", "tuple"])
def test_call_with_several_inputs(form):
    net = Pair(form)
    net.initialize()
    x, y = nd.array([1, 2]), nd.array([10, 20])
    flat = lambda out: [a.asnumpy().tolist() for a in (out if isinstance(out, (list, tuple)) else [out])]
    expected = net(x, y)
    net.hybridize()
    for _ in range(3):
        out = net(x, y)
        assert type(out) is type(expected)
        assert flat(out) == flat(expected)
    net.scale.set_data(nd.array([3, 3]))
    assert flat(net(x, y))[0] == [13, 26]
    net.initialize(force_reinit=True)  # new arrays
    assert flat(net(x, y))[0] == [11, 22]
    net.cast("float64")
    assert flat(net(x.astype("float64"), y.astype("float64")))[0] == [11, 22]
    with pytest.raises((TypeError, ValueError)):
        net(x.astype("float64"))
    with pytest.raises((TypeError, ValueError, mx.MXNetError)):
        net(x.astype("float64"), 3)
    seen = []
    net.register_forward_hook(lambda block, args, out: seen.append(len(args)))
    net(x.astype("float64"), y.astype("float64"))
    assert seen == [2]


def test_call_within_a_trace():
    """A block that was compiled by itself takes part in the trace of another."""
    inner = Pair("one")
    inner.initialize()
    inner.hybridize()

    class Outer(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x, x) * 2

    x = nd.array([1, 2])
    assert inner(x, x).asnumpy().tolist() == [2, 4]
    outer = Outer()
    outer.hybridize()
    assert outer(x).asnumpy().tolist() == [4, 8]
    inner.scale.set_data(nd.array([2, 2]))
    assert outer(x).asnumpy().tolist() == [6, 12]
    assert inner(x, x).asnumpy().tolist() == [3, 6]
