# SPDX-License-Identifier: Apache-2.0
"""Symbol functions made from the operator registry, one when it is first asked for."""
from __future__ import annotations

import inspect

import numpy as np

from .._core import _ext
from ..attribute import AttrScope
from ..name import NameManager
from .symbol import Symbol

__all__ = []

# Registered names that live in a namespace: `_contrib_box_nms` is `mx.sym.contrib.box_nms`.
PREFIXES = {"contrib": "_contrib_", "linalg": "_linalg_", "sparse": "_sparse_", "image": "_image_",
            "random": "_random_"}


def _text(key, value):
    """A parameter as symbol files write it."""
    if isinstance(value, str):
        return value
    if key == "dtype" and value is not None:
        return np.dtype(value).name
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
        info = _ext.op_signature(registered)
        self._registered = registered
        self._hint = public.lower()
        self._inputs = info["inputs"]
        self._variadic = info["variadic"]
        self._stem = info["stem"]
        self._params = [param[0] for param in info["params"]]
        self._known = frozenset(self._params)
        self.__name__ = self.__qualname__ = public
        self.__module__ = module
        self.__doc__ = _docstring(info)
        self.__signature__ = _signature(info)

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
            inputs = [self._symbol(f"{self._stem}{i}", value) for i, value in enumerate(args)]
        else:
            self._place(args, named, kwargs)
        for key, value in kwargs.items():
            if isinstance(value, Symbol):
                named[key] = value._handle
            elif value is None and key in self._inputs:
                continue
            elif key in self._known or key.startswith("__") or key not in self._inputs:
                attrs[key] = _text(key, value)
            else:
                self._symbol(key, value)
        name = NameManager.current.get(name, hint)
        return Symbol(_ext.SymbolHandle.create(self._registered, attrs, name, inputs, named))

    def _place(self, args, named, kwargs):
        """Gives positional arguments their names: inputs come before parameters."""
        names = self._inputs + self._params
        if len(args) > len(names):
            raise TypeError(f"{self.__name__}() takes at most {len(names)} positional arguments, got {len(args)}")
        for key, value in zip(names, args):
            if key in kwargs:
                raise TypeError(f"{self.__name__}() got multiple values for argument '{key}'")
            if key in self._inputs and value is not None and key not in self._known:
                named[key] = self._symbol(key, value)
            elif value is not None or key in self._known:
                kwargs[key] = value

    def _symbol(self, key, value):
        if not isinstance(value, Symbol):
            raise TypeError(f"{self.__name__}: argument {key} must be a Symbol, got {type(value).__name__}")
        return value._handle


def _signature(info):
    kind = inspect.Parameter
    if info["variadic"]:
        parameters = [kind("data", kind.VAR_POSITIONAL)]
        mode = kind.KEYWORD_ONLY
    else:
        parameters = [kind(name, kind.POSITIONAL_OR_KEYWORD, default=None) for name in info["inputs"]]
        mode = kind.POSITIONAL_OR_KEYWORD
    taken = set(info["inputs"])
    for name, _, default, required, _ in info["params"]:
        if name not in taken and name != info["variadic"]:
            parameters.append(kind(name, mode, default=_Default("required" if required else default)))
    parameters += [kind(name, kind.KEYWORD_ONLY, default=None) for name in ("name", "attr", "out") if name not in taken]
    return inspect.Signature(parameters)


class _Default:
    """Prints as the text of a default in a signature."""

    def __init__(self, text):
        self._text = text

    def __repr__(self):
        return self._text


def _docstring(info):
    lines = [info["doc"], "", "Parameters", "----------"]
    if info["variadic"]:
        lines.append("*data : Symbol")
    lines += [f"{name} : Symbol" for name in info["inputs"]]
    for name, kind, default, required, doc in info["params"]:
        lines.append(f"{name} : {kind}, {'required' if required else f'optional, default={default}'}")
        if doc:
            lines.append(f"    {doc}")
    lines += ["name : str, optional", "    Name of the resulting symbol.",
              "attr : dict of str to str, optional", "    Attributes of the resulting symbol."]
    return "\n".join(lines)


_functions = {}


def registered_names():
    """All names that operators can be called by."""
    names = _functions.get("")
    if names is None:
        names = _functions[""] = frozenset(_ext.op_names())
    return names


def function(registered, public=None, module="mxnet.symbol.op"):
    """The symbol function of a registered name, or None."""
    key = (registered, public)
    found = _functions.get(key)
    if found is None:
        if registered not in registered_names():
            return None
        found = _functions[key] = Operator(registered, public or registered, module)
    return found


def public_names():
    """Names that `mx.sym` itself offers."""
    return [name for name in registered_names() if not name.startswith("_")]


def namespace(module, prefix):
    """`__getattr__` and `__dir__` of a module that offers the operators whose registered names begin with `prefix`."""

    def getattribute(name):
        if not name.startswith("__"):
            found = function(prefix + name, name, module)
            if found is not None:
                return found
        raise AttributeError(f"module '{module}' has no attribute '{name}'")

    def directory():
        start = len(prefix)
        return sorted(name[start:] for name in registered_names() if name.startswith(prefix))

    return getattribute, directory


def __getattr__(name):
    found = None if name.startswith("_") else function(name, name, "mxnet.symbol.op")
    if found is None:
        raise AttributeError(f"module 'mxnet.symbol' has no attribute '{name}': there is no operator of that name")
    return found


def __dir__():
    return sorted(public_names())
