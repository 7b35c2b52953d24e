# SPDX-License-Identifier: Apache-2.0
"""The comparison and gradient helpers themselves."""
import os

import numpy as np
import pytest

import mxnet as mx
from mxnet import nd
from mxnet import test_utils as tu

A = np.arange(6).reshape(2, 3).astype("float32")


def test_assert_almost_equal():
    tu.assert_almost_equal(A, nd.array(A))
    tu.assert_almost_equal(A.astype("float16"), (A + 0.01).astype("float16"))
    wrong = A.copy()
    wrong[1, 2] = 9
    with pytest.raises(AssertionError) as caught:
        tu.assert_almost_equal(A, wrong, names=("x", "y"))
    message = str(caught.value)
    assert "Error 2105.26" in message and "Location of maximum error: (1, 2), x=5.00000000, y=9.00000000" in message
    assert "(mismatch 16.666667%)" in message
    tu.assert_almost_equal_with_err(A, wrong, etol=0.2)
    with pytest.raises(AssertionError, match="shape"):
        tu.assert_almost_equal(A, A[:1], use_broadcast=False)


def test_nan():
    nan = A.copy()
    nan[0, 0] = np.nan
    with pytest.raises(AssertionError):
        tu.assert_almost_equal(nan, nan)
    tu.assert_almost_equal(nan, nan, equal_nan=True)
    tu.assert_almost_equal_ignore_nan(nan, A)
    assert tu.almost_equal(nan, nan, equal_nan=True) and not tu.almost_equal(nan, nan)


def test_same():
    x = nd.array(A)
    assert tu.same(A, x) and tu.same_array(x, x[:]) and not tu.same_array(x, x.copy())


def test_random_things():
    assert len(tu.rand_shape_nd(4)) == 4 and all(1 <= d <= 3 for d in tu.rand_shape_3d(3, 3, 3))
    assert tu.rand_ndarray((2, 3), dtype="float64").dtype == np.float64
    assert np.abs(tu.rand_ndarray((100, 100)).asnumpy()).max() > 2
    assert np.abs(tu.rand_ndarray((100, 100), distribution="uniform").asnumpy()).max() <= 1
    assert tu.rand_ndarray((50, 10), dtype="int32").asnumpy().any()
    assert (tu.rand_ndarray((2, 3), modifier_func=lambda x: 3).asnumpy() == 3).all()
    assert tu.random_arrays((2,)).shape == (2,) and [a.shape for a in tu.random_arrays((2,), ())] == [(2,), ()]
    low = tu.random_uniform_arrays((5,), low=1, high=2)[0]
    assert (low >= 1).all() and (low < 2).all()


def test_default_context():
    tu.set_default_context(mx.cpu(1))
    try:
        assert tu.default_context() == mx.cpu(1) == nd.zeros((1,)).context
    finally:
        tu.set_default_context(mx.cpu(0))


def test_environment(monkeypatch):
    monkeypatch.setenv("MX_TEST_B", "1")
    with tu.environment({"MX_TEST_A": "3", "MX_TEST_B": None}):
        assert os.environ["MX_TEST_A"] == "3" and "MX_TEST_B" not in os.environ
    assert "MX_TEST_A" not in os.environ and os.environ["MX_TEST_B"] == "1"


def test_assert_exception_and_retry():
    tu.assert_exception(lambda: 1 / 0, ZeroDivisionError)
    with pytest.raises(AssertionError):
        tu.assert_exception(lambda: 1, ZeroDivisionError)
    calls = []

    @tu.retry(3)
    def sometimes():
        calls.append(1)
        assert len(calls) == 3

    sometimes()
    assert len(calls) == 3


def test_symbolic_checks():
    a, b = mx.sym.var("a"), mx.sym.var("b")
    tu.check_symbolic_forward(a * b, {"a": A, "b": A}, [A * A])
    tu.check_symbolic_backward(a * b, [A, A], [A], [A * A, A * A])
    tu.check_symbolic_backward(a * b, [A, A], [A], [A * A, A * A], grad_req={"a": "add", "b": "null"})
    assert tu.simple_forward(a + b, a=A, b=A).tolist() == (2 * A).tolist()
    with pytest.raises(AssertionError, match="FORWARD"):
        tu.check_symbolic_forward(a * b, [A, A], [A * A + 1])
    with pytest.raises(AssertionError, match="BACKWARD_a"):
        tu.check_symbolic_backward(a * b, [A, A], [A], {"a": A * A + 1})
    with pytest.raises(ValueError, match="do not match"):
        tu.check_symbolic_forward(a * b, {"a": A, "c": A}, [A])
    assert tu.same_symbol_structure(a + b, b + a) and not tu.same_symbol_structure(a + b, a * b)


