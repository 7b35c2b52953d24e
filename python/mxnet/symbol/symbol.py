# SPDX-License-Identifier: Apache-2.0
"""The Symbol class, variables, groups, files, and the functions that mix symbols with numbers."""
from __future__ import annotations

import json
import numbers
import warnings

import numpy as np

from .._core import _ext
from .._core.errors import MXNetFileNotFoundError, MXNetValueError
from ..attribute import AttrScope

__all__ = ["Symbol", "var", "Variable", "Group", "load", "load_json", "pow", "power", "maximum", "minimum", "hypot",
           "eye", "zeros", "ones", "full", "arange", "linspace", "histogram", "split_v2"]

_DTYPE_CODES = {"float32": 0, "float64": 1, "float16": 2, "uint8": 3, "int32": 4, "int8": 5, "int64": 6, "bool": 7,
                "bfloat16": 12}
_STORAGE_CODES = {"default": 0, "row_sparse": 1, "csr": 2}


class NotImplementedForSymbol(NotImplementedError):
    """Raised by what only an NDArray can do."""

    def __init__(self, function, alias=None, *args):
        super().__init__()
        self.function = function if isinstance(function, str) else function.__name__
        self.alias = alias
        self.args_given = [str(type(arg)) for arg in args]

    def __str__(self):
        text = f"Function {self.function}"
        if self.alias:
            text += f" (namely operator \"{self.alias}\")"
        if self.args_given:
            text += f" with arguments ({', '.join(self.args_given)})"
        return text + " is not implemented for Symbol and only available in NDArray."


def dtype_name(dtype):
    """The name of a dtype given as a name, a NumPy type or a NumPy dtype."""
    if isinstance(dtype, str) and dtype in _DTYPE_CODES:
        return dtype
    if isinstance(dtype, np.dtype) and dtype.names == ("bfloat16",):
        return "bfloat16"
    name = np.dtype(dtype).name
    if name not in _DTYPE_CODES:
        raise TypeError(f"dtype {dtype!r} is not supported")
    return name


def _numpy_type(name):
    """The NumPy class that infer_type reports: None for unknown."""
    if name is None:
        return None
    if name == "bfloat16":
        return np.dtype([("bfloat16", np.uint16)])
    return np.dtype(name).type


def _operator(name):
    from . import op
    return op.function(name)


def _apply(registered, hint, args, **kwargs):
    """One operator with the name hint that MXNet gives it when it is written as a Python operator."""
    return _operator(registered).apply(hint, args, kwargs)


def _np_shape():
    """Whether 0 means an empty dimension rather than an unknown one."""
    from .. import util
    return util.is_np_shape()


def _binary(left, right, tensor_op, scalar_op, hints, right_scalar=None):
    """Operands may be symbols or numbers; `hints` name the results of the forms (tensor, scalar, reversed scalar)."""
    if isinstance(left, Symbol) and isinstance(right, Symbol):
        return _apply(tensor_op, hints[0], (left, right))
    if isinstance(left, Symbol) and isinstance(right, numbers.Number):
        return _apply(scalar_op, hints[1], (left,), scalar=right)
    if isinstance(right, Symbol) and isinstance(left, numbers.Number):
        return _apply(right_scalar or scalar_op, hints[-1], (right,), scalar=left)
    wrong = right if isinstance(left, Symbol) else left
    raise TypeError(f"type {type(wrong)} not supported: expected a Symbol or a number")


