# SPDX-License-Identifier: Apache-2.0
"""The networks of the benchmark as data: each framework's file turns the same layers into its own.

A layer is a tuple of its kind and its numbers. Weights follow the layers' order: convolutions are (out, in, height,
width), dense layers (out, in), LSTM gates input, forget, cell, output.
"""

import dataclasses

import numpy as np

BIG = 1 << 24
CHAIN = 20


@dataclasses.dataclass(frozen=True)
class Network:
    """Layers, the shape of the input (`words`: integers below this number), the loss and the optimizer."""

    layers: tuple
    input: tuple
    classes: int = None  # cross-entropy over these; None: mean square against an array
    target: tuple = None
    words: int = None
    rate: float = 0.01
    momentum: float = 0.9


def convolution(source, target, kernel, stride=1, pad=0, groups=1, bias=False):
    """A convolution layer."""
    return ("convolution", source, target, kernel, stride, pad, groups, bias)


def convolution_norm(*args, act=None, scale=1.0, **kwargs):
    """A convolution, its batch normalization and an activation."""
    conv = convolution(*args, **kwargs)
    return (conv, ("batch_norm", conv[2], scale), *((act,) if act else ()))


RELU, RELU6 = ("relu",), ("relu6",)


def _mlp():
    return (("dense", 784, 512), RELU, ("dense", 512, 512), RELU, ("dense", 512, 10))


def _lenet():
    return (convolution(1, 20, 5, bias=True), RELU, ("max_pool", 2, 2, 0), convolution(20, 50, 5, bias=True), RELU,
            ("max_pool", 2, 2, 0), ("flatten",), ("dense", 800, 500), RELU, ("dense", 500, 10))


def _bottleneck(source, width, stride, first):
    body = (*convolution_norm(source, width, 1, act=RELU), *convolution_norm(width, width, 3, stride, 1, act=RELU),
            *convolution_norm(width, 4 * width, 1, scale=0.25))
    shortcut = convolution_norm(source, 4 * width, 1, stride) if first else ()
    return ("residual", body, shortcut), RELU


def resnet(blocks=(3, 4, 6, 3)):
    """Layers of a ResNet of bottleneck blocks: (3, 4, 6, 3) is ResNet-50, (3, 8, 36, 3) ResNet-152."""
    layers = [*convolution_norm(3, 64, 7, 2, 3, act=RELU), ("max_pool", 3, 2, 1)]
    source = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        for i in range(count):
            layers += _bottleneck(source, width, 2 if i == 0 and stage > 0 else 1, i == 0)
            source = 4 * width
    return (*layers, ("global_pool",), ("dense", 2048, 1000))


def _mobilenet_v2():
    layers = [*convolution_norm(3, 32, 3, 2, 1, act=RELU6)]
    source = 32
    for expand, target, count, first_stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(count):
            wide, stride = source * expand, first_stride if i == 0 else 1
            body = (*(convolution_norm(source, wide, 1, act=RELU6) if expand > 1 else ()),
                    *convolution_norm(wide, wide, 3, stride, 1, wide, act=RELU6), *convolution_norm(wide, target, 1))
            layers += [("residual", body, ())] if stride == 1 and source == target else body
            source = target
    return (*layers, *convolution_norm(source, 1280, 1, act=RELU6), ("global_pool",), ("dense", 1280, 1000))


def transformer(count=4, hidden=768, heads=12, inner=3072):
    """Encoder layers of BERT: attention and a two-layer perceptron, each added to its input and normalized."""
    layer = (("residual", (("attention", hidden, heads),), ()), ("layer_norm", hidden),
             ("residual", (("dense", hidden, inner, 0.03), ("gelu",), ("dense", inner, hidden, 0.02)), ()),
             ("layer_norm", hidden))
    return layer * count


