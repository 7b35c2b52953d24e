# SPDX-License-Identifier: Apache-2.0
"""Bucketing, modules in a row, modules in Python."""
import numpy as np
import pytest

import mxnet as mx
from mxnet import nd
from mxnet.io import DataBatch, DataDesc


# ---- buckets
def sentence_net(key):
    data = mx.sym.var("data")
    embed = mx.sym.Embedding(data, input_dim=10, output_dim=4, name="embed")
    out = mx.sym.FullyConnected(mx.sym.sum(embed, axis=1), num_hidden=3, name="fc")
    return mx.sym.SoftmaxOutput(out, name="softmax"), ("data",), ("softmax_label",)


def sentence_batch(key, size=4, seed=0):
    rng = np.random.RandomState(seed)
    return DataBatch([nd.array(rng.randint(0, 10, (size, key)))], [nd.array(rng.randint(0, 3, size))], bucket_key=key,
                     provide_data=[DataDesc("data", (size, key))], provide_label=[DataDesc("softmax_label", (size,))])


def bucketing(context=None, optimizer="adam"):
    mod = mx.mod.BucketingModule(sentence_net, default_bucket_key=8, context=context)
    first = sentence_batch(8)
    mod.bind(first.provide_data, first.provide_label)
    mx.random.seed(4)
    mod.init_params(mx.init.Uniform(0.3))
    mod.init_optimizer(optimizer=optimizer, optimizer_params={"learning_rate": 0.05})
    return mod


@pytest.mark.parametrize("context", [None, [mx.cpu(0), mx.cpu(1)]])
def test_buckets_share_parameters_optimizer_and_memory(context):
    mod = bucketing(context)
    for seed, key in enumerate((8, 3, 5, 8, 3)):
        mod.forward_backward(sentence_batch(key, seed=seed))
        mod.update()
        assert mod.get_outputs()[0].shape == (4, 3)
        assert mod.data_shapes[0].shape == (4, key) and mod.symbol is mod._buckets[key].symbol
    executors = [module._exec_group.execs[0] for module in mod._buckets.values()]
    assert len({id(executor.arg_dict["embed_weight"]) for executor in executors}) == 1
    executors[0].arg_dict["data"][:] = 7
    assert all((executor.arg_dict["data"].asnumpy() == 7).all() for executor in executors)
    optimizer = mod._curr_module._optimizer
    assert optimizer.num_update == 5 and all(m._optimizer is optimizer for m in mod._buckets.values())


def test_bucketing_learns_like_one_module():
    mod = bucketing()
    single = mx.mod.Module(*sentence_net(8))
    batch = sentence_batch(8)
    single.bind(batch.provide_data, batch.provide_label)
    single.init_params(arg_params=mod.get_params()[0], aux_params={})
    single.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": 0.05})
    padded = sentence_batch(8, seed=2)
    for one in (mod, single):
        for data in (batch, padded):
            one.forward_backward(data)
            one.update()
    for name, array in single.get_params()[0].items():
        np.testing.assert_allclose(array.asnumpy(), mod.get_params()[0][name].asnumpy(), 1e-5, 1e-6)


def test_bucketing_prepare_and_monitor():
    mod = bucketing()
    mod.forward(sentence_batch(8))
    mod.prepare(sentence_batch(3))
    assert mod.data_shapes[0].shape == (4, 8) and 3 in mod._buckets
    mod.install_monitor(mx.mon.Monitor(1))
    mod.switch_bucket(5, sentence_batch(5).provide_data, sentence_batch(5).provide_label)
    assert mod._curr_module._exec_group.execs[0]._monitor is not None


def test_bucketing_checkpoint(tmp_path):
    mod = bucketing()
    for key in (3, 8):
        mod.forward_backward(sentence_batch(key))
        mod.update()
    prefix = str(tmp_path / "b")
    mod.save_checkpoint(prefix, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"b-0002.params", "b-3-symbol.json", "b-8-symbol.json",
                                                          "b.buckets"}
    again = mx.mod.BucketingModule.load(prefix, 2, sym_gen=sentence_net, default_bucket_key=8)
    first = sentence_batch(8)
    again.bind(first.provide_data, first.provide_label, for_training=False)
    for key in (3, 8, 6):
        mod.forward(sentence_batch(key), is_train=False), again.forward(sentence_batch(key))
        np.testing.assert_allclose(mod.get_outputs()[0].asnumpy(), again.get_outputs()[0].asnumpy(), 1e-6)
    with pytest.raises(AssertionError, match="sym_gen"):
        mx.mod.BucketingModule.load(prefix, 2)
    with pytest.raises(AssertionError, match="sym_dict"):
        mx.mod.BucketingModule.load_dict(sym_gen=sentence_net, default_bucket_key=8)


