# SPDX-License-Identifier: Apache-2.0
"""Training with row_sparse gradients. Facts without a word are those of release 1.9.1."""

import os
import subprocess
import sys

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd

sparse = nd.sparse
WEIGHT = np.arange(12, dtype="f").reshape(6, 2) + 1
IDS = np.array([1, 3, 1, 5])
HEAD = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], "f")
GRADIENT = np.array([[0, 0], [6, 8], [0, 0], [3, 4], [0, 0], [7, 8]], "f")


def leaf(req="write", stype="row_sparse"):
    w = nd.array(WEIGHT)
    w.attach_grad(req, stype=stype)
    return w


def embed(ids, w, sparse_grad=True):
    return nd.Embedding(nd.array(ids), w, input_dim=6, output_dim=2, sparse_grad=sparse_grad)


def check(gradient, values, indices=None):
    assert gradient.stype == "row_sparse"
    np.testing.assert_allclose(gradient.asnumpy(), values, rtol=1e-6)
    if indices is not None:
        assert gradient.indices.asnumpy().tolist() == indices


# ---- the gradient ----------------------------------------------------------------------------------------------------

def test_gradient_sums_duplicates():
    w = leaf()
    assert w.grad.stype == "row_sparse" and w.grad.indices.shape == (0,)
    for _ in range(2):  # re-filled each time
        with autograd.record():
            y = (embed(IDS, w) * nd.array(HEAD)).sum()
        y.backward()
        check(w.grad, GRADIENT, [1, 3, 5])


def test_gradient_add_request():
    """1.9.1 refuses this."""
    w = leaf("add")
    for n in (1, 2):
        with autograd.record():
            y = (embed(IDS, w) * nd.array(HEAD)).sum()
        y.backward()
        check(w.grad, n * GRADIENT, [1, 3, 5])
    with autograd.record():
        y = embed([0], w)
    y.backward()
    check(w.grad, 2 * GRADIENT + np.eye(6, 1, dtype="f"), [0, 1, 3, 5])
    w.grad[:] = 0
    check(w.grad, np.zeros((6, 2)), [])


def test_gradient_of_nothing():
    w = leaf()
    with autograd.record():
        y = embed([], w)
    y.backward()
    check(w.grad, np.zeros((6, 2)), [])


def test_two_uses():
    w = leaf()
    with autograd.record():
        y = (embed(IDS, w) * nd.array(HEAD)).sum() + embed([0, 3], w).sum()
    y.backward()
    check(w.grad, GRADIENT + [[1, 1], [0, 0], [0, 0], [1, 1], [0, 0], [0, 0]], [0, 1, 3, 5])
    with autograd.record():
        y = (embed(IDS, w) * nd.array(HEAD)).sum() + (w * 2).sum()
    y.backward()
    check(w.grad, GRADIENT + 2, list(range(6)))


def test_storage_of_the_gradient():
    with autograd.record():
        w = leaf(stype=None)
        y = embed(IDS, w)
    g = autograd.grad(y, [w])[0]
    check(g, [[0, 0], [2, 2], [0, 0], [1, 1], [0, 0], [1, 1]], [1, 3, 5])
    for sparse_grad, stype in ((True, None), (False, "row_sparse")):  # 1.9.1 refuses both
        w = leaf(stype=stype)
        with autograd.record():
            y = (embed(IDS, w, sparse_grad) * nd.array(HEAD)).sum()
        y.backward()
        assert w.grad.stype == (stype or "default")
        np.testing.assert_array_equal(w.grad.asnumpy(), GRADIENT)


@pytest.mark.parametrize("ids", [[7, 1], [-1, 1]])
def test_indices_out_of_range(ids):
    """The forward pass clips; the row_sparse gradient refuses, when it is waited for."""
    w = leaf()
    with autograd.record():
        y = embed(ids, w)
    np.testing.assert_array_equal(y.asnumpy(), WEIGHT[np.clip(ids, 0, 5)])
    y.backward()
    with pytest.raises(IndexError, match="out of range for 6 rows"):
        w.grad.asnumpy()
    nd.waitall()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("index", ["int32", "float32", "int64", "uint8"])
def test_large_gradient(dtype, index):
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 200, (40, 11))
    head = rng.standard_normal((40, 11, 70))
    w = nd.zeros((200, 70), dtype=dtype)
    w.attach_grad(stype="row_sparse")
    with autograd.record():
        y = nd.Embedding(nd.array(ids, dtype=index), w, input_dim=200, output_dim=70, dtype=dtype, sparse_grad=True)
    y.backward(nd.array(head, dtype=dtype))
    expected = np.zeros((200, 70))
    np.add.at(expected, ids, head.astype(dtype).astype("f8"))
    np.testing.assert_allclose(w.grad.asnumpy(), expected, rtol=1e-2 if dtype == "float16" else 2e-5, atol=1e-2
                               if dtype == "float16" else 1e-5)
    np.testing.assert_array_equal(w.grad.indices.asnumpy(), np.unique(ids))


