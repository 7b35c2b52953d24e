# SPDX-License-Identifier: Apache-2.0
"""Metrics; the expected numbers are those of MXNet 1.9.1 for the same seeded inputs."""
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

import mxnet as mx
from mxnet import metric


@pytest.fixture(scope="module")
def classes():
    rng = np.random.RandomState(0)
    probabilities = rng.rand(6, 4).astype("float32")
    probabilities /= probabilities.sum(1, keepdims=True)
    labels = np.array([0, 1, 2, 3, 1, 0], "float32")
    binary = rng.rand(6, 2).astype("float32")
    binary_labels = np.array([0, 1, 1, 0, 1, 0], "float32")
    return labels, probabilities, binary_labels, binary


@pytest.mark.parametrize("make, name, value, count", [
    (lambda: metric.Accuracy(), "accuracy", 1 / 6, 6),
    (lambda: metric.TopKAccuracy(2), "top_k_accuracy_2", 4 / 6, 6),
    (lambda: metric.CrossEntropy(), "cross-entropy", 1.5293518702189128, 6),
    (lambda: metric.NegativeLogLikelihood(), "nll-loss", 1.5293518702189128, 6),
    (lambda: metric.Perplexity(None), "perplexity", 4.615183880577495, 6),
    (lambda: metric.Perplexity(1), "perplexity", 5.425045089306636, 4),
])
def test_classification(classes, make, name, value, count):
    labels, probabilities, _, _ = classes
    measured = make()
    assert math.isnan(measured.get()[1])
    measured.update([mx.nd.array(labels)], [mx.nd.array(probabilities)])
    assert measured.get()[0] == name
    assert_allclose(measured.get()[1], value, rtol=1e-6)
    assert_allclose(measured.get_global()[1], value, rtol=1e-6)
    assert measured.num_inst == count
    measured.update([labels], [probabilities])  # NumPy arrays do as well
    measured.reset_local()
    assert math.isnan(measured.get()[1])
    assert_allclose(measured.get_global()[1], value, rtol=1e-6)
    measured.reset()
    assert math.isnan(measured.get_global()[1])


@pytest.mark.parametrize("make, value", [
    (lambda: metric.F1(), 0.5), (lambda: metric.F1(average="micro"), 0.5), (lambda: metric.MCC(), -0.4472135954999579),
    (lambda: metric.MCC(average="micro"), -0.4472135954999579), (lambda: metric.PCC(), -0.4472135954999579),
    (lambda: metric.Accuracy(), 1 / 3),
])
def test_binary(classes, make, value):
    _, _, labels, scores = classes
    measured = make()
    measured.update([mx.nd.array(labels)], [mx.nd.array(scores)])
    assert_allclose(measured.get()[1], value, rtol=1e-9)


def test_f1_averages_over_batches_or_samples(classes):
    _, _, labels, scores = classes
    macro = metric.F1()
    macro.update([labels], [scores])
    macro.update([labels], [scores[::-1]])
    assert_allclose(macro.get()[1], 0.625)
    with pytest.raises(ValueError, match="binary"):
        metric.F1().update([np.arange(3)], [np.ones((3, 2))])


@pytest.mark.parametrize("make, value", [
    (lambda: metric.MAE(), 0.2790927588939667), (lambda: metric.MSE(), 0.10949945449829102),
    (lambda: metric.RMSE(), 0.33090701699256897), (lambda: metric.PearsonCorrelation(), 0.3390996215039042),
    (lambda: metric.PearsonCorrelation(average="micro"), 0.3390996215039043),
    (lambda: metric.Loss(), 0.3840964370303684), (lambda: metric.Torch(), 0.3840964370303684),
])
def test_regression(make, value):
    rng = np.random.RandomState(0)
    rng.rand(6, 4), rng.rand(6, 2)
    labels, preds = rng.rand(6, 3).astype("float32"), rng.rand(6, 3).astype("float32")
    measured = make()
    measured.update([mx.nd.array(labels)], [mx.nd.array(preds)])
    assert_allclose(measured.get()[1], value, rtol=2e-6)


def test_rmse_is_a_mean_over_batches():
    measured = metric.RMSE()
    measured.update([np.zeros(3)], [np.ones(3)])
    measured.update([np.zeros(3)], [np.zeros(3)])
    assert measured.get() == ("rmse", 0.5)


def test_micro_correlation_over_batches():
    rng = np.random.RandomState(1)
    x, y = rng.rand(20), rng.rand(20)
    measured = metric.PearsonCorrelation(average="micro")
    for part in np.split(np.arange(20), [3, 11]):
        measured.update([x[part]], [y[part]])
    assert_allclose(measured.get()[1], np.corrcoef(x, y)[0, 1])


def test_create_and_config():
    assert isinstance(metric.create("acc"), metric.Accuracy)
    assert metric.create("top_k_acc", top_k=3).get()[0] == "top_k_accuracy_3"
    assert metric.create(lambda label, pred: 1.0).get()[0] == "custom(<lambda>)"
    assert isinstance(metric.create(["acc", "ce"]), metric.CompositeEvalMetric)
    assert metric.Accuracy().get_config() == {"axis": 1, "metric": "Accuracy", "name": "accuracy", "output_names": None,
                                              "label_names": None}
    for bad in ("nope", 5):
        with pytest.raises(AssertionError):
            metric.create(bad)
    with pytest.raises(AssertionError):
        metric.TopKAccuracy()
    with pytest.raises(NotImplementedError):
        metric.np(np.dot).get_config()


def test_composite(classes):
    labels, probabilities, _, _ = classes
    composite = metric.CompositeEvalMetric(["acc"])
    composite.add("ce")
    composite.add(metric.CompositeEvalMetric([metric.Loss()]))
    composite.update([labels], [probabilities])
    names, values = composite.get()
    assert names == ["accuracy", "cross-entropy", "loss"]
    assert_allclose(values, [1 / 6, 1.5293518702189128, 0.25], rtol=1e-6)
    assert dict(composite.get_name_value())["loss"] == values[2]
    with pytest.raises(IndexError):
        composite.get_metric(9)


def test_update_dict(classes):
    labels, probabilities, _, _ = classes
    measured = metric.Accuracy(output_names=["o"], label_names=["l"])
    measured.update_dict({"l": labels, "z": 1}, {"o": probabilities, "y": 2})
    assert_allclose(measured.get()[1], 1 / 6)
    with pytest.raises(KeyError):
        measured.update_dict({"z": labels}, {"o": probabilities})


def test_custom_metric_may_return_sum_and_count():
    measured = metric.CustomMetric(lambda label, pred: (6.0, 4), name="q")
    measured.update([np.ones(2)], [np.ones(2)])
    assert measured.get() == ("q", 1.5)
    with pytest.raises(ValueError):
        measured.update([np.ones(2)], [np.ones(2), np.ones(2)])


def test_shapes_that_do_not_fit(classes):
    labels, probabilities, _, _ = classes
    for measured, error in ((metric.Accuracy(), ValueError), (metric.TopKAccuracy(2), ValueError),
                            (metric.CrossEntropy(), AssertionError), (metric.Perplexity(None), AssertionError)):
        with pytest.raises(error):
            measured.update([labels[:2]], [probabilities])
