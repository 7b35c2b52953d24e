# SPDX-License-Identifier: Apache-2.0
"""More layers: branches joined by concatenation, identity, and upscaling by rearranging channels."""
from __future__ import annotations

from ... import ndarray as nd
from ..block import Block, HybridBlock
from ..nn import BatchNorm, HybridSequential, Sequential

__all__ = ["Concatenate", "Concurrent", "HybridConcatenate", "HybridConcurrent", "Identity", "PixelShuffle1D",
           "PixelShuffle2D", "PixelShuffle3D", "SparseEmbedding", "SyncBatchNorm"]


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


class SparseEmbedding(Block):
    """Indices to vectors, with a row_sparse weight and gradient: only the rows that a batch names are read and trained.

    Parameters
    ----------
    input_dim : int
        Indices lie in [0, input_dim).
    output_dim : int
        The size of the vectors: an array of any shape gives one with this additional last axis.
    dtype : str
    weight_initializer : Initializer, optional

    It is a `Block` that runs operator by operator. 1.9.1 runs it only once a `gluon.Trainer` has its weight.
    """

    def __init__(self, input_dim, output_dim, dtype="float32", weight_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self._kwargs = {"input_dim": input_dim, "output_dim": output_dim, "dtype": dtype, "sparse_grad": True}
        self.weight = self.params.get("weight", shape=(input_dim, output_dim), init=weight_initializer, dtype=dtype,
                                      grad_stype="row_sparse", stype="row_sparse")

    def forward(self, x):
        return nd.Embedding(x, self.weight.row_sparse_data(x), name="fwd", **self._kwargs)

    def __repr__(self):
        options = self._kwargs
        return f"{type(self).__name__}({options['input_dim']} -> {options['output_dim']}, {options['dtype']})"


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


class PixelShuffle3D(HybridBlock):
    """(n, f1·f2·f3·c, d, h, w) to (n, c, d·f1, h·f2, w·f3); `factor` is one number or one for each axis."""

    def __init__(self, factor):
        super().__init__()
        self._factors = _factors(factor, 3)

    def hybrid_forward(self, F, x):
        f1, f2, f3 = self._factors
        x = F.reshape(x, (0, -4, -1, f1 * f2 * f3, 0, 0, 0))
        x = F.reshape(x, (0, 0, -4, f1, f2 * f3, 0, 0, 0))
        x = F.reshape(x, (0, 0, 0, -4, f2, f3, 0, 0, 0))
        x = F.transpose(x, (0, 1, 5, 2, 6, 3, 7, 4))
        return F.reshape(x, (0, 0, -3, -3, -3))

    def __repr__(self):
        return f"{type(self).__name__}({self._factors})"


class SyncBatchNorm(BatchNorm):
    """`BatchNorm` over channels in axis 1 for a batch that is spread over `num_devices` devices.

    In training the mean and variance are those of all parts together, as if one device had the whole batch. The calls
    of the devices wait for each other: call the layer on every device before anything reads a result. A device that
    the others do not join within `MXNET_SYNC_TIMEOUT` seconds (120) gets an error.
    """

    _operator = "SyncBatchNorm"

    def __init__(self, in_channels=0, num_devices=None, momentum=0.9, epsilon=1e-5, center=True, scale=True,
                 use_global_stats=False, beta_initializer="zeros", gamma_initializer="ones",
                 running_mean_initializer="zeros", running_variance_initializer="ones", **kwargs):
        super().__init__(1, momentum, epsilon, center, scale, use_global_stats, beta_initializer, gamma_initializer,
                         running_mean_initializer, running_variance_initializer, in_channels, **kwargs)
        del self._kwargs["axis"]  # not a parameter of the operator
        self._kwargs.update(ndev=num_devices or 1, key=self.prefix)

    def __repr__(self):
        values = ", ".join(f"{name}={value!r}" for name, value in self._kwargs.items())
        return f"{type(self).__name__}({values}, in_channels={self.in_channels or None})"
