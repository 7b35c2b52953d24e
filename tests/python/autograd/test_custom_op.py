# SPDX-License-Identifier: Apache-2.0
"""Operators written in Python: eager, hybridized and bound; requests, states, errors, waiting inside."""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd

calls = []


class Affine(mx.operator.CustomOp):
    """x = 2a + b, y = a - 1; counts its calls in a state."""

    def forward(self, is_train, req, in_data, out_data, aux):
        calls.append(("forward", bool(is_train), autograd.is_recording(), list(req)))
        self.assign(out_data[0], req[0], in_data[0] * 2 + in_data[1])
        self.assign(out_data[1], req[1], in_data[0] - 1)
        aux[0][:] += 1

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        calls.append(("backward", list(req)))
        self.assign(in_grad[0], req[0], out_grad[0] * 2 + out_grad[1])
        self.assign(in_grad[1], req[1], out_grad[0])
        aux[0][:] += 10


@mx.operator.register("test_affine")
class AffineProp(mx.operator.CustomOpProp):
    def __init__(self, k="1"):
        super().__init__(need_top_grad=True)
        self.k = k

    def list_arguments(self):
        return ["a", "b"]

    def list_outputs(self):
        return ["x", "y"]

    def list_auxiliary_states(self):
        return ["count"]

    def infer_shape(self, in_shape):
        return [in_shape[0], in_shape[0]], [in_shape[0], in_shape[0]], [(1,)]

    def create_operator(self, ctx, in_shapes, in_dtypes):
        calls.append(("create", ctx, in_shapes, in_dtypes, self.k))
        return Affine()


class Square(mx.operator.CustomOp):
    """Reads values while it runs, and keeps one for its backward."""

    def forward(self, is_train, req, in_data, out_data, aux):
        self.kept = in_data[0].asnumpy()
        out_data[0][:] = nd.array(self.kept**2, dtype=in_data[0].dtype)

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        np.testing.assert_array_equal(self.kept, in_data[0].asnumpy())
        self.assign(in_grad[0], req[0], 2 * nd.array(self.kept, dtype=in_grad[0].dtype) * out_grad[0])


@mx.operator.register("test_square")
class SquareProp(mx.operator.CustomOpProp):
    def create_operator(self, ctx, in_shapes, in_dtypes):
        return Square()


@pytest.fixture(autouse=True)
def forget_calls():
    calls.clear()


def affine_inputs():
    a, b, count = nd.array([1.0, 2, 3]), nd.array([4.0, 5, 6]), nd.zeros((1,))
    a.attach_grad()
    b.attach_grad()
    return a, b, count


def test_eager():
    a, b, count = affine_inputs()
    with autograd.record():
        x, y = nd.Custom(a, b, count, op_type="test_affine", k=3)
        loss = (x * y).sum()
    loss.backward()
    np.testing.assert_array_equal(x.asnumpy(), [6, 9, 12])
    np.testing.assert_array_equal(y.asnumpy(), [0, 1, 2])
    np.testing.assert_array_equal(a.grad.asnumpy(), [6, 11, 16])
    np.testing.assert_array_equal(b.grad.asnumpy(), [0, 1, 2])
    assert count.asscalar() == 11
    assert calls == [("create", mx.cpu(), [[3], [3], [1]], [0, 0, 0], "3"),
                     ("forward", True, False, ["write", "write"]), ("backward", ["write", "write"])]


def test_inputs_by_name_and_out():
    a, b, count = affine_inputs()
    x, y = nd.zeros((3,)), nd.zeros((3,))
    result = nd.Custom(a, count=count, b=b, op_type="test_affine", out=[x, y])
    assert result[0] is x and result[1] is y
    np.testing.assert_array_equal(x.asnumpy(), [6, 9, 12])
    with pytest.raises(TypeError, match="no further input named z"):
        nd.Custom(a, b, z=count, op_type="test_affine")
    with pytest.raises(mx.MXNetError, match="expected 3 inputs, got 1"):
        nd.Custom(a, op_type="test_affine")


