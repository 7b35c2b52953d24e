# SPDX-License-Identifier: Apache-2.0
"""Module: binding, parameters, optimizers, devices, checkpoints, shapes that change."""
import logging

import numpy as np
import pytest

import mxnet as mx
from mxnet import nd
from mxnet.io import DataBatch, DataDesc, NDArrayIter

BOTH = [mx.cpu(0), mx.cpu(1)]


def network(**kwargs):
    x = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=5, name="fc1", **kwargs)
    x = mx.sym.FullyConnected(mx.sym.Activation(x, act_type="tanh"), num_hidden=3, name="fc2")
    return mx.sym.SoftmaxOutput(x, name="softmax")


def ready(symbol=None, size=6, optimizer="sgd", params=(("learning_rate", 0.5),), bind=None, kvstore="local", **kwargs):
    mod = mx.mod.Module(symbol or network(), **kwargs)
    mod.bind([("data", (size, 4))], [("softmax_label", (size,))], **(bind or {}))
    mx.random.seed(1)
    mod.init_params(mx.init.Uniform(0.5))
    mod.init_optimizer(kvstore=kvstore, optimizer=optimizer, optimizer_params=params)
    return mod


def batch(size=6, seed=0):
    rng = np.random.RandomState(seed)
    return DataBatch([nd.array(rng.randn(size, 4))], [nd.array(rng.randint(0, 3, size))])


def values(mod):
    return {name: array.asnumpy() for params in mod.get_params() for name, array in params.items()}


def assert_same(left, right, tolerance=1e-6):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], tolerance, tolerance, err_msg=name)


def step(mod, data=None):
    mod.forward_backward(data or batch())
    mod.update()
    return mod


# ---- a step
def test_update_is_gradient_over_batch_size():
    mod = ready()
    before = values(mod)
    step(mod)
    executor = mod._exec_group.execs[0]
    for name, grad in executor.grad_dict.items():
        if name in before:
            np.testing.assert_allclose(before[name] - 0.5 / 6 * grad.asnumpy(), values(mod)[name], 1e-5, 1e-6)


@pytest.mark.parametrize("kvstore", ["local", "device"])
@pytest.mark.parametrize("loads", [None, [1, 2]])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_devices_give_what_one_gives(kvstore, loads, optimizer):
    params = {"learning_rate": 0.1, "wd": 0.01}
    one = ready(optimizer=optimizer, params=params)
    two = ready(optimizer=optimizer, params=params, context=BOTH, work_load_list=loads, kvstore=kvstore)
    two.set_params(*one.get_params())
    for seed in range(3):
        data = batch(seed=seed)
        step(one, data), step(two, data)
    np.testing.assert_allclose(one.get_outputs()[0].asnumpy(), two.get_outputs()[0].asnumpy(), 1e-5, 1e-6)
    assert_same(values(one), values(two), 1e-4)
    parts = two.get_outputs(merge_multi_context=False)
    assert [part.shape[0] for part in parts[0]] == ([2, 4] if loads else [3, 3])
    assert two.output_shapes == [("softmax_output", (6, 3))]
    metric = mx.metric.create("acc")
    two.update_metric(metric, data.label)
    assert metric.num_inst == 6


def test_a_list_of_batches_goes_to_the_devices():
    one, two = ready(), ready(context=BOTH)
    data = batch()
    halves = [DataBatch([data.data[0][i:i + 3]], [data.label[0][i:i + 3]]) for i in (0, 3)]
    one.forward(data, is_train=False), two.forward(halves, is_train=False)
    np.testing.assert_allclose(one.get_outputs()[0].asnumpy(), two.get_outputs()[0].asnumpy(), 1e-5)
    metric = mx.metric.create("acc")
    two.update_metric(metric, [half.label for half in halves], pre_sliced=True)
    assert metric.num_inst == 6


def test_batch_axis_of_the_layout():
    data = mx.sym.var("data")
    out = mx.sym.sum(data, axis=(0, 2), name="sum")
    mod = mx.mod.Module(mx.sym.Group([out]), label_names=None, context=BOTH)
    mod.bind([DataDesc("data", (5, 4, 2), layout="TNC")], for_training=False)
    mod.init_params()
    x = nd.array(np.random.randn(5, 4, 2))
    mod.forward(DataBatch([x]))
    np.testing.assert_allclose(mod.get_outputs()[0].asnumpy(), x.asnumpy().sum((0, 2)), 1e-5)
    assert mod._exec_group.slices == [slice(0, 2), slice(2, 4)]


