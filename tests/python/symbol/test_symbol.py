# SPDX-License-Identifier: Apache-2.0
"""Symbols: names, composition, attributes, inference, files."""
import copy
import pickle

import numpy as np
import pytest

import mxnet as mx


def network():
    data = mx.sym.var("data")
    net = mx.sym.Convolution(data, kernel=(3, 3), num_filter=4, name="conv")
    net = mx.sym.BatchNorm(net, name="bn", fix_gamma=False)
    net = mx.sym.Pooling(net, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool")
    return mx.sym.FullyConnected(net, num_hidden=3, name="fc")


@pytest.fixture
def fresh_names():
    with mx.name.NameManager():
        yield


@pytest.mark.parametrize("make, name", [
    (lambda x, y: x + y, "_plus0"), (lambda x, y: x + 1, "_plusscalar0"), (lambda x, y: 1 + x, "_plusscalar0"),
    (lambda x, y: x - y, "_minus0"), (lambda x, y: x - 1, "_minusscalar0"), (lambda x, y: 1 - x, "_rminusscalar0"),
    (lambda x, y: x * y, "_mul0"), (lambda x, y: x * 2, "_mulscalar0"), (lambda x, y: -x, "_mulscalar0"),
    (lambda x, y: x / y, "_div0"), (lambda x, y: x / 2, "_divscalar0"), (lambda x, y: 2 / x, "_rdivscalar0"),
    (lambda x, y: x % y, "_mod0"), (lambda x, y: x % 2, "_modscalar0"), (lambda x, y: 2 % x, "_rmodscalar0"),
    (lambda x, y: x**y, "_power0"), (lambda x, y: x**2, "_powerscalar0"), (lambda x, y: 2**x, "_rpower_scalar0"),
    (lambda x, y: x == y, "_equal0"), (lambda x, y: x == 1, "_equal_scalar0"), (lambda x, y: x != y, "_not_equal0"),
    (lambda x, y: x > y, "_greater0"), (lambda x, y: x > 1, "_greater_scalar0"),
    (lambda x, y: x < 1, "_lesser_scalar0"),
    (lambda x, y: x <= y, "_lesser_equal0"), (lambda x, y: x >= 1, "_greater_equal_scalar0"),
    (lambda x, y: mx.sym.pow(2, x), "_rpowerscalar0"), (lambda x, y: mx.sym.maximum(x, 1), "_maximumscalar0"),
    (lambda x, y: mx.sym.minimum(x, y), "_minimum0"), (lambda x, y: x.reshape((1,)), "reshape0"),
    (lambda x, y: mx.sym.FullyConnected(x, num_hidden=2), "fullyconnected0"),
    (lambda x, y: mx.sym.Concat(x, y, dim=0), "concat0"), (lambda x, y: mx.sym.flatten(x), "flatten0"),
    (lambda x, y: mx.sym.zeros((2,)), "_zeros0"), (lambda x, y: x.astype("float16"), "cast0"),
    (lambda x, y: mx.sym.random.uniform(0, 1, shape=(2,)), "_random_uniform0"),
])
def test_automatic_names(fresh_names, make, name):
    assert make(mx.sym.var("x"), mx.sym.var("y")).name == name


def test_lists():
    net = network()
    assert net.list_arguments() == ["data", "conv_weight", "conv_bias", "bn_gamma", "bn_beta", "fc_weight", "fc_bias"]
    assert net.list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]
    assert net.list_outputs() == ["fc_output"]
    assert net.get_children().list_outputs() == ["pool_output", "fc_weight", "fc_bias"]
    assert mx.sym.var("x").get_children() is None
    assert net.get_internals()["bn_output"].list_auxiliary_states() == ["bn_moving_mean", "bn_moving_var"]


def test_indexing():
    parts = mx.sym.split(mx.sym.var("x"), num_outputs=3, name="s")
    assert len(parts) == 3
    assert [part.list_outputs()[0] for part in parts] == ["s_output0", "s_output1", "s_output2"]
    assert parts["s_output1"].list_outputs() == ["s_output1"]
    assert parts[1:].list_outputs() == ["s_output1", "s_output2"]
    assert parts[-1].list_outputs() == ["s_output2"]
    with pytest.raises(IndexError):
        parts[3]
    with pytest.raises(ValueError, match="nothing"):
        parts["nothing"]
    with pytest.raises(TypeError):
        parts[1.5]


def test_composition():
    top = mx.sym.FullyConnected(mx.sym.var("d"), num_hidden=2, name="top")
    net = top(d=network(), name="both")
    assert net.name == "both"
    assert net.list_arguments()[-2:] == ["top_weight", "top_bias"]
    assert top.list_arguments() == ["d", "top_weight", "top_bias"]
    with pytest.raises(mx.MXNetError, match="zz"):
        top(zz=network())
    with pytest.raises(TypeError):
        top(network(), d=network())


