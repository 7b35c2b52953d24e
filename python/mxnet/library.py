# SPDX-License-Identifier: Apache-2.0
"""Extensions: shared libraries with operators, graph passes and partitioners (see `include/mxnet/extension.h`)."""
from __future__ import annotations

import ctypes
import json
import logging
import os

import numpy as np

from ._core import _ext
from ._core.errors import MXNetError

__all__ = ["load"]

_VERSIONS = (1, 2)
_MAX_RANK = 32
_DTYPES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6, "bool": 7}
_DTYPE_NAMES = {number: name for name, number in _DTYPES.items()}

#: Passes and partitioners of all loaded extensions by name.
_passes = {}
_partitioners = {}
_loaded = {}


class _Attrs(ctypes.Structure):
    _fields_ = [("keys", ctypes.POINTER(ctypes.c_char_p)), ("values", ctypes.POINTER(ctypes.c_char_p)),
                ("size", ctypes.c_size_t)]

    @staticmethod
    def of(mapping):
        count = len(mapping)
        keys = (ctypes.c_char_p * count)(*(key.encode() for key in mapping))
        values = (ctypes.c_char_p * count)(*(str(value).encode() for value in mapping.values()))
        return _Attrs(ctypes.cast(keys, ctypes.POINTER(ctypes.c_char_p)),
                      ctypes.cast(values, ctypes.POINTER(ctypes.c_char_p)), count)


class _Shape(ctypes.Structure):
    _fields_ = [("rank", ctypes.c_int32), ("sizes", ctypes.c_int64 * _MAX_RANK)]

    def put(self, shape):
        if len(shape) > _MAX_RANK:
            raise ValueError(f"library: a shape has at most {_MAX_RANK} sizes, got {len(shape)}")
        self.rank = len(shape)
        for i, size in enumerate(shape):
            self.sizes[i] = size

    def get(self, what):
        if not 0 <= self.rank <= _MAX_RANK or any(size < 0 for size in self.sizes[:self.rank]):
            raise MXNetError(f"{what}: the extension gave no shape, or an impossible one (rank {self.rank})")
        return tuple(self.sizes[:self.rank])


class _Array(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("shape", _Shape), ("dtype", ctypes.c_int32)]


_P = ctypes.POINTER
_InferShape = ctypes.CFUNCTYPE(ctypes.c_int, _P(_Attrs), _P(_Shape), _P(_Shape))
_InferType = ctypes.CFUNCTYPE(ctypes.c_int, _P(_Attrs), _P(ctypes.c_int32), _P(ctypes.c_int32))
_Forward = ctypes.CFUNCTYPE(ctypes.c_int, _P(_Attrs), ctypes.c_int, _P(_Array), _P(_Array))
_Backward = ctypes.CFUNCTYPE(ctypes.c_int, _P(_Attrs), _P(_Array), _P(_Array), _P(_Array), _P(_Array))
_Run = ctypes.CFUNCTYPE(ctypes.c_int, _P(_Attrs), ctypes.c_char_p, _P(ctypes.c_void_p))
_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_LastError = ctypes.CFUNCTYPE(ctypes.c_char_p)


class _Op(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("input_names", _P(ctypes.c_char_p)), ("num_inputs", ctypes.c_int32),
                ("num_outputs", ctypes.c_int32), ("infer_shape", _InferShape), ("infer_type", _InferType),
                ("forward", _Forward), ("backward", _Backward)]


class _Pass(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("run", _Run), ("release", _Release)]


class _Entry(ctypes.Structure):
    _fields_ = [("node", ctypes.c_int32), ("index", ctypes.c_int32)]


class _Node(ctypes.Structure):
    _fields_ = [("op", ctypes.c_char_p), ("name", ctypes.c_char_p), ("attrs", _Attrs), ("num_inputs", ctypes.c_int32),
                ("inputs", _P(_Entry))]


class _Graph(ctypes.Structure):
    _fields_ = [("num_nodes", ctypes.c_int32), ("nodes", _P(_Node)), ("num_outputs", ctypes.c_int32),
                ("outputs", _P(_Entry))]

    @staticmethod
    def of(graph):
        """From the contents of a symbol file."""
        def entries(listed):
            return (_Entry * max(len(listed), 1))(*(_Entry(entry[0], entry[1]) for entry in listed))

        nodes = [_Node(node["op"].encode(), node["name"].encode(), _Attrs.of(node.get("attrs", {})),
                       len(node["inputs"]), entries(node["inputs"])) for node in graph["nodes"]]
        return _Graph(len(nodes), (_Node * max(len(nodes), 1))(*nodes), len(graph["heads"]), entries(graph["heads"]))


