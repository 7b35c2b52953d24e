# SPDX-License-Identifier: Apache-2.0
"""Cells of mx.rnn, sentences, checkpoints."""
import numpy as np
import pytest

import mxnet as mx
from mxnet import nd
from mxnet.rnn import (
    BidirectionalCell,
    BucketSentenceIter,
    ConvLSTMCell,
    ConvRNNCell,
    DropoutCell,
    FusedRNNCell,
    LSTMCell,
    ResidualCell,
    RNNCell,
    SequentialRNNCell,
    ZoneoutCell,
)


def bound(cell, shape=(2, 3, 4), length=3, **kwargs):
    outputs, _ = cell.unroll(length, inputs=mx.sym.Variable("data"), merge_outputs=True, **kwargs)
    return outputs.simple_bind(mx.cpu(), data=shape)


@pytest.mark.parametrize("mode", ["rnn_relu", "rnn_tanh", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layout", ["NTC", "TNC"])
def test_fused_is_unfused(mode, bidirectional, layout):
    fused = FusedRNNCell(3, num_layers=2, mode=mode, bidirectional=bidirectional, prefix="f_")
    plain = fused.unfuse()
    shape = (2, 3, 4) if layout == "NTC" else (3, 2, 4)
    left, right = bound(fused, shape, layout=layout), bound(plain, shape, layout=layout)
    rng = np.random.RandomState(0)
    for array in left.arg_dict.values():
        array[:] = rng.uniform(-1, 1, array.shape)
    weights = {"f_parameters": left.arg_dict["f_parameters"]}
    unpacked = fused.unpack_weights(weights)
    right.copy_params_from({"data": left.arg_dict["data"], **plain.pack_weights(unpacked)})
    heads = nd.array(rng.uniform(-1, 1, left.outputs[0].shape))
    for executor in (left, right):
        executor.forward(is_train=True)
        executor.backward(heads)
    np.testing.assert_allclose(left.outputs[0].asnumpy(), right.outputs[0].asnumpy(), 1e-4, 1e-5)
    grads = {name: grad for name, grad in right.grad_dict.items() if name != "data"}
    expected = fused.pack_weights(plain.unpack_weights(grads))["f_parameters"]
    np.testing.assert_allclose(left.grad_dict["f_parameters"].asnumpy(), expected.asnumpy(), 1e-4, 1e-5)
    assert (fused.pack_weights(unpacked)["f_parameters"].asnumpy() == weights["f_parameters"].asnumpy()).all()
    np.testing.assert_allclose(left.grad_dict["data"].asnumpy(), right.grad_dict["data"].asnumpy(), 1e-4, 1e-5)


def test_shared_parameters_and_reset():
    first = LSTMCell(3, prefix="a_")
    second = LSTMCell(3, prefix="b_", params=first.params)
    out, _ = second.unroll(2, [mx.sym.var("x0"), mx.sym.var("x1")])
    assert [name for name in out[1].list_arguments() if "weight" in name] == ["a_i2h_weight", "a_h2h_weight"]
    names = [first.unroll(2, [mx.sym.var("x0"), mx.sym.var("x1")])[0][1].name for _ in range(2)]
    assert names == ["a_t1_out"] * 2
    states = first.begin_state(func=mx.sym.Variable)
    assert [state.name for state in states] == ["a_begin_state_2", "a_begin_state_3"]


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("train", [False, True])
def test_begin_states_find_their_batch(watched, train):
    executor = bound(RNNCell(3))
    names = []
    if watched:
        executor.set_monitor_callback(lambda name, array: names.append((name, array.shape)))
    assert executor.forward(is_train=train)[0].shape == (2, 3, 3)
    assert not watched or ("rnn_begin_state_0_output", (2, 3)) in names


def test_modifiers():
    cell = ZoneoutCell(RNNCell(3), zoneout_outputs=0.5, zoneout_states=0.5)
    executor = bound(cell)
    for array in executor.arg_dict.values():
        array[:] = 1
    test = executor.forward(is_train=False)[0].asnumpy()
    plain = bound(RNNCell(3))
    plain.copy_params_from(executor.arg_dict)
    np.testing.assert_allclose(test, plain.forward()[0].asnumpy(), 1e-6)
    train = executor.forward(is_train=True)[0].asnumpy()
    assert (train[:, 0] == 0).any() and not (train == 0).all()
    with pytest.raises(AssertionError, match="modifier"):
        cell.base_cell.begin_state()
    residual = ResidualCell(RNNCell(4))
    left, right = bound(residual), bound(RNNCell(4))
    for array in left.arg_dict.values():
        array[:] = 0.1
    right.copy_params_from(left.arg_dict)
    np.testing.assert_allclose(left.forward()[0].asnumpy(), right.forward()[0].asnumpy() + 0.1, 1e-6)
    dropped = bound(DropoutCell(0.5))
    dropped.arg_dict["data"][:] = 1
    assert set(np.unique(dropped.forward(is_train=True)[0].asnumpy())) == {0, 2}


def test_zoneout_of_images():
    cell = ZoneoutCell(ConvRNNCell((1, 2, 4, 4), 3), zoneout_outputs=0.5, zoneout_states=0.5)
    steps = [mx.sym.var("a"), mx.sym.var("b")]
    outputs = mx.sym.Group(cell.unroll(2, steps, layout="NTCHW")[0])
    executor = outputs.simple_bind(mx.cpu(), a=(5, 2, 4, 4), b=(5, 2, 4, 4))
    for array in executor.arg_arrays:
        array[:] = 1
    first, second = executor.forward(is_train=True)
    assert first.shape == second.shape == (5, 3, 4, 4)
    first, second = first.asnumpy(), second.asnumpy()
    assert (first == 0).any() and (first != 0).any() and (second == first).any() and (second != first).any()


def test_first_states_below_modifiers():
    stack = SequentialRNNCell()
    stack.add(ZoneoutCell(LSTMCell(3), 0.1, 0.1))
    stack.add(ResidualCell(RNNCell(3)))
    names = ["lstm_begin_state_0", "lstm_begin_state_1", "rnn_begin_state_0"]
    assert [state.name for state in stack.begin_state(func=mx.sym.Variable)] == names
    assert [s.name for s in ZoneoutCell(LSTMCell(3)).begin_state(init_sym=mx.sym.Variable)] == names[:2]


def test_refusals():
    for wrong in (FusedRNNCell(3), BidirectionalCell(RNNCell(3, prefix="l_"), RNNCell(3, prefix="r_"))):
        with pytest.raises(AssertionError, match="zoneout"):
            ZoneoutCell(wrong)
        with pytest.raises(NotImplementedError, match="unroll"):
            wrong(mx.sym.var("x"), wrong.begin_state())
    with pytest.raises(AssertionError, match="2 inputs for 3 steps"):
        RNNCell(3).unroll(3, [mx.sym.var("x0"), mx.sym.var("x1")])
    with pytest.raises(AssertionError, match="layout"):
        RNNCell(3).unroll(3, mx.sym.var("x"), layout="NC")
    with pytest.raises(AssertionError, match="inputs are missing"):
        RNNCell(3).unroll(3, None)
    with pytest.raises(AssertionError, match="odd"):
        ConvLSTMCell(input_shape=(1, 2, 5, 5), num_hidden=3, h2h_kernel=(2, 2))
    with pytest.raises(AssertionError, match="does not fit"):
        FusedRNNCell(3).unpack_weights({"lstm_parameters": nd.zeros((100,))})
    with pytest.raises(AssertionError, match="not both"):
        cell = RNNCell(3)
        cell.params  # noqa: B018
        SequentialRNNCell(params=mx.rnn.RNNParams("p_")).add(cell)


def test_sentences():
    coded, vocab = mx.rnn.encode_sentences([["a", "b"], ["b", "c", "a"]], invalid_label=0, start_label=0)
    assert coded == [[1, 2], [2, 3, 1]] and vocab == {"\n": 0, "a": 1, "b": 2, "c": 3}
    with pytest.raises(AssertionError, match="Unknown token z"):
        mx.rnn.encode_sentences([["z"]], vocab=vocab)
    data = [[i] * (1 + i % 3) for i in range(1, 31)]
    batches = BucketSentenceIter(data, 5, invalid_label=0)
    assert batches.buckets == [1, 2, 3] and batches.default_bucket_key == 3
    seen = list(batches)
    assert len(seen) == 6 and {batch.bucket_key for batch in seen} == {1, 2, 3}
    for batch in seen:
        rows, label = batch.data[0].asnumpy(), batch.label[0].asnumpy()
        assert rows.shape == (5, batch.bucket_key) == batch.provide_data[0].shape
        assert (label[:, :-1] == rows[:, 1:]).all() and (label[:, -1] == 0).all()
    with pytest.raises(ValueError, match="layout"):
        BucketSentenceIter(data, 5, layout="XT")
    with pytest.raises(ValueError, match="buckets"):
        BucketSentenceIter(data, 50)


def test_language_model_with_buckets(tmp_path):
    rng = np.random.RandomState(0)
    sentences = [[1 + (start + i) % 6 for i in range(length)]
                 for start, length in zip(rng.randint(0, 6, 80), rng.choice([4, 6], 80))]
    np.random.seed(0), mx.random.seed(0)
    data = BucketSentenceIter(sentences, 8, buckets=[4, 6], invalid_label=0)
    stack = SequentialRNNCell()
    stack.add(LSTMCell(16, prefix="l0_"))

    def sym_gen(length):
        embed = mx.sym.Embedding(mx.sym.var("data"), input_dim=8, output_dim=8, name="embed")
        outputs, _ = stack.unroll(length, inputs=embed, merge_outputs=True)
        scores = mx.sym.FullyConnected(mx.sym.reshape(outputs, shape=(-1, 16)), num_hidden=8, name="pred")
        label = mx.sym.reshape(mx.sym.var("softmax_label"), shape=(-1,))
        return mx.sym.SoftmaxOutput(scores, label, name="softmax", use_ignore=True, ignore_label=0), ("data",), (
            "softmax_label",)

    model = mx.mod.BucketingModule(sym_gen, default_bucket_key=data.default_bucket_key)
    prefix = str(tmp_path / "lm")
    model.fit(data, eval_metric=mx.metric.Perplexity(0), num_epoch=8, optimizer="adam",
              optimizer_params={"learning_rate": 0.03}, initializer=mx.init.Xavier(),
              epoch_end_callback=mx.rnn.do_rnn_checkpoint(stack, prefix, 8))
    data.reset()
    assert model.score(data, mx.metric.Perplexity(0))[0][1] < 1.6
    _, args, _ = mx.rnn.load_rnn_checkpoint(stack, prefix, 8)
    assert (args["l0_i2h_weight"].asnumpy() == model.get_params()[0]["l0_i2h_weight"].asnumpy()).all()
