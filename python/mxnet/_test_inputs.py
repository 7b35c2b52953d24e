# SPDX-License-Identifier: Apache-2.0
"""Inputs of tests: random shapes, arrays of each storage type, matrices; see `mxnet.test_utils`."""
from __future__ import annotations

import numpy as np

from . import ndarray as nd

__all__ = ["assign_each", "assign_each2", "create_2d_tensor", "create_sparse_array", "create_sparse_array_zd",
           "create_vector", "default_dtype", "get_identity_mat", "get_identity_mat_batch",
           "new_matrix_with_real_eigvals_2d", "new_matrix_with_real_eigvals_nd", "new_orthonormal_matrix_2d",
           "new_sym_matrix_with_real_eigvals_2d", "new_sym_matrix_with_real_eigvals_nd", "rand_coord_2d",
           "rand_ndarray", "rand_shape_2d", "rand_shape_3d", "rand_shape_nd", "rand_sparse_ndarray", "random_arrays",
           "random_sample", "random_uniform_arrays", "shuffle_csr_column_indices"]


def default_dtype():
    """The dtype of tests."""
    return np.float32


# --- shapes and dense arrays

def rand_shape_2d(dim0=10, dim1=10, allow_zero_size=False):
    """A random shape of two dimensions, each up to its limit."""
    low = 0 if allow_zero_size else 1
    return tuple(int(np.random.randint(low, dim + 1)) for dim in (dim0, dim1))


def rand_shape_3d(dim0=10, dim1=10, dim2=10, allow_zero_size=False):
    """A random shape of three dimensions, each up to its limit."""
    low = 0 if allow_zero_size else 1
    return tuple(int(np.random.randint(low, dim + 1)) for dim in (dim0, dim1, dim2))


def rand_shape_nd(num_dim, dim=10, allow_zero_size=False):
    """A random shape of `num_dim` dimensions up to `dim`."""
    return tuple(np.random.randint(0 if allow_zero_size else 1, dim + 1, size=num_dim).tolist())


def rand_coord_2d(x_low, x_high, y_low, y_high):
    """A random point (x, y) with x in [x_low, x_high) and y in [y_low, y_high)."""
    return np.random.randint(x_low, x_high), np.random.randint(y_low, y_high)


def random_arrays(*shapes):
    """Arrays of normal numbers, float32: a list, or one array for one shape."""
    arrays = [np.asarray(np.random.normal(size=shape)).astype(default_dtype()) for shape in shapes]
    return arrays[0] if len(arrays) == 1 else arrays


def random_uniform_arrays(*shapes, **kwargs):
    """Arrays of uniform numbers in [low, high) of `dtype`: a list."""
    low, high = kwargs.pop("low", 0.0), kwargs.pop("high", 1.0)
    dtype = kwargs.pop("dtype", default_dtype())
    if kwargs:
        raise TypeError(f'Got unexpected argument/s : {", ".join(kwargs)}')
    return [np.random.uniform(low, high, size=shape).astype(dtype) for shape in shapes]


def random_sample(population, k):
    """`k` different items, in random order."""
    items = list(population)
    return [items[i] for i in np.random.permutation(len(items))[:k]]


def create_vector(size, dtype=np.int64):
    """0, 1, ... `size` - 1."""
    return nd.arange(0, size, dtype=dtype)


def create_2d_tensor(rows, columns, dtype=np.int64):
    """Row i is full of i."""
    return nd.broadcast_to(nd.arange(0, rows, dtype=dtype).reshape((rows, 1)), shape=(rows, columns))


def assign_each(the_input, function):
    """An array of `function(element)`."""
    the_input = np.asarray(the_input)
    if function is None:
        return np.array(the_input)
    return np.vectorize(function, otypes=[float])(the_input)


def assign_each2(input1, input2, function):
    """An array of `function(element1, element2)`."""
    if function is None:
        return np.array(input1)
    if np.shape(input1) != np.shape(input2):
        raise AssertionError(f"assign_each2: shapes {np.shape(input1)} and {np.shape(input2)} differ")
    return np.vectorize(function, otypes=[float])(input1, input2)


def rand_ndarray(shape, stype="default", density=None, dtype=None, modifier_func=None, shuffle_csr_indices=False,
                 distribution=None, ctx=None):
    """A random array: dense ones are normal, or uniform in [-1, 1); see `rand_sparse_ndarray` for the others.

    Dense arrays heed `distribution='uniform'` and `modifier_func` (1.9.1 forgets both).
    """
    if stype != "default":
        return rand_sparse_ndarray(shape, stype, density=density, dtype=dtype, modifier_func=modifier_func,
                                   shuffle_csr_indices=shuffle_csr_indices, distribution=distribution, ctx=ctx)[0]
    values = np.random.uniform(-1.0, 1.0, size=shape) if distribution == "uniform" else np.random.normal(size=shape)
    if modifier_func is not None:
        values = assign_each(values, modifier_func)
    return nd.array(values, dtype=dtype or default_dtype(), ctx=ctx)


