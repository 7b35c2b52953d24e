# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: which operators change type, on arrays and in graphs; scaled losses; converted models."""
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import mxnet as mx
from mxnet import amp, autograd, gluon, nd
from mxnet._core import _ext
from mxnet.gluon import nn

BF16 = amp.bfloat16
EPS = {"bfloat16": 2.0 ** -8, "float16": 2.0 ** -11}


@pytest.fixture
def switch():
    """A function that switches mixed precision on for the test."""
    def on(low="bfloat16", exact=True, **lists):
        amp.amp._active = None
        amp.init(low, exact=exact, **lists)
    try:
        yield on
    finally:
        _ext.clear_precision()
        amp.amp._active = None


def f32(array):
    return array.astype("float32").asnumpy()


def dtype_of(array):
    return _ext.dtype_name(array.dtype)


def low_and_wide():
    """An array of the low type, as a layer makes it, and one of float32."""
    low = nd.FullyConnected(nd.ones((2, 4)), nd.ones((3, 4)), no_bias=True, num_hidden=3)
    return low, nd.array(np.linspace(0.5, 1, 6).reshape(2, 3))


# --- arrays

@pytest.mark.parametrize("low", ["bfloat16", "float16"])
@pytest.mark.parametrize("exact", [True, False])
def test_classes_on_arrays(switch, low, exact):
    switch(low, exact)
    x, y = low_and_wide()
    assert dtype_of(x) == low
    table = {
        low: [nd.relu(x), x * 2, x - 1, nd.clip(x, 0, 1), x.T, x.reshape((3, 2)), nd.softmax(x), nd.tanh(x), nd.max(x),
              nd.Activation(x, act_type="relu"), nd.LeakyReLU(x, act_type="gelu"), x + x, nd.dot(x, x.T),
              nd.Pooling(x.reshape((1, 1, 2, 3)), kernel=(2, 2)), nd.sqrt(x), nd.Dropout(x),
              nd.BatchNorm(x, nd.ones(3), nd.ones(3), nd.zeros(3), nd.ones(3)),
              nd.FullyConnected(y, nd.ones((1, 3)), nd.ones(1), num_hidden=1),
              nd.Convolution(nd.ones((1, 1, 4, 4)), nd.ones((1, 1, 3, 3)), no_bias=True, num_filter=1, kernel=(3, 3)),
              nd.Deconvolution(nd.ones((1, 1, 4, 4)), nd.ones((1, 1, 3, 3)), num_filter=1, kernel=(3, 3))],
        "float32": [nd.exp(x), nd.log(x), x ** 2, x.sum(), nd.mean(x), nd.norm(x), nd.log_softmax(x), x + y, y + x,
                    nd.broadcast_mul(x, y), nd.concat(x, y, dim=0), nd.stack(x, y), nd.add_n(x, y), nd.dot(x, y.T),
                    nd.where(x, x, y), nd.maximum(x, y), x == y, 1 / x, nd.smooth_l1(x), nd.L2Normalization(x),
                    nd.batch_dot(x.expand_dims(0), y.expand_dims(0), transpose_b=True),
                    nd.LayerNorm(x, nd.ones(3), nd.ones(3)), nd.linalg.gemm2(x, y, transpose_b=True),
                    nd.SoftmaxOutput(x, nd.array([0, 1])), nd.Activation(x, act_type="softrelu"),
                    nd.LeakyReLU(x, act_type="elu")],
        "float64": [nd.FullyConnected(*(nd.ones(s, dtype="float64") for s in ((2, 4), (3, 4))), no_bias=True,
                                      num_hidden=3)],
    }
    for wanted, results in table.items():
        for i, result in enumerate(results):
            assert dtype_of(result) == wanted, (wanted, i)
            assert np.isfinite(f32(result)).all()


