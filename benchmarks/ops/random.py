# SPDX-License-Identifier: Apache-2.0
"""Samplers."""

from .entry import Each, Op

SHAPE = Each((64, 64), (2048, 1024))

OPS = {
    "uniform": Op("nd.random.uniform(shape=shape)", "torch.rand(shape)", shape=SHAPE, compared=False),
}
