# SPDX-License-Identifier: Apache-2.0
"""Devices: where arrays live and where their operators run.

A :class:`Context` is a plain value. Making one never touches a device; allocating on a device that is absent does.
"""
from __future__ import annotations

import threading

from .base import MXNetError

__all__ = ["Context", "cpu", "cpu_pinned", "current_context", "gpu", "gpu_memory_info", "num_gpus"]


class _DefaultContext(threading.local):
    """The default device of each thread (`value`) and the ones that enclosing `with` blocks will restore."""

    def __init__(self):
        self.value = Context("cpu", 0)
        self.outer = []


class _ContextMeta(type):
    """Gives the class itself the property `Context.default_ctx`."""

    @property
    def default_ctx(cls):
        """The calling thread's default device."""
        return cls._default_ctx.value

    @default_ctx.setter
    def default_ctx(cls, ctx):
        if not isinstance(ctx, Context):
            raise TypeError(f"Context.default_ctx must be a Context, got {type(ctx).__name__}")
        cls._default_ctx.value = ctx


class Context(metaclass=_ContextMeta):
    """A device type and an index, for example `cpu(0)`; equal, hashed and pickled by these two.

    Parameters
    ----------
    device_type : str or Context
        'cpu', 'gpu', 'cpu_pinned' or 'cpu_shared'; a Context is copied. Another name raises KeyError.
    device_id : int
        Which device of that type.

    In a `with` statement it is the default of the current thread for arrays made without a `ctx` argument.
    """

    __slots__ = ("device_typeid", "device_id", "__weakref__")

    devtype2str = {1: "cpu", 2: "gpu", 3: "cpu_pinned", 5: "cpu_shared"}
    devstr2type = {"cpu": 1, "gpu": 2, "cpu_pinned": 3, "cpu_shared": 5}

    def __init__(self, device_type, device_id=0):
        if isinstance(device_type, Context):
            self.device_typeid = device_type.device_typeid
            self.device_id = device_type.device_id
        else:
            self.device_typeid = self.devstr2type[device_type]
            self.device_id = int(device_id)

    @property
    def device_type(self):
        """The name of the device's type, such as 'cpu'."""
        return self.devtype2str[self.device_typeid]

    def __eq__(self, other):
        if not isinstance(other, Context):
            return NotImplemented
        return self.device_typeid == other.device_typeid and self.device_id == other.device_id

    def __hash__(self):
        return hash((self.device_typeid, self.device_id))

    def __repr__(self):
        return f"{self.device_type}({self.device_id})"

    def __reduce__(self):
        return Context, (self.device_type, self.device_id)

    def __enter__(self):
        default = Context._default_ctx
        default.outer.append(default.value)
        default.value = self
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        default = Context._default_ctx
        default.value = default.outer.pop()

    def empty_cache(self):
        """Give the memory that the device's pool keeps for reuse back to the system."""
        from . import storage
        storage.empty_cache(self)


Context._default_ctx = _DefaultContext()


def cpu(device_id=0):
    """The processor. Different `device_id` are distinct devices over the same memory and cores."""
    return Context("cpu", device_id)


def cpu_pinned(device_id=0):
    """Host memory that is page-locked where there is an accelerator to profit from it."""
    return Context("cpu_pinned", device_id)


def gpu(device_id=0):
    """The GPU with index `device_id`; as a value it may be named on any machine."""
    return Context("gpu", device_id)


def current_context():
    """The calling thread's default device: `cpu(0)` outside every `with` block."""
    return Context._default_ctx.value


def num_gpus():
    """How many GPUs this build can use on this machine."""
    return 0


def gpu_memory_info(device_id=0):
    """(free, total) bytes of a GPU's memory; MXNetError where there is no such GPU."""
    raise MXNetError(f"gpu_memory_info: gpu({device_id}) is not available: {num_gpus()} GPUs can be used")
