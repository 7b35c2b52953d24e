# SPDX-License-Identifier: Apache-2.0
"""Operators whose registered names begin with an underscore, under those names."""

from .._core import ops as _ops

__getattr__, __dir__ = _ops.install(__name__, "_internal", _ops.nd_function)
