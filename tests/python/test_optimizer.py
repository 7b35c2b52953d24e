# SPDX-License-Identifier: Apache-2.0
"""Optimizers: updates, rates, states. Expected numbers are those of MXNet 1.9.1."""
import base64
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import nd


@pytest.mark.parametrize("name, kwargs, expected", [
    ("sgd", {}, [0.9819999933242798, -1.940000057220459, 0.3799999952316284]),
    ("sgd", {"momentum": 0.9, "wd": 0.1, "clip_gradient": 0.5},
     [0.9717811942100525, -1.9607635736465454, 0.469171404838562]),
    ("adam", {"wd": 0.1}, [0.9970494508743286, -1.9970587491989136, 0.4970741868019104]),
    ("nag", {"momentum": 0.9}, [0.9563230276107788, -1.85440993309021, 0.20882004499435425]),
    ("nag", {}, [0.9819999933242798, -1.940000057220459, 0.3799999952316284]),
    ("ccsgd", {}, [0.9819999933242798, -1.940000057220459, 0.3799999952316284]),
    ("test", {}, [2.799999952316284, -8.0, 12.5]),
])
def test_three_updates(name, kwargs, expected):
    optimizer = mx.optimizer.create(name, **kwargs)
    weight = nd.array([1.0, -2.0, 0.5])
    state = optimizer.create_state(0, weight)
    for i in range(3):
        optimizer.update(0, weight, nd.array([0.3, -1.0, 2.0]) * (i + 1), state)
    assert_allclose(weight.asnumpy(), expected, rtol=2e-6)
    assert optimizer.num_update == (0 if name == "test" else 3)


@pytest.mark.parametrize("name, kwargs, expected", [
    ("adagrad", {}, [0.973038, -1.973038, 0.473038]),
    ("adagrad", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5}, [0.97007, -1.969087, 0.475684]),
    ("adagrad", {"learning_rate": 0.05, "wd": 0.2}, [0.836931, -1.80723, 0.351781]),
    ("rmsprop", {}, [0.99139, -1.99139, 0.49139]),
    ("rmsprop", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5}, [0.991652, -1.992413, 0.492623]),
    ("rmsprop", {"centered": True, "wd": 0.05, "clip_weights": 0.9}, [0.885487, -0.885462, 0.482049]),
    ("adadelta", {}, [0.961841, -1.961826, 0.461825]),
    ("adadelta", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5}, [0.694061, -1.426609, 0.33673]),
    ("adadelta", {"learning_rate": 0.05, "wd": 0.2}, [0.479993, -0.991981, 0.22398]),
    ("adamax", {}, [0.995094, -1.995094, 0.495094]),
    ("adamax", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5}, [0.994862, -1.994193, 0.494]),
    ("adamax", {"learning_rate": 0.05, "wd": 0.2}, [0.87121, -1.873439, 0.376748]),
    ("nadam", {}, [0.997019, -1.997019, 0.497019]),
    ("nadam", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5}, [0.997104, -1.997358, 0.497428]),
    ("nadam", {"learning_rate": 0.05, "wd": 0.2}, [0.855479, -1.85378, 0.351362]),
    ("ftrl", {}, [0.12861, -0.824428, 0.122509]),
    ("ftrl", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5}, [0.06458, -0.551918, 0.10549]),
    ("ftrl", {"learning_rate": 0.05, "wd": 0.2}, [0.178225, -0.907526, 0.227033]),
    ("signum", {}, [0.97, -1.97, 0.47]),
    ("signum", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5}, [0.97, -1.97, 0.47]),
    ("signum", {"momentum": 0.0, "wd": 0.1}, [0.967033, -1.964036, 0.468532]),
    ("signum", {"wd_lh": 0.1}, [0.967033, -1.964036, 0.468532]),
    ("ftml", {}, [0.975012, -1.975012, 0.475012]),
    ("ftml", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5}, [0.975808, -1.978035, 0.478648]),
    ("ftml", {"learning_rate": 0.05, "wd": 0.2}, [0.879228, -1.877695, 0.375453]),
])
def test_adaptive_optimizers(name, kwargs, expected):
    optimizer = mx.optimizer.create(name, **kwargs)
    weight = nd.array([1.0, -2.0, 0.5])
    state = optimizer.create_state(0, weight)
    for i in range(3):
        optimizer.update(0, weight, nd.array([0.3, -1.0, 2.0]) * (i + 1), state)
    assert_allclose(weight.asnumpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, kwargs", [
    ("sgd", {}), ("sgd", {"momentum": 0.9}), ("sgd", {"momentum": 0.9, "wd": 0.1, "clip_gradient": 0.4}),
    ("adam", {}), ("adam", {"wd": 0.1, "clip_gradient": 0.4, "rescale_grad": 0.5})])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_many_weights_at_once(name, kwargs, dtype):
    rng = np.random.RandomState(0)
    weights = [nd.array(rng.rand(*shape)).astype(dtype) for shape in ((3,), (2, 2), (5, 1))]
    grads = [nd.array(rng.rand(*w.shape)).astype(dtype) for w in weights]
    results = []
    for size in (0, 2, 64):
        optimizer = mx.optimizer.create(name, learning_rate=0.1, multi_precision=True, **kwargs)
        assert optimizer.aggregate_num > 1
        optimizer.aggregate_num = size
        optimizer.set_lr_mult({1: 0.5})
        updater = mx.optimizer.get_updater(optimizer)
        arrays = [w.copy() for w in weights]
        for _ in range(3):
            updater([0, 1, 2], grads, arrays)
        states = [a for state in updater.states.values() for a in _flat(state)]
        results.append([array.astype("float32").asnumpy() for array in arrays + states])
    for one_by_one, pairs, together in zip(*results):
        assert_allclose(pairs, one_by_one, rtol=1e-6)
        assert_allclose(together, one_by_one, rtol=1e-6)


