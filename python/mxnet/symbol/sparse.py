# SPDX-License-Identifier: Apache-2.0
"""`mx.sym.sparse`: operators registered as `_sparse_*`."""
from .op import PREFIXES, namespace

__getattr__, __dir__ = namespace(__name__, PREFIXES["sparse"])
