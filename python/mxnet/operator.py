# SPDX-License-Identifier: Apache-2.0
"""Operators written in Python: `CustomOp`, `CustomOpProp` and `register`, called as `mx.nd.Custom` and `mx.sym.Custom`.

    @mx.operator.register("square2")
    class Square2Prop(mx.operator.CustomOpProp):
        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Square2()

    class Square2(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            self.assign(out_data[0], req[0], in_data[0] * in_data[0])

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            self.assign(in_grad[0], req[0], 2 * in_data[0] * out_grad[0])

    y = mx.nd.Custom(x, op_type="square2")

The functions run on a thread of the engine once the inputs are ready, so they may wait for arrays (`asnumpy`). What
they raise is raised again, as an MXNetError that holds the traceback, where the result is waited for.
"""
from __future__ import annotations

import itertools
import warnings
from collections import namedtuple

import numpy as np

from ._core import _ext
from .ndarray import NDArray

__all__ = ["CustomOp", "CustomOpProp", "NDArrayOp", "NumpyOp", "PythonOp", "get_all_registered_operators",
           "get_operator_arguments", "register"]

OperatorArguments = namedtuple("OperatorArguments", ["narg", "names", "types"])

_registered = {}


class CustomOp:
    """What a custom operator computes. Override `forward`, and `backward` if it has a gradient."""

    def forward(self, is_train, req, in_data, out_data, aux):
        """Computes the outputs.

        Parameters
        ----------
        is_train : bool
        req : list of str
            What is asked of each output: "null", "write", "inplace" or "add"; see `assign`.
        in_data, out_data, aux : list of NDArray
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        """Computes `in_grad`, the gradients of the inputs, from `out_grad`, those of the outputs."""
        raise NotImplementedError(f"{type(self).__name__} has no backward(): its gradient was asked for")

    def assign(self, dst, req, src):
        """Puts `src` into the array `dst` as `req` asks: written, added or not at all."""
        if req in ("write", "inplace"):
            dst[:] = src
        elif req == "add":
            dst[:] += src
        elif req != "null":
            raise ValueError(f"assign: req must be 'null', 'write', 'inplace' or 'add', got {req!r}")


class CustomOpProp:
    """What is known of a custom operator before it meets arrays.

    The keyword arguments of `mx.nd.Custom` arrive at the constructor as text.

    Parameters
    ----------
    need_top_grad : bool
        False for a loss: backward does not read the gradients of the outputs.
    """

    def __init__(self, need_top_grad=True):
        self.need_top_grad_ = need_top_grad

    def list_arguments(self):
        """Names of the inputs."""
        return ["data"]

    def list_outputs(self):
        """Names of the outputs."""
        return ["output"]

    def list_auxiliary_states(self):
        """Names of the states: inputs that the operator may write, given after the others."""
        return []

    def infer_shape(self, in_shape):
        """(shapes of inputs, of outputs, of auxiliary states) from those of the inputs, in which `[]` and 0 are
        unknown; the states may be left out. By default the outputs have the first input's shape."""
        return in_shape, [in_shape[0]] * len(self.list_outputs()), []

    def infer_type(self, in_type):
        """The same for dtypes; unknown ones are None. By default all are that of the first input."""
        return ([in_type[0] if t is None else t for t in in_type], [in_type[0]] * len(self.list_outputs()),
                [in_type[0]] * len(self.list_auxiliary_states()))

    def infer_storage_type(self, in_stype):
        """The same for storage types. By default all must be "default"."""
        for name, stype in zip(self.list_arguments(), in_stype):
            if stype not in ("default", "undefined"):
                raise ValueError(f"{type(self).__name__}: input {name} has storage type {stype}; "
                                 "infer_storage_type() must be defined to take sparse arrays")
        return (in_stype, ["default"] * len(self.list_outputs()), ["default"] * len(self.list_auxiliary_states()))

    def infer_storage_type_backward(self, ograd_stype, in_stype, out_stype, igrad_stype, aux_stype):
        """Storage types of the arrays of backward. Gradients are dense here whatever is returned."""
        return (["default"] * len(ograd_stype), ["default"] * len(in_stype), ["default"] * len(out_stype),
                ["default"] * len(igrad_stype), ["default"] * len(aux_stype))

    def declare_backward_dependency(self, out_grad, in_data, out_data):
        """Which of the given numbers of arrays backward reads. What is left out arrives there as zeros."""
        return [*(out_grad if self.need_top_grad_ else []), *in_data, *out_data]

    def create_operator(self, ctx, in_shapes, in_dtypes):
        """The CustomOp for arrays of these shapes and dtypes (by number: 0 is float32), states last."""
        return CustomOp()


