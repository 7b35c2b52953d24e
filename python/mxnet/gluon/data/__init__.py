# SPDX-License-Identifier: Apache-2.0
"""Data sets, samplers and the loader that makes batches of them."""
from importlib import import_module

from .dataloader import DataLoader, default_batchify_fn, default_mp_batchify_fn
from .dataset import ArrayDataset, Dataset, SimpleDataset
from .sampler import BatchSampler, FilterSampler, IntervalSampler, RandomSampler, Sampler, SequentialSampler

__all__ = ["ArrayDataset", "BatchSampler", "DataLoader", "Dataset", "FilterSampler", "IntervalSampler", "RandomSampler",
           "Sampler", "SequentialSampler", "SimpleDataset", "default_batchify_fn", "default_mp_batchify_fn", "vision"]


def __getattr__(name):
    if name == "vision":
        return import_module(".vision", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
