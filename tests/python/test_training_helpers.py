# SPDX-License-Identifier: Apache-2.0
"""Callbacks, checkpoints, monitor, pictures of networks, features, switches."""
import logging

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import nd
from mxnet.model import BatchEndParam


@pytest.fixture
def network():
    net = mx.sym.Convolution(mx.sym.var("data"), num_filter=4, kernel=(3, 3), name="c1")
    net = mx.sym.Activation(net, act_type="relu", name="a1")
    net = mx.sym.FullyConnected(net, num_hidden=3, name="f1")
    return mx.sym.SoftmaxOutput(mx.sym.BatchNorm(net, name="bn"), name="softmax")


def params(batch, metric):
    return BatchEndParam(epoch=1, nbatch=batch, eval_metric=metric, locals=None)


def test_batch_callbacks(caplog):
    metric = mx.metric.Loss()
    metric.update(None, nd.array([2.0]))
    callbacks = [mx.callback.Speedometer(8, 2), mx.callback.log_train_metric(2), mx.callback.ProgressBar(4, length=8)]
    with caplog.at_level(logging.INFO):
        for batch in range(3):
            for callback in callbacks:
                callback(params(batch, metric))
        mx.callback.LogValidationMetricsCallback()(params(3, metric))
    messages = [record.getMessage() for record in caplog.records]
    assert "Iter[1] Batch[0] Train-loss=2.000000" in messages
    assert "[====----] 50%\r" in messages
    assert any(m.startswith("Epoch[1] Batch [0-2]\tSpeed: ") and m.endswith("\tloss=2.000000") for m in messages)
    assert np.isnan(metric.get()[1]) and metric.get_global()[1] == 2  # the speedometer resets the local sum
    with pytest.raises(ValueError):
        mx.callback.ProgressBar(0)


def test_checkpoints(tmp_path, network):
    prefix = str(tmp_path / "net")
    save = mx.callback.do_checkpoint(prefix, period=2)
    arguments, states = {"c1_weight": nd.ones((4, 1, 3, 3))}, {"bn_moving_mean": nd.zeros((3,))}
    save(0, network, arguments, states)
    assert not (tmp_path / "net-0001.params").exists()
    save(1, network, arguments, states)
    symbol, loaded_arguments, loaded_states = mx.model.load_checkpoint(prefix, 2)
    assert symbol.list_arguments() == network.list_arguments()
    assert_allclose(loaded_arguments["c1_weight"].asnumpy(), 1)
    assert list(loaded_states) == ["bn_moving_mean"]
    with pytest.raises(mx.MXNetError):
        mx.model.load_checkpoint(prefix, 7)
    assert mx.rnn.load_checkpoint is mx.model.load_checkpoint and mx.rnn.save_checkpoint is mx.model.save_checkpoint


@pytest.mark.parametrize("arrays", [{"w": nd.ones((1,))}, [nd.ones((1,))], {"arg": nd.ones((1,))}])
def test_checkpoints_of_other_arrays(tmp_path, arrays):
    nd.save(str(tmp_path / "net-0003.params"), arrays)
    with pytest.raises(ValueError, match="net-0003.params: names must begin with arg: or aux:, got"):
        mx.model.load_params(str(tmp_path / "net"), 3)


def test_checkpoints_with_more(tmp_path):
    arrays = {name: nd.ones((1,)) for name in ("arg:w", "aux:a:b", "own:x")}
    nd.save(str(tmp_path / "net-0003.params"), arrays)
    arguments, states = mx.model.load_params(str(tmp_path / "net"), 3)
    assert list(arguments) == ["w"] and list(states) == ["a:b"]


def test_print_summary(capsys, network):
    mx.viz.print_summary(network, shape={"data": (1, 3, 8, 8)})
    lines = capsys.readouterr().out.splitlines()
    assert "c1(Convolution)                                     4x6x6                   112         data" in \
        [line.rstrip() for line in lines]
    assert "Total params: " in lines[-2]
    with pytest.raises(TypeError):
        mx.viz.print_summary(5)


def test_monitor(network):
    executor = network.simple_bind(mx.cpu(), data=(1, 3, 8, 8))
    monitor = mx.mon.Monitor(1, pattern=".*weight", sort=True)
    monitor.install(executor)
    monitor.tic()
    executor.arg_dict["f1_weight"][:] = 2
    executor.forward(is_train=True)
    found = {name: float(text) for _, name, text in monitor.toc()}
    assert_allclose(found["f1_weight"], 2, rtol=1e-5)
    assert monitor.toc() == []


def test_features():
    features = mx.runtime.Features()
    assert features is mx.runtime.Features() and not features.is_enabled("cuda")
    assert features["OPENMP"].enabled and mx.runtime.feature_list()[0].name == "CUDA"
    with pytest.raises(RuntimeError, match="FOO"):
        features.is_enabled("foo")


def test_numpy_switches():
    assert not mx.is_np_shape() and not mx.is_np_array()
    with mx.np_shape():
        assert mx.is_np_shape()
        with mx.np_shape(False):
            assert not mx.is_np_shape()
    assert not mx.is_np_shape()
    assert mx.use_np_shape(mx.is_np_shape)()
    assert mx.set_np_shape(True) is False and mx.set_np_shape(False) is True
    with pytest.raises(ValueError, match="Shape"):
        mx.util.set_np(shape=False, array=True)
    for act in (mx.util.set_np, lambda: mx.util.use_np(len), mx.util.np_array):
        with pytest.raises(mx.MXNetError, match="mx.np"):
            act()
