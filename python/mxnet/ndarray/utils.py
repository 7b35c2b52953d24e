# SPDX-License-Identifier: Apache-2.0
"""Array files."""

import mmap
import os

from .._core import _ext
from .._core.errors import MXNetFileNotFoundError, MXNetValueError
from .ndarray import NDArray


def save(fname, data):
    """Writes arrays to a file in MXNet's format.

    Parameters
    ----------
    fname : str or path
    data : NDArray, list of NDArray, or dict of str to NDArray
    """
    if isinstance(data, NDArray):
        data = [data]
    if isinstance(data, dict):
        names, arrays = list(data.keys()), list(data.values())
        if not all(isinstance(name, str) for name in names):
            raise TypeError("save: the keys of the dict must be strings")
    elif isinstance(data, (list, tuple)):
        names, arrays = [], list(data)
    else:
        raise TypeError(f"save: data must be an NDArray, a list or a dict of them, got {type(data).__name__}")
    for array in arrays:
        if not isinstance(array, NDArray):
            raise TypeError(f"save: every element must be an NDArray, got {type(array).__name__}")
    contents = _ext.save(arrays, names)
    temporary = f"{os.fspath(fname)}.{os.getpid()}.part"
    try:
        with open(temporary, "wb") as file:
            file.write(contents)
        os.replace(temporary, fname)  # a crash while writing leaves the old file whole
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def _as_saved(contents):
    try:
        arrays, names = _ext.load(contents)
    except UnicodeDecodeError as error:
        raise MXNetValueError(f"array file: a name is no UTF-8 text: {error}") from None
    return dict(zip(names, arrays)) if names else list(arrays)


def _mapped(file):
    """A file's contents without a copy; its pages are mapped at once where the system can."""
    if hasattr(mmap, "MAP_POPULATE"):
        return mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def load(fname):
    """Reads a file written by save(), here or by any MXNet since 0.8: a list, or a dict if it holds names."""
    try:
        file = open(fname, "rb")  # noqa: SIM115  (closed below)
    except FileNotFoundError as error:
        missing = MXNetFileNotFoundError(str(error))
        missing.errno, missing.strerror, missing.filename = error.errno, error.strerror, error.filename
        raise missing from None
    with file:
        if os.fstat(file.fileno()).st_size == 0:
            raise MXNetValueError(f"load: {os.fspath(fname)} is empty")
        with _mapped(file) as contents:
            return _as_saved(contents)


def load_frombuffer(buf):
    """The same from the bytes of such a file."""
    return _as_saved(buf)