def test_fixed_parameters_and_requests():
    mod = ready(fixed_param_names=["fc1_weight"], bind={"inputs_need_grad": True})
    before = values(mod)
    step(mod)
    after = values(mod)
    assert (before["fc1_weight"] == after["fc1_weight"]).all()
    assert (before["fc1_bias"] != after["fc1_bias"]).any()
    assert mod.get_input_grads()[0].shape == (6, 4)
    executor = mod._exec_group.execs[0]
    assert executor.grad_dict["fc1_weight"] is None and executor.grad_dict["softmax_label"] is None

    added = ready(bind={"grad_req": "add"})
    for _ in range(2):
        added.forward_backward(batch())
    single = ready()
    single.forward_backward(batch())
    np.testing.assert_allclose(added._exec_group.execs[0].grad_dict["fc2_weight"].asnumpy(),
                               2 * single._exec_group.execs[0].grad_dict["fc2_weight"].asnumpy(), 1e-5)

    each = ready(bind={"grad_req": {"fc1_weight": "null", "fc2_weight": "add", "data": "write"}})
    grads = each._exec_group.execs[0].grad_dict
    assert grads["fc1_weight"] is None and grads["fc1_bias"] is not None and grads["data"] is not None
    step(each)


def test_out_grads():
    mod = mx.mod.Module(mx.sym.var("data") * 2, label_names=None, context=BOTH)
    mod.bind([("data", (4, 2))], inputs_need_grad=True)
    mod.init_params()
    mod.forward(DataBatch([nd.ones((4, 2))]))
    grads = nd.array(np.arange(8).reshape(4, 2))
    mod.backward([grads])
    assert (mod.get_input_grads()[0].asnumpy() == 2 * grads.asnumpy()).all()
    mod.backward(grads)
    assert [part.shape for part in mod.get_input_grads(merge_multi_context=False)[0]] == [(2, 2)] * 2


# ---- shapes
def test_forward_of_other_shapes():
    mod = ready(context=BOTH)
    for size in (4, 6, 2, 12, 6):
        step(mod, batch(size))
        assert mod.get_outputs()[0].shape == (size, 3)
        assert mod.data_shapes[0].shape == (size, 4)
    mod.forward(DataBatch([nd.ones((8, 4))]), is_train=False)
    assert mod.get_outputs()[0].shape == (8, 3)


def test_executors_of_old_shapes_are_used_again():
    mod = ready()
    first = mod._exec_group.execs[0]
    mod.forward(batch(4), is_train=False)
    assert mod._exec_group.execs[0] is not first
    mod.forward(batch(6), is_train=False)
    assert mod._exec_group.execs[0] is first


def test_reshape_keeps_parameters_and_optimizer():
    mod = step(ready(params={"learning_rate": 0.1, "momentum": 0.9}))
    before = values(mod)
    mod.reshape([("data", (3, 4))], [("softmax_label", (3,))])
    assert_same(before, values(mod))
    step(mod, batch(3))
    assert mod.output_shapes == [("softmax_output", (3, 3))]


def test_dtype_of_data():
    out = mx.sym.cast(mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="fc"), dtype="float32")
    mod = mx.mod.Module(out, label_names=None)
    mod.bind([DataDesc("data", (2, 3), dtype=np.float16)], for_training=False)
    mod.init_params()
    assert mod.get_params()[0]["fc_weight"].dtype == np.float16
    mod.forward(DataBatch([nd.ones((2, 3), dtype="float32")]))
    assert mod.get_outputs()[0].dtype == np.float32


# ---- parameters
def test_parameters_go_in_and_out():
    mod = ready(context=BOTH)
    args, _ = mod.get_params()
    args = {name: array.copy() for name, array in args.items()}
    step(mod)
    mod.set_params(args, {})
    assert_same(values(mod), {name: array.asnumpy() for name, array in args.items()})
    args.pop("fc1_bias")
    with pytest.raises(RuntimeError, match="fc1_bias"):
        mod.set_params(args, {})
    step(mod)
    mod.set_params(args, {}, allow_missing=True)
    with pytest.raises(ValueError, match="other"):
        mod.set_params({**args, "other": nd.ones(2)}, {}, allow_missing=True)
    mod.set_params({**args, "other": nd.ones(2)}, {}, allow_missing=True, allow_extra=True)
    mod.init_params(arg_params={**args, "other": nd.ones(2)}, aux_params={}, allow_missing=True, force_init=True)
    assert_same({name: values(mod)[name] for name in args}, {name: array.asnumpy() for name, array in args.items()})
    with pytest.raises(ValueError, match=r"fc2_bias.*\(3,\).*\(4,\)"):
        mod.init_params(arg_params={"fc2_bias": nd.ones(4)}, allow_missing=True, force_init=True)


