# SPDX-License-Identifier: Apache-2.0
"""The array class and the functions that make arrays or take either arrays or numbers."""

import functools
import operator as _operator
import struct

import numpy as np

from .._core import _ext
from .._core import ops as _ops
from ..base import MXNetError, mx_real_t, numeric_types
from ..context import Context, current_context
from . import indexing as _ix
from . import op

__all__ = ["NDArray", "add", "arange", "array", "concatenate", "divide", "empty", "equal", "eye", "from_dlpack",
           "from_numpy", "full", "greater", "greater_equal", "histogram", "lesser", "lesser_equal", "linspace",
           "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "modulo", "moveaxis", "multiply",
           "not_equal", "onehot_encode", "ones", "ones_like", "power", "split_v2", "subtract", "to_dlpack_for_read",
           "to_dlpack_for_write", "true_divide", "waitall", "zeros", "zeros_like"]

_ext.set_context(Context, current_context)

_DTYPES = {name: _ext.dtype_class(name) for name in ("float16", "float32", "float64", "uint8", "int8", "int32", "int64",
                                                     "bool", "bfloat16")}
_REQUESTS = {"null": 0, "write": 1, "inplace": 1, "add": 3}

# Operators that are methods under their own name: x.exp() is nd.exp(x).
_METHODS = [
    "abs", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "argmax", "argmax_channel",
    "argmin", "argsort", "broadcast_axes", "cbrt", "ceil", "clip", "cos", "cosh", "degrees",
    "depth_to_space", "diag", "exp", "expm1", "fix", "flip", "floor", "log", "log10", "log1p", "log2",
    "log_softmax", "max", "mean", "min", "nanprod", "nansum", "norm", "one_hot", "ones_like", "pad",
    "pick", "prod", "radians", "rcbrt", "reciprocal", "relu", "repeat", "reshape_like", "rint", "round",
    "rsqrt", "shape_array", "sigmoid", "sign", "sin", "sinh", "size_array", "slice", "slice_axis",
    "slice_like", "softmax", "softmin", "sort", "space_to_depth", "split", "sqrt", "square", "sum",
    "swapaxes", "take", "tan", "tanh", "tile", "topk", "trunc", "zeros_like",
]


