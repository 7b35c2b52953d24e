# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.sparse`: operators registered as `_sparse_*`."""
from .._core import ops
from .op import function

__getattr__, __dir__ = ops.install(__name__, "sparse", function)