@pytest.mark.parametrize("context", [mx.cpu(), BOTH])
def test_binding_again_keeps_what_was_learned(context):
    mod = ready(context=context)
    begin = values(mod)
    step(mod)
    mod.bind([("data", (4, 4))], [("softmax_label", (4,))], force_rebind=True)
    after = values(step(mod, batch(4)))
    reference = step(step(ready(context=context)), batch(4))
    assert_same(after, values(reference))
    assert not np.allclose(begin["fc1_weight"], after["fc1_weight"])


def test_rows_of_no_parameter():
    mod = ready(kvstore=mx.kv.create("local"))
    with pytest.raises(ValueError, match="rows of fc3_weight, which is no parameter; there are fc1_weight, fc1_bias"):
        mod.prepare(batch(), sparse_row_id_fn=lambda _: {"fc3_weight": nd.array([0])})


def test_initializers_of_variables():
    weight = mx.sym.var("w", init=mx.init.Constant(3), lr_mult=0.0)
    out = mx.sym.FullyConnected(mx.sym.var("data"), weight=weight, num_hidden=2, no_bias=True, name="fc")
    mod = mx.mod.Module(mx.sym.MakeLoss(mx.sym.sum(out)), label_names=None)
    mod.bind([("data", (2, 4))])
    mod.init_params()
    assert (values(mod)["w"] == 3).all()
    mod.init_optimizer()
    mod.forward_backward(batch(2))
    mod.update()
    assert (values(mod)["w"] == 3).all()


def test_files(tmp_path):
    mod = step(ready())
    mod.save_params(str(tmp_path / "p"))
    other = ready()
    other.load_params(str(tmp_path / "p"))
    assert_same(values(mod), values(other))
    nd.save(str(tmp_path / "q"), {"fc1_weight": nd.ones(1)})
    with pytest.raises(ValueError, match="fc1_weight"):
        other.load_params(str(tmp_path / "q"))


@pytest.mark.parametrize("context", [[mx.cpu()], BOTH])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path, context, optimizer):
    prefix = str(tmp_path / "net")
    params = {"learning_rate": 0.1, **({"momentum": 0.9} if optimizer == "sgd" else {})}
    mod = step(ready(optimizer=optimizer, params=params, context=context))
    mod.save_checkpoint(prefix, 7, save_optimizer_states=True)
    again = mx.mod.Module.load(prefix, 7, load_optimizer_states=True, context=context)
    again.bind([("data", (6, 4))], [("softmax_label", (6,))])
    again.init_optimizer(optimizer=optimizer, optimizer_params=params)
    assert_same(values(mod), values(again))
    if optimizer == "adam":  # the number of updates is no part of the states
        for one in (again._updater or again._kvstore._updater,):
            one.optimizer._all_index_update_counts = {
                device: dict.fromkeys(one.states, 1) for device in range(len(context))}
            one.optimizer.num_update = 1
    step(mod), step(again)
    assert_same(values(mod), values(again))


def test_shared_module():
    mod = step(ready())
    other = mx.mod.Module(network())
    other.bind([("data", (3, 4))], [("softmax_label", (3,))], shared_module=mod)
    assert other.optimizer_initialized and other.params_initialized
    step(other, batch(3))
    assert mod._exec_group.param_arrays[0][0] is other._exec_group.param_arrays[0][0]
    assert other._updater is mod._updater


def test_states():
    state = mx.sym.var("state")
    mod = mx.mod.Module(mx.sym.Group([mx.sym.var("data") + state, state * 2]), label_names=None,
                        state_names=["state"], context=BOTH)
    mod.bind([("data", (4, 2))], for_training=False)
    mod.init_params()
    mod.set_states(value=3)
    mod.forward(DataBatch([nd.ones((4, 2))]))
    outs = mod.get_outputs(merge_multi_context=False)
    assert (mod.get_outputs()[0].asnumpy() == 4).all()
    mod.set_states(states=[outs[1]])
    assert (mod.get_states(merge_multi_context=False)[0][1].asnumpy() == 6).all()


# ---- loops
def data_iter(n=22, size=6, **kwargs):
    rng = np.random.RandomState(3)
    x = rng.randn(n, 4).astype("float32")
    return NDArrayIter(x, (x[:, 0] > 0).astype("float32") + (x[:, 1] > 0), size, **kwargs)


