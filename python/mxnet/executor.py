# SPDX-License-Identifier: Apache-2.0
"""Executors: symbols bound to arrays, with `forward` and `backward`."""
from __future__ import annotations

import weakref
from math import prod

import numpy as np

from . import ndarray as nd
from ._core import _ext
from .context import Context

__all__ = ["Executor"]

NDArray = nd.NDArray

_STYPES = ("default", "row_sparse", "csr")  # by the numbers that variables carry


class Executor:
    """Runs a symbol over arrays that it was bound to. Made by `Symbol.bind` and `Symbol.simple_bind`.

    `forward` writes the arrays in `outputs`, `backward` those in `grad_arrays`; both are the same arrays each time.
    """

    def __init__(self, symbol, ctx, args, grads, reqs, aux, group2ctx=None):
        names = symbol.list_arguments()
        states = symbol.list_auxiliary_states()
        self._symbol = symbol
        self._ctx = Context(ctx)
        self._group2ctx = group2ctx
        self._arg_names = names
        self._aux_names = states
        self._grad_req = reqs
        self.arg_arrays = args
        self.grad_arrays = grads
        self.aux_arrays = aux
        self._monitor = None
        by_name = {**dict(zip(states, aux)), **dict(zip(names, args))}
        grad_by_name = {name: (grad, req) for name, grad, req in zip(names, grads, reqs)}
        inputs = symbol.list_inputs()
        gradients = [grad_by_name.get(name, (None, "null")) for name in inputs]
        self._handle = _ext.bind(symbol._handle, self._output_contexts(), [by_name[name] for name in inputs],
                                 [grad for grad, _ in gradients], [req for _, req in gradients])
        self.outputs = self._handle.outputs()

    def _output_contexts(self):
        """The executor's device, then that of each output: of its `ctx_group`, if there is one."""
        contexts = [self._ctx]
        for output in self._symbol if self._group2ctx else ():
            contexts.append(self._group2ctx.get(output.attr("ctx_group"), self._ctx))
        return contexts

    # ---- running
    def forward(self, is_train=False, **kwargs):
        """Computes the outputs and returns them; keyword arguments are copied into the arguments first."""
        arguments = self.arg_dict if kwargs else {}
        for name, value in kwargs.items():
            target = arguments.get(name)
            if target is None:
                raise TypeError(f"Unknown argument {name}")
            if not isinstance(value, (NDArray, np.ndarray)):
                value = np.asarray(value)
            if tuple(value.shape) != target.shape:
                raise ValueError(f"Shape not match! Argument {name}, need: {target.shape}, received: {value.shape}")
            target[:] = value
        self._handle.forward(bool(is_train))
        fresh = self._handle.outputs()
        if any(old is None or old.shape != new.shape for old, new in zip(self.outputs, fresh)):
            self.outputs = fresh
        return self.outputs

    def backward(self, out_grads=None, is_train=True):
        """Computes the gradients; `out_grads` are those of the outputs, which loss operators do without."""
        if out_grads is None:
            out_grads = []
        elif isinstance(out_grads, NDArray):
            out_grads = [out_grads]
        elif isinstance(out_grads, dict):
            out_grads = [out_grads.get(name) for name in self._symbol.list_outputs()]
        for grad in out_grads:
            if grad is not None and not isinstance(grad, NDArray):
                raise TypeError(f"backward: out_grads must be NDArrays, got {type(grad).__name__}")
        self._handle.backward(list(out_grads))

    def set_monitor_callback(self, callback, monitor_all=False):
        """Calls `callback(name, array)` at each forward with every operator's outputs (and inputs, if `monitor_all`).

        Operators then run one by one. `None` ends it.
        """
        if callback is None:
            self._monitor = None
            self._handle.set_monitor(None, False)
            return
        if not callable(callback):
            raise TypeError(f"set_monitor_callback: expected a callable or None, got {type(callback).__name__}")
        self._monitor = (callback, monitor_all)
        weak_self = weakref.ref(self)  # a strong reference from the core to what may hold the executor would never end

        def watch(name, array):
            executor = weak_self()
            if executor is not None and executor._monitor is not None:
                executor._monitor[0](name, array)

        self._handle.set_monitor(watch, bool(monitor_all))

    # ---- arrays by name
    @staticmethod
    def _by_name(what, names, arrays):
        table = {}
        for name, array in zip(names, arrays):
            if name in table:
                raise ValueError(f"Duplicate {what} names: {name}")
            table[name] = array
        return table

    @property
    def arg_dict(self):
        """Arguments by name."""
        return self._by_name("argument", self._arg_names, self.arg_arrays)

    @property
    def grad_dict(self):
        """Gradients of arguments by name; None where none is asked for."""
        return self._by_name("argument", self._arg_names, self.grad_arrays)

    @property
    def aux_dict(self):
        """Auxiliary states by name."""
        return self._by_name("auxiliary state", self._aux_names, self.aux_arrays)

    @property
    def output_dict(self):
        """Outputs by name."""
        return self._by_name("output", self._symbol.list_outputs(), self.outputs)

    def copy_params_from(self, arg_params, aux_params=None, allow_extra_params=False):
        """Copies parameters, given by name, into the executor's arrays; casts where dtypes differ."""
        for kind, given, own in (("arguments", arg_params, self.arg_dict),
                                 ("auxiliary states", aux_params, self.aux_dict)):
            for name, array in (given or {}).items():
                if name in own:
                    array.astype(own[name].dtype, copy=False).copyto(own[name])
                elif not allow_extra_params:
                    raise ValueError(f'Find name "{name}" that is not in the {kind}')

    def reshape(self, partial_shaping=False, allow_up_sizing=False, **kwargs):
        """An executor for other input shapes, with the monitor of this one.

        Arrays whose shape does not change, and their gradients, are shared; smaller ones use the old ones' memory.
        """
        shapes, _, states = self._symbol.infer_shape(**kwargs)
        if shapes is None:
            raise ValueError("reshape: the shapes given do not decide all others")

        def fit(name, array, shape, given):
            if array is None or array.shape == shape:
                return array
            if not (partial_shaping or given):
                raise AssertionError(f"Shape of unspecified array arg:{name} changed. This can cause the new executor "
                                     "to not share parameters with the old one. Please check for error in network. "
                                     "If this is intended, set partial_shaping=True to suppress this warning.")
            if prod(shape) <= array.size:
                return _window(array, shape)
            if not allow_up_sizing:
                raise AssertionError(f"New shape of arg:{name} larger than original. First making a big executor and "
                                     "then down sizing it is more efficient than the reverse. If you really want to "
                                     "up size, set allow_up_sizing=True to enable allocation of new arrays.")
            return nd.zeros(shape, ctx=array.context, dtype=array.dtype)

        args, grads = [], []
        for name, array, grad, shape in zip(self._arg_names, self.arg_arrays, self.grad_arrays, shapes):
            args.append(fit(name, array, shape, name in kwargs))
            grads.append(fit(name, grad, shape, name in kwargs))
        aux = [fit(name, array, shape, False) for name, array, shape in zip(self._aux_names, self.aux_arrays, states)]
        executor = Executor(self._symbol, self._ctx, args, grads, self._grad_req, aux, self._group2ctx)
        if self._monitor is not None:
            executor.set_monitor_callback(*self._monitor)
        return executor

    def planned_memory(self):
        """Bytes that a training step takes beside arguments, gradients and auxiliary states, by kind; those of an
        inference if no gradient is asked for. Nothing but outputs for graphs that no plan can hold.

        Keys: 'outputs'; 'values', what passes between operators; 'kept', what the backward needs of the forward;
        'constants', what is made of parameters once for many runs; 'scratch', what kernels need to work in, in
        addition. Values and scratch lie in memory that all executors of a thread share.
        """
        planned = self._handle.planned_memory()
        outputs = sum(array.size * np.dtype(array.dtype).itemsize for array in self.outputs if array is not None)
        return {"outputs": outputs, "values": planned["values"], "kept": planned["frame"],
                "constants": planned["constants"], "scratch": planned["arena"] - planned["values"]}

    def debug_str(self):
        """The graph as text, and at its end the memory that is planned for it (see `planned_memory`).

        As in MXNet 1.9.1 the last line but one is 'Total N MB allocated', and does not count scratch memory.
        """
        memory = self.planned_memory()
        scratch = memory.pop("scratch")
        return (f"{self._symbol.debug_str().rstrip()}\nTotal {sum(memory.values()) >> 20} MB allocated\n"
                f"Total {int(scratch > 0)} TempSpace resource requested\n")

    def get_optimized_symbol(self):
        """The symbol that is run."""
        return self._symbol


