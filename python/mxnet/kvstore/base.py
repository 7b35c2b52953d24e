# SPDX-License-Identifier: Apache-2.0
"""The interface that Trainer needs of a key-value store."""
from __future__ import annotations

__all__ = ["KVStoreBase"]


class KVStoreBase:
    """Base of all key-value stores. Stores of other packages derive from it and are made known by `register`."""

    #: The capability of applying an optimizer to stored values.
    OPTIMIZER = "optimizer"

    kv_registry = {}

    @staticmethod
    def register(klass):
        """Make a class known to `mx.kv.create` under its lower-case name; usable as a decorator."""
        KVStoreBase.kv_registry[klass.__name__.lower()] = klass
        return klass

    def broadcast(self, key, value, out, priority=0):
        """Store the value under a new key and write it to all arrays of `out`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement broadcast")

    def pushpull(self, key, value, out=None, priority=0):
        """Add up the arrays of `value` over devices (and workers) and write the sum to `out`, or back to `value`."""
        raise NotImplementedError(f"{type(self).__name__} does not implement pushpull")

    def set_optimizer(self, optimizer):
        """Apply `optimizer` to the stored values, with what is pushed as their gradients."""
        raise NotImplementedError(f"{type(self).__name__} does not implement set_optimizer")

    @staticmethod
    def is_capable(capability):
        """Whether the store has a capability, such as `KVStoreBase.OPTIMIZER`."""
        raise NotImplementedError("a key-value store must implement is_capable")

    def save_optimizer_states(self, fname, dump_optimizer=False):
        """Write the states of the optimizer to a file."""
        raise NotImplementedError(f"{type(self).__name__} does not implement save_optimizer_states")

    def load_optimizer_states(self, fname):
        """Read what `save_optimizer_states` wrote."""
        raise NotImplementedError(f"{type(self).__name__} does not implement load_optimizer_states")

    @property
    def type(self):
        """The name that the store was made by."""
        raise NotImplementedError(f"{type(self).__name__} does not implement type")

    @property
    def rank(self):
        """This worker's number, from 0."""
        raise NotImplementedError(f"{type(self).__name__} does not implement rank")

    @property
    def num_workers(self):
        """How many workers there are."""
        raise NotImplementedError(f"{type(self).__name__} does not implement num_workers")