def test_results_are_those_of_the_low_type(switch):
    rng = np.random.default_rng(3)
    x, w = rng.standard_normal((5, 64)).astype("f4"), rng.standard_normal((7, 64)).astype("f4")
    rounded = [f32(nd.array(a).astype("bfloat16")) for a in (x, w)]
    switch(exact=True)
    y = f32(nd.FullyConnected(nd.array(x), nd.array(w), no_bias=True, num_hidden=7))
    wanted = rounded[0] @ rounded[1].T
    assert_allclose(y, wanted, rtol=2 * EPS["bfloat16"], atol=1e-2)
    assert_array_equal(y, f32(nd.array(y).astype("bfloat16")))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_gradients_of_layers_in_low_types(dtype):
    rng = np.random.default_rng(0)
    x, w, b, head = (rng.standard_normal(shape) for shape in ((512, 32), (32, 32), (32,), (512, 32)))
    arrays = [nd.array(a).astype(dtype) for a in (x, w, b)]
    for array in arrays:
        array.attach_grad()
    with autograd.record():
        y = nd.FullyConnected(*arrays, num_hidden=32)
    y.backward(nd.array(head).astype(dtype))
    wanted = [x @ w.T + b, head @ w, head.T @ x, head.sum(0)]
    for result, value in zip([y, *(a.grad for a in arrays)], wanted):
        assert_allclose(f32(result), value, atol=3 * EPS[dtype] * abs(value).max())


@pytest.mark.parametrize("exact", [True, False])
def test_given_outputs_keep_their_type(switch, exact):
    switch(exact=exact)
    x, y = low_and_wide()
    out = nd.zeros((2, 1))
    assert nd.FullyConnected(y, nd.ones((1, 3)), no_bias=True, num_hidden=1, out=out) is out
    assert out.dtype == np.float32
    assert_allclose(out.asnumpy()[:, 0], y.asnumpy().sum(1), rtol=1e-2)
    before = x
    x += y
    assert x is before and dtype_of(x) == "bfloat16"
    y += x
    assert y.dtype == np.float32


def test_own_lists(switch):
    switch(target_precision_ops=["exp"], fp32_ops=["FullyConnected"],
           conditional_fp32_ops=[("Activation", "act_type", ["tanh"])])
    x = nd.ones((2, 2))
    assert dtype_of(nd.exp(x)) == "bfloat16"
    low = nd.exp(x)
    assert dtype_of(nd.FullyConnected(low, low, no_bias=True, num_hidden=2)) == "float32"
    assert dtype_of(nd.Activation(low, act_type="tanh")) == "float32"
    assert dtype_of(nd.Activation(low, act_type="relu")) == "bfloat16"


def test_bad_arguments():
    for error, arguments in [(AssertionError, {"target_dtype": "float64"}),
                             (AssertionError, {"target_precision_ops": "exp"}),
                             (AssertionError, {"target_precision_ops": ["exp"], "fp32_ops": ["exp"]}),
                             (AssertionError, {"conditional_fp32_ops": [("Activation", "act_type", "relu")]}),
                             (mx.MXNetError, {"fp32_ops": ["no_such_operator"]})]:
        with pytest.raises(error):
            amp.init(**arguments)
    x = nd.ones((2, 2))
    assert nd.FullyConnected(x, x, no_bias=True, num_hidden=2).dtype == np.float32  # still off
    with pytest.raises(TypeError, match="Trainer"):
        amp.init_trainer(mx.optimizer.create("sgd"))
    with pytest.raises(TypeError, match="Trainer"):
        amp.init_trainer(nn.Dense(1))
    trainer = gluon.Trainer({}, "sgd")
    with pytest.raises(AttributeError, match="init_trainer"):
        amp.unscale(trainer)