_Supported = ctypes.CFUNCTYPE(ctypes.c_int, _P(_Attrs), _P(_Graph), _P(ctypes.c_int32))
_Create = ctypes.CFUNCTYPE(ctypes.c_int, _P(_Attrs), _P(_Graph), _P(ctypes.c_void_p))
_RunForward = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, _P(_Array), _P(_Array))
_RunBackward = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, _P(_Array), _P(_Array), _P(_Array), _P(_Array))


class _Partitioner(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("supported", _Supported), ("accept", _Supported), ("create", _Create),
                ("destroy", _Release), ("forward", _RunForward), ("backward", _RunBackward)]


class _Table(ctypes.Structure):
    _fields_ = [("version", ctypes.c_int32), ("num_ops", ctypes.c_int32), ("ops", _P(_Op)),
                ("num_passes", ctypes.c_int32), ("passes", _P(_Pass)), ("last_error", _LastError),
                ("num_partitioners", ctypes.c_int32), ("partitioners", _P(_Partitioner))]


class _Library:
    """One loaded extension."""

    def __init__(self, path):
        self.path = path
        try:
            self._library = ctypes.CDLL(path)
            entry = self._library.mxnet_extension
        except (OSError, AttributeError) as error:
            raise MXNetError(f"library.load: {path} is no extension: {error}") from None
        entry.restype = _P(_Table)
        table = entry()
        if not table or table.contents.version not in _VERSIONS:
            version = table.contents.version if table else None
            raise MXNetError(f"library.load: {path} is of version {version} of the interface, expected one of "
                             f"{_VERSIONS}")
        self._table = table.contents
        self.ops = [self._table.ops[i] for i in range(self._table.num_ops)]
        self.passes = [self._table.passes[i] for i in range(self._table.num_passes)]
        count = self._table.num_partitioners if self._table.version >= 2 else 0
        self.partitioners = [self._table.partitioners[i] for i in range(count)]

    def check(self, what, code):
        """MXNetError with the extension's own text unless `code` is 0."""
        if code:
            text = self._table.last_error() if self._table.last_error else None
            raise MXNetError(f"{what}: {text.decode(errors='replace') if text else f'error {code} in {self.path}'}")


def _dtype_number(dtype):
    name = _ext.dtype_name(dtype)
    if name not in _DTYPES:
        raise MXNetError(f"library: extensions do not know the dtype {name}")
    return _DTYPES[name]


class _Buffers:
    """Arrays as the extension sees them: copies of inputs, and memory for outputs."""

    def __init__(self, arrays, copy):
        self.values = [np.asarray(array.asnumpy(), order="C") if copy else np.empty(array.shape, array.dtype)
                       for array in arrays]
        self.table = (_Array * max(len(self.values), 1))()
        for slot, value in zip(self.table, self.values):
            slot.data = value.ctypes.data
            slot.shape.put(value.shape)
            slot.dtype = _dtype_number(value.dtype)


def _make_prop(library, op, name):
    """The CustomOpProp class of an operator."""
    from . import operator
    names = [op.input_names[i].decode() if op.input_names else f"data{i}" for i in range(op.num_inputs)]

    class ExtensionOp(operator.CustomOp):
        def __init__(self, attrs):
            self._attrs = attrs

        def forward(self, is_train, req, in_data, out_data, aux):
            inputs, outputs = _Buffers(in_data, True), _Buffers(out_data, False)
            library.check(name, op.forward(_Attrs.of(self._attrs), bool(is_train), inputs.table, outputs.table))
            for target, request, value in zip(out_data, req, outputs.values):
                self.assign(target, request, _array(value))

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            if not op.backward:
                raise MXNetError(f"{name}: the extension has no gradient for this operator")
            heads, inputs, outputs = (_Buffers(arrays, True) for arrays in (out_grad, in_data, out_data))
            grads = _Buffers(in_grad, False)
            library.check(name, op.backward(_Attrs.of(self._attrs), heads.table, inputs.table, outputs.table,
                                            grads.table))
            for target, request, value in zip(in_grad, req, grads.values):
                self.assign(target, request, _array(value))

    class ExtensionProp(operator.CustomOpProp):
        def __init__(self, **attrs):
            super().__init__(need_top_grad=True)
            self._attrs = attrs

        def list_arguments(self):
            return names

        def list_outputs(self):
            return ["output"] if op.num_outputs == 1 else [f"output{i}" for i in range(op.num_outputs)]

        def infer_shape(self, in_shape):
            inputs, outputs = (_Shape * max(len(names), 1))(), (_Shape * op.num_outputs)()
            for slot, shape in zip(inputs, in_shape):
                slot.put(shape)
            for slot in outputs:
                slot.rank = -1
            library.check(name, op.infer_shape(_Attrs.of(self._attrs), inputs, outputs))
            return ([slot.get(name) for slot in inputs[:len(names)]], [slot.get(name) for slot in outputs], [])

        def infer_type(self, in_type):
            if not op.infer_type:
                return in_type, [in_type[0] if in_type else np.float32] * op.num_outputs, []
            numbers = (ctypes.c_int32 * max(len(names), 1))(*map(_dtype_number, in_type))
            outputs = (ctypes.c_int32 * op.num_outputs)(*([-1] * op.num_outputs))
            library.check(name, op.infer_type(_Attrs.of(self._attrs), numbers, outputs))
            if any(number not in _DTYPE_NAMES for number in outputs):
                raise MXNetError(f"{name}: the extension gave the dtypes {list(outputs)}, which do not exist")
            return in_type, [np.dtype(_DTYPE_NAMES[number]).type for number in outputs], []

        def create_operator(self, ctx, in_shapes, in_dtypes):
            return ExtensionOp(self._attrs)

    return ExtensionProp


