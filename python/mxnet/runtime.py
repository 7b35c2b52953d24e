# SPDX-License-Identifier: Apache-2.0
"""What this build of the library can do."""
from __future__ import annotations

from collections import OrderedDict

__all__ = ["Feature", "Features", "feature_list"]

#: The names that programs ask for, and whether this build has them.
_FEATURES = {
    "CUDA": False, "CUDNN": False, "NCCL": False, "CUDA_RTC": False, "TENSORRT": False,
    "CPU_SSE": True, "CPU_SSE2": True, "CPU_SSE3": True, "CPU_SSE4_1": True, "CPU_SSE4_2": True, "CPU_SSE4A": False,
    "CPU_AVX": True, "CPU_AVX2": True, "OPENMP": True, "SSE": False, "F16C": True, "JEMALLOC": False,
    "BLAS_OPEN": False, "BLAS_ATLAS": False, "BLAS_MKL": False, "BLAS_APPLE": False, "LAPACK": False,
    "MKLDNN": True, "OPENCV": False, "CAFFE": False, "PROFILER": True, "DIST_KVSTORE": False, "CXX14": True,
    "INT64_TENSOR_SIZE": True, "SIGNAL_HANDLER": False, "DEBUG": False, "TVM_OP": False,
}


class Feature:
    """A feature's `name`, and whether it is `enabled`."""

    __slots__ = ("_name", "_enabled")

    def __init__(self, name, enabled):
        self._name = name
        self._enabled = enabled

    @property
    def name(self):
        """The feature's name, for example 'CUDA'."""
        return self._name

    @property
    def enabled(self):
        """Whether this build has it."""
        return self._enabled

    def __repr__(self):
        return ("✔ " if self.enabled else "✖ ") + self.name


class Features(OrderedDict):
    """All features by name.

    >>> import mxnet as mx
    >>> mx.runtime.Features().is_enabled('CUDA')
    False
    """

    instance = None

    def __new__(cls):
        if cls.instance is None:
            cls.instance = super().__new__(cls)
            OrderedDict.__init__(cls.instance, ((name, Feature(name, on)) for name, on in _FEATURES.items()))
        return cls.instance

    def __init__(self):
        """All features are there already: there is one object."""

    def __repr__(self):
        return str(list(self.values()))

    def is_enabled(self, feature_name):
        """Whether this build has a feature; RuntimeError for a name that is not one."""
        name = feature_name.upper()
        if name not in self:
            raise RuntimeError(f"Feature '{name}' is unknown, known features are: {list(self)}")
        return self[name].enabled


def feature_list():
    """All features, as a list."""
    return list(Features().values())
