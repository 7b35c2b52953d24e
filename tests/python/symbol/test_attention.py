# SPDX-License-Identifier: Apache-2.0
"""Plans compute attention as one operator: it must give what its composition gives."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd


def packed(F, x, heads, depth, **ops):
    t = F.transpose(F.reshape(x, (0, 0, 3, heads, depth)), (2, 0, 3, 1, 4))
    q, k, v = (F.reshape(z, (-3, 0, 0)) for z in F.split(t, num_outputs=3, axis=0, squeeze_axis=True))
    a = F.softmax(F.batch_dot(q, k, transpose_b=True) * depth**-0.5, axis=-1)
    a = F.reshape(F.batch_dot(a, v), (-4, -1, heads, 0, 0))
    return F.reshape(F.transpose(a, (0, 2, 1, 3)), (0, 0, -3))


def plain(F, q, k, v):
    return F.batch_dot(F.softmax(F.batch_dot(q, k, transpose_b=True)), v)


def scaled_before(F, q, k, v):
    return F.batch_dot(F.softmax(F.batch_dot(F.contrib.div_sqrt_dim(q), k, transpose_b=True), axis=2), v)


def keys_transposed(F, q, k, v):
    return F.batch_dot(F.softmax(F.batch_dot(q, F.transpose(k, (0, 2, 1))) / 2, temperature=3.0), v)


def four_axes(F, q, k, v):
    q, k, v = (F.transpose(x, (0, 2, 1, 3)) for x in (q, k, v))
    out = F.batch_dot(F.softmax(F.batch_dot(q, k, transpose_b=True) * 0.3), v)
    return F.swapaxes(out, 1, 2) * 2


def heads_kept(F, q, k, v):
    """The probabilities are an output too: nothing can be fused."""
    p = F.softmax(F.batch_dot(q, k, transpose_b=True))
    return F.Group([F.batch_dot(p, v), p]) if F is mx.sym else (F.batch_dot(p, v), p)


def uneven_split(F, x):
    """q, k and v do not fill the array that they are cut from."""
    q, k, v, _ = F.split(x, num_outputs=4, axis=2)
    return F.batch_dot(F.softmax(F.batch_dot(q, k, transpose_b=True)), v)


def triple(b, rows, keys, depth, width):
    return [(b, rows, depth), (b, keys, depth), (b, keys, width)]


CASES = {
    "packed": (lambda F, x: packed(F, x, 3, 5), [(2, 7, 45)]),
    "packed, one head": (lambda F, x: packed(F, x, 1, 8), [(2, 9, 24)]),
    "packed, one position": (lambda F, x: packed(F, x, 2, 4), [(3, 1, 24)]),
    "packed, vectors": (lambda F, x: packed(F, x, 2, 32), [(1, 70, 192)]),
    "plain": (plain, triple(3, 5, 9, 4, 7)),
    "long": (plain, triple(2, 131, 257, 17, 33)),
    "one key": (plain, triple(2, 6, 1, 3, 1)),
    "scaled before": (scaled_before, triple(2, 5, 6, 4, 3)),
    "keys transposed": (keys_transposed, triple(2, 5, 6, 4, 3)),
    "four axes": (four_axes, [(2, 5, 3, 4), (2, 6, 3, 4), (2, 6, 3, 2)]),
    "probabilities are read": (heads_kept, triple(2, 5, 6, 4, 3)),
    "uneven split": (uneven_split, [(2, 5, 16)]),
}


class Net(gluon.HybridBlock):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def hybrid_forward(self, F, *inputs):
        return self.function(F, *inputs)


def run(net, arrays, heads, grad_req="write"):
    arrays = [nd.array(a) for a in arrays]
    for a in arrays:
        a.attach_grad(grad_req)
        a.grad[:] = 1
    with autograd.record():
        out = net(*arrays)
    outs = out if isinstance(out, (list, tuple)) else [out]
    autograd.backward(list(outs), [nd.array(h) for h in heads[: len(outs)]])
    return [o.asnumpy() for o in outs], [a.grad.asnumpy() for a in arrays]


@pytest.mark.parametrize("grad_req", ["write", "add"])
@pytest.mark.parametrize("name", CASES)
def test_plan_agrees_with_the_composition(name, grad_req):
    function, shapes = CASES[name]
    rng = np.random.RandomState(len(name))
    arrays = [rng.normal(0, 1, s).astype("f") for s in shapes]
    eager, hybrid = Net(function), Net(function)
    hybrid.hybridize(static_alloc=True, static_shape=True)
    outs = eager(*[nd.array(a) for a in arrays])
    heads = [rng.normal(0, 1, o.shape).astype("f") for o in (outs if isinstance(outs, (list, tuple)) else [outs])]
    for mine, theirs in zip(run(hybrid, arrays, heads, grad_req), run(eager, arrays, heads, grad_req)):
        for a, b in zip(mine, theirs):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)
    for a, b in zip([hybrid(*[nd.array(x) for x in arrays])], [outs]):  # without recording
        for x, y in zip(a if isinstance(a, (list, tuple)) else [a], b if isinstance(b, (list, tuple)) else [b]):
            np.testing.assert_allclose(x.asnumpy(), y.asnumpy(), rtol=2e-5, atol=2e-5)


def test_gradient_by_finite_differences():
    rng = np.random.RandomState(5)
    x = rng.normal(0, 0.5, (1, 5, 18)).astype("f")
    net = Net(lambda F, x: packed(F, x, 2, 3))
    net.hybridize()
    weight = rng.normal(0, 1, (1, 5, 6)).astype("f")
    _, (gradient,) = run(net, [x], [weight])
    for place in rng.choice(x.size, 12, replace=False):
        values = []
        for step in (1e-2, -1e-2):
            moved = x.copy()
            moved.flat[place] += step
            values.append(float((net(nd.array(moved)).asnumpy().astype("d") * weight).sum()))
        assert abs((values[0] - values[1]) / 2e-2 - gradient.flat[place]) < 3e-3


def with_dropout(F, q, k, v):
    return F.batch_dot(F.Dropout(F.softmax(F.batch_dot(q, k, transpose_b=True)), p=0.5), v)


def test_dropout_between():
    arrays = [np.random.RandomState(1).normal(0, 1, s).astype("f") for s in triple(2, 6, 7, 4, 3)]
    eager, hybrid = Net(with_dropout), Net(with_dropout)
    hybrid.hybridize()
    results = []
    for net in (eager, hybrid):
        mx.random.seed(7)
        results.append(run(net, arrays, [np.ones((2, 6, 3), "f")]))
    for a, b in zip(results[0][0] + results[0][1], results[1][0] + results[1][1]):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        hybrid(*[nd.array(a) for a in arrays]).asnumpy(),
        plain(nd, *[nd.array(a) for a in arrays]).asnumpy(),
        rtol=1e-5,
        atol=1e-5,
    )


SCRIPT = """
import sys, zlib
sys.path.insert(0, {here!r})
import os
import pathlib
import subprocess
import sys

import numpy as np
import test_attention as t
for name in ("packed, vectors", "long", "keys transposed", "four axes"):
    function, shapes = t.CASES[name]
    rng = np.random.RandomState(3)
    net = t.Net(function)
    net.hybridize()
    arrays = [rng.normal(0, 1, s).astype("f") for s in shapes]
    head = rng.normal(0, 1, net(*[t.nd.array(a) for a in arrays]).shape).astype("f")
    outs, grads = t.run(net, arrays, [head])
    print(name, zlib.crc32(b"".join(a.tobytes() for a in outs + grads)))
"""


def test_it_is_fused_and_does_not_depend_on_the_team():
    texts = []
    for threads in ("1", "2"):
        environment = dict(os.environ, MXNET_CPU_WORKER_NTHREADS=threads, MXNET_VERBOSE_KERNELS="1")
        script = SCRIPT.format(here=str(pathlib.Path(__file__).parent))
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert "_backward_attention" in done.stderr
        assert "batch_dot" not in done.stderr
        texts.append(done.stdout)
    assert texts[0] == texts[1]
