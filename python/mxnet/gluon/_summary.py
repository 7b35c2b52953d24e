# SPDX-License-Identifier: Apache-2.0
"""The table that `Block.summary` prints."""
from __future__ import annotations

from collections import OrderedDict
from math import prod

from ..ndarray import NDArray

_WIDTH = 80
_ROW = "{:>20}  {:>42} {:>15}"


def _shapes(value):
    """The shapes of nested arrays, as text."""
    if isinstance(value, NDArray):
        return value.shape
    if isinstance(value, (list, tuple)):
        shapes = [_shapes(item) for item in value]
        return shapes[0] if len(shapes) == 1 else shapes
    return None


def _size(param):
    return prod(param.shape)


def print_summary(block, inputs):
    """Run `block` on `inputs` once and print one row for each leaf block that was called."""
    rows = OrderedDict(Input=(str(_shapes(inputs)), 0, 0, 0))
    seen, handles = set(), []

    def on_forward(child, _, output):
        total = trainable = shared = 0
        for param in child.params.values():
            total += _size(param)
            trainable += 0 if param.grad_req == "null" else _size(param)
            if param in seen:
                shared += _size(param)
            seen.add(param)
        rows[f"{type(child).__name__}-{len(rows)}"] = (str(_shapes(output)), total, trainable, shared)

    def attach(child):
        if getattr(child, "_active", False):
            raise AssertionError(f'"{child.name}" must not be hybridized to print summary.')
        if not child._children or child._reg_params:
            handles.append(child.register_forward_hook(on_forward))

    try:
        block.apply(attach)
        block(*inputs)
    finally:
        for handle in handles:
            handle.detach()

    total = sum(row[1] for row in rows.values())
    trainable = sum(row[2] for row in rows.values())
    shared = sum(row[3] for row in rows.values())
    print("-" * _WIDTH)
    print(_ROW.format("Layer (type)", "Output Shape", "Param #"))
    print("=" * _WIDTH)
    for name, (shape, count, _, _) in rows.items():
        print(_ROW.format(name, shape, count))
    print("=" * _WIDTH)
    print("Parameters in forward computation graph, duplicate included")
    print(f"   Total params: {total}")
    print(f"   Trainable params: {trainable}")
    print(f"   Non-trainable params: {total - trainable}")
    print(f"Shared params in forward computation graph: {shared}")
    print(f"Unique parameters in model: {total - shared}")
    print("-" * _WIDTH)
