# SPDX-License-Identifier: Apache-2.0
"""Operator functions by name: which namespace a registered name belongs to, and its signature for help()."""

import ast
import inspect

from . import _ext

# Registered prefix -> namespace below mx.nd and mx.sym. The first that fits wins.
PREFIXES = (("_contrib_", "contrib"), ("_linalg_", "linalg"), ("_sparse_", "sparse"), ("_image_", "image"),
            ("_random_", "random"))


def split_name(name):
    """(namespace, function name) of a registered operator name; the namespace of plain operators is ''."""
    for prefix, namespace in PREFIXES:
        if name.startswith(prefix):
            return namespace, name[len(prefix):]
    return ("_internal", name) if name.startswith("_") else ("", name)


def names_in(namespace):
    """The function names of a namespace, sorted."""
    return sorted({function for space, function in map(split_name, _ext.list_ops()) if space == namespace})


def registered_name(namespace, function):
    """The operator behind `function` in `namespace`, or None."""
    for prefix, space in PREFIXES:
        if space == namespace and _ext.has_op(prefix + function):
            return prefix + function
    if namespace in ("", "_internal", "op") and _ext.has_op(function):
        return function
    return None


def _default(param):
    text = param["default"]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def signature_of(name, symbol=False):
    """inspect.Signature of an operator function."""
    info = _ext.op_info(name)
    kinds = inspect.Parameter
    parameters = []
    if info["variadic"]:
        parameters.append(kinds("data", kinds.VAR_POSITIONAL))
    else:
        parameters += [kinds(n, kinds.POSITIONAL_OR_KEYWORD, default=None) for n in info["inputs"]]
    taken = set(info["inputs"]) | {"data" if info["variadic"] else ""}
    kind = kinds.KEYWORD_ONLY if info["variadic"] else kinds.POSITIONAL_OR_KEYWORD
    for param in info["params"]:
        if param["name"] in taken or param["name"] == info["variadic_param"] or not param["name"].isidentifier():
            continue
        parameters.append(kinds(param["name"], kind, default=None if param["required"] else _default(param)))
    if not symbol:
        parameters.append(kinds("out", kind, default=None))
    parameters.append(kinds("name", kind, default=None))
    return inspect.Signature(parameters)


def document(name):
    """Docstring of an operator function: what it does, then its parameters."""
    info = _ext.op_info(name)
    lines = [info["doc"], ""]
    if info["params"]:
        lines += ["Parameters", "----------"]
        for param in info["params"]:
            default = "required" if param["required"] else f"optional, default={param['default']}"
            lines += [f"{param['name']} : {param['type']}, {default}", f"    {param['doc']}"]
    return "\n".join(lines).rstrip()


def nd_function(name, public=None, module="mxnet.ndarray"):
    """The callable behind mx.nd.<public>."""
    if name == "Custom":
        from ..operator import _custom_on_arrays
        return _custom_on_arrays
    return _ext.OpFunction(name, public or name, module, document(name))


def method(name):
    """An operator as a method of arrays; its docstring is made when somebody asks for the function."""
    return _ext.OpFunction(name, name, "mxnet.ndarray")


def install(module_name, namespace, make):
    """(`__getattr__`, `__dir__`) for a module whose functions are made from the registry on first use."""
    import sys

    def __getattr__(function):
        name = None if function.startswith("__") else registered_name(namespace, function)
        if name is None:
            raise AttributeError(f"module {module_name!r} has no attribute {function!r}")
        made = make(name, function, module_name)
        setattr(sys.modules[module_name], function, made)
        return made

    def __dir__():
        return sorted({*vars(sys.modules[module_name]), *names_in(namespace)})

    return __getattr__, __dir__
