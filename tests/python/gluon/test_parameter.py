# SPDX-License-Identifier: Apache-2.0
"""Parameters: states, devices, gradients, sharing, files."""
import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn
from mxnet.gluon.parameter import DeferredInitializationError


def test_before_initialization():
    param = gluon.Parameter("w", shape=(2, 2))
    for access in (param.data, param.grad, param.list_data, param.list_ctx):
        with pytest.raises(RuntimeError, match="'w' has not been initialized"):
            access()


def test_deferred():
    dense = nn.Dense(3)
    dense.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    assert dense.weight.shape == (3, 0)
    with pytest.raises(DeferredInitializationError, match="deferred"):
        dense.weight.data()
    assert dense.weight.list_ctx() == [mx.cpu(0), mx.cpu(1)]
    dense(nd.ones((2, 4)))
    assert dense.weight.shape == (3, 4)
    assert_allclose(dense.weight.data(mx.cpu(1)).asnumpy(), dense.weight.data(mx.cpu(0)).asnumpy())


def test_unknown_shape_that_may_not_wait():
    for shape in ((2, 0), None):
        with pytest.raises(ValueError, match="invalid shape"):
            gluon.Parameter("w", shape=shape).initialize()


def test_set_data_before_the_shape_is_known():
    dense = nn.Dense(2, use_bias=False)
    dense.initialize()
    dense.weight.set_data(nd.array([[1, 2, 3], [4, 5, 6]]))
    assert dense(nd.ones((1, 3))).asnumpy().tolist() == [[6, 15]]


def test_shape_and_dtype():
    param = gluon.Parameter("w", shape=(3, 0))
    param.shape = (3, 4)
    with pytest.raises(AssertionError, match=r"\(3, 5\)"):
        param.shape = (3, 5)
    param.initialize(mx.init.One())
    with pytest.raises(AssertionError):
        param.set_data(nd.ones((2, 2)))
    param.dtype = "float16"
    assert param.data().dtype == param.grad().dtype == np.float16
    assert repr(param) == "Parameter w (shape=(3, 4), dtype=float16)"
    assert gluon.Parameter("w", shape=3).shape == (3,)


def test_initialize_twice():
    param = gluon.Parameter("w", shape=(1,))
    param.initialize(mx.init.One())
    with pytest.warns(UserWarning, match="already initialized"):
        param.initialize(mx.init.Zero())
    assert param.data().asscalar() == 1
    param.initialize(mx.init.Zero(), force_reinit=True)
    assert param.data().asscalar() == 0


def test_own_initializer_wins():
    param = gluon.Parameter("anything", shape=(2,), init=mx.init.Constant(3))
    param.initialize(default_init=mx.init.One())
    assert param.data().asnumpy().tolist() == [3, 3]
    with pytest.raises(AssertionError, match="nope"):
        gluon.Parameter("w", shape=(1,), init="nope").initialize()


def test_grad_req():
    param = gluon.Parameter("w", shape=(2,))
    param.initialize()
    with pytest.raises(AssertionError, match="grad_req"):
        param.grad_req = "foo"
    param.grad_req = "null"
    with pytest.raises(RuntimeError, match="grad_req='null'"):
        param.grad()
    param.grad_req = "add"
    for _ in range(2):
        with autograd.record():
            loss = (param.data() * 3).sum()
        loss.backward()
    assert param.grad().asnumpy().tolist() == [6, 6]
    param.zero_grad()
    assert param.grad().asnumpy().tolist() == [0, 0]
    fixed = gluon.Parameter("f", shape=(1,), differentiable=False)
    fixed.grad_req = "write"
    assert fixed.grad_req == "null"


def test_switching_grad_req_of_a_compiled_block():
    dense = nn.Dense(1, use_bias=False, in_units=1)
    dense.initialize()
    dense.hybridize()
    x = nd.ones((1, 1))
    for req, expected in (("write", 1), ("add", 1), ("add", 2), ("write", 1)):
        if dense.weight.grad_req != req:
            dense.weight.grad_req = req
        with autograd.record():
            out = dense(x)
        out.backward()
        assert dense.weight.grad().asscalar() == expected


