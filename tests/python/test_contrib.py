# SPDX-License-Identifier: Apache-2.0
"""Operators of src/ops/contrib that the records cannot call: given outputs, csr arrays, auxiliary states."""

import numpy as np
import pytest

import mxnet as mx


def test_set_value():
    for dtype in ("float32", "float16", "int32", "uint8"):
        a = mx.nd.zeros((2, 3), dtype=dtype)
        assert mx.nd._internal._set_value(src=5, out=a) is a
        assert (a.asnumpy() == 5).all()
    with pytest.raises(mx.MXNetError, match="_set_value"):
        mx.nd._internal._set_value(src=5)


def test_onehot_encode():
    a = mx.nd.zeros((2, 3))
    assert mx.nd.onehot_encode(mx.nd.array([2, 1]), a) is a
    np.testing.assert_array_equal(a.asnumpy(), [[0, 0, 1], [0, 1, 0]])


def matrix():
    return mx.nd.array([[1, 0, 2], [0, 0, 3], [0, 0, 0]]).tostype("csr")


@pytest.mark.parametrize("axis,want", [(None, [3]), (1, [2, 1, 0]), (0, [1, 0, 2])])
def test_getnnz(axis, want):
    got = mx.nd.contrib.getnnz(matrix(), axis=axis)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got.asnumpy(), want)
    np.testing.assert_array_equal(
        mx.nd.contrib.getnnz(mx.nd.zeros((3, 3)).tostype("csr"), axis=axis).asnumpy().sum(), 0
    )


def test_edge_id():
    u, v = mx.nd.array([0, 0, 1, 1, 2, 9, -1]), mx.nd.array([0, 1, 2, 0, 2, 0, 0])
    np.testing.assert_array_equal(mx.nd.contrib.edge_id(matrix(), u, v).asnumpy(), [1, -1, 3, -1, -1, -1, -1])


@pytest.mark.parametrize("call", [lambda x: mx.nd.contrib.getnnz(x), lambda x: mx.nd.contrib.edge_id(x, x[0], x[0])])
def test_only_csr(call):
    with pytest.raises(mx.MXNetError, match="csr"):
        call(mx.nd.ones((3, 3))).wait_to_read()


def test_sparse_regularization():
    data = np.array([[0.2, 0.5, 0.1], [0.4, 0.1, 0.3]], np.float32)
    symbol = mx.sym.IdentityAttachKLSparseReg(mx.sym.var("a"), sparseness_target=0.2, penalty=0.01, name="k")
    assert symbol.list_auxiliary_states() == ["k_moving_avg"]
    run = symbol.simple_bind(mx.cpu(), a=(2, 3))
    run.arg_dict["a"][:] = data
    average = np.zeros(3)
    for _ in range(3):
        run.forward(is_train=True)
        run.backward(mx.nd.ones((2, 3)))
        average = 0.9 * average + 0.1 * data.mean(0)
        np.testing.assert_array_equal(run.outputs[0].asnumpy(), data)
        np.testing.assert_allclose(run.aux_arrays[0].asnumpy(), average, rtol=1e-6)
        slope = 1 + 0.01 * (-0.2 / average + 0.8 / (1 - average))
        np.testing.assert_allclose(run.grad_dict["a"].asnumpy(), np.broadcast_to(slope, (2, 3)), rtol=1e-6)
    run.forward(is_train=False)
    np.testing.assert_allclose(run.aux_arrays[0].asnumpy(), average, rtol=1e-6)


def test_sparse_embedding():
    weight = mx.nd.array(np.arange(12).reshape(4, 3))
    weight.attach_grad(stype="row_sparse")
    with mx.autograd.record():
        out = mx.nd.contrib.SparseEmbedding(mx.nd.array([1, 3, 1]), weight, input_dim=4, output_dim=3)
    out.backward()
    np.testing.assert_array_equal(out.asnumpy(), weight.asnumpy()[[1, 3, 1]])
    assert weight.grad.stype == "row_sparse"
    np.testing.assert_array_equal(weight.grad.indices.asnumpy(), [1, 3])
