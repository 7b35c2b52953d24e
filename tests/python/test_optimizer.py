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


@pytest.mark.parametrize("name, kwargs, expected", [
    ("lamb", {},
     [0.962265, -1.962265, 0.462265, 2.96454, 0.986267, 0.264839]),
    ("lamb", {"learning_rate": 0.1, "wd": 0.1, "lower_bound": 0.5, "upper_bound": 2.0},
     [-0.826548, -0.007397, -1.243528, 0.922138, -0.690636, 1.800188]),
    ("lamb", {"bias_correction": False, "clip_gradient": 0.5, "rescale_grad": 0.3},
     [0.962264, -1.96226, 0.462259, 2.964553, 0.986344, 0.264924]),
    ("lars", {"momentum": 0.9, "wd": 0.1, "learning_rate": 1.0},
     [0.9357, -1.8071, 0.170462, 2.839031, -177.116196, 60.720943]),
    ("lars", {"momentum": 0.9, "eta": 0.01, "eps": 0.1, "schedule": True},
     [0.980677, -1.935589, 0.371179, 2.969702, -3.129734, 2.342566]),
    ("lars", {"learning_rate": 0.5, "eta": 0.1, "rescale_grad": 0.2, "clip_gradient": 0.1},
     [0.596835, -1.328059, -0.171941, 2.451468, 0.09, 1.25]),
    ("dcasgd", {"wd": 0.1, "clip_gradient": 0.8, "rescale_grad": 0.5, "lamda": 0.3},
     [0.950475, -1.86142, 0.331909, 2.849291, 0.85733, 0.294567]),
    ("lbsgd", {},
     [0.94, -1.8, 0.1, 2.81, 0.62, 0.35]),
    ("lbsgd", {"momentum": 0.9, "wd": 0.1, "batch_scale": 2, "warmup_epochs": 1, "updates_per_epoch": 4},
     [0.68728, -1.061838, -1.102693, 2.186623, -0.235854, 0.621356]),
    ("lbsgd", {"batch_scale": 4, "warmup_strategy": "power2", "warmup_epochs": 2, "updates_per_epoch": 8},
     [0.959125, -1.86375, 0.2275, 2.839063, 0.678125, 0.318125]),
    ("lbsgd", {"batch_scale": 4, "warmup_strategy": "sqrt", "warmup_epochs": 2, "updates_per_epoch": 8},
     [0.948342, -1.827806, 0.155612, 2.820901, 0.641802, 0.336097]),
    ("lbsgd", {"batch_scale": 2, "warmup_strategy": "lars", "momentum": 0.9, "wd": 0.01},
     [0.80804, -1.368389, -0.74155, 2.574323, 0.67431, 0.441468]),
])
def test_optimizers_of_large_batches(name, kwargs, expected):
    names = {0: "fc_weight", 1: "bn_gamma"}
    kwargs = dict(kwargs)
    if kwargs.pop("schedule", False):
        kwargs["lr_scheduler"] = mx.lr_scheduler.FactorScheduler(step=5, factor=0.5, base_lr=0.1)
    optimizer = mx.optimizer.create(name, param_idx2name=names, **kwargs)
    weights = [nd.array([[1.0, -2.0], [0.5, 3.0]]), nd.array([1.0, 0.25])]
    updater = mx.optimizer.get_updater(optimizer)
    for i in range(20):
        grads = [nd.array([[0.3, -1.0], [2.0, 0.1 * i]]), nd.array([0.2 * i, -0.5])]
        if optimizer.aggregate_num > 0:
            updater([0, 1], grads, weights)
        else:
            for k in range(2):
                updater(k, grads[k], weights[k])
    assert_allclose(np.concatenate([w.asnumpy().ravel() for w in weights]), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lamb", "lars", "lbsgd", "dcasgd"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_follows_the_float32_copy(name, dtype):
    rng = np.random.RandomState(1)
    start = rng.randn(4, 3).astype("float32")
    weights = [nd.array(start).astype(dtype), nd.array(start).astype(dtype).astype("float32")]
    kwargs = {} if name == "lamb" else {"momentum": 0.9}
    updaters = [mx.optimizer.get_updater(mx.optimizer.create(name, learning_rate=0.01, multi_precision=True, **kwargs))
                for _ in range(2)]
    for _ in range(20):
        grad = nd.array(rng.randn(4, 3)).astype(dtype)
        updaters[0](0, grad, weights[0])
        updaters[1](0, grad.astype("float32"), weights[1])
    tolerance = 1e-3 if dtype == "float16" else 8e-3
    assert_allclose(weights[0].astype("float32").asnumpy(), weights[1].asnumpy(), rtol=tolerance, atol=tolerance)


def test_dcasgd_with_momentum():
    optimizer = mx.optimizer.DCASGD(momentum=0.5, lamda=0.2, learning_rate=0.1, wd=0.01)
    weight = nd.array([1.0, -2.0])
    state = optimizer.create_state(0, weight)
    w, momentum, previous = np.array([1.0, -2.0]), 0, np.array([1.0, -2.0])
    for g in (np.array([0.5, 1.0]), np.array([-1.0, 2.0]), np.array([0.1, 0.3])):
        optimizer.update(0, weight, nd.array(g), state)
        momentum = 0.5 * momentum - 0.1 * (g + 0.01 * w + 0.2 * g * g * (w - previous))
        previous, w = w, w + momentum
    assert_allclose(weight.asnumpy(), w, rtol=1e-6)


def test_sgld_noise():
    mx.random.seed(0)
    optimizer = mx.optimizer.SGLD(learning_rate=0.01, wd=10)
    weight = nd.ones((500, 400))
    optimizer.update(0, weight, nd.ones((500, 400)) * 2, None)
    values = weight.asnumpy()
    assert abs(values.mean() - (1 - 0.005 * 12)) < 1e-3
    assert abs(values.std() - 0.1) < 1e-3


def test_group_adagrad_of_rows():
    weight, history = nd.array([[1, 2.0], [3, 4], [5, 6]]), nd.zeros((3, 1))
    grad = nd.array([[0.5, 1], [2, 3], [0, 0]]).tostype("row_sparse")
    nd.contrib.group_adagrad_update(weight, grad, history, lr=0.1, epsilon=0.5, out=weight)
    assert_allclose(weight.asnumpy(), [[0.9529, 1.9057], [2.9244, 3.8866], [5, 6]], atol=1e-4)
    assert_allclose(history.asnumpy(), [[0.625], [6.5], [0]])
