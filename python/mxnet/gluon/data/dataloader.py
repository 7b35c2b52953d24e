# SPDX-License-Identifier: Apache-2.0
"""DataLoader: batches of a data set, made in this process, in threads or in worker processes."""
from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

import numpy as np

from ... import ndarray as nd
from ...context import cpu_pinned
from ._workers import FromWorker, WorkerPool
from .sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader", "default_batchify_fn", "default_mp_batchify_fn"]


def default_batchify_fn(data):
    """A batch from a list of samples: arrays and numbers are stacked, tuples become lists of batches."""
    if isinstance(data[0], nd.NDArray):
        return nd.stack(*data)
    if isinstance(data[0], tuple):
        return [default_batchify_fn(column) for column in zip(*data)]
    data = np.asarray(data)
    return nd.array(data, dtype=data.dtype)


def default_mp_batchify_fn(data):
    """The default of loaders with worker processes; its result is that of `default_batchify_fn`."""
    return default_batchify_fn(data)


def _stack_in_worker(data):
    """`default_batchify_fn` by NumPy alone: the loader makes the NDArrays, in the main process."""
    if isinstance(data[0], nd.NDArray):
        return FromWorker(np.stack([sample.asnumpy() for sample in data]))
    if isinstance(data[0], tuple):
        return [_stack_in_worker(column) for column in zip(*data)]
    return FromWorker(np.asarray(data))


def _map_arrays(batch, kind, function):
    """`batch` with `function` applied to all leaves of type `kind` in nested lists, tuples and dicts."""
    if isinstance(batch, kind):
        return function(batch)
    if isinstance(batch, (list, tuple)) and not hasattr(batch, "_fields"):
        return type(batch)(_map_arrays(item, kind, function) for item in batch)
    if isinstance(batch, dict):
        return {key: _map_arrays(item, kind, function) for key, item in batch.items()}
    return batch


class _ThreadIter:
    """Batches made by threads, in order, at most `prefetch` ahead."""

    def __init__(self, loader, executor):
        self._loader = loader
        self._executor = executor
        self._batches = iter(loader._batch_sampler)
        self._pending = deque()
        for _ in range(max(1, loader._prefetch)):
            self._submit()

    def _submit(self):
        indices = next(self._batches, None)
        if indices is not None:
            self._pending.append(self._executor.submit(self._loader._make_batch, indices))

    def __iter__(self):
        return self

    def __next__(self):
        if not self._pending:
            raise StopIteration
        future = self._pending.popleft()
        try:
            batch = future.result(self._loader._timeout)
        except FutureTimeoutError as error:
            if future.done():  # the data set's own error
                raise
            raise self._loader._timed_out() from error
        self._submit()
        return batch


class _ProcessIter:
    """Batches made by worker processes, in order, at most `prefetch` ahead."""

    def __init__(self, loader, pool):
        self._loader = loader
        self._pool = pool
        self._batches = iter(loader._batch_sampler)
        self._pending = deque()
        for _ in range(max(1, loader._prefetch)):
            self._submit()

    def _submit(self):
        indices = next(self._batches, None)
        if indices is not None:
            self._pending.append(self._pool.submit(indices))

    def __iter__(self):
        return self

    def __next__(self):
        if not self._pending:
            raise StopIteration
        ticket = self._pending.popleft()
        try:
            batch = self._pool.result(ticket, self._loader._timeout)
        except TimeoutError as error:
            raise self._loader._timed_out() from error
        self._submit()
        return self._loader._arrived(batch)

    def __del__(self):
        pool = getattr(self, "_pool", None)
        if pool is not None:
            pool.forget(self._pending)