# --- sparse arrays

def rand_sparse_ndarray(shape, stype, density=None, dtype=None, distribution=None, data_init=None, rsp_indices=None,
                        modifier_func=None, shuffle_csr_indices=False, ctx=None):
    """A random sparse array.

    Parameters
    ----------
    shape : tuple
    stype : {'csr', 'row_sparse'}
    density : float, optional
        The part of the elements that a csr array keeps, or the probability that a row_sparse one keeps a row; random by
        default.
    dtype : numpy.dtype, optional
    distribution : {'uniform', 'powerlaw'}
        Of 'powerlaw', for csr alone, the rows keep 2, 4, 8, ... elements at their left, and all the others 1 when these
        are spent; the values are uniform in [1, 3). Otherwise values are uniform in [0, 1).
    data_init : float, optional
        The value of all elements that are kept.
    rsp_indices : array, optional
        The rows that a row_sparse array keeps.
    modifier_func : callable, optional
        From a value to the one that takes its place.
    shuffle_csr_indices : bool
        Whether the columns of each row are given in random order; the array puts them in order.
    ctx : Context, optional

    Returns (array, its parts): (values, indices) as NumPy arrays for row_sparse, (indptr, indices, values) as NDArrays
    for csr. ValueError if a density is impossible. `modifier_func` works for both (1.9.1 forgets it for csr), and
    `rsp_indices` are put in order.
    """
    density = np.random.rand() if density is None else density
    dtype = default_dtype() if dtype is None else dtype
    distribution = "uniform" if distribution is None else distribution
    if stype == "row_sparse":
        return _rand_row_sparse(shape, density, dtype, distribution, data_init, rsp_indices, modifier_func, ctx)
    if stype != "csr":
        raise AssertionError(f"unknown storage type {stype!r}: there are 'csr' and 'row_sparse'")
    if len(shape) != 2:
        raise AssertionError(f"a csr array has two dimensions, got the shape {tuple(shape)}")
    if distribution not in ("uniform", "powerlaw"):
        raise AssertionError(f"Distribution not supported: {distribution}")
    kept = _uniform_columns(shape, density) if distribution == "uniform" else _powerlaw_columns(shape, density)
    if shuffle_csr_indices:
        kept = [np.random.permutation(columns) for columns in kept]
    indptr = np.cumsum([0, *map(len, kept)])
    indices = np.concatenate(kept).astype(np.int64)
    values = np.random.uniform(0.0, 1.0, size=indices.size) if distribution == "uniform" else \
        np.random.uniform(1.0, 3.0, size=indices.size)
    values = _final(values, data_init, modifier_func, dtype)
    array = nd.sparse.csr_matrix((values, indices, indptr), shape=tuple(shape), ctx=ctx, dtype=dtype)
    return array, (array.indptr, array.indices, array.data)


def _final(values, data_init, modifier_func, dtype):
    if data_init is not None:
        values = np.full(values.shape, data_init, dtype=np.float64)
    if modifier_func is not None and values.size:
        values = assign_each(values, modifier_func)
    return values.astype(dtype)


def _rand_row_sparse(shape, density, dtype, distribution, data_init, rsp_indices, modifier_func, ctx):
    if distribution != "uniform":
        raise AssertionError(f"Distribution {distribution} not supported for row_sparse")
    if rsp_indices is None:
        indices = np.flatnonzero(np.random.rand(shape[0]) < density)
    else:
        indices = np.unique(np.asarray(rsp_indices, dtype=np.int64))
        if indices.size and not 0 <= indices[0] <= indices[-1] < shape[0]:
            raise AssertionError(f"rsp_indices must lie in [0, {shape[0]}), got {rsp_indices}")
    values = _final(np.random.rand(indices.size, *shape[1:]), data_init, modifier_func, dtype)
    array = nd.sparse.row_sparse_array((values, indices), shape=tuple(shape), ctx=ctx, dtype=dtype)
    return array, (values, indices)


def _uniform_columns(shape, density):
    """For each row the columns of a random choice of all elements, in order."""
    if not 0 <= density <= 1:
        raise ValueError(f"density has to be between 0 and 1, got {density}")
    rows, columns = shape
    size = rows * columns
    chosen = np.sort(np.random.choice(size, int(round(density * size)), replace=False)) if size else np.empty(0, int)
    bounds = np.searchsorted(chosen, np.arange(rows + 1) * columns)
    return [chosen[bounds[row]:bounds[row + 1]] - row * columns for row in range(rows)]


