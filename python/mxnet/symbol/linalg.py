# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.linalg`: operators registered as `_linalg_*`."""
from .op import PREFIXES, namespace

__getattr__, __dir__ = namespace(__name__, PREFIXES["linalg"])