class _OpBridge:
    """What the core calls instead of a CustomOp."""

    def __init__(self, operator):
        self._operator = operator

    def forward(self, is_train, in_data, out_data, aux):
        self._operator.forward(is_train=is_train, req=["write"] * len(out_data), in_data=in_data, out_data=out_data,
                               aux=aux)

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self._operator.backward(req=req, out_grad=out_grad, in_data=in_data, out_data=out_data, in_grad=in_grad,
                                aux=aux)


class _PropBridge:
    """What the core asks instead of a CustomOpProp: checks what it returns."""

    def __init__(self, op_type, keywords):
        cls = _registered.get(op_type)
        if cls is None:
            raise ValueError(f"there is no custom operator {op_type!r}; register it with "
                             f"@mx.operator.register({op_type!r})")
        self._prop = prop = cls(**keywords)
        self._name = f"{cls.__name__} ({op_type})"
        self.arguments = self._names("list_arguments", prop.list_arguments())
        self.outputs = self._names("list_outputs", prop.list_outputs())
        self.states = self._names("list_auxiliary_states", prop.list_auxiliary_states())
        if not self.outputs:
            raise ValueError(f"{self._name}: list_outputs() must name at least one output")
        n_out, n_in = len(self.outputs), len(self.arguments)
        heads = list(range(n_out))
        inputs = list(range(n_out, n_out + n_in))
        outputs = list(range(n_out + n_in, n_out + n_in + n_out))
        needed = set(prop.declare_backward_dependency(heads, inputs, outputs))
        self.needs_heads = any(i in needed for i in heads)
        self.reads_in = [i in needed for i in inputs]
        self.reads_out = [i in needed for i in outputs]

    def _names(self, method, names):
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"{self._name}: {method}() must return a list of str, got {names!r}")
        return list(names)

    def _lists(self, method, result, given):
        """Lists for inputs, outputs and states, from a result that may leave out the states."""
        result = list(result)
        if len(result) not in (2, 3):
            raise ValueError(f"{self._name}: {method}() must return lists for inputs, outputs and auxiliary states, "
                             f"got {len(result)} of them")
        lists = [list(part) for part in result]
        if len(lists) == 2:
            lists.append([])
        for what, part, names in zip(("inputs", "outputs", "auxiliary states"), lists,
                                     (self.arguments, self.outputs, self.states)):
            if len(part) != len(names):
                raise ValueError(f"{self._name}: {method}({given}) must return {len(names)} {what}, got {len(part)}")
        return lists

    def infer_shape(self, shapes):
        return self._lists("infer_shape", self._prop.infer_shape([list(shape) for shape in shapes]), shapes)

    def infer_type(self, types):
        return self._lists("infer_type", self._prop.infer_type(list(types)), types)

    def infer_storage_type(self, stypes):
        return self._lists("infer_storage_type", self._prop.infer_storage_type(list(stypes)), stypes)

    def create(self, ctx, shapes, dtypes):
        operator = self._prop.create_operator(ctx, shapes, dtypes)
        if not hasattr(operator, "forward"):
            raise TypeError(f"{self._name}: create_operator() must return a CustomOp, got {type(operator).__name__}")
        return _OpBridge(operator)


