# SPDX-License-Identifier: Apache-2.0
"""Data iterators of the symbolic interface: batches of named arrays."""
from .files import CSVIter, MNISTIter
from .io import DataBatch, DataDesc, DataIter, PrefetchingIter, ResizeIter
from .libsvm import LibSVMIter
from .ndarray_iter import NDArrayIter

__all__ = ["CSVIter", "DataBatch", "DataDesc", "DataIter", "LibSVMIter", "MNISTIter", "NDArrayIter",
           "PrefetchingIter", "ResizeIter"]