class Symbol:
    """One or more outputs of a graph of operators.

    Symbols are combined by operators, by `mx.sym` functions and by calling one with values for its variables; they
    compute nothing until they are bound to arrays.
    """

    __slots__ = ("_handle", "__weakref__")
    __array_priority__ = 1000.0

    def __init__(self, handle):
        self._handle = handle

    @property
    def handle(self):
        """The core's object."""
        return self._handle

    # ---- what it is made of
    @property
    def name(self):
        """The name of the node; None for a group of several."""
        return self._handle.name()

    def __repr__(self):
        name = self.name
        if name is None:
            return f"<{type(self).__name__} group [{', '.join(part.name for part in self)}]>"
        return f"<{type(self).__name__} {name}>"

    def __len__(self):
        return self._handle.num_outputs()

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index):
        if isinstance(index, str):
            return type(self)(self._handle.output_named(index))
        count = len(self)
        if isinstance(index, slice):
            if index == slice(0, 1, None) and count == 1:
                return self
            return Group([self[i] for i in range(*index.indices(count))])
        if isinstance(index, numbers.Integral):
            if not -count <= index < count:
                raise IndexError(f"output index {index} is out of range for a symbol with {count} outputs")
            return type(self)(self._handle.output(int(index) % count))
        raise TypeError(f"Symbol only support integer index to fetch i-th output, got {type(index).__name__}")

    def list_arguments(self):
        """Names of the variables to bind, in the order of a walk from inputs to outputs."""
        return self._handle.list_arguments()

    def list_auxiliary_states(self):
        """Names of the variables that operators update (moving statistics)."""
        return self._handle.list_auxiliary_states()

    def list_inputs(self):
        """Names of all variables."""
        return self._handle.list_inputs()

    def list_outputs(self):
        """Names of the outputs, such as `fc1_output`."""
        return self._handle.list_outputs()

    def get_internals(self):
        """A group of the outputs of every node."""
        return type(self)(self._handle.internals())

    def get_children(self):
        """A group of the direct inputs of the outputs' nodes; None for variables."""
        children = self._handle.children()
        return None if children is None else type(self)(children)

    def debug_str(self):
        """The graph as text."""
        return self._handle.debug_text()

    # ---- attributes
    def attr(self, key):
        """The attribute `key` as text, or None."""
        return self._handle.attr(key)

    def list_attr(self, recursive=False):
        """All attributes of this symbol's node."""
        if recursive:
            raise DeprecationWarning("Symbol.list_attr with recursive=True has been deprecated. "
                                     "Please use attr_dict instead.")
        return self._handle.list_attr()

    def attr_dict(self):
        """The attributes of every node, by name."""
        return self._handle.attr_dict()

    def _set_attr(self, **kwargs):
        for key, value in kwargs.items():
            if not isinstance(value, str):
                raise ValueError(f"attribute {key} must be a string, got {type(value).__name__}")
            self._handle.set_attr(key, value)

    # ---- composition and copies
    def __call__(self, *args, **kwargs):
        """A copy of this symbol with other symbols in the place of its variables, given by name or in order."""
        name = kwargs.pop("name", None)
        if args and kwargs:
            raise TypeError("compose only accept input Symbols either as positional or keyword arguments, not both")
        if args:
            kwargs = dict(zip(self.list_arguments(), args))
            if len(kwargs) < len(args):
                raise TypeError(f"got {len(args)} symbols for {len(kwargs)} arguments")
        for key, value in kwargs.items():
            if not isinstance(value, Symbol):
                raise TypeError(f"compose only accept input Symbols, got {key}={value!r}")
        handles = {key: value._handle for key, value in kwargs.items()}
        return type(self)(self._handle.compose(name or "", handles))

    def _compose(self, *args, **kwargs):
        """As a call, but changes this symbol."""
        self._handle = self(*args, **kwargs)._handle

    def __copy__(self):
        return self.__deepcopy__(None)

    def __deepcopy__(self, _):
        return type(self)(self._handle.deep_copy())

    def __reduce__(self):
        return _from_json, (type(self), self.tojson(remove_amp_cast=False))

    def tojson(self, remove_amp_cast=True):
        """The graph as JSON text, in the form of MXNet 1.9; by default without the casts of mixed precision."""
        return (_ext.remove_amp_casts(self._handle) if remove_amp_cast else self._handle).to_json()

    def save(self, fname, remove_amp_cast=True):
        """Writes `tojson()` to a file."""
        with open(fname, "w", encoding="utf-8") as file:
            file.write(self.tojson(remove_amp_cast))

    # ---- inference
    def infer_shape(self, *args, **kwargs):
        """Shapes of arguments, outputs and auxiliary states from the shapes of some.

        Returns three lists of tuples, or (None, None, None) with a warning when what is known does not decide all.
        """
        return self._infer_shape(False, args, kwargs)

    def infer_shape_partial(self, *args, **kwargs):
        """As `infer_shape`; shapes that do not follow are reported with 0 for unknown dimensions, or as ()."""
        return self._infer_shape(True, args, kwargs)

    def _given(self, what, args, kwargs):
        if args and kwargs:
            raise ValueError(f"{what}: give what is known by position or by name, not both")
        if args:
            names = self.list_arguments()
            if len(args) > len(names):
                raise ValueError(f"{what}: got {len(args)} values for {len(names)} arguments")
            kwargs = dict(zip(names, args))
        return {key: value for key, value in kwargs.items() if value is not None}

    def _infer_shape(self, partial, args, kwargs):
        known = self._given("infer_shape", args, kwargs)
        for key, value in known.items():
            if not isinstance(value, (tuple, list)):
                raise TypeError(f"infer_shape: the shape of {key} must be a tuple, got {type(value).__name__}")
        np_shape = _np_shape()
        complete, arguments, outputs, auxiliary = self._handle.infer_shape(known, np_shape)
        if complete or partial:
            return arguments, outputs, auxiliary
        unknown = -1 if np_shape else 0
        names = self.list_arguments() + self.list_auxiliary_states()
        lines = [f"{name}: {shape}" for name, shape in zip(names, arguments + auxiliary)
                 if shape is None or unknown in shape or (not shape and not np_shape)]
        warnings.warn(f"Cannot decide shape for the following arguments ({unknown}s in shape means unknown dimensions)."
                      " Consider providing them as input:\n\t" + "\n\t".join(lines), stacklevel=3)
        return None, None, None

    def infer_type(self, *args, **kwargs):
        """NumPy types of arguments, outputs and auxiliary states from the types of some.

        Returns three lists, or (None, None, None) with a warning when what is known does not decide all.
        """
        return self._infer_type(False, args, kwargs)

    def infer_type_partial(self, *args, **kwargs):
        """As `infer_type`, with None for what does not follow."""
        return self._infer_type(True, args, kwargs)

    def _infer_type(self, partial, args, kwargs):
        known = {key: dtype_name(value) for key, value in self._given("infer_type", args, kwargs).items()}
        complete, *lists = self._handle.infer_type(known)
        if complete or partial:
            return tuple([_numpy_type(name) for name in names] for names in lists)
        names = self.list_arguments() + self.list_auxiliary_states()
        lines = [f"{name}: None" for name, kind in zip(names, lists[0] + lists[2]) if kind is None]
        warnings.warn("Cannot decide type for the following arguments. Consider providing them as input:\n\t"
                      + "\n\t".join(lines), stacklevel=3)
        return None, None, None

    # ---- execution
    def simple_bind(self, ctx, grad_req="write", type_dict=None, stype_dict=None, group2ctx=None,
                    shared_arg_names=None, shared_exec=None, shared_buffer=None, **kwargs):
        """An executor with newly allocated arrays; keyword arguments give shapes of inputs."""
        from ..executor import simple_bind
        return simple_bind(self, ctx, grad_req, type_dict, stype_dict, group2ctx, shared_arg_names, shared_exec,
                           shared_buffer, kwargs)

    def bind(self, ctx, args, args_grad=None, grad_req="write", aux_states=None, group2ctx=None, shared_exec=None):
        """An executor over the caller's arrays, given as lists or dictionaries."""
        from ..executor import bind
        return bind(self, ctx, args, args_grad, grad_req, aux_states, group2ctx, shared_exec)

    def eval(self, ctx=None, **kwargs):
        """Computes the outputs once from arrays given by name; a list of NDArrays."""
        from ..context import current_context
        return self.bind(ctx or current_context(), kwargs, grad_req="null").forward()

    def optimize_for(self, backend, args=None, aux=None, ctx=None, shape_dict=None, type_dict=None, stype_dict=None,
                     skip_infer=False, **kwargs):
        """The symbol that a pass or partitioner of a loaded extension makes of this one (see `mx.library.load`).

        Parameters
        ----------
        backend : str
            The name of a pass or partitioner. Any other gives this symbol: graphs are optimized when they are bound.
        args, aux, ctx, shape_dict, type_dict, stype_dict, skip_infer
            Accepted for old programs.
        **kwargs
            Options for it.
        """
        from ..library import run_pass
        changed = run_pass(backend, self, kwargs)
        return self if changed is None else changed

    def get_backend_symbol(self, backend):
        """As `optimize_for`; MXNetError for a name that is no pass, no partitioner and none of 1.9.1's own backends,
        which mean this symbol.
        """
        from ..library import run_pass
        changed = run_pass(backend, self, {})
        if changed is None and backend not in ("MKLDNN", "MKLDNN_QUANTIZE"):
            raise MXNetValueError(f"get_backend_symbol: there is no backend {backend!r}")
        return self if changed is None else changed

    def gradient(self, wrt):
        """The symbol of the gradient with respect to the named arguments, for heads of ones."""
        return type(self)(self._handle.gradient(list(wrt)))

    # ---- arithmetic
    def __add__(self, other):
        return _binary(self, other, "elemwise_add", "_plus_scalar", ("_plus", "_plusscalar"))

    __radd__ = __add__

    def __sub__(self, other):
        return _binary(self, other, "elemwise_sub", "_minus_scalar", ("_minus", "_minusscalar"))

    def __rsub__(self, other):
        return _binary(other, self, "elemwise_sub", "_minus_scalar", ("_minus", "_rminusscalar"), "_rminus_scalar")

    def __mul__(self, other):
        return _binary(self, other, "elemwise_mul", "_mul_scalar", ("_mul", "_mulscalar"))

    __rmul__ = __mul__

    def __truediv__(self, other):
        return _binary(self, other, "elemwise_div", "_div_scalar", ("_div", "_divscalar"))

    def __rtruediv__(self, other):
        return _binary(other, self, "elemwise_div", "_div_scalar", ("_div", "_rdivscalar"), "_rdiv_scalar")

    __div__, __rdiv__ = __truediv__, __rtruediv__

    def __mod__(self, other):
        return _binary(self, other, "_mod", "_mod_scalar", ("_mod", "_modscalar"))

    def __rmod__(self, other):
        return _binary(other, self, "_mod", "_mod_scalar", ("_mod", "_rmodscalar"), "_rmod_scalar")

    def __pow__(self, other):
        return _binary(self, other, "_power", "_power_scalar", ("_power", "_powerscalar"))

    def __rpow__(self, other):
        return _binary(other, self, "_power", "_power_scalar", ("_power", "_rpower_scalar"), "_rpower_scalar")

    def __neg__(self):
        return self * -1.0

    def __abs__(self):
        return self.abs()

    def __eq__(self, other):
        return _binary(self, other, "_equal", "_equal_scalar", ("_equal", "_equal_scalar"))

    def __ne__(self, other):
        return _binary(self, other, "_not_equal", "_not_equal_scalar", ("_not_equal", "_not_equal_scalar"))

    def __gt__(self, other):
        return _binary(self, other, "_greater", "_greater_scalar", ("_greater", "_greater_scalar"))

    def __ge__(self, other):
        return _binary(self, other, "_greater_equal", "_greater_equal_scalar",
                       ("_greater_equal", "_greater_equal_scalar"))

    def __lt__(self, other):
        return _binary(self, other, "_lesser", "_lesser_scalar", ("_lesser", "_lesser_scalar"))

    def __le__(self, other):
        return _binary(self, other, "_lesser_equal", "_lesser_equal_scalar", ("_lesser_equal", "_lesser_equal_scalar"))

    __hash__ = object.__hash__

    def __bool__(self):
        raise NotImplementedForSymbol("__bool__", "bool")

    def __iadd__(self, other):
        raise NotImplementedForSymbol("__iadd__", "+=", self, other)

    def __isub__(self, other):
        raise NotImplementedForSymbol("__isub__", "-=", self, other)

    def __imul__(self, other):
        raise NotImplementedForSymbol("__imul__", "*=", self, other)

    def __itruediv__(self, other):
        raise NotImplementedForSymbol("__itruediv__", "/=", self, other)

    def __imod__(self, other):
        raise NotImplementedForSymbol("__imod__", "%=", self, other)

    def __setitem__(self, key, value):
        raise NotImplementedForSymbol("__setitem__", "[]=", self, key, value)

    # ---- operators with a signature of their own
    def reshape(self, *shape, **kwargs):
        """`mx.sym.reshape` with the shape as a tuple or as separate numbers."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = shape[0]
        if shape:
            kwargs["shape"] = tuple(shape)
        return _operator("reshape")(self, **kwargs)

    def astype(self, dtype, **kwargs):
        """`mx.sym.Cast`."""
        return _operator("Cast")(self, dtype=dtype_name(dtype), **kwargs)

    def expand_dims(self, axis, inplace=False, **kwargs):
        """`mx.sym.expand_dims`."""
        return _operator("expand_dims")(self, axis=axis, **kwargs)

    def flatten(self, inplace=False, **kwargs):
        """`mx.sym.flatten`."""
        return _operator("flatten")(self, **kwargs)

    def squeeze(self, axis=None, inplace=False, **kwargs):
        """`mx.sym.squeeze`."""
        return _operator("squeeze")(self, axis=axis, **kwargs)

    def diag(self, k=0, **kwargs):
        """`mx.sym.diag`."""
        return _operator("diag")(self, k=k, **kwargs)

    def split_v2(self, *args, **kwargs):
        """`mx.sym.split_v2`."""
        return split_v2(self, *args, **kwargs)

    def as_np_ndarray(self):
        """This symbol; both array interfaces share one graph."""
        return self

    def as_nd_ndarray(self):
        """This symbol; both array interfaces share one graph."""
        return self


def _method(name):
    def method(self, *args, **kwargs):
        return _operator(name)(self, *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"Symbol.{name}"
    method.__doc__ = f"`mx.sym.{name}` with this symbol as its first input."
    return method


def _array_only(name):
    def method(self, *args, **kwargs):
        raise NotImplementedForSymbol(name)

    method.__name__ = name
    method.__doc__ = "Only arrays can do this: always raises."
    return method


for _name in (
    "abs", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "argmax", "argmax_channel", "argmin",
    "argsort", "broadcast_axes", "broadcast_like", "broadcast_to", "cbrt", "ceil", "clip", "cos", "cosh", "degrees",
    "depth_to_space", "exp", "expm1", "fix", "flip", "floor", "log", "log10", "log1p", "log2", "log_softmax", "max",
    "mean", "min", "nanprod", "nansum", "norm", "one_hot", "ones_like", "pad", "pick", "prod", "radians", "rcbrt",
    "reciprocal", "relu", "repeat", "reshape_like", "rint", "round", "rsqrt", "shape_array", "sigmoid", "sign", "sin",
    "sinh", "size_array", "slice", "slice_axis", "slice_like", "softmax", "softmin", "sort", "space_to_depth",
    "split", "sqrt", "square", "sum", "swapaxes", "take", "tan", "tanh", "tile", "topk", "transpose", "trunc",
    "zeros_like"):
    setattr(Symbol, _name, _method(_name))
for _name in ("as_in_context", "asnumpy", "asscalar", "backward", "copy", "detach", "wait_to_read"):
    setattr(Symbol, _name, _array_only(_name))
del _name


def _from_json(cls, text):
    return cls(_ext.SymbolHandle.from_json(text))


def load_json(json_str):
    """The symbol that `tojson` wrote, by this or any older version since 0.8."""
    if not isinstance(json_str, str):
        raise TypeError(f"load_json: expected a string, got {type(json_str).__name__}")
    return _from_json(Symbol, json_str)


def load(fname):
    """The symbol in a file that `save` wrote."""
    if not isinstance(fname, str) and not hasattr(fname, "__fspath__"):
        raise TypeError(f"load: expected a file name, got {type(fname).__name__}")
    try:
        with open(fname, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError as error:
        missing = MXNetFileNotFoundError(str(error))
        missing.errno, missing.strerror, missing.filename = error.errno, error.strerror, error.filename
        raise missing from None
    except UnicodeDecodeError as error:
        raise MXNetValueError(f"load: {fname} is no symbol file: {error}") from None
    return load_json(text)


def var(name, attr=None, shape=None, lr_mult=None, wd_mult=None, dtype=None, init=None, stype=None,
        profiler_scope=None, **kwargs):
    """A variable: an argument that gets its value when the graph is bound.

    Shape, dtype and initializer, if given, travel with the symbol and its file; further keyword arguments are
    attributes and must be written like `__this__`.
    """
    if not isinstance(name, str):
        raise TypeError(f"Expect a string for variable `name`, got {type(name).__name__}")
    for key, value in (attr or {}).items():
        if not isinstance(value, str):
            raise ValueError(f"var: attributes must be text, got {key}={value!r}")
    attrs = dict(AttrScope.current.get(attr))
    if shape is not None:
        attrs["__shape__"] = str(tuple(shape) if isinstance(shape, (list, tuple)) else (shape,))
    for key, value in (("lr_mult", lr_mult), ("wd_mult", wd_mult)):
        if value is not None:
            attrs.pop(key, None)
            attrs[f"__{key}__"] = str(value)
    if dtype is not None:
        attrs["__dtype__"] = str(_DTYPE_CODES[dtype_name(dtype)])
    if init is not None:
        attrs["__init__"] = init if isinstance(init, str) else init.dumps()
    if stype is not None:
        attrs["__storage_type__"] = str(_STORAGE_CODES[stype])
    if profiler_scope is not None:
        attrs["__profiler_scope__"] = profiler_scope
    for key, value in kwargs.items():
        if not (key.startswith("__") and key.endswith("__")):
            raise ValueError(f"Attribute name={key} is not supported. Additional attributes must start and end with "
                             "double underscores, e.g, __yourattr__")
        attrs[key] = value if isinstance(value, str) else json.dumps(value)
    return Symbol(_ext.SymbolHandle.variable(name, attrs))


Variable = var


def Group(symbols, create_fn=None):
    """One symbol with the outputs of several."""
    symbols = list(symbols) if isinstance(symbols, (list, tuple)) else symbols
    if not isinstance(symbols, list) or not symbols or not all(isinstance(s, Symbol) for s in symbols):
        raise TypeError("Expected a list of symbols as input")
    return (create_fn or type(symbols[0]))(_ext.SymbolHandle.group([s._handle for s in symbols]))


def pow(base, exp):
    """Elementwise power of symbols and numbers."""
    if isinstance(base, numbers.Number) and isinstance(exp, numbers.Number):
        return base**exp
    hints = ("_power", "_powerscalar", "_rpowerscalar")
    return _binary(base, exp, "_power", "_power_scalar", hints, "_rpower_scalar")


power = pow


def maximum(left, right):
    """Elementwise maximum of symbols and numbers."""
    if isinstance(left, numbers.Number) and isinstance(right, numbers.Number):
        return left if left > right else right
    return _binary(left, right, "_maximum", "_maximum_scalar", ("_maximum", "_maximumscalar"))


def minimum(left, right):
    """Elementwise minimum of symbols and numbers."""
    if isinstance(left, numbers.Number) and isinstance(right, numbers.Number):
        return left if left < right else right
    return _binary(left, right, "_minimum", "_minimum_scalar", ("_minimum", "_minimumscalar"))


def hypot(left, right):
    """Elementwise length of the hypotenuse."""
    if isinstance(left, numbers.Number) and isinstance(right, numbers.Number):
        return np.hypot(left, right)
    return _binary(left, right, "_hypot", "_hypot_scalar", ("_hypot", "_hypotscalar"))


def zeros(shape, dtype=None, **kwargs):
    """A symbol of zeros."""
    return _operator("_zeros")(shape=shape, dtype=dtype_name(dtype or "float32"), **kwargs)


def ones(shape, dtype=None, **kwargs):
    """A symbol of ones."""
    return _operator("_ones")(shape=shape, dtype=dtype_name(dtype or "float32"), **kwargs)


def full(shape, val, dtype=None, **kwargs):
    """A symbol filled with `val`."""
    return _operator("_full")(shape=shape, value=float(val), dtype=dtype_name(dtype or "float32"), **kwargs)


def arange(start, stop=None, step=1.0, repeat=1, infer_range=False, name=None, dtype=None):
    """Evenly spaced numbers in [start, stop)."""
    return _operator("_arange")(start=start, stop=stop, step=step, repeat=repeat, infer_range=infer_range, name=name,
                                dtype=dtype_name(dtype or "float32"))


def linspace(start, stop, num, endpoint=True, name=None, dtype=None):
    """`num` evenly spaced numbers from `start` to `stop`."""
    return _operator("_linspace")(start=start, stop=stop, num=num, endpoint=endpoint, name=name,
                                  dtype=dtype_name(dtype or "float32"))


def eye(N, M=0, k=0, dtype=None, **kwargs):
    """A matrix with ones on its `k`-th diagonal."""
    return _operator("_eye")(N=N, M=M, k=k, dtype=dtype_name(dtype or "float32"), **kwargs)


def histogram(a, bins=10, range=None, **kwargs):
    """Counts of the values of `a` in bins, and the edges of the bins."""
    if isinstance(bins, Symbol):
        return _operator("_histogram")(data=a, bins=bins, **kwargs)
    if range is None:
        raise ValueError("null range is not supported in symbol mode")
    return _operator("_histogram")(data=a, bin_cnt=bins, range=range, **kwargs)


def split_v2(ary, indices_or_sections, axis=0, squeeze_axis=False):
    """Splits along an axis into equal sections or at the given indices."""
    if isinstance(indices_or_sections, int):
        return _operator("_split_v2")(ary, axis=axis, squeeze_axis=squeeze_axis, sections=indices_or_sections)
    if isinstance(indices_or_sections, (list, tuple, set)):
        return _operator("_split_v2")(ary, indices=[0, *indices_or_sections], axis=axis, squeeze_axis=squeeze_axis)
    raise ValueError(f"indices_or_sections must either be a number or tuple of ints, got {indices_or_sections!r}")