class NDArray(_ext.NDArrayBase):
    """An n-dimensional array on a device.

    Operators return at once; work that takes long goes on in the background, and reading an array (asnumpy(), print,
    float()) waits for it. Arithmetic with numbers converts the number to the array's dtype first.
    """

    __slots__ = ()
    __array_priority__ = 1000.0

    # --- what it is -----------------------------------------------------------------------------------------------

    def __repr__(self):
        shape = "x".join(map(str, self.shape))
        return f"\n{self.asnumpy()!s}\n<{type(self).__name__} {shape} @{self.context}>"

    def __reduce__(self):
        ctx = self.context
        if self.size == 0 or self.ndim == 0 or ctx.device_id:  # what the file format does not tell
            return _unpickle, (self.asnumpy(), _ext.dtype_name(self.dtype), ctx.device_type, ctx.device_id)
        # The form in which every MXNet pickles arrays: the element of a file, without the list around it.
        contents = _ext.save([self], [])
        return type(self), (None,), {"handle": bytearray(contents[len(_LIST_OF_ONE):-len(_NO_NAMES)])}

    def __setstate__(self, state):
        arrays, _ = _ext.load(_LIST_OF_ONE + bytes(state["handle"]) + _NO_NAMES)
        self._adopt(arrays[0])

    def __deepcopy__(self, memo):
        return self.copy()

    def __copy__(self):
        return self.copy()

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a scalar array")
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            view = np.frombuffer(self, dtype=self.dtype).reshape(self.shape) if self.size else self.asnumpy()
            if dtype is not None and view.dtype != dtype:
                raise ValueError("an array of another dtype cannot be made without a copy")
            return view
        result = self.asnumpy()
        return result if dtype is None else result.astype(dtype, copy=False)

    @property
    def stype(self):
        """Storage type: 'default' for dense arrays."""
        return "default"

    @property
    def T(self):
        """A copy with the axes in reverse order."""
        return op.transpose(self)

    @property
    def handle(self):
        """An integer that identifies the array object."""
        return id(self)

    @property
    def writable(self):
        """True: arrays can be assigned to."""
        return True

    # --- out of the array -------------------------------------------------------------------------------------------

    def asscalar(self):
        """The only element as a NumPy-typed scalar. ValueError if there is not exactly one."""
        if self.size != 1:
            raise ValueError("The current array is not a scalar")
        return self.asnumpy().reshape(-1)[0]

    def item(self, *args):
        """One element as a Python number."""
        return self.asnumpy().item(*args)

    def tolist(self):
        """The contents as nested lists."""
        return self.asnumpy().tolist()

    def __dlpack__(self, stream=None):
        return _ext.to_dlpack(self, False)

    def __dlpack_device__(self):
        return 1, 0

    def to_dlpack_for_read(self):
        """A DLPack capsule for a reader: later writes here wait for nobody."""
        return _ext.to_dlpack(self, False)

    def to_dlpack_for_write(self):
        """A DLPack capsule for a writer: work on this array is done before it returns."""
        return _ext.to_dlpack(self, True)

    # --- copies and conversions -------------------------------------------------------------------------------------

    def copy(self):
        """A copy on the same device."""
        return op.identity(self)

    def copyto(self, other):
        """Copies into an array of the same shape, or to a device; returns the copy."""
        if isinstance(other, Context):
            target = empty(self.shape, ctx=other, dtype=self.dtype)
            return _ops_internal("_copyto")(self, out=target)
        if not isinstance(other, NDArray):
            raise TypeError(f"copyto does not support type {type(other).__name__}")
        if other is self:
            import warnings
            warnings.warn("You are attempting to copy an array to itself", RuntimeWarning, stacklevel=2)
            return False
        if other.shape != self.shape:
            raise ValueError(f"copyto: the source has shape {self.shape}, the target {other.shape}")
        if other.dtype != self.dtype or other.stype != "default":
            other._copy_from(self)
            return other
        return _ops_internal("_copyto")(self, out=other)

    def as_in_context(self, context):
        """This array if it is on `context` already, else a copy there."""
        return self if self.context == context else self.copyto(context)

    as_in_ctx = as_in_context
    to_device = as_in_context

    def astype(self, dtype, copy=True):
        """A copy with another dtype; without `copy`, this array if it has that dtype."""
        if not copy and _ext.dtype_name(self.dtype) == _ext.dtype_name(dtype):
            return self
        return op.cast(self, dtype=_ext.dtype_name(dtype))

    def as_nd_ndarray(self):
        """This array."""
        return self

    def as_np_ndarray(self):
        """The NumPy-like array class is not part of this package yet: MXNetError."""
        raise MXNetError("mx.np arrays are not available in this version")

    def tostype(self, stype):
        """The array in the storage type 'default' (itself), 'row_sparse' or 'csr' (a copy)."""
        if stype == "default":
            return self
        from .sparse import cast_storage
        return cast_storage(self, stype)

    def as_list(self):
        """A list with this array."""
        return [self]

    # --- shape ------------------------------------------------------------------------------------------------------

    def reshape(self, *shape, **kwargs):
        """A view with another shape over the same memory.

        Special values: 0 keeps a dimension, -1 infers one, -2 takes all that are left, -3 joins two, -4 splits one
        into the next two values. `reverse=True` reads the shape from the right.
        """
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        if not shape:
            shape = kwargs.pop("shape", None)
            if shape is None:
                raise ValueError("reshape needs the new shape")
            shape = (shape,) if isinstance(shape, int) else tuple(shape)
        reverse = kwargs.pop("reverse", False)
        if kwargs:
            raise TypeError(f"reshape() got unexpected keyword arguments: {', '.join(sorted(kwargs))}; "
                            "it takes shape and reverse")
        recorded = _ext.is_recording() and self._in_graph()
        simple = not reverse and all(int(d) > 0 for d in shape)
        if simple and not recorded and not _ext.is_tracing():
            size = 1
            for d in shape:
                size *= int(d)
            if size != self.size:
                raise ValueError(f"cannot reshape array of size {self.size} into shape {shape}")
            return self._view(shape)
        if recorded or _ext.is_tracing():
            return op.Reshape(self, shape=shape, reverse=reverse)
        return self._view(_ext.reshaped(self.shape, tuple(int(d) for d in shape), bool(reverse)))

    def reshape_view(self, *shape, **kwargs):
        """The same as reshape()."""
        return self.reshape(*shape, **kwargs)

    def expand_dims(self, axis, inplace=False):
        """A copy with a new axis of size 1; with `inplace` a view."""
        if not inplace:
            return op.expand_dims(self, axis=axis)
        shape = list(self.shape)
        shape.insert(axis if axis >= 0 else axis + len(shape) + 1, 1)
        return self.reshape(tuple(shape))

    def flatten(self, inplace=False):
        """A copy of shape (d0, d1 * d2 * ...); with `inplace` a view."""
        return self.reshape((0, -1)) if inplace else op.flatten(self)

    def squeeze(self, axis=None, inplace=False):
        """A copy without the axes of size 1; with `inplace` a view."""
        if not inplace:
            return op.squeeze(self, axis=axis)
        axes = range(self.ndim) if axis is None else [a % self.ndim for a in np.atleast_1d(axis)]
        drop = [a for a in axes if self.shape[a] == 1 or axis is not None]
        if any(self.shape[a] != 1 for a in drop):
            raise ValueError(f"squeeze: axes {axis} of shape {self.shape} are not all of size 1")
        shape = tuple(d for i, d in enumerate(self.shape) if i not in drop)
        return self.reshape(shape or (1,))

    def transpose(self, *permutation, axes=None):
        """A copy with permuted axes; without axes, in reverse order."""
        axes = (axes,) if axes is not None else permutation
        if len(axes) == 1 and isinstance(axes[0], (tuple, list)):
            axes = tuple(axes[0])
        if axes and (axes[0] is None):
            axes = ()
        return op.transpose(self, axes=axes) if axes else op.transpose(self)

    def broadcast_to(self, shape):
        """A copy stretched to `shape`; missing leading axes are added."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if self.shape == shape:
            return self
        if len(shape) < self.ndim or any(have not in (1, want) for have, want in zip(self.shape[::-1], shape[::-1])):
            raise ValueError(f"Cannot broadcast an array of shape {self.shape} to {shape}")
        source = self
        if len(shape) > self.ndim:
            source = self.reshape((1,) * (len(shape) - self.ndim) + self.shape)
        return op.broadcast_to(source, shape=shape)

    def broadcast_like(self, other):
        """A copy stretched to the shape of `other`."""
        return op.broadcast_like(self, other)

    def slice_assign(self, rhs, begin, end, step):
        """A copy in which the slice [begin:end:step] is `rhs`."""
        return _ops_internal("_slice_assign")(self, rhs, begin=begin, end=end, step=step)

    def slice_assign_scalar(self, value, begin, end, step):
        """A copy in which every element of the slice [begin:end:step] is `value`."""
        return _ops_internal("_slice_assign_scalar")(self, scalar=value, begin=begin, end=end, step=step)

    def split_v2(self, *args, **kwargs):
        """See mx.nd.split_v2."""
        return split_v2(self, *args, **kwargs)

    # --- gradients --------------------------------------------------------------------------------------------------

    def attach_grad(self, grad_req="write", stype=None):
        """Makes this array a leaf whose gradient backward() writes to (or adds to) the buffer `self.grad`, of storage
        type `stype` (default: dense)."""
        if grad_req not in _REQUESTS:
            raise ValueError(f"attach_grad: grad_req must be 'write', 'add' or 'null', got {grad_req!r}")
        if stype in (None, "default"):
            buffer = _ext.empty(self.shape, self.dtype, self.context)
            buffer._fill(0)
        else:
            buffer = _ext.sparse_zeros(stype, self.shape, self.dtype, self.context)
        self._mark_variable(buffer, _REQUESTS[grad_req])

    def drop_grad(self):
        """Forgets the gradient buffer: the array is no leaf any more."""
        self._mark_variable(None, 0)

    def backward(self, out_grad=None, retain_graph=False, train_mode=True):
        """Computes the gradients of this array with respect to all leaves it depends on; see autograd.backward."""
        _ext.backward([self], None if out_grad is None else [out_grad], retain_graph, train_mode)

    # --- indexing -----------------------------------------------------------------------------------------------------

    def _get_item(self, key):
        full = _ix.expand(key, self.ndim)
        if _ix.is_basic(full):
            index = _ix.BasicIndex(full, self.shape)
            if not index.shape and self.ndim:
                index.shape = (1,)  # mx.nd has no scalars here
            offset = index.window(self.shape)
            traced = _ext.is_tracing() or (_ext.is_recording() and self._in_graph())
            if offset is not None and not traced:
                return self._view(index.shape, offset)
            if 0 in index.shape:
                return _ext.empty(index.shape, self.dtype, self.context)
            part = op.slice(self, **index.operator_arguments()) if self.ndim else self
            return part if part.shape == index.shape else op.Reshape(part, shape=index.shape or (1,))
        rows = _ix.row_indices(_ix.numpy_key(full, NDArray), self.shape)
        if rows is not None:
            return op.take(self, _ext.array(rows, "int64", self.context), axis=0)
        # With the Ellipsis, even of no axes: it parts index arrays, whose axes then come first.
        positions = _ix.flat_indices(_ix.numpy_key(key if isinstance(key, tuple) else (key,), NDArray), self.shape)
        if positions.size == 0:
            return _ext.empty(positions.shape, self.dtype, self.context)
        flat = op.Reshape(self, shape=(-1,))
        return op.take(flat, _ext.array(np.asarray(positions), "int64", self.context), axis=0)

    def _set_item(self, key, value):
        full = _ix.expand(key, self.ndim)
        recording = _ext.is_recording()
        if recording and isinstance(value, NDArray) and value._in_graph():
            self._assign_recorded(full, value)
            return
        value = _ix.value_array(value, self, NDArray)
        if _ix.is_basic(full):
            self._assign_basic(_ix.BasicIndex(full, self.shape), value)
        else:
            self._assign_advanced(_ix.numpy_key(key if isinstance(key, tuple) else (key,), NDArray), value)

    def _assign_recorded(self, key, value):
        if not (_ix.is_basic(key) and all(isinstance(k, slice) and k.indices(n) == (0, n, 1)
                                          for k, n in zip(key, self.shape))):
            _ix.refuse_recorded(value)
        if value.shape != self.shape:
            value = value.broadcast_to(self.shape)
        op.identity(value, out=self)

    def _assign_basic(self, index, value):
        if 0 in index.kept:
            return
        offset = index.window(self.shape)
        number = not isinstance(value, NDArray)
        if offset is not None:
            window = self._view(index.shape, offset)
            if _ext.is_recording() and self._in_graph():
                op.identity(self, out=self)  # raises: the array is part of the graph
            if number:
                _ops_internal("_full")(shape=window.shape, value=float(value), dtype=_ext.dtype_name(self.dtype),
                                       out=window) if window.ndim else window._fill(value)
            else:
                window._copy_from(_fit(value, index.shape))
            return
        arguments = index.operator_arguments()
        if number:
            _ops_internal("_slice_assign_scalar")(self, scalar=value, out=self, **arguments)
            return
        value = _fit(value, index.shape)
        if value.shape != tuple(index.kept):
            value = value.reshape(tuple(index.kept))
        _ops_internal("_slice_assign")(self, value, out=self, **arguments)

    def _assign_advanced(self, key, value):
        if _ext.is_recording() and self._in_graph():
            op.identity(self, out=self)  # raises: the array is part of the graph
        positions = np.asarray(_ix.flat_indices(key, self.shape))
        if positions.size == 0:
            return
        if isinstance(value, NDArray):
            value = _fit(value, positions.shape).reshape((positions.size,))
        else:
            value = full((positions.size,), value, ctx=self.context, dtype=self.dtype)
        flat = self._view((self.size,))
        indices = _ext.array(positions.reshape((1, -1)), "int64", self.context)
        _ops_internal("_scatter_set_nd")(flat, value, indices, shape=flat.shape, out=flat)


for _name in _METHODS:
    if _ext.has_op(_name):
        setattr(NDArray, _name, _ops.method(_name))
_ext.set_ndarray_class(NDArray)


@functools.cache
def _ops_internal(name):
    from . import _internal
    return getattr(_internal, name)


def _fit(value, shape):
    """`value` broadcast to `shape`; leading axes of size 1 that are too many are dropped, as NumPy does."""
    while value.ndim > len(shape) and value.shape[0] == 1:
        value = value.reshape(value.shape[1:] or (1,)) if value.ndim > 1 else value
        if value.ndim == 1 and not shape:
            break
    if value.shape == tuple(shape):
        return value
    if not shape and value.size == 1:
        return value.reshape((1,))._view(())
    return value.broadcast_to(shape)


_LIST_OF_ONE = struct.pack("<QQQ", 0x112, 0, 1)  # what stands before the arrays in a file, and after them
_NO_NAMES = struct.pack("<Q", 0)


def _unpickle(contents, dtype, device_type, device_id):
    ctx = Context(device_type, device_id)
    return array(contents, ctx=ctx, dtype=dtype)


# ---- making arrays -------------------------------------------------------------------------------------------------

def waitall():
    """Waits for all work; raises the oldest error that nobody was told of."""
    _ext.waitall()


def empty(shape, ctx=None, dtype=None, stype=None):
    """An uninitialised array of `dtype` (default float32)."""
    if stype not in (None, "default"):
        from .sparse import zeros as sparse_zeros
        return sparse_zeros(stype, shape, ctx=ctx, dtype=dtype)
    return _ext.empty(shape, mx_real_t if dtype is None else dtype, ctx)


def array(source_array, ctx=None, dtype=None):
    """An array with a copy of `source_array` (lists, NumPy arrays, NDArrays, anything NumPy reads).

    dtype: default float32, or the source's if it is an NDArray.
    """
    if isinstance(source_array, NDArray):
        if source_array.stype != "default":
            from .sparse import array as sparse_array
            return sparse_array(source_array, ctx=ctx, dtype=dtype)
        dtype = source_array.dtype if dtype is None else dtype
        target = _ext.empty(source_array.shape, dtype, ctx)
        target._copy_from(source_array)
        return target
    if not isinstance(source_array, np.ndarray):
        if type(source_array).__module__.startswith("scipy.sparse"):
            from .sparse import array as sparse_array
            return sparse_array(source_array, ctx=ctx, dtype=dtype)
        try:
            if isinstance(source_array, (list, tuple)) and any(isinstance(x, NDArray) for x in source_array):
                source_array = [x.asnumpy() if isinstance(x, NDArray) else x for x in source_array]
            source_array = np.array(source_array, dtype=None if dtype is None or _is_bfloat16(dtype) else dtype)
        except (ValueError, TypeError) as error:
            raise TypeError(f"array: source_array must be an array or nested lists of numbers ({error})") from None
        if source_array.dtype == object:
            raise TypeError("array: source_array must be an array or nested lists of numbers of equal lengths")
    dtype = mx_real_t if dtype is None else dtype
    if _is_bfloat16(dtype) and source_array.dtype.names is None:
        return _ext.array(source_array, "float32", ctx).astype("bfloat16")
    return _ext.array(source_array, dtype, ctx)


def _is_bfloat16(dtype):
    return dtype is not None and _ext.dtype_name(dtype) == "bfloat16"


def _creation(name, shape, ctx, dtype, out=None, **more):
    dtype = "float32" if dtype is None else _ext.dtype_name(dtype)
    ctx = current_context() if ctx is None else ctx
    shape = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    if out is None and (not shape or 0 in shape):  # to the operators these mean "unknown"
        result = _ext.empty(shape, dtype, ctx)
        result._fill(more.get("value", name == "_ones"))
        return result
    return _ops_internal(name)(shape=shape, ctx=str(ctx), dtype=dtype, out=out, **more)


def zeros(shape, ctx=None, dtype=None, stype=None, out=None, **kwargs):
    """An array of zeros, of storage type `stype` (default: dense)."""
    if stype not in (None, "default"):
        from .sparse import zeros as sparse_zeros
        return sparse_zeros(stype, shape, ctx=ctx, dtype=dtype)
    return _creation("_zeros", shape, ctx, dtype, out)


def ones(shape, ctx=None, dtype=None, out=None, **kwargs):
    """An array of ones."""
    return _creation("_ones", shape, ctx, dtype, out)


def full(shape, val, ctx=None, dtype=mx_real_t, out=None):
    """An array whose elements are all `val`."""
    if isinstance(val, NDArray):
        val = val.asscalar()
    return _creation("_full", shape, ctx, dtype, out, value=val)


def zeros_like(data, **kwargs):
    """Zeros in the shape, dtype and device of `data`."""
    return op.zeros_like(data, **kwargs)


def ones_like(data, **kwargs):
    """Ones in the shape, dtype and device of `data`."""
    return op.ones_like(data, **kwargs)


def arange(start, stop=None, step=1.0, repeat=1, infer_range=None, ctx=None, dtype=mx_real_t):
    """Evenly spaced values in [start, stop), each `repeat` times; arange(n) counts from 0."""
    if stop is None:
        start, stop = 0, start
    return _ops_internal("_arange")(start=start, stop=stop, step=step, repeat=repeat, infer_range=False,
                                    dtype=_ext.dtype_name(dtype), ctx=str(ctx or current_context()))


def linspace(start, stop, num, endpoint=True, ctx=None, dtype=mx_real_t):
    """`num` evenly spaced values from `start` to `stop`."""
    return _ops_internal("_linspace")(start=start, stop=stop, num=num, endpoint=endpoint,
                                      dtype=_ext.dtype_name(dtype), ctx=str(ctx or current_context()))


def eye(N, M=0, k=0, ctx=None, dtype=None, **kwargs):
    """A matrix with ones on the diagonal `k`."""
    return _ops_internal("_eye")(N=N, M=M, k=k, dtype="float32" if dtype is None else _ext.dtype_name(dtype),
                                 ctx=str(ctx or current_context()))


def from_numpy(ndarray, zero_copy=True, array_cls=NDArray):
    """An array over the memory of a C-contiguous numpy.ndarray, which becomes read-only; or a copy."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"from_numpy takes a numpy.ndarray, got {type(ndarray).__name__}")
    if not zero_copy:
        return array(ndarray, dtype=ndarray.dtype)
    if not ndarray.flags["C_CONTIGUOUS"]:
        raise ValueError("from_numpy: only C-contiguous arrays can be taken without a copy; "
                         "use numpy.ascontiguousarray first or zero_copy=False")
    result = _ext.from_numpy(ndarray, ndarray.dtype)
    ndarray.flags.writeable = False
    return result


