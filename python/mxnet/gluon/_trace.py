# SPDX-License-Identifier: Apache-2.0
"""From a HybridBlock's Python to a graph, and the compiled graph as a function of arrays.

Blocks written with `hybrid_forward(F, x)` are traced by calling them on symbols; those written with `forward(x)` by
running them on arrays while the operators are recorded.
"""
from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager

from .. import autograd
from .. import ndarray as nd
from .. import symbol as sym
from .._core import nested
from .._core.nested import regroup
from . import parameter

NDArray = nd.NDArray
Symbol = sym.Symbol


class _State(threading.local):
    recording_arrays = False


_state = _State()
_recordings_lock = threading.Lock()
_recordings = 0  # of all threads; while it is 0, `is_recording_arrays` need not look further


def is_recording_arrays():
    """Whether the calling thread traces a `forward(x)` on arrays; blocks then run their operators one by one."""
    return _recordings > 0 and _state.recording_arrays


# --- nested arguments and results

def flatten(value, leaf_types=(NDArray, Symbol)):
    """The leaves of nested lists and tuples, and the nesting to hand to `regroup` (see `nested.flatten`)."""
    return nested.flatten(value, leaf_types, "When hybridized, a HybridBlock takes and returns arrays, None, and "
                          "(nested) lists of these")


def contains(value, leaf_type):
    """Whether one of the leaves of nested lists is a `leaf_type`."""
    if isinstance(value, (list, tuple)):
        return any(contains(item, leaf_type) for item in value)
    return isinstance(value, leaf_type)


# --- tracing

def input_names(count):
    """The names of a graph's data inputs."""
    return ["data"] if count == 1 else [f"data{i}" for i in range(count)]


def trace_symbols(block, args):
    """(input variables, output symbol, nesting of the output) of a block written with `hybrid_forward`."""
    leaves, nesting = flatten(args)
    inputs = [sym.var(name) for name in input_names(len(leaves))]
    params = {name: param.var() for name, param in block._reg_params.items()}
    with block.name_scope():
        out = block.hybrid_forward(sym, *regroup(inputs, nesting), **params)
    outputs, out_nesting = flatten(out, Symbol)
    # A symbol with several outputs, such as that of split, is one leaf of as many arrays.
    if out_nesting == 1 and len(outputs[0].list_outputs()) > 1:
        out_nesting = (list, *(1 for _ in outputs[0].list_outputs()))
    return inputs, outputs[0] if len(outputs) == 1 else sym.Group(outputs), out_nesting


@contextmanager
def _recording_arrays():
    from .._core import deferred_compute
    global _recordings
    outer = _state.recording_arrays
    _state.recording_arrays = True
    with _recordings_lock:
        _recordings += 1
    try:
        with deferred_compute():
            yield
    finally:
        with _recordings_lock:
            _recordings -= 1
        _state.recording_arrays = outer


def trace_arrays(block, args):
    """(input variables, output symbol, nesting of the output) of a block written with `forward`, run on `args`."""
    from .._core import get_deferred_symbol
    leaves, _ = flatten(args)
    # Fresh handles, so that an array given twice is two inputs, and the caller's arrays are not marked.
    handles = [leaf.detach() for leaf in leaves]
    names = input_names(len(handles))
    with autograd.pause(train_mode=autograd.is_training()), _recording_arrays():
        out = block.forward(*regroup(handles, flatten(args)[1]))
    outputs, out_nesting = flatten(out, NDArray)
    known = dict(zip(names, handles))
    ctx = handles[0].context if handles else None
    for name, param in block.collect_params().items():
        if param._data is not None:
            known[name] = param._pick(param._data, ctx)
    symbol = get_deferred_symbol(outputs, known)
    return [sym.var(name) for name in names], symbol, out_nesting


# --- the compiled graph

class CompiledGraph:
    """A traced block behind one `CachedOp`: called with the flat list of data arrays, it returns what the block
    returns.

    Parameters are looked up when they have got new arrays, not at each call. `fast`, unless None, takes the same
    arrays as arguments, and returns None where the graph itself must be called.
    """

    def __init__(self, inputs, symbol, out_nesting, params, flags):
        from .._core._ext import BoundGraph, CachedOp
        self.inputs = inputs
        self.symbol = symbol
        self.out_nesting = out_nesting
        position = {var.name: i for i, var in enumerate(inputs)}
        names = symbol.list_inputs()
        self._slots = [(slot, position[name]) for slot, name in enumerate(names) if name in position]
        self._params = [(slot, self._param(params, name)) for slot, name in enumerate(names) if name not in position]
        self._size = len(names)
        self._warn_unused(names, params)
        self._op = CachedOp(symbol, {**flags, "param_indices": [slot for slot, _ in self._params]})
        self._bound = (-1, None, None)
        self.fast = None
        if len(self._slots) == len(inputs) and out_nesting in (1, (list, *(1 for _ in symbol.list_outputs()))):
            self.fast = BoundGraph(self._op, [slot for slot, _ in sorted(self._slots, key=lambda pair: pair[1])])

    @staticmethod
    def _param(params, name):
        if name not in params:
            raise AssertionError(f"Unknown input to HybridBlock: {name}")
        return params[name]

    def _warn_unused(self, names, params):
        used = set(names)
        for var in self.inputs:
            if var.name not in used:
                warnings.warn(f"The {var.name} input to HybridBlock is not used by any computation. Is this intended?",
                              stacklevel=8)
        unused = [name for name in params if name not in used]
        if unused:
            warnings.warn(f"Parameter {', '.join(unused)} is not used by any computation. Is this intended?",
                          stacklevel=8)

    def _bind(self, ctx, like):
        """A list of the inputs with the parameters' arrays on `ctx`, the device of the array `like`, in place."""
        template = [None] * self._size
        generation = parameter.generation
        for slot, param in self._params:
            template[slot] = param.data(ctx)
        self._bound = (generation, ctx, template)
        if self.fast is not None:
            self.fast.bind(template, like)
        return template

    def __call__(self, arrays):
        ctx = arrays[0].context
        generation, bound_ctx, template = self._bound
        if generation != parameter.generation or not (ctx is bound_ctx or ctx == bound_ctx):
            template = self._bind(ctx, arrays[0])
        inputs = template.copy()
        for slot, position in self._slots:
            inputs[slot] = arrays[position]
        out = self._op(*inputs)
        if self.out_nesting == 1:
            return out
        return regroup(out if isinstance(out, (list, tuple)) else [out], self.out_nesting)

    def register_op_hook(self, callback, monitor_all):
        """Call `callback(name, operator, array)` for every output (and input) of every node."""
        self._op._register_op_hook(callback, monitor_all)


class UncompiledGraph:
    """Stands in for a `CompiledGraph` where the program cannot be traced: runs the block operator by operator."""

    fast = None

    def __init__(self, block, nesting, reason):
        self._block = block
        self._nesting = (tuple, 1) if nesting == 1 else nesting
        warnings.warn(f"{type(block).__name__} cannot be compiled and runs operator by operator: {reason}",
                      stacklevel=7)

    def __call__(self, arrays):
        return self._block._run_eager(*regroup(arrays, self._nesting))

    def register_op_hook(self, callback, monitor_all):
        """There is no graph to watch."""
