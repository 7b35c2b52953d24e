# SPDX-License-Identifier: Apache-2.0
"""Errors and small things that every part of the package needs."""

import numpy as np

from ._core import _ext
from ._core.errors import MXNetError, NotSupportedForSparseNDArray

__all__ = ["MXNetError", "NotSupportedForSparseNDArray"]


class _NullType:
    """Stands for "this parameter was not given"; operators skip it."""

    __slots__ = ()

    def __repr__(self):
        return "_Null"

    def __bool__(self):
        return False


_Null = _NullType()
_ext.set_null(_Null)

mx_real_t = np.float32
mx_uint = int
string_types = (str,)
numeric_types = (float, int, np.generic)
integer_types = (int, np.int32, np.int64)


def check_call(ret):
    """Raises MXNetError for a non-zero return code, as programs that call the C interface expect."""
    if ret != 0:
        raise MXNetError(f"a call of the C interface returned {ret}")
