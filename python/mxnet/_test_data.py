# SPDX-License-Identifier: Apache-2.0
"""Files and data sets of tests; see `mxnet.test_utils`."""
from __future__ import annotations

import os

import numpy as np

from .io import DataIter, MNISTIter
from .io.files import read_idx

__all__ = ["DummyIter", "download", "get_bz2_data", "get_cifar10", "get_mnist", "get_mnist_iterator",
           "get_mnist_ubyte", "get_zip_data"]

_DATA_SETS = "http://data.mxnet.io/"
_MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                "t10k-labels-idx1-ubyte")


class DummyIter(DataIter):
    """Gives the first batch of another iterator for ever, to measure speed without the cost of data."""

    def __init__(self, real_iter):
        super().__init__()
        self.real_iter = real_iter
        self.provide_data = real_iter.provide_data
        self.provide_label = real_iter.provide_label
        self.batch_size = real_iter.batch_size
        self.the_batch = next(iter(real_iter))

    def next(self):
        """The batch."""
        return self.the_batch


def download(url, fname=None, dirname=None, overwrite=False, retries=5):
    """Fetch `url` to a file and return its path.

    Parameters
    ----------
    url : str
    fname : str, optional
        The file; by default the last part of the URL.
    dirname : str, optional
        The folder, which is made if need be; by default that of `fname`, or the current one.
    overwrite : bool
        Whether to fetch although the file is there.
    retries : int
        The number of attempts.

    MXNetError with the URL, the file and the reason if it cannot be had.
    """
    from .gluon.utils import download as fetch
    path = fname if fname is not None else url.split("/")[-1]
    if dirname is not None:
        path = os.path.join(dirname, path)
    return fetch(url, path=path, overwrite=overwrite, retries=max(retries - 1, 0))


def get_zip_data(data_dir, url, data_origin_name):
    """Unpack the zip archive at `url` in the folder `data_dir`, where it is kept as `data_origin_name`."""
    from zipfile import ZipFile
    path = os.path.join(data_dir, data_origin_name)
    with ZipFile(download(url, fname=path)) as archive:
        archive.extractall(data_dir)


def get_bz2_data(data_dir, data_name, url, data_origin_name):
    """Make the file `data_name` in `data_dir` from the bz2 file at `url`, which is `data_origin_name` for a while.

    Nothing is done if `data_name` is there already.
    """
    import bz2
    from shutil import copyfileobj
    target = os.path.join(data_dir, data_name)
    if os.path.exists(target):
        return
    packed = download(url, fname=os.path.join(data_dir, data_origin_name))
    with bz2.open(packed, "rb") as source, open(target + ".part", "wb") as file:
        copyfileobj(source, file)
    os.replace(target + ".part", target)  # the file appears only when it is complete
    os.remove(packed)


def get_mnist():
    """The handwritten digits as a dict of NumPy arrays.

    'train_data' of shape (60000, 1, 28, 28) and 'test_data' of shape (10000, 1, 28, 28), float32 in [0, 1];
    'train_label' and 'test_label', int8. The files are `train-images-idx3-ubyte.gz` and so on in the current folder;
    those that are missing are downloaded.
    """

    def read(name):
        return read_idx(download(f"{_DATA_SETS}data/mnist/{name}.gz", retries=1))

    def images(name):
        pixels = read(name)
        return pixels.reshape(len(pixels), 1, 28, 28).astype(np.float32) / 255

    train_images, train_labels, test_images, test_labels = _MNIST_FILES
    return {"train_data": images(train_images), "train_label": read(train_labels).astype(np.int8),
            "test_data": images(test_images), "test_label": read(test_labels).astype(np.int8)}


def get_mnist_ubyte():
    """Put the four idx files of the handwritten digits, unpacked, into the folder `data`, unless they are there."""
    if not all(os.path.exists(os.path.join("data", name)) for name in _MNIST_FILES):
        get_zip_data("data", _DATA_SETS + "mxnet/data/mnist.zip", "mnist.zip")


def get_mnist_iterator(batch_size, input_shape, num_parts=1, part_index=0):
    """(training iterator, validation iterator) over the handwritten digits in the folder `data`.

    Parameters
    ----------
    batch_size : int
    input_shape : tuple
        Of one sample: (784,) for flat ones, else (1, 28, 28).
    num_parts, part_index : int
        Read only one of several parts, for one of several workers.
    """
    get_mnist_ubyte()
    train_images, train_labels, test_images, test_labels = (os.path.join("data", name) for name in _MNIST_FILES)
    options = {"batch_size": batch_size, "flat": len(input_shape) != 3, "num_parts": num_parts,
               "part_index": part_index}
    return (MNISTIter(image=train_images, label=train_labels, shuffle=True, **options),
            MNISTIter(image=test_images, label=test_labels, shuffle=False, **options))


def get_cifar10():
    """Put the record files of CIFAR-10 into the folder `data/cifar`, unless they are there."""
    if not all(os.path.exists(os.path.join("data", "cifar", name)) for name in ("train.rec", "test.rec")):
        get_zip_data("data", _DATA_SETS + "mxnet/data/cifar10.zip", "cifar10.zip")
