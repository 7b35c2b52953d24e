# SPDX-License-Identifier: Apache-2.0
"""Parts beside the main interface, imported at first use."""

import importlib as _importlib

_LAZY = {"amp": ".amp", "ndarray": "..ndarray.contrib", "nd": "..ndarray.contrib", "symbol": "..symbol.contrib",
         "sym": "..symbol.contrib", "svrg_optimization": ".svrg_optimization"}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _importlib.import_module(_LAZY[name], __name__)
    globals()[name] = module
    return module


def __dir__():
    return sorted({*globals(), *_LAZY})
