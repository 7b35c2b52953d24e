# SPDX-License-Identifier: Apache-2.0
"""What the memory pools hold, and their limits."""

from ._core import _ext

__all__ = ["empty_cache", "reset_peak", "set_limit", "stats"]


def stats(ctx=None):
    """Memory of a device's pool, in bytes: a dict with `in_use`, `cached`, `peak`, `limit` (0 = none), and the counts
    `allocations` and `system_allocations` since the start."""
    return _ext.storage_stats(ctx)


def set_limit(bytes, ctx=None):
    """Bounds `in_use + cached` of the pool; 0 = no bound. An allocation that does not fit raises MemoryError."""
    if bytes < 0:
        raise ValueError(f"storage.set_limit: the limit must not be negative, got {bytes}")
    _ext.storage_set_limit(ctx, int(bytes))


def reset_peak(ctx=None):
    """Starts `peak` anew from what is in use now."""
    _ext.storage_reset_peak(ctx)


def empty_cache(ctx=None):
    """Gives cached memory of all pools back to the system."""
    _ext.storage_trim()