def test_fit_learns_and_calls_back(caplog):
    seen = []
    with caplog.at_level(logging.INFO):
        mod = mx.mod.Module(network())
        mod.fit(data_iter(), eval_data=data_iter(), num_epoch=30, begin_epoch=2, eval_metric=["acc", "ce"],
                optimizer="adam", optimizer_params={"learning_rate": 0.05}, initializer=mx.init.Xavier(),
                batch_end_callback=[lambda p: seen.append(("batch", p.epoch, p.nbatch)), mx.callback.Speedometer(6, 2)],
                epoch_end_callback=lambda e, s, a, x: seen.append(("epoch", e, s is mod.symbol, sorted(a))),
                eval_end_callback=lambda p: seen.append(("eval", p.epoch, p.nbatch)),
                eval_batch_end_callback=lambda p: seen.append(("eval_batch", p.nbatch)))
    assert mod.score(data_iter(), "acc")[0][1] > 0.8
    assert seen[:4] == [("batch", 2, i) for i in range(4)]
    assert seen[4] == ("epoch", 2, True, ["fc1_bias", "fc1_weight", "fc2_bias", "fc2_weight"])
    assert seen[5:10] == [("eval_batch", i) for i in range(4)] + [("eval", 2, 4)]
    assert "Epoch[29] Validation-cross-entropy=" in caplog.text and "Epoch[2] Time cost=" in caplog.text
    assert "samples/sec" in caplog.text


def test_score_and_predict():
    mod = ready()
    it = data_iter()
    out = mod.predict(it)
    assert out.shape == (22, 3)
    assert mod.predict(it, num_batch=2).shape == (12, 3)
    parts = mod.predict(it, merge_batches=False)
    assert [part[0].shape[0] for part in parts] == [6, 6, 6, 4]
    assert isinstance(mod.predict(it, always_output_list=True), list)
    assert [(n, o[0].shape[0], b.pad) for o, n, b in mod.iter_predict(it)][-1] == (3, 4, 2)
    np.testing.assert_allclose(mod.predict(it.data[0][1]).asnumpy()[:22], out.asnumpy(), 1e-5)
    np.testing.assert_allclose(mod.predict(it.data[0][1].asnumpy()).asnumpy()[:22], out.asnumpy(), 1e-5)
    ends = []
    name_value = mod.score(it, mx.metric.Accuracy(), num_batch=3, score_end_callback=lambda p: ends.append(p.nbatch))
    assert name_value[0][0] == "accuracy" and ends == [3]
    for wrong in (3, "x", None):
        with pytest.raises(ValueError, match="eval_data"):
            mod.predict(wrong)


def test_module_checkpoint_callback(tmp_path):
    prefix = str(tmp_path / "m")
    mod = mx.mod.Module(network())
    mod.fit(data_iter(), num_epoch=2, epoch_end_callback=[
        mx.callback.module_checkpoint(mod, prefix, save_optimizer_states=True),
        mx.callback.do_checkpoint(prefix + "2")])
    assert {path.name for path in tmp_path.iterdir()} == {
        "m-symbol.json", "m-0001.params", "m-0002.params", "m-0001.states", "m-0002.states", "m2-symbol.json",
        "m2-0001.params", "m2-0002.params"}


def test_monitor(caplog):
    mod = mx.mod.Module(network())
    with caplog.at_level(logging.INFO):
        mod.fit(data_iter(), num_epoch=1, monitor=mx.mon.Monitor(2, pattern=".*output|fc1_weight"))
    for name in ("softmax_output", "activation", "fc1_output", "fc1_weight"):
        assert name in caplog.text
    mod.forward(batch(4), is_train=False)  # an executor of a new shape is watched as well
    assert mod._exec_group.execs[0]._monitor is not None


def test_fit_without_data():
    class Empty(mx.io.DataIter):
        provide_data, provide_label = [("data", (6, 4))], [("softmax_label", (6,))]

        def iter_next(self):
            return False

    with pytest.raises(ValueError, match="empty"):
        mx.mod.Module(network()).fit(Empty(), num_epoch=1)


# ---- wrong use
def test_wrong_names_and_shapes():
    with pytest.raises(ValueError, match="data_names.*'x'.*data, softmax_label"):
        mx.mod.Module(network(), data_names=["x"])
    with pytest.raises(ValueError, match="fixed_param_names"):
        mx.mod.Module(network(), fixed_param_names=["x"])
    with pytest.warns(UserWarning, match="label_names"):
        mx.mod.Module(network(), label_names=["x"])
    with pytest.raises(AssertionError, match="work_load_list"):
        mx.mod.Module(network(), context=BOTH, work_load_list=[1])
    mod = mx.mod.Module(network())
    with pytest.raises(ValueError, match="data_names"):
        mod.bind([("dat", (6, 4))], [("softmax_label", (6,))])
    with pytest.warns(UserWarning, match="label_names"), pytest.raises(ValueError, match="softmax_label"):
        mod.bind([("data", (6, 4))], [("label", (5,))])
    with pytest.raises(ValueError, match="Too many slices"):
        mx.mod.Module(network(), context=BOTH).bind([("data", (1, 4))], [("softmax_label", (1,))])
    with pytest.raises(TypeError, match="DataDesc"):
        mx.mod.Module(network()).bind([5], None)