NETWORKS = {
    "mlp": Network(_mlp(), (128, 784), classes=10, rate=0.05),
    "lenet": Network(_lenet(), (64, 1, 28, 28), classes=10),
    "lstm": Network((("embedding", 10000, 512), ("lstm", 512, 512, 2), ("merge",), ("dense", 512, 10000)), (35, 20),
                    classes=10000, words=10000, rate=1.0, momentum=0.0),
    "embedding": Network((("bag", 1000000, 64), ("dense", 64, 1)), (4096, 20), target=(4096, 1), words=1000000,
                         rate=0.5, momentum=0.0),
    "mobilenetv2": Network(_mobilenet_v2(), (1, 3, 224, 224), classes=1000),
    "transformer": Network(transformer(), (8, 128, 768), target=(8, 128, 768), rate=0.05),
    "resnet50": Network(resnet(), (8, 3, 224, 224), classes=1000),
}


def walk(layers):
    """All layers in the order of their weights: what is inside a residual instead of the residual."""
    for layer in layers:
        if layer[0] == "residual":
            yield from walk(layer[1])
            yield from walk(layer[2])
        else:
            yield layer


def shapes(layer):
    """[(shape, how far from 0 its values reach, or the constant in a list)] of a layer's weights."""
    kind, numbers = layer[0], layer[1:]
    if kind == "convolution":
        source, target, kernel, _, _, groups, bias = numbers
        fan = source // groups * kernel * kernel
        return [((target, source // groups, kernel, kernel), (6.0 / fan) ** 0.5)] + [((target,), [0.0])] * bias
    if kind == "dense":
        source, target, *scale = numbers
        return [((target, source), 1.732 * (scale[0] if scale else source ** -0.5)), ((target,), [0.0])]
    if kind == "batch_norm":
        return [((numbers[0],), [numbers[1]]), ((numbers[0],), [0.0])]
    if kind == "layer_norm":
        return [((numbers[0],), [1.0]), ((numbers[0],), [0.0])]
    if kind == "attention":
        hidden = numbers[0]
        return [((3 * hidden, hidden), 0.052), ((3 * hidden,), [0.0]), ((hidden, hidden), 0.052), ((hidden,), [0.0])]
    if kind in ("embedding", "bag"):
        return [(numbers, 0.173)]
    if kind == "lstm":
        source, hidden, count = numbers
        gates = 4 * hidden
        return [((gates, source), 0.07), ((gates, hidden), 0.07), ((gates,), [0.0]), ((gates,), [0.0])] * count
    return []


def weights(layers):
    """Seeded arrays, in order."""
    rng = np.random.default_rng(4)
    arrays = []
    for layer in walk(layers):
        for shape, reach in shapes(layer):
            if isinstance(reach, list):
                arrays.append(np.full(shape, reach[0], np.float32))
            else:
                arrays.append(rng.random(shape, np.float32) * np.float32(2 * reach) - np.float32(reach))
    return arrays


def data(network):
    """A batch and what the network should say to it."""
    rng = np.random.default_rng(3)

    def numbers(shape):
        return rng.standard_normal(shape, np.float32)

    batch = numbers(network.input) if network.words is None else rng.integers(0, network.words, network.input)
    if network.classes is None:
        return batch, numbers(network.target)
    places = network.input if network.words else network.input[:1]
    return batch, rng.integers(0, network.classes, places)


def small_arrays():
    """Two arrays of shape (4, 4)."""
    rng = np.random.default_rng(1)
    return [rng.standard_normal((4, 4), np.float32) for _ in range(2)]


def chain_arrays():
    """Four arrays of shape (64, 64): what is changed, a factor, and two that are added."""
    line = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(64, 64)
    return [line, np.full_like(line, 1.1), np.full_like(line, 0.1), np.full_like(line, -0.05)]


def dense_arrays():
    """One row, a weight matrix and a bias."""
    rng = np.random.default_rng(2)
    return [rng.standard_normal(shape, np.float32) for shape in ((1, 64), (64, 64), (64,))]


def big_arrays():
    """Four arrays of BIG numbers between -1 and 1."""
    line = np.linspace(-1, 1, BIG, dtype=np.float32)
    return [np.roll(line, i) for i in range(4)]
