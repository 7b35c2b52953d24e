# SPDX-License-Identifier: Apache-2.0
"""Compiling a deep network takes the calling thread little time, and grows with its depth no faster than that."""
import time

import mxnet as mx
from mxnet import gluon, nd
from mxnet.gluon import nn


class Bottleneck(gluon.HybridBlock):
    def __init__(self, channels, stride, shortcut):
        super().__init__()
        with self.name_scope():
            self.body = nn.HybridSequential(prefix="")
            for width, kernel, step in ((channels, 1, 1), (channels, 3, stride), (4 * channels, 1, 1)):
                self.body.add(nn.Conv2D(width, kernel, step, kernel // 2, use_bias=False), nn.BatchNorm())
                if width == channels:
                    self.body.add(nn.Activation("relu"))
            self.shortcut = nn.HybridSequential(prefix="") if shortcut else None
            if shortcut:
                self.shortcut.add(nn.Conv2D(4 * channels, 1, stride, use_bias=False), nn.BatchNorm())

    def hybrid_forward(self, F, x):
        other = x if self.shortcut is None else self.shortcut(x)
        return F.Activation(self.body(x) + other, act_type="relu")


def residual_network(depths, width=8):
    net = nn.HybridSequential()
    net.add(nn.Conv2D(width, 7, 2, 3, use_bias=False), nn.BatchNorm(), nn.Activation("relu"), nn.MaxPool2D(3, 2, 1))
    for stage, depth in enumerate(depths):
        for i in range(depth):
            net.add(Bottleneck(width << stage, 1 if i or not stage else 2, i == 0))
    net.add(nn.GlobalAvgPool2D(), nn.Flatten(), nn.Dense(10))
    net.initialize()
    net(nd.zeros((1, 3, 32, 32))).wait_to_read()
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def seconds(net, size):
    data = nd.zeros((1, 3, size, size))
    mx.nd.waitall()
    start = time.thread_time()
    out = net(data)
    taken = time.thread_time() - start
    out.wait_to_read()
    return taken


def test_deep_network():
    net = residual_network((3, 8, 36, 3))
    assert seconds(net, 32) < 1.0
    assert seconds(net, 64) < 0.3
    assert seconds(net, 32) < 0.01


def test_grows_with_depth():
    short, long = residual_network((10,)), residual_network((60,))
    seconds(short, 48), seconds(long, 48)
    assert seconds(long, 64) < 12 * seconds(short, 64) + 0.05
