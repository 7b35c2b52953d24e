# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.image`: operators registered as `_image_*`."""
from .op import PREFIXES, namespace

__getattr__, __dir__ = namespace(__name__, PREFIXES["image"])
