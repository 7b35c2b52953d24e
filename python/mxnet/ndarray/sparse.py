# SPDX-License-Identifier: Apache-2.0
"""Dense counterparts of the operators that also have sparse forms."""

from .._core import ops as _ops

_sparse, __dir__ = _ops.install(__name__, "sparse", _ops.nd_function)
_plain, _ = _ops.install(__name__, "", _ops.nd_function)


def __getattr__(name):
    try:
        return _sparse(name)
    except AttributeError:
        return _plain(name)
