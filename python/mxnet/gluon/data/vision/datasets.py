# SPDX-License-Identifier: Apache-2.0
"""Well-known data sets of images, read from their own files."""
from __future__ import annotations

import os

import numpy as np

from .... import ndarray as nd
from ....base import MXNetError
from ....io.files import read_idx
from ...utils import download
from ..dataset import Dataset

__all__ = ["FashionMNIST", "MNIST"]

_DEFAULT_REPOSITORY = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/"


def _repository(namespace):
    """Where a data set is downloaded from; MXNET_GLUON_REPO names a mirror."""
    base = os.environ.get("MXNET_GLUON_REPO", _DEFAULT_REPOSITORY)
    return f"{base.rstrip('/')}/gluon/{namespace}/"


class MNIST(Dataset):
    """Handwritten digits: (image, label) with an image of shape (28, 28, 1), uint8, and a label 0-9, int32.

    Parameters
    ----------
    root : str
        The folder with the four idx files, plain or compressed (`.gz`). Files that are missing are downloaded; without
        a network MXNetError tells which file to put there.
    train : bool
        Whether to read the 60,000 training images or the 10,000 test images.
    transform : callable, optional
        `transform(image, label)` gives the sample.
    """

    _namespace = "dataset/mnist"

    def __init__(self, root="~/.mxnet/datasets/mnist", train=True, transform=None):
        self._root = os.path.expanduser(root)
        self._transform = transform
        part = "train" if train else "t10k"
        images = read_idx(self._find(f"{part}-images-idx3-ubyte"))
        labels = read_idx(self._find(f"{part}-labels-idx1-ubyte"))
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise MXNetError(f"{type(self).__name__}: the files in {self._root} hold arrays of shapes {images.shape} "
                             f"and {labels.shape}, not (n, height, width) and (n,)")
        self._data = images[..., None]
        self._label = labels.astype(np.int32)

    def _find(self, name):
        """The path of a file in the folder, downloaded if need be."""
        for candidate in (name, name + ".gz", name.replace("-idx", ".idx")):
            path = os.path.join(self._root, candidate)
            if os.path.exists(path):
                return path
        os.makedirs(self._root, exist_ok=True)
        return download(_repository(self._namespace) + name + ".gz", path=self._root, retries=1)

    def __len__(self):
        return len(self._label)

    def __getitem__(self, idx):
        image, label = nd.array(self._data[idx], dtype=np.uint8), self._label[idx]
        return (image, label) if self._transform is None else self._transform(image, label)


class FashionMNIST(MNIST):
    """Zalando's articles of clothing, in the format of MNIST; see there for the arguments."""

    _namespace = "dataset/fashion-mnist"

    def __init__(self, root="~/.mxnet/datasets/fashion-mnist", train=True, transform=None):
        super().__init__(root, train, transform)