def test_bucketing_fit():
    class Sentences(mx.io.DataIter):
        def __init__(self):
            super().__init__(4)
            self.default_bucket_key = 8
            self.batches = [sentence_batch(key, seed=key) for key in (3, 8, 5, 3)]
            self.provide_data, self.provide_label = self.batches[1].provide_data, self.batches[1].provide_label
            self.reset()

        def reset(self):
            self.left = iter(self.batches)

        def next(self):
            return next(self.left)

    mod = mx.mod.BucketingModule(sentence_net, default_bucket_key=8)
    mod.fit(Sentences(), eval_data=Sentences(), num_epoch=30, optimizer="adam",
            optimizer_params={"learning_rate": 0.05}, eval_metric="ce")
    assert mod.score(Sentences(), "acc")[0][1] > 0.9
    with pytest.raises(AssertionError, match="default_bucket_key"):
        mx.mod.BucketingModule(sentence_net)


def test_bucketing_bound_again_goes_on():
    mods = [bucketing(), bucketing()]
    for mod in mods:
        mod.forward_backward(sentence_batch(8))
        mod.update()
    first = sentence_batch(8)
    mods[0].bind(first.provide_data, first.provide_label, force_rebind=True)
    for mod in mods:
        mod.forward_backward(sentence_batch(5, seed=1))
        mod.update()
    for name, array in mods[0].get_params()[0].items():
        np.testing.assert_allclose(array.asnumpy(), mods[1].get_params()[0][name].asnumpy(), 1e-5, 1e-6)


# ---- in a row
def layer(name, num_hidden):
    return mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=num_hidden, name=name)


def chain():
    seq = mx.mod.SequentialModule()
    seq.add(mx.mod.Module(mx.sym.tanh(layer("a", 6)), label_names=None))
    seq.add(mx.mod.Module(mx.sym.SoftmaxOutput(layer("b", 3), name="softmax")), take_labels=True, auto_wiring=True)
    return seq


def data_iter():
    rng = np.random.RandomState(3)
    x = rng.randn(20, 4).astype("float32")
    return mx.io.NDArrayIter(x, (x[:, 0] > 0).astype("float32"), 5)


def test_sequential_is_its_composition():
    seq = chain()
    it = data_iter()
    seq.fit(it, num_epoch=20, optimizer_params={"learning_rate": 0.5}, initializer=mx.init.Xavier())
    assert seq.score(it, "acc")[0][1] > 0.9
    args, _ = seq.get_params()
    assert sorted(args) == ["a_bias", "a_weight", "b_bias", "b_weight"]
    joined = mx.sym.FullyConnected(mx.sym.tanh(layer("a", 6)), num_hidden=3, name="b")
    whole = mx.mod.Module(mx.sym.SoftmaxOutput(joined, name="softmax"))
    whole.bind(it.provide_data, it.provide_label)
    whole.init_params(arg_params=args, aux_params={})
    whole.init_optimizer(optimizer_params={"learning_rate": 0.5})
    it.reset()
    batch = next(it)
    for one in (seq, whole):
        one.forward_backward(batch)
        one.update()
    for name, array in whole.get_params()[0].items():
        np.testing.assert_allclose(array.asnumpy(), seq.get_params()[0][name].asnumpy(), 1e-5, 1e-6)
    again = chain()
    again.fit(it, num_epoch=1, arg_params=args, aux_params={}, allow_missing=True,
              optimizer_params={"learning_rate": 0.0})
    np.testing.assert_array_equal(again.get_params()[0]["b_weight"].asnumpy(), args["b_weight"].asnumpy())
    assert seq.data_names == ["data"] and seq.output_names == ["softmax_output"]
    assert seq.output_shapes == [("softmax_output", (5, 3))] and seq.label_shapes[0].shape == (5,)


