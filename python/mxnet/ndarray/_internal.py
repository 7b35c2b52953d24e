# SPDX-License-Identifier: Apache-2.0
"""Operators whose registered names begin with an underscore, under those names."""

from .._core import ops as _ops

__getattr__, __dir__ = _ops.install(__name__, "_internal", _ops.nd_function)


def _cvimdecode(buf, flag=1, to_rgb=True, out=None):
    """`mx.image.imdecode`."""
    from ..image import imdecode
    return imdecode(buf, flag, to_rgb, out)


def _cvimread(filename, flag=1, to_rgb=True, out=None):
    """`mx.image.imread`."""
    from ..image import imread
    return imread(filename, flag, to_rgb, out)