class DataLoader:
    """Iterates over a data set in batches.

    Parameters
    ----------
    dataset : Dataset
        Or anything with a length and items.
    batch_size : int
    shuffle : bool
        Whether each epoch takes the samples in a new order.
    sampler : Sampler, optional
        The order of the samples, instead of `shuffle`.
    last_batch : {'keep', 'discard', 'rollover'}
        What happens to samples at the end that do not fill a batch; see BatchSampler.
    batch_sampler : Sampler, optional
        Gives lists of sample numbers; instead of `batch_size`, `shuffle`, `sampler` and `last_batch`.
    batchify_fn : callable, optional
        Makes a batch of a list of samples.
    num_workers : int
        Worker processes that read samples and make batches; 0 for none. They are forked at the first epoch and stay.
    pin_memory : bool
        Whether batches lie in `cpu_pinned(pin_device_id)`.
    prefetch : int, optional
        Batches to make ahead; 2 · `num_workers` by default.
    thread_pool : bool
        Whether the workers are threads of this process.
    timeout : int
        Seconds to wait for a batch before multiprocessing.TimeoutError is raised.
    auto_reload : bool
        Whether workers begin with the next epoch before it is asked for.

    An exception in a worker is raised where the batch is asked for, with the worker's traceback as its cause, and
    RuntimeError if a worker dies. Leaving an epoch early is fine.

    >>> from mxnet import gluon
    >>> [batch.shape for batch in gluon.data.DataLoader(list(range(5)), batch_size=2)]
    [(2,), (2,), (1,)]
    """

    def __init__(self, dataset, batch_size=None, shuffle=False, sampler=None, last_batch=None, batch_sampler=None,
                 batchify_fn=None, num_workers=0, pin_memory=False, pin_device_id=0, prefetch=None, thread_pool=False,
                 timeout=120, auto_reload=False):
        self._pool = None
        self._executor = None
        self._dataset = dataset
        self._pin_context = cpu_pinned(pin_device_id) if pin_memory else None
        self._thread_pool = thread_pool
        if timeout <= 0:
            raise AssertionError(f"timeout must be positive, got {timeout}")
        self._timeout = timeout
        self._batch_sampler = self._make_sampler(batch_size, shuffle, sampler, last_batch, batch_sampler)
        self._num_workers = max(0, num_workers)
        self._prefetch = max(0, int(prefetch) if prefetch is not None else 2 * self._num_workers)
        if batchify_fn is None or batchify_fn is default_mp_batchify_fn:
            in_processes = self._num_workers > 0 and not thread_pool
            batchify_fn = _stack_in_worker if in_processes else default_batchify_fn
        self._batchify_fn = batchify_fn
        self._auto_reload = auto_reload and self._num_workers > 0
        self._iter = None
        if self._auto_reload:
            self.refresh()

    def _make_sampler(self, batch_size, shuffle, sampler, last_batch, batch_sampler):
        if batch_sampler is not None:
            if batch_size is not None or shuffle or sampler is not None or last_batch is not None:
                raise ValueError("batch_size, shuffle, sampler and last_batch must not be specified if batch_sampler "
                                 "is specified.")
            return batch_sampler
        if batch_size is None:
            raise ValueError("batch_size must be specified unless batch_sampler is specified")
        if sampler is None:
            sampler = (RandomSampler if shuffle else SequentialSampler)(len(self._dataset))
        elif shuffle:
            raise ValueError("shuffle must not be specified if sampler is specified")
        return BatchSampler(sampler, batch_size, last_batch or "keep")

    def __len__(self):
        return len(self._batch_sampler)

    def __iter__(self):
        if self._num_workers == 0:
            return map(self._make_batch, self._batch_sampler)
        if not self._auto_reload:
            return self._start()
        if self._iter is None:
            self.refresh()
        return self._reloading()

    def _reloading(self):
        yield from self._iter
        self.refresh()

    def _start(self):
        """An iterator over one epoch, whose workers are busy already."""
        if self._thread_pool:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._num_workers, thread_name_prefix="DataLoader")
            return _ThreadIter(self, self._executor)
        if self._pool is None or self._pool.broken:
            self._pool = WorkerPool(self._num_workers, self._dataset, self._batchify_fn)
        return _ProcessIter(self, self._pool)

    def refresh(self):
        """Let the workers begin with a new epoch now; it is what the next `iter` gives."""
        self._iter = self._start() if self._num_workers > 0 else None

    def clean(self):
        """Drop the epoch that `refresh` began."""
        self._iter = None

    def _make_batch(self, indices):
        return self._arrived(self._batchify_fn([self._dataset[i] for i in indices]))

    def _arrived(self, batch):
        """The batch as the caller gets it: NDArrays, pinned if wished."""
        ctx = self._pin_context
        batch = _map_arrays(batch, FromWorker, lambda array: nd.array(array.values, ctx=ctx, dtype=array.values.dtype))
        if ctx is not None:
            batch = _map_arrays(batch, nd.NDArray, lambda array: array.as_in_context(ctx))
        return batch

    def _timed_out(self):
        workers = "thread" if self._thread_pool else "process"
        return multiprocessing.TimeoutError(
            f"DataLoader: no worker {workers} delivered a batch within {self._timeout} s. Reading a sample is slow or "
            "hangs; try num_workers=0 to see where, or a larger timeout.")

    def __del__(self):
        if self._pool is not None:
            self._pool.close()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