@pytest.mark.parametrize("axis, keepdims", [(0, False), (1, False), (1, True), (-2, False), (2, False), (-1, True)])
@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("sparse_grad", [False, True])
def test_sum_of_an_embedding(axis, keepdims, hybrid, sparse_grad):
    """The gradient of the sum is not spread before it is summed into rows."""

    class Bag(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.e = gluon.nn.Embedding(6, 3, sparse_grad=sparse_grad)

        def hybrid_forward(self, F, x):
            return F.sum(self.e(x), axis=axis, keepdims=keepdims)

    net = Bag()
    net.initialize()
    if hybrid:
        net.hybridize()
    ids = np.array([[1, 3], [1, 5], [0, 3], [1, 1]])
    with autograd.record():
        y = net(nd.array(ids))
    head = np.random.default_rng(0).standard_normal(y.shape).astype("f")
    y.backward(nd.array(head))
    full = head if keepdims else np.expand_dims(head, axis)
    expected = np.zeros((6, 3), "f")
    np.add.at(expected, ids, np.broadcast_to(full, (4, 2, 3)))
    np.testing.assert_allclose(net.e.weight.grad().asnumpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(y.asnumpy(), net.e.weight.data().asnumpy()[ids].sum(axis, keepdims=keepdims), rtol=1e-5)


def bag_gradient(req="write", repeat=1):
    """A gradient whose rows are shared: far more indices than bags."""
    rng = np.random.default_rng(2)
    ids = rng.integers(0, 2000, (40, 12))
    head = rng.standard_normal((40, 5)).astype("f")
    w = nd.zeros((2000, 5))
    w.attach_grad(req, stype="row_sparse")
    for _ in range(repeat):
        with autograd.record():
            y = nd.Embedding(nd.array(ids), w, input_dim=2000, output_dim=5, sparse_grad=True).sum(axis=1)
        y.backward(nd.array(head))
    expected = np.zeros((2000, 5), "f")
    np.add.at(expected, ids, head[:, None])
    return w.grad, expected, np.unique(ids)


def test_shared_rows():
    gradient, expected, rows = bag_gradient()
    weight = nd.ones((2000, 5))
    nd.sgd_update(weight, gradient, lr=0.5, out=weight)  # before anybody asks for the values
    np.testing.assert_allclose(weight.asnumpy(), 1 - 0.5 * expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient.data.asnumpy(), expected[rows], rtol=1e-5)
    np.testing.assert_array_equal(gradient.indices.asnumpy(), rows)
    for make in (lambda g: g.copy(), lambda g: g + g, lambda g: g.retain(nd.array([1, 5, 77])),
                 lambda g: g.astype("f8")):
        fresh, expected, _ = bag_gradient()
        again, _, _ = bag_gradient()
        again.data.wait_to_read()
        np.testing.assert_array_equal(make(fresh).asnumpy(), make(again).asnumpy())
    fresh, expected, rows = bag_gradient("add", repeat=2)
    check(fresh, 2 * expected, rows.tolist())
    weight = nd.ones((2000, 5))
    nd.sgd_update(weight, bag_gradient()[0], lr=0.5, out=weight, lazy_update=False)
    np.testing.assert_allclose(weight.asnumpy(), 1 - 0.5 * expected, rtol=1e-5, atol=1e-6)


def test_sum_that_has_other_uses():
    w = leaf()
    ids = np.array([[1, 3], [1, 5]])
    with autograd.record():
        e = embed(ids, w)
        y = e.sum(axis=1).sum() + (e * e).sum()
    y.backward()
    expected = np.zeros((6, 2), "f")
    np.add.at(expected, ids, 1 + 2 * WEIGHT[ids])
    check(w.grad, expected)
    with autograd.record():
        e = embed(ids, w)
        z = e.sum(axis=1)
    grads = autograd.grad(z, [e, w])
    np.testing.assert_array_equal(grads[0].asnumpy(), np.ones((2, 2, 2)))
    check(grads[1], [[0, 0], [2, 2], [0, 0], [1, 1], [0, 0], [1, 1]])


# ---- updates ---------------------------------------------------------------------------------------------------------

def grad_rows():
    return sparse.row_sparse_array((np.ones((2, 2), "f"), [1, 3]), shape=(6, 2))


DENSE = np.array([[0, 0], [1, 1], [0, 0], [1, 1], [0, 0], [0, 0]], "f")
UPDATES = [("sgd_update", 0, {"rescale_grad": 2.0, "clip_gradient": 1.5}), ("sgd_mom_update", 1, {"momentum": 0.9}),
           ("adam_update", 2, {})]


@pytest.mark.parametrize("name, states, params", UPDATES)
@pytest.mark.parametrize("stype", ["default", "row_sparse"])
def test_lazy_updates_touch_their_rows_only(name, states, params, stype):
    def run(gradient, weight, **more):
        w, s = weight, [nd.ones((6, 2)) for _ in range(states)]
        assert getattr(nd, name)(w, gradient, *s, lr=0.1, wd=0.5, out=w, **params, **more) is w
        assert w.stype == weight.stype
        return [a.asnumpy() for a in (w, *s)]

    dense = run(nd.array(DENSE), nd.array(WEIGHT))
    start = [WEIGHT] + [np.ones((6, 2), "f")] * states
    touched = DENSE > 0
    for got, want, was in zip(run(grad_rows(), nd.array(WEIGHT).tostype(stype)), dense, start):
        np.testing.assert_allclose(got, np.where(touched, want, was), rtol=1e-6)
        np.testing.assert_array_equal(got[~touched], was[~touched])
    for got, want in zip(run(grad_rows(), nd.array(WEIGHT).tostype(stype), lazy_update=False), dense):
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("name, states", [("ftrl_update", 2), ("signum_update", 1), ("signsgd_update", 0),
                                          ("nag_mom_update", 1), ("rmsprop_update", 1)])
def test_other_updates_see_zeros(name, states):
    results = []
    for gradient in (nd.array(DENSE), grad_rows()):
        w, s = nd.array(WEIGHT), [nd.ones((6, 2)) for _ in range(states)]
        getattr(nd, name)(w, gradient, *s, lr=0.1, wd=0.5, out=w)
        results.append([a.asnumpy() for a in (w, *s)])
    for dense, rows in zip(*results):
        np.testing.assert_allclose(dense, rows, rtol=1e-6)


def test_adagrad_update():
    w, history = nd.array(WEIGHT), nd.ones((6, 2))
    nd.sparse.adagrad_update(w, grad_rows(), history, lr=0.1, out=w)
    np.testing.assert_allclose(w.asnumpy()[1], [2.9292893, 3.9292893], rtol=1e-6)
    np.testing.assert_array_equal(history.asnumpy(), 1 + DENSE)
    with pytest.raises(mx.MXNetError, match="weight decay"):
        nd.sparse.adagrad_update(w, grad_rows(), history, lr=0.1, wd=0.5, out=w).asnumpy()
    nd.waitall()


def test_half_precision_with_master():
    """The update through a float32 copy is never lazy."""
    results = []
    for gradient in (nd.array(DENSE, dtype="float16"), grad_rows().astype("float16")):
        w, master = nd.array(WEIGHT, dtype="float16"), nd.array(WEIGHT)
        nd.mp_sgd_update(w, gradient, master, lr=0.1, wd=0.1, out=w)
        results.append((w.asnumpy(), master.asnumpy()))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-3 if a.dtype == np.float16 else 1e-6)


def test_update_of_an_incomplete_weight():
    """A row_sparse weight without all rows is completed (1.9.1 refuses it)."""
    w = sparse.row_sparse_array((np.ones((2, 2), "f"), [1, 2]), shape=(6, 2))
    nd.sgd_update(w, grad_rows(), lr=0.5, out=w)
    assert w.indices.shape == (6,)
    np.testing.assert_array_equal(w.asnumpy()[:, 0], [0, 0.5, 1, -0.5, 0, 0])


def test_update_elsewhere_and_without_rows():
    w = nd.array(WEIGHT)
    out = nd.sgd_update(w, grad_rows(), lr=0.5)
    np.testing.assert_array_equal(out.asnumpy(), WEIGHT - 0.5 * DENSE)
    np.testing.assert_array_equal(w.asnumpy(), WEIGHT)
    nd.sgd_update(w, sparse.zeros("row_sparse", (6, 2)), lr=0.1, wd=0.5, out=w)
    np.testing.assert_array_equal(w.asnumpy(), WEIGHT)


@pytest.mark.parametrize("gradient, text", [
    (lambda: grad_rows().astype("float64"), "dtype"),
    (lambda: sparse.row_sparse_array((np.ones((2, 2), "f"), [1, 3]), shape=(7, 2)), "shape"),
])
def test_update_errors(gradient, text):
    w = nd.array(WEIGHT)
    with pytest.raises(mx.MXNetError, match=text):
        nd.sgd_update(w, gradient(), lr=0.1, out=w)


# ---- gluon -----------------------------------------------------------------------------------------------------------

def train(sparse_grad, hybrid, optimizer, params=None, steps=3, ctx=None, grad_req="write"):
    net = gluon.nn.HybridSequential()
    with net.name_scope():
        net.add(gluon.nn.Embedding(30, 8, sparse_grad=sparse_grad), gluon.nn.Dense(3))
    mx.random.seed(5)
    net.initialize(mx.init.Uniform(0.5), ctx=ctx)
    if hybrid:
        net.hybridize()
    net[0].weight.grad_req = grad_req
    trainer = gluon.Trainer(net.collect_params(), optimizer, {"learning_rate": 0.1, **(params or {})})
    rng = np.random.default_rng(1)
    for _ in range(steps):
        x = nd.array(rng.integers(0, 30, (6, 4)))
        parts = [x] if ctx is None else gluon.utils.split_and_load(x, ctx)
        if grad_req == "add":
            net[0].weight.zero_grad()
        with autograd.record():
            losses = [(net(part) ** 2).sum() for part in parts]
        autograd.backward(losses)
        trainer.step(6)
    return net


def weights(net):
    return [p.data(p.list_ctx()[0]).asnumpy() for p in net.collect_params().values()]


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("optimizer, params", [
    ("sgd", {}), ("sgd", {"momentum": 0.9, "wd": 0.1, "lazy_update": False}), ("adam", {"lazy_update": False}),
    ("adagrad", {}), ("ftrl", {}), ("signum", {}), ("nag", {"momentum": 0.9}), ("rmsprop", {}), ("adamax", {})])
def test_sparse_training_equals_dense(hybrid, optimizer, params):
    dense, rows = train(False, False, optimizer, params), train(True, hybrid, optimizer, params)
    assert rows[0].weight.grad().stype == "row_sparse" and rows[0].weight.grad_stype == "row_sparse"
    assert rows[0].weight.stype == "default"
    for a, b in zip(weights(dense), weights(rows)):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_lazy_training():
    net = gluon.nn.Embedding(6, 2, sparse_grad=True)
    net.initialize(mx.init.One())
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.9, "wd": 0.1})
    for _ in range(2):
        with autograd.record():
            loss = net(nd.array([1, 3, 1])).sum()
        loss.backward()
        trainer.step(1)
    expected = np.ones((6, 2), "f")
    expected[1], expected[3] = 0.3931, 0.6821
    np.testing.assert_allclose(net.weight.data().asnumpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("hybrid", [False, True])
def test_two_devices_and_accumulation(hybrid):
    one = weights(train(True, False, "sgd"))
    for a, b in zip(one, weights(train(True, hybrid, "sgd", ctx=[mx.cpu(0), mx.cpu(1)]))):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    for a, b in zip(one, weights(train(True, hybrid, "sgd", grad_req="add"))):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("req", ["write", "add"])
def test_tied_weights_in_a_plan(req):
    class Tied(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.e = gluon.nn.Embedding(6, 2, sparse_grad=True)

        def hybrid_forward(self, F, x, y):
            return F.sum(self.e(x) * 2) + F.sum(self.e(y)) + F.sum(self.e(y))

    net = Tied()
    net.initialize(mx.init.One())
    net.hybridize()
    net.e.weight.grad_req = req
    for n in (1, 2):
        with autograd.record():
            loss = net(nd.array([1, 3, 1]), nd.array([0, 3]))
        loss.backward()
        expected = np.zeros((6, 2))
        expected[[0, 1, 3]] = [[2], [4], [4]]
        check(net.e.weight.grad(), expected * (n if req == "add" else 1), [0, 1, 3])


def test_row_sparse_parameter():
    p = gluon.Parameter("w", shape=(6, 2), stype="row_sparse", grad_stype="row_sparse")
    p.initialize(mx.init.One(), ctx=[mx.cpu()])
    trainer = gluon.Trainer([p], "sgd", {"learning_rate": 0.5})
    for method in (p.data, p.list_data):
        with pytest.raises(RuntimeError, match="row_sparse_data"):
            method()
    with autograd.record():
        w = p.row_sparse_data(nd.array([1, 2]))
        y = nd.Embedding(nd.array([1, 2, 2]), w, input_dim=6, output_dim=2, sparse_grad=True).sum()
    assert w.stype == "row_sparse" and w.indices.asnumpy().tolist() == [1, 2]
    y.backward()
    check(p.grad(), [[0, 0], [1, 1], [2, 2], [0, 0], [0, 0], [0, 0]], [1, 2])
    trainer.step(1)
    rows = p.list_row_sparse_data(nd.array([0, 1, 2]))[0]
    np.testing.assert_array_equal(rows.asnumpy()[:3], [[1, 1], [0.5, 0.5], [0, 0]])


@pytest.mark.parametrize("shape", [(2, 2), (4,), (4, 1)])
def test_sparse_embedding_layer(shape):
    layer = gluon.contrib.nn.SparseEmbedding(6, 3, weight_initializer="ones", prefix="e_")
    assert repr(layer) == "SparseEmbedding(6 -> 3, float32)" and layer.weight.name == "e_weight"
    layer.initialize()
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 0.5})
    data = nd.array([1, 2, 1, 4]).reshape(shape)
    with autograd.record():
        out = layer(data)
    out.backward()
    assert out.shape == (*shape, 3)
    check(layer.weight.grad(), np.array([[0, 2, 1, 0, 1, 0]]).T.repeat(3, 1), [1, 2, 4])
    trainer.step(1)
    assert layer(nd.arange(6)).asnumpy()[:, 0].tolist() == [1, 0, 0.5, 1, 0.5, 1]


