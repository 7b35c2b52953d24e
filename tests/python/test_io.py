# SPDX-License-Identifier: Apache-2.0
"""Data iterators. Expected batches are those of MXNet 1.9.1."""
import struct

import numpy as np
import pytest

import mxnet as mx
from mxnet import nd


def labels(iterator):
    return [(batch.label[0].asnumpy().astype(int).tolist(), batch.pad) for batch in iterator]


@pytest.mark.parametrize("size, batch, mode, epochs", [
    (5, 2, "pad", [[([0, 1], 0), ([2, 3], 0), ([4, 0], 1)]] * 2),
    (5, 2, "discard", [[([0, 1], 0), ([2, 3], 0)]] * 2),
    (5, 2, "roll_over",
     [[([0, 1], 0), ([2, 3], 0)], [([4, 0], 1), ([1, 2], 0), ([3, 4], 0)], [([0, 1], 0), ([2, 3], 0)]]),
    (7, 3, "roll_over", [[([0, 1, 2], 0), ([3, 4, 5], 0)], [([6, 0, 1], 1), ([2, 3, 4], 0)],
                         [([5, 6, 0], 2), ([1, 2, 3], 0), ([4, 5, 6], 0)]]),
    (3, 3, "roll_over", [[([0, 1, 2], 0)]] * 2),
])
def test_last_batch(size, batch, mode, epochs):
    iterator = mx.io.NDArrayIter(np.arange(size * 2).reshape(size, 2), np.arange(size), batch, last_batch_handle=mode)
    for expected in epochs:
        assert labels(iterator) == expected
        iterator.reset()


def test_reset_in_the_middle_and_hard_reset():
    iterator = mx.io.NDArrayIter(np.arange(7), np.arange(7), 3, last_batch_handle="roll_over")
    iterator.next()
    iterator.reset()
    assert len(labels(iterator)) == 2
    iterator.hard_reset()
    assert labels(iterator)[0] == ([0, 1, 2], 0)


def test_shuffle_reproduces():
    np.random.seed(3)
    iterator = mx.io.NDArrayIter(np.arange(14).reshape(7, 2), np.arange(7), 3, shuffle=True)
    assert labels(iterator) == [([4, 6, 5], 0), ([3, 1, 0], 0), ([2, 4, 6], 2)]
    iterator.reset()
    batches = list(iterator)
    assert batches[0].label[0].asnumpy().tolist() == [5, 6, 2]
    assert (batches[0].data[0].asnumpy()[:, 0] == 2 * batches[0].label[0].asnumpy()).all()


def test_descriptions_and_dtypes():
    iterator = mx.io.NDArrayIter({"a": np.ones((4, 2)), "b": nd.ones((4, 3), dtype="int32")},
                                 [np.ones(4), np.ones((4, 1))], 2)
    assert iterator.provide_data == [("a", (2, 2)), ("b", (2, 3))]
    assert [desc.name for desc in iterator.provide_label] == ["_0_softmax_label", "_1_softmax_label"]
    assert repr(iterator.provide_data[1]) == "DataDesc[b,(2, 3),<class 'numpy.int32'>,NCHW]"
    assert next(iterator).data[1].dtype == np.int32
    assert str(next(iterator)) == "DataBatch: data shapes: [(2, 2), (2, 3)] label shapes: [(2,), (2, 1)]"
    assert mx.io.NDArrayIter(np.ones((3, 2)), batch_size=1).provide_label == []
    assert mx.io.DataDesc.get_batch_axis("TNC") == 1


def test_bad_data():
    for data in ([], None):
        with pytest.raises(AssertionError):
            mx.io.NDArrayIter(data, batch_size=1)
    with pytest.raises(TypeError):
        mx.io.NDArrayIter("abc", batch_size=1)
    with pytest.raises(ValueError, match="softmax_label has 2"):
        mx.io.NDArrayIter(np.ones((3, 2)), np.ones(2))
    with pytest.raises(ValueError, match="last_batch_handle"):
        mx.io.NDArrayIter(np.ones((3, 2)), last_batch_handle="x")
    with pytest.raises(AssertionError, match="list"):
        mx.io.DataBatch(nd.ones((2,)))


