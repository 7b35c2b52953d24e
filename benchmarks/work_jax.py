# SPDX-License-Identifier: Apache-2.0
"""The rows as JAX programs: a jitted function each, channels last, parameters donated. Variants: eager, jit."""

import functools

import jax
import jax.numpy as jnp
import networks
import numpy as np
from jax import lax
from rows import Job


class Model:
    """The layers as a function of flat lists of parameters and of batch-norm statistics."""

    def __init__(self, layers, dtype, training):
        self.layers, self.dtype, self.training = layers, dtype, training

    def __call__(self, parameters, statistics, x):
        self.parameters, self.statistics, self.moved = iter(parameters), iter(statistics), []
        return self.chain(self.layers, x), self.moved

    def take(self):
        return next(self.parameters).astype(self.dtype)

    def chain(self, layers, x):
        for kind, *numbers in layers:
            x = getattr(self, kind)(x, *numbers)
        return x

    def convolution(self, x, source, target, kernel, stride, pad, groups, bias):
        x = lax.conv_general_dilated(x, self.take(), (stride, stride), [(pad, pad)] * 2, feature_group_count=groups,
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return x + self.take() if bias else x

    def batch_norm(self, x, size, _):
        gamma, beta = next(self.parameters), next(self.parameters)
        mean, variance = next(self.statistics)
        if self.training:
            wide = x.astype(jnp.float32)
            old_mean, old_variance = mean, variance
            mean = wide.mean((0, 1, 2))
            variance = (wide * wide).mean((0, 1, 2)) - mean * mean
            self.moved.append((0.9 * old_mean + 0.1 * lax.stop_gradient(mean),
                               0.9 * old_variance + 0.1 * lax.stop_gradient(variance)))
        scale = gamma * lax.rsqrt(variance + 1e-5)
        return x * scale.astype(self.dtype) + (beta - mean * scale).astype(self.dtype)

    def layer_norm(self, x, size):
        gamma, beta = next(self.parameters), next(self.parameters)
        wide = x.astype(jnp.float32)
        centred = wide - wide.mean(-1, keepdims=True)
        return (centred * lax.rsqrt((centred ** 2).mean(-1, keepdims=True) + 1e-5) * gamma + beta).astype(self.dtype)

    def dense(self, x, *_):
        return x @ self.take() + self.take()

    def relu(self, x):
        return jax.nn.relu(x)

    def relu6(self, x):
        return jax.nn.relu6(x)

    def gelu(self, x):
        return jax.nn.gelu(x, approximate=False)

    def max_pool(self, x, kernel, stride, pad):
        window, strides = (1, kernel, kernel, 1), (1, stride, stride, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, [(0, 0), (pad, pad), (pad, pad), (0, 0)])

    def global_pool(self, x):
        return x.mean((1, 2))

    def flatten(self, x):
        return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)

    def merge(self, x):
        return x.reshape(-1, x.shape[-1])

    def embedding(self, x, *_):
        return next(self.parameters)[x].astype(self.dtype)

    def bag(self, x, *_):
        return next(self.parameters)[x].sum(1)

    def residual(self, x, body, shortcut):
        return self.chain(body, x) + self.chain(shortcut, x)

    def attention(self, x, hidden, heads):
        batch, length, _ = x.shape
        parts = self.dense(x).reshape(batch, length, 3, heads, hidden // heads)
        query, key, value = jnp.moveaxis(parts, 2, 0)
        scores = jnp.einsum("blhw,bmhw->bhlm", query, key) * (hidden // heads) ** -0.5
        shares = jax.nn.softmax(scores.astype(jnp.float32), -1).astype(self.dtype)
        return self.dense(jnp.einsum("bhlm,bmhw->blhw", shares, value).reshape(batch, length, hidden))

    def lstm(self, x, source, hidden, count):
        for _ in range(count):
            from_input, from_state, first, second = (self.take() for _ in range(4))
            gates = x @ from_input + (first + second)

            def cell(state, gate, from_state=from_state):
                out, memory = state
                i, f, c, o = jnp.split((gate + out @ from_state).astype(jnp.float32), 4, -1)
                memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(c)
                out = (jax.nn.sigmoid(o) * jnp.tanh(memory)).astype(self.dtype)
                return (out, memory), out

            start = jnp.zeros((x.shape[1], hidden), self.dtype), jnp.zeros((x.shape[1], hidden), jnp.float32)
            _, x = lax.scan(cell, start, gates)
        return x


def natural(layers):
    """The weights as XLA likes them: kernels (height, width, in, out), matrices (in, out)."""
    arrays = iter(networks.weights(layers))
    out = []
    for layer in networks.walk(layers):
        for shape, _ in networks.shapes(layer):
            array = next(arrays)
            if len(shape) == 4:
                array = array.transpose(2, 3, 1, 0)
            elif len(shape) == 2 and layer[0] not in ("embedding", "bag"):
                array = array.T
            out.append(jnp.asarray(np.ascontiguousarray(array)))
    return out


def fresh_statistics(layers):
    """Mean and variance of each batch normalization."""
    return [(jnp.zeros(layer[1]), jnp.ones(layer[1])) for layer in networks.walk(layers) if layer[0] == "batch_norm"]


def floats(array):
    """A flat float32 NumPy array."""
    return np.asarray(array.astype(jnp.float32)).ravel()


# --- rows of a few operators

def repeated(run, arrays, calls):
    """A job that calls a function several times and waits for the last result."""
    def step():
        for _ in range(calls):
            out = run(*arrays)
        out.block_until_ready()

    return Job(step, lambda: floats(run(*arrays))[:64], calls)


def make_add(way):
    return repeated(lambda a, b: a + b, list(map(jnp.asarray, networks.small_arrays())), 500)


def make_chain(way):
    def run(x, factor, first, second):
        for _ in range(networks.CHAIN // 4):
            x = jax.nn.relu(x * factor + first) + second
        return x

    return repeated(jax.jit(run), list(map(jnp.asarray, networks.chain_arrays())), 50)


def make_dense(way):
    def run(x, weight, bias):
        return x @ weight.T + bias

    return repeated(jax.jit(run), list(map(jnp.asarray, networks.dense_arrays())), 500)


def make_big_chain(way, bf16):
    arrays = [jnp.asarray(x).astype(jnp.bfloat16 if bf16 else jnp.float32) for x in networks.big_arrays()]
    run = jax.jit(lambda a, b, c, d: jnp.tanh(a * b + c) * d)
    return Job(lambda: run(*arrays).block_until_ready(), lambda: [np.abs(floats(run(*arrays)[:1000000])).mean()])


def make_adam_step(way):
    state = [list(map(jnp.asarray, networks.weights(networks.NETWORKS["resnet50"].layers)))]
    gradients = [jnp.full_like(w, 0.01) for w in state[0]]
    state += [[jnp.zeros_like(w) for w in state[0]], [jnp.zeros_like(w) for w in state[0]], 0]

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(weights, means, squares, t, gradients):
        means = [0.9 * m + 0.1 * g for m, g in zip(means, gradients)]
        squares = [0.999 * s + 0.001 * g * g for s, g in zip(squares, gradients)]
        rate = 1e-3 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
        return [w - rate * m / (jnp.sqrt(s) + 1e-8) for w, m, s in zip(weights, means, squares)], means, squares

    def step():
        state[3] += 1
        state[:3] = update(*state, gradients)
        jax.block_until_ready(state[0])

    return Job(step, lambda: (step(), [sum(float(jnp.abs(w).sum()) for w in state[0])])[1])


# --- networks

def loss_of(network, out, target):
    if network.classes is None:
        return ((out.astype(jnp.float32) - target) ** 2).mean()
    likelihoods = jax.nn.log_softmax(out.astype(jnp.float32))
    return -jnp.take_along_axis(likelihoods, target.reshape(-1, 1), 1).mean()


def sparse_step(network):
    """SGD on an embedding whose gradient is that of the rows in the batch."""
    def train(parameters, x, target):
        table, weight, bias = parameters

        def loss(rows, weight, bias):
            return loss_of(network, rows.sum(1) @ weight + bias, target)

        error, (rows, d_weight, d_bias) = jax.value_and_grad(loss, (0, 1, 2))(table[x], weight, bias)
        rate = network.rate
        return error, [table.at[x].add(-rate * rows), weight - rate * d_weight, bias - rate * d_bias]

    return jax.jit(train, donate_argnums=0)


def make_network(name, mode, way, bf16):
    """Inference or a training step."""
    network = networks.NETWORKS[name]
    dtype = jnp.bfloat16 if bf16 else jnp.float32
    batch, target = networks.data(network)
    batch = jnp.asarray(batch.transpose(0, 2, 3, 1) if batch.ndim == 4 else batch)
    batch, target = batch.astype(dtype) if network.words is None else batch, jnp.asarray(target)
    parameters, statistics = natural(network.layers), fresh_statistics(network.layers)
    model = Model(network.layers, dtype, mode == "train")
    if mode == "infer":
        infer = jax.jit(lambda parameters, statistics, x: model(parameters, statistics, x)[0])
        parameters = [p.astype(dtype) for p in parameters]
        return Job(lambda: infer(parameters, statistics, batch).block_until_ready(),
                   lambda: floats(infer(parameters, statistics, batch))[:64])
    if name == "embedding":
        train, state = sparse_step(network), [parameters]
    else:
        train, state = dense_step(network, model), [parameters, [jnp.zeros_like(p) for p in parameters], statistics]

    def step():
        error, *state[:] = train(*state, batch, target)
        jax.block_until_ready(state)
        return error

    return Job(step, lambda: [float(step()) for _ in range(3)])


def dense_step(network, model):
    """SGD with momentum."""
    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def train(parameters, momenta, statistics, x, target):
        def loss(parameters):
            out, moved = model(parameters, statistics, x)
            return loss_of(network, out, target), moved

        (error, moved), gradients = jax.value_and_grad(loss, has_aux=True)(parameters)
        momenta = [network.momentum * m + g for m, g in zip(momenta, gradients)]
        return error, [p - network.rate * m for p, m in zip(parameters, momenta)], momenta, moved

    return train


def make(row, way, dtype):
    """The job of a row."""
    bf16 = dtype == "bf16"
    name, _, mode = row.rpartition("_")
    if name in networks.NETWORKS:
        return make_network(name, mode, way, bf16)
    return make_big_chain(way, bf16) if row == "big_chain" else globals()["make_" + row](way)
