# SPDX-License-Identifier: Apache-2.0
"""Statistics over several devices: what one device computes from the whole batch."""
import os
import subprocess
import sys

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn

DEVICES = [mx.cpu(0), mx.cpu(1)]


def parts_of(array, sizes):
    parts = np.split(array, np.cumsum(sizes)[:-1])
    return [nd.array(part, ctx=ctx, dtype=array.dtype) for part, ctx in zip(parts, DEVICES)]


def run(layer, data, heads):
    """Outputs and gradients of all parts, the parameters' gradients added up."""
    for x in data:
        x.attach_grad()
    with autograd.record():
        outs = [layer(x) for x in data]
    autograd.backward(outs, heads)
    params = list(layer.collect_params().values())
    return (np.concatenate([y.asnumpy() for y in outs]), np.concatenate([x.grad.asnumpy() for x in data]),
            [sum(g.asnumpy() for g in p.list_grad()) for p in params if p.grad_req != "null"],
            [[d.asnumpy() for d in p.list_data()] for p in params if p.grad_req == "null"])


@pytest.mark.parametrize("sizes", [(4, 4), (6, 2)], ids=str)
@pytest.mark.parametrize("scale", [True, False], ids=["gamma", "fixed gamma"])
@pytest.mark.parametrize("hybrid", [False, True], ids=["eager", "hybrid"])
@pytest.mark.parametrize("dtype,tolerance", [("float32", 2e-5), ("float64", 1e-10), ("float16", 1e-2)])
def test_as_the_whole_batch(sizes, scale, hybrid, dtype, tolerance):
    rng = np.random.default_rng(3)
    x, head = (rng.standard_normal((8, 3, 5, 4)).astype(dtype) for _ in range(2))
    whole, spread = nn.BatchNorm(scale=scale), gluon.contrib.nn.SyncBatchNorm(num_devices=2, scale=scale)
    for layer, devices in ((whole, mx.cpu()), (spread, DEVICES)):
        layer.cast(dtype)
        layer.initialize(ctx=devices)
        layer(nd.zeros((1, 3, 5, 4), dtype=dtype))
    if hybrid:
        spread.hybridize()
    want = run(whole, [nd.array(x, dtype=dtype)], [nd.array(head, dtype=dtype)])
    got = run(spread, parts_of(x, sizes), parts_of(head, sizes))
    for a, b in zip(got[:2], want[:2]):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=10 * tolerance)
    for a, b in zip(got[2], want[2]):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=100 * tolerance)
    for both, (one,) in zip(got[3], want[3]):
        for a in both:
            np.testing.assert_allclose(a, one, rtol=tolerance, atol=tolerance)
    outside = spread(nd.array(x, dtype=dtype)).asnumpy()
    np.testing.assert_allclose(outside, whole(nd.array(x, dtype=dtype)).asnumpy(), rtol=tolerance, atol=10 * tolerance)


def network(devices, norm):
    net = nn.HybridSequential(prefix="net_")
    with net.name_scope():
        net.add(nn.Conv2D(4, 3, in_channels=2), norm(), nn.Activation("relu"), nn.Conv2D(4, 3, in_channels=4), norm(),
                nn.GlobalAvgPool2D(), nn.Flatten(), nn.Dense(3, in_units=4))
    mx.random.seed(1)
    net.initialize(mx.init.Xavier(), ctx=devices)
    return net


@pytest.mark.parametrize("hybrid", [False, True], ids=["eager", "hybrid"])
def test_training_on_two_devices_is_training_on_one(hybrid):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 8, 2, 9, 9)).astype("float32"), rng.integers(0, 3, (3, 8))
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    found = []
    for devices, norm in (([mx.cpu()], lambda: nn.BatchNorm(in_channels=4)),
                          (DEVICES, lambda: gluon.contrib.nn.SyncBatchNorm(in_channels=4, num_devices=2))):
        net = network(devices, norm)
        if hybrid:
            net.hybridize()
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5})
        for data, label in zip(x, y):
            with autograd.record():
                losses = [loss(net(a), b) for a, b in zip(gluon.utils.split_and_load(data, devices),
                                                          gluon.utils.split_and_load(label, devices))]
            autograd.backward(losses)
            trainer.step(8)
        found.append([p.data(devices[-1]).asnumpy() for p in net.collect_params().values()])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_module_on_two_devices():
    data = mx.sym.var("data")
    net = mx.sym.contrib.SyncBatchNorm(data, ndev=2, key="n", fix_gamma=False, momentum=0.5, name="n")
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Flatten(net), num_hidden=2, name="d"), name="softmax")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, 3, 4, 4)).astype("float32")
    module = mx.mod.Module(net, context=DEVICES)
    batches = mx.io.NDArrayIter(x, rng.integers(0, 2, 8), batch_size=8)
    module.bind(batches.provide_data, batches.provide_label)
    module.init_params(mx.init.Xavier())
    module.forward_backward(next(batches))
    module.init_optimizer(optimizer_params={"learning_rate": 0.0})
    module.update()
    moving = module.get_params()[1]
    np.testing.assert_allclose(moving["n_moving_mean"].asnumpy(), 0.5 * x.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moving["n_moving_var"].asnumpy(), 0.5 + 0.5 * x.var((0, 2, 3)), rtol=1e-5)


