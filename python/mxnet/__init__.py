# SPDX-License-Identifier: Apache-2.0
"""MXNet: deep learning that is imperative and symbolic at once.

    import mxnet as mx
    from mxnet import autograd, gluon, nd

Parts that a program does not use are not imported.
"""

import importlib as _importlib
import os as _os
import sys as _sys

from . import _aliases
from .base import MXNetError
from .context import Context, cpu, cpu_pinned, current_context, gpu, gpu_memory_info, num_gpus
from . import base, context, libinfo, ndarray, autograd, random, engine, storage  # noqa: E402
from .libinfo import __version__

nd = ndarray
rnd = random
_sys.modules[__name__ + ".nd"] = ndarray

# Public name -> module below this package, imported at first use.
_LAZY = {
    "symbol": "symbol", "sym": "symbol", "gluon": "gluon", "io": "io", "kvstore": "kvstore", "kv": "kvstore",
    "optimizer": "optimizer", "metric": "metric", "initializer": "initializer", "init": "initializer",
    "lr_scheduler": "lr_scheduler", "callback": "callback", "model": "model", "monitor": "monitor", "mon": "monitor",
    "name": "name", "attribute": "attribute", "executor": "executor", "test_utils": "test_utils", "util": "util",
    "contrib": "contrib", "amp": "contrib.amp", "runtime": "runtime", "profiler": "profiler",
    "visualization": "visualization", "viz": "visualization", "module": "module", "mod": "module",
    "executor_manager": "executor_manager", "library": "library", "rnn": "rnn",
    "error": "error", "operator": "operator", "image": "image", "img": "image",
}
_FROM = {"AttrScope": "attribute", "is_np_array": "util", "is_np_shape": "util", "np_array": "util", "np_shape": "util",
         "set_np_shape": "util", "use_np": "util", "use_np_array": "util", "use_np_shape": "util"}


def __getattr__(attribute):
    if attribute in _LAZY:
        module = _importlib.import_module(f"{__name__}.{_LAZY[attribute]}")
        globals()[attribute] = module
        return module
    if attribute in _FROM:
        value = getattr(_importlib.import_module(f"{__name__}.{_FROM[attribute]}"), attribute)
        globals()[attribute] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")


def __dir__():
    return sorted({*globals(), *_LAZY, *_FROM})


if _os.environ.get("MXNET_PROFILER_AUTOSTART") == "1":
    from . import profiler  # noqa: F401

_aliases.install(__name__, {short: full for short, full in _LAZY.items() if short != full})

__all__ = ["AttrScope", "Context", "MXNetError", "autograd", "base", "cpu", "cpu_pinned", "current_context", "engine",
           "gpu", "gpu_memory_info", "nd", "ndarray", "num_gpus", "random", "storage", "__version__"]
