# SPDX-License-Identifier: Apache-2.0
"""Deferred compute: a program over arrays becomes a symbol."""

from contextlib import contextmanager

from . import _ext


@contextmanager
def deferred_compute():
    """While it is active on a thread, operators called on arrays also leave nodes of a graph. Do not record inside."""
    before = _ext.set_tracing(True)
    try:
        yield
    finally:
        _ext.set_tracing(before)


def set_variable(array, symbol):
    """`array` stands for `symbol` in the graph."""
    _ext.set_traced_variable(array, symbol._handle)


def get_deferred_symbol(outputs, known=None):
    """The symbol of arrays that were computed during `deferred_compute`.

    `known` names arrays that the program used without computing them (inputs and parameters): they become variables.
    """
    from ..symbol import Symbol
    single = not isinstance(outputs, (list, tuple))
    return Symbol(_ext.traced_symbol([outputs] if single else list(outputs), known or {}))
