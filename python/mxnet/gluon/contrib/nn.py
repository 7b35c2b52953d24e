# SPDX-License-Identifier: Apache-2.0
"""More layers: branches joined by concatenation, identity, and upscaling by rearranging channels."""
from __future__ import annotations

from ... import ndarray as nd
from ..block import HybridBlock
from ..nn import HybridSequential, Sequential

__all__ = ["Concatenate", "Concurrent", "HybridConcatenate", "HybridConcurrent", "Identity", "PixelShuffle1D",
           "PixelShuffle2D"]


class Concurrent(Sequential):
    """Runs all children on the same input and concatenates their outputs along `axis`."""

    def __init__(self, axis=-1, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.axis = axis

    def forward(self, x):
        return nd.concat(*[block(x) for block in self._children.values()], dim=self.axis)


class HybridConcurrent(HybridSequential):
    """`Concurrent` of HybridBlocks."""

    def __init__(self, axis=-1, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)
        self.axis = axis

    def hybrid_forward(self, F, x):
        return F.concat(*[block(x) for block in self._children.values()], dim=self.axis)


class Concatenate(Concurrent):
    """The newer name of `Concurrent`."""


class HybridConcatenate(HybridConcurrent):
    """The newer name of `HybridConcurrent`."""


class Identity(HybridBlock):
    """Returns its input."""

    def __init__(self, prefix=None, params=None):
        super().__init__(prefix=prefix, params=params)

    def hybrid_forward(self, F, x):
        return x


class PixelShuffle1D(HybridBlock):
    """(n, f·c, w) to (n, c, w·f): groups of `factor` channels become neighbouring positions."""

    def __init__(self, factor):
        super().__init__()
        self._factor = int(factor)

    def hybrid_forward(self, F, x):
        f = self._factor
        x = F.reshape(x, (0, -4, -1, f, 0))
        x = F.transpose(x, (0, 1, 3, 2))
        return F.reshape(x, (0, 0, -3))

    def __repr__(self):
        return f"{type(self).__name__}({self._factor})"


def _factors(factor, count):
    factors = (int(factor),) * count if isinstance(factor, (int, float)) else tuple(int(f) for f in factor)
    if len(factors) != count:
        raise AssertionError(f"wrong length {len(factors)} of factor: {factor}")
    return factors


class PixelShuffle2D(HybridBlock):
    """(n, f1·f2·c, h, w) to (n, c, h·f1, w·f2); `factor` is one number or one for each axis."""

    def __init__(self, factor):
        super().__init__()
        self._factors = _factors(factor, 2)

    def hybrid_forward(self, F, x):
        f1, f2 = self._factors
        x = F.reshape(x, (0, -4, -1, f1 * f2, 0, 0))
        x = F.reshape(x, (0, 0, -4, f1, f2, 0, 0))
        x = F.transpose(x, (0, 1, 4, 2, 5, 3))
        return F.reshape(x, (0, 0, -3, -3))

    def __repr__(self):
        return f"{type(self).__name__}({self._factors})"

