# SPDX-License-Identifier: Apache-2.0
"""Switches of NumPy semantics, environment variables, and what is known of GPUs."""
from __future__ import annotations

import functools
import inspect
import os
import threading

from .base import MXNetError
from .context import gpu_memory_info, num_gpus

__all__ = ["get_gpu_count", "get_gpu_memory", "getenv", "is_np_array", "is_np_shape", "np_array", "np_shape",
           "reset_np",
           "set_module", "set_np", "set_np_shape", "setenv", "use_np", "use_np_array", "use_np_shape"]


class _Flags(threading.local):
    np_shape = False


_flags = _Flags()


# --- NumPy semantics

def is_np_shape():
    """Whether shapes mean what they mean to NumPy: () is a scalar, and a dimension may be 0.

    Otherwise () and 0 are unknown, as in `Parameter(shape=(0, 3))`.
    """
    return _flags.np_shape


def is_np_array():
    """Whether blocks and data loaders make arrays of `mx.np`: never in this version, which has no `mx.np`."""
    return False


def set_np_shape(active):
    """Switch NumPy's meaning of shapes on or off for this thread; returns what it was before."""
    previous = _flags.np_shape
    _flags.np_shape = bool(active)
    return previous


def _refuse_np_array():
    raise MXNetError("NumPy arrays (mx.np) are not in this version: only the meaning of shapes can be switched, "
                     "with set_np(shape=True, array=False)")


def set_np(shape=True, array=True):
    """Switch NumPy semantics on for this thread.

    ValueError for `array` without `shape`. `array=True` raises MXNetError in this version, which has no `mx.np`.
    """
    if array and not shape:
        raise ValueError("NumPy Shape semantics is required in using NumPy array semantics.")
    if array:
        _refuse_np_array()
    set_np_shape(shape)


def reset_np():
    """Switch NumPy semantics off for this thread."""
    set_np(shape=False, array=False)


class _NumpyShapeScope:
    """Sets the flag in a `with` block."""

    def __init__(self, active):
        self._active = active
        self._previous = []

    def __enter__(self):
        self._previous.append(set_np_shape(self._active))
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        set_np_shape(self._previous.pop())


def np_shape(active=True):
    """A `with` scope in which shapes mean what they mean to NumPy, or not."""
    return _NumpyShapeScope(active)


class _NumpyArrayScope:
    """The scope of `np_array(False)`: nothing changes."""

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        return None


def np_array(active=True):
    """A `with` scope in which blocks make arrays of `mx.np`; MXNetError for True in this version."""
    if active:
        _refuse_np_array()
    return _NumpyArrayScope()


def use_np_shape(func):
    """A decorator for functions, and classes all of whose methods run under `np_shape(True)`."""
    if inspect.isclass(func):
        for name, method in list(func.__dict__.items()):
            if callable(method) and not inspect.isclass(method):
                setattr(func, name, use_np_shape(method))
        return func
    if not callable(func):
        raise TypeError(f"use_np_shape can only decorate classes and callable objects, got {type(func).__name__}")

    @functools.wraps(func)
    def with_np_shape(*args, **kwargs):
        with np_shape(True):
            return func(*args, **kwargs)

    return with_np_shape


def use_np_array(func):
    """A decorator for code over `mx.np`: raises MXNetError in this version."""
    _refuse_np_array()


def use_np(func):
    """`use_np_shape` and `use_np_array` together: raises MXNetError in this version."""
    _refuse_np_array()


def set_module(module):
    """A decorator that gives a function or class another `__module__`, where users shall look for it."""

    def decorate(func):
        if module is not None:
            func.__module__ = module
        return func

    return decorate


# --- environment and devices

def getenv(name):
    """The environment variable's text, or None."""
    return os.environ.get(name)


def setenv(name, value):
    """Set an environment variable, or remove it for None."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = str(value)


def get_gpu_count():
    """How many GPUs this build can use on this machine."""
    return num_gpus()


def get_gpu_memory(gpu_dev_id):
    """(free, total) bytes of a GPU's memory; MXNetError where there is no such GPU."""
    return gpu_memory_info(gpu_dev_id)
