# SPDX-License-Identifier: Apache-2.0
"""Trainer: steps on one and several devices, rates, states, stale gradients."""
import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn

DEVICES = [mx.cpu(0), mx.cpu(1)]


def dense(ctx=None):
    layer = nn.Dense(2, in_units=2)
    layer.initialize(mx.init.One(), ctx=ctx)
    return layer


def backward(layer, devices=None):
    with autograd.record():
        losses = [(layer(nd.ones((2, 2), ctx=ctx) * (i + 1)) ** 2).sum() for i, ctx in enumerate(devices or [mx.cpu()])]
    autograd.backward(losses)


def test_momentum_and_decay():
    layer = dense()
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.9, "wd": 0.01})
    for _ in range(3):
        backward(layer)
        trainer.step(2)
    # the numbers of MXNet 1.9.1
    assert_allclose(layer.weight.data().asnumpy(), -0.23848638, rtol=1e-5)
    assert_allclose(layer.bias.data().asnumpy(), -1.2328811, rtol=1e-5)


@pytest.mark.parametrize("kvstore, on_kvstore", [("device", None), ("local", None), ("device", False), ("local", True)])
def test_several_devices(kvstore, on_kvstore):
    layer = dense(DEVICES)
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 0.1}, kvstore=kvstore,
                            update_on_kvstore=on_kvstore)
    for _ in range(2):
        backward(layer, DEVICES)
        trainer.step(2)
    for data in layer.weight.list_data():
        assert_allclose(data.asnumpy(), 1.72, rtol=1e-5)
    assert trainer._update_on_kvstore == (on_kvstore is not False)


def test_two_halves_of_a_step():
    layer = dense(DEVICES)
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 0.1}, update_on_kvstore=False)
    backward(layer, DEVICES)
    trainer.allreduce_grads()
    first, second = layer.weight.list_grad()
    assert_allclose(first.asnumpy(), second.asnumpy())
    trainer.update(2)
    assert_allclose(layer.weight.data(mx.cpu(1)).asnumpy(), layer.weight.data(mx.cpu(0)).asnumpy())
    on_store = gluon.Trainer(layer.collect_params(), "sgd")
    for half in (lambda: on_store.update(1), on_store.allreduce_grads):
        with pytest.raises(AssertionError, match="update_on_kvstore"):
            half()


def test_stale_gradients():
    layer = dense()
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 0.1})
    with pytest.raises(UserWarning, match="dense.*has not been updated by backward"):
        trainer.step(1)
    before = layer.weight.data().asnumpy()
    trainer.step(1, ignore_stale_grad=True)
    assert (layer.weight.data().asnumpy() == before).all()
    backward(layer)
    trainer.step(1)
    with pytest.raises(UserWarning):
        trainer.step(1)


def test_order_of_parameters():
    layer = dense()
    assert [p.name.rsplit("_")[-1] for p in gluon.Trainer(layer.collect_params(), "sgd")._params] == ["bias", "weight"]
    assert gluon.Trainer([layer.weight], "sgd")._params == [layer.weight]


def test_learning_rate():
    layer = dense()
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 0.1})
    trainer.set_learning_rate(0.2)
    assert trainer.learning_rate == 0.2
    schedule = mx.lr_scheduler.FactorScheduler(1, 0.5, base_lr=0.4)
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"lr_scheduler": schedule})
    for _ in range(3):
        backward(layer)
        trainer.step(1)
    assert_allclose(trainer.learning_rate, 0.1)
    with pytest.raises(UserWarning, match="LRScheduler"):
        trainer.set_learning_rate(1)


def test_multipliers():
    layer = dense()
    layer.weight.lr_mult = 0
    trainer = gluon.Trainer(layer.collect_params(), "sgd", {"learning_rate": 0.1})
    backward(layer)
    trainer.step(1)
    assert (layer.weight.data().asnumpy() == 1).all() and (layer.bias.data().asnumpy() != 0).all()


@pytest.mark.parametrize("devices", [None, DEVICES])
def test_states_in_files(tmp_path, devices):
    path = str(tmp_path / "states")
    layer = dense(devices)
    trainer = gluon.Trainer(layer.collect_params(), "adam", {"learning_rate": 0.1})
    backward(layer, devices)
    trainer.step(1)
    trainer.save_states(path)
    saved = layer.weight.data(mx.cpu(0)).asnumpy()
    results = []
    for _ in range(2):
        layer.weight.set_data(nd.array(saved))
        layer.bias.set_data(nd.zeros((2,)))
        trainer.load_states(path)
        backward(layer, devices)
        trainer.step(1)
        results.append(layer.weight.data(mx.cpu(0)).asnumpy())
    assert (results[0] == results[1]).all() and (results[0] != saved).all()


def test_bad_arguments():
    layer = dense()
    for params in (5, layer.weight, [5]):
        with pytest.raises(ValueError, match="list or dict of Parameters"):
            gluon.Trainer(params, "sgd")
    with pytest.raises(ValueError, match="nope"):
        gluon.Trainer(layer.collect_params(), "nope")
    with pytest.raises(TypeError):
        gluon.Trainer(layer.collect_params(), "sgd", {"foo": 1})
    with pytest.raises(AssertionError, match="optimizer_params"):
        gluon.Trainer(layer.collect_params(), mx.optimizer.SGD(), {"learning_rate": 1})
    with pytest.raises(RuntimeError, match="not been initialized"):
        gluon.Trainer(nn.Dense(2).collect_params(), "sgd").step(1)


def test_trains_a_line():
    rng = np.random.RandomState(0)
    x = rng.rand(64, 2).astype("float32")
    y = x @ np.array([[2], [-3]], "float32") + 1
    net = nn.Dense(1)
    net.initialize()
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.5, "momentum": 0.9})
    for _ in range(100):
        with autograd.record():
            loss = gluon.loss.L2Loss()(net(nd.array(x)), nd.array(y))
        loss.backward()
        trainer.step(64)
    assert_allclose(net.weight.data().asnumpy(), [[2, -3]], atol=1e-2)
