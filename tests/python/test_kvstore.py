# SPDX-License-Identifier: Apache-2.0
"""Key-value stores of one process."""
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import nd

DEVICES = [mx.cpu(i) for i in range(3)]


@pytest.fixture(params=["local", "device"])
def store(request):
    return mx.kv.create(request.param)


def test_sum_over_devices(store):
    store.init("a", nd.zeros((2,)))
    store.push("a", [nd.ones((2,), ctx=ctx) for ctx in DEVICES])
    outs = [nd.zeros((2,), ctx=ctx) for ctx in DEVICES]
    store.pull("a", out=outs)
    for ctx, out in zip(DEVICES, outs):
        assert out.context == ctx and out.asnumpy().tolist() == [3, 3]
    store.push("a", nd.ones((2,)) * 5)  # replaces
    store.pull("a", outs[0])
    assert outs[0].asnumpy().tolist() == [5, 5]


def test_lists_of_keys(store):
    store.init([1, 2], [nd.ones((2,)), nd.ones((3,))])
    store.push([1, 2], [[nd.ones((2,))] * 2, [nd.ones((3,))] * 2])
    outs = [nd.zeros((2,)), nd.zeros((3,))]
    store.pull([1, 2], out=outs)
    assert [out.asnumpy().tolist() for out in outs] == [[2, 2], [2, 2, 2]]


def test_pushpull_and_broadcast(store):
    out = nd.zeros((2,))
    store.broadcast("n", nd.ones((2,)) * 3, out)
    assert out.asnumpy().tolist() == [3, 3]
    values = [nd.ones((2,), ctx=ctx) for ctx in DEVICES]
    store.pushpull("n", values)
    assert values[2].asnumpy().tolist() == [3, 3]


def test_what_is_pushed_stays_the_callers(store):
    value = nd.ones((1,))
    store.init("a", value)
    store.push("a", value)
    value[:] = 7
    out = nd.zeros((1,))
    store.pull("a", out)
    assert out.asscalar() == 1
    out[:] = 9
    store.pull("a", out)
    assert out.asscalar() == 1


def test_optimizer_in_the_store(store, tmp_path):
    store.set_optimizer(mx.optimizer.SGD(learning_rate=0.1, momentum=0.9))
    store.init("0", nd.ones((2,)))
    out = nd.zeros((2,))
    store.pushpull("0", [nd.ones((2,))] * 3, out=out)
    assert_allclose(out.asnumpy(), 0.7, rtol=1e-6)
    path = str(tmp_path / "states")
    store.save_optimizer_states(path)
    store.load_optimizer_states(path)


def test_own_updater(store):
    store.init("a", nd.ones((1,)))
    store._set_updater(lambda key, total, stored: stored.__iadd__(total * 10))
    store.push("a", nd.ones((1,)))
    out = nd.zeros((1,))
    store.pull("a", out)
    assert out.asscalar() == 11


def test_what_it_is(store):
    assert store.type in ("local", "device") and (store.rank, store.num_workers) == (0, 1)
    assert store.is_capable("optimizer")


def test_errors(store):
    store.init("a", nd.ones((2,)))
    two, three = nd.ones((2,)), nd.ones((3,))
    for act, text in ((lambda: store.init("a", two), "duplicate"), (lambda: store.pull("z", two), "init"),
                      (lambda: store.push("z", two), "init"), (lambda: store.push("a", three), "shape"),
                      (lambda: store.pull("a", three), "shape"), (lambda: store.init(3, two), "mixed"),
                      (lambda: store.row_sparse_pull("a", two, row_ids=nd.array([0])), "row_sparse"),
                      (lambda: store.set_gradient_compression({"type": "2bit"}), "compression")):
        with pytest.raises(mx.MXNetError, match=text):
            act()
    with pytest.raises(AssertionError, match="optimizer"):
        store.save_optimizer_states("unused")
    with pytest.raises(TypeError):
        mx.kv.create(3)
    with pytest.raises(mx.MXNetError, match="dist_sync"):
        mx.kv.create("dist_sync")


def test_stores_of_other_packages():
    @mx.kv.KVStoreBase.register
    class Elsewhere(mx.kv.KVStoreBase):
        pass

    assert isinstance(mx.kv.create("elsewhere"), Elsewhere)
    del mx.kv.KVStoreBase.kv_registry["elsewhere"]
