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
