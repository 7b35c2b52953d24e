# SPDX-License-Identifier: Apache-2.0
"""The public API in one sitting: arrays, gradients, networks, training, symbols, data, files."""
import numpy as np
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


def test_arrays():
    x = nd.array([[1, 2, 3], [4, 5, 6]])
    assert (x.shape, x.dtype, x.context, x.size) == ((2, 3), np.float32, mx.cpu(0), 6)
    assert (x * 2 + 1).asnumpy().tolist() == [[3, 5, 7], [9, 11, 13]]
    assert (x > 3).asnumpy().tolist() == [[0, 0, 0], [1, 1, 1]]  # comparisons give the input's dtype
    assert nd.dot(x, x.T).asnumpy().tolist() == [[14, 32], [32, 77]]
    assert x.sum(axis=0).asnumpy().tolist() == [5, 7, 9]
    assert x.sum().asscalar() == 21
    assert x.reshape((3, -1)).shape == (3, 2)
    assert nd.concat(x, nd.zeros((2, 1)), dim=1).shape == (2, 4)
    row = x[1]  # a view
    row[:] = 0
    assert x.asnumpy().tolist() == [[1, 2, 3], [0, 0, 0]]
    assert x[:, 1:].asnumpy().tolist() == [[2, 3], [0, 0]]
    assert x.astype("int32").dtype == np.int32
    assert x.as_in_context(mx.cpu(1)).context == mx.cpu(1)
    assert nd.random.uniform(shape=(3, 4)).shape == (3, 4)
    assert repr(nd.ones((1, 2))) == "\n[[1. 1.]]\n<NDArray 1x2 @cpu(0)>"


def test_gradients():
    x = nd.array([1.0, 2.0, 3.0])
    x.attach_grad()
    with autograd.record():
        y = (x * x).sum()
    y.backward()
    assert x.grad.asnumpy().tolist() == [2, 4, 6]
    with autograd.record():
        first = autograd.grad((x ** 3).sum(), [x], create_graph=True)[0]
        second = first.sum()
    second.backward()
    assert_allclose(x.grad.asnumpy(), 6 * x.asnumpy(), rtol=1e-5)


def test_random_numbers_reproduce():
    mx.random.seed(42)
    first = nd.random.normal(shape=(5,)).asnumpy()
    mx.random.seed(42)
    assert (nd.random.normal(shape=(5,)).asnumpy() == first).all()


class Perceptron(gluon.HybridBlock):
    """One hidden layer, in the style of hybrid_forward."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.hidden = nn.Dense(16, activation="relu")
            self.output = nn.Dense(2)

    def hybrid_forward(self, F, x):
        return self.output(self.hidden(x))


def two_moons(count=200):
    rng = np.random.RandomState(0)
    angle = rng.rand(count) * np.pi
    label = (np.arange(count) % 2).astype("float32")
    x = np.stack([np.cos(angle) + label, np.where(label == 1, 0.5 - np.sin(angle), np.sin(angle))], axis=1)
    return (x + rng.normal(0, 0.05, x.shape)).astype("float32"), label


def train(net, data, epochs=40):
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.05})
    for _ in range(epochs):
        accuracy = mx.metric.Accuracy()
        for x, label in data:
            with autograd.record():
                scores = net(x)
                loss = loss_function(scores, label)
            loss.backward()
            trainer.step(len(x))
            accuracy.update(label, scores)
    return accuracy.get()[1]


def test_training_eager_and_compiled(tmp_path):
    mx.random.seed(1)
    np.random.seed(1)  # shuffles
    x, label = two_moons()
    data = gluon.data.DataLoader(gluon.data.ArrayDataset(x, label), batch_size=50, shuffle=True)
    for compiled in (False, True):
        net = Perceptron()
        net.initialize(mx.init.Xavier())
        if compiled:
            net.hybridize(static_alloc=True, static_shape=True)
        assert train(net, data) > 0.95
    scores = net(nd.array(x))
    net.save_parameters(str(tmp_path / "net.params"))
    again = Perceptron()
    again.load_parameters(str(tmp_path / "net.params"))
    assert_allclose(again(nd.array(x)).asnumpy(), scores.asnumpy(), rtol=1e-4, atol=1e-5)
    net.export(str(tmp_path / "net"))
    loaded = gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params"))
    assert_allclose(loaded(nd.array(x)).asnumpy(), scores.asnumpy(), rtol=1e-4, atol=1e-5)


def test_symbols_and_executors():
    data, label = mx.sym.var("data"), mx.sym.var("label")
    net = mx.sym.FullyConnected(data, num_hidden=4, name="fc1")
    net = mx.sym.Activation(net, act_type="tanh", name="act")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(net, num_hidden=2, name="fc2"), label, name="softmax")
    assert net.list_arguments() == ["data", "fc1_weight", "fc1_bias", "fc2_weight", "fc2_bias", "label"]
    shapes, outputs, _ = net.infer_shape(data=(8, 3), label=(8,))
    assert dict(zip(net.list_arguments(), shapes))["fc1_weight"] == (4, 3) and outputs == [(8, 2)]
    executor = net.simple_bind(mx.cpu(), data=(8, 3), label=(8,))
    for name in ("fc1_weight", "fc2_weight"):
        executor.arg_dict[name][:] = nd.random.normal(0, 0.1, shape=executor.arg_dict[name].shape)
    probabilities = executor.forward(is_train=True, data=nd.ones((8, 3)), label=nd.zeros((8,)))[0]
    assert_allclose(probabilities.asnumpy().sum(axis=1), 1, rtol=1e-5)
    executor.backward()
    assert_allclose(executor.grad_dict["fc2_bias"].asnumpy(), probabilities.asnumpy().sum(axis=0) - [8, 0], rtol=1e-4)
    assert mx.sym.load_json(net.tojson()).list_outputs() == ["softmax_output"]


def test_iterators_and_files(tmp_path):
    batches = mx.io.NDArrayIter(np.arange(10).reshape(5, 2), np.arange(5), batch_size=2)
    assert [batch.pad for batch in batches] == [0, 0, 1]
    nd.save(str(tmp_path / "arrays"), {"a": nd.ones((2,)), "b": nd.arange(3)})
    assert nd.load(str(tmp_path / "arrays"))["b"].asnumpy().tolist() == [0, 1, 2]


def test_devices_are_summed_by_a_store():
    store = mx.kv.create("device")
    store.init("w", nd.zeros((2,)))
    store.push("w", [nd.ones((2,), ctx=mx.cpu(i)) for i in range(3)])
    out = nd.zeros((2,))
    store.pull("w", out=out)
    assert out.asnumpy().tolist() == [3, 3]


def test_errors_say_what_was_wrong():
    for act in (lambda: nd.dot(nd.ones((2, 3)), nd.ones((2, 3))), lambda: nd.add_n(nd.ones((2,)), nd.ones((3,))),
                lambda: nd.FullyConnected(nd.ones((1, 2)), nd.ones((3, 4)), num_hidden=3, no_bias=True)):
        try:
            act()
        except mx.MXNetError as error:
            assert any(name in str(error) for name in ("dot", "add", "FullyConnected")), error
        else:
            raise AssertionError("no error")
