# SPDX-License-Identifier: Apache-2.0
"""The generators of all devices, and the samplers of mx.nd.random under their short names."""

from ._core import _ext
from .ndarray.random import *  # noqa: F403
from .ndarray.random import __all__ as _samplers

__all__ = [*_samplers, "seed"]


def seed(seed_state, ctx="all"):
    """Restarts the random streams.

    Parameters
    ----------
    seed_state : int
        The same number gives the same random numbers, whatever the number of threads.
    ctx : Context or 'all'
        Which device's stream; the same seed gives other numbers on another device.
    """
    if not hasattr(seed_state, "__index__"):
        raise ValueError(f"random.seed: the seed must be an integer, got {type(seed_state).__name__}")
    value = seed_state.__index__() & 0xFFFFFFFFFFFFFFFF
    if isinstance(ctx, str) and ctx == "all":
        _ext.seed(value)
    else:
        _ext.seed_device(value, ctx)
