# SPDX-License-Identifier: Apache-2.0
"""Every operator under its registered name, also those whose names begin with an underscore."""
from .._core import ops
from .op import function

__getattr__, __dir__ = ops.install(__name__, "_internal", function)
