# SPDX-License-Identifier: Apache-2.0
"""Gluon: networks as Python classes, run operator by operator or compiled by `hybridize`."""
from importlib import import_module

from . import nn, loss, utils
from .block import Block, HybridBlock, SymbolBlock
from .parameter import Constant, DeferredInitializationError, Parameter, ParameterDict
from .trainer import Trainer

__all__ = ["Block", "Constant", "DeferredInitializationError", "HybridBlock", "Parameter", "ParameterDict",
           "SymbolBlock", "Trainer", "contrib", "data", "loss", "nn", "rnn",
           "utils"]

_LAZY = {"contrib", "data", "rnn"}


def __getattr__(name):
    if name in _LAZY:
        return import_module("." + name, __name__)
    if name == "tensor_types":
        from ..ndarray import NDArray
        from ..symbol import Symbol
        return (Symbol, NDArray)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
