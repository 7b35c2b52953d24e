# SPDX-License-Identifier: Apache-2.0
"""Operators of the registry whose names begin with `_contrib_`."""

from .._core import ops as _ops
from .control_flow import cond, foreach, while_loop  # noqa: F401

__getattr__, __dir__ = _ops.install(__name__, "contrib", _ops.nd_function)