def test_numeric_gradient():
    a, b = mx.sym.var("a"), mx.sym.var("b")
    location = [np.random.rand(2, 3), np.random.rand(2, 3)]
    tu.check_numeric_gradient(a * b + mx.sym.sin(a), location, rtol=1e-2, atol=1e-3)
    with pytest.raises(AssertionError, match="NUMERICAL_a"):
        tu.check_numeric_gradient(mx.sym.BlockGrad(a) * b, location)


def test_consistency():
    net = mx.sym.FullyConnected(mx.sym.var("a"), num_hidden=3, name="fc")
    tu.check_consistency(net, [{"ctx": mx.cpu(0), "a": (2, 3), "type_dict": {"a": np.float64}},
                               {"ctx": mx.cpu(1), "a": (2, 3), "type_dict": {"a": np.float32}}])
    tu.check_gluon_hybridize_consistency(lambda: mx.gluon.nn.Dense(2, in_units=3), [nd.array(A)])


# --- random sparse arrays

@pytest.mark.parametrize("density, count", [(0, 0), (0.3, 6), (0.5, 10), (1, 20)])
def test_rand_sparse_csr(density, count):
    array, (indptr, indices, values) = tu.rand_sparse_ndarray((4, 5), "csr", density=density, dtype="float64")
    assert array.stype == "csr" and array.dtype == np.float64 and array.shape == (4, 5)
    assert indices.shape == values.shape == (count,) and int(indptr[4].asscalar()) == count
    array.check_format()
    assert np.count_nonzero(array.asnumpy()) == count


def test_rand_sparse_row_sparse():
    array, (values, indices) = tu.rand_sparse_ndarray((4, 5), "row_sparse", rsp_indices=[3, 1], data_init=2,
                                                      modifier_func=lambda x: x * 3)
    assert indices.tolist() == [1, 3] and (values == 6).all() and array.dtype == np.float32
    assert array.asnumpy()[:, 0].tolist() == [0, 6, 0, 6]
    empty, (values, indices) = tu.rand_sparse_ndarray((4, 5, 2), "row_sparse", density=0)
    assert values.shape == (0, 5, 2) and indices.shape == (0,) and not empty.asnumpy().any()
    every = tu.rand_sparse_ndarray((4,), "row_sparse", density=1)[0]
    assert every.indices.asnumpy().tolist() == [0, 1, 2, 3]


def test_rand_sparse_powerlaw():
    def bounds(shape, density):
        return tu.rand_sparse_ndarray(shape, "csr", density=density, distribution="powerlaw")[0].indptr.asnumpy()

    assert bounds((4, 5), 0.5).tolist() == [0, 2, 6, 9, 10]
    assert bounds((4, 5), 0.8).tolist() == [0, 2, 6, 11, 16]
    assert bounds((20, 400), 0.2)[9:12].tolist() == [910, 1310, 1591]
    values = tu.rand_ndarray((8, 300), "csr", density=0.2, distribution="powerlaw").data.asnumpy()
    assert (values >= 1).all() and (values < 3).all()
    for shape, density in [((4, 5), 0.2), ((4, 5), 1), ((4, 50), 0.2)]:
        with pytest.raises(ValueError, match="not supported for this density"):
            bounds(shape, density)
    with pytest.raises(ValueError, match="greater than 0"):
        bounds((0, 5), 0.5)


def test_rand_sparse_shuffled():
    array, (_, indices, values) = tu.rand_sparse_ndarray((3, 50), "csr", density=0.9, shuffle_csr_indices=True)
    array.check_format()
    assert np.array_equal(array.asnumpy()[0, indices.asnumpy()[:10]], values.asnumpy()[:10])


def test_rand_sparse_errors():
    with pytest.raises(AssertionError, match="unknown storage type 'coo'"):
        tu.rand_sparse_ndarray((2, 2), "coo")
    with pytest.raises(AssertionError, match="two dimensions"):
        tu.rand_sparse_ndarray((2, 2, 2), "csr")
    with pytest.raises(ValueError, match="density has to be between 0 and 1, got 1.5"):
        tu.rand_ndarray((2, 2), "csr", density=1.5)
    with pytest.raises(AssertionError, match="powerlaw not supported for row_sparse"):
        tu.rand_sparse_ndarray((2, 2), "row_sparse", distribution="powerlaw")
    with pytest.raises(AssertionError, match=r"rsp_indices must lie in \[0, 2\)"):
        tu.rand_sparse_ndarray((2, 2), "row_sparse", rsp_indices=[2])