def from_dlpack(dlpack):
    """An array over the memory of a DLPack capsule, or of an object with `__dlpack__`."""
    return _ext.from_dlpack(dlpack)


def to_dlpack_for_read(data):
    """See NDArray.to_dlpack_for_read."""
    return data.to_dlpack_for_read()


def to_dlpack_for_write(data):
    """See NDArray.to_dlpack_for_write."""
    return data.to_dlpack_for_write()


# ---- joining and splitting -----------------------------------------------------------------------------------------

def concatenate(arrays, axis=0, always_copy=True):
    """Arrays joined along an existing axis."""
    arrays = list(arrays)
    if not arrays or not all(isinstance(a, NDArray) for a in arrays):
        raise TypeError("concatenate takes a non-empty list of NDArrays")
    if len(arrays) == 1 and not always_copy:
        return arrays[0]
    return op.concat(*arrays, dim=axis)


def moveaxis(tensor, source, destination):
    """A copy with axes moved to other positions; the others keep their order."""
    order = np.lib.array_utils.normalize_axis_tuple if hasattr(np.lib, "array_utils") else None
    if order is None:
        from numpy.core.numeric import normalize_axis_tuple as order
    source = order(source, tensor.ndim, "source")
    destination = order(destination, tensor.ndim, "destination")
    if len(source) != len(destination):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    axes = [a for a in range(tensor.ndim) if a not in source]
    for to, axis in sorted(zip(destination, source)):
        axes.insert(to, axis)
    return op.transpose(tensor, axes=tuple(axes))


