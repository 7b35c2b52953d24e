# SPDX-License-Identifier: Apache-2.0
"""NumPy's indexing over operators: which window, slice or gather a key means."""

import numpy as np

from .._core import _ext
from .._core.errors import MXNetError
from ..base import numeric_types


class BasicIndex:
    """Integers, slices, None and Ellipsis, resolved against a shape.

    begin, end, step : per axis of the array; `shape` is the result's.
    """

    __slots__ = ("begin", "end", "step", "kept", "shape")

    def __init__(self, key, array_shape):
        self.begin, self.end, self.step, self.kept = [], [], [], []
        self.shape = []
        axis = 0
        for part in key:
            if part is None:
                self.shape.append(1)
                continue
            size = array_shape[axis]
            if isinstance(part, slice):
                start, stop, step = part.indices(size)
                count = len(range(start, stop, step))
                self._add(start, stop, step, count)
                self.shape.append(count)
            else:
                index = part.__index__()
                if not -size <= index < size:
                    raise IndexError(f"index {index} is out of range for axis {axis} of size {size}")
                index %= size
                self._add(index, index + 1, 1, 1)
            axis += 1
        self.shape = tuple(self.shape)

    def _add(self, begin, end, step, count):
        self.begin.append(begin)
        self.end.append(end)
        self.step.append(step)
        self.kept.append(count)

    def window(self, array_shape):
        """The offset in elements if the result is contiguous in memory, else None."""
        if 0 in self.kept:
            return 0
        # Contiguous: full axes at the end, one axis in part before them, single elements before that.
        last_partial = -1
        for axis, (count, size) in enumerate(zip(self.kept, array_shape)):
            if count != size:
                last_partial = axis
        for axis in range(last_partial):
            if self.kept[axis] != 1:
                return None
        if last_partial >= 0 and self.kept[last_partial] > 1 and self.step[last_partial] != 1:
            return None
        if any(step < 0 and count > 1 for step, count in zip(self.step, self.kept)):
            return None
        offset = 0
        for begin, size in zip(self.begin, array_shape):
            offset = offset * size + begin
        return offset

    def operator_arguments(self):
        """begin, end and step as the slice operators take them: None where a negative step runs past the front."""
        end = tuple(None if step < 0 and end < 0 else end for end, step in zip(self.end, self.step))
        return {"begin": tuple(self.begin), "end": end, "step": tuple(self.step)}


def expand(key, ndim):
    """The key as a tuple that names every axis: Ellipsis replaced, missing axes added as full slices."""
    key = key if isinstance(key, tuple) else (key,)
    used = 0
    ellipsis_at = None
    for i, part in enumerate(key):
        if part is Ellipsis:
            if ellipsis_at is not None:
                raise IndexError("an index can hold one Ellipsis ('...') only")
            ellipsis_at = i
        elif part is not None:
            used += _axes_of(part)
    if used > ndim:
        raise IndexError(f"too many indices: the array has {ndim} dimensions, {used} were indexed")
    full = (slice(None),) * (ndim - used)
    if ellipsis_at is None:
        return key + full
    return key[:ellipsis_at] + full + key[ellipsis_at + 1:]


def _axes_of(part):
    if isinstance(part, (bool, np.bool_)):
        return 0  # a mask of no axes
    dtype = getattr(part, "dtype", None)
    if dtype is not None and np.dtype(dtype) == np.bool_ and getattr(part, "ndim", 0) > 0:
        return part.ndim
    if isinstance(part, list) and part and np.asarray(part).dtype == np.bool_:
        return np.ndim(part)
    return 1


def is_basic(key):
    """Whether every part is an integer, a slice or None."""
    for part in key:
        if part is None or isinstance(part, slice):
            continue
        if isinstance(part, (bool, np.bool_)):
            return False
        if isinstance(part, (int, np.integer)):
            continue
        return False
    return True


def _to_numpy_part(part, array_type):
    if isinstance(part, array_type):
        part = part.asnumpy()
    if isinstance(part, (list, tuple)):
        part = np.asarray([p.asnumpy() if isinstance(p, array_type) else p for p in part])
    if isinstance(part, np.ndarray) and part.dtype.kind == "f":
        part = part.astype(np.int64)  # indices are often float32 arrays; they truncate
    return part


def numpy_key(key, array_type):
    """The key with every array and list as a NumPy array of integers or booleans."""
    def is_plain(part):
        return part is None or part is Ellipsis or isinstance(part, slice)

    return tuple(part if is_plain(part) else _to_numpy_part(part, array_type) for part in key)


def flat_indices(key, shape):
    """Positions of the selected elements in the flattened array, in the shape of the result."""
    size = int(np.prod(shape, dtype=np.int64))
    if size <= 4096:
        return np.arange(size, dtype=np.int64).reshape(shape)[key]
    # Axis by axis, so that the work is that of the result, not of the array.
    positions, stride = 0, 1
    for axis in reversed(range(len(shape))):
        along = np.arange(shape[axis], dtype=np.int64).reshape((-1,) + (1,) * (len(shape) - 1 - axis))
        positions = positions + np.broadcast_to(along, shape)[key] * stride
        stride *= shape[axis]
    return positions


def row_indices(key, shape):
    """The integer array of `x[array]` and `x[array, :, ...]`, wrapped and checked; None for other keys."""
    if not key or not isinstance(key[0], np.ndarray) or key[0].dtype.kind not in "iu":
        return None
    if any(part != slice(None) for part in key[1:] if not isinstance(part, np.ndarray)) \
            or any(isinstance(part, np.ndarray) for part in key[1:]):
        return None
    rows = key[0].astype(np.int64)
    if rows.size and (rows.min() < -shape[0] or rows.max() >= shape[0]):
        bad = rows.min() if rows.min() < -shape[0] else rows.max()
        raise IndexError(f"index {bad} is out of range for axis 0 of size {shape[0]}")
    return np.where(rows < 0, rows + shape[0], rows)


def value_array(value, like, array_type):
    """What is assigned, as an array of `like`'s dtype on its device; numbers stay numbers."""
    if isinstance(value, array_type):
        return value if value.dtype == like.dtype else value.astype(like.dtype)
    if isinstance(value, int) and not -2**53 <= value <= 2**53:
        return _ext.array(np.array([value]), like.dtype, like.context)  # a float would not hold it
    if isinstance(value, (*numeric_types, bool, np.bool_)):
        return value
    if isinstance(value, (np.ndarray, list, tuple)):
        return _ext.array(np.asarray(value), like.dtype, like.context)
    raise TypeError(f"cannot assign a {type(value).__name__} to elements of an array")


def refuse_recorded(value):
    """Only a whole array outside the graph may receive a recorded value."""
    raise MXNetError("assigning a recorded array to a part of another array is not supported while recording: "
                     "build the result with operators (concat, where, slice_assign), or assign to the whole array")
