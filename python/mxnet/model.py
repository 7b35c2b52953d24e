# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a symbol and its parameters in files."""
from __future__ import annotations

import logging
from collections import namedtuple

from . import ndarray as nd
from . import symbol as sym
from .context import cpu

__all__ = ["BatchEndParam", "load_checkpoint", "load_params", "save_checkpoint"]

#: What a training loop hands to its batch callbacks.
BatchEndParam = namedtuple("BatchEndParams", ["epoch", "nbatch", "eval_metric", "locals"])


def save_checkpoint(prefix, epoch, symbol, arg_params, aux_params, remove_amp_cast=True):
    """Write `prefix-symbol.json` and `prefix-NNNN.params` (NNNN is `epoch`).

    Parameters
    ----------
    prefix : str
    epoch : int
    symbol : Symbol or None
        None writes the parameters alone.
    arg_params, aux_params : dict of str to NDArray
    remove_amp_cast : bool
        Whether casts that mixed precision put into the graph are left out.
    """
    if symbol is not None:
        symbol.save(f"{prefix}-symbol.json", remove_amp_cast=remove_amp_cast)
    arrays = {f"arg:{name}": array.as_in_context(cpu()) for name, array in arg_params.items()}
    arrays.update({f"aux:{name}": array.as_in_context(cpu()) for name, array in aux_params.items()})
    name = f"{prefix}-{epoch:04d}.params"
    nd.save(name, arrays)
    logging.info('Saved checkpoint to "%s"', name)


def load_params(prefix, epoch):
    """(arg_params, aux_params) from `prefix-NNNN.params`."""
    arrays = nd.load(f"{prefix}-{epoch:04d}.params")
    arg_params, aux_params = {}, {}
    if not arrays:
        logging.warning("Params file '%s-%04d.params' is empty", prefix, epoch)
        return arg_params, aux_params
    for key, array in arrays.items():
        kind, _, name = key.partition(":")
        if kind == "arg":
            arg_params[name] = array
        elif kind == "aux":
            aux_params[name] = array
    return arg_params, aux_params


def load_checkpoint(prefix, epoch):
    """(symbol, arg_params, aux_params) from the files that `save_checkpoint` or `HybridBlock.export` wrote."""
    symbol = sym.load(f"{prefix}-symbol.json")
    return (symbol, *load_params(prefix, epoch))