def test_sequential_refuses():
    with pytest.raises(AssertionError, match='Unknown meta "foo"'):
        chain().add(mx.mod.Module(layer("c", 2), label_names=None), foo=1)
    with pytest.raises(AssertionError, match="empty"):
        mx.mod.SequentialModule().bind([("data", (2, 4))])
    twice = mx.mod.SequentialModule()
    for _ in range(2):
        twice.add(mx.mod.Module(layer("a", 4), label_names=None), auto_wiring=True)
    twice.bind([("data", (2, 4))])
    with pytest.raises(AssertionError, match="Duplicated parameter names.*a_"):
        twice.init_params()


def test_python_loss():
    def gradient(scores, labels):
        probabilities = nd.softmax(scores)
        return probabilities - nd.one_hot(labels, scores.shape[1])

    seq = mx.mod.SequentialModule()
    seq.add(mx.mod.Module(layer("a", 3), label_names=None))
    seq.add(mx.mod.PythonLossModule(grad_func=gradient), take_labels=True, auto_wiring=True)
    it = data_iter()
    seq.fit(it, num_epoch=20, optimizer_params={"learning_rate": 0.5}, initializer=mx.init.Xavier())
    assert seq.score(it, "acc")[0][1] > 0.9
    whole = mx.mod.Module(mx.sym.SoftmaxOutput(layer("a", 3), name="softmax"))
    whole.bind(it.provide_data, it.provide_label)
    whole.init_params(arg_params=seq.get_params()[0], aux_params={})
    it.reset()
    batch = next(it)
    whole.forward_backward(batch), seq.forward_backward(batch)
    np.testing.assert_allclose(whole._exec_group.execs[0].grad_dict["a_weight"].asnumpy(),
                               seq._modules[0]._exec_group.execs[0].grad_dict["a_weight"].asnumpy(), 1e-5, 1e-6)
    with pytest.raises(AssertionError, match="out_grads"):
        seq._modules[1].backward(nd.ones(1))
    with pytest.raises(NotImplementedError):
        mx.mod.PythonModule(["data"], None, ["o"]).bind([("data", (2,))])


# ---- variance reduction
def svrg(size=5, **kwargs):
    out = mx.sym.LinearRegressionOutput(layer("fc", 1), mx.sym.var("softmax_label"))
    return mx.contrib.svrg_optimization.SVRGModule(out, update_freq=2, **kwargs)


@pytest.mark.parametrize("context", [None, [mx.cpu(0), mx.cpu(1)]])
def test_svrg_gradient(context):
    mod, plain = svrg(context=context), mx.mod.Module(svrg().symbol)
    it = data_iter()
    for one in (mod, plain):
        one.bind(it.provide_data, it.provide_label)
    mod.init_params(mx.init.Uniform(1))
    mod.init_optimizer(optimizer_params={"learning_rate": 1.0})
    snapshot = {name: array.copy() for name, array in mod.get_params()[0].items()}

    def gradient(batch, params):
        plain.init_params(arg_params=params, aux_params={}, force_init=True)
        plain.forward_backward(batch)
        return plain._exec_group.grad_arrays[0][0].asnumpy()

    mod.update_full_grads(it)
    it.reset()
    batches = list(it)
    mean = sum(gradient(batch, snapshot) for batch in batches) / len(batches)
    mod.forward_backward(batches[0])
    mod.update()
    params = {name: array.copy() for name, array in mod.get_params()[0].items()}
    name = next(iter(params))
    np.testing.assert_allclose(params[name].asnumpy(), snapshot[name].asnumpy() - mean / 5, 1e-4, 1e-5)
    mod.forward_backward(batches[1])
    mod.update()
    expected = gradient(batches[1], params) - gradient(batches[1], snapshot) + mean
    np.testing.assert_allclose(mod.get_params()[0][name].asnumpy(), params[name].asnumpy() - expected / 5, 1e-4, 1e-5)


def test_svrg_fit_and_refusals():
    it = data_iter()
    mod = svrg()
    mod.fit(it, num_epoch=20, optimizer_params={"learning_rate": 0.1}, eval_metric="mse")
    assert mod.score(it, "mse")[0][1] < 0.2
    for wrong, error in ((None, TypeError), (1.5, TypeError), (0, ValueError), (-2, ValueError)):
        with pytest.raises(error, match="update_freq"):
            mx.contrib.svrg_optimization.SVRGModule(mod.symbol, update_freq=wrong)
