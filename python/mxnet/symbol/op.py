# SPDX-License-Identifier: Apache-2.0
"""Symbol functions made from the operator registry, one when it is first asked for."""
from __future__ import annotations

import numpy as np

from .._core import _ext, ops
from ..attribute import AttrScope
from ..base import _Null
from ..name import NameManager
from .symbol import Symbol

__all__ = []


def _text(key, value):
    """A parameter as symbol files write it."""
    if isinstance(value, str):
        return value
    if key == "dtype" and value is not None:
        return _ext.dtype_name(value)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return str(tuple(item.item() if isinstance(item, np.generic) else item for item in value))
    if isinstance(value, np.generic):
        value = value.item()
    return str(value)


class Operator:
    """A function that makes a symbol of one operator.

    Takes the operator's inputs (symbols) first, then its parameters, by position or name; `name` names the result,
    `attr` gives it attributes.
    """

    def __init__(self, registered, public, module):
        info = _ext.op_info(registered)
        self._registered = registered
        self._hint = public.lower()
        self._inputs = info["inputs"]
        self._variadic = info["variadic"]
        self._params = [param["name"] for param in info["params"]]
        self._known = frozenset(self._params)
        self.__name__ = self.__qualname__ = public
        self.__module__ = module

    @property
    def __doc__(self):
        return ops.document(self._registered)

    @property
    def __signature__(self):
        return ops.signature_of(self._registered, symbol=True)

    def __repr__(self):
        return f"<function {self.__module__}.{self.__name__}>"

    def __call__(self, *args, name=None, attr=None, out=None, **kwargs):
        return self.apply(self._hint, args, kwargs, name, attr)

    def apply(self, hint, args, kwargs, name=None, attr=None):
        """As a call, with another hint for the automatic name."""
        attrs = dict(AttrScope.current.get(attr))
        inputs, named = [], {}
        if self._variadic:
            if len(args) == 1 and isinstance(args[0], (list, tuple)):
                args = args[0]
            inputs = [self._symbol(f"{i}", value) for i, value in enumerate(args)]
        else:
            inputs = self._place(args, named, kwargs)
        for key, value in kwargs.items():
            if value is _Null:
                continue
            if isinstance(value, Symbol):
                named[key] = value._handle
            elif key not in self._inputs or key in self._known:
                attrs[key] = _text(key, value)
            elif value is not None:
                self._symbol(key, value)
        name = NameManager.current.get(name, hint)
        return Symbol(_ext.SymbolHandle.create(self._registered, attrs, name, inputs, named))

    def _place(self, args, named, kwargs):
        """Gives positional arguments their names: inputs come before parameters.

        Returns the symbols at the beginning, which keep their positions: which input that is may depend on parameters.
        """
        names = self._inputs + self._params
        if len(args) > len(names):
            raise TypeError(f"{self.__name__}() takes at most {len(names)} positional arguments, got {len(args)}")
        inputs = []
        for i, (key, value) in enumerate(zip(names, args)):
            if key in kwargs:
                raise TypeError(f"{self.__name__}() got multiple values for argument '{key}'")
            if isinstance(value, Symbol):
                if i == len(inputs):
                    inputs.append(value._handle)
                else:
                    named[key] = value._handle
            elif key not in self._inputs:
                kwargs[key] = value
            elif value is not None:
                self._symbol(key, value)
        return inputs

    def _symbol(self, key, value):
        if not isinstance(value, Symbol):
            raise TypeError(f"{self.__name__}: argument {key} must be a Symbol, got {type(value).__name__}")
        return value._handle


_functions = {}


def function(registered, public=None, module="mxnet.symbol"):
    """The symbol function of a registered name; AttributeError if there is none."""
    if registered == "Custom":
        from ..operator import _custom_on_symbols
        return _custom_on_symbols
    key = (registered, public)
    found = _functions.get(key)
    if found is None:
        if not _ext.has_op(registered):
            raise AttributeError(f"there is no operator {registered}")
        found = _functions[key] = Operator(registered, public or registered, module)
    return found


__getattr__, __dir__ = ops.install(__name__, "", function)