def _powerlaw_columns(shape, density):
    """For each row its first columns: one for each, then twice as many in each row as in the one before."""
    rows, columns = shape
    if rows < 1 or columns < 1:
        raise ValueError("num_rows or num_cols should be greater than 0")
    total = int(rows * columns * density)
    if total < 2 * rows:
        raise ValueError(f"not supported for this density: {density} for this shape {tuple(shape)}. Please keep: "
                         "num_rows * num_cols * density >= 2 * num_rows")
    left = total - rows
    counts = []
    for row in range(rows):
        more = min(min(2 ** (row + 1), columns) - 1, left)
        counts.append(1 + more)
        left -= more
    if left:
        raise ValueError(f"not supported for this density: {density} for this shape {tuple(shape)}: rows that double "
                         f"hold {total - left} elements, {total} are wanted")
    return [np.arange(count) for count in counts]


def create_sparse_array(shape, stype, data_init=None, rsp_indices=None, dtype=None, modifier_func=None, density=0.5,
                        shuffle_csr_indices=False):
    """A random sparse array alone; see `rand_sparse_ndarray`.

    `data_init` of 0 keeps every row of a row_sparse array that has no `rsp_indices`.
    """
    if stype not in ("csr", "row_sparse"):
        raise AssertionError(f"Unknown storage type: {stype}")
    if stype == "row_sparse" and rsp_indices is None and data_init is not None and data_init == 0:
        rsp_indices = np.arange(shape[0])
    return rand_sparse_ndarray(shape, stype, density=density, dtype=dtype, data_init=data_init, rsp_indices=rsp_indices,
                               modifier_func=modifier_func, shuffle_csr_indices=shuffle_csr_indices)[0]


def create_sparse_array_zd(shape, stype, density, data_init=None, rsp_indices=None, dtype=None, modifier_func=None,
                           shuffle_csr_indices=False):
    """`create_sparse_array` with the density as an argument by place; given `rsp_indices` decide alone."""
    return create_sparse_array(shape, stype, data_init=data_init, rsp_indices=rsp_indices, dtype=dtype,
                               modifier_func=modifier_func, density=density, shuffle_csr_indices=shuffle_csr_indices)


def shuffle_csr_column_indices(csr):
    """Put the column numbers of each row of a SciPy csr matrix in random order, in place; values stay in place."""
    for begin, end in zip(csr.indptr[:-1], csr.indptr[1:]):
        np.random.shuffle(csr.indices[begin:end])


# --- matrices

def get_identity_mat(size):
    """The identity matrix, float32."""
    return nd.array(np.eye(size), dtype=np.float32)


def get_identity_mat_batch(size):
    """Two identity matrices, float32: (2, size, size)."""
    return nd.array(np.stack([np.eye(size)] * 2), dtype=np.float32)


def new_orthonormal_matrix_2d(n):
    """A random orthonormal matrix, float64: (n, n)."""
    return np.linalg.qr(np.random.normal(size=(n, n)))[0]


def _eigenvalues(n):
    """Between 1 and 10 in size, of either sign."""
    return np.random.uniform(1.0, 10.0, size=n) * np.random.choice([-1.0, 1.0], size=n)


def new_matrix_with_real_eigvals_2d(n):
    """A random matrix with real eigenvalues of at most 10 in size, float64: (n, n).

    Q·R·Qᵀ with an orthonormal Q and a triangular R that has them on its diagonal: well conditioned.
    """
    basis = new_orthonormal_matrix_2d(n)
    triangle = np.triu(np.random.uniform(-1.0, 1.0, size=(n, n)), 1) + np.diag(_eigenvalues(n))
    return basis @ triangle @ basis.T


def new_sym_matrix_with_real_eigvals_2d(n):
    """A random symmetric matrix with eigenvalues of at most 10 in size, float64: (n, n)."""
    basis = new_orthonormal_matrix_2d(n)
    matrix = (basis * _eigenvalues(n)) @ basis.T
    return (matrix + matrix.T) / 2


def _batch(shape, make):
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(f"square matrices have two last sizes that are equal, got the shape {tuple(shape)}")
    count = int(np.prod(shape[:-2]))
    return np.array([make(shape[-1]) for _ in range(count)]).reshape(shape)


def new_matrix_with_real_eigvals_nd(shape):
    """Matrices of `new_matrix_with_real_eigvals_2d` in an array of `shape`, (..., n, n)."""
    return _batch(shape, new_matrix_with_real_eigvals_2d)


def new_sym_matrix_with_real_eigvals_nd(shape):
    """Matrices of `new_sym_matrix_with_real_eigvals_2d` in an array of `shape`, (..., n, n)."""
    return _batch(shape, new_sym_matrix_with_real_eigvals_2d)
