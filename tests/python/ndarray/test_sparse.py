# SPDX-License-Identifier: Apache-2.0
"""Sparse arrays as values: making, reading, converting, arithmetic. Facts without a word are those of release 1.9.1."""

import copy
import pickle

import numpy as np
import pytest

import mxnet as mx
from mxnet import nd

sparse = nd.sparse
ROWS = np.array([[0, 0], [1, 2], [0, 0], [3, 4], [0, 0]], "f")
MATRIX = np.array([[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 0]], "f")


def rows():
    return sparse.row_sparse_array(([[1, 2], [3, 4]], [1, 3]), shape=(5, 2))


def matrix():
    return sparse.csr_matrix(([1, 2, 3], [0, 2, 1], [0, 2, 2, 3]), shape=(3, 4))


def same(array, stype, values, dtype="float32"):
    assert (array.stype, array.shape, np.dtype(array.dtype)) == (stype, np.shape(values), np.dtype(dtype))
    np.testing.assert_array_equal(array.asnumpy(), np.asarray(values, dtype))
    if stype != "default":
        array.check_format()


def test_parts():
    r, c = rows(), matrix()
    assert type(r) is sparse.RowSparseNDArray and isinstance(r, sparse.BaseSparseNDArray) and isinstance(r, nd.NDArray)
    assert repr(r) == "\n<RowSparseNDArray 5x2 @cpu(0)>" and repr(c) == "\n<CSRNDArray 3x4 @cpu(0)>"
    same(r, "row_sparse", ROWS)
    same(c, "csr", MATRIX)
    assert r.indices.asnumpy().tolist() == [1, 3] and r.indices.dtype is np.int64
    assert (c.data.asnumpy().tolist(), c.indices.asnumpy().tolist(), c.indptr.asnumpy().tolist()) == (
        [1, 2, 3], [0, 2, 1], [0, 2, 2, 3])
    r.data[:] = 9  # a copy
    same(r, "row_sparse", ROWS)
    assert len(r) == 5 and r.ndim == 2 and r.context == mx.cpu() and r.writable
    assert r._num_aux == 1 and c._num_aux == 2 and c._aux_data(0).shape == (4,)
    r.wait_to_read()


def test_zeros_keep_nothing():
    z = sparse.zeros("row_sparse", (5, 2))
    assert z.data.shape == (0, 2) and z.indices.shape == (0,)
    same(z, "row_sparse", np.zeros((5, 2)))
    assert nd.zeros((2, 2), stype="csr").indptr.asnumpy().tolist() == [0, 0, 0]
    assert nd.empty((2, 3), stype="row_sparse").stype == "row_sparse"
    assert sparse.zeros("csr", (2, 2), dtype="float64").dtype is np.float64
    same(sparse.zeros_like(rows()), "row_sparse", np.zeros((5, 2)))
    before = mx.storage.stats()["in_use"] if hasattr(mx, "storage") else 0
    huge = sparse.zeros("row_sparse", (1 << 40, 8))  # 2^45 bytes, were it dense
    assert huge.shape == (1 << 40, 8)
    if before:
        assert mx.storage.stats()["in_use"] - before < 1 << 16


def test_making():
    unsorted = sparse.row_sparse_array(([[1, 2], [3, 4]], [3, 1]), shape=(5, 2))
    same(unsorted, "row_sparse", [[0, 0], [3, 4], [0, 0], [1, 2], [0, 0]])
    assert sparse.row_sparse_array(([[1, 2], [3, 4]], [1, 3])).shape == (4, 2)
    same(sparse.row_sparse_array(np.array([[0, 0], [1, 2]])), "row_sparse", [[0, 0], [1, 2]], "int64")
    same(sparse.row_sparse_array((4, 2)), "row_sparse", np.zeros((4, 2)))
    half = sparse.row_sparse_array((np.ones((2, 2)), np.array([0, 1], "int32")), shape=(3, 2))
    assert half.dtype is np.float64
    same(sparse.csr_matrix(([1, 2], ([0, 1], [1, 0])), shape=(2, 2), dtype="float32"), "csr", [[0, 1], [2, 0]])
    same(sparse.csr_matrix((3, 4)), "csr", np.zeros((3, 4)))
    same(sparse.csr_matrix(MATRIX), "csr", MATRIX)
    same(sparse.csr_matrix(([2, 1, 3], [2, 0, 1], [0, 2, 2, 3]), shape=(3, 4)), "csr", MATRIX)
    same(sparse.array(rows()), "row_sparse", ROWS)
    same(nd.array(rows(), dtype="float64"), "row_sparse", ROWS, "float64")
    with pytest.raises(ValueError, match="nd.array"):
        sparse.array(np.ones((2, 2)))
    scipy = pytest.importorskip("scipy.sparse")
    same(nd.array(scipy.csr_matrix(MATRIX)), "csr", MATRIX)
    assert (matrix().asscipy() != scipy.csr_matrix(MATRIX)).nnz == 0


