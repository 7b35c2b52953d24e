# SPDX-License-Identifier: Apache-2.0
"""The exceptions of the core: each is an MXNetError and, where there is one, the builtin that fits."""


class MXNetError(RuntimeError):
    """Base of every error that the core raises."""


class MXNetValueError(MXNetError, ValueError):
    """A value, shape or file that cannot be used."""


class MXNetTypeError(MXNetError, TypeError):
    """An argument or dtype of the wrong type, or an argument that does not exist."""


class MXNetIndexError(MXNetError, IndexError):
    """An index out of range."""


class MXNetMemoryError(MXNetError, MemoryError):
    """The memory limit or the system's memory is exhausted."""


class MXNetAttributeError(MXNetError, AttributeError):
    """A name that does not exist."""


class MXNetNotImplementedError(MXNetError, NotImplementedError):
    """Something that this build or this kind of array does not support."""


class MXNetOSError(MXNetError, OSError):
    """The operating system refused."""


class MXNetFileNotFoundError(MXNetOSError, FileNotFoundError):
    """A file that does not exist."""


class NotSupportedForSparseNDArray(MXNetError):
    """An operation that sparse arrays do not have."""


# In the order of ErrorKind (src/base/error.h).
CLASSES = (MXNetError, MXNetValueError, MXNetTypeError, MXNetIndexError, MXNetMemoryError, MXNetAttributeError,
           MXNetNotImplementedError, MXNetOSError)
