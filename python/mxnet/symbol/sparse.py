# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.sparse`: operators registered as `_sparse_*`, and those of `mx.sym` under the names of their sparse forms."""
from .._core import ops
from .op import function

_sparse, __dir__ = ops.install(__name__, "sparse", function)
_plain, _ = ops.install(__name__, "", function)


def __getattr__(name):
    try:
        return _sparse(name)
    except AttributeError:
        return _plain(name)
