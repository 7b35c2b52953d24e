# SPDX-License-Identifier: Apache-2.0
"""The rows as PyTorch programs, written as its users write them."""

import common
import torch
from common import Job


def add(recorded):
    a, b = (torch.from_numpy(x) for x in common.small_arrays())
    a.requires_grad_(recorded)

    def step():
        for _ in range(1000):
            a + b

    return Job(step, 1000, lambda: (a + b).detach().numpy().ravel())


def chain():
    a, b = (torch.from_numpy(x) for x in common.chain_arrays())

    def once():
        x = a
        for _ in range(common.CHAIN // 4):
            x = x * b
            x = x + a
            x = torch.sqrt(x)
            x = x - 0.5
        return x

    def step():
        for _ in range(50):
            once()

    return Job(step, 50, lambda: once().numpy().ravel()[:16])


def lenet():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 20, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Conv2d(20, 50, 5), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(800, 500), torch.nn.ReLU(), torch.nn.Linear(500, 10))
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), common.lenet_weights()):
            parameter.copy_(torch.from_numpy(value))
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=common.LEARNING_RATE, momentum=common.MOMENTUM)
    images, labels = (torch.from_numpy(x) for x in common.lenet_data())

    def step():
        optimizer.zero_grad()
        loss(net(images), labels).backward()
        optimizer.step()

    def check():
        values = []
        for _ in range(3):
            with torch.no_grad():
                values.append(float(loss(net(images), labels)))
            step()
        return values

    return Job(step, 1, check)


def make(row):
    return {"add": lambda: add(False), "add_recorded": lambda: add(True), "chain": chain, "lenet": lenet,
            "lenet_hybrid": lenet}[row]()