def call(device, key="k", channels=3, data=None):
    x = nd.ones((2, channels), ctx=device) if data is None else data
    vectors = [nd.ones((channels,), ctx=device) for _ in range(4)]
    with autograd.train_mode():
        return nd.contrib.SyncBatchNorm(x, *vectors, ndev=2, key=key)


def test_the_queue_takes_all_that_one_device_does_before_the_other_begins():
    outs = []
    for device in DEVICES:
        y = call(device, "queue")
        large = nd.zeros((4 << 20,), ctx=device)
        for _ in range(300):
            large = large + y[0, 0]
        outs.append(large)
    for large in outs:
        assert np.isfinite(large[:5].asnumpy()).all()


def test_second_derivatives():
    x = np.random.default_rng(0).standard_normal((4, 2)).astype("float64")

    def penalty(layer, data):
        for a in data:
            a.attach_grad()
        with autograd.record():
            outs = [(layer(a) ** 3).sum() for a in data]
            grads = autograd.grad(outs, data, create_graph=True, retain_graph=True)
            total = [(g ** 2).sum() for g in grads]
        autograd.backward(total)
        return np.concatenate([a.grad.asnumpy() for a in data])

    one, two = nn.BatchNorm(in_channels=2), gluon.contrib.nn.SyncBatchNorm(in_channels=2, num_devices=2)
    for layer, devices in ((one, mx.cpu()), (two, DEVICES)):
        layer.cast("float64")
        layer.initialize(ctx=devices)
    np.testing.assert_allclose(penalty(two, parts_of(x, (2, 2))), penalty(one, [nd.array(x, dtype="float64")]),
                               rtol=1e-7, atol=1e-9)


def test_parts_that_do_not_fit():
    outs = [call(DEVICES[0], "fit", 3), call(DEVICES[1], "fit", 4)]
    for y in outs:
        with pytest.raises(mx.MXNetError, match="group 'fit/mean' differ in size"):
            y.asnumpy()
    with pytest.raises(ValueError, match="has 2 devices for one call and 3 for another"):
        call(DEVICES[0], "count")
        with autograd.train_mode():
            x = nd.ones((2, 3), ctx=DEVICES[1])
            nd.contrib.SyncBatchNorm(x, *[nd.ones((3,), ctx=DEVICES[1])] * 4, ndev=3, key="count")
    call(DEVICES[1], "count").wait_to_read()


SCRIPT = """
import mxnet as mx
from mxnet import autograd, nd
def call(i, data=None):
    ctx = mx.cpu(i)
    with autograd.train_mode():
        return nd.contrib.SyncBatchNorm(nd.ones((2, 3), ctx=ctx) if data is None else data,
                                        *[nd.ones((3,), ctx=ctx) for _ in range(4)], ndev=2, key='k')
"""


def answer(code, **settings):
    done = subprocess.run([sys.executable, "-c", SCRIPT + code], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **settings})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_device_that_does_not_come():
    code = """
try:
    call(0).asnumpy()
except mx.MXNetError as error:
    print(error)
a, b = call(0), call(1)
print(a.asnumpy().shape, b.asnumpy().shape)
"""
    out = answer(code, MXNET_SYNC_TIMEOUT="1")
    assert "only 1 of the 2 devices of group 'k/mean' came within 1 seconds" in out
    assert "(2, 3) (2, 3)" in out


def test_a_program_that_ends_while_a_device_waits():
    answer("call(0)", MXNET_SYNC_TIMEOUT="1")


def test_naive_engine():
    code = """
try:
    call(0)
except NotImplementedError as error:
    print(error)
"""
    assert "NaiveEngine" in answer(code, MXNET_ENGINE_TYPE="NaiveEngine")
