# SPDX-License-Identifier: Apache-2.0
"""Pictures of networks: a table of layers, and a graph drawn by graphviz."""
from __future__ import annotations

import json
from math import prod

from .symbol import Symbol

__all__ = ["plot_network", "print_summary"]


def _nodes_and_shapes(symbol, shape):
    """The nodes of a symbol, the numbers of the first head (which are those of the nodes that count as output), and
    {output name: shape} for known input shapes.
    """
    if not isinstance(symbol, Symbol):
        raise TypeError(f"symbol must be a Symbol, got {type(symbol).__name__}")
    graph = json.loads(symbol.tojson())
    shapes = {}
    if shape is not None:
        internals = symbol.get_internals()
        _, outputs, _ = internals.infer_shape(**shape)
        if outputs is None:
            raise ValueError("Input shape is incomplete")
        shapes = dict(zip(internals.list_outputs(), outputs))
    return graph["nodes"], set(graph["heads"][0]), shapes


def _count_params(node, outputs, shapes, pre_filter):
    """The parameters of a layer as 1.9.1 counts them: of these four operators only, a dense layer's inputs by their
    second dimension.
    """
    attrs = node.get("attrs", {})
    without_bias = attrs.get("no_bias") == "True"
    if node["op"] == "Convolution":
        kernel = [int(size) for size in attrs["kernel"].strip("()").split(",") if size.strip()]
        filters = int(attrs["num_filter"])
        weights = pre_filter * filters // int(attrs.get("num_group", "1")) * prod(kernel)
        return weights + (0 if without_bias else filters)
    if node["op"] == "FullyConnected":
        return (pre_filter + (0 if without_bias else 1)) * int(attrs["num_hidden"])
    if node["op"] == "BatchNorm":
        return 2 * shapes[outputs][1] if outputs in shapes else 0
    if node["op"] == "Embedding":
        return int(attrs["input_dim"]) * int(attrs["output_dim"])
    return 0


def print_summary(symbol, shape=None, line_length=120, positions=(0.44, 0.64, 0.74, 1.0)):
    """Print a table of layers: name and operator, output shape without the batch, parameters, previous layers.

    Only the first variable stands in the table. Parameters are counted as 1.9.1 does: those of convolutions, dense
    layers, embeddings and batch normalizations.

    Parameters
    ----------
    symbol : Symbol
    shape : dict of str to tuple, optional
        The shapes of the inputs; shapes and parameters are known only with it.
    line_length : int
    positions : sequence of float
        Where the columns end, as parts of the line.
    """
    nodes, shown, shapes = _nodes_and_shapes(symbol, shape)
    ends = [int(line_length * position) for position in positions] if positions[-1] <= 1 else list(positions)

    def row(fields):
        line = ""
        for field, end in zip(fields, ends):
            line = (line + str(field))[:end].ljust(end)
        print(line)

    def key(node):
        return node["name"] if node["op"] == "null" else node["name"] + "_output"

    print("_" * line_length)
    row(["Layer (type)", "Output Shape", "Param #", "Previous Layer"])
    print("=" * line_length)
    total = 0
    for index, node in enumerate(nodes):
        if node["op"] == "null" and index > 0:
            continue
        previous = [nodes[source] for source, *_ in node["inputs"] if nodes[source]["op"] != "null" or source in shown]
        pre_filter = sum(shapes[key(origin)][1] for origin in previous if len(shapes.get(key(origin), ())) > 1)
        params = _count_params(node, key(node), shapes, pre_filter)
        total += params
        names = [origin["name"] for origin in previous] or [""]
        row([f"{node['name']}({node['op']})", "x".join(map(str, shapes.get(key(node), ())[1:])), params, names[0]])
        for name in names[1:]:
            row(["", "", "", name])
        print(("=" if index == len(nodes) - 1 else "_") * line_length)
    print(f"Total params: {total}")
    print("_" * line_length)


_COLOURS = {"FullyConnected": "#fb8072", "Convolution": "#fb8072", "BatchNorm": "#bebada",
            "Activation": "#ffffb3", "LeakyReLU": "#ffffb3", "Pooling": "#80b1d3", "Concat": "#fdb462",
            "Flatten": "#fdb462", "Reshape": "#fdb462", "Softmax": "#b3de69", "null": "#8dd3c7"}
_PARAMETER_ENDS = ("_weight", "_bias", "_beta", "_gamma", "_moving_var", "_moving_mean", "_running_var",
                   "_running_mean")


def _sizes(text, default):
    """'(3, 3)' as '3x3'."""
    return "x".join(size for size in (text or default).strip("()").replace(" ", "").split(",") if size)


def _label(node):
    """What a node of the drawing says."""
    attrs = node.get("attrs", {})
    op = node["op"]
    if op in ("Convolution", "Pooling"):
        what = f"{_sizes(attrs.get('kernel'), '')}/{_sizes(attrs.get('stride'), '1')}"
        return f"{op}\n{what}, {attrs['num_filter']}" if op == "Convolution" else \
            f"{op}\n{attrs.get('pool_type', 'max')}, {what}"
    if op == "FullyConnected":
        return f"{op}\n{attrs['num_hidden']}"
    if op in ("Activation", "LeakyReLU"):
        return f"{op}\n{attrs.get('act_type', 'leaky')}"
    return node["name"]


def plot_network(symbol, title="plot", save_format="pdf", shape=None, dtype=None, node_attrs={},  # noqa: B006
                 hide_weights=True):
    """A `graphviz.Digraph` of a symbol; needs the package `graphviz` (ImportError without it).

    Parameters
    ----------
    symbol : Symbol
    title, save_format : str
        File name and format of the drawing's own `render()`.
    shape : dict of str to tuple, optional
        The shapes of the inputs; edges are labelled with shapes only with it.
    dtype : dict, optional
        Accepted for old programs.
    node_attrs : dict
        Attributes of all nodes, as graphviz knows them.
    hide_weights : bool
        Whether edges from parameters are left out.
    """
    try:
        from graphviz import Digraph
    except ImportError as error:
        raise ImportError("Draw network requires graphviz library: pip install graphviz") from error
    nodes, _, shapes = _nodes_and_shapes(symbol, shape)
    style = {"shape": "box", "fixedsize": "true", "width": "1.3", "height": "0.8034", "style": "filled", **node_attrs}
    dot = Digraph(name=title, format=save_format)
    parameters = {index for index, node in enumerate(nodes)
                  if node["op"] == "null" and node["name"].endswith(_PARAMETER_ENDS)}
    for index, node in enumerate(nodes):
        if index in parameters:
            continue
        own = {"fillcolor": _COLOURS.get(node["op"], "#fccde5")}
        if node["op"] == "null":
            own["shape"] = "oval"
        dot.node(name=node["name"], label=_label(node), **{**style, **own})
    for node in nodes:
        for source, output, *_ in node["inputs"]:
            if source in parameters and hide_weights:
                continue
            origin = nodes[source]
            name = origin["name"] if origin["op"] == "null" else origin["name"] + "_output"
            found = shapes.get(name, shapes.get(f"{name}{output}", ()))
            dot.edge(tail_name=node["name"], head_name=origin["name"], dir="back", arrowtail="open",
                     label="x".join(map(str, found[1:])))
    return dot
