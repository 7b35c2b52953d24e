# SPDX-License-Identifier: Apache-2.0
"""How blocks get their names: `dense0_` outside of any scope, `net0_dense0_` inside `with net.name_scope()`.

These names are in the parameters and so in saved files: their rules do not change.
"""
from __future__ import annotations

import threading

from .. import name as _name
from .parameter import ParameterDict


class _Current(threading.local):
    def __init__(self):
        self.scope = None


_current = _Current()


class BlockScope:
    """The names inside one block: a count of children for each class, and the prefix of symbols while tracing."""

    def __init__(self, block):
        self._block = block
        self._counter = {}
        self._outer = []

    @staticmethod
    def create(prefix, params, hint):
        """The full prefix and the ParameterDict of a new block of class `hint`, in the current scope."""
        scope = _current.scope
        if scope is None:
            if prefix is None:
                prefix = _name.NameManager.current.get(None, hint) + "_"
            if params is None:
                return prefix, ParameterDict(prefix)
            return prefix, ParameterDict(params.prefix, params)
        if prefix is None:
            count = scope._counter.get(hint, 0)
            scope._counter[hint] = count + 1
            prefix = f"{hint}{count}_"
        parent = scope._block
        if params is None:
            params = ParameterDict(parent.params.prefix + prefix, parent.params._shared)
        else:
            params = ParameterDict(params.prefix, params)
        return parent.prefix + prefix, params

    def __enter__(self):
        if self._block._empty_prefix:
            return self
        prefix = _name.Prefix(self._block.prefix)
        self._outer.append((_current.scope, prefix))
        _current.scope = self
        prefix.__enter__()
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        if self._block._empty_prefix:
            return
        outer, prefix = self._outer.pop()
        prefix.__exit__(exc_type, exc_value, traceback)
        _current.scope = outer
