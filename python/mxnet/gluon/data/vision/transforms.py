# SPDX-License-Identifier: Apache-2.0
"""Transforms of images: (height, width, channels) as read, (channels, height, width) after ToTensor."""
from __future__ import annotations

import numpy as np

from ...block import HybridBlock
from ...nn import HybridSequential, Sequential

__all__ = ["Cast", "Compose", "Normalize", "ToTensor"]


class Compose(Sequential):
    """Transforms one after the other; those that can be compiled, together."""

    def __init__(self, transforms):
        super().__init__()
        run = []
        for transform in [*transforms, None]:
            if isinstance(transform, HybridBlock):
                run.append(transform)
                continue
            self._add_run(run)
            run = []
            if transform is not None:
                self.add(transform)

    def _add_run(self, blocks):
        if len(blocks) == 1:
            self.add(blocks[0])
        elif blocks:
            together = HybridSequential()
            together.add(*blocks)
            together.hybridize()
            self.add(together)


class Cast(HybridBlock):
    """Changes the dtype."""

    def __init__(self, dtype="float32"):
        super().__init__()
        self._dtype = dtype

    def hybrid_forward(self, F, x):
        return F.cast(x, self._dtype)


class ToTensor(HybridBlock):
    """An image (h, w, c) of numbers in [0, 255], or a batch (n, h, w, c), to float32 (c, h, w) or (n, c, h, w) in [0,
    1].
    """

    def __init__(self):
        super().__init__()

    def hybrid_forward(self, F, x):
        x = F.cast(x, "float32") / 255
        return F.swapaxes(F.swapaxes(x, -1, -3), -1, -2)


class Normalize(HybridBlock):
    """(x - mean) / std for each channel of (c, h, w) or (n, c, h, w); `mean` and `std` are numbers or one for each
    channel.
    """

    def __init__(self, mean=0.0, std=1.0):
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            value = np.asarray(value, dtype="float32").reshape(-1, 1, 1)
            setattr(self, name, self.params.get_constant(name, value))
        self.initialize()

    def hybrid_forward(self, F, x, mean, std):
        return F.broadcast_div(F.broadcast_sub(x, mean), std)