def source(count=6):
    return mx.io.NDArrayIter(np.arange(count), np.arange(count), 2)


def test_resize():
    iterator = mx.io.ResizeIter(source(), 5)
    for _ in range(2):
        assert [row for row, _ in labels(iterator)] == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]
        iterator.reset()
    iterator = mx.io.ResizeIter(source(), 2, reset_internal=False)
    assert [row for row, _ in labels(iterator)] == [[0, 1], [2, 3]]
    iterator.reset()
    assert [row for row, _ in labels(iterator)] == [[4, 5], [0, 1]]


def test_prefetching():
    iterator = mx.io.PrefetchingIter([source(), source()], rename_data=[{"data": "a"}, {"data": "b"}],
                                     rename_label=[{"softmax_label": "c"}, {"softmax_label": "d"}])
    assert [desc.name for desc in iterator.provide_data + iterator.provide_label] == ["a", "b", "c", "d"]
    for _ in range(3):
        assert [row for row, _ in labels(iterator)] == [[0, 1], [2, 3], [4, 5]]
        iterator.reset()
    iterator.next()
    iterator.reset()
    assert len(labels(iterator)) == 3


def test_prefetching_passes_exceptions_on():
    class Broken(mx.io.NDArrayIter):
        def next(self):
            raise OSError("disk on fire")

    iterator = mx.io.PrefetchingIter(Broken(np.arange(4), batch_size=2))
    for _ in range(2):
        with pytest.raises(OSError, match="fire"):
            iterator.next()


def test_csv(tmp_path):
    data, label = str(tmp_path / "d.csv"), str(tmp_path / "l.csv")
    np.savetxt(data, np.arange(15).reshape(5, 3), delimiter=",")
    np.savetxt(label, np.arange(5), delimiter=",")
    iterator = mx.io.CSVIter(data_csv=data, data_shape=(3,), label_csv=label, batch_size=2)
    assert labels(iterator) == [([0, 1], 0), ([2, 3], 0), ([4, 0], 1)]
    iterator.reset()
    assert labels(iterator) == [([1, 2], 0), ([3, 4], 0)]
    without = mx.io.CSVIter(data_csv=data, data_shape=(3, 1), batch_size=2, dtype="int32")
    batch = without.next()
    assert batch.data[0].shape == (2, 3, 1) and batch.data[0].dtype == np.int32
    assert batch.label[0].asnumpy().tolist() == [0, 0]
    with pytest.raises(mx.MXNetError, match="nofile"):
        mx.io.CSVIter(data_csv=str(tmp_path / "nofile"), data_shape=(3,))
    with pytest.raises(mx.MXNetError, match="3 numbers"):
        mx.io.CSVIter(data_csv=data, data_shape=(4,))


LIBSVM = "1.0 0:0.5 2:1.2\n-2.0\n\n-3.0 1:2.4 0:0.6 2:1.2  # unordered\n4 2:-1.2\n"


def test_libsvm(tmp_path):
    path = tmp_path / "data.t"
    path.write_text(LIBSVM)
    rows = [[0.5, 0, 1.2], [0, 0, 0], [0.6, 2.4, 1.2], [0, 0, -1.2]]
    iterator = mx.io.LibSVMIter(data_libsvm=str(path), data_shape=(3,), batch_size=3)
    assert iterator.provide_data[0].shape == (3, 3) and iterator.provide_label[0].shape == (3,)
    for expected in ([([0, 1, 2], 0), ([3, 0, 1], 2)], [([2, 3, 0], 1)], [([1, 2, 3], 0)]):
        got = list(iterator)
        assert [(batch.index.tolist(), batch.pad) for batch in got] == expected
        for batch, (index, _) in zip(got, expected):
            assert batch.data[0].stype == "csr" and batch.label[0].stype == "default"
            np.testing.assert_allclose(batch.data[0].asnumpy(), np.array(rows)[index], 1e-6)
            assert batch.label[0].asnumpy().tolist() == np.array([1, -2, -3, 4])[index].tolist()
        iterator.reset()
    large = mx.io.LibSVMIter(str(path), 3, 6, dtype="float64").next()
    assert large.pad == 2 and large.data[0].dtype == np.float64 and large.data[0].shape == (6, 3)
    halves = [mx.io.LibSVMIter(str(path), (3,), 2, num_parts=2, part_index=part) for part in range(2)]
    assert [labels(half) for half in halves] == [[([1, -2], 0)], [([-3, 4], 0)]]


