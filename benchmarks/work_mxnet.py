# SPDX-License-Identifier: Apache-2.0
"""The rows as MXNet programs; they run on release 1.9.1 too. Variants: eager, hybrid."""

import networks
import numpy as np
from rows import Job, Unsupported

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn


class Residual(gluon.HybridBlock):
    """x + body(x), or shortcut(x) + body(x)."""

    def __init__(self, body, shortcut):
        super().__init__()
        with self.name_scope():
            self.body = chain_of(body)
            self.shortcut = chain_of(shortcut) if shortcut else None

    def hybrid_forward(self, F, x):
        return self.body(x) + (self.shortcut(x) if self.shortcut else x)


class Attention(gluon.HybridBlock):
    """Self-attention of several heads."""

    def __init__(self, hidden, heads):
        super().__init__()
        self._heads, self._width = heads, hidden // heads
        with self.name_scope():
            self.project = nn.Dense(3 * hidden, in_units=hidden, flatten=False)
            self.combine = nn.Dense(hidden, in_units=hidden, flatten=False)

    def hybrid_forward(self, F, x):
        parts = F.reshape(self.project(x), (0, 0, 3, self._heads, self._width))
        parts = F.split(F.transpose(parts, (2, 0, 3, 1, 4)), 3, axis=0, squeeze_axis=True)
        query, key, value = (F.reshape(part, (-3, 0, 0)) for part in parts)
        scores = F.batch_dot(query, key, transpose_b=True) * self._width ** -0.5
        mixed = F.reshape(F.batch_dot(F.softmax(scores), value), (-4, -1, self._heads, 0, 0))
        return self.combine(F.reshape(F.transpose(mixed, (0, 2, 1, 3)), (0, 0, -3)))


class Bag(gluon.HybridBlock):
    """The sum of the embeddings of a row's words."""

    def __init__(self, rows, width):
        super().__init__()
        with self.name_scope():
            self.embedding = nn.Embedding(rows, width, sparse_grad=True)

    def hybrid_forward(self, F, x):
        return F.sum(self.embedding(x), axis=1)


def layer_of(kind, *numbers):
    """A Gluon block."""
    if kind == "convolution":
        source, target, kernel, stride, pad, groups, bias = numbers
        return nn.Conv2D(target, kernel, stride, pad, groups=groups, use_bias=bias, in_channels=source)
    if kind == "dense":
        return nn.Dense(numbers[1], in_units=numbers[0], flatten=False)
    return {
        "batch_norm": lambda size, _: nn.BatchNorm(in_channels=size),
        "layer_norm": lambda size: nn.LayerNorm(in_channels=size),
        "relu": lambda: nn.Activation("relu"), "relu6": lambda: nn.HybridLambda(lambda F, x: F.clip(x, 0, 6)),
        "gelu": lambda: nn.HybridLambda(lambda F, x: F.LeakyReLU(x, act_type="gelu")),
        "max_pool": lambda kernel, stride, pad: nn.MaxPool2D(kernel, stride, pad),
        "global_pool": lambda: chain_of((("global_average",), ("flatten",))),
        "global_average": nn.GlobalAvgPool2D, "flatten": nn.Flatten,
        "merge": lambda: nn.HybridLambda(lambda F, x: F.reshape(x, (-3, 0))),
        "embedding": nn.Embedding, "bag": Bag, "attention": Attention, "residual": Residual,
        "lstm": lambda source, hidden, count: gluon.rnn.LSTM(hidden, count, input_size=source),
    }[kind](*numbers)


def chain_of(layers):
    """A HybridSequential of layers."""
    net = nn.HybridSequential()
    with net.name_scope():
        for layer in layers:
            net.add(layer_of(*layer))
    return net


def parameters_of(block):
    """The parameters that are learned, in the order of the weights."""
    own = [p for p in block._reg_params.values() if p.grad_req != "null"]
    return own + [p for child in block._children.values() for p in parameters_of(child)]


def build(layers):
    """An initialized network."""
    net = chain_of(layers)
    net.initialize(mx.init.Zero())
    arrays = networks.weights(layers)
    parameters = parameters_of(net)
    if len(arrays) != len(parameters):
        raise ValueError(f"{len(arrays)} weights for {len(parameters)} parameters")
    for parameter, array in zip(parameters, arrays):
        parameter.set_data(nd.array(array))
    return net


def hybrid(block, way):
    """The block, compiled if the variant says so."""
    if way == "hybrid":
        block.hybridize(static_alloc=True, static_shape=True)
    return block


def floats(array):
    """A flat float32 NumPy array."""
    return nd.amp_cast(array, dtype="float32").asnumpy().ravel()


def to_bfloat16(array):
    try:
        return array.astype("bfloat16")
    except TypeError as error:
        raise Unsupported(f"no bfloat16 arrays: {error}") from None


def use_bfloat16():
    """Mixed precision for all that follows."""
    amp = getattr(mx, "amp", None)
    if amp is None:
        try:
            from mxnet.contrib import amp
        except ImportError:
            raise Unsupported("no mixed precision") from None
    amp.init(target_dtype="bfloat16")


