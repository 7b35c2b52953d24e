# SPDX-License-Identifier: Apache-2.0
"""NDArrayIter: batches of arrays in memory."""
from __future__ import annotations

import numpy as np

from .. import ndarray as nd
from .io import DataDesc, DataIter

__all__ = ["NDArrayIter"]


def _named_arrays(data, allow_empty, default_name):
    """[(name, NDArray)] from an array, a list of arrays, or a dict of arrays by name."""
    if data is None:
        data = []
    if isinstance(data, (np.ndarray, nd.NDArray)):
        data = [data]
    if isinstance(data, (list, tuple)):
        if not data and not allow_empty:
            raise AssertionError("NDArrayIter: there is no data")
        if len(data) == 1:
            data = {default_name: data[0]}
        else:
            data = {f"_{i}_{default_name}": array for i, array in enumerate(data)}
    if not isinstance(data, dict):
        raise TypeError("Input must be NDArray, numpy.ndarray, a list of them or dict with them as values, "
                        f"got {type(data).__name__}")
    return [(name, _as_ndarray(name, array)) for name, array in data.items()]


def _as_ndarray(name, array):
    if isinstance(array, nd.NDArray):
        return array
    try:
        return nd.array(array)
    except (TypeError, ValueError) as error:
        raise TypeError(f"Invalid type '{type(array)}' for {name}, should be NDArray or numpy.ndarray") from error


class NDArrayIter(DataIter):
    """Batches of arrays that are in memory.

    Parameters
    ----------
    data, label : array, list of arrays, or dict of name to array
        Arrays of MXNet or NumPy, all with the samples along the first axis; label may be None.
    batch_size : int
    shuffle : bool
        Whether each epoch takes the samples in a new order (of NumPy's global generator).
    last_batch_handle : {'pad', 'discard', 'roll_over'}
        What happens to the last samples of an epoch, if they are fewer than a batch: filled up with samples of the
        beginning (`pad` tells how many), dropped, or kept for the first batch of the next epoch (whose `pad` tells how
        many those are).
    data_name, label_name : str
        The names of arrays given without one.
    layout : str
        See DataDesc.

    >>> import mxnet as mx, numpy as np
    >>> batches = mx.io.NDArrayIter(np.arange(10).reshape(5, 2), np.arange(5), batch_size=2)
    >>> [batch.pad for batch in batches]
    [0, 0, 1]
    """

    def __init__(self, data, label=None, batch_size=1, shuffle=False, last_batch_handle="pad", data_name="data",
                 label_name="softmax_label", layout="NCHW"):
        super().__init__(batch_size)
        if last_batch_handle not in ("pad", "discard", "roll_over"):
            raise ValueError("last_batch_handle must be 'pad', 'discard' or 'roll_over', "
                             f"got {last_batch_handle!r}")
        self.data = _named_arrays(data, False, data_name)
        self.label = _named_arrays(label, True, label_name)
        self.num_data = len(self.data[0][1])
        for name, array in self.data + self.label:
            if len(array) != self.num_data:
                raise ValueError(f"NDArrayIter: {name} has {len(array)} samples, {self.data[0][0]} has {self.num_data}")
        self.idx = np.arange(self.num_data)
        self._samples = self.idx.copy()
        self.shuffle = shuffle
        self.last_batch_handle = last_batch_handle
        self.layout = layout
        self.data_list = [array for _, array in self.data + self.label]
        self.num_source = len(self.data_list)
        self._left_over = self.idx[:0]  # the samples at the end of an epoch that roll over to the next one
        self.reset()

    def _descriptions(self, arrays):
        return [DataDesc(name, (self.batch_size, *array.shape[1:]), array.dtype, self.layout) for name, array in arrays]

    @property
    def provide_data(self):
        """Names and shapes of the data."""
        return self._descriptions(self.data)

    @property
    def provide_label(self):
        """Names and shapes of the labels."""
        return self._descriptions(self.label)

    def hard_reset(self):
        """Begin again, and forget what rolled over."""
        self._left_over = self.idx[:0]
        self._begin()

    def reset(self):
        """Begin the next epoch."""
        self._begin()

    def _begin(self):
        if self.shuffle:  # each epoch permutes the order of the last one
            np.random.shuffle(self.idx)
            self._samples = self._samples[self.idx]
        self._rolled = len(self._left_over)
        self._order = np.concatenate([self._left_over, self._samples])
        self._left_over = self.idx[:0]
        self.cursor = -self.batch_size

    def iter_next(self):
        self.cursor += self.batch_size
        remaining = len(self._order) - self.cursor
        if remaining >= self.batch_size or (remaining > 0 and self.last_batch_handle == "pad"):
            return True
        if remaining > 0 and self.last_batch_handle == "roll_over":
            self._left_over = self._order[self.cursor:].copy()
        return False

    def _take(self, arrays):
        """The current batch's rows of the arrays."""
        begin, end = self.cursor, self.cursor + self.batch_size
        if not self.shuffle and not self._rolled and end <= len(self._order):
            return [array[begin:end] if array.stype == "csr" else nd.slice_axis(array, axis=0, begin=begin, end=end)
                    for _, array in arrays]
        rows = np.take(self._order, np.arange(begin, end), mode="wrap")
        return [array._take_rows(rows) if array.stype == "csr"
                else nd.take(array, nd.array(rows, dtype="int64", ctx=array.context)) for _, array in arrays]

    def getdata(self):
        return self._take(self.data)

    def getlabel(self):
        return self._take(self.label)

    def getpad(self):
        if self.last_batch_handle == "pad":
            return max(0, self.cursor + self.batch_size - len(self._order))
        return self._rolled if self.cursor == 0 else 0
