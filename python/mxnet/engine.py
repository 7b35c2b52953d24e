# SPDX-License-Identifier: Apache-2.0
"""Settings of the dependency engine that programs may change."""

import contextlib

_bulk_size = 15


def set_bulk_size(size):
    """Sets how many operations may be joined into one; returns the old value.

    Kept for programs that tune it: here small operations run on the caller and graphs run as one operation, so the
    number changes nothing.
    """
    global _bulk_size
    old, _bulk_size = _bulk_size, int(size)
    return old


@contextlib.contextmanager
def bulk(size):
    """A scope with another bulk size."""
    old = set_bulk_size(size)
    try:
        yield
    finally:
        set_bulk_size(old)
