# SPDX-License-Identifier: Apache-2.0
"""Networks as symbols, out of `mx.sym` alone: the same program makes them here and in MXNet 1.9.1.

`NETWORKS` has for each name a function that gives the symbol and the shapes of its inputs for a batch size.
"""
import mxnet as mx


def mlp(batch):
    x = mx.sym.var("data")
    for i, units in enumerate((2048, 2048, 1024)):
        x = mx.sym.Activation(mx.sym.FullyConnected(x, num_hidden=units, name=f"fc{i}"), act_type="relu")
    x = mx.sym.FullyConnected(x, num_hidden=10, name="fc")
    return mx.sym.SoftmaxOutput(x, name="softmax"), {"data": (batch, 784)}


def lenet(batch):
    x = mx.sym.var("data")
    for i, filters in enumerate((20, 50)):
        x = mx.sym.Convolution(x, kernel=(5, 5), num_filter=filters, name=f"conv{i}")
        x = mx.sym.Pooling(mx.sym.Activation(x, act_type="tanh"), pool_type="max", kernel=(2, 2), stride=(2, 2))
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=500, name="fc0")
    x = mx.sym.FullyConnected(mx.sym.Activation(x, act_type="tanh"), num_hidden=10, name="fc1")
    return mx.sym.SoftmaxOutput(x, name="softmax"), {"data": (batch, 1, 28, 28)}


def _convolution(x, filters, kernel, stride, pad, name):
    return mx.sym.Convolution(x, num_filter=filters, kernel=(kernel, kernel), stride=(stride, stride), pad=(pad, pad),
                              no_bias=True, name=name)


def _norm_relu(x, name):
    x = mx.sym.BatchNorm(x, fix_gamma=False, eps=2e-5, momentum=0.9, name=name + "_bn")
    return mx.sym.Activation(x, act_type="relu", name=name + "_relu")


def _residual_unit(x, filters, stride, match, bottleneck, name):
    act = _norm_relu(x, name + "_1")
    shortcut = x if match else _convolution(act, filters, 1, stride, 0, name + "_sc")
    if bottleneck:
        x = _convolution(act, filters // 4, 1, 1, 0, name + "_conv1")
        x = _convolution(_norm_relu(x, name + "_2"), filters // 4, 3, stride, 1, name + "_conv2")
        x = _convolution(_norm_relu(x, name + "_3"), filters, 1, 1, 0, name + "_conv3")
    else:
        x = _convolution(act, filters, 3, stride, 1, name + "_conv1")
        x = _convolution(_norm_relu(x, name + "_2"), filters, 3, 1, 1, name + "_conv2")
    return x + shortcut


_UNITS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}


def resnet(batch, depth, image=224):
    """Residual network with pre-activation; images of 32 or less skip the first reductions."""
    bottleneck = depth >= 50
    x = mx.sym.BatchNorm(mx.sym.var("data"), fix_gamma=True, eps=2e-5, momentum=0.9, name="bn_data")
    if image <= 32:
        x = _convolution(x, 64, 3, 1, 1, "conv0")
    else:
        x = _norm_relu(_convolution(x, 64, 7, 2, 3, "conv0"), "stem")
        x = mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max")
    for stage, units in enumerate(_UNITS[depth]):
        filters = 64 * 2 ** stage * (4 if bottleneck else 1)
        for unit in range(units):
            stride = 2 if stage and not unit else 1
            x = _residual_unit(x, filters, stride, unit > 0 or (stride == 1 and not bottleneck), bottleneck,
                               f"stage{stage}_unit{unit}")
    x = mx.sym.Pooling(_norm_relu(x, "last"), global_pool=True, kernel=(7, 7), pool_type="avg")
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=1000 if image > 32 else 10, name="fc1")
    return mx.sym.SoftmaxOutput(x, name="softmax"), {"data": (batch, 3, image, image)}


def _inception_conv(x, filters, kernel, name, stride=(1, 1), pad=(0, 0)):
    x = mx.sym.Convolution(x, num_filter=filters, kernel=kernel, stride=stride, pad=pad, name=name)
    return mx.sym.Activation(mx.sym.BatchNorm(x, name=name + "_bn"), act_type="relu", name=name + "_relu")


