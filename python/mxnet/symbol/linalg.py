# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.linalg`: operators registered as `_linalg_*`."""
from .._core import ops
from .op import function

__getattr__, __dir__ = ops.install(__name__, "linalg", function)