def test_devices():
    param = gluon.Parameter("w", shape=(2,))
    param.initialize(mx.init.One(), ctx=[mx.cpu(0), mx.cpu(1)])
    param.list_data()[1][:] = 3
    assert param._reduce().asnumpy().tolist() == [2, 2]
    param.reset_ctx(mx.cpu(1))
    assert param.list_ctx() == [mx.cpu(1)] and param.data().asnumpy().tolist() == [2, 2]
    with pytest.raises(RuntimeError, match=r"only initialized on \[cpu\(1\)\]"):
        param.data(mx.cpu(0))
    with pytest.raises(ValueError):
        gluon.Parameter("v", shape=(1,)).reset_ctx(mx.cpu())
    with mx.cpu(2):
        other = gluon.Parameter("w", shape=(2,))
        other.initialize()
    assert other.list_ctx() == [mx.cpu(2)]


def test_pinned_input_uses_the_cpu_copy():
    dense = nn.Dense(2, in_units=2)
    dense.initialize()
    for compiled in (False, True):
        dense.hybridize(compiled)
        assert dense(nd.ones((1, 2), ctx=mx.cpu_pinned())).shape == (1, 2)


def test_constant():
    class Net(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.table = self.params.get_constant("table", [[1, 2], [3, 4]])

        def hybrid_forward(self, F, x, table):
            return F.dot(x, table)

    net = Net()
    net.initialize()
    trainer = gluon.Trainer(net.collect_params(), "sgd")
    for compiled in (False, True):
        net.hybridize(compiled)
        with autograd.record():
            out = net(nd.ones((1, 2)))
        assert out.asnumpy().tolist() == [[4, 6]]
    trainer.step(1)
    with pytest.warns(UserWarning, match="Constant"):
        net.table.grad_req = "write"
    assert net.table.grad_req == "null"


def test_dict_get_shares_and_checks(tmp_path):
    params = gluon.ParameterDict("a_")
    weight = params.get("w", shape=(2, 0))
    assert params.get("w", shape=(0, 3)) is weight and weight.shape == (2, 3)
    with pytest.raises(AssertionError, match="desired"):
        params.get("w", shape=(3, 3))
    with pytest.raises(AssertionError, match="dtype"):
        params.get("w", dtype="int32")
    assert gluon.ParameterDict("a_", shared=params).get("w") is weight
    with pytest.raises(KeyError):
        params["zz"]
    with pytest.raises(KeyError, match="constant"):
        params.get_constant("c")
    other = gluon.ParameterDict("a_")
    other.get("w", shape=(2, 3))
    with pytest.raises(AssertionError, match="a_w"):
        params.update(other)
    assert repr(params) == "a_ (\n  Parameter a_w (shape=(2, 3), dtype=<class 'numpy.float32'>)\n)"
    assert "a_w" in params and list(params) == ["a_w"]


def test_dict_files(tmp_path):
    path = str(tmp_path / "p")
    params = gluon.ParameterDict("a_")
    params.get("w", shape=(2,))
    params.initialize(mx.init.One())
    params.save(path, strip_prefix="a_")
    assert list(nd.load(path)) == ["w"]
    params.load(path, restore_prefix="a_")
    with pytest.raises(ValueError, match="q_"):
        params.save(path, strip_prefix="q_")
    with pytest.raises(AssertionError, match="missing"):
        params.load(path)
    with pytest.raises(AssertionError, match="not present"):
        params.load(path, allow_missing=True)
    params.load(path, allow_missing=True, ignore_extra=True)


def test_dict_setattr_and_zero_grad():
    dense = nn.Dense(1, in_units=1)
    dense.initialize()
    dense.collect_params().setattr("grad_req", "null")
    assert dense.weight.grad_req == "null"
    dense.collect_params().zero_grad()


def test_var_carries_attributes():
    attrs = gluon.Parameter("w", shape=(2, 0), lr_mult=2.0, init="zeros").var().attr_dict()["w"]
    assert attrs["__shape__"] == "(2, 0)" and attrs["__lr_mult__"] == "2.0" and attrs["__init__"] == "zeros"
