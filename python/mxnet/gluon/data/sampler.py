# SPDX-License-Identifier: Apache-2.0
"""Samplers: the order in which a loader reads samples."""
from __future__ import annotations

import numpy as np

__all__ = ["BatchSampler", "FilterSampler", "IntervalSampler", "RandomSampler", "Sampler", "SequentialSampler"]


class Sampler:
    """Base of all samplers: iterable, with a length."""

    def __len__(self):
        """How many items an iteration gives."""
        raise NotImplementedError(f"{type(self).__name__} must implement __len__")

    def __iter__(self):
        """The items of one epoch."""
        raise NotImplementedError(f"{type(self).__name__} must implement __iter__")


class SequentialSampler(Sampler):
    """`start`, `start + 1`, ... : `length` numbers."""

    def __init__(self, length, start=0):
        self._length = length
        self._start = start

    def __iter__(self):
        return iter(range(self._start, self._start + self._length))

    def __len__(self):
        return self._length


class RandomSampler(Sampler):
    """0 ... `length` - 1 in a new order each time, of NumPy's global generator."""

    def __init__(self, length):
        self._length = length

    def __iter__(self):
        indices = np.arange(self._length)
        np.random.shuffle(indices)
        return iter(indices)

    def __len__(self):
        return self._length


class FilterSampler(Sampler):
    """The numbers of the samples of `dataset` for which `fn(sample)` is true; asked once, at the beginning."""

    def __init__(self, fn, dataset):
        self._fn = fn
        self._dataset = dataset
        self._indices = [i for i in range(len(dataset)) if fn(dataset[i])]

    def __iter__(self):
        return iter(self._indices)

    def __len__(self):
        return len(self._indices)


class IntervalSampler(Sampler):
    """0, `interval`, 2 · `interval`, ... below `length`; with `rollover` then from 1, from 2, ..., until all came.

    >>> from mxnet.gluon.data import IntervalSampler
    >>> list(IntervalSampler(7, interval=3))
    [0, 3, 6, 1, 4, 2, 5]
    """

    def __init__(self, length, interval, rollover=True):
        if interval > length:
            raise AssertionError(f"Interval {interval} must be smaller than or equal to length {length}")
        self._length = length
        self._interval = interval
        self._rollover = rollover

    def __iter__(self):
        for start in range(self._interval if self._rollover else 1):
            yield from range(start, self._length, self._interval)

    def __len__(self):
        return self._length if self._rollover else -(-self._length // self._interval)


class BatchSampler(Sampler):
    """Lists of `batch_size` items of another sampler.

    `last_batch` says what happens to a shorter rest: 'keep', 'discard', or 'rollover' to the next epoch.
    ValueError for another word.
    """

    def __init__(self, sampler, batch_size, last_batch="keep"):
        if last_batch not in ("keep", "discard", "rollover"):
            raise ValueError(f"last_batch must be one of 'keep', 'discard', or 'rollover', but got {last_batch}")
        self._sampler = sampler
        self._batch_size = batch_size
        self._last_batch = last_batch
        self._prev = []

    def __iter__(self):
        batch, self._prev = self._prev, []
        for item in self._sampler:
            batch.append(item)
            if len(batch) == self._batch_size:
                yield batch
                batch = []
        if batch:
            if self._last_batch == "keep":
                yield batch
            elif self._last_batch == "rollover":
                self._prev = batch

    def __len__(self):
        if self._last_batch == "keep":
            return -(-len(self._sampler) // self._batch_size)
        rolled = len(self._prev) if self._last_batch == "rollover" else 0
        return (rolled + len(self._sampler)) // self._batch_size
