# SPDX-License-Identifier: Apache-2.0
"""Data sets, samplers, and the loader in this process, in threads and in worker processes."""
import gzip
import multiprocessing
import os
import signal
import struct
import time

import numpy as np
import pytest

import mxnet as mx
from mxnet import gluon, nd
from mxnet.gluon.data import (
    ArrayDataset,
    BatchSampler,
    DataLoader,
    Dataset,
    FilterSampler,
    IntervalSampler,
    RandomSampler,
    SequentialSampler,
    SimpleDataset,
)

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)
MODES = [{"num_workers": 0}, {"num_workers": 2}, {"num_workers": 2, "thread_pool": True}]


# --- data sets and samplers

def test_array_dataset():
    data = ArrayDataset(X, Y)
    assert len(data) == 10 and data[3][0].tolist() == [6, 7] and data[3][1] == 3
    assert ArrayDataset(X)[2].tolist() == [4, 5]
    assert isinstance(ArrayDataset(nd.array(X), nd.array(Y))[3][1], np.float32)
    for args in ((), (X, Y[:3])):
        with pytest.raises(AssertionError):
            ArrayDataset(*args)
    with pytest.raises(IndexError):
        data[20]


def test_dataset_operations():
    data = SimpleDataset(list(range(11)))
    assert list(data.filter(lambda x: x % 3 == 0)) == [0, 3, 6, 9]
    assert [list(data.shard(4, i)) for i in range(4)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10]]
    assert list(data.take(3)) == [0, 1, 2] and len(data.take(None)) == len(data.take(99)) == 11
    assert list(data.sample(SequentialSampler(3, 2))) == [2, 3, 4]
    assert data.transform(lambda x: x + 1)[3] == data.transform(lambda x: x + 1, lazy=False)[3] == 4
    first, second = ArrayDataset(X, Y).transform_first(lambda x: x * 2)[1]
    assert first.tolist() == [4, 6] and second == 1
    assert ArrayDataset(X, Y).transform(lambda x, y: y)[1] == 1
    with pytest.raises(AssertionError):
        data.shard(4, 4)
    with pytest.raises(TypeError):
        data.sample([1])


def test_samplers():
    assert list(SequentialSampler(3, 5)) == [5, 6, 7]
    assert list(FilterSampler(lambda x: x % 2, list(range(7)))) == [1, 3, 5]
    np.random.seed(0)
    assert list(RandomSampler(10)) == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]
    assert list(IntervalSampler(13, 3))[:6] == [0, 3, 6, 9, 12, 1]
    assert list(IntervalSampler(13, 3, rollover=False)) == [0, 3, 6, 9, 12]
    assert len(IntervalSampler(13, 3, False)) == 5
    with pytest.raises(ValueError, match="last_batch"):
        BatchSampler(SequentialSampler(3), 2, "z")


@pytest.mark.parametrize("last_batch, epochs, lengths", [
    ("keep", [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]] * 2, [3, 3]),
    ("discard", [[[0, 1, 2, 3], [4, 5, 6, 7]]] * 2, [2, 2]),
    ("rollover", [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 0, 1], [2, 3, 4, 5], [6, 7, 8, 9]]], [2, 3]),
])
def test_last_batch(last_batch, epochs, lengths):
    loader = DataLoader(list(range(10)), 4, last_batch=last_batch)
    for expected, length in zip(epochs, lengths):
        assert len(loader) == length
        assert [batch.asnumpy().tolist() for batch in loader] == expected


# --- the loader

@pytest.mark.parametrize("mode", MODES)
def test_batches(mode):
    loader = DataLoader(ArrayDataset(X, Y), 4, **mode)
    for _ in range(2):
        batches = list(loader)
        assert [len(labels) for _, labels in batches] == [4, 4, 2]
        data, labels = batches[1]
        assert isinstance(data, nd.NDArray) and data.context == mx.cpu(0)
        assert (data.dtype, labels.dtype) == (np.float64, np.int64)
        assert data.asnumpy().tolist() == X[4:8].tolist() and labels.asnumpy().tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("mode", MODES)
