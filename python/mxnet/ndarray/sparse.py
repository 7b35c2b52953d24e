# SPDX-License-Identifier: Apache-2.0
"""Sparse arrays: `RowSparseNDArray` keeps some rows of axis 0, `CSRNDArray` some elements of a matrix, row by row.

What is not kept is zero. Operators that know the storage type work on what is kept; all others run on dense copies and
say so once. The operators here are those of `mx.nd`, under the names that the original gives their sparse forms.
"""

import numpy as np

from .._core import _ext
from .._core import ops as _ops
from .._core.errors import NotSupportedForSparseNDArray
from ..base import MXNetError, mx_real_t
from ..context import Context
from . import op as _op
from .ndarray import NDArray, _ops_internal

_sparse, __dir__ = _ops.install(__name__, "sparse", _ops.nd_function)
_plain, _ = _ops.install(__name__, "", _ops.nd_function)

_STYPES = ("default", "row_sparse", "csr")


def _unsupported(name):
    def method(self, *args, **kwargs):
        raise NotSupportedForSparseNDArray(f"{name} is not supported for a {type(self).__name__}; "
                                           "use tostype('default') first")

    method.__name__ = name
    method.__doc__ = "Not supported for sparse arrays: NotSupportedForSparseNDArray."
    return method


class BaseSparseNDArray(NDArray):
    """What row_sparse and csr arrays have in common."""

    __slots__ = ()
    _parts = ("indices",)

    def __repr__(self):
        shape = "x".join(map(str, self.shape))
        return f"\n<{type(self).__name__} {shape} @{self.context}>"

    def __reduce__(self):
        ctx = self.context
        parts = [getattr(self, name).asnumpy() for name in self._parts]
        return _unpickle, (self.stype, self.shape, _ext.dtype_name(self.dtype), ctx.device_type, ctx.device_id,
                           self.data.asnumpy(), *parts)

    def __setitem__(self, key, value):
        if not (isinstance(key, slice) and key == slice(None)):
            raise TypeError(f"{type(self).__name__} only supports [:] for assignment")
        if isinstance(value, NDArray):
            if value.shape != self.shape:
                raise ValueError(f"an array of shape {value.shape} cannot be assigned to one of shape {self.shape}")
            if value is not self:
                self._copy_from(value)
        elif isinstance(value, (int, float, np.number)):
            if value == 0:
                self._fill(0)
            else:
                self._copy_from(_full(self, value))
        else:
            self._copy_from(_dense(value, self.context, self.dtype, self.shape))

    @property
    def data(self):
        """A copy of the values that are kept; waits."""
        return _ext.sparse_part(self, "data")

    @property
    def indices(self):
        """A copy of the indices of what is kept, int64: row numbers, or columns; waits."""
        return _ext.sparse_part(self, "indices")

    @property
    def _num_aux(self):
        return len(self._parts)

    @property
    def _aux_types(self):
        return [np.int64] * len(self._parts)

    def _aux_data(self, i):
        return getattr(self, self._parts[::-1][i])

    def tostype(self, stype):
        """A copy in another storage type: 'default', or the array's own."""
        return cast_storage(self, stype)

    def copy(self):
        """A copy in the same storage type."""
        return _op.identity(self)

    def copyto(self, other):
        """Copy into an array of any storage type, or to a device; returns the copy."""
        if isinstance(other, Context):
            target = zeros(self.stype, self.shape, ctx=other, dtype=self.dtype)
        elif isinstance(other, NDArray):
            target = other
            if target.shape != self.shape:
                raise ValueError(f"copyto: the source has shape {self.shape}, the target {target.shape}")
        else:
            raise TypeError(f"copyto does not support type {type(other).__name__}")
        if target is not self:
            target._copy_from(self)
        return target

    def astype(self, dtype, copy=True):
        """A copy with another dtype in the same storage type; without `copy`, this array if it has that dtype."""
        if not copy and _ext.dtype_name(self.dtype) == _ext.dtype_name(dtype):
            return self
        target = zeros(self.stype, self.shape, ctx=self.context, dtype=dtype)
        target._copy_from(self)
        return target

    def check_format(self, full_check=True):
        """Raise MXNetError if indices are not ascending, distinct and within the shape."""
        _ext.sparse_check(self)

    def attach_grad(self, grad_req="write", stype=None):
        """As `NDArray.attach_grad`; the gradient is of the array's own storage type unless told."""
        super().attach_grad(grad_req, self.stype if stype is None else stype)

    def __iadd__(self, other):
        self[:] = self + other
        return self

    def __isub__(self, other):
        self[:] = self - other
        return self

    def __imul__(self, other):
        self[:] = self * other
        return self

    def __itruediv__(self, other):
        self[:] = self / other
        return self

    asscalar = _unsupported("asscalar")
    reshape = _unsupported("reshape")
    broadcast_to = _unsupported("broadcast_to")
    as_np_ndarray = _unsupported("as_np_ndarray")
    __iter__ = None