@pytest.mark.parametrize("make, text", [
    (lambda: sparse.row_sparse_array(([[1, 2], [3, 4]], [1, 1]), shape=(5, 2)), "distinct"),
    (lambda: sparse.row_sparse_array(([[1, 2], [3, 4]], [1, 7]), shape=(5, 2)), "out of range"),
    (lambda: sparse.row_sparse_array(([[1, 2], [3, 4]], [-1, 2]), shape=(5, 2)), "out of range"),
    (lambda: sparse.row_sparse_array(([[1, 2], [3, 4]], [1, 3]), shape=(5, 3)), "do not fit"),
    (lambda: sparse.row_sparse_array(([[1, 2], [3, 4]], [1]), shape=(5, 2)), "one index"),
    (lambda: sparse.csr_matrix(([1, 2, 3], [0, 2, 1], [0, 2, 2, 4]), shape=(3, 4)), "indptr"),
    (lambda: sparse.csr_matrix(([1, 2, 3], [0, 2, 1], [0, 2, 1, 3]), shape=(3, 4)), "indptr"),
    (lambda: sparse.csr_matrix(([1, 2, 3], [0, 9, 1], [0, 2, 2, 3]), shape=(3, 4)), "out of range"),
    (lambda: sparse.csr_matrix(([1, 2, 3], [0, 2, 1], [0, 2, 3]), shape=(3, 4)), "indptr"),
    (lambda: sparse.zeros("abc", (2, 2)), "storage type"),
    (lambda: nd.ones((2, 2, 2)).tostype("csr"), "2 Dimensional"),
    (lambda: rows().tostype("csr"), "not supported"),
    (lambda: matrix().tostype("row_sparse"), "not supported"),
    (lambda: rows() + rows().astype("float64"), "dtype"),
    (lambda: rows().reshape((10,)), "not supported"),
    (lambda: rows()[1], "only supports"),
    (lambda: matrix()[::2], "continuous"),
    (lambda: matrix()[0, 1], "Multi-dimension"),
    (lambda: matrix()[3], "out of range"),
    (lambda: rows().__setitem__(1, 1), "only supports"),
    (lambda: rows().asscalar(), "not supported"),
    (lambda: memoryview(rows()), "buffer"),
    (lambda: rows().to_dlpack_for_read(), "DLPack"),
    (lambda: sparse.retain(rows(), nd.array([7])).asnumpy(), "out of range"),
])
def test_errors(make, text):
    with pytest.raises(Exception, match=text):
        make()
    nd.waitall()


def test_conversion():
    same(rows().tostype("default"), "default", ROWS)
    same(nd.array(ROWS).tostype("row_sparse"), "row_sparse", ROWS)
    assert nd.array(ROWS).tostype("row_sparse").indices.asnumpy().tolist() == [1, 3]
    same(nd.array(MATRIX).tostype("csr"), "csr", MATRIX)
    same(nd.array([0, 1, 0]).tostype("row_sparse"), "row_sparse", [0, 1, 0])
    same(nd.ones((2, 2, 2)).tostype("row_sparse"), "row_sparse", np.ones((2, 2, 2)))
    same(nd.cast_storage(nd.ones((2, 2)), "csr"), "csr", np.ones((2, 2)))
    assert rows().tostype("row_sparse") is not rows()
    for dtype in ("float16", "float64", "int32"):
        same(rows().astype(dtype), "row_sparse", ROWS, dtype)
        same(matrix().astype(dtype), "csr", MATRIX, dtype)
    r = rows()
    assert r.astype("float32", copy=False) is r