def test_kvstore():
    kv = mx.kv.create("local")
    kv.init("a", nd.array(WEIGHT).tostype("row_sparse"))
    out = sparse.zeros("row_sparse", (6, 2))
    kv.row_sparse_pull("a", out=out, row_ids=nd.array([3, 1, 3]))
    check(out, WEIGHT * [[0], [1], [0], [1], [0], [0]], [1, 3])
    kv.push("a", [grad_rows(), sparse.row_sparse_array((np.ones((2, 2), "f"), [2, 3]), shape=(6, 2))])
    kv.row_sparse_pull("a", out=out, row_ids=nd.arange(6))
    check(out, [[0, 0], [1, 1], [1, 1], [2, 2], [0, 0], [0, 0]], [1, 2, 3])
    dense = nd.zeros((6, 2))
    kv.pull("a", out=dense)
    np.testing.assert_array_equal(dense.asnumpy(), out.asnumpy())
    out[:] = 0
    with pytest.warns(UserWarning, match="row_sparse_pull"):
        kv.pull("a", out=out)
    assert out.indices.shape == (0,)
    kv.pull("a", out=out, ignore_sparse=False)
    assert out.indices.shape == (3,)


# ---- size and threads ------------------------------------------------------------------------------------------------

def test_nothing_of_the_size_of_the_weight_is_made():
    rows = 1 << 17
    net = gluon.nn.Embedding(rows, 64, sparse_grad=True)  # 32 MiB
    net.initialize(mx.init.Zero())
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    net.weight.data().wait_to_read()
    nd.waitall()
    mx.storage.reset_peak()
    base = mx.storage.stats()["in_use"]
    for _ in range(2):
        with autograd.record():
            loss = net(nd.array([[1, 5], [rows - 1, 5]])).sum(axis=1)
        loss.backward()
        trainer.step(1)
    nd.waitall()
    assert mx.storage.stats()["peak"] - base < 4 << 20
    assert net.weight.grad().indices.asnumpy().tolist() == [1, 5, rows - 1]


PROGRAM = """
import hashlib, numpy as np, mxnet as mx
from mxnet import nd, autograd
rng = np.random.default_rng(0)
w = nd.array(rng.standard_normal((5000, 64)))
w.attach_grad(stype="row_sparse")
m = nd.zeros(w.shape)
with autograd.record():
    y = nd.Embedding(nd.array(rng.integers(0, 5000, (700, 20))), w, input_dim=5000, output_dim=64, sparse_grad=True)
y.backward(nd.array(rng.standard_normal((700, 20, 64))))
nd.sgd_mom_update(w, w.grad, m, lr=0.1, momentum=0.9, out=w)
print(hashlib.sha256(w.grad.data.asnumpy().tobytes() + w.asnumpy().tobytes() + m.asnumpy().tobytes()).hexdigest())
"""


def test_threads_give_the_same_bits():
    results = set()
    for threads in ("1", "2"):
        env = {**os.environ, "OMP_NUM_THREADS": threads, "MXNET_CPU_WORKER_NTHREADS": threads}
        results.add(subprocess.run([sys.executable, "-c", PROGRAM], env=env, check=True,
                                   capture_output=True, text=True, timeout=60).stdout)
    assert len(results) == 1
