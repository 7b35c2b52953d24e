# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.image`: operators registered as `_image_*`."""
from .._core import ops
from .op import function

__getattr__, __dir__ = ops.install(__name__, "image", function)