def test_attributes():
    with mx.AttrScope(ctx_group="a", __mood__="good"):
        net = mx.sym.FullyConnected(mx.sym.var("x", lr_mult=2, shape=(0, 3), dtype="float16"), num_hidden=2, name="f",
                                    attr={"wd_mult": "3"})
    assert net.list_attr() == {"num_hidden": "2", "__ctx_group__": "a", "ctx_group": "a", "__wd_mult__": "3",
                               "wd_mult": "3", "__mood__": "good"}
    attrs = net.attr_dict()
    assert attrs["x"]["lr_mult"] == "2" and attrs["x"]["__dtype__"] == "2" and attrs["x"]["__shape__"] == "(0, 3)"
    assert attrs["f_weight"]["wd_mult"] == "3"
    assert net.attr("lr_mult") is None
    with pytest.raises(ValueError):
        mx.sym.var("x", nothing="1")
    with pytest.raises(TypeError):
        mx.sym.var(3)


def test_copies_and_pickles():
    net = network()
    for other in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), mx.sym.load_json(net.tojson())):
        assert other.tojson() == net.tojson()


def test_save_and_load(tmp_path):
    path = str(tmp_path / "net.json")
    network().save(path)
    assert mx.sym.load(path).tojson() == network().tojson()
    with pytest.raises(FileNotFoundError):
        mx.sym.load(str(tmp_path / "missing.json"))
    with pytest.raises(mx.MXNetError, match="JSON"):
        mx.sym.load_json("{")
    with pytest.raises(TypeError):
        mx.sym.load_json(3)


def test_infer_shape():
    net = network()
    arguments, outputs, states = net.infer_shape(data=(2, 3, 8, 8))
    assert arguments == [(2, 3, 8, 8), (4, 3, 3, 3), (4,), (4,), (4,), (3, 36), (3,)]
    assert outputs == [(2, 3)] and states == [(4,), (4,)]
    total = mx.sym.var("x") + mx.sym.var("y")
    assert total.infer_shape(x=(2, 0), y=(0, 3))[1] == [(2, 3)]
    with pytest.warns(UserWarning, match="Cannot decide shape"):
        assert net.infer_shape() == (None, None, None)
    assert net.infer_shape_partial()[1] == [()] or net.infer_shape_partial()[1] == [(0, 3)]
    with pytest.raises(mx.MXNetError, match="fc"):
        net.infer_shape(data=(2, 3, 8, 8), fc_weight=(3, 7))
    with pytest.raises(mx.MXNetError, match="nothing"):
        net.infer_shape(nothing=(2, 3))
    with pytest.raises(ValueError):
        net.infer_shape((2, 3, 8, 8), data=(2, 3, 8, 8))


def test_infer_type():
    net = mx.sym.FullyConnected(mx.sym.var("x"), num_hidden=3)
    assert net.infer_type(x="float16")[0] == [np.float16] * 3
    assert net.infer_type("float64")[1] == [np.float64]
    with pytest.warns(UserWarning, match="Cannot decide type"):
        assert net.infer_type() == (None, None, None)
    assert net.infer_type_partial()[1] == [None]


def test_symbols_are_not_arrays():
    x = mx.sym.var("x")
    for use in (lambda: bool(x), lambda: x.asnumpy(), lambda: x.wait_to_read(), lambda: x.__iadd__(1)):
        with pytest.raises(NotImplementedError):
            use()
    with pytest.raises(TypeError):
        x + "a"
    with pytest.raises(TypeError):
        mx.sym.FullyConnected(3, num_hidden=2)
    with pytest.raises(TypeError):
        mx.sym.Group([1])


def test_bad_parameters():
    x = mx.sym.var("x")
    with pytest.raises(mx.MXNetError, match="num_hidden"):
        mx.sym.FullyConnected(x)
    with pytest.raises(mx.MXNetError, match="nothing"):
        mx.sym.FullyConnected(x, num_hidden=2, nothing=1)
    with pytest.raises(AttributeError, match="no_such_operator"):
        mx.sym.no_such_operator(x)


def test_signatures_and_namespaces():
    import inspect
    assert list(inspect.signature(mx.sym.FullyConnected).parameters)[:4] == ["data", "weight", "bias", "num_hidden"]
    assert "num_hidden" in mx.sym.FullyConnected.__doc__
    assert "FullyConnected" in dir(mx.sym)
    assert mx.sym.op.FullyConnected is mx.sym.FullyConnected


def test_explicit_multipliers_override_the_scope():
    with mx.AttrScope(lr_mult="2"):
        assert mx.sym.var("x", lr_mult=1).attr("lr_mult") == "1"
        assert mx.sym.var("x").attr("__lr_mult__") == "2"
    with pytest.raises(ValueError, match="text"):
        mx.sym.var("x", attr={"a": 1})


def test_missing_and_wrong_files(tmp_path):
    for error in (OSError, mx.MXNetError):
        with pytest.raises(error):
            mx.sym.load(str(tmp_path / "none"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="bytes"):
        mx.sym.load(str(tmp_path / "bytes"))


def test_inference_that_contradicts_itself_ends():
    x = mx.sym.reshape(mx.sym.var("x", shape=(2, 4, 6)), shape=(0, -1, 3, 2**62))
    with pytest.raises(ValueError, match="too large|from the other"):
        mx.sym.transpose(x, axes=(0, 2, 1, 3)).infer_shape_partial()


def test_sizes_below_minus_one_are_unknown():
    x = mx.sym.var("x", shape=(-2147483649, 4))
    assert mx.sym.relu(x).infer_shape_partial()[1] == [(0, 4)]