# --- rows of a few operators

def make_add(way):
    a, b = map(nd.array, networks.small_arrays())

    def step():
        for _ in range(2000):
            a + b
        nd.waitall()

    return Job(step, lambda: floats(a + b), 2000)


def make_add_recorded(way):
    a, b = map(nd.array, networks.small_arrays())
    a.attach_grad()

    def step():
        with autograd.record():
            for _ in range(2000):
                a + b
        nd.waitall()

    return Job(step, lambda: floats(a + b), 2000)


def make_add_backward(way):
    a, b = map(nd.array, networks.small_arrays())
    a.attach_grad()

    def step():
        for _ in range(1000):
            with autograd.record():
                c = a + b
            c.backward()
        nd.waitall()

    return Job(step, lambda: (step(), floats(a.grad))[1], 1000)


class Chain(gluon.HybridBlock):
    """20 elementwise operators."""

    def hybrid_forward(self, F, x, factor, first, second):
        for _ in range(networks.CHAIN // 4):
            x = F.relu(x * factor + first) + second
        return x


def make_chain(way):
    arrays = list(map(nd.array, networks.chain_arrays()))
    net = hybrid(Chain(), way)

    def eager(x, factor, first, second):
        for _ in range(networks.CHAIN // 4):
            x = nd.relu(x * factor + first) + second
        return x

    run = net if way == "hybrid" else eager

    def step():
        for _ in range(100):
            run(*arrays)
        nd.waitall()

    return Job(step, lambda: floats(run(*arrays))[:64], 100)


def make_dense(way):
    x, weight, bias = map(nd.array, networks.dense_arrays())

    def step():
        for _ in range(2000):
            nd.FullyConnected(x, weight, bias, num_hidden=64)
        nd.waitall()

    return Job(step, lambda: floats(nd.FullyConnected(x, weight, bias, num_hidden=64)), 2000)


class BigChain(gluon.HybridBlock):
    """tanh(a * b + c) * d"""

    def hybrid_forward(self, F, a, b, c, d):
        return F.tanh(a * b + c) * d


def make_big_chain(way, bf16):
    arrays = list(map(nd.array, networks.big_arrays()))
    if bf16:
        arrays = [to_bfloat16(array) for array in arrays]
    net = hybrid(BigChain(), way)

    def step():
        out = net(*arrays)
        out.wait_to_read()
        return out

    return Job(step, lambda: [np.abs(floats(step()[:1000000])).mean()])


def make_adam_step(way):
    arrays = list(map(nd.array, networks.weights(networks.NETWORKS["resnet50"].layers)))
    gradients = [nd.full(w.shape, 0.01) for w in arrays]
    updater = mx.optimizer.get_updater(mx.optimizer.create("adam", learning_rate=1e-3, wd=0.0))
    places = list(range(len(arrays)))

    def step():
        if getattr(updater, "aggregate_updates", False):
            updater(places, gradients, arrays)
        else:
            for i, gradient, array in zip(places, gradients, arrays):
                updater(i, gradient, array)
        nd.waitall()

    return Job(step, lambda: (step(), [sum(float(np.abs(floats(w)).sum()) for w in arrays)])[1])


# --- networks

def make_network(name, mode, way, bf16):
    """Inference or a training step."""
    if bf16:
        use_bfloat16()
    network = networks.NETWORKS[name]
    net = hybrid(build(network.layers), way)
    batch, target = (nd.array(x, dtype="float32") for x in networks.data(network))
    if mode == "infer":
        def infer():
            out = net(batch)
            out.wait_to_read()
            return out

        return Job(infer, lambda: floats(infer())[:64])
    step = training_step(net, network, batch, target, way)
    return Job(step, lambda: [floats(step()).mean() for _ in range(3)])


def training_step(net, network, batch, target, way):
    """A function that does one step and returns the loss."""
    if network.classes is None:
        def loss(out):
            return ((nd.amp_cast(out, dtype="float32") - target) ** 2).mean()
        count = 1
    else:
        entropy = hybrid(gluon.loss.SoftmaxCrossEntropyLoss(), way)
        labels, count = target.reshape((-1,)), target.size

        def loss(out):
            return entropy(out, labels)
    settings = {"learning_rate": network.rate, "wd": 0.0}
    if network.momentum:
        settings["momentum"] = network.momentum
    trainer = gluon.Trainer(net.collect_params(), "sgd", settings)

    def step():
        with autograd.record():
            error = loss(net(batch))
        error.backward()
        trainer.step(count)
        nd.waitall()
        return error

    return step


def make(row, way, dtype):
    """The job of a row."""
    bf16 = dtype == "bf16"
    if row == "big_chain":
        return make_big_chain(way, bf16)
    name, _, mode = row.rpartition("_")
    if name in networks.NETWORKS:
        return make_network(name, mode, way, bf16)
    return globals()["make_" + row](way)