def test_nested_samples_and_own_batchify(mode):
    samples = SimpleDataset([(1, [2, 3]), (4, [5, 6])])
    first, second = next(iter(DataLoader(samples, 2, **mode)))
    assert first.asnumpy().tolist() == [1, 4] and second.asnumpy().tolist() == [[2, 3], [5, 6]]
    named = next(iter(DataLoader(samples, 2, batchify_fn=_as_dict, **mode)))
    assert named["n"] == 2 and isinstance(named["x"], nd.NDArray) and isinstance(named["y"], np.ndarray)


def _as_dict(samples):
    return {"n": len(samples), "x": nd.ones((2,)), "y": np.zeros(3)}


@pytest.mark.parametrize("mode", MODES)
def test_samples_that_are_ndarrays(mode):
    loader = DataLoader(SimpleDataset([nd.full((2,), i) for i in range(4)]), 2, **mode)
    assert [batch.asnumpy()[:, 0].tolist() for batch in loader] == [[0, 1], [2, 3]]


class _Broken(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == 4:
            raise ValueError("bad sample 4")
        return i


@pytest.mark.parametrize("mode", MODES)
def test_exceptions_come_out(mode):
    loader = DataLoader(_Broken(), 2, **mode)
    iterator = iter(loader)
    next(iterator), next(iterator)
    with pytest.raises(ValueError, match="bad sample 4") as caught:
        next(iterator)
    if mode == {"num_workers": 2}:
        assert "__getitem__" in str(caught.value.__cause__)
        assert next(iterator).asnumpy().tolist() == [6, 7]  # and the workers go on


@pytest.mark.parametrize("mode", MODES)
def test_leaving_early_and_two_at_once(mode):
    loader = DataLoader(list(range(20)), 2, **mode)
    for _ in range(3):
        for _ in loader:
            break
    first, second = iter(loader), iter(loader)
    assert [next(first).asnumpy()[0], next(second).asnumpy()[0], next(first).asnumpy()[0]] == [0, 0, 2]
    del first
    assert len(list(second)) == 9


def test_large_batches_and_growing_buffers():
    data = [np.full((size, 1000), size, "float32") for size in (1, 5, 2, 300, 3, 400)]
    loader = DataLoader(SimpleDataset(data), 1, num_workers=1)
    for _ in range(2):
        for expected, batch in zip(data, loader):
            assert (batch.asnumpy()[0] == expected).all()


def test_empty_arrays_and_many_indices():
    loader = DataLoader(SimpleDataset([np.zeros((0, 3), "float32")] * 2), 2, num_workers=1)
    assert next(iter(loader)).shape == (2, 0, 3)
    big = DataLoader(range(200000), 100000, num_workers=1)
    assert [int(batch[-1].asscalar()) for batch in big] == [99999, 199999]


class _Deadly(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return i


def test_a_worker_that_dies():
    loader = DataLoader(_Deadly(), 1, num_workers=1)
    with pytest.raises(RuntimeError, match="ended unexpectedly.*-9"):
        list(loader)
    with pytest.raises(RuntimeError, match="ended unexpectedly"):  # a new epoch has new workers
        list(loader)


class _Slow(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        time.sleep(3)
        return i


@pytest.mark.parametrize("mode", MODES[1:])
def test_timeout(mode):
    with pytest.raises(multiprocessing.TimeoutError, match="0.2 s"):
        next(iter(DataLoader(_Slow(), 1, timeout=0.2, **mode)))


class _Random(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, i):
        return np.random.rand()


def test_workers_have_random_numbers_of_their_own():
    def run():
        np.random.seed(1)
        return np.concatenate([batch.asnumpy() for batch in DataLoader(_Random(), 4, num_workers=2)])

    first = run()
    assert len(np.unique(first)) == 8
    assert (run() == first).all()


def test_workers_end_with_their_loader():
    loader = DataLoader(list(range(4)), 2, num_workers=2)
    list(loader)
    processes = [worker.process for worker in loader._pool._workers]
    assert all(process.is_alive() for process in processes)
    del loader
    for process in processes:
        process.join(5)
        assert not process.is_alive()


def test_operators_in_workers():
    nd.dot(nd.ones((200, 200)), nd.ones((200, 200))).wait_to_read()  # the team has worked before the fork
    loader = DataLoader(SimpleDataset(list(range(6))).transform(_product), 2, num_workers=2)
    assert [batch.asnumpy().tolist() for batch in loader] == [[0, 64], [128, 192], [256, 320]]


def _product(i):
    return nd.dot(nd.ones((64, 64)), nd.ones((64, 64)) * i)[0, 0].asscalar()


def test_pin_memory_and_auto_reload():
    loader = DataLoader(X, 5, pin_memory=True, num_workers=1, auto_reload=True)
    for _ in range(2):
        assert [batch.context for batch in loader] == [mx.cpu_pinned(0)] * 2
    loader.refresh()
    loader.clean()
    assert len(list(loader)) == 2


def test_bad_arguments():
    for kwargs in ({}, {"batch_size": 2, "shuffle": True, "sampler": SequentialSampler(3)},
                   {"batch_size": 2, "batch_sampler": BatchSampler(SequentialSampler(10), 2)},
                   {"batch_size": 2, "last_batch": "x"}):
        with pytest.raises(ValueError):
            DataLoader(X, **kwargs)
    assert len(DataLoader(X, batch_sampler=BatchSampler(SequentialSampler(10), 3))) == 4
    assert DataLoader(X, 2, num_workers=-1)._num_workers == 0


# --- images

def _write_idx(path, array):
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wb") as file:
        file.write(header + array.astype("uint8").tobytes())


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_from_files(tmp_path, suffix):
    images, labels = np.random.RandomState(0).randint(0, 256, (5, 28, 28)), np.arange(5)
    _write_idx(tmp_path / f"train-images-idx3-ubyte{suffix}", images)
    _write_idx(tmp_path / f"train-labels-idx1-ubyte{suffix}", labels)
    data = gluon.data.vision.MNIST(root=str(tmp_path))
    image, label = data[2]
    assert len(data) == 5 and label == 2 and label.dtype == np.int32
    assert image.shape == (28, 28, 1) and image.dtype == np.uint8
    assert (image.asnumpy()[..., 0] == images[2]).all()
    assert gluon.data.vision.MNIST(str(tmp_path), transform=lambda x, y: y)[4] == 4
    (tmp_path / f"train-images-idx3-ubyte{suffix}").write_bytes(b"\x00\x00\x08\x03short")
    with pytest.raises(mx.MXNetError, match="idx"):
        gluon.data.vision.MNIST(root=str(tmp_path))


def test_mnist_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("MXNET_GLUON_REPO", (tmp_path / "mirror").as_uri())
    with pytest.raises(mx.MXNetError, match="train-images-idx3-ubyte"):
        gluon.data.vision.MNIST(root=str(tmp_path / "data"))


def test_transforms():
    transforms = gluon.data.vision.transforms
    image = nd.array(np.arange(24).reshape(2, 4, 3), dtype="uint8")
    tensor = transforms.ToTensor()(image)
    assert tensor.shape == (3, 2, 4) and tensor.dtype == np.float32
    np.testing.assert_allclose(tensor.asnumpy(), image.asnumpy().transpose(2, 0, 1) / 255, rtol=1e-6)
    assert transforms.ToTensor()(nd.zeros((5, 2, 4, 3))).shape == (5, 3, 2, 4)
    normalized = transforms.Normalize((0.5, 0.4, 0.3), (0.2, 0.1, 1))(nd.ones((3, 1, 1)))
    np.testing.assert_allclose(normalized.asnumpy().ravel(), [2.5, 6, 0.7], rtol=1e-5)
    chain = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 0.5), transforms.Cast("float64")])
    for _ in range(2):
        out = chain(image)
        assert out.dtype == np.float64 and out.shape == (3, 2, 4)
    np.testing.assert_allclose(out.asnumpy(), tensor.asnumpy() * 2 - 1, atol=1e-6)
