# SPDX-License-Identifier: Apache-2.0
"""Measures of how well predictions fit labels, accumulated over batches.

`update(labels, preds)` takes lists of arrays (or one array each). Every metric keeps two running sums: the local one,
that `reset_local` clears (progress since the last report), and the global one, that only `reset` clears (the whole
epoch).
"""
from __future__ import annotations

import math

import numpy

__all__ = ["Accuracy", "Caffe", "CompositeEvalMetric", "CrossEntropy", "CustomMetric", "EvalMetric", "F1", "Loss",
           "MAE",
           "MCC", "MSE", "NegativeLogLikelihood", "PCC", "PearsonCorrelation", "Perplexity", "RMSE", "TopKAccuracy",
           "Torch", "check_label_shapes", "create", "np"]

_registry = {}


def register(klass, name=None):
    """Make a metric class known to `create` under its lower-case class name (or `name`); usable as a decorator."""
    _registry[(name or klass.__name__).lower()] = klass
    return klass


def alias(*aliases):
    """A decorator that makes a metric class known to `create` under more names."""

    def add(klass):
        for name in aliases:
            register(klass, name)
        return klass

    return add


def create(metric, *args, **kwargs):
    """A metric from its name, from a function of (label, pred) arrays, from a list of these, or the metric itself.

    An unknown name raises AssertionError.
    """
    if isinstance(metric, EvalMetric):
        return metric
    if isinstance(metric, list):
        composite = CompositeEvalMetric()
        for child in metric:
            composite.add(create(child, *args, **kwargs))
        return composite
    if callable(metric):
        return CustomMetric(metric, *args, **kwargs)
    if not isinstance(metric, str):
        raise AssertionError(f"metric must be a name, a function, a list or an EvalMetric, got {type(metric).__name__}")
    if metric.lower() not in _registry:
        raise AssertionError(f"{metric} is not registered. Please register with metric.register first")
    return _registry[metric.lower()](*args, **kwargs)


def check_label_shapes(labels, preds, wrap=False, shape=False):
    """Raise ValueError unless labels and predictions agree in number (in shape with `shape=True`).

    Returns both; with `wrap=True` single arrays come back in lists.
    """
    if shape:
        label_shape, pred_shape = labels.shape, preds.shape
    else:
        label_shape, pred_shape = len(labels), len(preds)
    if label_shape != pred_shape:
        raise ValueError(f"Shape of labels {label_shape} does not match shape of predictions {pred_shape}")
    if wrap:
        labels = labels if isinstance(labels, (list, tuple)) else [labels]
        preds = preds if isinstance(preds, (list, tuple)) else [preds]
    return labels, preds


def _numpy(array):
    """The array's values as NumPy's; NumPy arrays and sequences are accepted as they are."""
    return array.asnumpy() if hasattr(array, "asnumpy") else numpy.asarray(array)


def _pairs(labels, preds):
    """Checked pairs of NumPy arrays."""
    labels, preds = check_label_shapes(labels, preds, wrap=True)
    if len(labels) != len(preds):
        raise ValueError(f"got {len(labels)} label arrays for {len(preds)} prediction arrays")
    for label, pred in zip(labels, preds):
        yield _numpy(label), _numpy(pred)


