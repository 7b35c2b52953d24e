# SPDX-License-Identifier: Apache-2.0
"""Losses against NumPy, eager and compiled."""
import numpy as np
import pytest
from numpy.testing import assert_allclose

from mxnet import autograd, gluon, nd, sym

RNG = np.random.RandomState(3)
PRED = RNG.uniform(-2, 2, (4, 3)).astype("float32")
TARGET = RNG.uniform(-2, 2, (4, 3)).astype("float32")
BINARY = RNG.randint(0, 2, (4, 3)).astype("float32")
SIGNED = 2 * BINARY - 1
COUNTS = RNG.randint(0, 6, (4, 3)).astype("float32")
CLASSES = np.array([0, 2, 1, 1], "float32")
LOG_SOFTMAX = PRED - np.log(np.exp(PRED).sum(1, keepdims=True))
SOFT = np.exp(TARGET) / np.exp(TARGET).sum(1, keepdims=True)
SIGMOID = 1 / (1 + np.exp(-PRED))
ERROR = np.abs(PRED - TARGET)
CROSS_ENTROPY = -(BINARY * np.log(SIGMOID) + (1 - BINARY) * np.log(1 - SIGMOID))


@pytest.mark.parametrize("loss, inputs, expected", [
    (gluon.loss.L2Loss(), (PRED, TARGET), (ERROR ** 2 / 2).mean(1)),
    (gluon.loss.L2Loss(weight=3.0), (PRED, TARGET.reshape(2, 6)), 3 * (np.square(PRED - TARGET) / 2).mean(1)),
    (gluon.loss.L1Loss(), (PRED, TARGET), ERROR.mean(1)),
    (gluon.loss.SoftmaxCELoss(), (PRED, CLASSES), -LOG_SOFTMAX[np.arange(4), CLASSES.astype(int)]),
    (gluon.loss.SoftmaxCELoss(sparse_label=False), (PRED, SOFT), -(LOG_SOFTMAX * SOFT).sum(1)),
    (gluon.loss.SoftmaxCELoss(from_logits=True), (LOG_SOFTMAX, CLASSES),
     -LOG_SOFTMAX[np.arange(4), CLASSES.astype(int)]),
    (gluon.loss.SigmoidBCELoss(), (PRED, BINARY), CROSS_ENTROPY.mean(1)),
    (gluon.loss.SigmoidBCELoss(from_sigmoid=True), (SIGMOID, BINARY), CROSS_ENTROPY.mean(1)),
    (gluon.loss.KLDivLoss(), (LOG_SOFTMAX, SOFT), (SOFT * (np.log(SOFT) - LOG_SOFTMAX)).sum(1)),
    (gluon.loss.KLDivLoss(from_logits=False), (PRED, SOFT), (SOFT * (np.log(SOFT) - LOG_SOFTMAX)).sum(1)),
    (gluon.loss.HuberLoss(), (PRED, TARGET), np.where(ERROR > 1, ERROR - 0.5, ERROR ** 2 / 2).mean(1)),
    (gluon.loss.HingeLoss(), (PRED, SIGNED), np.maximum(0, 1 - PRED * SIGNED).mean(1)),
    (gluon.loss.SquaredHingeLoss(), (PRED, SIGNED), (np.maximum(0, 1 - PRED * SIGNED) ** 2).mean(1)),
    (gluon.loss.LogisticLoss(), (PRED, SIGNED), np.log1p(np.exp(-PRED * SIGNED)).mean(1)),
    (gluon.loss.LogisticLoss(label_format="binary"), (PRED, BINARY), np.log1p(np.exp(-PRED * SIGNED)).mean(1)),
    (gluon.loss.PoissonNLLLoss(), (PRED, COUNTS), (np.exp(PRED) - COUNTS * PRED).mean()),
    (gluon.loss.TripletLoss(), (PRED, TARGET, BINARY),
     np.maximum(0, 1 + (np.square(TARGET - PRED) - np.square(BINARY - PRED)).sum(1))),
])
def test_values(loss, inputs, expected):
    arrays = [nd.array(value) for value in inputs]
    for compiled in (False, True):
        loss.hybridize(compiled)
        assert_allclose(loss(*arrays).asnumpy().reshape(np.shape(expected)), expected, rtol=1e-4, atol=1e-5)


def test_poisson_full():
    stirling = COUNTS * np.log(np.maximum(COUNTS, 1)) - COUNTS + 0.5 * np.log(2 * np.pi * np.maximum(COUNTS, 1))
    expected = (np.exp(PRED) - COUNTS * PRED + np.where(COUNTS > 1, stirling, 0)).mean()
    loss = gluon.loss.PoissonNLLLoss(compute_full=True)(nd.array(PRED), nd.array(COUNTS))
    assert_allclose(loss.asscalar(), expected, rtol=1e-5)