def test_copies():
    for array, values in ((rows(), ROWS), (matrix(), MATRIX)):
        stype = array.stype
        same(array.copy(), stype, values)
        same(copy.deepcopy(array), stype, values)
        same(pickle.loads(pickle.dumps(array)), stype, values)
        same(array.copyto(nd.zeros(values.shape)), "default", values)
        same(array.copyto(sparse.zeros(stype, values.shape)), stype, values)
        same(nd.array(values).copyto(sparse.zeros(stype, values.shape)), stype, values)
        same(array.copyto(mx.cpu(1)), stype, values)
        same(array.as_in_context(mx.cpu(0)), stype, values)


def test_assignment():
    r = rows()
    r[:] = sparse.zeros("row_sparse", (5, 2))
    same(r, "row_sparse", np.zeros((5, 2)))
    r[:] = 1
    same(r, "row_sparse", np.ones((5, 2)))
    assert r.indices.shape == (5,)
    r[:] = ROWS
    same(r, "row_sparse", ROWS)
    r[:] = nd.zeros((5, 2))
    assert r.indices.shape == (0,)
    r += rows()
    same(r, "row_sparse", ROWS)
    d = nd.zeros((5, 2))
    d[:] = r
    same(d, "default", ROWS)


def test_csr_rows():
    c = matrix()
    same(c[0], "csr", MATRIX[:1])
    same(c[-1], "csr", MATRIX[2:])
    same(c[1:3], "csr", MATRIX[1:3])
    same(c[2:2], "csr", MATRIX[2:2])
    assert c[:] is c and rows()[:].stype == "row_sparse"


def test_arithmetic():
    r, c, other = rows(), matrix(), sparse.row_sparse_array(([[1, 1], [5, 5]], [0, 3]), shape=(5, 2))
    same(r * 2, "row_sparse", ROWS * 2)
    same(2 * r, "row_sparse", ROWS * 2)
    same(r / 2, "row_sparse", ROWS / 2)
    same(-r, "row_sparse", -ROWS)
    same(c * 2, "csr", MATRIX * 2)
    same(r + r, "row_sparse", ROWS * 2)
    same(r + other, "row_sparse", ROWS + other.asnumpy())
    assert (r + other).indices.asnumpy().tolist() == [0, 1, 3]
    same(r - other, "row_sparse", ROWS - other.asnumpy())
    same(c + c, "csr", MATRIX * 2)
    same(nd.add_n(r, other, r), "row_sparse", 2 * ROWS + other.asnumpy())
    same(r + 1, "default", ROWS + 1)
    same(1 - r, "default", 1 - ROWS)
    same(r + nd.ones((5, 2)), "default", ROWS + 1)
    same(nd.add_n(r, nd.ones((5, 2))), "default", ROWS + 1)
    same(nd.sum(c, axis=0), "default", MATRIX.sum(0))
    same(nd.dot(c, nd.ones((4, 2))), "default", MATRIX @ np.ones((4, 2)))
    same(r == r, "default", np.ones((5, 2)))


def test_fallback_writes_back():
    """Outputs and states of operators without a sparse kernel come back in their own storage type."""
    r = rows()
    out = sparse.zeros("row_sparse", (5, 2))
    assert nd.square(r, out=out) is out
    same(out, "row_sparse", ROWS**2)
    momentum = sparse.zeros("row_sparse", (5, 2))
    weight = nd.array(ROWS)
    nd.sgd_mom_update(weight, nd.ones((5, 2)), momentum, lr=0.5, momentum=0.9, out=weight)
    same(momentum, "row_sparse", np.full((5, 2), -0.5))
    same(weight, "default", ROWS - 0.5)


def test_fallback_tells_once(capfd):
    for _ in range(2):
        nd.erf(rows()).wait_to_read()
    text = capfd.readouterr().err
    assert text.count("operator erf ") == 1 and "MXNET_STORAGE_FALLBACK_LOG_VERBOSE" in text


def test_retain():
    r = rows()
    same(r.retain(nd.array([1, 2])), "row_sparse", ROWS * [[0], [1], [0], [0], [0]])
    kept = sparse.retain(r, nd.array([3, 1, 3], dtype="int64"))
    assert kept.indices.asnumpy().tolist() == [1, 3]
    same(sparse.retain(r, nd.array([0])), "row_sparse", np.zeros((5, 2)))


def test_overlap_and_queue():
    """An output that is an input, and long chains: the parts of an array change in order."""
    r = rows()
    for _ in range(4):
        nd.elemwise_add(r, r, out=r)
    same(r, "row_sparse", ROWS * 16)
    nd.add_n(r, rows(), out=r)
    same(r, "row_sparse", ROWS * 17)
