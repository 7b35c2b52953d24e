# SPDX-License-Identifier: Apache-2.0
"""Operators that work on what sparse arrays keep: storage types of results, values against dense arrays, gradients."""

import itertools

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, nd

RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((7, 5)) < 0.4, RNG.standard_normal((7, 5)), 0).astype("float32")
DENSE[2] = 0
OTHER = np.where(RNG.random((7, 5)) < 0.4, RNG.standard_normal((7, 5)), 0).astype("float32")


KEEP_ZERO = ("abs", "sign", "round", "rint", "ceil", "floor", "trunc", "fix", "square", "cbrt", "relu", "sin", "tan",
             "arctan", "sinh", "tanh", "arcsinh", "degrees", "radians", "expm1", "negative", "BlockGrad", "zeros_like")


@pytest.fixture(autouse=True)
def no_dense_copies(capfd):
    """None of these calls may say that it ran on dense copies."""
    yield
    assert "dense copies" not in capfd.readouterr().err


def make(values, stype):
    return nd.array(values).tostype(stype) if stype != "default" else nd.array(values)


def check(result, stype, expected, rtol=1e-5):
    assert result.stype == stype
    if stype != "default":
        result.check_format()
    np.testing.assert_allclose(result.asnumpy(), expected, rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("stype", ["csr", "row_sparse"])
@pytest.mark.parametrize("name", KEEP_ZERO)
def test_functions_that_keep_zero(name, stype):
    function = getattr(nd, name)
    check(function(make(DENSE, stype)), stype, function(nd.array(DENSE)).asnumpy())


def test_functions_with_a_smaller_domain():
    half = np.abs(DENSE) / 4
    for name in ("sqrt", "arcsin", "arctanh", "log1p"):
        check(getattr(nd, name)(make(half, "csr")), "csr", getattr(nd, name)(nd.array(half)).asnumpy())


@pytest.mark.parametrize("name", ["square", "sin", "relu", "negative", "log1p"])
def test_gradient_keeps_the_rows_of_its_head(name):
    """Rows of the head meet x where x keeps a row, and zero elsewhere."""
    x = make(np.abs(DENSE), "row_sparse")
    x.attach_grad()
    picked = nd.sparse.csr_matrix(([1.0, 2.0], [1, 4], [0, 1, 2]), shape=(2, 7))
    with autograd.record():
        y = nd.dot(picked, getattr(nd, name)(x))
    y.backward()
    dense = nd.array(np.abs(DENSE))
    dense.attach_grad()
    with autograd.record():
        y = nd.dot(nd.array(picked.asnumpy()), getattr(nd, name)(dense))
    y.backward()
    check(x.grad, "row_sparse", dense.grad.asnumpy())
    assert x.grad.indices.asnumpy().tolist() == [1, 4]


@pytest.mark.parametrize("stype", ["csr", "row_sparse"])
def test_scalars(stype):
    x = make(DENSE, stype)
    check(x * 2, stype, DENSE * 2)
    check(x / 4, stype, DENSE / 4)
    check(x > 0.5, stype, DENSE > 0.5)
    check(x < 0, stype, DENSE < 0)
    check(x != 0, stype, DENSE != 0)
    check(x == 1, stype, DENSE == 1)
    nd.square(x, out=x)
    check(x, stype, DENSE**2)


@pytest.mark.parametrize("stype", ["csr", "row_sparse"])
def test_two_sparse_arrays(stype):
    a, b = make(DENSE, stype), make(OTHER, stype)
    check(nd.elemwise_add(a, b), stype, DENSE + OTHER)
    check(nd.elemwise_sub(a, b), stype, DENSE - OTHER)
    check(nd.elemwise_mul(a, b), stype, DENSE * OTHER)
    check(a + b, stype, DENSE + OTHER)
    nothing = nd.sparse.zeros(stype, a.shape)
    check(nd.elemwise_sub(nothing, a), stype, -DENSE)
    check(nd.elemwise_mul(a, nothing), stype, 0 * DENSE)
    nd.elemwise_sub(a, b, out=a)
    check(a, stype, DENSE - OTHER)


@pytest.mark.parametrize("stype", ["csr", "row_sparse"])
def test_sparse_times_dense(stype):
    check(nd.elemwise_mul(make(DENSE, stype), nd.array(OTHER)), stype, DENSE * OTHER)
    check(nd.elemwise_mul(nd.array(OTHER), make(DENSE, stype)), stype, DENSE * OTHER)


@pytest.mark.parametrize("shape", [(7, 5), (1, 5), (7, 1), (1, 1)])
def test_csr_with_an_array_that_is_repeated(shape):
    dense = RNG.uniform(0.5, 2, shape).astype("float32")
    check(nd.broadcast_mul(make(DENSE, "csr"), nd.array(dense)), "csr", DENSE * dense)
    check(nd.broadcast_div(make(DENSE, "csr"), nd.array(dense)), "csr", DENSE / dense)


def test_sums_of_csr():
    x = make(DENSE, "csr")
    check(x.sum(axis=0), "default", DENSE.sum(0))
    check(x.sum(axis=1), "default", DENSE.sum(1))
    check(nd.sum(x, axis=1, keepdims=True), "default", DENSE.sum(1, keepdims=True))
    check(x.sum(), "default", DENSE.sum(keepdims=True).reshape(1))
    check(x.mean(axis=1), "default", DENSE.mean(1))


def storage_of_dot(lhs, rhs, transpose_a, transpose_b):
    if lhs == "csr":
        return "row_sparse" if transpose_a and not transpose_b else "default"
    return "csr"


DOTS = [("csr", "default", a, b) for a, b in itertools.product([False, True], repeat=2)]
DOTS += [("csr", "row_sparse", False, False), ("csr", "row_sparse", True, False)]
DOTS += [("default", "csr", False, False), ("default", "csr", False, True)]


@pytest.mark.parametrize("lhs,rhs,transpose_a,transpose_b", DOTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dot(lhs, rhs, transpose_a, transpose_b, dtype):
    a = DENSE.astype(dtype) if lhs == "csr" else RNG.standard_normal((4, 5 if transpose_b else 7)).astype(dtype)
    k = a.shape[0 if transpose_a else 1]
    b = DENSE.astype(dtype) if rhs == "csr" else RNG.standard_normal((3, k) if transpose_b else (k, 3)).astype(dtype)
    if rhs == "row_sparse":
        b[::2] = 0
    expected = (a.T if transpose_a else a) @ (b.T if transpose_b else b)
    arguments = [nd.array(x, dtype=dtype).tostype(s) if s != "default" else nd.array(x, dtype=dtype)
                 for x, s in ((a, lhs), (b, rhs))]
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    check(nd.dot(*arguments, **options), storage_of_dot(lhs, rhs, transpose_a, transpose_b), expected)
    check(nd.dot(*arguments, forward_stype="default", **options), "default", expected)
    check(nd.sparse.dot(*arguments, **options), storage_of_dot(lhs, rhs, transpose_a, transpose_b), expected)


def test_dot_with_a_vector():
    v = RNG.standard_normal(5).astype("float32")
    check(nd.dot(make(DENSE, "csr"), nd.array(v)), "default", DENSE @ v)


def test_dot_of_many_columns_and_few_elements():
    """The elements are sorted where counting them by column would cost more."""
    columns = 1_000_000
    x = nd.sparse.csr_matrix((np.array([1.0, 2, 3], "f"), [5, 999_999, 5], [0, 2, 3]), shape=(2, columns))
    y = nd.array([[1.0, 2], [3, 4]])
    result = nd.dot(x, y, transpose_a=True)
    assert result.stype == "row_sparse" and result.indices.asnumpy().tolist() == [5, 999_999]
    np.testing.assert_array_equal(result.data.asnumpy(), [[10, 14], [2, 4]])


@pytest.mark.parametrize("stype", ["default", "row_sparse"])
@pytest.mark.parametrize("transpose", [False, True])
def test_gradient_of_dot(stype, transpose):
    x = make(DENSE, "csr")
    w = nd.array(RNG.standard_normal((7 if transpose else 5, 3)))
    w.attach_grad(stype=stype if not transpose else None)
    head = RNG.standard_normal((5 if transpose else 7, 3)).astype("float32")
    with autograd.record():
        y = nd.dot(x, w, transpose_a=transpose, forward_stype="default")
    y.backward(nd.array(head))
    check(w.grad, "default" if transpose else stype, (DENSE if transpose else DENSE.T) @ head)


def test_factorization_machine_trains_without_dense_gradients():
    """Linear and pairwise terms of sparse features; weights and gradients are row_sparse."""
    mx.random.seed(0)
    rng = np.random.default_rng(3)
    features, factors, rows = 200, 4, 64
    chosen = np.stack([np.sort(rng.choice(features, 6, replace=False)) for _ in range(rows)])
    x = nd.sparse.csr_matrix((np.ones(rows * 6, "f"), chosen.ravel(), np.arange(rows + 1) * 6), shape=(rows, features))
    effect = rng.standard_normal(features)
    target = nd.array((effect[chosen].sum(1) > 0).astype("f"))
    w = nd.zeros((features, 1)).tostype("row_sparse")
    v = nd.array(rng.standard_normal((features, factors)) * 0.01).tostype("row_sparse")
    for p in (w, v):
        p.attach_grad()
    adam = mx.optimizer.Adam(learning_rate=0.05)
    states = [adam.create_state(i, p) for i, p in enumerate((w, v))]
    losses = []
    for _ in range(60):
        with autograd.record():
            linear = nd.dot(x, w).reshape((-1,))
            pairs = 0.5 * (nd.square(nd.dot(x, v)).sum(axis=1) - nd.dot(nd.square(x), nd.square(v)).sum(axis=1))
            score = linear + pairs
            loss = nd.relu(score) - score * target + nd.log(1 + nd.exp(-nd.abs(score)))
        loss.backward()
        assert w.grad.stype == v.grad.stype == "row_sparse"
        for i, p in enumerate((w, v)):
            adam.update(i, p, p.grad, states[i])
        losses.append(float(loss.mean().asscalar()))
    assert losses[-1] < 0.1 < 0.6 < losses[0]


def classifier(features):
    data, weight = mx.sym.var("data", stype="csr"), mx.sym.var("weight", stype="row_sparse", shape=(features, 2))
    scores = mx.sym.broadcast_add(mx.sym.sparse.dot(data, weight), mx.sym.var("bias", shape=(2,)))
    return mx.sym.SoftmaxOutput(scores, mx.sym.var("softmax_label"), name="softmax")


def test_executor_with_sparse_arguments():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 7)
    executor = classifier(5).simple_bind(mx.cpu(), data=(7, 5), softmax_label=(7,),
                                         grad_req={"weight": "write", "bias": "write"})
    assert executor.arg_dict["data"].stype == "csr" and executor.grad_dict["weight"].stype == "row_sparse"
    weight = rng.standard_normal((5, 2)).astype("f")
    executor.arg_dict["weight"][:] = nd.array(weight)
    (out,) = executor.forward(is_train=True, data=make(DENSE, "csr"), softmax_label=nd.array(labels))
    executor.backward()
    expected = np.exp(DENSE @ weight)
    expected /= expected.sum(1, keepdims=True)
    check(out, "default", expected)
    check(executor.grad_dict["weight"], "row_sparse", DENSE.T @ (expected - np.eye(2)[labels]))
    with pytest.raises(ValueError, match="storage type"):
        classifier(5).simple_bind(mx.cpu(), data=(7, 5), softmax_label=(7,), stype_dict={"bias": "compressed"})


@pytest.mark.parametrize("shuffle", [False, True])
def test_module_trains_on_csr_batches(shuffle):
    rng = np.random.default_rng(6)
    np.random.seed(2)
    x = np.where(rng.random((200, 50)) < 0.1, rng.standard_normal((200, 50)), 0).astype("f")
    y = (x @ rng.standard_normal(50) > 0).astype("f")
    batches = mx.io.NDArrayIter(make(x, "csr"), y, batch_size=20, shuffle=shuffle, last_batch_handle="discard",
                                label_name="softmax_label")
    batch = next(batches)
    assert batch.data[0].stype == "csr" and batch.data[0].shape == (20, 50)
    module = mx.mod.Module(classifier(50), context=mx.cpu())
    batches.reset()
    module.fit(batches, num_epoch=20, optimizer="adagrad", optimizer_params={"learning_rate": 0.5},
               initializer=mx.init.Normal(0.01))
    batches.reset()
    assert dict(module.score(batches, "acc"))["accuracy"] > 0.97


def test_rows_of_csr():
    x = make(DENSE, "csr")
    check(x[2:5], "csr", DENSE[2:5])
    check(x[-1], "csr", DENSE[-1:])
    check(x[3:3], "csr", DENSE[3:3])
    check(x._take_rows([6, 0, 6]), "csr", DENSE[[6, 0, 6]])
    with pytest.raises(IndexError):
        x._take_rows([7])


@pytest.mark.parametrize("call", [
    lambda x: nd.dot(x, nd.ones((4, 2))),
    lambda x: nd.elemwise_mul(x, nd.ones((7, 4))),
])
def test_shapes_that_do_not_fit(call):
    with pytest.raises((mx.MXNetError, ValueError)):
        call(make(DENSE, "csr")).asnumpy()


def test_files(tmp_path):
    arrays = {"c": make(DENSE, "csr"), "r": make(DENSE, "row_sparse"), "d": nd.array(DENSE),
              "none": nd.sparse.zeros("csr", (2, 3)), "rows": nd.sparse.zeros("row_sparse", (2, 3, 4), dtype="float64")}
    nd.save(str(tmp_path / "a.nd"), arrays)
    loaded = nd.load(str(tmp_path / "a.nd"))
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        check(loaded[name], array.stype, array.asnumpy())


def test_broken_files(tmp_path):
    """Any byte of a file may be wrong: an error or an array that holds what it says, never a crash."""
    path = str(tmp_path / "a.nd")
    nd.save(path, [make(DENSE, "csr"), make(DENSE, "row_sparse")])
    good = (tmp_path / "a.nd").read_bytes()
    for at in range(len(good)):
        for value in (0, 255, good[at] ^ 1):
            (tmp_path / "a.nd").write_bytes(good[:at] + bytes([value]) + good[at + 1:])
            try:
                for array in nd.load(path):
                    if array is not None and array.size < 1e6:
                        array.asnumpy()
            except (mx.MXNetError, ValueError, MemoryError):
                pass
    for size in range(0, len(good), 7):
        (tmp_path / "a.nd").write_bytes(good[:size])
        with pytest.raises((mx.MXNetError, ValueError)):
            nd.load(path)


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("columns", [7, 700])
def test_dense_gradient_of_a_csr_operand(transpose, columns):
    rng = np.random.default_rng(columns)
    a = np.where(rng.random((40, columns)) < 0.3, rng.standard_normal((40, columns)), 0).astype("float32")
    b = rng.standard_normal((40 if transpose else columns, 5)).astype("float32")
    head = rng.standard_normal((columns if transpose else 40, 5)).astype("float32")
    data, weight = nd.array(a).tostype("csr"), nd.array(b)
    data.attach_grad(stype="default")
    weight.attach_grad()
    with autograd.record():
        out = nd.dot(data, weight, transpose_a=transpose, forward_stype="default")
    out.backward(nd.array(head))
    np.testing.assert_allclose(out.asnumpy(), (a.T if transpose else a) @ b, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(data.grad.asnumpy(), b @ head.T if transpose else head @ b.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(weight.grad.asnumpy(), (a if transpose else a.T) @ head, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stype", ["csr", "row_sparse"])
@pytest.mark.parametrize("order", [1, 2])
def test_norm_of_all_elements(stype, order):
    wide = np.where(RNG.random((300, 250)) < 0.5, RNG.standard_normal((300, 250)), 0).astype("float32")
    for values in (DENSE, wide, np.zeros((3, 2), "float32")):
        expected = np.abs(values).sum() if order == 1 else np.sqrt(np.square(values.astype("float64")).sum())
        check(nd.norm(make(values, stype), ord=order), "default", [expected])
        assert nd.norm(make(values, stype), ord=order, keepdims=True).shape == (1, 1)


@pytest.mark.parametrize("stype", ["csr", "row_sparse"])
def test_sums_where_one_side_ends_first(stype):
    left, right = np.zeros((6, 9), "float32"), np.zeros((6, 9), "float32")
    left[1, :4], right[1, 2:] = 1, 2
    left[3], right[5, 8] = 3, 4
    for op in (np.add, np.subtract, np.multiply):
        name = {"add": "elemwise_add", "subtract": "elemwise_sub", "multiply": "elemwise_mul"}[op.__name__]
        for a, b in ((left, right), (right, left)):
            check(getattr(nd, name)(make(a, stype), make(b, stype)), stype, op(a, b))
