# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.contrib`: operators registered as `_contrib_*`."""
from .._core import ops
from .control_flow import cond, foreach, while_loop  # noqa: F401
from .op import function

__getattr__, __dir__ = ops.install(__name__, "contrib", function)
