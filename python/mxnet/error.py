# SPDX-License-Identifier: Apache-2.0
"""The exception classes, under the names that programs import them by."""

from ._core.errors import (
                           MXNetAttributeError,
                           MXNetError,
                           MXNetFileNotFoundError,
                           MXNetIndexError,
                           MXNetMemoryError,
                           MXNetNotImplementedError,
                           MXNetOSError,
                           MXNetTypeError,
                           MXNetValueError,
)

InternalError = MXNetError

__all__ = ["InternalError", "MXNetAttributeError", "MXNetError", "MXNetFileNotFoundError", "MXNetIndexError",
           "MXNetMemoryError", "MXNetNotImplementedError", "MXNetOSError", "MXNetTypeError", "MXNetValueError"]
