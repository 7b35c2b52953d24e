# SPDX-License-Identifier: Apache-2.0
"""Extensions: built here, loaded, their operators and passes used in every mode."""
import ctypes
import gc
import json
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

import mxnet as mx
from mxnet import autograd, gluon, nd

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
SOURCE = pathlib.Path(__file__).with_name("extension.cc")

pytestmark = pytest.mark.skipif(not COMPILER, reason="no C++ compiler")


def build(folder, *flags, source=SOURCE):
    target = folder / "libextension.so"
    include = mx.libinfo.find_include_path()
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", f"-I{include}", *flags, str(source), "-o", str(target)],
                   check=True, timeout=120)
    return str(target)


@pytest.fixture(scope="module", autouse=True)
def extension(tmp_path_factory):
    path = build(tmp_path_factory.mktemp("extension"))
    mx.library.load(path)
    mx.library.load(path, verbose=False)  # twice does no harm
    return path


def test_operator_on_arrays():
    rng = np.random.RandomState(0)
    left, right = nd.array(rng.randn(3, 4)), nd.array(rng.randn(4, 2))
    for array in (left, right):
        array.attach_grad()
    with autograd.record():
        out = nd.my_gemm(left, right, scale=2)
    head = nd.array(rng.randn(3, 2))
    out.backward(head)
    np.testing.assert_allclose(out.asnumpy(), 2 * left.asnumpy() @ right.asnumpy(), 1e-5)
    np.testing.assert_allclose(left.grad.asnumpy(), 2 * head.asnumpy() @ right.asnumpy().T, 1e-5)
    np.testing.assert_allclose(right.grad.asnumpy(), 2 * left.asnumpy().T @ head.asnumpy(), 1e-5)
    flags, count = nd.my_sign(nd.array([[1, -2], [-3, 4]]))
    assert flags.dtype == np.int32 and count.dtype == np.float64
    assert flags.asnumpy().tolist() == [[0, 1], [1, 0]] and count.asnumpy().tolist() == [2]