def test_cosine_embedding():
    x, y = nd.array([[1, 0], [1, 1]]), nd.array([[1, 0], [-1, 1]])
    assert_allclose(gluon.loss.CosineEmbeddingLoss()(x, y, nd.array([1, 1])).asnumpy().ravel(), [0, 1], atol=1e-6)
    assert_allclose(gluon.loss.CosineEmbeddingLoss(margin=0.2)(x, y, nd.array([-1, -1])).asnumpy().ravel(), [0.8, 0],
                    atol=1e-6)


def test_sample_weights():
    weights = np.array([[1], [0], [2], [0.5]], "float32")
    loss = gluon.loss.L1Loss()(nd.array(PRED), nd.array(TARGET), nd.array(weights))
    assert_allclose(loss.asnumpy(), (ERROR * weights).mean(1), rtol=1e-5)
    positive = gluon.loss.SigmoidBCELoss()(nd.array(PRED), nd.array(BINARY), None,
                                           nd.array([2.0, 2.0, 2.0]).reshape((1, 3)))
    assert_allclose(positive.asnumpy(), (CROSS_ENTROPY * (1 + BINARY)).mean(1), rtol=1e-4)


def test_softmax_gradient():
    pred = nd.array(PRED)
    pred.attach_grad()
    with autograd.record():
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(pred, nd.array(CLASSES))
    loss.backward()
    assert_allclose(pred.grad.asnumpy(), np.exp(LOG_SOFTMAX) - np.eye(3)[CLASSES.astype(int)], rtol=1e-4, atol=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match="label_format"):
        gluon.loss.LogisticLoss(label_format="z")
    with pytest.raises(AssertionError, match="layouts"):
        gluon.loss.CTCLoss("x")
    with pytest.raises(AssertionError, match="weight"):
        gluon.loss.L1Loss(weight="a")(nd.array(PRED), nd.array(TARGET))
    assert repr(gluon.loss.L2Loss()) == "L2Loss(batch_axis=0, w=1.0)"


@pytest.mark.parametrize("shape,axis", [((6, 11), -1), ((6, 11), 1), ((2, 3, 7), -1), ((2, 5, 3), 1)])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_pick_of_log_softmax(shape, axis, weighted):
    """Eager, compiled and as two operators."""
    rng = np.random.RandomState(4)
    pred = nd.array(rng.standard_normal(shape))
    labels = [n for d, n in enumerate(shape) if d != axis % len(shape)]
    label = nd.array(rng.randint(0, shape[axis], labels))
    sample_weight = [nd.array(rng.uniform(size=(shape[0], *(1,) * (len(shape) - 1))))] if weighted else []
    pred.attach_grad()

    def two_operators(pred, label, weight=None):
        loss = -nd.pick(nd.log_softmax(pred, axis=axis), label, axis=axis, keepdims=True)
        loss = loss if weight is None else nd.broadcast_mul(loss, weight)
        return nd.mean(loss, axis=0, exclude=True)

    block = gluon.loss.SoftmaxCrossEntropyLoss(axis=axis)
    compiled = gluon.loss.SoftmaxCrossEntropyLoss(axis=axis)
    compiled.hybridize()
    results = []
    for run in (two_operators, block, compiled):
        with autograd.record():
            loss = run(pred, label, *sample_weight)
        loss.backward()
        results.append((loss.asnumpy(), pred.grad.asnumpy()))
    for loss, gradient in results[1:]:
        np.testing.assert_allclose(loss, results[0][0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-5, atol=1e-6)


def test_log_softmax_that_others_read_too():
    x, label = sym.var("x"), sym.var("label")
    logs = sym.log_softmax(x)
    net = gluon.SymbolBlock([sym.pick(logs, label), sym.sum(logs, axis=1)], [x, label])
    data, index = nd.array([[1.0, 2.0, 3.0]]), nd.array([1.0])
    data.attach_grad()
    with autograd.record():
        picked, total = net(data, index)
        out = picked + 2 * total
    out.backward()
    want = np.log(np.exp([1.0, 2.0, 3.0]) / np.exp([1.0, 2.0, 3.0]).sum())
    np.testing.assert_allclose(picked.asnumpy(), want[1:2], rtol=1e-6)
    np.testing.assert_allclose(total.asnumpy(), [want.sum()], rtol=1e-6)
    np.testing.assert_allclose(data.grad.asnumpy(), [[2, 3, 2] - 7 * np.exp(want)], rtol=1e-5)
