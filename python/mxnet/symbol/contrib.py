# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.contrib`: operators registered as `_contrib_*`."""
from .op import PREFIXES, namespace

__getattr__, __dir__ = namespace(__name__, PREFIXES["contrib"])
