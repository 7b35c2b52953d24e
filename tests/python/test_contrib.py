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


def test_updates_of_lists():
    def arrays():
        return [[mx.nd.array(v)] for v in ([1, 2.0], [0.5, 1], [0, 0], [0, 0])]

    weight, grad, mean, var = arrays()
    mx.nd.contrib.multi_adamw_update(weight, grad, mean, var, 2.0, lrs=[0.1], wds=[0.1], etas=[0.5], out=weight)
    np.testing.assert_allclose(weight[0].asnumpy(), [0.7919, 1.7419], atol=1e-4)
    (weight,), (grad,), (mean,), (var,) = arrays()
    mx.nd.contrib.adamw_update(weight, grad, mean, var, mx.nd.array([2.0]), lr=0.1, wd=0.1, eta=0.5, out=weight)
    np.testing.assert_allclose(weight.asnumpy(), [0.7919, 1.7419], atol=1e-4)
    weight, grad, mean, var = arrays()
    mx.nd.contrib.multi_lamb_update(weight, grad, mean, var, [1], lrs=[0.1], wds=[0.1], out=weight)
    np.testing.assert_allclose(weight[0].asnumpy(), [0.8489, 1.8352], atol=1e-4)
    half = [weight[0].astype("float16")]
    mx.nd.contrib.multi_mp_lamb_update(half, [grad[0].astype("float16")], mean, var, weight, [2], [0.1], [0], out=half)
    np.testing.assert_allclose(half[0].asnumpy(), weight[0].asnumpy(), rtol=1e-3)
    with pytest.raises(ValueError, match="as many gradients"):
        mx.nd.contrib.multi_lamb_update(weight, [], mean, var, [1], [0.1], [0.1], out=weight)


@pytest.mark.parametrize("symbolic", [False, True])
def test_rand_zipfian(symbolic):
    true = mx.nd.array([3, 0])
    if symbolic:
        outs = (
            mx.sym.Group(mx.sym.contrib.rand_zipfian(mx.sym.var("t"), 2000, 50)).bind(mx.cpu(), {"t": true}).forward()
        )
    else:
        outs = mx.nd.contrib.rand_zipfian(true, 2000, 50)
    sampled, expected_true, expected_sampled = (o.asnumpy() for o in outs)
    assert sampled.dtype == np.int64 and sampled.shape == (2000,) and ((sampled >= 0) & (sampled < 50)).all()
    np.testing.assert_allclose(expected_true, np.log([5 / 4, 2]) / np.log(51) * 2000, rtol=1e-6)
    np.testing.assert_allclose(expected_sampled, np.log((sampled + 2) / (sampled + 1)) / np.log(51) * 2000, rtol=1e-6)
    assert abs((sampled == 0).sum() - expected_true[1]) < 150
