# SPDX-License-Identifier: Apache-2.0
"""Initializers: values by name, text form, and the rules that choose between them."""
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import initializer, nd


def fill(init, shape, name="x_weight", **kwargs):
    array = nd.zeros(shape)
    init(initializer.InitDesc(name, **kwargs), array)
    return array.asnumpy()


@pytest.mark.parametrize("name, value", [
    ("a_weight", 5), ("a_bias", 0), ("a_gamma", 1), ("a_beta", 0), ("a_min", 0), ("a_max", 1), ("bn_moving_mean", 0),
    ("bn_moving_var", 1)])
def test_name_decides(name, value):
    assert (fill(mx.init.Constant(5), (4,), name) == value).all()


def test_unknown_name():
    with pytest.raises(ValueError, match="foo"):
        fill(mx.init.Constant(5), (4,), "foo")


@pytest.mark.parametrize("init, text", [
    (mx.init.Zero(), '["zero", {}]'), (mx.init.Constant(2), '["constant", {"value": 2}]'),
    (mx.init.Uniform(), '["uniform", {"scale": 0.07}]'), (mx.init.Normal(), '["normal", {"sigma": 0.01}]'),
    (mx.init.Xavier("gaussian", "in", 2), '["xavier", {"rnd_type": "gaussian", "factor_type": "in", "magnitude": 2}]'),
    (mx.init.MSRAPrelu(), '["msraprelu", {"factor_type": "avg", "slope": 0.25}]'),
    (mx.init.LSTMBias(), '["lstmbias", {"forget_bias": 1.0}]'),
    (mx.init.FusedRNN(None, 2, 1, "lstm"),
     '["fusedrnn", {"init": null, "num_hidden": 2, "num_layers": 1, "mode": "lstm", '
                                           '"bidirectional": false, "forget_bias": 1.0}]'),
])
def test_text_form(init, text):
    assert init.dumps() == text
    assert initializer.create(text).dumps() == text


def test_constant_of_an_array_is_text_too():
    assert json.loads(mx.init.Constant(nd.ones((2,))).dumps()) == ["constant", {"value": [1.0, 1.0]}]


def test_create():
    assert isinstance(initializer.create("zeros"), mx.init.Zero)
    with pytest.raises(AssertionError, match="nope"):
        initializer.create("nope")


def test_attribute_overrides():
    assert (fill(mx.init.Zero(), (3,), "x_bias", attrs={"__init__": "ones"}) == 1).all()
    values = fill(mx.init.Zero(), (8,), "x_bias", attrs={"__init__": mx.init.LSTMBias(3).dumps()})
    assert values.tolist() == [0, 0, 3, 3, 0, 0, 0, 0]


@pytest.mark.parametrize("init, bound", [
    (mx.init.Uniform(0.5), 0.5), (mx.init.Xavier(), np.sqrt(3 / 150)),
    (mx.init.Xavier(factor_type="in", magnitude=1), np.sqrt(1 / 200))])
def test_uniform_ranges(init, bound):
    values = fill(init, (100, 200))
    assert np.abs(values).max() <= bound
    assert_allclose(values.std(), bound / np.sqrt(3), rtol=0.05)


@pytest.mark.parametrize("init, sigma", [
    (mx.init.Normal(0.2), 0.2), (mx.init.Xavier("gaussian", "out", 2), np.sqrt(2 / 100)),
    (mx.init.MSRAPrelu(slope=0.0), np.sqrt(2 / 150))])
def test_normal_spreads(init, sigma):
    assert_allclose(fill(init, (100, 200)).std(), sigma, rtol=0.05)


def test_seed_reproduces():
    mx.random.seed(5)
    first = fill(mx.init.Xavier(), (3, 4))
    mx.random.seed(5)
    assert (fill(mx.init.Xavier(), (3, 4)) == first).all()


def test_orthogonal():
    for shape in ((4, 10), (10, 4), (6, 2, 3)):
        matrix = fill(mx.init.Orthogonal(scale=1.0), shape).reshape(shape[0], -1)
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        assert_allclose(gram, np.eye(len(gram)), atol=1e-5)


def test_bilinear():
    assert_allclose(fill(mx.init.Bilinear(), (1, 1, 4, 4))[0, 0, 0], [0.0625, 0.1875, 0.1875, 0.0625])
    assert_allclose(fill(mx.init.Bilinear(), (2, 1, 3, 3))[1, 0, 1], [0.1875, 0.5625, 0.5625])


def test_mixed_and_load():
    mixed = mx.init.Mixed(["b.*", ".*"], [mx.init.One(), mx.init.Zero()])
    assert fill(mixed, (1,), "b_weight") == 1 and fill(mixed, (1,), "c_weight") == 0
    with pytest.raises(ValueError):
        fill(mx.init.Mixed(["y"], [mx.init.One()]), (1,))
    load = mx.init.Load({"arg:x": nd.ones((2,))}, default_init=mx.init.Zero())
    assert fill(load, (2,), "x").tolist() == [1, 1]
    assert fill(load, (2,), "y_weight").tolist() == [0, 0]
    with pytest.raises(AssertionError, match="Shape"):
        fill(load, (3,), "x")
    with pytest.raises(AssertionError, match="y"):
        fill(mx.init.Load({}), (3,), "y")


@pytest.mark.parametrize("init", [mx.init.Xavier("foo"), mx.init.Xavier("uniform", "q"),
                                  mx.init.Orthogonal(rand_type="z")])
def test_bad_arguments(init):
    with pytest.raises(ValueError):
        fill(init, (2, 2))
    with pytest.raises(ValueError, match="at least 2D"):
        fill(mx.init.Xavier(), (4,))


def test_fused_rnn():
    values = fill(mx.init.FusedRNN(mx.init.One(), 2, 1, "lstm"), (4 * 2 * 3 + 4 * 2 * 2 + 16,))
    assert (values[:40] == 1).all()
    assert values[40:48].tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