def _requests(names, grad_req):
    """The request for each argument, from one for all, a list, or a dict in which absent names mean 'null'."""
    if isinstance(grad_req, str):
        reqs = [grad_req] * len(names)
    elif isinstance(grad_req, (list, tuple)):
        if len(grad_req) != len(names):
            raise ValueError(f"grad_req has {len(grad_req)} entries for {len(names)} arguments")
        reqs = list(grad_req)
    elif isinstance(grad_req, dict):
        reqs = [grad_req.get(name, "null") for name in names]
    else:
        raise TypeError(f"grad_req must be a str, list or dict, got {type(grad_req).__name__}")
    for req in reqs:
        if req not in ("write", "add", "null"):
            raise ValueError(f"grad_req must be 'write', 'add' or 'null', got {req!r}")
    return reqs


def _arrays(what, given, names, allow_missing):
    """The arrays for `names` from a list in that order or a dict."""
    if isinstance(given, dict):
        missing = [name for name in names if name not in given]
        if missing and not allow_missing:
            raise ValueError(f"key `{missing[0]}` is missing in `{what}`")
        arrays = [given.get(name) for name in names]
    elif isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise ValueError(f"Length of {what} does not match the number of arguments: {len(given)} for {len(names)}")
        arrays = list(given)
    else:
        raise TypeError(f"{what} must be a list or dict of NDArrays, got {type(given).__name__}")
    for name, array in zip(names, arrays):
        if array is None and allow_missing:
            continue
        if not isinstance(array, NDArray):
            raise TypeError(f"{what}: {name} must be an NDArray, got {type(array).__name__}")
    return arrays


