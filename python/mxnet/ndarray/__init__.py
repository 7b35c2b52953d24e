# SPDX-License-Identifier: Apache-2.0
"""Imperative arrays: the class NDArray, and one function per operator, made from the registry on first use."""

from .._core import ops as _ops
from .._core._ext import CachedOp  # noqa: F401  (a symbol as a function of arrays)
from . import ndarray as _ndarray_module
from .ndarray import *  # noqa: F403
from .ndarray import NDArray, _DTYPES  # noqa: F401
from . import op  # noqa: E402  (the same operators without the helpers)
from . import random, sparse  # noqa: E402
from .utils import load, load_frombuffer, save  # noqa: E402

_SUBMODULES = ("contrib", "linalg", "image", "_internal")
_get_operator, __dir__ = _ops.install(__name__, "", _ops.nd_function)


def __getattr__(name):
    if name in _SUBMODULES:
        import importlib
        return importlib.import_module(f"{__name__}.{name}")
    return _get_operator(name)


__all__ = [*_ndarray_module.__all__, "load", "load_frombuffer", "op", "random", "save", "sparse"]
