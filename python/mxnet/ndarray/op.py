# SPDX-License-Identifier: Apache-2.0
"""Every plain operator of the registry, and nothing else."""

from .._core import ops as _ops

__getattr__, __dir__ = _ops.install(__name__, "", _ops.nd_function)
