# SPDX-License-Identifier: Apache-2.0
"""Random numbers depend on the seed and the program alone: not on threads, queue or instruction set."""

import os
import subprocess
import sys

import numpy as np
import pytest

import mxnet as mx

PROGRAM = """
import mxnet as mx, numpy as np, sys
mx.random.seed(5)
r = mx.nd.random
calls = [r.uniform(shape=(100003,)), r.normal(shape=(77, 1001)), r.gamma(2, 3, shape=(5001,)),
         r.poisson(20, shape=(5001,)),
         r.randint(0, 9, shape=(5001,)), mx.nd.shuffle(mx.nd.arange(3000)), r.uniform(shape=(7,)),
         r.normal(shape=(5001,), dtype='float64')]
sys.stdout.buffer.write(b''.join(x.astype('float32').asnumpy().tobytes() for x in calls))
"""


def numbers(**environment):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | environment, capture_output=True, timeout=120
    )
    assert result.returncode == 0, result.stderr.decode()
    return np.frombuffer(result.stdout, np.float32)


@pytest.mark.parametrize(
    "environment",
    [
        {"MXNET_CPU_WORKER_NTHREADS": "1"},
        {"MXNET_CPU_WORKER_NTHREADS": "3"},
        {"MXNET_DEBUG_QUEUE": "1"},
        {"MXNET_DEBUG_INLINE": "1"},
    ],
)
def test_same_numbers(environment):
    np.testing.assert_array_equal(numbers(), numbers(**environment))


def test_same_numbers_by_instruction_set():
    np.testing.assert_allclose(numbers(), numbers(MXNET_CPU_ISA="sse42"), rtol=1e-4, atol=1e-5)


def test_seed_and_devices():
    def draw(ctx=None):
        mx.random.seed(3)
        return mx.nd.random.uniform(shape=(9,), ctx=ctx).asnumpy()

    np.testing.assert_array_equal(draw(), draw())
    assert (draw(mx.cpu(0)) != draw(mx.cpu(1))).any()
    first, second = (mx.nd.random.uniform(shape=(9,)).asnumpy() for _ in range(2))
    assert (first != second).any()


def test_stream_is_uncorrelated():
    mx.random.seed(1)
    values = mx.nd.random.normal(shape=(2**18,)).asnumpy().astype(np.float64)
    for lag in (1, 16, 64):
        assert abs(np.mean(values[lag:] * values[:-lag])) < 4 / np.sqrt(values.size)
    assert 4 < np.abs(values).max() < 6
    assert abs(stats_kurtosis(values)) < 0.05


def stats_kurtosis(x):
    return np.mean(x**4) / np.mean(x**2) ** 2 - 3


def test_gradient_of_log_probability():
    p = mx.nd.array([0.2, 0.3, 0.5])
    p.attach_grad()
    with mx.autograd.record():
        draws, log_p = mx.nd.sample_multinomial(p, shape=(50,), get_prob=True)
    log_p.backward()
    counts = np.bincount(draws.asnumpy(), minlength=3)
    np.testing.assert_allclose(p.grad.asnumpy(), counts / p.asnumpy(), rtol=1e-5)
