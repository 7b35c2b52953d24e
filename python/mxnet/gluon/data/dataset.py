# SPDX-License-Identifier: Apache-2.0
"""Data sets: anything with a length and samples by number, and what can be made of one."""
from __future__ import annotations

from ...ndarray import NDArray
from .sampler import FilterSampler, Sampler

__all__ = ["ArrayDataset", "Dataset", "SimpleDataset"]


class Dataset:
    """Base of all data sets; a subclass implements `__getitem__(idx)` and `__len__()`."""

    def __getitem__(self, idx):
        """Sample number `idx`."""
        raise NotImplementedError(f"{type(self).__name__} must implement __getitem__")

    def __len__(self):
        """The number of samples."""
        raise NotImplementedError(f"{type(self).__name__} must implement __len__")

    def filter(self, fn):
        """The samples for which `fn(sample)` is true; it is asked of all of them at once."""
        return _SampledDataset(self, FilterSampler(fn, self))

    def shard(self, num_shards, index):
        """Part `index` of `num_shards` parts of almost equal size; the first ones are one longer."""
        if not isinstance(index, int) or not 0 <= index < num_shards:
            raise AssertionError(f"Shard index of out bound: {index} out of {num_shards}")
        part, longer = divmod(len(self), num_shards)
        begin = part * index + min(index, longer)
        return _SampledDataset(self, range(begin, begin + part + (index < longer)))

    def take(self, count):
        """The first `count` samples; all of them for None or more than there are."""
        if count is not None and count < 0:
            raise AssertionError(f"count must be non-negative, got {count}")
        return _SampledDataset(self, range(len(self) if count is None else min(count, len(self))))

    def sample(self, sampler):
        """The samples in the order of a Sampler."""
        if not isinstance(sampler, Sampler):
            raise TypeError(f"Invalid sampler type: {type(sampler)}, it must be a Sampler")
        return _SampledDataset(self, sampler)

    def transform(self, fn, lazy=True):
        """The samples changed by `fn`: `fn(x)`, or `fn(x, y)` where a sample is a tuple (x, y).

        With `lazy` they are changed each time they are read; otherwise once, now.
        """
        changed = _TransformedDataset(self, fn)
        return changed if lazy else SimpleDataset([changed[i] for i in range(len(changed))])

    def transform_first(self, fn, lazy=True):
        """The samples with only their first part changed: (x, y) becomes (fn(x), y)."""
        return self.transform(_FirstOnly(fn), lazy)


class _FirstOnly:
    """A function of a whole sample from one of its first part; an object, so that worker processes can receive it."""

    def __init__(self, fn):
        self._fn = fn

    def __call__(self, x, *args):
        return (self._fn(x), *args) if args else self._fn(x)


class _TransformedDataset(Dataset):
    def __init__(self, data, fn):
        self._data = data
        self._fn = fn

    def __len__(self):
        return len(self._data)

    def __getitem__(self, idx):
        sample = self._data[idx]
        return self._fn(*sample) if isinstance(sample, tuple) else self._fn(sample)


class _SampledDataset(Dataset):
    def __init__(self, data, indices):
        self._data = data
        self._indices = list(indices)

    def __len__(self):
        return len(self._indices)

    def __getitem__(self, idx):
        return self._data[self._indices[idx]]


class SimpleDataset(Dataset):
    """A list, or anything with a length and items, as a data set."""

    def __init__(self, data):
        self._data = data

    def __len__(self):
        return len(self._data)

    def __getitem__(self, idx):
        return self._data[idx]


class ArrayDataset(Dataset):
    """Arrays or lists of equal length side by side: sample i is the tuple of their items i.

    AssertionError if the lengths differ.
    """

    def __init__(self, *args):
        if not args:
            raise AssertionError("Needs at least 1 arrays")
        self._length = len(args[0])
        self._data = []
        for i, data in enumerate(args):
            if len(data) != self._length:
                raise AssertionError("All arrays must have the same length; array[0] has length "
                                     f"{self._length} while array[{i}] has {len(data)}.")
            # Single numbers are read faster, and in worker processes, from NumPy.
            self._data.append(data.asnumpy() if isinstance(data, NDArray) and data.ndim == 1 else data)

    def __getitem__(self, idx):
        if len(self._data) == 1:
            return self._data[0][idx]
        return tuple(data[idx] for data in self._data)

    def __len__(self):
        return self._length