class EvalMetric:
    """Base of all metrics: a sum over samples, divided by their number.

    Parameters
    ----------
    name : str
        What `get` reports it as.
    output_names, label_names : list of str, optional
        Which entries `update_dict` takes, all by default.
    **kwargs
        Kept for `get_config`.
    """

    def __init__(self, name, output_names=None, label_names=None, **kwargs):
        self.name = str(name)
        self.output_names = output_names
        self.label_names = label_names
        self._has_global_stats = kwargs.pop("has_global_stats", True)
        self._kwargs = kwargs
        self.reset()

    def __str__(self):
        return f"EvalMetric: {dict(self.get_name_value())}"

    def get_config(self):
        """A dict from which the metric can be made again: the constructor's arguments and the class name."""
        return {**self._kwargs, "metric": type(self).__name__, "name": self.name,
                "output_names": self.output_names, "label_names": self.label_names}

    def update_dict(self, label, pred):
        """Update from dicts of named arrays; KeyError if one of `output_names` or `label_names` is missing."""
        preds = list(pred.values()) if self.output_names is None else [pred[name] for name in self.output_names]
        labels = list(label.values()) if self.label_names is None else [label[name] for name in self.label_names]
        self.update(labels, preds)

    def update(self, labels, preds):
        """Take the labels and predictions of one batch into account."""
        raise NotImplementedError(f"{type(self).__name__} must implement update(labels, preds)")

    def reset(self):
        """Forget everything."""
        self.num_inst = 0
        self.sum_metric = 0.0
        self.global_num_inst = 0
        self.global_sum_metric = 0.0

    def reset_local(self):
        """Forget the local sum; the global one goes on."""
        self.num_inst = 0
        self.sum_metric = 0.0

    def _add(self, total, count):
        """Add to the local and the global sum, which are Python's or of double precision."""
        total = total if isinstance(total, int) else float(total)
        self.sum_metric += total
        self.num_inst += count
        self.global_sum_metric += total
        self.global_num_inst += count

    def _value(self, total, count):
        """The metric's value for a sum over `count` samples (a subclass may transform the mean)."""
        return total / count

    def get(self):
        """(name, value) since the last reset of any kind; nan before the first update."""
        if self.num_inst == 0:
            return self.name, float("nan")
        return self.name, self._value(self.sum_metric, self.num_inst)

    def get_global(self):
        """(name, value) since the last full `reset`."""
        if not self._has_global_stats:
            return self.get()
        if self.global_num_inst == 0:
            return self.name, float("nan")
        return self.name, self._value(self.global_sum_metric, self.global_num_inst)

    def get_name_value(self):
        """The local values as a list of (name, value)."""
        return _name_value(*self.get())

    def get_global_name_value(self):
        """The global values as a list of (name, value)."""
        return _name_value(*(self.get_global() if self._has_global_stats else self.get()))


def _name_value(name, value):
    names = name if isinstance(name, list) else [name]
    values = value if isinstance(value, list) else [value]
    return list(zip(names, values))


@register
@alias("composite")
class CompositeEvalMetric(EvalMetric):
    """Several metrics updated together; `get` returns lists of names and values."""

    def __init__(self, metrics=None, name="composite", output_names=None, label_names=None):
        self.metrics = [create(metric) for metric in metrics or []]
        super().__init__(name, output_names=output_names, label_names=label_names)

    def add(self, metric):
        """Add a metric, in any form that `create` accepts."""
        self.metrics.append(create(metric))

    def get_metric(self, index):
        """The metric at `index`; IndexError if there are fewer."""
        if not -len(self.metrics) <= index < len(self.metrics):
            raise IndexError(f"metric index {index} is out of range: there are {len(self.metrics)} metrics")
        return self.metrics[index]

    def update_dict(self, labels, preds):
        if self.label_names is not None:
            labels = {name: labels[name] for name in labels if name in self.label_names}
        if self.output_names is not None:
            preds = {name: preds[name] for name in preds if name in self.output_names}
        for metric in self.metrics:
            metric.update_dict(labels, preds)

    def update(self, labels, preds):
        for metric in self.metrics:
            metric.update(labels, preds)

    def reset(self):
        for metric in self.metrics:
            metric.reset()

    def reset_local(self):
        for metric in self.metrics:
            metric.reset_local()

    @staticmethod
    def _flat(pairs):
        names, values = [], []
        for name, value in pairs:
            names += name if isinstance(name, list) else [name]
            values += value if isinstance(value, list) else [value]
        return names, values

    def get(self):
        return self._flat(metric.get() for metric in self.metrics)

    def get_global(self):
        return self._flat(metric.get_global() for metric in self.metrics)

    def get_config(self):
        return {**super().get_config(), "metrics": [metric.get_config() for metric in self.metrics]}