def bind(symbol, ctx, args, args_grad=None, grad_req="write", aux_states=None, group2ctx=None, shared_exec=None):
    """What `Symbol.bind` does."""
    if not isinstance(ctx, Context):
        raise TypeError(f"bind: ctx must be a Context, got {type(ctx).__name__}")
    names = symbol.list_arguments()
    arguments = _arrays("args", args, names, False)
    grads = [None] * len(names) if args_grad is None else _arrays("args_grad", args_grad, names, True)
    reqs = [req if grad is not None else "null" for req, grad in zip(_requests(names, grad_req), grads)]
    aux = _arrays("aux_states", aux_states or {}, symbol.list_auxiliary_states(), False) \
        if aux_states or symbol.list_auxiliary_states() else []
    return Executor(symbol, ctx, arguments, grads, reqs, aux, group2ctx)


def simple_bind(symbol, ctx, grad_req, type_dict, stype_dict, group2ctx, shared_arg_names, shared_exec, shared_buffer,
                shapes):
    """What `Symbol.simple_bind` does."""
    if not isinstance(ctx, Context):
        raise TypeError(f"simple_bind: ctx must be a Context, got {type(ctx).__name__}")
    names = symbol.list_arguments()
    states = symbol.list_auxiliary_states()
    known = {name: shape for name, shape in shapes.items() if name in names or name in states}
    arg_shapes, _, aux_shapes = symbol.infer_shape_partial(**known)
    unknown = [name for name, shape in zip(names + states, arg_shapes + aux_shapes) if not _complete(shape)]
    if unknown:
        raise RuntimeError("simple_bind: cannot decide the shapes of " + ", ".join(unknown)
                           + "; give them as keyword arguments")
    arg_types, _, aux_types = symbol.infer_type_partial(**(type_dict or {}))
    if any(kind is None for kind in arg_types + aux_types):
        # What nothing decides is float32, unless it follows from the first input once that is.
        given = dict(type_dict or {})
        for name, kind in zip(names, arg_types):
            if kind is None:
                given[name] = np.float32
                arg_types, _, aux_types = symbol.infer_type_partial(**given)
                if all(k is not None for k in arg_types + aux_types):
                    break
    reqs = _requests(names, grad_req)
    contexts = _argument_contexts(symbol, names + states, ctx, group2ctx)
    stypes = _storage_types(symbol, stype_dict)

    def make(pool, prefix, name, shape, kind):
        kind = np.float32 if kind is None else kind
        stype = stypes.get(name, "default")
        if prefix and stype == "csr":
            stype = "default"  # the gradient of a csr array has elements everywhere
        old = pool.get(name)
        shares = shared_arg_names is None or name in shared_arg_names or name in states
        if old is not None and old.shape == tuple(shape) and old.dtype == kind and old.stype == stype and shares:
            return old
        if stype != "default":
            return nd.sparse.zeros(stype, shape, ctx=contexts[name], dtype=kind)
        if shared_buffer is None or shares:
            return nd.zeros(shape, ctx=contexts[name], dtype=kind)
        return _from_buffer(shared_buffer, prefix + name, shape, contexts[name], kind)

    pools = ({}, {}, {}) if shared_exec is None else \
        (shared_exec.arg_dict, shared_exec.grad_dict, shared_exec.aux_dict)
    args = [make(pools[0], "", *item) for item in zip(names, arg_shapes, arg_types)]
    grads = [make(pools[1], "grad of ", name, shape, kind) if req != "null" else None
             for name, shape, kind, req in zip(names, arg_shapes, arg_types, reqs)]
    aux = [make(pools[2], "", *item) for item in zip(states, aux_shapes, aux_types)]
    return Executor(symbol, ctx, args, grads, reqs, aux, group2ctx)


