# SPDX-License-Identifier: Apache-2.0
"""The rows as PyTorch programs, written as its users write them. Variants: eager, channels_last, compile, fused."""

import contextlib
import os

import networks
import torch
from rows import Job
from torch import nn
from torch._inductor import config as inductor
from torch.nn import functional as F

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


class Residual(nn.Module):
    """x + body(x), or shortcut(x) + body(x)."""

    def __init__(self, body, shortcut):
        super().__init__()
        self.body = chain_of(body)
        self.shortcut = chain_of(shortcut) if shortcut else nn.Identity()

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.project, self.combine = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)

    def forward(self, x):
        batch, length, hidden = x.shape
        parts = self.project(x).view(batch, length, 3, self.heads, hidden // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(0))
        return self.combine(mixed.transpose(1, 2).reshape(batch, length, hidden))


class Recurrent(nn.LSTM):
    """An LSTM that gives its outputs alone."""

    def forward(self, x):
        return super().forward(x)[0]


def layer_of(kind, *numbers):
    """A module."""
    if kind == "convolution":
        source, target, kernel, stride, pad, groups, bias = numbers
        return nn.Conv2d(source, target, kernel, stride, pad, groups=groups, bias=bias)
    return {
        "dense": lambda source, target, *_: nn.Linear(source, target),
        "batch_norm": lambda size, _: nn.BatchNorm2d(size), "layer_norm": nn.LayerNorm, "relu": nn.ReLU,
        "relu6": nn.ReLU6, "gelu": nn.GELU, "max_pool": nn.MaxPool2d, "flatten": nn.Flatten,
        "global_pool": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        "merge": lambda: nn.Flatten(0, 1), "embedding": nn.Embedding, "attention": Attention, "residual": Residual,
        "bag": lambda rows, width: nn.EmbeddingBag(rows, width, mode="sum", sparse=True), "lstm": Recurrent,
    }[kind](*numbers)


def chain_of(layers):
    """A Sequential of layers."""
    return nn.Sequential(*(layer_of(*layer) for layer in layers))


def build(layers):
    """A network with its weights."""
    with torch.device("meta"):
        net = chain_of(layers)
    net = net.to_empty(device="cpu")
    with torch.no_grad():
        for parameter, array in zip(net.parameters(), networks.weights(layers), strict=True):
            parameter.copy_(torch.from_numpy(array))
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_running_stats()
    return net


def floats(tensor):
    """A flat float32 NumPy array."""
    return tensor.detach().float().numpy().ravel()


def tensors(arrays):
    """The arrays as tensors."""
    return [torch.from_numpy(array) for array in arrays]


# --- rows of a few operators

def make_add(way):
    a, b = tensors(networks.small_arrays())

    def step():
        for _ in range(2000):
            a + b

    return Job(step, lambda: floats(a + b), 2000)


def make_add_recorded(way):
    a, b = tensors(networks.small_arrays())
    a.requires_grad_()

    def step():
        for _ in range(2000):
            a + b

    return Job(step, lambda: floats(a + b), 2000)


def make_add_backward(way):
    a, b = tensors(networks.small_arrays())
    a.requires_grad_()
    ones = torch.ones(4, 4)

    def step():
        for _ in range(1000):
            a.grad = None
            (a + b).backward(ones)

    return Job(step, lambda: (step(), floats(a.grad))[1], 1000)


def make_chain(way):
    arrays = tensors(networks.chain_arrays())

    def run(x, factor, first, second):
        for _ in range(networks.CHAIN // 4):
            x = torch.relu(x * factor + first) + second
        return x

    run = torch.compile(run) if way == "compile" else run

    def step():
        for _ in range(100):
            run(*arrays)

    return Job(step, lambda: floats(run(*arrays))[:64], 100)


def make_dense(way):
    arrays = tensors(networks.dense_arrays())
    run = torch.compile(F.linear) if way == "compile" else F.linear

    def step():
        for _ in range(2000):
            run(*arrays)

    return Job(step, lambda: floats(run(*arrays)), 2000)


def make_big_chain(way, bf16):
    arrays = [x.to(torch.bfloat16 if bf16 else torch.float32) for x in tensors(networks.big_arrays())]

    def run(a, b, c, d):
        return torch.tanh(a * b + c) * d

    run = torch.compile(run) if way == "compile" else run
    return Job(lambda: run(*arrays), lambda: [run(*arrays)[:1000000].float().abs().mean()])


def make_adam_step(way):
    parameters = [nn.Parameter(x) for x in tensors(networks.weights(networks.NETWORKS["resnet50"].layers))]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=way == "fused" or None)

    def check():
        optimizer.step()
        return [sum(float(p.detach().double().abs().sum()) for p in parameters)]

    return Job(optimizer.step, check)


# --- networks

def make_network(name, mode, way, bf16):
    """Inference or a training step."""
    network = networks.NETWORKS[name]
    net, (batch, target) = build(network.layers), tensors(networks.data(network))
    if way in ("channels_last", "compile") and batch.dim() == 4:
        net = net.to(memory_format=torch.channels_last)
        batch = batch.contiguous(memory_format=torch.channels_last)
    if way == "compile" and mode == "infer":
        inductor.freezing = True
    forward = torch.compile(net) if way == "compile" else net
    precision = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
    if mode == "infer":
        net.eval()

        def infer():
            with torch.no_grad(), precision:
                return forward(batch)

        return Job(infer, lambda: floats(infer())[:64])
    fused = way == "compile" and name != "embedding" or None
    optimizer = torch.optim.SGD(net.parameters(), network.rate, momentum=network.momentum, fused=fused)

    def loss(out):
        if network.classes is None:
            return ((out.float() - target) ** 2).mean()
        return F.cross_entropy(out, target.reshape(-1))

    def step():
        optimizer.zero_grad()
        with precision:
            error = loss(forward(batch))
        error.backward()
        optimizer.step()
        return error

    return Job(step, lambda: [float(step()) for _ in range(3)])


def make(row, way, dtype):
    """The job of a row."""
    bf16 = dtype == "bf16"
    name, _, mode = row.rpartition("_")
    if name in networks.NETWORKS:
        return make_network(name, mode, way, bf16)
    recorded = row in ("add_recorded", "add_backward", "adam_step")
    torch.set_grad_enabled(recorded)
    return make_big_chain(way, bf16) if row == "big_chain" else globals()["make_" + row](way)