@pytest.mark.parametrize("grad_req", ["write", "add"])
def test_requests(grad_req):
    a, b, count = affine_inputs()
    a.attach_grad(grad_req)
    b.attach_grad("null")
    for _ in range(2):
        with autograd.record():
            x, y = nd.Custom(a, b, count, op_type="test_affine")
        autograd.backward([x, y], [nd.ones((3,)), nd.ones((3,))])
    np.testing.assert_array_equal(a.grad.asnumpy(), [3.0 * (2 if grad_req == "add" else 1)] * 3)


def test_one_array_as_two_inputs():
    a, _, count = affine_inputs()
    with autograd.record():
        x, y = nd.Custom(a, a, count, op_type="test_affine")
    autograd.backward([x, y])
    np.testing.assert_array_equal(a.grad.asnumpy(), [4, 4, 4])


def test_an_output_without_gradient_and_retain_graph():
    a, b, count = affine_inputs()
    with autograd.record():
        x, _ = nd.Custom(a * 1, b, count, op_type="test_affine")
    x.backward(retain_graph=True)
    x.backward()
    np.testing.assert_array_equal(a.grad.asnumpy(), [2, 2, 2])
    np.testing.assert_array_equal(b.grad.asnumpy(), [1, 1, 1])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_dtypes(dtype):
    x = nd.array([1, 2, 3], dtype=dtype)
    assert nd.Custom(x, op_type="test_square").dtype == x.dtype
    np.testing.assert_array_equal(nd.Custom(x, op_type="test_square").asnumpy(), [1, 4, 9])


def test_empty():
    assert nd.Custom(nd.array([]), op_type="test_square").shape == (0,)


def test_channels_last_and_views():
    data = nd.random.normal(shape=(2, 3, 8, 8))
    y = nd.Convolution(data, nd.random.normal(shape=(4, 3, 3, 3)), kernel=(3, 3), num_filter=4, no_bias=True)
    np.testing.assert_allclose(nd.Custom(y, op_type="test_square").asnumpy(), y.asnumpy() ** 2, rtol=1e-6)
    np.testing.assert_allclose(nd.Custom(data[1], op_type="test_square").asnumpy(), data.asnumpy()[1] ** 2, rtol=1e-6)


def test_symbol():
    s = mx.sym.Custom(mx.sym.var("a"), op_type="test_affine", name="cu", k=2.5)
    assert s.list_arguments() == ["a", "cu_b"]
    assert s.list_auxiliary_states() == ["cu_count"]
    assert s.list_outputs() == ["cu_x", "cu_y"]
    assert s.infer_shape(a=(2, 3)) == ([(2, 3)] * 2, [(2, 3)] * 2, [(1,)])
    again = mx.sym.load_json(s.tojson())
    assert again.tojson() == s.tojson()
    assert again.attr_dict()["cu"] == {"k": "2.5", "op_type": "test_affine"}
    ex = again.simple_bind(mx.cpu(), a=(3,), grad_req="add")
    for _ in range(2):
        ex.forward(is_train=True, a=nd.array([1, 2, 3]), cu_b=nd.array([4, 5, 6]))
        ex.backward([nd.ones((3,)), nd.ones((3,))])
    np.testing.assert_array_equal(ex.outputs[0].asnumpy(), [6, 9, 12])
    np.testing.assert_array_equal(ex.grad_dict["a"].asnumpy(), [6, 6, 6])
    np.testing.assert_array_equal(ex.grad_dict["cu_b"].asnumpy(), [2, 2, 2])
    assert ex.aux_dict["cu_count"].asscalar() == 22
    creations = [call for call in calls if call[0] == "create"]
    assert len(creations) == 1 and creations[0][4] == "2.5"  # one instance serves the executor


