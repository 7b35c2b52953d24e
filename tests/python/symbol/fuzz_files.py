# SPDX-License-Identifier: Apache-2.0
"""Damaged symbol and array files: each load succeeds or raises a clear error, and what was loaded can be used.

    python tests/python/symbol/fuzz_files.py SEED COUNT
"""
import json
import random
import sys

import numpy as np

import mxnet as mx
from mxnet._core import _ext

CLEAR = (mx.MXNetError, ValueError, TypeError)
NUMBERS = ["0", "-1", "1", "2", "3", "7", "255", "2147483647", "2147483648", "-2147483649", "9223372036854775807",
           "9223372036854775808", "1e400", "-0.5", "nan", "1e9", "4000000000", "None", "(1,)", "()", "(1, 2)", "[]",
           "true", "(-1, -1)", "(99999999999, 2)", "", "(0, 0)", "(1000000, 1000000)"]

OPERATORS = sorted(_ext.list_ops())


def networks():
    """Graphs with many kinds of operators, as JSON text."""
    data = mx.sym.var("data", shape=(2, 3, 8, 8))
    conv = mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), pad=(1, 1), name="conv")
    norm = mx.sym.BatchNorm(conv, name="bn", fix_gamma=False)
    pool = mx.sym.Pooling(mx.sym.relu(norm), kernel=(2, 2), stride=(2, 2), pool_type="max")
    up = mx.sym.UpSampling(pool, scale=2, sample_type="nearest")
    joined = mx.sym.concat(up, norm, dim=1)
    parts = mx.sym.split(joined, num_outputs=2, axis=1, name="parts")
    flat = mx.sym.flatten(parts[0] * 2 + mx.sym.slice_axis(parts[1], axis=1, begin=0, end=4))
    dense = mx.sym.FullyConnected(flat, num_hidden=5, name="fc")
    yield mx.sym.Group([mx.sym.SoftmaxOutput(dense, name="softmax"), mx.sym.BlockGrad(parts[1])]).tojson()

    words = mx.sym.var("words", shape=(2, 4))
    embed = mx.sym.Embedding(words, input_dim=10, output_dim=6, name="embed")
    turned = mx.sym.transpose(mx.sym.reshape(embed, shape=(0, -1, 3, 2)), axes=(0, 2, 1, 3))
    rnn = mx.sym.RNN(mx.sym.swapaxes(embed, dim1=0, dim2=1), state_size=3, num_layers=2, mode="lstm",
                     state_outputs=True, name="rnn")
    top = mx.sym.topk(mx.sym.softmax(turned, axis=-1), k=1, ret_typ="both")
    tail = mx.sym.pad(turned, mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 1, 1), constant_value=1)
    padded = mx.sym.clip(tail, a_min=-1, a_max=1)
    yield mx.sym.Group([rnn[0], rnn[1], top[0], mx.sym.tile(padded, reps=(1, 2)), mx.sym.LayerNorm(turned),
                        mx.sym.sum(padded, axis=(1, 2)), mx.sym.one_hot(words, depth=4),
                        mx.sym.zeros((2, 2)) + mx.sym.arange(4).reshape((2, 2))]).tojson()

    yield json.dumps({  # a file of 2015
        "nodes": [{"op": "null", "param": {}, "name": "data", "inputs": [], "backward_source_id": -1},
                  {"op": "null", "param": {}, "name": "w", "inputs": [], "backward_source_id": -1},
                  {"op": "null", "param": {}, "name": "b", "inputs": [], "backward_source_id": -1},
                  {"op": "FullyConnected", "param": {"no_bias": "False", "num_hidden": "3"}, "name": "fc",
                   "inputs": [[0, 0], [1, 0], [2, 0]], "backward_source_id": -1, "attr": {"weight_lr_mult": "2"}},
                  {"op": "BatchNorm", "param": {"eps": "0.001"}, "name": "bn", "inputs": [[3, 0], [1, 0], [2, 0]],
                   "backward_source_id": -1}],
        "arg_nodes": [0, 1, 2], "heads": [[4, 0]]})


