# SPDX-License-Identifier: Apache-2.0
"""Pictures of networks: a table of layers, and a graph drawn by graphviz."""
from __future__ import annotations

import json
from math import prod

from .symbol import Symbol

__all__ = ["plot_network", "print_summary"]


def _nodes_and_shapes(symbol, shape):
    """The nodes of a symbol, the numbers of its output nodes, and {output name: shape} for known input shapes."""
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
    return graph["nodes"], {head[0] for head in graph["heads"]}, shapes


def _is_data(node, shape):
    """Whether a variable is an input rather than a parameter."""
    name = node["name"]
    return name in shape if shape else name == "data" or name.endswith("data")


def print_summary(symbol, shape=None, line_length=120, positions=(0.44, 0.64, 0.74, 1.0)):
    """Print a table of layers: name and operator, output shape without the batch, parameters, previous layers.

    Parameters
    ----------
    symbol : Symbol
    shape : dict of str to tuple, optional
        The shapes of the inputs; shapes and parameters are counted only with it.
    line_length : int
    positions : sequence of float
        Where the columns end, as parts of the line.
    """
    nodes, _, shapes = _nodes_and_shapes(symbol, shape)
    ends = [int(line_length * position) if position <= 1 else int(position) for position in positions]

    def row(fields):
        line = ""
        for field, end in zip(fields, ends):
            line = (line + str(field))[:end].ljust(end)
        print(line)

    def output_shape(node):
        name = node["name"] if node["op"] == "null" else node["name"] + "_output"
        return shapes.get(name, shapes.get(node["name"] + "_output0"))

    print("_" * line_length)
    row(["Layer (type)", "Output Shape", "Param #", "Previous Layer"])
    print("=" * line_length)
    total = 0
    for index, node in enumerate(nodes):
        if node["op"] == "null" and not (index == 0 or _is_data(node, shape)):
            continue
        params, previous = 0, []
        for source, *_ in node["inputs"]:
            origin = nodes[source]
            if origin["op"] != "null" or source == 0 or _is_data(origin, shape):
                previous.append(origin["name"])
            elif not origin["name"].endswith("label"):
                params += prod(output_shape(origin) or (0,))
        total += params
        known = output_shape(node)
        row([f"{node['name']}({node['op']})", "x".join(map(str, known[1:])) if known else "", params,
             previous[0] if previous else ""])
        for name in previous[1:]:
            row(["", "", "", name])
        print(("=" if index == len(nodes) - 1 else "_") * line_length)
    print(f"Total params: {total}")
    print("_" * line_length)


_COLOURS = {"FullyConnected": "#fb8072", "Convolution": "#fb8072", "Deconvolution": "#fb8072", "BatchNorm": "#bebada",
            "Activation": "#ffffb3", "LeakyReLU": "#ffffb3", "Pooling": "#80b1d3", "Concat": "#fdb462",
            "Flatten": "#fdb462", "Reshape": "#fdb462", "Softmax": "#b3de69", "SoftmaxOutput": "#b3de69"}


def _label(node):
    """What a node of the drawing says."""
    attrs = node.get("attrs", {})
    op = node["op"]
    if op in ("Convolution", "Deconvolution", "Pooling"):
        kernel = attrs.get("kernel", "").strip("()").replace(", ", "x")
        stride = attrs.get("stride", "1").strip("()").replace(", ", "x")
        what = attrs.get("num_filter", attrs.get("pool_type", ""))
        return f"{op}\n{kernel}/{stride}, {what}"
    if op == "FullyConnected":
        return f"{op}\n{attrs.get('num_hidden', '')}"
    if op in ("Activation", "LeakyReLU"):
        return f"{op}\n{attrs.get('act_type', '')}"
    return node["name"] if op == "null" else op


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
        Whether parameters are left out.
    """
    try:
        from graphviz import Digraph
    except ImportError as error:
        raise ImportError("Draw network requires graphviz library: pip install graphviz") from error
    nodes, heads, shapes = _nodes_and_shapes(symbol, shape)
    style = {"shape": "box", "fixedsize": "true", "width": "1.3", "height": "0.8034", "style": "filled", **node_attrs}
    dot = Digraph(name=title, format=save_format)
    hidden = {index for index, node in enumerate(nodes)
              if hide_weights and node["op"] == "null" and index not in heads and index != 0
              and not _is_data(node, shape)}
    for index, node in enumerate(nodes):
        if index in hidden:
            continue
        shape_of_node = {"shape": "oval", "fillcolor": "#8dd3c7"} if node["op"] == "null" else {
            "fillcolor": _COLOURS.get(node["op"], "#fccde5")}
        dot.node(node["name"], label=_label(node), **{**style, **shape_of_node})
    for index, node in enumerate(nodes):
        for source, *_ in node["inputs"] if index not in hidden else ():
            if source in hidden:
                continue
            origin = nodes[source]
            name = origin["name"] if origin["op"] == "null" else origin["name"] + "_output"
            label = "x".join(map(str, shapes[name][1:])) if name in shapes else ""
            dot.edge(tail_name=node["name"], head_name=origin["name"], dir="back", arrowtail="open", label=label)
    return dot
