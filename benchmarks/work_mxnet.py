# SPDX-License-Identifier: Apache-2.0
"""The rows as MXNet programs."""

import common
from common import Job

import mxnet as mx
from mxnet import autograd, gluon


def add(recorded):
    a, b = (mx.nd.array(x) for x in common.small_arrays())
    if recorded:
        a.attach_grad()

    def step():
        for _ in range(1000):
            c = a + b
        c.wait_to_read()

    def step_recorded():
        for _ in range(10):
            with autograd.record():
                for _ in range(100):
                    c = a + b
        c.wait_to_read()

    return Job(step_recorded if recorded else step, 1000, lambda: (a + b).asnumpy().ravel())


def chain():
    a, b = (mx.nd.array(x) for x in common.chain_arrays())

    def once():
        x = a
        for _ in range(common.CHAIN // 4):
            x = x * b
            x = x + a
            x = mx.nd.sqrt(x)
            x = x - 0.5
        return x

    def step():
        for _ in range(50):
            x = once()
        x.wait_to_read()

    return Job(step, 50, lambda: once().asnumpy().ravel()[:16])


def lenet(hybridize):
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(20, 5, in_channels=1, activation="relu"), gluon.nn.MaxPool2D(2, 2),
            gluon.nn.Conv2D(50, 5, in_channels=20, activation="relu"), gluon.nn.MaxPool2D(2, 2),
            gluon.nn.Dense(500, in_units=800, activation="relu"), gluon.nn.Dense(10, in_units=500))
    net.initialize()
    for parameter, value in zip(net.collect_params().values(), common.lenet_weights()):
        parameter.set_data(mx.nd.array(value))
    if hybridize:
        net.hybridize(static_alloc=True, static_shape=True)
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    if hybridize:
        loss.hybridize(static_alloc=True, static_shape=True)
    trainer = gluon.Trainer(net.collect_params(), "sgd",
                            {"learning_rate": common.LEARNING_RATE, "momentum": common.MOMENTUM})
    images, labels = (mx.nd.array(x) for x in common.lenet_data())

    def step():
        with autograd.record():
            error = loss(net(images), labels)
        error.backward()
        trainer.step(common.BATCH)
        mx.nd.waitall()

    def check():
        values = []
        for _ in range(3):
            values.append(float(loss(net(images), labels).mean().asscalar()))
            step()
        return values

    return Job(step, 1, check)


def make(row):
    return {"add": lambda: add(False), "add_recorded": lambda: add(True), "chain": chain,
            "lenet": lambda: lenet(False), "lenet_hybrid": lambda: lenet(True)}[row]()