def test_a_loss_needs_no_head_gradient():
    class Loss(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            self.assign(out_data[0], req[0], nd.softmax(in_data[0]))

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            self.assign(in_grad[0], req[0], out_data[0] - nd.one_hot(in_data[1], 3))
            self.assign(in_grad[1], req[1], 0)

    @mx.operator.register("test_loss")
    class LossProp(mx.operator.CustomOpProp):
        def __init__(self):
            super().__init__(need_top_grad=False)

        def list_arguments(self):
            return ["data", "label"]

        def infer_shape(self, in_shape):
            return [in_shape[0], [in_shape[0][0]]], [in_shape[0]], []

        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Loss()

    fc = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=3, name="fc")
    out = mx.sym.Custom(fc, name="softmax", op_type="test_loss")
    assert out.list_arguments() == ["data", "fc_weight", "fc_bias", "softmax_label"]
    ex = out.simple_bind(mx.cpu(), data=(4, 2))
    assert ex.arg_dict["softmax_label"].shape == (4,)
    rng = np.random.default_rng(0)
    for name in ("data", "fc_weight"):
        ex.arg_dict[name][:] = rng.standard_normal(ex.arg_dict[name].shape)
    ex.forward(is_train=True)
    ex.backward()
    ref = mx.sym.SoftmaxOutput(fc, name="softmax").bind(mx.cpu(), ex.arg_dict, args_grad={
        name: nd.zeros(array.shape) for name, array in ex.arg_dict.items()})
    ref.forward(is_train=True)
    ref.backward()
    for name in ("fc_weight", "fc_bias", "data"):
        np.testing.assert_allclose(ex.grad_dict[name].asnumpy(), ref.grad_dict[name].asnumpy(), rtol=1e-4, atol=1e-6)


