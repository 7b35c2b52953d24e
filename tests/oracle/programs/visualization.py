# SPDX-License-Identifier: Apache-2.0
"""What print_summary prints, and what plot_network asks graphviz to draw."""
import contextlib
import io
import sys
import types

import numpy as np

import mxnet as mx

S = mx.sym
calls = []


class Digraph:
    def __init__(self, **kwargs):
        calls.append(("graph", sorted(kwargs.items())))

    def node(self, **kwargs):
        calls.append(("node", sorted(kwargs.items())))

    def edge(self, **kwargs):
        calls.append(("edge", sorted(kwargs.items())))


sys.modules["graphviz"] = types.SimpleNamespace(Digraph=Digraph)


def residual():
    conv = S.Convolution(S.var("data"), num_filter=8, kernel=(3, 3), pad=(1, 1), no_bias=True, name="c0")
    relu = S.Activation(S.BatchNorm(conv, name="bn0"), act_type="relu", name="r0")
    conv = S.Convolution(relu, num_filter=8, kernel=(1, 1), name="c1", num_group=2)
    pool = S.Pooling(S.elemwise_add(conv, relu, name="sum"), global_pool=True, kernel=(1, 1), pool_type="avg", name="p")
    return S.SoftmaxOutput(S.FullyConnected(S.flatten(pool, name="fl"), num_hidden=10, name="fc"), name="softmax")


def dense():
    out = S.FullyConnected(S.var("data"), num_hidden=5, name="a", no_bias=True)
    out = S.FullyConnected(S.LeakyReLU(out, act_type="prelu", name="pr"), num_hidden=3, name="b")
    return S.LogisticRegressionOutput(out, name="lro")


def recurrent():
    embed = S.Embedding(S.var("data"), input_dim=20, output_dim=6, name="e")
    rnn = S.RNN(S.swapaxes(embed, dim1=0, dim2=1, name="s"), state_size=4, num_layers=1, mode="lstm", name="rnn")
    return S.LayerNorm(rnn, name="ln")


def several():
    parts = S.split(S.var("data"), num_outputs=2, name="sp")
    up = S.Deconvolution(S.concat(parts[0], parts[1], S.var("other_data"), name="q"), num_filter=3, kernel=(2, 2),
                         name="dc")
    scale = S.reshape(S.var("scale", shape=(3,)), shape=(1, 3, 1, 1), name="rs")
    return S.Group([S.InstanceNorm(up, name="inn"), S.broadcast_mul(up, scale, name="bm")])


cases = {"residual": (residual(), {"data": (1, 3, 8, 8)}), "residual without shapes": (residual(), None),
         "dense": (dense(), {"data": (2, 7)}), "recurrent": (recurrent(), {"data": (2, 5)}),
         "several": (several(), {"data": (1, 4, 5, 5), "other_data": (1, 2, 5, 5)})}
result = {}
for key, (symbol, shape) in cases.items():
    for kwargs in ({}, {"line_length": 80, "positions": [0.3, 0.5, 0.6, 1.0]}):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            mx.viz.print_summary(symbol, shape=shape, **kwargs)
        result[f"summary/{key}/{len(kwargs)}"] = np.array(printed.getvalue())
    for kwargs in ({}, {"hide_weights": False, "title": "t", "save_format": "png", "node_attrs": {"shape": "oval"}}):
        if key == "several":
            shape = None  # 1.9.1 fails on shapes of an operator with several outputs
        calls.clear()
        mx.viz.plot_network(symbol, shape=shape, **kwargs)
        result[f"plot/{key}/{len(kwargs)}"] = np.array("\n".join(map(repr, calls)))
np.savez(sys.argv[1], **result)
