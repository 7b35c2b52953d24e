# SPDX-License-Identifier: Apache-2.0
"""Descriptions of data, batches, and iterators over other iterators."""
from __future__ import annotations

import threading
from collections import namedtuple

import numpy as np

__all__ = ["DataBatch", "DataDesc", "DataIter", "PrefetchingIter", "ResizeIter"]


class DataDesc(namedtuple("DataDesc", ["name", "shape"])):
    """Name, shape, dtype and layout of an input; as a tuple it is (name, shape).

    In the layout, 'N' marks the axis of the samples: 'NCHW', 'NTC', ...
    """

    def __new__(cls, name, shape, dtype=np.float32, layout="NCHW"):
        desc = super().__new__(cls, name, shape)
        desc.dtype = dtype
        desc.layout = layout
        return desc

    def __repr__(self):
        return f"DataDesc[{self.name},{self.shape},{self.dtype},{self.layout}]"

    def __reduce__(self):
        return DataDesc, (self.name, self.shape, self.dtype, self.layout)

    @staticmethod
    def get_batch_axis(layout):
        """Where 'N' stands in a layout; 0 for no layout."""
        return 0 if layout is None else layout.find("N")

    @staticmethod
    def get_list(shapes, types):
        """Descriptions from (name, shape) pairs, and (name, dtype) pairs or None."""
        if types is None:
            return [DataDesc(name, shape) for name, shape in shapes]
        types = dict(types)
        return [DataDesc(name, shape, types[name]) for name, shape in shapes]


class DataBatch:
    """One batch.

    Parameters
    ----------
    data, label : list of NDArray
    pad : int, optional
        How many samples at the end only fill the batch up.
    index : array, optional
        Which samples these are.
    bucket_key : hashable, optional
        For modules with one graph for each length of input.
    provide_data, provide_label : list of DataDesc, optional
        What `data` and `label` hold.
    """

    def __init__(self, data, label=None, pad=None, index=None, bucket_key=None, provide_data=None, provide_label=None):
        for what, arrays in (("Data", data), ("Label", label)):
            if arrays is not None and not isinstance(arrays, (list, tuple)):
                raise AssertionError(f"{what} must be list of NDArrays, got {type(arrays).__name__}")
        self.data = data
        self.label = label
        self.pad = pad
        self.index = index
        self.bucket_key = bucket_key
        self.provide_data = provide_data
        self.provide_label = provide_label

    def __str__(self):
        data = [array.shape for array in self.data]
        label = [array.shape for array in self.label] if self.label else None
        return f"{type(self).__name__}: data shapes: {data} label shapes: {label}"


class DataIter:
    """Base of all iterators: `iter_next` goes to the next batch, and the `get` functions tell of it.

    A subclass may instead implement `next`, and has the properties `provide_data` and `provide_label`.
    """

    def __init__(self, batch_size=0):
        self.batch_size = batch_size

    def __iter__(self):
        return self

    def reset(self):
        """Begin again."""

    def next(self):
        """The next DataBatch; StopIteration after the last."""
        if self.iter_next():
            return DataBatch(data=self.getdata(), label=self.getlabel(), pad=self.getpad(), index=self.getindex())
        raise StopIteration

    def __next__(self):
        return self.next()

    def iter_next(self):
        """Go to the next batch; False after the last."""

    def getdata(self):
        """The current batch's data."""

    def getlabel(self):
        """The current batch's labels."""

    def getindex(self):
        """The current batch's sample numbers, or None."""
        return None

    def getpad(self):
        """How many samples of the current batch only fill it up."""


class ResizeIter(DataIter):
    """An epoch of exactly `size` batches of `data_iter`, which begins again where it ends.

    With `reset_internal`, `reset` also resets `data_iter`.
    """

    def __init__(self, data_iter, size, reset_internal=True):
        super().__init__()
        self.data_iter = data_iter
        self.size = size
        self.reset_internal = reset_internal
        self.cur = 0
        self.current_batch = None
        self.provide_data = data_iter.provide_data
        self.provide_label = data_iter.provide_label
        self.batch_size = data_iter.batch_size
        if hasattr(data_iter, "default_bucket_key"):
            self.default_bucket_key = data_iter.default_bucket_key

    def reset(self):
        self.cur = 0
        if self.reset_internal:
            self.data_iter.reset()

    def iter_next(self):
        if self.cur == self.size:
            return False
        try:
            self.current_batch = self.data_iter.next()
        except StopIteration:
            self.data_iter.reset()
            self.current_batch = self.data_iter.next()
        self.cur += 1
        return True

    def getdata(self):
        return self.current_batch.data

    def getlabel(self):
        return self.current_batch.label

    def getindex(self):
        return self.current_batch.index

    def getpad(self):
        return self.current_batch.pad


