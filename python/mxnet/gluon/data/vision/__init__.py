# SPDX-License-Identifier: Apache-2.0
"""Data sets of images, and transforms for them."""
from . import transforms
from .datasets import MNIST, FashionMNIST

__all__ = ["FashionMNIST", "MNIST", "transforms"]
