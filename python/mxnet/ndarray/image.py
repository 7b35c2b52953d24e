# SPDX-License-Identifier: Apache-2.0
"""Operators of the registry whose names begin with `_image_`."""

from .._core import ops as _ops

__getattr__, __dir__ = _ops.install(__name__, "image", _ops.nd_function)