def _array(value):
    from . import ndarray as nd
    return nd.array(value, dtype=value.dtype)


def _check_table(library):
    """MXNetError if an operator, pass or partitioner lacks something it cannot do without."""
    for op in library.ops:
        name = (op.name or b"").decode(errors="replace")
        if not name.isidentifier() or op.num_outputs < 1 or not op.infer_shape or not op.forward:
            raise MXNetError(f"library.load: operator {name!r} of {library.path} needs an identifier as its name, "
                             "outputs, infer_shape and forward")
    for entry in library.passes:
        if not (entry.name and entry.run and entry.release):
            raise MXNetError(f"library.load: pass {entry.name!r} of {library.path} needs a name, run and release")
    for entry in library.partitioners:
        if not (entry.name and entry.supported and entry.create and entry.forward):
            raise MXNetError(f"library.load: partitioner {entry.name!r} of {library.path} needs a name, supported, "
                             "create and forward")


def _install(library, op):
    """Makes an operator known as mx.nd.<name> and mx.sym.<name>."""
    from . import ndarray as nd
    from . import operator, symbol
    name = op.name.decode()
    operator.register(name)(_make_prop(library, op, name))

    def on_arrays(*args, out=None, **kwargs):
        return nd.Custom(*args, op_type=name, out=out, **kwargs)

    def on_symbols(*args, **kwargs):
        kwargs.setdefault("name", _symbol_name(name))
        return symbol.Custom(*args, op_type=name, **kwargs)

    for module, function in ((nd, on_arrays), (symbol, on_symbols)):
        function.__name__ = function.__qualname__ = name
        function.__doc__ = f"The operator `{name}` of {os.path.basename(library.path)}."
        setattr(module, name, function)


def _symbol_name(hint):
    from .name import NameManager
    return NameManager.current.get(None, hint.lower())


def _make_partition_prop(library, entry, name):
    """The CustomOpProp class of the subgraphs that a partitioner took."""
    from . import operator
    from .symbol import load_json

    class SubgraphOp(operator.CustomOp):
        def __init__(self, subgraph, options):
            self._state = ctypes.c_void_p()
            self._made = False
            library.check(name, entry.create(_Attrs.of(options), _Graph.of(json.loads(subgraph)),
                                             ctypes.byref(self._state)))
            self._made = True

        def __del__(self):
            if self._made and entry.destroy:
                entry.destroy(self._state)

        def forward(self, is_train, req, in_data, out_data, aux):
            inputs, outputs = _Buffers([*in_data, *aux], True), _Buffers(out_data, False)
            library.check(name, entry.forward(self._state, bool(is_train), inputs.table, outputs.table))
            for target, request, value in zip(out_data, req, outputs.values):
                self.assign(target, request, _array(value))

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            if not entry.backward:
                raise MXNetError(f"{name}: the extension has no gradient for its subgraphs")
            heads, inputs = _Buffers(out_grad, True), _Buffers([*in_data, *aux], True)
            outputs, grads = _Buffers(out_data, True), _Buffers([*in_grad, *aux], False)
            library.check(name, entry.backward(self._state, heads.table, inputs.table, outputs.table, grads.table))
            for target, request, value in zip(in_grad, req, grads.values):
                self.assign(target, request, _array(value))

    class SubgraphProp(operator.CustomOpProp):
        def __init__(self, subgraph, options):
            super().__init__(need_top_grad=True)
            self._text, self._options = subgraph, json.loads(options)
            self._symbol = load_json(subgraph)
            self._states = self._symbol.list_auxiliary_states()
            self._names = self._symbol.list_arguments()

        def list_arguments(self):
            return self._names

        def list_auxiliary_states(self):
            return self._states

        def list_outputs(self):
            count = len(self._symbol.list_outputs())
            return ["output"] if count == 1 else [f"output{i}" for i in range(count)]

        def infer_shape(self, in_shape):
            known = {key: shape for key, shape in zip([*self._names, *self._states], in_shape) if shape}
            return self._symbol.infer_shape_partial(**known)

        def infer_type(self, in_type):
            known = {key: kind for key, kind in zip([*self._names, *self._states], in_type) if kind is not None}
            return tuple([np.float32 if kind is None else kind for kind in kinds]
                         for kinds in self._symbol.infer_type_partial(**known))

        def create_operator(self, ctx, in_shapes, in_dtypes):
            return SubgraphOp(self._text, self._options)

    return SubgraphProp


