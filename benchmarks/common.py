# SPDX-License-Identifier: Apache-2.0
"""What all contenders share: the rows, their seeded weights and data."""

import dataclasses
from collections.abc import Callable

import numpy as np

# row -> (what it is, unit, the most that ours / peer may be, the most that ours may take in that unit)
ROWS = {
    "add": ("a + b on (4, 4)", "us", 0.5, 0.4),
    "add_recorded": ("a + b on (4, 4) under record", "us", 0.5, 0.8),
    "chain": ("20 elementwise calls on (64, 64)", "us", 0.5, None),
    "lenet": ("LeNet training step, batch 64, eager", "ms", 0.7, None),
    "lenet_hybrid": ("LeNet training step, batch 64, hybridized; the peer stays eager", "ms", 0.5, None),
}
BATCH = 64
LEARNING_RATE = 0.01
MOMENTUM = 0.9
CHAIN = 20


@dataclasses.dataclass
class Job:
    """`step` runs `calls` calls and waits for them; `check` gives numbers that all contenders must agree on."""

    step: Callable[[], None]
    calls: int
    check: Callable[[], list]


def small_arrays():
    """Two arrays of shape (4, 4)."""
    rng = np.random.default_rng(1)
    return [rng.standard_normal((4, 4)).astype("float32") for _ in range(2)]


def chain_arrays():
    """Two arrays of shape (64, 64), positive."""
    rng = np.random.default_rng(2)
    return [rng.uniform(0.5, 1.5, (64, 64)).astype("float32") for _ in range(2)]


def lenet_data():
    """A batch of images (64, 1, 28, 28) and their labels."""
    rng = np.random.default_rng(3)
    return rng.standard_normal((BATCH, 1, 28, 28)).astype("float32"), rng.integers(0, 10, BATCH)


def lenet_weights():
    """Weight and bias of conv 20, conv 50, dense 500, dense 10."""
    rng = np.random.default_rng(4)
    shapes = [(20, 1, 5, 5), (50, 20, 5, 5), (500, 800), (10, 500)]
    arrays = []
    for shape in shapes:
        bound = (3.0 / np.prod(shape[1:])) ** 0.5
        arrays += [rng.uniform(-bound, bound, shape).astype("float32"), np.zeros(shape[0], "float32")]
    return arrays