def array_files():
    """Files of arrays, with and without names."""
    arrays = [mx.nd.ones((2, 3)), mx.nd.array([1, 2], dtype="int64"), mx.nd.array(np.ones((2, 2)), dtype="float16"),
              mx.nd.zeros((0, 2)), mx.nd.array(5)]
    yield _ext.save(arrays, ["arg:a", "arg:b", "aux:c", "d", "e"])
    yield _ext.save(arrays[:2], [])


def damage_text(rng, text):
    """A text with one to four changes: characters, spans, numbers."""
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(6)
        at = rng.randrange(len(text) + 1)
        end = min(len(text), at + rng.randint(1, 12))
        if kind == 0:
            code = rng.choice([0, 34, 44, 58, 91, 92, 93, 123, 125, 233, rng.randrange(1, 128)])
            text = text[:at] + chr(code) + text[end:]
        elif kind == 1:
            text = text[:at] + text[end:]
        elif kind == 2:
            text = text[:end] + text[at:]
        elif kind == 3:
            text = text[:at]
        else:  # a number or value becomes another
            digits = [i for i, c in enumerate(text) if c.isdigit()]
            if digits:
                start = stop = rng.choice(digits)
                while stop < len(text) and text[stop].isdigit():
                    stop += 1
                text = text[:start] + rng.choice(NUMBERS) + text[stop:]
        if not text:
            return text
    return text


def damage_graph(rng, text):
    """A valid file with wrong parameters, inputs, operators or heads."""
    graph = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        node = rng.choice(graph["nodes"])
        kind = rng.randrange(5)
        attrs = node.get("attrs") or node.get("param")
        if kind == 0 and attrs:
            attrs[rng.choice(sorted(attrs))] = rng.choice(NUMBERS)
        elif kind == 1 and node["inputs"]:
            node["inputs"][rng.randrange(len(node["inputs"]))] = [rng.randrange(-1, len(graph["nodes"]) + 1),
                                                                  rng.randrange(-1, 3), 0]
        elif kind == 2:
            node["op"] = rng.choice(graph["nodes"])["op"] if rng.random() < 0.3 else rng.choice(OPERATORS)
            for key in sorted(attrs or ()):
                if not key.startswith("__") and rng.random() < 0.8:
                    del attrs[key]  # few operators share parameters
        elif kind == 3 and node["inputs"]:
            node["inputs"] = node["inputs"][:-1] if rng.random() < 0.5 else node["inputs"] * 2
        else:
            graph["heads"] = [[rng.randrange(len(graph["nodes"]) + 1), rng.randrange(3), 0]]
    return json.dumps(graph)


def use(symbol):
    """What a program asks of a symbol; wrong shapes and types raise clear errors too."""
    for ask in (symbol.list_arguments, symbol.list_outputs, symbol.attr_dict, symbol.get_internals, symbol.tojson,
                symbol.infer_shape_partial, symbol.infer_type_partial, symbol.debug_str):
        try:
            ask()
        except CLEAR:
            pass


def fuzz(seed, count):
    """The number of damaged files that loaded all the same."""
    rng = random.Random(seed)
    texts, files = list(networks()), list(array_files())
    for text in texts:
        use(mx.sym.load_json(text))
    loaded = 0
    for number in range(count):
        if number % 3 == 2:
            data = bytearray(rng.choice(files))
            for _ in range(rng.randint(1, 5)):
                data[rng.randrange(len(data))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
            try:
                mx.nd.load_frombuffer(bytes(data[:rng.randrange(len(data))] if rng.random() < 0.3 else data))
                loaded += 1
            except CLEAR:
                pass
            continue
        text = rng.choice(texts)
        text = damage_graph(rng, text) if number % 3 else damage_text(rng, text)
        try:
            symbol = mx.sym.load_json(text)
        except CLEAR:
            continue
        loaded += 1
        use(symbol)
    return loaded


if __name__ == "__main__":
    print(fuzz(int(sys.argv[1]), int(sys.argv[2])))
