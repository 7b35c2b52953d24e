# SPDX-License-Identifier: Apache-2.0
"""Private: the compiled extension and what the public modules build from it."""

import atexit as _atexit
import os as _os

from . import _libs

# Threads of the OpenMP team wait for the next region without burning the cores for milliseconds. Read once, when the
# library loads; not left behind for child processes.
_mine = "GOMP_SPINCOUNT" not in _os.environ and "OMP_WAIT_POLICY" not in _os.environ
if _mine:
    _os.environ["GOMP_SPINCOUNT"] = "10000"
try:
    _libs.preload()
    try:
        from . import _ext
    except ImportError as error:
        raise _libs.explain(error) from error
finally:
    if _mine:
        del _os.environ["GOMP_SPINCOUNT"]

from . import errors  # noqa: E402  (registers the exception classes)

_ext.set_error_classes(errors.CLASSES)

from .deferred import deferred_compute, get_deferred_symbol, set_variable  # noqa: E402

__all__ = ["_ext", "deferred_compute", "errors", "get_deferred_symbol", "set_variable"]
# Pending work may hold Python callbacks: it is finished while the interpreter still runs.
_atexit.register(_ext.shutdown)
