# SPDX-License-Identifier: Apache-2.0
"""The stores of one process: sums over its devices."""
from __future__ import annotations

import os
import warnings

from .. import ndarray as nd
from .. import optimizer as opt
from ..base import MXNetError
from ..context import cpu
from .base import KVStoreBase

__all__ = ["KVStore", "create", "update_on_kvstore_default"]

_LOCAL_TYPES = ("local", "device", "local_update_cpu", "local_allreduce_cpu", "local_allreduce_device")


def update_on_kvstore_default():
    """Whether a store that can apply the optimizer does so: MXNET_UPDATE_ON_KVSTORE, 1 by default."""
    return bool(int(os.getenv("MXNET_UPDATE_ON_KVSTORE", "1")))


def create(name="local"):
    """A key-value store by its name.

    'local' adds up on the CPU, 'device' on the device of the first array; classes made known by `KVStoreBase.register`
    come under their own names. TypeError if the name is no text, MXNetError if there is no such store.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a key-value store must be a string, got {type(name).__name__}")
    kind = name.lower()
    if kind in KVStoreBase.kv_registry:
        return KVStoreBase.kv_registry[kind]()
    if kind in _LOCAL_TYPES:
        return KVStore(kind)
    known = ", ".join([*_LOCAL_TYPES, *KVStoreBase.kv_registry])
    raise MXNetError(f"kvstore.create: there is no key-value store '{name}' in this build; there are {known}")


def _pairs(keys, values):
    """[(key, list of arrays)] from one key and one or more arrays, or from lists of keys and of these."""
    if not isinstance(keys, (list, tuple)):
        return [(keys, list(values) if isinstance(values, (list, tuple)) else [values])]
    if not isinstance(values, (list, tuple)) or len(values) % max(len(keys), 1):
        raise ValueError(f"kvstore: {len(keys)} keys need as many values, got "
                         f"{len(values) if isinstance(values, (list, tuple)) else 1}")
    if keys and len(values) != len(keys):  # the arrays of all keys in a row
        each = len(values) // len(keys)
        values = [values[i * each:(i + 1) * each] for i in range(len(keys))]
    return [(key, list(value) if isinstance(value, (list, tuple)) else [value]) for key, value in zip(keys, values)]


class KVStore(KVStoreBase):
    """A store for the devices of this process; made by `mx.kv.create`.

    A push adds up the arrays of one key over devices. Without an updater the sum replaces the stored value; with one
    (`set_optimizer`) the sum is the gradient of the stored value. Keys are all ints or all strings.

    >>> import mxnet as mx
    >>> store = mx.kv.create('local')
    >>> store.init('w', mx.nd.zeros((2,)))
    >>> store.push('w', [mx.nd.ones((2,), mx.cpu(0)), mx.nd.ones((2,), mx.cpu(1))])
    >>> out = mx.nd.zeros((2,))
    >>> store.pull('w', out=out)
    >>> out.asnumpy().tolist()
    [2.0, 2.0]
    """

    def __init__(self, handle):
        self._type = handle
        self._stored = {}
        self._updater = None
        self._key_type = None

    # --- keys and values

    def _check_key(self, key):
        if not isinstance(key, (int, str)):
            raise MXNetError(f"kvstore: a key must be an int or a str, got {type(key).__name__}")
        if self._key_type is None:
            self._key_type = type(key)
        elif not isinstance(key, self._key_type):
            raise MXNetError(f"kvstore: mixed key types are not allowed: {key!r} among {self._key_type.__name__} keys")

    def _find(self, key):
        self._check_key(key)
        if key not in self._stored:
            raise MXNetError(f"kvstore: key {key!r} doesn't exist. Did you init?")
        return self._stored[key]

    def _home(self, array):
        """Where the stored value and the sums of a key lie."""
        return array.context if "device" in self._type else cpu()

    @staticmethod
    def _check_shape(operation, key, stored, array):
        if array.shape != stored.shape:
            raise MXNetError(f"kvstore.{operation}: key {key!r} has the shape {stored.shape}, "
                             f"got an array of shape {array.shape}")

    def _sum(self, arrays, ctx):
        """The sum of the arrays, on `ctx`; never one of them."""
        if len(arrays) == 1:
            return arrays[0].copyto(ctx)
        return nd.add_n(*(array.as_in_context(ctx) for array in arrays))

    def init(self, key, value):
        """Store a value (of lists: each value) under a new key; MXNetError if the key is there."""
        for k, arrays in _pairs(key, value):
            self._check_key(k)
            if k in self._stored:
                raise MXNetError(f"kvstore: duplicate init of key {k!r}")
            self._stored[k] = arrays[0].copyto(self._home(arrays[0]))

    def overwrite(self, key, value):
        """Write a value under a key that is there; states of the optimizer stay."""
        self._find(key)[:] = value.as_in_context(self._stored[key].context)

    def broadcast(self, key, value, out, priority=0):
        self.init(key, value)
        self.pull(key, out, priority, ignore_sparse=False)

    def push(self, key, value, priority=0):
        """Add up `value` (an array or a list of one for each device) and replace or update what is stored under
        `key`.
        """
        for k, arrays in _pairs(key, value):
            stored = self._find(k)
            for array in arrays:
                self._check_shape("push", k, stored, array)
            total = self._sum(arrays, stored.context)
            if self._updater is None:
                self._stored[k] = total
            else:
                self._updater(k, total, stored)

    def pull(self, key, out=None, priority=0, ignore_sparse=True):
        """Write what is stored under `key` to all arrays of `out`; with `ignore_sparse` sparse arrays are left as they
        are, with a warning.
        """
        if out is None:
            raise AssertionError("kvstore.pull: out is missing")
        for k, arrays in _pairs(key, out):
            stored = self._find(k)
            for array in arrays:
                self._check_shape("pull", k, stored, array)
                if ignore_sparse and array.stype != "default":
                    warnings.warn("kvstore.pull: sparse arrays are left as they are, see row_sparse_pull and "
                                  "ignore_sparse", stacklevel=2)
                    continue
                stored.astype(array.dtype, copy=False).copyto(array)

    def pushpull(self, key, value, out=None, priority=0):
        """Push `value`, then pull to `out`, or back to `value` if there is no `out`; a sum that is not stored
        otherwise.
        """
        self.push(key, value, priority)
        self.pull(key, value if out is None else out, priority, ignore_sparse=False)

    def row_sparse_pull(self, key, out=None, priority=0, row_ids=None):
        """Write the rows `row_ids` of a row_sparse value to `out`; MXNetError if the value is dense."""
        if out is None or row_ids is None:
            raise AssertionError("kvstore.row_sparse_pull: out and row_ids are needed")
        for k, arrays in _pairs(key, out):
            stored = self._find(k)
            if stored.stype != "row_sparse":
                raise MXNetError(f"kvstore.row_sparse_pull: the value of key {k!r} must be row_sparse, it is "
                                 f"{stored.stype}")
            ids = list(row_ids) if isinstance(row_ids, (list, tuple)) else [row_ids] * len(arrays)
            for array, rows in zip(arrays, ids):
                nd.sparse.retain(stored, rows.as_in_context(stored.context)).copyto(array)

    def set_gradient_compression(self, compression_params):
        """Compression concerns links between machines: MXNetError for a store of one process."""
        raise MXNetError(f"Gradient compression is not supported for this type of kvstore ({self._type})")

    # --- updates of stored values

    def _set_updater(self, updater):
        """Call `updater(key, sum, stored)` at each push; it changes `stored` in place."""
        self._updater = updater

    set_updater = _set_updater

    def set_optimizer(self, optimizer):
        self._set_updater(opt.get_updater(optimizer))

    def _optimizer_updater(self, what):
        if not isinstance(self._updater, opt.Updater):
            raise AssertionError(f"Cannot {what} optimizer states: the store has no optimizer, see set_optimizer")
        return self._updater

    def save_optimizer_states(self, fname, dump_optimizer=False):
        """Write the optimizer's states (with `dump_optimizer` the optimizer too) to a file."""
        states = self._optimizer_updater("save").get_states(dump_optimizer)
        with open(fname, "wb") as file:
            file.write(states)

    def load_optimizer_states(self, fname):
        """Read what `save_optimizer_states` wrote."""
        updater = self._optimizer_updater("load")
        with open(fname, "rb") as file:
            updater.set_states(file.read())

    # --- what it is

    @staticmethod
    def is_capable(capability):
        if capability.lower() == KVStoreBase.OPTIMIZER:
            return True
        raise ValueError(f"Unknown capability: {capability}")

    @property
    def type(self):
        return self._type

    @property
    def rank(self):
        return 0

    @property
    def num_workers(self):
        return 1

    def _barrier(self):
        """Wait for all workers: there is one."""

    def _send_command_to_servers(self, head, body):
        """Tell the servers something: there are none."""