def _flat(state):
    if state is None:
        return []
    return [state] if isinstance(state, nd.NDArray) else [a for part in state for a in _flat(part)]


def test_aggregation_size(monkeypatch):
    class Own(mx.optimizer.Adam):
        def update(self, index, weight, grad, state):
            weight[:] = index

    assert Own().aggregate_num == 0
    updater = mx.optimizer.get_updater(Own())
    weights = [nd.zeros((2,)), nd.zeros((3,))]
    updater([5, 7], weights, weights)
    assert [w.asnumpy()[0] for w in weights] == [5, 7]
    monkeypatch.setenv("MXNET_OPTIMIZER_AGGREGATION_SIZE", "7")
    assert mx.optimizer.SGD().aggregate_num == mx.optimizer.Adam().aggregate_num == 7


def test_multi_precision():
    optimizer = mx.optimizer.SGD(learning_rate=0.1, momentum=0.9, multi_precision=True)
    weight = nd.ones((2,), dtype="float16")
    momentum, master = state = optimizer.create_state_multi_precision(0, weight)
    assert momentum.dtype == master.dtype == np.float32
    optimizer.update_multi_precision(0, weight, nd.ones((2,), dtype="float16"), state)
    assert_allclose(master.asnumpy(), 0.9, rtol=1e-6)
    assert weight.dtype == np.float16
    adam = mx.optimizer.Adam(multi_precision=True)
    master, (mean, _) = state = adam.create_state_multi_precision(0, weight)
    adam.update_multi_precision(0, weight, nd.ones((2,), dtype="float16"), state)
    assert_allclose(mean.asnumpy(), 0.1, rtol=1e-4)
    with pytest.warns(UserWarning, match="float16"):
        mx.optimizer.SGD().create_state_multi_precision(0, weight)


def test_multipliers_by_name_and_attribute():
    names = {0: "a_weight", 1: "a_bias", 2: "b_gamma", 3: "c_beta"}
    optimizer = mx.optimizer.SGD(learning_rate=0.1, param_idx2name=names, wd=0.01)
    assert optimizer._get_wds([0, 1, 2, 3]) == [0.01, 0, 0.01, 0]
    optimizer.set_lr_mult({"a_weight": 3, 1: 5})
    optimizer.set_wd_mult({"a_weight": 0.5})
    assert_allclose(optimizer._get_lrs([0, 1, 2, 3]), [0.3, 0.5, 0.1, 0.1])
    assert optimizer._get_wds([0, 1, 2, 3]) == [0.005, 0, 0.01, 0]
    weight = mx.sym.var("a_weight", lr_mult=2, wd_mult=4)
    symbol = mx.sym.FullyConnected(mx.sym.var("d"), weight=weight, num_hidden=2, name="fc")
    optimizer = mx.optimizer.SGD(learning_rate=1.0, wd=1.0, sym=symbol, param_idx2name={0: "a_weight", 1: "fc_bias"})
    assert (optimizer._get_lrs([0, 1]), optimizer._get_wds([0, 1])) == ([2, 1], [4, 0])