def test_operator_in_symbols_and_blocks():
    out = mx.sym.my_gemm(mx.sym.var("data"), mx.sym.var("w"), scale=3, name="product")
    assert out.list_arguments() == ["data", "w"] and out.list_outputs() == ["product_output"]
    assert mx.sym.my_gemm(name="g").list_arguments() == ["g_left", "g_right"]
    loaded = mx.sym.load_json((out * 2).tojson())
    assert loaded.infer_shape(data=(2, 3), w=(3, 5))[1] == [(2, 5)]
    executor = loaded.simple_bind(mx.cpu(), data=(2, 3), w=(3, 5))
    for array in executor.arg_arrays:
        array[:] = 1
    assert (executor.forward(is_train=True)[0].asnumpy() == 18).all()
    executor.backward(nd.ones((2, 5)))
    assert (executor.grad_dict["w"].asnumpy() == 12).all()

    class Net(gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return F.my_gemm(x, x)

    net = Net()
    x = nd.array([[1, 2], [3, 4]])
    eager = net(x).asnumpy()
    net.hybridize()
    assert (net(x).asnumpy() == eager).all() and (eager == x.asnumpy() @ x.asnumpy()).all()


def test_wrong_calls():
    for call in (lambda: nd.my_gemm(nd.ones((2, 3)), nd.ones((2, 3))), lambda: nd.my_gemm(nd.ones(3), nd.ones(3))):
        with pytest.raises(mx.MXNetError, match="my_gemm"):
            call().asnumpy()
    with pytest.raises(mx.MXNetError, match="asked to fail"):
        nd.my_sign(nd.ones(2), fail=1)[0].asnumpy()
    x = nd.ones((2,))
    x.attach_grad()
    with autograd.record():
        y = nd.my_sign(x)[1]
    with pytest.raises(mx.MXNetError, match="no gradient"):
        y.backward()
        x.grad.asnumpy()


def test_passes():
    net = mx.sym.relu(mx.sym.var("x"), name="act")
    changed = net.optimize_for("my_pass", to="tanh")
    x = nd.array([-1.0, 2.0])
    np.testing.assert_allclose(changed.eval(x=x)[0].asnumpy(), np.tanh([-1, 2]), 1e-5)
    default = net.get_backend_symbol("my_pass").eval(x=x)[0]
    np.testing.assert_allclose(default.asnumpy(), 1 / (1 + np.exp([1, -2])), 1e-5)
    assert net.eval(x=x)[0].asnumpy().tolist() == [0, 2]
    assert net.optimize_for("nobody knows it").tojson() == net.tojson()
    with pytest.raises(mx.MXNetError, match="nobody"):
        net.get_backend_symbol("nobody")
    with pytest.raises(mx.MXNetError, match="always fails"):
        net.optimize_for("failing")
    with pytest.raises(mx.MXNetError, match="nodes"):
        net.optimize_for("broken")


def ops_of(symbol):
    return sorted(node["op"] for node in json.loads(symbol.tojson())["nodes"] if node["op"] != "null")


def test_partitioner(extension):
    x, y = mx.sym.var("x"), mx.sym.var("y")
    inner = mx.sym.exp(x) * y
    net = mx.sym.Group([mx.sym.log(mx.sym.sin(inner) * inner, name="end"), inner])
    cut = net.optimize_for("my_backend")
    # sin lies between: what comes before and after it cannot be one.
    assert ops_of(cut) == ["Custom", "Custom", "sin"] and cut.list_arguments() == ["x", "y"]
    again = mx.sym.load_json(cut.tojson())
    assert again.infer_shape(x=(2, 3), y=(2, 3))[1] == [(2, 3), (2, 3)]
    rng = np.random.RandomState(0)
    feed = {name: nd.array(rng.uniform(0.2, 0.5, (2, 3))) for name in "xy"}
    results = []
    for symbol in (net, cut, again, net.get_backend_symbol("my_backend")):
        executor = symbol.bind(mx.cpu(), dict(feed), {name: nd.zeros((2, 3)) for name in feed})
        outputs = executor.forward(is_train=True)
        executor.backward([nd.ones((2, 3)), nd.full((2, 3), 2)])
        results.append([array.asnumpy() for array in [*outputs, *executor.grad_arrays]])
    for result in results[1:]:
        for ours, expected in zip(result, results[0]):
            np.testing.assert_allclose(ours, expected, 1e-4, 1e-5)
    del executor, outputs
    gc.collect()
    nd.waitall()
    assert ctypes.CDLL(extension).live_programs() == 0


def test_partitioner_options_and_refusals():
    x = mx.sym.var("x")
    net = mx.sym.log(mx.sym.tanh(mx.sym.exp(mx.sym.exp(x))))
    assert ops_of(net.optimize_for("my_backend")) == ["Custom", "Custom", "tanh"]
    assert ops_of(net.optimize_for("my_backend", least=2)) == ["Custom", "log", "tanh"]
    assert ops_of(net.optimize_for("my_backend", without="exp")) == ["Custom", "exp", "exp", "tanh"]
    assert net.optimize_for("my_backend", least=9).tojson() == net.tojson()
    with pytest.raises(mx.MXNetError, match="asked to fail"):
        net.optimize_for("my_backend", fail=1)
    # A diamond whose one side is not supported.
    both = mx.sym.exp(x)
    diamond = mx.sym.elemwise_mul(mx.sym.cos(both), mx.sym.log(both))
    value = nd.array([0.3, 0.7])
    np.testing.assert_allclose(diamond.optimize_for("my_backend").eval(x=value)[0].asnumpy(),
                               diamond.eval(x=value)[0].asnumpy(), 1e-5)


def test_partition_of_random_graphs():
    rng = np.random.RandomState(3)
    for _ in range(8):
        pool = [mx.sym.var(name) for name in "abc"]
        for _ in range(rng.randint(3, 25)):
            left, right = (pool[rng.randint(max(0, len(pool) - 6), len(pool))] for _ in range(2))
            made = [mx.sym.elemwise_mul(left, right), mx.sym.sin(left), mx.sym.log(mx.sym.exp(left))]
            pool.append(made[rng.randint(3)])
        net = mx.sym.Group([pool[-1], pool[rng.randint(3, len(pool))]])
        feed = {name: nd.array(rng.uniform(-1, 1, 4)) for name in net.list_arguments()}
        cut = net.optimize_for("my_backend")
        for ours, expected in zip(cut.eval(**feed), net.eval(**feed)):
            np.testing.assert_allclose(ours.asnumpy(), expected.asnumpy(), 1e-4, 1e-5)


WRONG = """
#include <mxnet/extension.h>
namespace {
int shape(const MXExtAttrs*, MXExtShape* in, MXExtShape* out) { return *out = *in, 0; }
int forward(const MXExtAttrs*, int, const MXExtArray*, const MXExtArray*) { return 0; }
const MXExtOp ops[] = {{"half_good", nullptr, 1, 1, shape, nullptr, forward, nullptr},
                       {NAME, nullptr, 1, 1, shape, nullptr, FORWARD, nullptr}};
const MXExtPass passes[] = {{"half_pass", RUN, nullptr}};
const MXExtTable table = {2, 2, ops, PASSES, passes, nullptr, 0, nullptr};
}  // namespace
const MXExtTable* mxnet_extension() { return &table; }
"""


@pytest.mark.parametrize("flags, match", [
    (('-DNAME="no name"', "-DFORWARD=forward", "-DPASSES=0"), "operator 'no name' of .* needs an identifier"),
    (('-DNAME="half"', "-DFORWARD=nullptr", "-DPASSES=0"), "operator 'half' of .* forward"),
    (("-DNAME=nullptr", "-DFORWARD=forward", "-DPASSES=0"), "operator '' of"),
    (('-DNAME="half"', "-DFORWARD=forward", "-DPASSES=1"), "pass b'half_pass' of .* needs a name, run and release")])
def test_nothing_stays_of_wrong_extensions(tmp_path, flags, match):
    source = tmp_path / "wrong.cc"
    source.write_text(WRONG)
    path = build(tmp_path, "-DRUN=nullptr", *flags, source=source)
    with pytest.raises(mx.MXNetError, match=match):
        mx.library.load(path)
    assert not hasattr(nd, "half_good")


def test_dtypes_that_extensions_do_not_know():
    with pytest.raises(mx.MXNetError, match="do not know the dtype bfloat16"):
        nd.my_sign(nd.ones((2,), dtype="bfloat16"))[0].asnumpy()


def test_what_is_no_extension(tmp_path):
    text = tmp_path / "text.so"
    text.write_text("no library")
    for path, match in ((str(text), "no extension"), (str(tmp_path / "none.so"), "does NOT exist"), (3, "NOT exist"),
                        (mx.libinfo.find_lib_path()[0], "no extension")):
        with pytest.raises(mx.MXNetError, match=match):
            mx.library.load(path)
    (tmp_path / "old").mkdir()
    with pytest.raises(mx.MXNetError, match="version 99"):
        mx.library.load(build(tmp_path / "old", "-DMX_EXTENSION_VERSION=99", "-include", "mxnet/extension.h", "-w"))
