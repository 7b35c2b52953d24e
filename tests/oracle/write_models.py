# SPDX-License-Identifier: Apache-2.0
"""Runs under MXNet 1.9.1 and writes the checkpoints in tests/python/symbol/models, in the forms of several ages.

    python tests/oracle/write_models.py tests/python/symbol/models

Each model is NAME-symbol.json, NAME-0001.params and NAME-expected.npz: its inputs, and the outputs of 1.9.1.
"""
import json
import os
import pathlib
import struct
import sys
import warnings

os.environ["MXNET_SUBGRAPH_BACKEND"] = "NONE"  # its fusion of sums into convolutions overwrites what others still read

import numpy as np

import mxnet as mx

warnings.simplefilter("ignore")
S = mx.sym
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6}


# ---- networks
def conv(x, name, channels, kernel=1, stride=1, act=True, **kwargs):
    x = S.Convolution(x, num_filter=channels, kernel=(kernel,) * 2, stride=(stride,) * 2, pad=(kernel // 2,) * 2,
                      no_bias=True, name=name + "_conv")
    x = S.BatchNorm(x, name=name + "_bn", fix_gamma=False, eps=2e-5, momentum=0.9, **kwargs)
    return S.Activation(x, act_type="relu", name=name + "_relu") if act else x


def classifier(x, classes=5):
    pool = S.Pooling(x, global_pool=True, kernel=(7, 7), pool_type="avg", name="pool1")
    out = S.FullyConnected(S.Flatten(pool, name="flatten0"), num_hidden=classes, name="fc1")
    return S.SoftmaxOutput(out, name="softmax")


def resnet_v1():
    x = conv(S.var("data"), "stage0", 8, 3)
    for i, stride in enumerate((1, 2)):
        name = f"stage1_unit{i + 1}"
        y = conv(conv(x, name + "_a", 8, 3, stride), name + "_b", 8 * stride, 3, act=False)
        short = x if stride == 1 else conv(x, name + "_sc", 16, 1, stride, act=False)
        x = S.Activation(y + short, act_type="relu", name=name + "_relu")
    return classifier(x)


def resnet_v2():
    x = S.BatchNorm(S.var("data"), fix_gamma=True, eps=2e-5, name="bn_data")
    x = S.Convolution(x, num_filter=8, kernel=(3, 3), pad=(1, 1), no_bias=True, name="conv0")
    for i in range(2):
        name = f"stage1_unit{i + 1}"
        y = S.BatchNorm(x, fix_gamma=False, eps=2e-5, name=name + "_bn1")
        y = conv(S.Activation(y, act_type="relu", name=name + "_relu1"), name + "_2", 4, 1)
        x = S.Convolution(y, num_filter=8, kernel=(3, 3), pad=(1, 1), no_bias=True, name=name + "_conv2") + x
    x = S.Activation(S.BatchNorm(x, fix_gamma=False, eps=2e-5, name="bn1"), act_type="relu", name="relu1")
    return classifier(x)


def inception_bn():
    x = S.Pooling(conv(S.var("data"), "1", 8, 3), kernel=(3, 3), stride=(2, 2), pool_type="max", name="pool_1",
                  pooling_convention="full")
    branches = [conv(x, "3a_1x1", 4), conv(conv(x, "3a_3x3_reduce", 4), "3a_3x3", 6, 3),
                conv(conv(conv(x, "3a_d_reduce", 4), "3a_d_0", 4, 3), "3a_d_1", 4, 3),
                conv(S.Pooling(x, kernel=(3, 3), stride=(1, 1), pad=(1, 1), pool_type="avg", name="avg"), "3a_proj", 4)]
    x = S.Concat(*branches, name="ch_concat_3a_chconcat")
    x = S.LRN(x, nsize=5, alpha=1e-4, beta=0.75, name="lrn")
    return classifier(S.Dropout(x, p=0.2, name="drop"))


def detector():
    """Heads as in SSD: boxes and classes of several layers, brought into one order and joined."""
    base = conv(S.var("data"), "base", 8, 3)
    small = conv(base, "down", 8, 3, 2)
    scale = S.var("scale", shape=(1, 8, 1, 1), init=mx.init.Constant(4))
    base = S.broadcast_mul(S.L2Normalization(base, mode="channel", name="norm"), scale, name="scaled")
    boxes, classes = [], []
    for i, x in enumerate((base, small)):
        for kind, size, into in (("loc", 8, boxes), ("cls", 6, classes)):
            y = S.Convolution(x, num_filter=size, kernel=(3, 3), pad=(1, 1), name=f"{kind}{i}")
            into.append(S.Flatten(S.transpose(y, axes=(0, 2, 3, 1), name=f"{kind}{i}_t"), name=f"{kind}{i}_f"))
    cls = S.Reshape(S.Concat(*classes, dim=1, name="cls_concat"), shape=(0, -1, 3), name="cls_reshape")
    cls = S.SoftmaxActivation(S.transpose(cls, axes=(0, 2, 1), name="cls_t"), mode="channel", name="cls_prob")
    return S.Group([cls, S.BlockGrad(S.Concat(*boxes, dim=1, name="loc_concat"), name="loc_pred"),
                    S.UpSampling(small, scale=2, sample_type="nearest", num_args=1, name="up")])


def lstm():
    embed = S.Embedding(S.var("data"), input_dim=12, output_dim=5, name="embed")
    cell = mx.rnn.FusedRNNCell(4, num_layers=2, mode="lstm", bidirectional=True, prefix="lstm_", dropout=0.2)
    out, _ = cell.unroll(6, inputs=embed, merge_outputs=True, layout="NTC")
    out = S.FullyConnected(S.Reshape(out, shape=(-1, 8), name="rs"), num_hidden=12, name="pred")
    return S.SoftmaxOutput(out, name="softmax")


def dense():
    x = S.FullyConnected(S.var("data"), num_hidden=6, name="fc1", weight=S.var("fc1_weight", lr_mult=2.0))
    x = S.FullyConnected(S.Activation(x, act_type="tanh", name="act"), num_hidden=3, name="fc2")
    return S.SoftmaxOutput(x, name="softmax")


# ---- older forms
def age_json(symbol, version):
    """The JSON of a symbol as MXNet `version` (800 to 1200) wrote it."""
    graph = json.loads(symbol.tojson())
    for node in graph["nodes"]:
        attrs = node.pop("attrs", {})
        if version >= 900:
            if attrs:
                node["attr" if version < 1000 or version == 1200 else "attrs"] = attrs
            continue
        hidden = {key.strip("_"): value for key, value in attrs.items() if key.startswith("__")}
        node["param"] = {key: value for key, value in attrs.items() if not key.startswith("__")} \
            if node["op"] != "null" else {}
        node["backward_source_id"] = -1
        node["inputs"] = [pair[:2] for pair in node["inputs"]]
        if hidden and node["op"] == "null" and "init" not in hidden:
            node["attr"] = hidden
    if version < 900:
        graph = without_states(graph)
        return json.dumps({key: graph[key] for key in ("nodes", "arg_nodes", "heads")}, indent=2)
    graph["attrs"] = {"mxnet_version": ["int", version]}
    return json.dumps(graph, indent=2)


def without_states(graph):
    """Auxiliary states were no nodes before 0.9."""
    states = {i for i, node in enumerate(graph["nodes"]) if "moving_" in node["name"]}
    kept = [i for i in range(len(graph["nodes"])) if i not in states]
    number = {old: new for new, old in enumerate(kept)}
    nodes = []
    for i in kept:
        node = graph["nodes"][i]
        node["inputs"] = [[number[source], out] for source, out in node["inputs"] if source in number]
        nodes.append(node)
    return {"nodes": nodes, "arg_nodes": [number[i] for i in graph["arg_nodes"] if i in number],
            "heads": [[number[head[0]], head[1]] for head in graph["heads"]]}


def age_params(arrays, form):
    """A file of arrays as older versions wrote it: form 0 (before 0.11) or 1 (0.11, 0.12)."""
    out = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        value = array.asnumpy()
        if form:
            out += struct.pack("<Ii", 0xF993FAC8, value.ndim) + struct.pack(f"<{value.ndim}q", *value.shape)
        else:
            out += struct.pack("<I", value.ndim) + struct.pack(f"<{value.ndim}I", *value.shape)
        out += struct.pack("<iii", 1, 0, DTYPES[value.dtype.name]) + value.tobytes()
    out += struct.pack("<Q", len(arrays))
    for name in arrays:
        out += struct.pack("<Q", len(name)) + name.encode()
    return out


# ---- writing
def write(folder, name, symbol, shape, ages=(), half=False):
    """A model with random parameters; `half` keeps them as float16."""
    rng = np.random.RandomState(sum(map(ord, name)))
    data = rng.randint(0, 12, shape) if name == "lstm" else rng.uniform(-1, 1, shape)
    data = data.astype("float32")
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=shape)
    for key, array in {**executor.arg_dict, **executor.aux_dict}.items():
        spread = 0.3 if key.endswith(("weight", "parameters")) else 0.2
        centre = 1.0 if key.endswith(("gamma", "_var", "scale")) else 0.0
        array[:] = (centre + rng.uniform(-spread, spread, array.shape)).astype("float16" if half else "float32")
    executor.forward(is_train=False, data=mx.nd.array(data))
    params = {f"arg:{key}": array for key, array in executor.arg_dict.items() if key not in ("data", "softmax_label")}
    params.update({f"aux:{key}": array for key, array in executor.aux_dict.items()})
    if half:
        params = {key: array.astype("float16") for key, array in params.items()}
    expected = {f"output{i}": out.asnumpy() for i, out in enumerate(executor.outputs)}

    def put(alias, text, contents):
        (folder / f"{alias}-symbol.json").write_text(text)
        if contents is None:
            mx.nd.save(str(folder / f"{alias}-0001.params"), params)
        else:
            (folder / f"{alias}-0001.params").write_bytes(contents)
        np.savez_compressed(folder / f"{alias}-expected.npz", data=data, **expected)

    put(name, symbol.tojson(), None)
    for version in ages:
        text = age_json(symbol, version)
        mx.sym.load_json(text)  # 1.9.1 reads it too
        put(f"{name}_{version}", text, age_params(params, version >= 1100))


