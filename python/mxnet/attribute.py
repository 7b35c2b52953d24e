# SPDX-License-Identifier: Apache-2.0
"""Attributes that a `with` block gives to every symbol made inside."""
from __future__ import annotations

import threading

__all__ = ["AttrScope"]


class _CurrentScope(threading.local):
    def __init__(self):
        self.value = AttrScope()


class _AttrScopeMeta(type):
    """Gives the class itself the property `AttrScope.current`."""

    @property
    def current(cls):
        """The scope of the calling thread's innermost `with` block."""
        return AttrScope._current.value

    @current.setter
    def current(cls, scope):
        AttrScope._current.value = scope


class AttrScope(metaclass=_AttrScopeMeta):
    """Attributes (text to text) for the symbols made inside a `with` block; inner scopes extend and override outer
    ones.

    >>> import mxnet as mx
    >>> with mx.AttrScope(ctx_group="stage1"):
    ...     mx.sym.var("x").attr("ctx_group")
    'stage1'
    """

    def __init__(self, **kwargs):
        for key, value in kwargs.items():
            if not isinstance(value, str):
                raise ValueError(f"AttrScope: attributes must be text, got {key}={value!r} ({type(value).__name__})")
        self._own = kwargs
        self._attr = kwargs
        self._old_scopes = []

    def get(self, attr):
        """The attributes of a new symbol: the scope's, overridden by `attr` (a dict or None)."""
        if not self._attr:
            return attr if attr else {}
        return {**self._attr, **attr} if attr else dict(self._attr)

    def __enter__(self):
        outer = AttrScope._current.value
        self._old_scopes.append((outer, self._attr))
        self._attr = {**outer._attr, **self._own}
        AttrScope._current.value = self
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        AttrScope._current.value, self._attr = self._old_scopes.pop()


AttrScope._current = _CurrentScope()