def test_create_sparse_array():
    assert tu.create_sparse_array((4, 5), "csr").data.shape == (10,)
    assert tu.create_sparse_array((4, 5), "row_sparse", rsp_indices=[]).indices.shape == (0,)
    assert tu.create_sparse_array((3, 2), "row_sparse", 0).indices.asnumpy().tolist() == [0, 1, 2]
    assert tu.create_sparse_array_zd((4, 5), "csr", 0).data.shape == (0,)
    assert tu.create_sparse_array_zd((4, 5), "row_sparse", 0, 2.0, [1, 2]).indices.asnumpy().tolist() == [1, 2]
    with pytest.raises(AssertionError, match="Unknown storage type: default"):
        tu.create_sparse_array((2, 2), "default")


def test_shuffle_csr_column_indices():
    class Matrix:
        indptr, indices = np.array([0, 20, 20, 40]), np.tile(np.arange(20), 2)

    np.random.seed(0)
    assert tu.shuffle_csr_column_indices(Matrix) is None
    halves = Matrix.indices.reshape(2, 20)
    assert (np.sort(halves) == np.arange(20)).all() and (np.diff(halves) < 0).any()


# --- matrices

def test_matrices():
    assert tu.get_identity_mat(3).asnumpy().tolist() == np.eye(3).tolist()
    assert tu.get_identity_mat_batch(2).asnumpy().tolist() == [np.eye(2).tolist()] * 2
    q = tu.new_orthonormal_matrix_2d(4)
    assert np.allclose(q @ q.T, np.eye(4))
    for matrix in tu.new_matrix_with_real_eigvals_nd((2, 3, 4, 4)).reshape(-1, 4, 4):
        values = np.linalg.eigvals(matrix)
        assert np.allclose(np.imag(values), 0) and (np.abs(values) < 10.01).all() and np.linalg.cond(matrix) < 1e4
    symmetric = tu.new_sym_matrix_with_real_eigvals_nd((2, 3, 3))
    assert symmetric.shape == (2, 3, 3) and np.array_equal(symmetric, symmetric.transpose(0, 2, 1))
    assert tu.new_matrix_with_real_eigvals_nd((0, 3, 3)).shape == (0, 3, 3)
    with pytest.raises(ValueError, match="square"):
        tu.new_matrix_with_real_eigvals_nd((2, 3))


# --- generators of random numbers

@pytest.mark.parametrize("statistic, freedom, expected", [
    (2, 1, 0.15729920705028513), (2, 2, 0.36787944117144233), (5, 3, 0.17179714429673354),
    (3.2, 4, 0.5249309467861041), (30, 9, 0.00043872177097947936), (0, 5, 1.0), (1e6, 7, 0.0)])
def test_chi_square_survival(statistic, freedom, expected):
    from mxnet._test_generators import _chi_square_survival
    assert np.isclose(_chi_square_survival(statistic, freedom), expected, rtol=1e-9, atol=0)


def test_chi_square_check():
    given = np.array([0.0, 1.0, 2.0, 3.0] * 2)
    for buckets, probs, observed in [
            ([(0.0, 1.0), (1.0, 3.0), (3.0, 4.0)], [0.25, 0.5, 0.25], [2, 4, 2]),
            ([(-1.0, 0.0), (0.0, 2.0), (2.0, 4.0)], [0.25, 0.5, 0.25], [0, 4, 4]),
            ([0, 1, 3], [0.25, 0.25, 0.5], [2, 2, 2])]:
        p, counts, expected = tu.chi_square_check(lambda n: given, buckets, probs, nsamples=8)
        assert counts.tolist() == observed and expected.tolist() == [8 * q for q in probs]
    assert tu.chi_square_check(lambda n: given, [(-1.0, 0.0), (0.0, 2.0), (2.0, 4.0)], [0.25, 0.5, 0.25],
                               nsamples=8)[0] == pytest.approx(0.1353352832366127)
    assert tu.chi_square_check(lambda n: nd.array(given), [(0.0, 4.0), (4.0, 5.0)], [1, 0], nsamples=8)[0] == 1
    assert tu.chi_square_check(lambda n: given, [(0.0, 3.0), (3.0, 4.0)], [1, 0], nsamples=8)[0] == 0
    for buckets, probs, message in [("ab", [0.5, 0.5], "must be a list"), ([], [], "at least one"),
                                    ([1, 2], [1], "1 probabilities for 2 buckets"),
                                    ([(0.0, 1.0), (0.5, 2.0)], [0.5, 0.5], "must ascend")]:
        with pytest.raises(AssertionError, match=message):
            tu.chi_square_check(lambda n: given, buckets, probs, nsamples=8)