def write_states(folder):
    """The optimizer states of a Module after two steps, and what the third gives."""
    prefix = str(folder / "trained")
    rng = np.random.RandomState(3)
    batch = mx.io.DataBatch([mx.nd.array(rng.randn(4, 3))], [mx.nd.array([0, 1, 2, 0])])
    module = mx.mod.Module(dense())
    module.bind([("data", (4, 3))], [("softmax_label", (4,))])
    mx.random.seed(0)
    module.init_params(mx.init.Uniform(0.5))
    module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 0.5, "momentum": 0.9})
    for step in range(3):
        module.forward_backward(batch)
        module.update()
        if step == 1:
            module.save_checkpoint(prefix, 1, save_optimizer_states=True)
    after = {name: array.asnumpy() for name, array in module.get_params()[0].items()}
    np.savez_compressed(prefix + "-expected.npz", data=batch.data[0].asnumpy(), label=batch.label[0].asnumpy(), **after)


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1])
    write(target, "resnet_v1", resnet_v1(), (2, 3, 8, 8), ages=(800, 905, 1200))
    write(target, "resnet_v2", resnet_v2(), (2, 3, 8, 8), ages=(1100,))
    write(target, "inception_bn", inception_bn(), (2, 3, 9, 9), ages=(800,))
    write(target, "detector", detector(), (1, 3, 8, 8), ages=(1000,))
    write(target, "lstm", lstm(), (2, 6), ages=(1200,))
    write(target, "half", resnet_v1(), (2, 3, 8, 8), half=True)
    write(target, "dense", dense(), (3, 4), ages=(800, 900, 1000))
    write_states(target)
