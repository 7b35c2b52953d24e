# SPDX-License-Identifier: Apache-2.0
"""Automatic names of symbols: `fullyconnected0`, `fullyconnected1`, ... and how a scope changes them."""
from __future__ import annotations

import threading

__all__ = ["NameManager", "Prefix"]


class _CurrentManager(threading.local):
    def __init__(self):
        self.value = NameManager()


class _NameManagerMeta(type):
    """Gives the class itself the property `NameManager.current`."""

    @property
    def current(cls):
        """The manager of the calling thread's innermost `with` block."""
        return NameManager._current.value

    @current.setter
    def current(cls, manager):
        NameManager._current.value = manager


class NameManager(metaclass=_NameManagerMeta):
    """Hands out names: the user's own if given, else the operator's hint and a running number.

    In a `with` statement it starts a fresh count for the current thread.
    """

    def __init__(self):
        self._counter = {}
        self._old_manager = None

    def get(self, name, hint):
        """`name` if it is not empty, else `hint` and the number of times that this manager has used it."""
        if name:
            return name
        count = self._counter.get(hint, 0)
        self._counter[hint] = count + 1
        return f"{hint}{count}"

    def __enter__(self):
        self._old_manager = NameManager._current.value
        NameManager._current.value = self
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        NameManager._current.value = self._old_manager


class Prefix(NameManager):
    """A manager that puts `prefix` in front of every name, given or made.

    >>> import mxnet as mx
    >>> with mx.name.Prefix("stage1_"):
    ...     mx.sym.FullyConnected(mx.sym.var("x"), num_hidden=2).name
    'stage1_fullyconnected0'
    """

    def __init__(self, prefix):
        super().__init__()
        self._prefix = prefix

    def get(self, name, hint):
        return self._prefix + super().get(name, hint)


NameManager._current = _CurrentManager()
