# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that MXNet 1.9.1 wrote, some in the forms of older versions, predict here what they predict there."""
import pathlib
from contextlib import nullcontext

import numpy as np
import pytest

import mxnet as mx
from mxnet import gluon, nd

FOLDER = pathlib.Path(__file__).with_name("models")
MODELS = sorted(path.name.removesuffix("-expected.npz") for path in FOLDER.glob("*-expected.npz"))
PREDICTING = [name for name in MODELS if name != "trained"]


def expected(name):
    with np.load(FOLDER / f"{name}-expected.npz") as file:
        data = dict(file)
    return nd.array(data.pop("data")), data


def compare(outputs, wanted):
    assert len(outputs) == len(wanted)
    for i, out in enumerate(outputs):
        np.testing.assert_allclose(out.asnumpy(), wanted[f"output{i}"], 1e-4, 1e-4)


def test_there_are_models():
    assert len(PREDICTING) >= 15


@pytest.mark.parametrize("name", PREDICTING)
def test_module(name):
    data, wanted = expected(name)
    module = mx.mod.Module.load(str(FOLDER / name), 1, label_names=None)
    labels = [arg for arg in module.symbol.list_arguments() if arg.endswith("label")]
    module = mx.mod.Module.load(str(FOLDER / name), 1, label_names=labels)
    with pytest.warns(UserWarning) if labels else nullcontext():
        module.bind([("data", data.shape)], for_training=False)
    module.forward(mx.io.DataBatch([data]))
    compare(module.get_outputs(), wanted)




@pytest.mark.parametrize("name", [name for name in PREDICTING if name != "half"])
def test_symbol_block(name):
    data, wanted = expected(name)
    symbol = mx.sym.load(str(FOLDER / f"{name}-symbol.json"))
    inputs = ["data", *(arg for arg in symbol.list_arguments() if arg.endswith("label"))]
    block = gluon.SymbolBlock.imports(str(FOLDER / f"{name}-symbol.json"), inputs,
                                      str(FOLDER / f"{name}-0001.params"))
    label_shape = symbol.infer_shape_partial(data=data.shape)[0]
    shapes = dict(zip(symbol.list_arguments(), label_shape))
    outputs = block(data, *(nd.zeros(shapes[label]) for label in inputs[1:]))
    compare(outputs if isinstance(outputs, list) else [outputs], wanted)


@pytest.mark.parametrize("name", ["dense_800", "resnet_v1_800", "resnet_v2_1100"])
def test_feed_forward(name):
    data, wanted = expected(name)
    model = mx.model.FeedForward.load(str(FOLDER / name), 1)
    out = model.predict(mx.io.NDArrayIter(data, batch_size=data.shape[0]))
    np.testing.assert_allclose(out, wanted["output0"], 1e-4, 1e-4)


@pytest.mark.parametrize("name", PREDICTING)
def test_what_is_written_again_is_the_new_form(name, tmp_path):
    symbol, args, auxs = mx.model.load_checkpoint(str(FOLDER / name), 1)
    mx.model.save_checkpoint(str(tmp_path / "again"), 1, symbol, args, auxs)
    again, args2, auxs2 = mx.model.load_checkpoint(str(tmp_path / "again"), 1)
    assert again.tojson() == symbol.tojson() and '"mxnet_version"' in again.tojson() and '"param"' not in again.tojson()
    for left, right in ((args, args2), (auxs, auxs2)):
        assert left.keys() == right.keys()
        assert all((left[key].asnumpy() == right[key].asnumpy()).all() for key in left)


def test_attributes_of_old_files():
    for version in (800, 900, 1000):
        symbol = mx.sym.load(str(FOLDER / f"dense_{version}-symbol.json"))
        assert symbol.attr_dict()["fc1_weight"]["__lr_mult__"] == "2.0"
        assert symbol.get_internals()["fc1_output"].attr("num_hidden") == "6"


def test_optimizer_states():
    data, wanted = expected("trained")
    label = nd.array(wanted.pop("label"))
    module = mx.mod.Module.load(str(FOLDER / "trained"), 1, load_optimizer_states=True)
    module.bind([("data", data.shape)], [("softmax_label", label.shape)])
    module.init_optimizer(optimizer="sgd", optimizer_params={"learning_rate": 0.5, "momentum": 0.9})
    module.forward_backward(mx.io.DataBatch([data], [label]))
    module.update()
    for name, array in module.get_params()[0].items():
        np.testing.assert_allclose(array.asnumpy(), wanted[name], 1e-5, 1e-6)
