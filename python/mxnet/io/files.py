# SPDX-License-Identifier: Apache-2.0
"""Iterators over files: CSV tables and MNIST's idx files."""
from __future__ import annotations

import gzip
import math
import os
import struct

import numpy as np

from .. import ndarray as nd
from ..base import MXNetError
from .io import DataBatch, DataDesc, DataIter

__all__ = ["CSVIter", "MNISTIter", "read_idx"]

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path):
    """The array in an idx file (the format of MNIST), which may be compressed with gzip.

    MXNetError if there is no such file or it is damaged.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise MXNetError(f"cannot read {path}: {error.strerror}") from error
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        zero, code, ndim = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{ndim}I", content, 4)
        dtype = np.dtype(_IDX_DTYPES[code])
    except (struct.error, KeyError, EOFError, OSError) as error:
        raise MXNetError(f"{path} is not an idx file, or it is truncated") from error
    begin = 4 + 4 * ndim
    if zero != 0 or len(content) - begin < math.prod(shape) * dtype.itemsize:
        raise MXNetError(f"{path} is damaged: it should hold an array of shape {shape}, but has {len(content)} bytes")
    array = np.frombuffer(content, dtype, count=math.prod(shape), offset=begin).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


class _TableIter(DataIter):
    """Batches of NumPy arrays `data` and `label` in memory, with the names 'data' and `label_name`."""

    def __init__(self, data, label, batch_size, data_name, label_name, dtype):
        super().__init__(batch_size)
        self._count = len(data)
        self._data = data
        self._label = label
        self._dtype = np.dtype(dtype).type
        self.provide_data = [DataDesc(data_name, (batch_size, *data.shape[1:]), self._dtype)]
        self.provide_label = [DataDesc(label_name, (batch_size, *label.shape[1:]), self._dtype)]

    def _batch(self, rows, pad, index):
        return DataBatch([nd.array(self._data[rows], dtype=self._dtype)],
                         [nd.array(self._label[rows], dtype=self._dtype)],
                         pad=pad, index=index)


class Rounds:
    """`reset` and `next` of iterators over `_count` rows: `_batch(rows, pad, index)` makes a batch.

    The last batch is filled up with the first rows, which the next epoch then leaves out; without `_round_batch` with
    the last row.
    """

    _round_batch = True
    _cursor = _overlap = 0

    def reset(self):
        self._cursor = self._overlap
        self._overlap = 0

    def next(self):
        count = self._count
        if self._cursor >= count:
            raise StopIteration
        end = self._cursor + self.batch_size
        pad = max(0, end - count)
        rows = np.arange(self._cursor, end)
        if self._round_batch:
            self._overlap = pad % count
            rows %= count
        else:
            rows = np.minimum(rows, count - 1)
        self._cursor = end
        return self._batch(rows, pad, rows.astype(np.uint64))


def _read_table(path, shape, what):
    if not os.path.exists(path):
        raise MXNetError(f"CSVIter: cannot find {what} {path}")
    try:
        table = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    except ValueError as error:
        raise MXNetError(f"CSVIter: {what} {path}: {error}") from error
    size = math.prod(shape)
    if table.shape[1] != size:
        raise MXNetError(f"CSVIter: the rows of {path} have {table.shape[1]} numbers, but the shape {tuple(shape)} "
                         f"needs {size}")
    return table.reshape(len(table), *shape)


class CSVIter(Rounds, _TableIter):
    """Batches of the rows of CSV files.

    Parameters
    ----------
    data_csv : str
        One sample a line.
    data_shape : tuple of int
        The shape that a row becomes.
    label_csv : str, optional
        One label a line; labels are 0 without it.
    label_shape : tuple of int
        The shape of a label; of (1,) comes a batch of shape (batch_size,).
    batch_size : int
    round_batch : bool
        Whether the last batch is filled up with samples of the beginning, which the next epoch then leaves out.
    dtype : str

    MXNetError for a file that is missing or does not fit the shape.
    """

    def __init__(self, data_csv, data_shape, label_csv=None, label_shape=(1,), batch_size=1, round_batch=True,
                 data_name="data", label_name="softmax_label", dtype="float32", **_):
        data = _read_table(data_csv, tuple(data_shape), "data_csv")
        label_shape = tuple(label_shape)
        if label_csv is None or label_csv == "NULL":
            label = np.zeros((len(data), *label_shape))
        else:
            label = _read_table(label_csv, label_shape, "label_csv")
        if len(label) != len(data):
            raise MXNetError(f"CSVIter: {data_csv} has {len(data)} rows, {label_csv} has {len(label)}")
        if label_shape == (1,):
            label = label[:, 0]
        super().__init__(data, label, batch_size, data_name, label_name, dtype)
        self._round_batch = round_batch


class MNISTIter(_TableIter):
    """Batches of MNIST's images, divided by 256, with their labels; a last batch that is not full is dropped.

    Parameters
    ----------
    image, label : str
        The idx files, plain or compressed with gzip.
    batch_size : int
    shuffle : bool
        Whether the samples are shuffled, once, by `seed`.
    flat : bool
        Whether a batch is (n, height · width) instead of (n, 1, height, width).
    num_parts, part_index : int
        Cut the samples into `num_parts` parts and use one of them.

    MXNetError for a file that is missing or damaged.
    """

    def __init__(self, image="./train-images-idx3-ubyte", label="./train-labels-idx1-ubyte", batch_size=128,
                 shuffle=True, flat=False, seed=0, silent=False, num_parts=1, part_index=0, data_name="data",
                 label_name="softmax_label", dtype="float32", **_):
        images, labels = read_idx(image), read_idx(label)
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise MXNetError(f"MNISTIter: {image} and {label} hold arrays of shapes {images.shape} and {labels.shape}, "
                             "not (n, height, width) and (n,)")
        if not 0 <= part_index < num_parts:
            raise MXNetError(f"MNISTIter: part_index must be in [0, {num_parts}), got {part_index}")
        count = len(images)
        begin, end = count * part_index // num_parts, count * (part_index + 1) // num_parts
        images, labels = images[begin:end], labels[begin:end]
        if shuffle:
            order = np.random.RandomState(seed).permutation(len(images))
            images, labels = images[order], labels[order]
        images = images.reshape(len(images), -1) if flat else images[:, None]
        super().__init__(images.astype(np.float32) / 256, labels, batch_size, data_name, label_name, dtype)
        self._cursor = 0

    def reset(self):
        self._cursor = 0

    def next(self):
        end = self._cursor + self.batch_size
        if end > len(self._data):
            raise StopIteration
        rows = slice(self._cursor, end)
        self._cursor = end
        return self._batch(rows, 0, np.arange(rows.start, rows.stop, dtype=np.uint64))