def _inception_unit(x, one, three_in, three, double_in, double, pool, projection, name):
    parts = [_inception_conv(x, one, (1, 1), name + "_1x1")]
    y = _inception_conv(x, three_in, (1, 1), name + "_3x3r")
    parts.append(_inception_conv(y, three, (3, 3), name + "_3x3", pad=(1, 1)))
    y = _inception_conv(x, double_in, (1, 1), name + "_d3x3r")
    y = _inception_conv(y, double, (3, 3), name + "_d3x3a", pad=(1, 1))
    parts.append(_inception_conv(y, double, (3, 3), name + "_d3x3b", pad=(1, 1)))
    y = mx.sym.Pooling(x, kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type=pool)
    parts.append(_inception_conv(y, projection, (1, 1), name + "_proj"))
    return mx.sym.Concat(*parts, name=name)


def _inception_reduction(x, three_in, three, double_in, double, name):
    y = _inception_conv(x, three_in, (1, 1), name + "_3x3r")
    parts = [_inception_conv(y, three, (3, 3), name + "_3x3", (2, 2), (1, 1))]
    y = _inception_conv(x, double_in, (1, 1), name + "_d3x3r")
    y = _inception_conv(y, double, (3, 3), name + "_d3x3a", pad=(1, 1))
    parts.append(_inception_conv(y, double, (3, 3), name + "_d3x3b", (2, 2), (1, 1)))
    parts.append(mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max"))
    return mx.sym.Concat(*parts, name=name)


def inception_bn(batch):
    """Inception with batch normalization (Ioffe and Szegedy, 2015)."""
    x = _inception_conv(mx.sym.var("data"), 64, (7, 7), "conv1", (2, 2), (3, 3))
    x = mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max")
    x = _inception_conv(_inception_conv(x, 64, (1, 1), "conv2r"), 192, (3, 3), "conv2", pad=(1, 1))
    x = mx.sym.Pooling(x, kernel=(3, 3), stride=(2, 2), pool_type="max")
    x = _inception_unit(x, 64, 64, 64, 64, 96, "avg", 32, "in3a")
    x = _inception_unit(x, 64, 64, 96, 64, 96, "avg", 64, "in3b")
    x = _inception_reduction(x, 128, 160, 64, 96, "in3c")
    x = _inception_unit(x, 224, 64, 96, 96, 128, "avg", 128, "in4a")
    x = _inception_unit(x, 192, 96, 128, 96, 128, "avg", 128, "in4b")
    x = _inception_unit(x, 160, 128, 160, 128, 160, "avg", 128, "in4c")
    x = _inception_unit(x, 96, 128, 192, 160, 192, "avg", 128, "in4d")
    x = _inception_reduction(x, 128, 192, 192, 256, "in4e")
    x = _inception_unit(x, 352, 192, 320, 160, 224, "avg", 128, "in5a")
    x = _inception_unit(x, 352, 192, 320, 192, 224, "max", 128, "in5b")
    x = mx.sym.Flatten(mx.sym.Pooling(x, kernel=(7, 7), global_pool=True, pool_type="avg"))
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(x, num_hidden=1000, name="fc1"), name="softmax"), \
        {"data": (batch, 3, 224, 224)}


def lstm(batch, steps=20, units=512, words=5000):
    """A language model: embedding, two layers of unrolled cells, scores of words at each step."""
    x = mx.sym.Embedding(mx.sym.var("data"), input_dim=words, output_dim=units, name="embedding")
    cells = mx.rnn.SequentialRNNCell()
    for layer in range(2):
        cells.add(mx.rnn.LSTMCell(units, prefix=f"lstm{layer}_"))
    x, _ = cells.unroll(steps, x, merge_outputs=True)
    x = mx.sym.FullyConnected(mx.sym.reshape(x, shape=(-1, units)), num_hidden=words, name="scores")
    return mx.sym.SoftmaxOutput(x, name="softmax"), {"data": (batch, steps)}


NETWORKS = {
    "mlp": mlp,
    "lenet": lenet,
    "resnet18": lambda batch: resnet(batch, 18),
    "resnet50": lambda batch: resnet(batch, 50),
    "resnet152": lambda batch: resnet(batch, 152),
    "inception_bn": inception_bn,
    "lstm": lstm,
}