def register(reg_name):
    """A decorator that registers a CustomOpProp class under a name, for `op_type` of `mx.nd.Custom`. A name that is
    registered again means the new class from then on."""
    if not isinstance(reg_name, str):
        raise TypeError(f"register: the name must be a str, got {type(reg_name).__name__}")

    def do_register(prop_cls):
        if not (isinstance(prop_cls, type) and issubclass(prop_cls, CustomOpProp)):
            raise TypeError(f"register: expected a subclass of CustomOpProp, got {prop_cls!r}")
        _registered[reg_name] = prop_cls
        return prop_cls

    return do_register


def get_all_registered_operators():
    """Names of all operators of the core."""
    return _ext.list_ops()


def get_operator_arguments(op_name):
    """The number, names and types of an operator's inputs and parameters, as a named tuple."""
    info = _ext.op_info(op_name)
    kind = "NDArray-or-Symbol"
    inputs = [("data", f"{kind}[]")] if info["variadic"] else [(name, kind) for name in info["inputs"]]
    pairs = inputs + [(param["name"], param["type"]) for param in info["params"] if param["name"] != "*"]
    return OperatorArguments(len(pairs), [name for name, _ in pairs], [text for _, text in pairs])


# ---- the interface of the first releases

class PythonOp:
    """Base of NumpyOp and NDArrayOp, from before CustomOp; new programs use CustomOp."""

    _numbers = itertools.count()

    def __init__(self, need_top_grad=True):
        self.need_top_grad_ = need_top_grad
        warnings.warn(f"{type(self).__name__}: this interface is kept for old programs; derive from CustomOp",
                      DeprecationWarning, stacklevel=2)

    def __call__(self, *args, **kwargs):
        return self.get_symbol(*args, **kwargs)

    def get_symbol(self, *args, **kwargs):
        """The symbol of this operator on symbols."""
        from . import symbol
        name = f"_{type(self).__name__}_{next(PythonOp._numbers)}"
        _registered[name] = self._prop_class()
        return symbol.Custom(*args, op_type=name, **kwargs)

    def forward(self, in_data, out_data):
        """Writes `out_data[i][:]`. By default the outputs are the inputs."""
        for out, given in zip(out_data, in_data):
            out[:] = given

    def backward(self, out_grad, in_data, out_data, in_grad):
        """Writes `in_grad[i][:]`. By default the gradients are 1."""
        for grad in in_grad:
            grad[:] = 1.0

    def infer_shape(self, in_shape):
        """(shapes of inputs, of outputs) from those of the inputs."""
        return in_shape, [in_shape[0]]

    def list_outputs(self):
        """Names of the outputs."""
        return ["output"]

    def list_arguments(self):
        """Names of the inputs."""
        return ["data"]

    def need_top_grad(self):
        """Whether backward reads the gradients of the outputs."""
        return self.need_top_grad_

    def _run_forward(self, req, in_data, out_data):
        self.forward(in_data=in_data, out_data=out_data)

    def _run_backward(self, req, out_grad, in_data, out_data, in_grad):
        self.backward(out_grad=out_grad, in_data=in_data, out_data=out_data, in_grad=in_grad)

    def _dependency(self, out_grad, in_data, out_data):
        return [*(out_grad if self.need_top_grad() else []), *in_data, *out_data]

    def _prop_class(self):
        outer = self

        class Operator(CustomOp):
            def forward(self, is_train, req, in_data, out_data, aux):
                outer._run_forward(req, in_data, out_data)

            def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
                # The old interface knows no requests: it writes, and what it wrote is added where that is asked.
                written = [grad if how != "add" else grad.zeros_like() for grad, how in zip(in_grad, req)]
                outer._run_backward(req, out_grad, in_data, out_data, written)
                for grad, new in zip(in_grad, written):
                    if new is not grad:
                        grad[:] += new

        class Prop(CustomOpProp):
            def list_arguments(self):
                return outer.list_arguments()

            def list_outputs(self):
                return outer.list_outputs()

            def infer_shape(self, in_shape):
                return outer.infer_shape(in_shape)

            def declare_backward_dependency(self, out_grad, in_data, out_data):
                return outer._dependency(out_grad, in_data, out_data)

            def create_operator(self, ctx, in_shapes, in_dtypes):
                return Operator()

        return Prop