def test_lists_come_from_the_operators():
    lists = [amp.list_lp16_ops("bfloat16"), amp.list_fp32_ops("float16"), amp.list_lp16_fp32_ops(BF16),
             amp.list_widest_type_cast("bfloat16")]
    assert {"Convolution", "Deconvolution", "FullyConnected"} <= set(lists[0])
    assert {"exp", "log_softmax", "sum", "SoftmaxOutput", "LayerNorm"} <= set(lists[1])
    assert {"BatchNorm", "Pooling", "relu", "softmax", "Reshape", "reshape"} <= set(lists[2])
    assert {"broadcast_add", "Concat", "concat", "batch_dot", "where"} <= set(lists[3])
    assert sum(map(len, lists)) == len(set().union(*lists))
    assert ("Activation", "act_type", ["softrelu"]) in amp.list_conditional_fp32_ops("bfloat16")
    assert ("LeakyReLU", "act_type", ["elu", "selu"]) in amp.list_conditional_fp32_ops("bfloat16")
    assert {"SoftmaxOutput", "LinearRegressionOutput"} <= set(amp.list_loss_output_functions("float16"))


# --- blocks

class Net(gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.conv, self.norm, self.pool = nn.Conv2D(4, 3, padding=1, use_bias=False), nn.BatchNorm(), nn.AvgPool2D()
            self.dense, self.out = nn.Dense(8, activation="tanh"), nn.Dense(3)
            self.scale = nn.LayerNorm()

    def hybrid_forward(self, F, x):
        x = self.pool(F.sigmoid(self.norm(self.conv(x))) + x)
        x = self.scale(self.dense(x))
        return self.out(x) * F.softmax(self.out(x)), F.sum(F.square(x), axis=1)


def make_net(seed=0):
    mx.random.seed(seed)
    net = Net()
    net.initialize(mx.init.Xavier())
    net(nd.ones((1, 1, 6, 6)))
    return net


def run(net, x):
    with autograd.record():
        out, total = net(x)
        loss = (out.astype("float32") ** 2).sum() + total.astype("float32").sum()
    loss.backward()
    grads = {name.split("_", 1)[1]: p.grad().asnumpy() for name, p in net.collect_params().items()
             if p.grad_req != "null"}
    return out, total, grads


@pytest.mark.parametrize("low", ["bfloat16", "float16"])
@pytest.mark.parametrize("exact", [True, False])
def test_graphs_agree_with_arrays(switch, low, exact):
    x = nd.array(np.random.default_rng(0).standard_normal((5, 1, 6, 6)))
    plain = run(make_net(), x)
    switch(low, exact)
    eager_net, graph_net = make_net(), make_net()
    graph_net.hybridize()
    eager, graph = run(eager_net, x), run(graph_net, x)
    for result in (eager, graph):
        assert [dtype_of(a) for a in result[:2]] == [low, "float32"]
        assert all(g.dtype == np.float32 for g in result[2].values())
        tolerance = 24 * EPS[low]
        for a, b in zip(result[:2], plain[:2]):
            assert_allclose(f32(a), f32(b), rtol=tolerance, atol=tolerance * abs(f32(b)).max())
        largest = max(abs(grad).max() for grad in plain[2].values())
        for name, grad in plain[2].items():
            assert_allclose(result[2][name], grad, rtol=tolerance, atol=tolerance * largest, err_msg=name)
    assert all(p.dtype in ("float32", np.float32) for p in graph_net.collect_params().values())
    if exact:
        for a, b in zip(eager[:2], graph[:2]):
            assert_allclose(f32(a), f32(b), rtol=2 * EPS[low], atol=2 * EPS[low])


def test_emulation_rounds_only_outputs(switch):
    """Where the processor has no arithmetic in the low type a graph computes in float32."""
    x = nd.array(np.random.default_rng(1).standard_normal((5, 1, 6, 6)))
    plain = run(make_net(), x)
    switch(exact=False)
    if _ext.computes_in("bfloat16"):
        pytest.skip("this processor computes in bfloat16")
    net = make_net()
    net.hybridize()
    out, total, grads = run(net, x)
    assert_array_equal(f32(out), f32(plain[0].astype("bfloat16")))
    assert_allclose(total.asnumpy(), plain[1].asnumpy(), rtol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
def test_inputs_of_the_low_type(switch, exact):
    switch(exact=exact)
    net = make_net()
    net.hybridize()
    x = nd.random.normal(shape=(2, 1, 6, 6))
    low = x.astype("bfloat16")
    low.attach_grad()
    with autograd.record(train_mode=False):
        out, total = net(low)
        loss = out.astype("float32").sum() + total.sum()
    loss.backward()
    assert dtype_of(low.grad) == "bfloat16" and np.isfinite(f32(low.grad)).all() and abs(f32(low.grad)).max() > 0
    assert_allclose(f32(out), f32(net(low.astype("float32"))[0]), rtol=0.1, atol=0.05)


@pytest.mark.parametrize("exact", [True, False])
def test_recurrent_layers(switch, exact):
    mx.random.seed(0)
    layer = gluon.rnn.LSTM(8, 2, input_size=5)
    layer.initialize()
    x = nd.random.normal(shape=(4, 3, 5))
    wanted = layer(x).asnumpy()
    switch(exact=exact)
    eager = layer(x)
    layer.hybridize()
    with autograd.record():
        out = layer(x)
    out.backward()
    for result in (eager, out):
        assert dtype_of(result) == "bfloat16"
        assert_allclose(f32(result), wanted, rtol=0.05, atol=0.02)
    assert layer.l0_i2h_weight.grad().dtype == np.float32
    # Lengths are no numbers to round: 300 is not one of bfloat16.
    long = nd.ones((302, 1, 5))
    lengths = nd.array([299])
    counted = gluon.rnn.LSTM(8, input_size=5, use_sequence_length=True)
    counted.initialize()
    out = f32(counted(long, sequence_length=lengths))
    assert abs(out[298]).max() > 0 and abs(out[299:]).max() == 0


def test_conditions_are_not_cast(switch):
    switch()
    x, _ = low_and_wide()
    assert dtype_of(nd.where(nd.ones((2, 3)), x, x)) == "bfloat16"


def test_forward_on_arrays_and_executors(switch):
    switch()

    class Plain(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.dense = nn.Dense(3)

        def forward(self, x):
            return self.dense(x) + x[:, :3]

    net = Plain()
    net.initialize()
    x = nd.random.uniform(shape=(2, 4))
    eager = net(x)
    net.hybridize()
    assert dtype_of(net(x)) == dtype_of(eager) == "float32"
    assert_allclose(f32(net(x)), f32(eager), rtol=1e-2)

    data = mx.sym.var("data")
    executor = mx.sym.FullyConnected(data, num_hidden=3, name="fc").simple_bind(mx.cpu(), data=(2, 4))
    executor.arg_dict["fc_weight"][:] = 1
    out = executor.forward(is_train=True, data=x)[0]
    executor.backward(nd.ones((2, 3)).astype("bfloat16"))
    assert dtype_of(out) == "bfloat16" and executor.grad_dict["fc_weight"].dtype == np.float32
    assert_allclose(executor.grad_dict["fc_weight"].asnumpy()[0], x.asnumpy().sum(0), rtol=1e-2)


def test_graphs_keep_what_they_were_made_with(switch):
    net = nn.Dense(2, in_units=2)
    net.initialize()
    net.hybridize()
    x = nd.ones((1, 2))
    assert net(x).dtype == np.float32
    switch()
    assert net(x).dtype == np.float32
    net.hybridize()
    assert dtype_of(net(x)) == "bfloat16"


def test_gradients_of_gradients(switch):
    switch()
    w = nd.array([[0.5, -1.0]])
    x = nd.array([[1.0, 2.0], [3.0, -1.0]])
    w.attach_grad()
    with autograd.record():
        y = nd.FullyConnected(x, w, no_bias=True, num_hidden=1).astype("float32")
        first = autograd.grad((y ** 3).sum(), w, create_graph=True)[0]
        loss = (first ** 2).sum()
    loss.backward()
    assert first.dtype == np.float32 and w.grad.dtype == np.float32
    value = x.asnumpy() @ w.asnumpy().T
    slope = (3 * value ** 2 * x.asnumpy()).sum(0)
    assert_allclose(first.asnumpy()[0], slope, rtol=0.05)
    second = (6 * value[:, :, None] * x.asnumpy()[:, None, :] * x.asnumpy()[:, :, None]).sum(0)
    assert_allclose(w.grad.asnumpy()[0], 2 * second @ slope, rtol=0.05)


# --- training

def digits():
    import gzip
    import pathlib
    path = pathlib.Path(__file__).parents[2] / "examples" / "data" / "digits.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = np.loadtxt((line for line in file if line[0].isdigit()), delimiter=",", dtype="f4")
    return np.random.default_rng(0).permutation(rows)


def lenet():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(12, 3, padding=1, activation="relu"), nn.BatchNorm(), nn.MaxPool2D(2),
            nn.Conv2D(24, 3, padding=1),
            nn.Activation("relu"), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(64, activation="relu"), nn.Dense(10))
    return net


class Attention(gluon.HybridBlock):
    """One layer of a transformer over the rows of a picture."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.embed, self.qkv, self.out = (nn.Dense(n, flatten=False) for n in (32, 96, 32))
            self.norm, self.head = nn.LayerNorm(), nn.Dense(10)

    def hybrid_forward(self, F, x):
        x = self.embed(F.reshape(x, (0, -3, 0)))
        q, k, v = F.split(self.qkv(x), num_outputs=3, axis=2)
        weights = F.softmax(F.batch_dot(q, k, transpose_b=True) * 32 ** -0.5)
        return self.head(self.norm(x + self.out(F.batch_dot(weights, v))))


def accuracy_after_training(make, scaled):
    rows = digits()
    x, y = rows[:, :64].reshape(-1, 1, 8, 8) / 16, rows[:, 64]
    mx.random.seed(1)
    net = make()
    net.initialize(mx.init.Xavier())
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 4e-3})
    if scaled:
        amp.init_trainer(trainer)
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    for _ in range(4):
        for i in range(0, 1536, 64):
            with autograd.record():
                loss = loss_of(net(nd.array(x[i:i + 64])), nd.array(y[i:i + 64]))
                if scaled:
                    with amp.scale_loss(loss, trainer) as big:
                        autograd.backward(big)
                else:
                    autograd.backward(loss)
            trainer.step(64)
    return (f32(net(nd.array(x[1536:]))).argmax(1) == y[1536:]).mean()


@pytest.mark.parametrize("make", [lenet, Attention])
@pytest.mark.parametrize("low, exact", [("bfloat16", True), ("bfloat16", False), ("float16", True)])
def test_training_is_as_accurate(switch, make, low, exact):
    plain = accuracy_after_training(make, False)
    switch(low, exact)
    mixed = accuracy_after_training(make, True)
    assert plain > 0.85 and mixed > plain - 0.03, (plain, mixed)


def test_steps_with_overflow_are_skipped(switch):
    switch("float16")
    weight = gluon.Parameter("weight", shape=(2,))
    weight.initialize(mx.init.One())
    trainer = gluon.Trainer([weight], "sgd", {"learning_rate": 0.1})
    amp.init_trainer(trainer)
    scaler = trainer._amp_loss_scaler

    def step(factor):
        with autograd.record():
            with amp.scale_loss((weight.data() * factor).sum(), trainer) as scaled:
                autograd.backward(scaled)
        trainer.step(1)
        return weight.data().asnumpy()[0]

    assert scaler.loss_scale == 2 ** 16
    assert_allclose(step(1.0), 0.9, rtol=1e-6)
    for bad in (np.inf, np.nan):
        assert_allclose(step(bad), 0.9, rtol=1e-6)
    assert scaler.loss_scale == 2 ** 14
    assert_allclose(step(1.0), 0.8, rtol=1e-6)
    scaler._scale_seq_len = 3
    for _ in range(2):
        step(0.0)
    assert scaler.loss_scale == 2 ** 15
    scaler._loss_scale = 1.0
    step(np.inf)
    assert scaler.loss_scale == 1.0


def test_unscale(switch):
    switch("float16")
    weight = gluon.Parameter("weight", shape=(2,))
    weight.initialize(mx.init.One())
    trainer = gluon.Trainer([weight], "sgd", {"learning_rate": 0.1})
    amp.init_trainer(trainer)
    with autograd.record():
        loss = weight.data().sum()
        with amp.scale_loss([loss, loss * 2], trainer) as scaled:
            autograd.backward(scaled)
    assert_allclose(weight.grad().asnumpy(), 3 * 2.0 ** 16)
    amp.unscale(trainer)
    assert_allclose(weight.grad().asnumpy(), 3)
    trainer.step(1)
    assert_allclose(weight.data().asnumpy(), 0.7, rtol=1e-6)


def test_bfloat16_is_not_scaled(switch):
    switch("bfloat16")
    trainer = gluon.Trainer({}, "sgd")
    amp.init_trainer(trainer)
    with amp.scale_loss(nd.ones(1), trainer) as scaled:
        assert scaled.asscalar() == 1


# --- files and conversion

def test_files_hold_float32(switch, tmp_path):
    switch()
    net = make_net()
    net.hybridize()
    x = nd.random.normal(shape=(2, 1, 6, 6))
    out = net(x)[0]
    net.save_parameters(str(tmp_path / "net.params"))
    assert {a.dtype for a in nd.load(str(tmp_path / "net.params")).values()} == {np.float32}
    symbol, params = net.export(str(tmp_path / "net"))
    loaded = gluon.SymbolBlock.imports(symbol, ["data"], params)
    assert_allclose(f32(loaded(x)[0]), f32(out), rtol=1e-2, atol=1e-2)


def test_cast_makes_the_graph_anew():
    net = nn.Dense(3, in_units=4)
    net.initialize()
    net.hybridize()
    x = nd.random.uniform(shape=(2, 4))
    wide = net(x)
    net.cast("bfloat16")
    low = net(x.astype("bfloat16"))
    assert dtype_of(low) == "bfloat16" and dtype_of(net.weight.data()) == "bfloat16"
    assert_allclose(f32(low), wide.asnumpy(), rtol=2e-2, atol=2e-2)
    net.cast("float32")
    assert net(x).dtype == np.float32


def small_symbol():
    data = mx.sym.var("data")
    conv = mx.sym.Convolution(data, kernel=(3, 3), num_filter=2, name="conv")
    hidden = mx.sym.Activation(mx.sym.BatchNorm(conv, name="bn"), act_type="relu", name="relu")
    out = mx.sym.FullyConnected(hidden, num_hidden=3, name="fc")
    return mx.sym.SoftmaxOutput(mx.sym.exp(out, name="e") + out, name="softmax")


def nodes(symbol, **kwargs):
    return json.loads(symbol.tojson(**kwargs))["nodes"]


def test_convert_symbol():
    symbol = small_symbol()
    total = symbol.get_internals().list_outputs()[-3].removesuffix("_output")
    converted = amp.convert_symbol(symbol, "bfloat16")
    assert converted.list_arguments() == symbol.list_arguments()
    assert converted.list_auxiliary_states() == symbol.list_auxiliary_states()
    names = [n["name"] for n in nodes(converted, remove_amp_cast=False) if n["op"] == "amp_cast"]
    assert names == ["data_amp_cast_bfloat16", "conv_weight_amp_cast_bfloat16", "conv_bias_amp_cast_bfloat16",
                     "relu_amp_cast_bfloat16", "fc_weight_amp_cast_bfloat16", "fc_bias_amp_cast_bfloat16",
                     "fc_amp_cast_float32", f"{total}_amp_cast_float32", "softmax_label_amp_cast_float32"]
    assert [n["name"] for n in nodes(converted)] == [n["name"] for n in nodes(symbol)]
    excluded = amp.convert_symbol(symbol, excluded_sym_names=["fc", "e", "softmax"])
    assert sum(n["op"] == "amp_cast" for n in nodes(excluded, remove_amp_cast=False)) == 3
    lowered = amp.convert_symbol(symbol, cast_optional_params=True)
    dtypes = {name: attrs.get("__dtype__") for name, attrs in lowered.attr_dict().items()}
    assert [dtypes.get(n) for n in ("conv_weight", "fc_bias", "bn_gamma", "data")] == ["2", "2", None, None]


@pytest.mark.parametrize("cast_params", [False, True])
def test_convert_model(cast_params):
    symbol = small_symbol()
    shapes, _, aux_shapes = symbol.infer_shape(data=(1, 1, 6, 6), softmax_label=(1,))
    args = {name: nd.random.uniform(-1, 1, shape) for name, shape in zip(symbol.list_arguments(), shapes)}
    feed = {name: args.pop(name) for name in ("data", "softmax_label")}
    aux = {name: nd.ones(shape) for name, shape in zip(symbol.list_auxiliary_states(), aux_shapes)}
    wanted = symbol.bind(mx.cpu(), {**args, **feed}, aux_states=aux).forward()[0]
    converted, low_args, low_aux = amp.convert_model(symbol, args, aux, "bfloat16", cast_optional_params=cast_params)
    kinds = {name: dtype_of(a) for name, a in {**low_args, **low_aux}.items()}
    low = "bfloat16" if cast_params else "float32"
    assert kinds == {"conv_weight": low, "conv_bias": low, "fc_weight": low, "fc_bias": low, "bn_gamma": "float32",
                     "bn_beta": "float32", "bn_moving_mean": "float32", "bn_moving_var": "float32"}
    out = converted.bind(mx.cpu(), {**low_args, **feed}, aux_states=low_aux).forward()[0]
    assert out.dtype == np.float32
    assert_allclose(out.asnumpy(), wanted.asnumpy(), rtol=0.1, atol=0.02)


@pytest.mark.parametrize("cast_params", [False, True])
def test_convert_hybrid_block(cast_params, tmp_path):
    net = make_net()
    with pytest.raises(RuntimeError, match="hybridize"):
        amp.convert_hybrid_block(net)
    net.hybridize()
    x = nd.random.normal(shape=(2, 1, 6, 6))
    wanted = net(x)[0]
    converted = amp.convert_hybrid_block(net, "bfloat16", cast_optional_params=cast_params)
    out = converted(x)[0]
    assert dtype_of(out) == "bfloat16" and dtype_of(net(x)[0]) == "float32"
    assert_allclose(f32(out), f32(wanted), rtol=0.1, atol=0.02)
    converted.hybridize()
    converted(x)
    symbol, params = converted.export(str(tmp_path / "low"), remove_amp_cast=False)
    loaded = gluon.SymbolBlock.imports(symbol, ["data"], params)
    assert_array_equal(f32(loaded(x)[0]), f32(out))
    kinds = {name: dtype_of(p.data()) for name, p in loaded.collect_params().items()}
    assert set(kinds.values()) == ({"float32", "bfloat16"} if cast_params else {"float32"})


def test_pickled_symbols_keep_casts():
    import pickle
    converted = amp.convert_symbol(small_symbol())
    again = pickle.loads(pickle.dumps(converted))
    assert sum(n["op"] == "amp_cast" for n in nodes(again, remove_amp_cast=False)) == 9