class RowSparseNDArray(BaseSparseNDArray):
    """An array of which only some rows of axis 0 are kept: gradients of large embeddings.

    `indices` are the numbers of the rows, ascending; `data[i]` is row `indices[i]`. All other rows are zero.
    """

    __slots__ = ()

    @property
    def stype(self):
        return "row_sparse"

    def __getitem__(self, key):
        if isinstance(key, slice) and key == slice(None):
            return self
        raise IndexError("RowSparseNDArray only supports [:]; use retain or tostype('default')")

    def retain(self, *args, **kwargs):
        """The rows with the given numbers only."""
        return _sparse("retain")(self, *args, **kwargs)


class CSRNDArray(BaseSparseNDArray):
    """A matrix of which only some elements are kept.

    Those of row r are `data[indptr[r]:indptr[r + 1]]`, in the columns `indices[indptr[r]:indptr[r + 1]]`.
    """

    __slots__ = ()
    _parts = ("indices", "indptr")

    @property
    def stype(self):
        return "csr"

    @property
    def indptr(self):
        """A copy of where each row starts in `data` and `indices`, int64; waits."""
        return _ext.sparse_part(self, "indptr")

    def __getitem__(self, key):
        if isinstance(key, (int, np.integer)):
            rows = self.shape[0]
            if not -rows <= key < rows:
                raise IndexError(f"index {key} is out of range for axis 0 of size {rows}")
            begin = key % rows
            return self._rows(begin, begin + 1)
        if isinstance(key, slice):
            begin, end, step = key.indices(self.shape[0])
            if step != 1:
                raise ValueError("CSRNDArray only supports continuous slicing on axis 0")
            return self if (begin, end) == (0, self.shape[0]) else self._rows(begin, max(begin, end))
        raise ValueError("Multi-dimension indexing is not supported")

    def _rows(self, begin, end):
        return self._take_rows(range(begin, end))

    def _take_rows(self, rows):
        """The rows with the given numbers, in their order."""
        return _ext.csr_rows(self, [int(row) for row in rows])

    def asscipy(self):
        """A scipy.sparse.csr_matrix with a copy of the contents."""
        from scipy.sparse import csr_matrix as scipy_csr
        return scipy_csr((self.data.asnumpy(), self.indices.asnumpy(), self.indptr.asnumpy()), shape=self.shape)


_ext.set_sparse_classes(RowSparseNDArray, CSRNDArray)


# ---- making arrays -------------------------------------------------------------------------------------------------

def zeros(stype, shape, ctx=None, dtype=None, **kwargs):
    """An array of zeros in a storage type: of a sparse one nothing is kept."""
    if stype == "default":
        from .ndarray import zeros as dense_zeros
        return dense_zeros(shape, ctx=ctx, dtype=dtype, **kwargs)
    if stype not in _STYPES:
        raise ValueError(f"unknown storage type {stype!r}; there are {', '.join(_STYPES)}")
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    return _ext.sparse_zeros(stype, shape, mx_real_t if dtype is None else dtype, ctx)


def empty(stype, shape, ctx=None, dtype=None):
    """The same as `zeros`: there are no elements to leave undefined."""
    return zeros(stype, shape, ctx=ctx, dtype=dtype)


def zeros_like(data, **kwargs):
    """Zeros in the shape, dtype, device and storage type of `data`."""
    return zeros(data.stype, data.shape, ctx=data.context, dtype=data.dtype)


def array(source_array, ctx=None, dtype=None):
    """A sparse array with a copy of a sparse NDArray or of a SciPy matrix; ValueError for dense sources."""
    if isinstance(source_array, BaseSparseNDArray):
        result = zeros(source_array.stype, source_array.shape, ctx=ctx, dtype=dtype or source_array.dtype)
        result._copy_from(source_array)
        return result
    if is_scipy(source_array):
        matrix = source_array.tocsr().sorted_indices()
        matrix.sum_duplicates()
        return csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape, ctx=ctx,
                          dtype=dtype or matrix.dtype)
    raise ValueError(f"Please use mx.nd.array to create an NDArray with source_array of type {type(source_array)}")


