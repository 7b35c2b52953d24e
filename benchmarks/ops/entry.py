# SPDX-License-Identifier: Apache-2.0
"""The form of an entry of the single-operator benchmark.

    "take": Op("nd.take(b, a)", "torch.index_select(b, 0, a)", a=WORDS.below(1000), b=TABLE, backward="b")

gives the program as MXNet and as PyTorch users write it (None where PyTorch has no such function), and its inputs in a
small and a large size. With `backward`, which names the inputs that get a gradient, there is a second pair of rows that
times the recorded call and its backward pass. The programs see `nd` and `mx`, or `torch` and `F`, and the inputs.
"""

import dataclasses

import numpy as np

SMALL, LARGE = "small", "large"


@dataclasses.dataclass(frozen=True)
class Array:
    """Seeded random numbers; normally distributed unless one of the methods says otherwise."""

    small: tuple
    large: tuple
    fill: tuple = ("normal",)
    dtype: str = None  # for both; without one, float32, and int64 in PyTorch for what `below` made

    def positive(self):
        """Numbers above 0.1."""
        return dataclasses.replace(self, fill=("positive",))

    def within(self, low, high):
        """Uniform numbers of a range."""
        return dataclasses.replace(self, fill=("within", low, high))

    def below(self, bound):
        """Integers from 0; a pair of bounds is of the small and the large size."""
        return dataclasses.replace(self, fill=("below", *(bound if isinstance(bound, tuple) else (bound, bound))))

    def of(self, dtype):
        """Elements of this type."""
        return dataclasses.replace(self, dtype=dtype)

    def shape(self, size):
        return self.large if size == LARGE else self.small

    def make(self, size, rng):
        """The NumPy array."""
        kind, *bounds = self.fill
        if kind == "below":
            return rng.integers(0, bounds[size == LARGE], self.shape(size)).astype(self.dtype or np.int64)
        if kind == "within":
            array = rng.uniform(*bounds, self.shape(size)).astype(np.float32)
        else:
            array = rng.standard_normal(self.shape(size), np.float32)
        if kind == "positive":
            array = np.abs(array) + np.float32(0.1)
        return array.astype(self.dtype or np.float32)


@dataclasses.dataclass(frozen=True)
class Each:
    """A plain value for each size (a shape, a count), seen by the programs as it is."""

    small: object
    large: object

    def make(self, size, rng):
        return self.large if size == LARGE else self.small


@dataclasses.dataclass(frozen=True)
class Op:
    """One operator; see the module."""

    mxnet: str
    torch: str
    inputs: dict
    backward: str  # names of the inputs that get a gradient, such as "a b"; "": no such rows
    first: tuple  # statements that run once before the call, of MXNet and of PyTorch
    compared: bool  # whether contenders must compute the same (not so where numbers are drawn)

    def __init__(self, mxnet, torch=None, *, backward="", first=("", ""), compared=True, **inputs):
        for name, value in zip(("mxnet", "torch", "inputs", "backward", "first", "compared"),
                               (mxnet, torch, inputs, backward, first, compared)):
            object.__setattr__(self, name, value)


SQUARE = Array((64, 64), (2048, 1024))
ROW = Array((1, 64), (1, 1024))
COLUMN = Array((64, 1), (2048, 1))
ROWS = Array((8, 64), (1024, 1024))
CHANNELS = Array((64,), (1024,))
IMAGES = Array((1, 16, 14, 14), (8, 64, 56, 56))
WORDS = Array((16,), (4096,))
TABLE = Array((1000, 64), (50000, 256))