@register
@alias("acc")
class Accuracy(EvalMetric):
    """The fraction of correct classes. Predictions are class scores along `axis`, or the classes themselves."""

    def __init__(self, axis=1, name="accuracy", output_names=None, label_names=None):
        super().__init__(name, axis=axis, output_names=output_names, label_names=label_names)
        self.axis = axis

    def update(self, labels, preds):
        for label, pred in _pairs(labels, preds):
            if pred.shape != label.shape:
                pred = numpy.argmax(pred, axis=self.axis)
            label = label.astype("int32").ravel()
            pred = pred.astype("int32").ravel()
            check_label_shapes(label, pred)
            self._add(int((pred == label).sum()), len(pred))


@register
@alias("top_k_accuracy", "top_k_acc")
class TopKAccuracy(EvalMetric):
    """The fraction of samples whose class is among the `top_k` (more than 1) best scores; predictions are (n,
    classes).
    """

    def __init__(self, top_k=1, name="top_k_accuracy", output_names=None, label_names=None):
        super().__init__(name, top_k=top_k, output_names=output_names, label_names=label_names)
        self.top_k = top_k
        if top_k <= 1:
            raise AssertionError("Please use Accuracy if top_k is no more than 1")
        self.name += f"_{top_k}"

    def update(self, labels, preds):
        for label, pred in _pairs(labels, preds):
            if pred.ndim > 2:
                raise AssertionError(f"TopKAccuracy: predictions must have at most 2 dimensions, got shape "
                                     f"{pred.shape}")
            label = label.astype("int32").ravel()
            check_label_shapes(label, pred)
            if pred.ndim == 1:
                correct = (pred.astype("int32") == label).sum()
            else:
                top_k = min(self.top_k, pred.shape[1])
                best = numpy.argpartition(pred.astype("float32"), -top_k, axis=1)[:, -top_k:]
                correct = (best == label[:, None]).sum()
            self._add(int(correct), len(label))


class _BinaryCounts:
    """True and false positives and negatives of a two-class problem."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.true_positives = self.true_negatives = self.false_positives = self.false_negatives = 0

    def add(self, label, pred, owner):
        """Count a batch: `label` of 0 and 1, `pred` of (n, 2) scores; ValueError for more than two classes."""
        best = numpy.argmax(pred, axis=1)
        label = label.astype("int32").ravel()
        check_label_shapes(label, best)
        if len(numpy.unique(label)) > 2:
            raise ValueError(f"{owner} currently only supports binary classification, "
                             f"got labels {numpy.unique(label).tolist()}")
        said, is_so = best == 1, label == 1
        self.true_positives += int((said & is_so).sum())
        self.false_positives += int((said & ~is_so).sum())
        self.false_negatives += int((~said & is_so).sum())
        self.true_negatives += int((~said & ~is_so).sum())

    @property
    def total(self):
        return self.true_positives + self.true_negatives + self.false_positives + self.false_negatives

    @property
    def precision(self):
        said = self.true_positives + self.false_positives
        return self.true_positives / said if said else 0.0

    @property
    def recall(self):
        are = self.true_positives + self.false_negatives
        return self.true_positives / are if are else 0.0

    @property
    def fscore(self):
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    @property
    def matthewscc(self):
        if not self.total:
            return 0.0
        terms = (self.true_positives + self.false_positives, self.true_positives + self.false_negatives,
                 self.true_negatives + self.false_positives, self.true_negatives + self.false_negatives)
        denominator = math.prod(term for term in terms if term)
        difference = self.true_positives * self.true_negatives - self.false_positives * self.false_negatives
        return difference / math.sqrt(denominator)


class _BinaryMetric(EvalMetric):
    """A score of the confusion counts: averaged over batches ('macro') or of all samples together ('micro')."""

    def __init__(self, name, output_names, label_names, average):
        if average not in ("macro", "micro"):
            raise ValueError(f"average must be 'macro' or 'micro', got {average!r}")
        self.average = average
        self._local, self._global = _BinaryCounts(), _BinaryCounts()
        super().__init__(name, output_names=output_names, label_names=label_names)

    @staticmethod
    def _score(counts):
        raise NotImplementedError

    def update(self, labels, preds):
        for label, pred in _pairs(labels, preds):
            self._local.add(label, pred, type(self).__name__)
            self._global.add(label, pred, type(self).__name__)
        if self.average == "macro":
            self._add(self._score(self._local), 1)
            self._local.reset()
            self._global.reset()
        else:
            self.sum_metric = self._score(self._local) * self._local.total
            self.num_inst = self._local.total
            self.global_sum_metric = self._score(self._global) * self._global.total
            self.global_num_inst = self._global.total

    def reset(self):
        super().reset()
        self._local.reset()
        self._global.reset()

    def reset_local(self):
        super().reset_local()
        self._local.reset()


@register
class F1(_BinaryMetric):
    """The harmonic mean of precision and recall of class 1, for two classes; predictions are (n, 2) scores."""

    def __init__(self, name="f1", output_names=None, label_names=None, average="macro"):
        super().__init__(name, output_names, label_names, average)

    @staticmethod
    def _score(counts):
        return counts.fscore


@register
class MCC(_BinaryMetric):
    """Matthews' correlation coefficient, for two classes; predictions are (n, 2) scores."""

    def __init__(self, name="mcc", output_names=None, label_names=None, average="macro"):
        super().__init__(name, output_names, label_names, average)

    @staticmethod
    def _score(counts):
        return counts.matthewscc


