# SPDX-License-Identifier: Apache-2.0
"""Helpers around training: splitting batches over devices, clipping gradients, files."""
from __future__ import annotations

import hashlib
import math
import os
import tempfile
import warnings
import weakref
from collections import OrderedDict

from .. import ndarray as nd
from ..base import MXNetError
from .parameter import shape_is_known

__all__ = ["HookHandle", "check_sha1", "clip_global_norm", "download", "replace_file", "shape_is_known",
           "split_and_load", "split_data"]


def split_data(data, num_slice, batch_axis=0, even_split=True):
    """Cut `data` into `num_slice` parts along `batch_axis`.

    With `even_split`, ValueError unless the size is divisible by `num_slice`; otherwise the first parts are one longer.
    """
    size = data.shape[batch_axis]
    if even_split and size % num_slice:
        raise ValueError(f"data with shape {data.shape} cannot be evenly split into {num_slice} slices along axis "
                         f"{batch_axis}. Use a batch size that's multiple of {num_slice} or set even_split=False to "
                         "allow uneven partitioning of data.")
    if num_slice == 1:
        return [data]
    part, longer = divmod(size, num_slice)
    bounds = [part * i + min(i, longer) for i in range(num_slice + 1)]
    if batch_axis == 0:
        return [data[begin:end] for begin, end in zip(bounds, bounds[1:])]
    return [nd.slice_axis(data, axis=batch_axis, begin=begin, end=end) for begin, end in zip(bounds, bounds[1:])]


def split_and_load(data, ctx_list, batch_axis=0, even_split=True):
    """Cut `data` (an array, or anything `nd.array` accepts) into one part for each device, and put the parts there."""
    if not isinstance(data, nd.NDArray):
        data = nd.array(data, ctx=ctx_list[0])
    if len(ctx_list) == 1:
        return [data.as_in_context(ctx_list[0])]
    parts = split_data(data, len(ctx_list), batch_axis, even_split)
    return [part.as_in_context(ctx) for part, ctx in zip(parts, ctx_list)]


def clip_global_norm(arrays, max_norm, check_isfinite=True):
    """Scale all arrays in place so that the 2-norm of them together is at most `max_norm`; returns the norm before.

    The norm is a number, and warned about if not finite; with `check_isfinite=False` it is an array of shape (1,), and
    nothing is waited for.
    """
    if not arrays:
        raise AssertionError("clip_global_norm: there are no arrays")
    ctx = arrays[0].context
    squares = [nd.square(arr.reshape((-1,)).astype("float32", copy=False)).sum().as_in_context(ctx) for arr in arrays]
    total = nd.sqrt(nd.add_n(*squares))
    if check_isfinite:
        total = total.asscalar()
        if not math.isfinite(total):
            warnings.warn("nan or inf is detected. Clipping results will be undefined.", stacklevel=2)
        scale = min(1.0, max_norm / (total + 1e-8))
        if scale < 1.0:
            for arr in arrays:
                arr *= scale
        return total
    scale = nd.minimum(max_norm / (total + 1e-8), 1.0)
    for arr in arrays:
        arr *= scale.as_in_context(arr.context).astype(arr.dtype, copy=False)
    return total


# --- files

def check_sha1(filename, sha1_hash):
    """Whether the file's SHA-1 (in hexadecimal) is `sha1_hash`; a shortened hash is compared with the beginning."""
    digest = hashlib.sha1()
    with open(filename, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    computed = digest.hexdigest()
    length = min(len(sha1_hash), len(computed))
    return computed[:length] == sha1_hash[:length]


def replace_file(src, dst):
    """Rename `src` to `dst`, replacing what is there, in one step."""
    os.replace(src, dst)


def download(url, path=None, overwrite=False, sha1_hash=None, retries=5, verify_ssl=True):
    """Fetch `url` to a file and return its name.

    Parameters
    ----------
    url : str
        http(s), `file://`, or the name of a local file.
    path : str, optional
        The file or folder to write; by default the current folder and the URL's last part.
    overwrite : bool
        Whether to fetch although the file is there.
    sha1_hash : str, optional
        What the file must have; one with another hash is fetched again.
    retries : int
        Attempts after a failed one.
    verify_ssl : bool
        Whether to check the server's certificate.

    MXNetError with the URL, the file and the reason if it cannot be had.
    """
    name = url.split("/")[-1].split("?")[0]
    if path is None:
        if not name:
            raise AssertionError(f"Can't construct file-name from this URL. Please set the `path` option manually: "
                                 f"{url}")
        target = name
    else:
        path = os.path.expanduser(path)
        target = os.path.join(path, name) if os.path.isdir(path) else path
    if retries < 0:
        raise AssertionError(f"Number of retries should be at least 0, got {retries}")
    if not overwrite and os.path.exists(target) and (not sha1_hash or check_sha1(target, sha1_hash)):
        return target
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    error = None
    for _ in range(retries + 1):
        try:
            _fetch(url, target, verify_ssl)
            if sha1_hash and not check_sha1(target, sha1_hash):
                os.remove(target)
                raise MXNetError(f"the content does not have the SHA-1 {sha1_hash}")
            return target
        except FileNotFoundError as missing:
            error = missing
            break
        except (OSError, MXNetError) as failure:
            error = failure
    raise MXNetError(f"download: cannot get {url} for {target}: {error}. "
                     "Without a network, put the file there yourself.") from error


def _fetch(url, target, verify_ssl):
    """Write the content of `url` to `target`, which appears only when it is complete."""
    from shutil import copyfileobj
    folder = os.path.dirname(os.path.abspath(target))
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        try:
            with _open(url, verify_ssl) as source:
                copyfileobj(source, file)
        except BaseException:
            file.close()
            os.remove(file.name)
            raise
    os.replace(file.name, target)


def _open(url, verify_ssl):
    if "://" not in url:
        return open(os.path.expanduser(url), "rb")
    from urllib.request import urlopen
    if verify_ssl:
        return urlopen(url, timeout=30)
    import ssl
    return urlopen(url, timeout=30, context=ssl._create_unverified_context())


# --- hooks

class HookHandle:
    """What registering a hook returns: `detach()` removes the hook, and so does leaving a `with` block."""

    def __init__(self):
        self._hooks_dict_ref = None
        self._id = None

    def attach(self, hooks_dict, hook):
        """Put `hook` into an ordered dict; a handle can do that once."""
        if self._hooks_dict_ref is not None:
            raise AssertionError("The same handle cannot be attached twice.")
        self._id = id(hook)
        hooks_dict[self._id] = hook
        self._hooks_dict_ref = weakref.ref(hooks_dict)

    def detach(self):
        """Remove the hook, if it is still there."""
        hooks = self._hooks_dict_ref()
        if hooks is not None:
            hooks.pop(self._id, None)

    def __getstate__(self):
        return self._hooks_dict_ref(), self._id

    def __setstate__(self, state):
        hooks, self._id = state
        self._hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        self.detach()
