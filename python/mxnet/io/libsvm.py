# SPDX-License-Identifier: Apache-2.0
"""Iterators over text files of sparse rows, in the format of LIBSVM with columns that count from 0."""
from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from .. import ndarray as nd
from ..base import MXNetError
from .files import Rounds
from .io import DataBatch, DataDesc, DataIter

__all__ = ["LibSVMIter"]


class _Rows(NamedTuple):
    """A csr matrix in NumPy arrays, and a number for each of its rows."""

    labels: np.ndarray
    indptr: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    def take(self, rows, width, dtype):
        """The csr array of some rows, in this order."""
        begins, counts = self.indptr[rows], np.diff(self.indptr)[rows]
        indptr = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(indptr[-1]) + np.repeat(begins - indptr[:-1], counts)
        parts = (self.values[places], self.columns[places], indptr)
        return nd.sparse.csr_matrix(parts, shape=(len(rows), width), dtype=dtype)


def _files(path, what):
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise MXNetError(f"LibSVMIter: cannot find {what} {path}")
        return [path]
    files = [os.path.join(path, name) for name in sorted(os.listdir(path))]
    return [file for file in files if os.path.isfile(file)]


def _lines(path):
    """(number, text) of the lines that are not empty without their comments."""
    with open(path, encoding="utf-8", errors="replace") as file:
        stripped = ((number, line.partition("#")[0].strip()) for number, line in enumerate(file, 1))
        return [(number, line) for number, line in stripped if line]


def _parse(path, width):
    """The labels, the number of elements of each row, columns and values."""
    lines = _lines(path)
    counts = np.array([line.count(":") for _, line in lines], dtype=np.int64)
    try:
        numbers = np.array(" ".join(line for _, line in lines).replace(":", " ").split(), dtype=np.float64)
        well_formed = all(len(line.split()) == 1 + count for (_, line), count in zip(lines, counts))
    except ValueError:
        well_formed = False
    if not well_formed or numbers.size != len(lines) + 2 * counts.sum():
        raise MXNetError(f"LibSVMIter: {path}: {_first_mistake(lines)}")
    begins = np.concatenate([[0], np.cumsum(1 + 2 * counts)])[:-1]
    pairs = np.delete(numbers, begins).reshape(-1, 2)
    wrong = (pairs[:, 0] < 0) | (pairs[:, 0] >= width) | (pairs[:, 0] % 1 != 0)
    if wrong.any():
        row = int(np.searchsorted(np.cumsum(counts), np.flatnonzero(wrong)[0], side="right"))
        raise MXNetError(f"LibSVMIter: {path}: line {lines[row][0]}: column {pairs[wrong][0, 0]:g} is not a whole "
                         f"number in [0, {width})")
    return numbers[begins], counts, pairs[:, 0].astype(np.int64), pairs[:, 1]


def _first_mistake(lines):
    def is_number(text):
        try:
            float(text)
        except ValueError:
            return False
        return True

    for number, line in lines:
        label, *items = line.split()
        for item, ok in [(label, is_number(label)),
                         *((item, [is_number(part) for part in item.split(":")] == [True, True]) for item in items)]:
            if not ok:
                return f"line {number}: expected a label and then column:value, got {item!r}"
    return "expected lines of a label and then column:value"


def _read(path, width, what):
    parts = [_parse(file, width) for file in _files(path, what)]
    labels, counts, columns, values = (np.concatenate(column) for column in zip(*parts)) if parts else [np.zeros(0)] * 4
    if not len(labels):
        raise MXNetError(f"LibSVMIter: there are no rows in {what} {path}")
    return _Rows(labels, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), columns, values)


def _width(shape, what):
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if len(shape) != 1:
        raise MXNetError(f"LibSVMIter: dimension of {what} is expected to be 1, got {shape}")
    return int(shape[0])


class LibSVMIter(Rounds, DataIter):
    """Batches of sparse rows: data in csr arrays, labels in dense ones.

    A line of a file is a label and then `column:value` for each element, such as `1.0 0:0.5 2:1.2`; columns count from
    0, and what follows a # is a comment.

    Parameters
    ----------
    data_libsvm : str
        A file, or a folder all of whose files are read.
    data_shape : tuple of one int, or int
        The number of columns.
    batch_size : int
    label_libsvm : str, optional
        A file or folder of the same form that has the labels as csr rows; the labels of `data_libsvm` then count for
        nothing.
    label_shape : tuple of one int, or int
        The number of columns of a label; 1 without `label_libsvm`, and a batch is of shape (batch_size,) then.
    num_parts, part_index : int
        Cut the rows into `num_parts` parts and use one of them.
    round_batch : bool
        Only True: the last batch is filled up with rows of the beginning, which the next epoch then leaves out.
    data_name, label_name : str
    dtype : str

    MXNetError for a file that is missing or is not of this form, with the line; also for columns outside the shape.
    """

    def __init__(self, data_libsvm, data_shape, batch_size, label_libsvm="NULL", label_shape=(1,), num_parts=1,
                 part_index=0, round_batch=True, data_name="data", label_name="softmax_label", dtype="float32", **_):
        super().__init__(batch_size)
        if batch_size < 1:
            raise MXNetError(f"LibSVMIter: batch_size must be 1 or more, got {batch_size}")
        if not round_batch:
            raise MXNetError("LibSVMIter: round_batch=False is not supported")
        if not 0 <= part_index < num_parts:
            raise MXNetError(f"LibSVMIter: part_index must be in [0, {num_parts}), got {part_index}")
        self._dtype = np.dtype(dtype).type
        self._width, self._label_width = _width(data_shape, "data_shape"), _width(label_shape, "label_shape")
        self._rows = _read(data_libsvm, self._width, "data_libsvm")
        count = len(self._rows.labels)
        self._label_rows = None
        if label_libsvm not in (None, "NULL"):
            self._label_rows = _read(label_libsvm, self._label_width, "label_libsvm")
            if len(self._label_rows.labels) != count:
                raise MXNetError(f"LibSVMIter: {data_libsvm} has {count} rows, {label_libsvm} has "
                                 f"{len(self._label_rows.labels)}")
        elif self._label_width != 1:
            raise MXNetError(f"LibSVMIter: label_shape is expected to be (1,) without label_libsvm, got {label_shape}")
        self._begin = count * part_index // num_parts
        self._count = count * (part_index + 1) // num_parts - self._begin
        label_shape = (batch_size,) if self._label_rows is None else (batch_size, self._label_width)
        self.provide_data = [DataDesc(data_name, (batch_size, self._width), self._dtype)]
        self.provide_label = [DataDesc(label_name, label_shape, self._dtype)]

    def _batch(self, rows, pad, index):
        rows = rows + self._begin
        label = nd.array(self._rows.labels[rows], dtype=self._dtype) if self._label_rows is None else \
            self._label_rows.take(rows, self._label_width, self._dtype)
        return DataBatch([self._rows.take(rows, self._width, self._dtype)], [label], pad=pad, index=index)