def _run_partitioner(name, symbol, options):
    """The symbol in which operators of the extension stand for the subgraphs that its partitioner took."""
    from ._partition import partition
    from .symbol import load_json
    library, entry = _partitioners[name]
    graph = json.loads(symbol.tojson())
    attrs = _Attrs.of(options)
    flags = (ctypes.c_int32 * max(len(graph["nodes"]), 1))()
    library.check(f"optimize_for({name!r})", entry.supported(attrs, _Graph.of(graph), flags))

    def accepts(subgraph):
        accepted = ctypes.c_int32(1)
        if entry.accept:
            library.check(f"optimize_for({name!r})", entry.accept(attrs, _Graph.of(subgraph), ctypes.byref(accepted)))
        return bool(accepted.value)

    texts = {key: str(value) for key, value in options.items()}
    states = symbol.list_auxiliary_states()
    return load_json(json.dumps(partition(graph, list(flags), accepts, _op_type(name), texts, set(states))))


def _op_type(partitioner):
    return f"_subgraph_{partitioner}"


def run_pass(name, symbol, options):
    """The symbol that the pass or partitioner `name` of an extension makes; None if there is none."""
    if name in _partitioners:
        return _run_partitioner(name, symbol, options)
    if name not in _passes:
        return None
    from .symbol import load_json
    library, entry = _passes[name]
    result = ctypes.c_void_p()
    library.check(f"optimize_for({name!r})", entry.run(_Attrs.of(options), symbol.tojson().encode(),
                                                       ctypes.byref(result)))
    if not result.value:
        raise MXNetError(f"optimize_for({name!r}): the pass returned no graph")
    try:
        text = ctypes.string_at(result.value).decode()
    finally:
        entry.release(result.value)
    return load_json(text)


def load(path, verbose=True):
    """Load an extension: its operators become `mx.nd.<name>` and `mx.sym.<name>`, its passes and partitioners work with
    `Symbol.optimize_for`.

    Parameters
    ----------
    path : str
        Absolute path of a shared library that was built with `mxnet/extension.h`.
    verbose : bool
        Whether what it holds is logged.

    MXNetError if there is no such file, or if it is no extension; then nothing of it stays. Extensions of Apache MXNet,
    whose interface hands C++ objects over, are not loaded.
    """
    if not isinstance(path, (str, os.PathLike)) or not os.path.exists(path):
        raise MXNetError(f"load path {path} does NOT exist")
    path = os.fspath(path)
    if not os.path.isabs(path):
        raise MXNetError(f"load path {path} is not an absolute path")
    if os.path.realpath(path) in _loaded:
        return
    from . import operator
    library = _Library(path)
    _check_table(library)
    for op in library.ops:
        _install(library, op)
    for entry in library.passes:
        _passes[entry.name.decode()] = (library, entry)
    for entry in library.partitioners:
        name = entry.name.decode()
        operator.register(_op_type(name))(_make_partition_prop(library, entry, name))
        _partitioners[name] = (library, entry)
    _loaded[os.path.realpath(path)] = library
    if verbose:
        names = [[entry.name.decode() for entry in entries]
                 for entries in (library.ops, library.passes, library.partitioners)]
        logging.info("Loaded %s: operators %s; passes %s; partitioners %s", path, *names)