class NumpyOp(PythonOp):
    """An operator whose forward and backward work on NumPy arrays, writing into those for the results."""

    def _run_forward(self, req, in_data, out_data):
        results = [out.asnumpy() for out in out_data]
        self.forward(in_data=[a.asnumpy() for a in in_data], out_data=results)
        for out, result in zip(out_data, results):
            out[:] = np.asarray(result)

    def _run_backward(self, req, out_grad, in_data, out_data, in_grad):
        results = [grad.asnumpy() for grad in in_grad]
        self.backward(out_grad=[a.asnumpy() for a in out_grad], in_data=[a.asnumpy() for a in in_data],
                      out_data=[a.asnumpy() for a in out_data], in_grad=results)
        for grad, result in zip(in_grad, results):
            grad[:] = np.asarray(result)


class NDArrayOp(PythonOp):
    """An operator whose forward and backward work on NDArrays."""

    def declare_backward_dependency(self, out_grad, in_data, out_data):
        """Which of the given numbers of arrays backward reads."""
        return PythonOp._dependency(self, out_grad, in_data, out_data)

    def _dependency(self, out_grad, in_data, out_data):
        return self.declare_backward_dependency(out_grad, in_data, out_data)


# ---- the functions behind mx.nd.Custom and mx.sym.Custom

def _texts(op_type, kwargs):
    if not isinstance(op_type, str):
        raise TypeError(f"Custom: op_type must name a registered operator, got {op_type!r}")
    return [("op_type", op_type), *((key, str(value)) for key, value in kwargs.items())]


def _custom_on_arrays(*data, op_type=None, out=None, name=None, **kwargs):
    """Applies the operator that was registered as `op_type` to arrays: its inputs, then its auxiliary states, by
    position or by name. Other keyword arguments go to the constructor of its CustomOpProp, as text."""
    named = {key: kwargs.pop(key) for key in [key for key, value in kwargs.items() if isinstance(value, NDArray)]}
    texts = _texts(op_type, kwargs)
    inputs = list(data[0]) if len(data) == 1 and isinstance(data[0], (list, tuple)) else list(data)
    for i, array in enumerate(inputs):
        if not isinstance(array, NDArray):
            raise TypeError(f"Custom: input {i} must be an NDArray, got {type(array).__name__}")
    if named:
        names = _ext.custom_inputs(texts)
        unknown = [key for key in named if key not in names[len(inputs):]]
        if unknown:
            raise TypeError(f"Custom: {op_type} has no further input named {unknown[0]}; its inputs are {names}")
        for name in names[len(inputs):]:
            if name not in named:
                raise TypeError(f"Custom: input {name} of {op_type} is missing")
            inputs.append(named[name])
    given = None if out is None else [out] if isinstance(out, NDArray) else list(out)
    results = _ext.call_with_text("Custom", inputs, texts, given)
    return results[0] if len(results) == 1 else results


def _custom_on_symbols(*data, op_type=None, name=None, attr=None, **kwargs):
    """The symbol of the operator that was registered as `op_type`: on its inputs, then its auxiliary states, by
    position or by name; those that are not given become variables. Other keyword arguments go to the constructor of
    its CustomOpProp, as text."""
    from .attribute import AttrScope
    from .name import NameManager
    from .symbol import Symbol
    named = {key: kwargs.pop(key)._handle
             for key in [key for key, value in kwargs.items() if isinstance(value, Symbol)]}
    attrs = {**AttrScope.current.get(attr), **dict(_texts(op_type, kwargs))}
    inputs = list(data[0]) if len(data) == 1 and isinstance(data[0], (list, tuple)) else list(data)
    for i, symbol in enumerate(inputs):
        if not isinstance(symbol, Symbol):
            raise TypeError(f"Custom: input {i} must be a Symbol, got {type(symbol).__name__}")
    name = NameManager.current.get(name, "custom")
    return Symbol(_ext.SymbolHandle.create("Custom", attrs, name, [s._handle for s in inputs], named))


for _function in (_custom_on_arrays, _custom_on_symbols):
    _function.__name__ = _function.__qualname__ = "Custom"
