# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules; the expected numbers are those of MXNet 1.9.1."""
import pytest
from numpy.testing import assert_allclose

from mxnet import lr_scheduler as ls

COSINE = [0.3, 0.5333333333333333, 0.7666666666666666, 1.0, 0.9554359905560885, 0.8305704108364301,
          0.6501344202803414, 0.44986557971965857, 0.26942958916356996, 0.14456400944391146, 0.1, 0.1, 0.1]


@pytest.mark.parametrize("schedule, expected", [
    (ls.FactorScheduler(3, 0.5, stop_factor_lr=0.2, base_lr=1.0),
     [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2]),
    (ls.MultiFactorScheduler([2, 5], 0.1, base_lr=1.0), [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),
    (ls.PolyScheduler(10, 1.0, 2, 0.1), [1, 0.829, 0.676, 0.541, 0.424, 0.325, 0.244, 0.181, 0.136, 0.109, 0.1, 0.1]),
    (ls.CosineScheduler(10, 1.0, 0.1, warmup_steps=3, warmup_begin_lr=0.3), COSINE),
    (ls.PolyScheduler(10, 1.0, 2, 0.1, warmup_steps=3, warmup_begin_lr=0.3, warmup_mode="constant"),
     [0.3, 0.3, 0.3, 1, 0.7612244897959185, 0.5591836734693878]),
])
def test_values(schedule, expected):
    assert_allclose([schedule(i) for i in range(len(expected))], expected, rtol=1e-12)


@pytest.mark.parametrize("make, error", [
    (lambda: ls.FactorScheduler(0), ValueError), (lambda: ls.FactorScheduler(1, 2), ValueError),
    (lambda: ls.MultiFactorScheduler(3), AssertionError), (lambda: ls.MultiFactorScheduler([0]), ValueError),
    (lambda: ls.MultiFactorScheduler([3, 3]), ValueError), (lambda: ls.PolyScheduler(1.5), AssertionError),
    (lambda: ls.CosineScheduler(0), ValueError), (lambda: ls.LRScheduler(warmup_mode="x"), ValueError),
    (lambda: ls.LRScheduler(warmup_begin_lr=1), ValueError), (lambda: ls.LRScheduler(warmup_steps=-1), ValueError),
    (lambda: ls.LRScheduler(warmup_steps=1.0), AssertionError), (lambda: ls.LRScheduler()(1), NotImplementedError),
])
def test_bad_arguments(make, error):
    with pytest.raises(error):
        make()