def test_order_of_calls(caplog):
    mod = mx.mod.Module(network())
    for call in (lambda: mod.forward(batch()), mod.init_params, mod.init_optimizer, lambda: mod.data_shapes,
                 mod.get_params, mod.update):
        with pytest.raises(AssertionError, match="bind first"):
            call()
    mod.bind([("data", (6, 4))], [("softmax_label", (6,))], for_training=False)
    mod.bind([("data", (6, 4))], [("softmax_label", (6,))])
    assert "Already bound" in caplog.text
    with pytest.raises(AssertionError, match="init_params first"):
        mod.forward(batch())
    mod.init_params()
    with pytest.warns(UserWarning, match="ignored"):
        mod.init_params()
    mod.forward(batch())
    with pytest.raises(AssertionError, match="for_training"):
        mod.backward()
    with pytest.raises(AssertionError, match="init_optimizer first"):
        mod.update()
    with pytest.raises(AssertionError, match="inputs_need_grad"):
        mod.get_input_grads()
    with pytest.raises(ValueError, match="data"):
        ready().forward(DataBatch([]))
    with pytest.raises(ValueError, match="Cannot find optimizer foo"):
        mod.init_optimizer(optimizer="foo")
    with pytest.warns(UserWarning, match="rescale_grad"):
        mod.init_optimizer(optimizer=mx.optimizer.SGD())


# ---- FeedForward and the executor manager
def test_feed_forward(tmp_path):
    rng = np.random.RandomState(0)
    x = rng.randn(40, 4).astype("float32")
    y = (x[:, 0] > 0).astype("float32")
    mx.random.seed(0), np.random.seed(0)
    model = mx.model.FeedForward.create(network(), x, y, num_epoch=40, learning_rate=0.3, numpy_batch_size=8,
                                        initializer=mx.init.Xavier(), eval_data=(x, y), ctx=BOTH)
    it = NDArrayIter(x, y, 8)
    assert model.score(it) > 0.9
    out = model.predict(x)
    assert isinstance(out, np.ndarray) and out.shape == (40, 3)
    out, data, label = model.predict(NDArrayIter(x, y, 7), return_data=True)
    assert (data == x).all() and (label == y).all() and out.shape == (40, 3)
    model.save(str(tmp_path / "f"))
    again = mx.model.FeedForward.load(str(tmp_path / "f"), 40)
    np.testing.assert_allclose(again.predict(x), model.predict(x), 1e-5)
    more = mx.model.FeedForward(network(), num_epoch=1, epoch_size=3, arg_params={**again.arg_params, "z": nd.ones(1)},
                                aux_params={}, allow_extra_params=True)
    batches = []
    more.fit(it, batch_end_callback=lambda p: batches.append(p.nbatch))
    assert batches == [0, 1, 2]
    for wrong in ((x, None), (x, y[:3]), ("x", y)):
        with pytest.raises((ValueError, TypeError)):
            model.fit(*wrong)


def test_executor_manager():
    it = data_iter()
    manager = mx.executor_manager.DataParallelExecutorManager(network(), BOTH, it, None, None, None)
    args = {name: nd.random.uniform(shape=arrays[0].shape)
            for name, arrays in zip(manager.param_names, manager.param_arrays)}
    manager.set_params(args, {})
    manager.load_data_batch(next(it))
    manager.forward(is_train=True)
    manager.backward()
    metric = mx.metric.create("acc")
    manager.update_metric(metric, it.getlabel())
    assert metric.num_inst == 6
    copies = {name: nd.zeros(array.shape) for name, array in args.items()}
    manager.copy_to(copies, {})
    assert_same({k: v.asnumpy() for k, v in args.items()}, {k: v.asnumpy() for k, v in copies.items()})
    assert [len(grads) for grads in manager.grad_arrays] == [2] * 4
    names = list(reversed(manager.param_names))  # their order does not matter
    manager = mx.executor_manager.DataParallelExecutorManager(network(), BOTH, it, None, names, None)
    manager.set_params(args, {})
    manager.copy_to(copies, {})
    assert_same({k: v.asnumpy() for k, v in args.items()}, {k: v.asnumpy() for k, v in copies.items()})