def test_schedule_and_rate():
    optimizer = mx.optimizer.SGD(lr_scheduler=mx.lr_scheduler.FactorScheduler(1, 0.5))
    assert optimizer.learning_rate == 0.01
    with pytest.raises(UserWarning, match="LRScheduler"):
        optimizer.set_learning_rate(0.1)
    with pytest.warns(UserWarning, match="base_lr"):
        optimizer = mx.optimizer.SGD(learning_rate=2.0, lr_scheduler=mx.lr_scheduler.FactorScheduler(1, 0.5))
    assert optimizer.learning_rate == 2
    assert mx.optimizer.SGD(begin_num_update=5).num_update == 5


def test_updater_states():
    updater = mx.optimizer.get_updater(mx.optimizer.SGD(learning_rate=0.1, momentum=0.9))
    weight = nd.ones((2,))
    updater(3, nd.ones((2,)), weight)
    states = pickle.loads(updater.get_states())
    assert_allclose(states[3].asnumpy(), -0.1, rtol=1e-6)
    other = mx.optimizer.get_updater(mx.optimizer.SGD(learning_rate=0.5))
    other.set_states(updater.get_states(dump_optimizer=True))
    assert other.optimizer.lr == 0.1 and other.optimizer.param_dict == {}
    moved = nd.ones((2,), ctx=mx.cpu(1))
    other(3, nd.ones((2,), ctx=mx.cpu(1)), moved)
    assert other.states[3].context == mx.cpu(1)
    assert_allclose(moved.asnumpy(), 1 - 0.19, rtol=1e-6)


# pickle.dumps(mx.nd.array([1, 2])) of MXNet 1.9.1: the way arrays lie in saved optimizer states.
PICKLED = (b"gASVfwAAAAAAAACMFW14bmV0Lm5kYXJyYXkubmRhcnJheZSMB05EQXJyYXmUk5ROhZRSlH2UjAZoYW5kbGWUjAhidWlsdGlu"
           b"c5SMCWJ5dGVhcnJheZSTlEMoyfqT+QAAAAABAAAAAgAAAAAAAAABAAAAAAAAAAAAAAAAAIA/AAAAQJSFlFKUc2Iu")


def test_states_of_other_versions():
    array = pickle.loads(base64.b64decode(PICKLED))
    assert array.asnumpy().tolist() == [1, 2] and array.dtype == np.float32
    assert pickle.dumps(array, 4) == base64.b64decode(PICKLED)
    for original in (nd.ones((2, 3), dtype="float16"), nd.ones((2,), ctx=mx.cpu(1)), nd.array([]), nd.array(3)):
        copied = pickle.loads(pickle.dumps(original))
        assert (copied.shape, copied.dtype, copied.context) == (original.shape, original.dtype, original.context)
        assert (copied.asnumpy() == original.asnumpy()).all()
    assert type(mx.optimizer.SGD()).__module__ == mx.optimizer.Adam.__module__ == "mxnet.optimizer.optimizer"
    assert mx.optimizer.optimizer.SGD is mx.optimizer.SGD


def test_counts_are_kept_by_device():
    updater = mx.optimizer.get_updater(mx.optimizer.SGD(learning_rate=0.1))
    for device in (0, 1):
        updater(0, nd.ones((1,), ctx=mx.cpu(device)), nd.ones((1,), ctx=mx.cpu(device)))
    assert updater.optimizer.num_update == 1


def test_bad_arguments():
    with pytest.raises(ValueError, match="nope"):
        mx.optimizer.create("nope")
    with pytest.raises(AssertionError, match="dict"):
        mx.optimizer.SGD(param_idx2name=5)
    with pytest.raises(NotImplementedError):
        mx.optimizer.Optimizer().update(0, None, None, None)
    with pytest.raises(DeprecationWarning):
        mx.optimizer.SGD().set_lr_scale({})