def is_scipy(source):
    """Whether `source` is a matrix of scipy.sparse."""
    return type(source).__module__.startswith("scipy.sparse") and hasattr(source, "tocsr")


def row_sparse_array(arg1, shape=None, ctx=None, dtype=None):
    """A RowSparseNDArray.

    `arg1` is (data, indices): rows and their numbers, in any order but each once; a shape: zeros; or an array, dense or
    sparse, whose rows that are not zero are kept. `shape` defaults to the largest index + 1 rows.
    """
    if isinstance(arg1, RowSparseNDArray):
        return array(arg1, ctx=ctx, dtype=dtype)
    if isinstance(arg1, tuple) and arg1 and all(isinstance(d, (int, np.integer)) for d in arg1):
        _check_shape(shape, arg1)
        return zeros("row_sparse", arg1, ctx=ctx, dtype=dtype)
    if isinstance(arg1, tuple):
        if len(arg1) != 2:
            raise ValueError(f"row_sparse_array: a tuple must be (data, indices) or a shape, got {len(arg1)} elements")
        data, indices = _values(arg1[0], dtype), _index_array(arg1[1], "indices")
        if indices.ndim != 1 or data.ndim < 1 or len(data) != len(indices):
            raise ValueError(f"row_sparse_array: {data.shape} data and {indices.shape} indices do not fit: there must "
                             "be one index for each row of data")
        shape = _row_shape(shape, data, indices)
        order = np.argsort(indices, kind="stable")
        return _from_parts("row_sparse", shape, ctx, data[order], indices[order])
    dense = _dense(arg1, ctx, dtype)
    _check_shape(shape, dense.shape)
    return cast_storage(dense, "row_sparse")


def _row_shape(shape, data, indices):
    if shape is None:
        if not len(indices):
            raise ValueError("row_sparse_array: shape is needed where there are no indices")
        return (int(indices.max()) + 1, *data.shape[1:])
    if tuple(shape[1:]) != data.shape[1:]:
        raise ValueError(f"row_sparse_array: rows of shape {data.shape[1:]} do not fit in an array of shape {shape}")
    return tuple(shape)


def csr_matrix(arg1, shape=None, ctx=None, dtype=None):
    """A CSRNDArray.

    `arg1` is (data, indices, indptr); (data, (rows, columns)); a shape of two: zeros; a SciPy matrix; or a two-axes
    array whose elements that are not zero are kept.
    """
    if isinstance(arg1, CSRNDArray) or is_scipy(arg1):
        return array(arg1, ctx=ctx, dtype=dtype)
    if isinstance(arg1, tuple) and len(arg1) == 2 and all(isinstance(d, (int, np.integer)) for d in arg1):
        _check_shape(shape, arg1)
        return zeros("csr", arg1, ctx=ctx, dtype=dtype)
    if isinstance(arg1, tuple) and len(arg1) == 2:
        return _csr_from_coordinates(arg1[0], arg1[1], shape, ctx, dtype)
    if isinstance(arg1, tuple):
        if len(arg1) != 3:
            raise ValueError("csr_matrix: a tuple must be (data, indices, indptr), (data, (rows, columns)) or a shape, "
                             f"got {len(arg1)} elements")
        data, indices = _values(arg1[0], dtype), _index_array(arg1[1], "indices")
        indptr = _index_array(arg1[2], "indptr")
        if data.ndim != 1 or indices.shape != data.shape or indptr.ndim != 1 or not len(indptr):
            raise ValueError(f"csr_matrix: data {data.shape}, indices {indices.shape} and indptr {indptr.shape} do not "
                             "fit")
        if shape is None:
            shape = (len(indptr) - 1, int(indices.max()) + 1 if len(indices) else 0)
        if len(shape) != 2 or shape[0] != len(indptr) - 1:
            raise ValueError(f"csr_matrix: indptr of {len(indptr)} elements does not fit shape {tuple(shape)}")
        return _from_parts("csr", tuple(shape), ctx, *_sorted_columns(data, indices, indptr), indptr)
    dense = _dense(arg1, ctx, dtype)
    if dense.ndim != 2:
        raise ValueError(f"csr_matrix: an array of two axes is needed, got shape {dense.shape}")
    _check_shape(shape, dense.shape)
    return cast_storage(dense, "csr")