class _Prefetcher:
    """A thread that holds the next batch of one iterator ready. What the iterator raises comes out of `take`."""

    def __init__(self, source):
        self._source = source
        self._wanted = threading.Semaphore(1)
        self._ready = threading.Semaphore(0)
        self._result = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            self._wanted.acquire()
            if self._closed:
                return
            try:
                self._result = (self._source.next(), None)
            except StopIteration:
                self._result = (None, None)
            except Exception as error:
                self._result = (None, error)
            self._ready.release()

    def take(self):
        """The next batch, or None at the end; the thread goes on to the one after it."""
        self._ready.acquire()
        batch, error = self._result
        if error is not None:
            self._ready.release()
            raise error
        if batch is None:
            self._ready.release()
        else:
            self._wanted.release()
        return batch

    def restart(self):
        """Drop the batch that is held, reset the iterator and begin again."""
        self._ready.acquire()
        self._source.reset()
        self._wanted.release()

    def close(self):
        self._closed = True
        self._wanted.release()


class PrefetchingIter(DataIter):
    """Reads one or several iterators ahead, each in a thread; their data and labels come together in one batch.

    Parameters
    ----------
    iters : DataIter or list of DataIter
        All of the same number of batches.
    rename_data, rename_label : list of dict, optional
        For each iterator new names of its inputs.
    """

    def __init__(self, iters, rename_data=None, rename_label=None):
        super().__init__()
        self.iters = iters if isinstance(iters, list) else [iters]
        if not self.iters:
            raise AssertionError("PrefetchingIter: there are no iterators")
        self.n_iter = len(self.iters)
        self.rename_data = rename_data
        self.rename_label = rename_label
        self.batch_size = self.provide_data[0][1][0]
        self.current_batch = None
        self._prefetchers = [_Prefetcher(source) for source in self.iters]

    def __del__(self):
        for prefetcher in getattr(self, "_prefetchers", ()):
            prefetcher.close()

    @staticmethod
    def _renamed(descriptions, names):
        if names is None:
            return [desc for descs in descriptions for desc in descs]
        renamed = []
        for mapping, descs in zip(names, descriptions):
            for desc in descs:
                desc = desc if isinstance(desc, DataDesc) else DataDesc(*desc)
                renamed.append(DataDesc(mapping[desc.name], desc.shape, desc.dtype, desc.layout))
        return renamed

    @property
    def provide_data(self):
        """The inputs of all iterators, renamed."""
        return self._renamed([source.provide_data for source in self.iters], self.rename_data)

    @property
    def provide_label(self):
        """The labels of all iterators, renamed."""
        return self._renamed([source.provide_label for source in self.iters], self.rename_label)

    def reset(self):
        for prefetcher in self._prefetchers:
            prefetcher.restart()

    def iter_next(self):
        batches = [prefetcher.take() for prefetcher in self._prefetchers]
        if any(batch is None for batch in batches):
            if not all(batch is None for batch in batches):
                raise AssertionError("Number of entry mismatches between iterators")
            return False
        if any(batch.pad != batches[0].pad for batch in batches):
            raise AssertionError("Number of entry mismatches between iterators")
        self.current_batch = DataBatch([array for batch in batches for array in batch.data],
                                       [array for batch in batches for array in batch.label or ()],
                                       batches[0].pad, batches[0].index,
                                       provide_data=self.provide_data, provide_label=self.provide_label)
        return True

    def next(self):
        if self.iter_next():
            return self.current_batch
        raise StopIteration

    def getdata(self):
        return self.current_batch.data

    def getlabel(self):
        return self.current_batch.label

    def getindex(self):
        return self.current_batch.index

    def getpad(self):
        return self.current_batch.pad
