# SPDX-License-Identifier: Apache-2.0
"""All cells of mx.rnn: the graphs that they make, outputs and gradients, packed weights; sentences and checkpoints."""
import json
import os
import random
import sys
import tempfile
import warnings

import numpy as np

import mxnet as mx
from mxnet.rnn import (
    BidirectionalCell,
    BucketSentenceIter,
    ConvGRUCell,
    ConvLSTMCell,
    ConvRNNCell,
    DropoutCell,
    FusedRNNCell,
    GRUCell,
    LSTMCell,
    ResidualCell,
    RNNCell,
    SequentialRNNCell,
    ZoneoutCell,
)

warnings.simplefilter("ignore")
result = {}


def flat(items):
    return [leaf for item in items for leaf in (flat(item) if isinstance(item, list) else [item])]


def graph_text(symbol):
    return "\n".join(f"{n['op']} {n['name']} {json.dumps(n.get('attrs', {}), sort_keys=True)} "
                     f"{[i[:2] for i in n['inputs']]}" for n in json.loads(symbol.tojson())["nodes"])


def stack(*cells):
    whole = SequentialRNNCell()
    for cell in cells:
        whole.add(cell)
    return whole


def check(key, cell, shape=(2, 3, 4), run=True, **kwargs):
    data = mx.sym.Variable("data")
    with mx.name.NameManager():
        outputs, states = cell.unroll(3, inputs=data, **kwargs)
    symbol = mx.sym.Group(flat([outputs, states]))
    result[key + "/graph"] = np.array(graph_text(symbol))
    # An output that stands twice gets the last gradient only in 1.9.1.
    symbol = mx.sym.Group(list({part.list_outputs()[0]: part for part in symbol}.values()))
    if not run:
        return
    executor = symbol.simple_bind(mx.cpu(), data=shape)
    rng = np.random.RandomState(1)
    for _, array in sorted(executor.arg_dict.items()):
        array[:] = rng.uniform(-1, 1, array.shape)
    args = {name: array.copy() for name, array in executor.arg_dict.items() if name != "data"}
    for i, out in enumerate(executor.forward(is_train=True)):
        result[f"{key}/out{i}"] = out.asnumpy()
    executor.backward([mx.nd.array(rng.uniform(-1, 1, out.shape)) for out in executor.outputs])
    for name, array in executor.grad_dict.items():
        result[f"{key}/grad/{name}"] = array.asnumpy()
    unpacked = cell.unpack_weights(args)
    for name, array in unpacked.items():
        result[f"{key}/unpacked/{name}"] = array.asnumpy()
    for name, array in cell.pack_weights(unpacked).items():
        result[f"{key}/packed/{name}"] = array.asnumpy()


for merge in (True, False, None):
    check(f"rnn{merge}", RNNCell(3, activation="relu"), merge_outputs=merge)
check("lstm", LSTMCell(3, forget_bias=2.0), merge_outputs=True)
check("gru", GRUCell(3), layout="TNC", shape=(3, 2, 4))
for mode in ("rnn_relu", "rnn_tanh", "lstm", "gru"):
    cell = FusedRNNCell(3, num_layers=2, mode=mode, bidirectional=True, prefix="f_", get_next_state=True)
    check("fused " + mode, cell, merge_outputs=True)
    check("unfused " + mode, cell.unfuse(), merge_outputs=True)
check("fused list", FusedRNNCell(3, mode="gru"), merge_outputs=False)
check("bi", BidirectionalCell(LSTMCell(3, prefix="l_"), GRUCell(2, prefix="r_"), output_prefix="o_"))
check("stack", stack(LSTMCell(3, prefix="a_"), ResidualCell(GRUCell(3, prefix="b_")), RNNCell(2, prefix="c_")))
check("residual", ResidualCell(RNNCell(4)), merge_outputs=True)
check("dropout", stack(LSTMCell(3, prefix="a_"), DropoutCell(0.3), RNNCell(2, prefix="c_")), run=False)
check("zoneout", ZoneoutCell(LSTMCell(3), zoneout_outputs=0.2, zoneout_states=0.3), run=False)
for kind in (ConvRNNCell, ConvLSTMCell, ConvGRUCell):
    check(kind.__name__, kind(input_shape=(1, 2, 5, 5), num_hidden=3, i2h_kernel=(3, 3), i2h_pad=(1, 1)),
          shape=(2, 3, 2, 5, 5))

# sentences
words = [f"w{i % 7} w{i % 3} w{i % 5} w{i}".split()[:1 + i % 4] for i in range(40)]
coded, vocab = mx.rnn.encode_sentences(words, invalid_label=0, start_label=1)
result["coded"] = np.array([number for sentence in coded for number in sentence])
result["vocab"] = np.array(json.dumps(vocab, sort_keys=True))
for layout in ("NT", "TN"):
    random.seed(3), np.random.seed(3)
    batches = BucketSentenceIter(coded, 4, buckets=[2, 4], invalid_label=0, layout=layout)
    for epoch in range(2):
        for i, batch in enumerate(batches):
            key = f"sentences {layout} {epoch} {i} {batch.bucket_key} {batch.provide_data}"
            result[key] = batch.data[0].asnumpy()
            result[key + " label"] = batch.label[0].asnumpy()
        batches.reset()

# checkpoints hold the weights of gates: a fused network's weights go to an unfused one
with tempfile.TemporaryDirectory() as folder:
    prefix = os.path.join(folder, "net")
    fused = FusedRNNCell(3, num_layers=1, mode="lstm", prefix="f_")
    plain = fused.unfuse()
    vector = mx.nd.array(np.random.RandomState(0).randn(3 * 4 * (4 + 3 + 2)))
    mx.rnn.save_rnn_checkpoint(fused, prefix, 1, mx.sym.Variable("x"), {"f_parameters": vector}, {})
    for name, array in mx.nd.load(prefix + "-0001.params").items():
        result["file/" + name] = array.asnumpy()
    for name, array in mx.rnn.load_rnn_checkpoint(plain, prefix, 1)[1].items():
        result["loaded/" + name] = array.asnumpy()
    back = mx.rnn.load_rnn_checkpoint(fused, prefix, 1)[1]["f_parameters"].asnumpy()
    assert (back == vector.asnumpy()).all()

np.savez(sys.argv[1], **result)