def _csr_from_coordinates(data, where, shape, ctx, dtype):
    data, rows, columns = _values(data, dtype), _index_array(where[0], "rows"), _index_array(where[1], "columns")
    if shape is None:
        shape = (int(rows.max()) + 1, int(columns.max()) + 1)
    if len(rows) and (rows.min() < 0 or rows.max() >= shape[0]):
        raise ValueError(f"csr_matrix: a row index is out of range for shape {tuple(shape)}")
    order = np.lexsort((columns, rows))
    indptr = np.searchsorted(rows[order], np.arange(shape[0] + 1))
    return _from_parts("csr", tuple(shape), ctx, data[order], columns[order], indptr)


def _sorted_columns(data, indices, indptr):
    """Elements in ascending order of their columns within each row; as they are if indptr is not one."""
    if indptr[0] != 0 or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
        return data, indices
    rising = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rising[starts[(starts > 0) & (starts < len(indices))] - 1] = True
    if rising.all():
        return data, indices
    order = np.lexsort((indices, np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))))
    return data[order], indices[order]


# ---- functions -----------------------------------------------------------------------------------------------------

def cast_storage(data, stype):
    """The array in another storage type; between row_sparse and csr only through 'default': ValueError."""
    if stype not in _STYPES:
        raise MXNetError(f"cast_storage: unknown storage type {stype!r}; there are {', '.join(_STYPES)}")
    if stype != "default" and data.stype not in ("default", stype):
        raise ValueError(f"cast_storage from {data.stype} to {stype} is not supported")
    if stype == "csr" and data.ndim != 2:
        raise ValueError("To convert to a CSR, the NDArray should be 2 Dimensional. "
                         f"Current shape is {data.shape}")
    return _op.cast_storage(data, stype=stype)


def add(lhs, rhs):
    """lhs + rhs, sparse if both are of one sparse storage type."""
    return lhs + rhs


def subtract(lhs, rhs):
    """lhs - rhs, sparse if both are of one sparse storage type."""
    return lhs - rhs


def multiply(lhs, rhs):
    """lhs * rhs, sparse if one is and the other a number."""
    return lhs * rhs


def divide(lhs, rhs):
    """lhs / rhs, sparse if lhs is and rhs a number."""
    return lhs / rhs


# ---- helpers ---------------------------------------------------------------------------------------------------------

def _full(like, value):
    return _ops_internal("_full")(shape=like.shape, value=float(value), dtype=_ext.dtype_name(like.dtype),
                                  ctx=str(like.context))


def _check_shape(given, found):
    if given is not None and tuple(given) != tuple(found):
        raise ValueError(f"the given shape {tuple(given)} is not that of the source, {tuple(found)}")


def _values(source, dtype):
    """`source` as a NumPy array of `dtype`; by default its own if it is an array, else float32."""
    if isinstance(source, NDArray):
        source = source.asnumpy()
    elif not isinstance(source, np.ndarray):
        source = np.asarray(source, dtype=mx_real_t if dtype is None else None)
    return source if dtype is None else source.astype(np.dtype(dtype), copy=False)


def _index_array(source, what):
    source = np.asarray(source.asnumpy() if isinstance(source, NDArray) else source)
    if source.size and not np.issubdtype(source.dtype, np.number):
        raise TypeError(f"{what} must be numbers, got dtype {source.dtype}")
    return source.astype(np.int64)


def _dense(source, ctx, dtype, shape=None):
    from .ndarray import array as dense_array
    if isinstance(source, NDArray):
        return source if dtype is None else source.astype(dtype, copy=False)
    if dtype is None and isinstance(source, np.ndarray):
        dtype = source.dtype
    result = dense_array(source, ctx=ctx, dtype=dtype)
    return result if shape is None or result.shape == tuple(shape) else result.broadcast_to(shape)


def _from_parts(stype, shape, ctx, data, indices, indptr=None):
    parts = [np.ascontiguousarray(p.asnumpy() if isinstance(p, NDArray) else p) for p in (data, indices)]
    if indptr is not None:
        indptr = np.ascontiguousarray(indptr.asnumpy() if isinstance(indptr, NDArray) else indptr, dtype=np.int64)
    dtype = data.dtype
    return _ext.sparse_from_parts(stype, shape, dtype, ctx, parts[0], parts[1].astype(np.int64, copy=False), indptr)


def _unpickle(stype, shape, dtype, device_type, device_id, data, *parts):
    result = _from_parts(stype, shape, Context(device_type, device_id), data, *parts)
    return result if _ext.dtype_name(result.dtype) == dtype else result.astype(dtype)


def __getattr__(name):
    try:
        return _sparse(name)
    except AttributeError:
        return _plain(name)