def _window(array, shape):
    """The first elements of an array, in another shape."""
    return array.reshape((-1,))[:prod(shape)].reshape(shape)


def _from_buffer(buffer, name, shape, ctx, dtype):
    """An array in the memory that `buffer` has under a name; larger ones replace it there."""
    old = buffer.get(name)
    if old is None or old.size < prod(shape) or old.dtype != dtype:
        buffer[name] = old = nd.zeros(shape, ctx=ctx, dtype=dtype)
        return old
    return old if old.shape == tuple(shape) else _window(old, shape)


def _storage_types(symbol, stype_dict):
    """The storage type of each argument that has one: as its variable says, or `stype_dict`."""
    types = {name: _STYPES[int(attrs["__storage_type__"])] for name, attrs in symbol.attr_dict().items()
             if attrs.get("__storage_type__") in ("0", "1", "2")}
    for name, stype in (stype_dict or {}).items():
        if stype not in _STYPES:
            raise ValueError(f"simple_bind: {name} has storage type {stype!r}; there are {', '.join(_STYPES)}")
        types[name] = stype
    return types


def _argument_contexts(symbol, names, ctx, group2ctx):
    """The device of each argument: that of its `ctx_group`, or `ctx`."""
    contexts = dict.fromkeys(names, ctx)
    if group2ctx:
        for name, attrs in symbol.attr_dict().items():
            if name in contexts and attrs.get("ctx_group") in group2ctx:
                contexts[name] = group2ctx[attrs["ctx_group"]]
    return contexts


def _complete(shape):
    from .util import is_np_shape
    if shape is None or -1 in shape:
        return False
    return is_np_shape() or (len(shape) > 0 and 0 not in shape)
