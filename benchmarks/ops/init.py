# SPDX-License-Identifier: Apache-2.0
"""Arrays made from nothing, or from the shape of another."""

from .entry import SQUARE, Each, Op

SHAPE = Each((64, 64), (2048, 1024))
COUNT = Each(1000, 2000000)

OPS = {
    "zeros": Op("nd.zeros(shape)", "torch.zeros(shape)", shape=SHAPE),
    "ones": Op("nd.ones(shape)", "torch.ones(shape)", shape=SHAPE),
    "full": Op("nd.full(shape, 1.5)", "torch.full(shape, 1.5)", shape=SHAPE),
    "empty": Op("nd.empty(shape)", "torch.empty(shape)", shape=SHAPE, compared=False),
    "eye": Op("nd.eye(*shape)", "torch.eye(*shape)", shape=SHAPE),
    "arange": Op("nd.arange(count)", "torch.arange(count, dtype=torch.float32)", count=COUNT),
    "arange_repeat": Op("nd.arange(0, count // 2, repeat=2)",
                        "torch.arange(count // 2, dtype=torch.float32).repeat_interleave(2)", count=COUNT),
    "linspace": Op("nd.linspace(0, 1, count)", "torch.linspace(0, 1, count)", count=COUNT),
    "zeros_like": Op("nd.zeros_like(a)", "torch.zeros_like(a)", a=SQUARE),
    "ones_like": Op("nd.ones_like(a)", "torch.ones_like(a)", a=SQUARE),
    "shape_array": Op("nd.shape_array(a)", "torch.tensor(a.shape)", a=SQUARE),
    "size_array": Op("nd.size_array(a)", "torch.tensor([a.numel()])", a=SQUARE),
}