@register
class PCC(EvalMetric):
    """Pearson's correlation of discrete labels and predicted classes: Matthews' coefficient for any number of
    classes.
    """

    def __init__(self, name="pcc", output_names=None, label_names=None, has_global_stats=True):
        super().__init__(name, output_names=output_names, label_names=label_names, has_global_stats=has_global_stats)

    def update(self, labels, preds):
        for label, pred in _pairs(labels, preds):
            label = label.astype("int32").ravel()
            if pred.size != label.size:
                pred = numpy.argmax(pred, axis=1)
            pred = pred.astype("int32").ravel()
            classes = int(max(pred.max(), label.max())) + 1
            confusion = numpy.zeros((classes, classes))
            numpy.add.at(confusion, (pred, label), 1)
            self._counts = self._merged(self._counts, confusion)
            self._global_counts = self._merged(self._global_counts, confusion)
        self.num_inst += 1
        self.global_num_inst += 1

    @staticmethod
    def _merged(total, more):
        classes = max(len(total), len(more))
        merged = numpy.zeros((classes, classes))
        merged[:len(total), :len(total)] += total
        merged[:len(more), :len(more)] += more
        return merged

    @staticmethod
    def _correlation(counts):
        n = counts.sum()
        by_pred, by_label = counts.sum(axis=1), counts.sum(axis=0)
        cov_pred = numpy.sum(by_pred * (n - by_pred))
        cov_label = numpy.sum(by_label * (n - by_label))
        if cov_pred == 0 or cov_label == 0:
            return float("nan")
        return numpy.sum(counts.diagonal() * n - by_pred * by_label) / math.sqrt(cov_pred * cov_label)

    # The value is a function of the counts, so the sums of the base class are computed when they are read.
    @property
    def sum_metric(self):
        return self._correlation(self._counts) * self.num_inst

    @sum_metric.setter
    def sum_metric(self, value):
        pass

    @property
    def global_sum_metric(self):
        return self._correlation(self._global_counts) * self.global_num_inst

    @global_sum_metric.setter
    def global_sum_metric(self, value):
        pass

    def reset(self):
        super().reset()
        self._counts = numpy.zeros((0, 0))
        self._global_counts = numpy.zeros((0, 0))

    def reset_local(self):
        super().reset_local()
        self._counts = numpy.zeros((0, 0))


class _RegressionMetric(EvalMetric):
    """A mean over batches of an error of whole arrays; one-dimensional arrays count as columns."""

    def __init__(self, name, output_names, label_names):
        super().__init__(name, output_names=output_names, label_names=label_names)

    @staticmethod
    def _error(difference):
        raise NotImplementedError

    def update(self, labels, preds):
        for label, pred in _pairs(labels, preds):
            label = label.reshape(-1, 1) if label.ndim == 1 else label
            pred = pred.reshape(-1, 1) if pred.ndim == 1 else pred
            self._add(self._error(label - pred), 1)