def split_v2(ary, indices_or_sections, axis=0, squeeze_axis=False):
    """A list of parts: equal ones for a number, or cut at the given indices."""
    size = ary.shape[axis]
    if isinstance(indices_or_sections, int):
        if size % indices_or_sections:
            raise ValueError("array split does not result in an equal division")
        indices = [i * (size // indices_or_sections) for i in range(indices_or_sections)]
    else:
        indices = [0, *indices_or_sections]
    result = _ops_internal("_split_v2")(ary, indices=tuple(indices), axis=axis, squeeze_axis=squeeze_axis)
    return result if isinstance(result, list) else [result]


def histogram(a, bins=10, range=None):
    """Counts of the elements in bins, and the edges: equal bins over `range` (default: of the data), or given edges."""
    if isinstance(bins, NDArray):
        return _ops_internal("_histogram")(a, bins)
    low, high = range or (a.min().asscalar(), a.max().asscalar())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return _ops_internal("_histogram")(a, bin_cnt=bins, range=(float(low), float(high)))


def onehot_encode(indices, out):
    """Writes one-hot rows into `out`, of shape (n, classes)."""
    return op.one_hot(indices, depth=out.shape[1], dtype=_ext.dtype_name(out.dtype), out=out)


# ---- arithmetic on arrays or numbers -------------------------------------------------------------------------------

def _either(name, function, number_function=None):
    """A function of two operands of which at least one is an array; two numbers give a number."""

    def apply(lhs, rhs):
        if isinstance(lhs, numeric_types) and isinstance(rhs, numeric_types):
            return (number_function or function)(lhs, rhs)
        if not isinstance(lhs, NDArray) and not isinstance(rhs, NDArray):
            raise TypeError(f"{name}: types {type(lhs).__name__} and {type(rhs).__name__} are not supported")
        result = function(lhs, rhs)
        if result is NotImplemented:
            raise TypeError(f"{name}: types {type(lhs).__name__} and {type(rhs).__name__} are not supported")
        return result

    apply.__name__ = apply.__qualname__ = name
    apply.__doc__ = f"Elementwise {name.replace('_', ' ')} with broadcasting; either operand may be a number."
    return apply


def _by_operator(broadcast, scalar, reversed_scalar):
    """The same for functions without a Python operator: by the names of their operators."""

    def function(lhs, rhs):
        if isinstance(lhs, NDArray) and isinstance(rhs, NDArray):
            return getattr(op, broadcast)(lhs, rhs)
        if isinstance(lhs, NDArray):
            return _ops_internal(scalar)(lhs, scalar=rhs)
        return _ops_internal(reversed_scalar)(rhs, scalar=lhs)

    return function


add = _either("add", _operator.add)
subtract = _either("subtract", _operator.sub)
multiply = _either("multiply", _operator.mul)
divide = _either("divide", _operator.truediv)
true_divide = _either("true_divide", _operator.truediv)
modulo = _either("modulo", _operator.mod)
power = _either("power", _operator.pow)
equal = _either("equal", _operator.eq, lambda a, b: 1 if a == b else 0)
not_equal = _either("not_equal", _operator.ne, lambda a, b: 1 if a != b else 0)
greater = _either("greater", _operator.gt, lambda a, b: 1 if a > b else 0)
greater_equal = _either("greater_equal", _operator.ge, lambda a, b: 1 if a >= b else 0)
lesser = _either("lesser", _operator.lt, lambda a, b: 1 if a < b else 0)
lesser_equal = _either("lesser_equal", _operator.le, lambda a, b: 1 if a <= b else 0)
maximum = _either("maximum", _by_operator("broadcast_maximum", "_maximum_scalar", "_maximum_scalar"), max)
minimum = _either("minimum", _by_operator("broadcast_minimum", "_minimum_scalar", "_minimum_scalar"), min)
logical_and = _either("logical_and",
                      _by_operator("broadcast_logical_and", "_logical_and_scalar", "_logical_and_scalar"),
                      lambda a, b: 1 if a and b else 0)
logical_or = _either("logical_or", _by_operator("broadcast_logical_or", "_logical_or_scalar", "_logical_or_scalar"),
                     lambda a, b: 1 if a or b else 0)
logical_xor = _either("logical_xor",
                      _by_operator("broadcast_logical_xor", "_logical_xor_scalar", "_logical_xor_scalar"),
                      lambda a, b: 1 if bool(a) != bool(b) else 0)
