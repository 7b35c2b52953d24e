# SPDX-License-Identifier: Apache-2.0
"""Symbolic programs: graphs of operators that are bound to arrays and run as a whole."""
from .._core import ops
from . import op
from .symbol import (Group, Symbol, Variable, arange, eye, full, histogram, hypot, linspace, load, load_json, maximum,
                     minimum, ones, pow, power, split_v2, var, zeros)
from . import _internal, contrib, image, linalg, random, sparse  # isort: skip

__all__ = ["Symbol", "var", "Variable", "Group", "load", "load_json", "pow", "power", "maximum", "minimum", "hypot",
           "eye", "zeros", "ones", "full", "arange", "linspace", "histogram", "split_v2", "op", "contrib", "linalg",
           "random", "image", "sparse", "_internal"]


__getattr__, __dir__ = ops.install(__name__, "", op.function)