@register
class MAE(_RegressionMetric):
    """Mean absolute error, averaged over batches."""

    def __init__(self, name="mae", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    @staticmethod
    def _error(difference):
        return numpy.abs(difference).mean()


@register
class MSE(_RegressionMetric):
    """Mean squared error, averaged over batches."""

    def __init__(self, name="mse", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    @staticmethod
    def _error(difference):
        return (difference ** 2.0).mean()


@register
class RMSE(_RegressionMetric):
    """Root of the mean squared error of each batch, averaged over batches."""

    def __init__(self, name="rmse", output_names=None, label_names=None):
        super().__init__(name, output_names, label_names)

    @staticmethod
    def _error(difference):
        return numpy.sqrt((difference ** 2.0).mean())


class _LogLikelihood(EvalMetric):
    """Minus the mean log of the probability given to the true class; predictions are (n, classes) probabilities."""

    def __init__(self, eps, name, output_names, label_names):
        super().__init__(name, eps=eps, output_names=output_names, label_names=label_names)
        self.eps = eps

    def update(self, labels, preds):
        for label, pred in _pairs(labels, preds):
            label = label.ravel()
            if label.shape[0] != pred.shape[0]:
                raise AssertionError(f"{type(self).__name__}: {label.shape[0]} labels for {pred.shape[0]} predictions")
            chosen = pred[numpy.arange(label.shape[0]), label.astype("int64")]
            self._add((-numpy.log(chosen + self.eps)).sum(), label.shape[0])


@register
@alias("ce")
class CrossEntropy(_LogLikelihood):
    """Cross entropy of probabilities (n, classes) against true classes (n); `eps` keeps the log finite."""

    def __init__(self, eps=1e-12, name="cross-entropy", output_names=None, label_names=None):
        super().__init__(eps, name, output_names, label_names)


@register
@alias("nll_loss")
class NegativeLogLikelihood(_LogLikelihood):
    """Negative log-likelihood of the true classes (n) under probabilities (n, classes)."""

    def __init__(self, eps=1e-12, name="nll-loss", output_names=None, label_names=None):
        super().__init__(eps, name, output_names, label_names)


@register
class Perplexity(EvalMetric):
    """exp of the mean negative log-likelihood; predictions are probabilities with the classes along `axis` (the last).

    Labels equal to `ignore_label` are left out (None: none is).
    """

    def __init__(self, ignore_label, axis=-1, name="perplexity", output_names=None, label_names=None):
        super().__init__(name, ignore_label=ignore_label, output_names=output_names, label_names=label_names)
        self.ignore_label = ignore_label
        self.axis = axis

    def update(self, labels, preds):
        if len(labels) != len(preds):
            raise AssertionError(f"Perplexity: got {len(labels)} label arrays for {len(preds)} prediction arrays")
        loss, count = 0.0, 0
        for label, pred in _pairs(labels, preds):
            if label.size != pred.size / pred.shape[self.axis]:
                raise AssertionError(f"shape mismatch: {label.shape} vs. {pred.shape}")
            classes = pred.shape[self.axis]
            index = numpy.clip(label.astype("int64").reshape(-1), 0, classes - 1)
            chosen = numpy.moveaxis(pred, self.axis, -1).reshape(-1, classes)[numpy.arange(label.size), index]
            count += chosen.size
            if self.ignore_label is not None:
                ignored = label.reshape(-1) == self.ignore_label
                chosen = numpy.where(ignored, 1.0, chosen)
                count -= int(ignored.sum())
            loss -= float(numpy.log(numpy.maximum(1e-10, chosen)).sum())
        self._add(loss, count)

    def _value(self, total, count):
        return math.exp(total / count)


@register
@alias("pearsonr")
class PearsonCorrelation(EvalMetric):
    """Pearson's correlation of equally shaped arrays: averaged over batches ('macro') or of all samples ('micro')."""

    def __init__(self, name="pearsonr", output_names=None, label_names=None, average="macro"):
        if average not in ("macro", "micro"):
            raise ValueError(f"average must be 'macro' or 'micro', got {average!r}")
        self.average = average
        super().__init__(name, output_names=output_names, label_names=label_names)
        self.reset_micro()

    def reset_micro(self):
        """Forget the running moments of the 'micro' average."""
        self._count = 0
        self._means = numpy.zeros(2)
        self._moments = numpy.zeros((2, 2))

    def reset(self):
        super().reset()
        self.reset_micro()

    def update(self, labels, preds):
        for label, pred in _pairs(labels, preds):
            check_label_shapes(label, pred, shape=True)
            label, pred = label.ravel().astype("float64"), pred.ravel().astype("float64")
            if self.average == "macro":
                self._add(numpy.corrcoef(pred, label)[0, 1], 1)
            else:
                self._add(0.0, 1)
                self._merge(numpy.stack([label, pred]))

    def _merge(self, values):
        """Merge the means and central moments of a batch into the running ones."""
        count = values.shape[1]
        means = values.mean(axis=1)
        centred = values - means[:, None]
        shift = means - self._means
        total = self._count + count
        self._moments += centred @ centred.T + numpy.outer(shift, shift) * (self._count * count / total)
        self._means += shift * (count / total)
        self._count = total

    def get(self):
        if self.num_inst == 0:
            return self.name, float("nan")
        if self.average == "macro":
            return self.name, self.sum_metric / self.num_inst
        return self.name, self._moments[0, 1] / math.sqrt(self._moments[0, 0] * self._moments[1, 1])

    def get_global(self):
        return super().get_global() if self.average == "macro" else self.get()


@register
class Loss(EvalMetric):
    """The mean of the predictions themselves, for outputs that are losses; labels are ignored."""

    def __init__(self, name="loss", output_names=None, label_names=None):
        super().__init__(name, output_names=output_names, label_names=label_names)

    def update(self, _, preds):
        for pred in preds if isinstance(preds, (list, tuple)) else [preds]:
            pred = _numpy(pred)
            self._add(float(pred.sum()), pred.size)


@register
class Torch(Loss):
    """`Loss` under another name, for criterions of Torch."""

    def __init__(self, name="torch", output_names=None, label_names=None):
        super().__init__(name, output_names=output_names, label_names=label_names)


@register
class Caffe(Loss):
    """`Loss` under another name, for criterions of Caffe."""

    def __init__(self, name="caffe", output_names=None, label_names=None):
        super().__init__(name, output_names=output_names, label_names=label_names)


@register
class CustomMetric(EvalMetric):
    """A metric from a function of two NumPy arrays (label, pred) that returns a value, or a (sum, count) pair.

    `allow_extra_outputs` lets there be more outputs than labels: the first ones are compared.
    """

    def __init__(self, feval, name=None, allow_extra_outputs=False, output_names=None, label_names=None):
        if name is None:
            name = getattr(feval, "__name__", type(feval).__name__)
            if "<" in name:
                name = f"custom({name})"
        super().__init__(name, feval=feval, allow_extra_outputs=allow_extra_outputs,
                         output_names=output_names, label_names=label_names)
        self._feval = feval
        self._allow_extra_outputs = allow_extra_outputs

    def update(self, labels, preds):
        if not self._allow_extra_outputs:
            labels, preds = check_label_shapes(labels, preds, wrap=True)
        for label, pred in zip(labels, preds):
            result = self._feval(_numpy(label), _numpy(pred))
            self._add(*(result if isinstance(result, tuple) else (result, 1)))

    def get_config(self):
        raise NotImplementedError("CustomMetric cannot be serialized")


def np(numpy_feval, name=None, allow_extra_outputs=False):
    """A `CustomMetric` from a function of NumPy arrays, named after the function."""

    def feval(label, pred):
        return numpy_feval(label, pred)

    feval.__name__ = numpy_feval.__name__
    return CustomMetric(feval, name, allow_extra_outputs)