def test_libsvm_labels_and_folders(tmp_path):
    for name, text in (("d1", "0 0:1\n"), ("d2", "0 3:2\n5 1:4\n")):
        (tmp_path / name).write_text(text)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "l").write_text("7 0:1\n7\n7 1:0.5\n")
    data = tmp_path / "data"
    data.mkdir()
    for name in ("d1", "d2"):
        (tmp_path / name).rename(data / name)
    iterator = mx.io.LibSVMIter(str(data), (4,), 3, label_libsvm=str(tmp_path / "labels"), label_shape=(2,))
    batch = iterator.next()
    assert batch.data[0].asnumpy().tolist() == [[1, 0, 0, 0], [0, 0, 0, 2], [0, 4, 0, 0]]
    assert batch.label[0].stype == "csr" and batch.label[0].asnumpy().tolist() == [[1, 0], [0, 0], [0, 0.5]]
    with pytest.raises(mx.MXNetError, match="has 3 rows, .* has 1"):
        mx.io.LibSVMIter(str(data), (4,), 3, label_libsvm=str(data / "d1"), label_shape=(4,))


@pytest.mark.parametrize("text, match", [
    ("1 0:1\n\n2 3:1\n", r"line 3: column 3 is not a whole number in \[0, 3\)"), ("1 -1:1\n", "line 1: column -1 is"),
    ("1 0.5:1\n", "column 0.5"), ("1 nan:1\n", "column nan"), ("1 0:1\nx 0:1\n", "line 2: .* got 'x'"),
    ("1 0:1 2\n", "line 1: .* got '2'"), ("1 0:1:2\n", "got '0:1:2'"), ("1 0:\n", "got '0:'"), ("1 qid:3 0:1\n", "qid"),
    ("# nothing\n", "no rows")])
def test_libsvm_of_other_text(tmp_path, text, match):
    path = tmp_path / "data.t"
    path.write_text(text)
    with pytest.raises(mx.MXNetError, match=match):
        mx.io.LibSVMIter(str(path), (3,), 1)


@pytest.mark.parametrize("options, match", [
    ({"data_libsvm": "nofile"}, "cannot find data_libsvm nofile"), ({"data_shape": (3, 2)}, "data_shape is expected"),
    ({"label_shape": (3,)}, "label_shape is expected"), ({"round_batch": False}, "round_batch"),
    ({"part_index": 1}, "part_index"), ({"batch_size": 0}, "batch_size")])
def test_libsvm_arguments(tmp_path, options, match):
    path = tmp_path / "data.t"
    path.write_text(LIBSVM)
    with pytest.raises(mx.MXNetError, match=match):
        mx.io.LibSVMIter(**{"data_libsvm": str(path), "data_shape": (3,), "batch_size": 1, **options})


def test_mnist(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (7, 4, 4)).astype("uint8")
    for name, array in (("img", images), ("lab", np.arange(7, dtype="uint8"))):
        header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
        (tmp_path / name).write_bytes(header + array.tobytes())
    files = {"image": str(tmp_path / "img"), "label": str(tmp_path / "lab")}
    iterator = mx.io.MNISTIter(**files, batch_size=3, shuffle=False)
    assert labels(iterator) == [([0, 1, 2], 0), ([3, 4, 5], 0)]
    iterator.reset()
    np.testing.assert_allclose(next(iterator).data[0].asnumpy(), images[:3, None] / 256)
    assert next(mx.io.MNISTIter(**files, batch_size=3, flat=True)).data[0].shape == (3, 16)
    part = mx.io.MNISTIter(**files, batch_size=1, num_parts=2, part_index=1, shuffle=False)
    assert labels(part)[0] == ([3], 0)
    with pytest.raises(mx.MXNetError, match="absent"):
        mx.io.MNISTIter(image=str(tmp_path / "absent"), label=files["label"])