def test_verify_generator():
    mx.random.seed(5)
    buckets, probs = tu.gen_buckets_probs_with_ppf(lambda p: 2 * p - 1, 4)
    assert buckets == [(-1, -0.5), (-0.5, 0), (0, 0.5), (0.5, 1)] and probs == [0.25] * 4

    def draw(n):
        return nd.random.uniform(-1, 1, shape=(n,))

    assert len(tu.verify_generator(draw, buckets, probs, nsamples=10000)) == 5
    with pytest.raises(AssertionError, match=r"Generator test fails, Chi-square p="):
        tu.verify_generator(lambda n: draw(n) * 0.9, buckets, probs, nsamples=10000, nrepeat=2)
    with pytest.raises(AssertionError, match="nbuckets must be 1 or more, got 0"):
        tu.gen_buckets_probs_with_ppf(lambda p: p, 0)
    assert tu.mean_check(draw, 0, 3 ** -0.5, nsamples=10000)
    assert tu.var_check(lambda n: nd.random.normal(shape=(n,)), 1, nsamples=10000)
    assert not tu.mean_check(draw, 0.1, 3 ** -0.5, nsamples=10000)


# --- files and surroundings

def test_dummy_iter():
    real = mx.io.NDArrayIter(np.arange(12.0).reshape(6, 2), np.arange(6), 2)
    dummy = tu.DummyIter(real)
    assert dummy.batch_size == 2 and dummy.provide_data == real.provide_data and dummy.provide_label
    for _ in range(4):
        assert next(dummy).data[0].asnumpy().tolist() == [[0, 1], [2, 3]]
    dummy.reset()
    assert dummy.next().label[0].asnumpy().tolist() == [0, 1]


def test_discard_stderr(capfd):
    with pytest.raises(ValueError):
        with tu.discard_stderr():
            os.write(2, b"hidden")
            raise ValueError
    os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


def test_download(tmp_path):
    import bz2
    from zipfile import ZipFile
    (tmp_path / "a").write_text("text")
    (tmp_path / "a.bz2").write_bytes(bz2.compress(b"text"))
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a", "b")
    got = tu.download((tmp_path / "a").as_uri(), dirname=str(tmp_path / "new"), fname="c")
    assert got == str(tmp_path / "new" / "c") and (tmp_path / "new" / "c").read_text() == "text"
    tu.get_bz2_data(str(tmp_path / "new"), "d", (tmp_path / "a.bz2").as_uri(), "d.bz2")
    tu.get_zip_data(str(tmp_path / "new"), (tmp_path / "a.zip").as_uri(), "e.zip")
    assert sorted(os.listdir(tmp_path / "new")) == ["b", "c", "d", "e.zip"]
    with pytest.raises(mx.MXNetError, match="cannot get"):
        tu.download((tmp_path / "none").as_uri(), fname=str(tmp_path / "f"))


def test_mnist(tmp_path, monkeypatch):
    import gzip
    import struct
    monkeypatch.chdir(tmp_path)
    os.mkdir("data")
    for part, count in (("train", 4), ("t10k", 2)):
        for kind, header, size in (("images-idx3", (2051, count, 28, 28), 784), ("labels-idx1", (2049, count), 1)):
            content = struct.pack(f">{len(header)}i", *header) + bytes([255] * size * count)
            (tmp_path / "data" / f"{part}-{kind}-ubyte").write_bytes(content)
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    data = tu.get_mnist()
    assert data["train_data"].shape == (4, 1, 28, 28) and (data["test_data"] == 1).all()
    assert data["train_label"].dtype == np.int8 and data["test_label"].shape == (2,)
    train, test = tu.get_mnist_iterator(2, (784,))
    assert train.provide_data[0].shape == (2, 784) and len(list(test)) == 1


def test_kinds_of_runs():
    with tu.environment("CD_JOB", "1"):
        assert tu.is_cd_run()
    assert tu.is_op_runnable() and not tu.has_tvm_ops() and tu.Features().is_enabled("CUDA") in (True, False)
    with pytest.raises(AssertionError, match=r"a.shape = \(2,\) and b.shape = \(3,\)"):
        tu.checkShapes(np.zeros(2), np.zeros(3))