class Net(gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.fc = gluon.nn.Dense(4, in_units=3)

    def hybrid_forward(self, F, x):
        return F.Custom(F.Custom(self.fc(x), op_type="test_square") + 1, op_type="test_square").sum()


def test_hybridized():
    net = Net()
    net.initialize(mx.init.Normal(1.0))
    x = nd.random.normal(shape=(5, 3))
    results = []
    for hybridize in (False, True):
        if hybridize:
            net.hybridize()
        with autograd.record():
            y = net(x) + net(2 * x)  # two calls before the backward: each has its own CustomOp
        y.backward()
        results.append((y.asscalar(), net.fc.weight.grad().asnumpy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)


@pytest.mark.parametrize("inside", ["call", "ndarray"])
def test_errors_reach_the_waiter(inside):
    class Bad(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            if inside == "call":
                raise ValueError("boom in forward")
            out_data[0][:] = nd.random.normal(0, -1, shape=(3,))  # fails when it runs

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            raise ZeroDivisionError("boom in backward")

    class Prop(mx.operator.CustomOpProp):
        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Bad()

    mx.operator.register("test_bad")(Prop)
    x = nd.ones((3,))
    y = nd.Custom(x, op_type="test_bad")
    text = "boom in forward" if inside == "call" else "."
    with pytest.raises(mx.MXNetError, match=f"(?s)Custom.test_bad.*{text}"):
        (y + 1).asnumpy()
    np.testing.assert_array_equal((x + 1).asnumpy(), [2, 2, 2])
    nd.waitall()


def test_errors_in_backward_and_traceback():
    class Bad(Square):
        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            raise ZeroDivisionError("boom in backward")

    class Prop(mx.operator.CustomOpProp):
        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Bad()

    mx.operator.register("test_bad2")(Prop)
    x = nd.ones((3,))
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, op_type="test_bad2")
    y.backward()
    with pytest.raises(mx.MXNetError, match="(?s)Traceback.*test_custom_op.py.*boom in backward"):
        x.grad.asnumpy()
    x.grad[:] = 1
    assert x.grad.sum().asscalar() == 3


def test_bad_props():
    with pytest.raises(mx.MXNetError, match="no custom operator 'nowhere'"):
        nd.Custom(nd.ones((1,)), op_type="nowhere")
    with pytest.raises(TypeError, match="unexpected keyword argument 'zz'"):
        nd.Custom(nd.ones((1,)), op_type="test_square", zz=1)
    with pytest.raises(TypeError, match="op_type"):
        nd.Custom(nd.ones((1,)))
    with pytest.raises(TypeError, match="subclass of CustomOpProp"):
        mx.operator.register("x")(int)

    class Prop(mx.operator.CustomOpProp):
        def infer_shape(self, in_shape):
            return in_shape, [], []

    mx.operator.register("test_badprop")(Prop)
    with pytest.raises(ValueError, match="must return 1 outputs, got 0"):
        nd.Custom(nd.ones((1,)), op_type="test_badprop")


def test_recording_inside():
    class Inner(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            x = in_data[0].copy()
            x.attach_grad()
            with autograd.record():
                y = x**3
            y.backward()
            self.assign(out_data[0], req[0], x.grad)

    class Prop(mx.operator.CustomOpProp):
        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Inner()

    mx.operator.register("test_inner")(Prop)
    np.testing.assert_array_equal(nd.Custom(nd.array([1, 2]), op_type="test_inner").asnumpy(), [3, 12])


def test_many_operators_inside_and_nesting():
    class Deep(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            x = in_data[0]
            for _ in range(600):  # more than may be queued ahead
                x = x + 1
            self.assign(out_data[0], req[0], nd.Custom(x, op_type="test_square"))

    class Prop(mx.operator.CustomOpProp):
        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Deep()

    mx.operator.register("test_deep")(Prop)
    out = [nd.Custom(nd.zeros((200, 200)), op_type="test_deep") for _ in range(4)]
    assert all(o[0, 0].asscalar() == 360000 for o in out)


def test_threads():
    def work(seed, results):
        x = nd.full((20,), seed)
        for _ in range(12):
            x = nd.Custom(x, op_type="test_square").sqrt()
        results[seed] = x.asnumpy()

    results = {}
    threads = [threading.Thread(target=work, args=(seed, results)) for seed in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(1, 7):
        np.testing.assert_allclose(results[seed], seed, rtol=1e-4)


def test_second_order_is_refused():
    x = nd.array([1.0, 2])
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, op_type="test_square")
        grad = autograd.grad(y, x, create_graph=True)[0]
    np.testing.assert_array_equal(grad.asnumpy(), [2, 4])
    with autograd.record():
        y = nd.Custom(x * x, op_type="test_square")
        grad = autograd.grad(y, x, create_graph=True)[0]
    with pytest.raises(mx.MXNetError, match="cannot be differentiated again"):
        grad.backward()


def test_dependency():
    class Prop(SquareProp):
        def declare_backward_dependency(self, out_grad, in_data, out_data):
            return [out_grad[0]]

    class Twice(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            self.assign(out_data[0], req[0], in_data[0] * 2)

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            assert in_data[0].shape == (2,) and out_data[0].asnumpy().sum() == 0
            self.assign(in_grad[0], req[0], out_grad[0] * 2)

    Prop.create_operator = lambda self, ctx, shapes, dtypes: Twice()
    mx.operator.register("test_dependency")(Prop)
    x = nd.array([1.0, 2])
    x.attach_grad()
    with autograd.record():
        y = nd.Custom(x, op_type="test_dependency")
    y.backward()
    np.testing.assert_array_equal(x.grad.asnumpy(), [2, 2])


def test_sparse_inputs():
    dense = np.zeros((4, 2), "float32")
    dense[1] = 3
    x = nd.array(dense).tostype("row_sparse")
    with pytest.raises(ValueError, match="infer_storage_type"):
        nd.Custom(x, op_type="test_square")

    class Copy(mx.operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            assert in_data[0].stype == "row_sparse" and out_data[0].stype == "row_sparse"
            out_data[0][:] = nd.sparse.square(in_data[0])

    class Prop(mx.operator.CustomOpProp):
        def infer_storage_type(self, in_stype):
            return in_stype, ["row_sparse"], []

        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Copy()

    mx.operator.register("test_sparse")(Prop)
    y = nd.Custom(x, op_type="test_sparse")
    assert y.stype == "row_sparse"
    np.testing.assert_array_equal(y.indices.asnumpy(), [1])
    np.testing.assert_array_equal(y.asnumpy(), dense**2)


def test_nothing_is_kept():
    operators = []

    class Prop(SquareProp):
        def create_operator(self, ctx, in_shapes, in_dtypes):
            made = Square()
            operators.append(weakref.ref(made))
            return made

    mx.operator.register("test_kept")(Prop)
    x = nd.ones((3,))
    x.attach_grad()
    for _ in range(5):
        with autograd.record():
            y = nd.Custom(x, op_type="test_kept")
        y.backward()
    nd.waitall()
    del y
    deadline = time.monotonic() + 10
    while any(made() is not None for made in operators) and time.monotonic() < deadline:
        nd.waitall()  # an entry into the core, which releases what its threads left
        gc.collect()
    assert all(made() is None for made in operators)


@pytest.mark.parametrize("base", [mx.operator.NumpyOp, mx.operator.NDArrayOp])
def test_old_interface(base):
    class Softmax(base):
        def __init__(self):
            super().__init__(need_top_grad=False)

        def list_arguments(self):
            return ["data", "label"]

        def infer_shape(self, in_shape):
            return [in_shape[0], (in_shape[0][0],)], [in_shape[0]]

        def forward(self, in_data, out_data):
            numpy = base is mx.operator.NumpyOp
            x = in_data[0] if numpy else in_data[0].asnumpy()
            e = np.exp(x - x.max(axis=1, keepdims=True))
            out_data[0][:] = e / e.sum(axis=1, keepdims=True)

        def backward(self, out_grad, in_data, out_data, in_grad):
            numpy = base is mx.operator.NumpyOp
            label = (in_data[1] if numpy else in_data[1].asnumpy()).astype(int)
            grad = np.array(out_data[0] if numpy else out_data[0].asnumpy())
            grad[np.arange(len(label)), label] -= 1
            in_grad[0][:] = grad

    with pytest.warns(DeprecationWarning):
        op = Softmax()
    s = op(data=mx.sym.var("data"), name="softmax")
    assert s.list_arguments() == ["data", "softmax_label"]
    ex = s.simple_bind(mx.cpu(), data=(2, 3))
    ex.forward(is_train=True, data=nd.array([[1, 2, 3], [3, 2, 1]]), softmax_label=nd.array([0, 1]))
    ex.backward()
    np.testing.assert_allclose(ex.outputs[0].asnumpy().sum(axis=1), [1, 1], rtol=1e-6)
    grad = ex.outputs[0].asnumpy()
    grad[[0, 1], [0, 1]] -= 1
    np.testing.assert_allclose(ex.grad_dict["data"].asnumpy(), grad, rtol=1e-6)


def test_names_of_operators():
    assert "Convolution" in mx.operator.get_all_registered_operators()
    arguments = mx.operator.get_operator_arguments("Activation")
    assert arguments.narg == 2 and arguments.names == ["data", "act_type"]


PROGRAM = """
import mxnet as mx
class Op(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        out_data[0][:] = in_data[0].asnumpy() + 1
@mx.operator.register("p")
class Prop(mx.operator.CustomOpProp):
    def create_operator(self, ctx, shapes, dtypes):
        return Op()
s = mx.sym.Custom(mx.sym.var("a"), op_type="p")
ex = s.simple_bind(mx.cpu(), a=(2,))
ex.forward()
x = mx.nd.ones((2,))
for _ in range(20):
    x = mx.nd.Custom(x, op_type="p")
"""


@pytest.mark.parametrize("engine", ["ThreadedEngine", "NaiveEngine"])
def test_exit_with_work_and_symbols(engine):
    """The interpreter may end while such operators are queued and symbols of them are alive."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "MXNET_ENGINE_TYPE": engine})
    assert done.returncode == 0 and done.stderr == ""


class Mixed(gluon.HybridBlock):
    """Layers before, between and behind what no plan can hold."""

    def __init__(self, cuts=True):
        super().__init__()
        self.cuts = cuts
        with self.name_scope():
            self.body = gluon.nn.HybridSequential()
            self.body.add(gluon.nn.Conv2D(4, 3, padding=1), gluon.nn.BatchNorm(), gluon.nn.Activation("relu"))
            self.tail = gluon.nn.HybridSequential()
            self.tail.add(gluon.nn.Dense(6, activation="tanh"), gluon.nn.Dropout(0.0), gluon.nn.Dense(2))

    def hybrid_forward(self, F, x):
        y = self.body(x)
        side = F.sum(y * 0.5, axis=1)
        square = F.Custom(y, op_type="test_square") if self.cuts else F.square(y)
        z = self.tail(square + y * 0.1)
        out = F.Custom(z, op_type="test_square") if self.cuts else F.square(z)
        return out + F.mean(side), side, z


@pytest.mark.parametrize("forms", [("eager", "hybrid"), ("plain", "hybrid")])
def test_segments_between_cuts(forms):
    """The same numbers, gradients and statistics, whatever is compiled."""
    results = []
    x = nd.array(np.random.default_rng(0).standard_normal((3, 2, 6, 6)))
    for form in forms:
        mx.random.seed(2)
        net = Mixed(cuts=form != "plain")
        net.initialize(mx.init.Normal(0.3))
        if form != "eager":
            net.hybridize()
        x.attach_grad()
        for _ in range(2):
            with autograd.record():
                out, side, z = net(x)
                loss = (out * 2).sum() + (side**2).mean() + z.sum()
            loss.backward()
        params = net.collect_params()
        results.append([out.asnumpy(), side.asnumpy(), x.grad.asnumpy(), net(x)[0].asnumpy()] +
                       [p.grad().asnumpy() if p.grad_req != "null" else p.data().asnumpy() for p in params.values()])
    assert len(results[0]) == len(results[1])
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5)


def test_segments_around_unknown_extents():
    data, mask, w = mx.sym.var("data"), mx.sym.var("mask"), mx.sym.var("w")
    rows = mx.sym.contrib.boolean_mask(mx.sym.exp(mx.sym.broadcast_mul(data, w) * 2), mask)
    out = mx.sym.sum(mx.sym.sqrt(rows) * rows, axis=1)
    values = np.random.default_rng(0).uniform(0.1, 1, (4, 3)).astype("float32")
    args = {"data": nd.array(values), "mask": nd.array([1, 0, 1, 0]), "w": nd.full((1, 3), 0.5)}
    grads = {"data": nd.zeros((4, 3)), "w": nd.zeros((1, 3))}
    ex = out.bind(mx.cpu(), args, args_grad=grads)
    result = ex.forward(is_train=True)[0]
    np.testing.assert_allclose(result.asnumpy(), np.exp(1.5 * values[[0, 2]]).sum(axis=1), rtol=1e-5)
    ex.backward([nd.ones((2,))])
    wanted = 1.5 * np.exp(1.5 * values) * np.array([1, 0, 1, 0])[:, None]
    np.testing.assert_allclose(grads["data"].asnumpy(), wanted, rtol=1e-5)
    np.testing.assert_allclose(grads["w"].asnumpy()[0], (wanted * values * 2).sum(axis=0), rtol=1e-5)
