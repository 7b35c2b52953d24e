# SPDX-License-Identifier: Apache-2.0
"""The interface of all modules, and what can be written once over it: training, scoring, prediction."""
from __future__ import annotations

import logging
import time
import warnings
from types import SimpleNamespace

from .. import metric as metrics
from .. import ndarray as nd
from ..initializer import Uniform
from ..io import DataDesc
from ..model import BatchEndParam, read_params

__all__ = ["BaseModule"]


def as_list(value):
    """`value` itself if it is a list, else a list of it."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def call_each(callbacks, *args):
    """Calls one callback or each of a list; None is no callback."""
    if callbacks is not None:
        for callback in as_list(callbacks):
            callback(*args)


def check_input_names(symbol, names, kind, throw):
    """That a symbol has inputs of these names; else ValueError, or a warning where `throw` is False."""
    arguments = symbol.list_arguments()
    for name in names:
        if name in arguments:
            continue
        ends = ("_weight", "_bias", "_gamma", "_beta")
        candidates = [argument for argument in arguments if not argument.endswith(ends)]
        text = (f"Module was given {kind}_names={list(names)}, but the symbol has no argument '{name}'. "
                "Its arguments that do not look like parameters are " + ", ".join(candidates))
        if throw:
            raise ValueError(text)
        warnings.warn(text, stacklevel=4)


def _descriptions(shapes):
    """A list of DataDesc from DataDescs or (name, shape) pairs."""
    descriptions = []
    for item in shapes:
        if isinstance(item, DataDesc):
            descriptions.append(item)
            continue
        try:
            name, shape, *rest = item
        except (TypeError, ValueError) as error:
            raise TypeError(f"a description of data must be a DataDesc or (name, shape), got {item!r}") from error
        descriptions.append(DataDesc(name, tuple(shape), *rest))
    return descriptions


def parse_data_desc(data_names, label_names, data_shapes, label_shapes):
    """DataDescs of data and labels (None where there are no labels), their names compared with the module's."""
    data = _descriptions(data_shapes)
    if sorted(desc.name for desc in data) != sorted(data_names):
        raise ValueError(f"Data provided by data_shapes don't match names specified by data_names ({data} vs. "
                         f"{list(data_names)})")
    if label_shapes is None:
        labels = None
    else:
        labels = _descriptions(label_shapes)
    if sorted(desc.name for desc in labels or ()) != sorted(label_names):
        warnings.warn(f"Data provided by label_shapes don't match names specified by label_names ({labels or []} vs. "
                      f"{list(label_names)})", stacklevel=4)
    return data, labels


class BaseModule:
    """A machine that is bound to shapes, given parameters and an optimizer, and then trained or asked for predictions.

    A subclass implements `bind`, `init_params`, `init_optimizer`, `forward`, `backward`, `update`, `get_outputs`,
    `get_input_grads`, `update_metric`, `get_params`, `install_monitor` and the properties of names and shapes. A module
    is first bound (`binded`), then has parameters (`params_initialized`), then an optimizer (`optimizer_initialized`).
    """

    def __init__(self, logger=logging):
        self.logger = logger
        self.binded = False
        self.for_training = False
        self.inputs_need_grad = False
        self.params_initialized = False
        self.optimizer_initialized = False
        self._symbol = None
        self._total_exec_bytes = 0

    def _require(self, what, *, params=True, optimizer=False):
        """AssertionError unless the module is as far as `what` needs."""
        if not self.binded:
            raise AssertionError(f"{what}: call bind first")
        if params and not self.params_initialized:
            raise AssertionError(f"{what}: call init_params first")
        if optimizer and not self.optimizer_initialized:
            raise AssertionError(f"{what}: call init_optimizer first")

    # ---- whole programs
    def forward_backward(self, data_batch):
        """`forward` for training and `backward`."""
        self.forward(data_batch, is_train=True)
        self.backward()

    def _batches(self, eval_data, num_batch, reset, sparse_row_id_fn=None):
        """(number, batch) after a forward of each batch, at most `num_batch`."""
        if reset:
            eval_data.reset()
        for number, batch in enumerate(eval_data):
            if num_batch is not None and number == num_batch:
                return
            self.prepare(batch, sparse_row_id_fn=sparse_row_id_fn)
            self.forward(batch, is_train=False)
            yield number, batch

    def _update_metric_of(self, eval_metric, batch):
        if isinstance(batch, list):
            self.update_metric(eval_metric, [part.label for part in batch], pre_sliced=True)
        else:
            self.update_metric(eval_metric, batch.label)

    def score(self, eval_data, eval_metric, num_batch=None, batch_end_callback=None, score_end_callback=None,
              reset=True, epoch=0, sparse_row_id_fn=None):
        """Predict and measure.

        Parameters
        ----------
        eval_data : DataIter
        eval_metric : EvalMetric, or what `mx.metric.create` takes
        num_batch : int, optional
            The number of batches, all by default.
        batch_end_callback, score_end_callback : callable or list of callables, optional
            Called with a `BatchEndParam` after each batch and after the last.
        reset : bool
            Whether the iterator begins again first.
        epoch : int
            The number that callbacks get.
        sparse_row_id_fn : callable, optional
            See `prepare`.

        Returns a list of (name, value).
        """
        self._require("score")
        eval_metric = metrics.create(eval_metric)
        eval_metric.reset()
        seen = 0
        for number, eval_batch in self._batches(eval_data, num_batch, reset, sparse_row_id_fn):
            self._update_metric_of(eval_metric, eval_batch)
            call_each(batch_end_callback, BatchEndParam(epoch, number, eval_metric, locals()))
            seen += 1
        call_each(score_end_callback, BatchEndParam(epoch, seen, eval_metric, locals()))
        return eval_metric.get_name_value()

    def _unpadded_outputs(self, batch):
        """The outputs without the samples that only fill the batch up."""
        pad = batch.pad or 0
        return [out[:out.shape[0] - pad] for out in self.get_outputs()]

    def iter_predict(self, eval_data, num_batch=None, reset=True, sparse_row_id_fn=None):
        """Yields (outputs, number, batch) for each batch; see `predict`."""
        self._require("iter_predict")
        for number, batch in self._batches(eval_data, num_batch, reset, sparse_row_id_fn):
            yield self._unpadded_outputs(batch), number, batch

    def predict(self, eval_data, num_batch=None, merge_batches=True, reset=True, always_output_list=False,
                sparse_row_id_fn=None):
        """The outputs for all batches.

        Parameters
        ----------
        eval_data : DataIter, NDArray or numpy.ndarray
            An array is taken as one batch.
        num_batch : int, optional
            The number of batches, all by default.
        merge_batches : bool
            Whether outputs of all batches are put together; else a list with the outputs of each batch comes.
        reset : bool
            Whether the iterator begins again first.
        always_output_list : bool
            Whether a single output comes in a list too.
        sparse_row_id_fn : callable, optional
            See `prepare`.
        """
        import numpy as np

        from ..io import DataBatch
        self._require("predict")
        if isinstance(eval_data, (nd.NDArray, np.ndarray)):
            data = eval_data if isinstance(eval_data, nd.NDArray) else nd.array(eval_data)
            self.forward(DataBatch([data]), is_train=False)
            return self.get_outputs()[0]
        if not hasattr(eval_data, "reset") and reset or not hasattr(eval_data, "__iter__"):
            raise ValueError(f"predict: eval_data must be a DataIter or an array, got {type(eval_data).__name__}")
        batches = [[out.copy() for out in self._unpadded_outputs(batch)]
                   for _, batch in self._batches(eval_data, num_batch, reset, sparse_row_id_fn)]
        if not batches or not merge_batches:
            return batches
        if any(len(outputs) != len(batches[0]) for outputs in batches):
            raise AssertionError("predict: batches differ in their number of outputs, so they cannot be merged; "
                                 "bucketing may need merge_batches=False")
        merged = [nd.concat(*parts, dim=0) if len(parts) > 1 else parts[0] for parts in zip(*batches)]
        return merged[0] if len(merged) == 1 and not always_output_list else merged

    def fit(self, train_data, eval_data=None, eval_metric="acc", epoch_end_callback=None, batch_end_callback=None,
            kvstore="local", optimizer="sgd", optimizer_params=(("learning_rate", 0.01),), eval_end_callback=None,
            eval_batch_end_callback=None, initializer=Uniform(0.01), arg_params=None, aux_params=None,  # noqa: B008
            allow_missing=False, force_rebind=False, force_init=False, begin_epoch=0, num_epoch=None,
            validation_metric=None, monitor=None, sparse_row_id_fn=None):
        """Train: bind, initialize, and go over the data `num_epoch - begin_epoch` times.

        Parameters
        ----------
        train_data : DataIter
        eval_data : DataIter, optional
            Scored after each epoch.
        eval_metric : EvalMetric, or what `mx.metric.create` takes
        epoch_end_callback : callable or list of callables, optional
            Called with (epoch, symbol, arg_params, aux_params).
        batch_end_callback, eval_batch_end_callback, eval_end_callback : callable or list of callables, optional
            Called with a `BatchEndParam`.
        kvstore : str or KVStore
        optimizer : str or Optimizer
        optimizer_params : dict or tuple of pairs
        initializer : Initializer
        arg_params, aux_params : dict of str to NDArray, optional
            Values to begin with; the initializer gives the rest, if `allow_missing`.
        allow_missing, force_init : bool
            See `init_params`.
        force_rebind : bool
            Whether a module that is bound is bound again.
        begin_epoch : int
            The number of the first epoch, for training that goes on.
        num_epoch : int
            The number of the epoch that is not begun any more.
        validation_metric : EvalMetric, optional
            For `eval_data`; `eval_metric` by default.
        monitor : Monitor, optional
        sparse_row_id_fn : callable, optional
            See `prepare`.
        """
        if num_epoch is None:
            raise AssertionError("fit: please give num_epoch, the number of epochs")
        self.bind(data_shapes=train_data.provide_data, label_shapes=train_data.provide_label, for_training=True,
                  force_rebind=force_rebind)
        if monitor is not None:
            self.install_monitor(monitor)
        self.init_params(initializer=initializer, arg_params=arg_params, aux_params=aux_params,
                         allow_missing=allow_missing, force_init=force_init)
        self.init_optimizer(kvstore=kvstore, optimizer=optimizer, optimizer_params=optimizer_params)
        eval_metric = metrics.create(eval_metric)
        run = SimpleNamespace(train_data=train_data, eval_data=eval_data, eval_metric=eval_metric,
                              validation_metric=eval_metric if validation_metric is None else validation_metric,
                              batch_end_callback=batch_end_callback, eval_end_callback=eval_end_callback,
                              eval_batch_end_callback=eval_batch_end_callback, monitor=monitor,
                              sparse_row_id_fn=sparse_row_id_fn)
        for epoch in range(begin_epoch, num_epoch):
            self._train_epoch(epoch, run)
            arg_params, aux_params = self.get_params()
            self.set_params(arg_params, aux_params)  # the same values on all devices
            call_each(epoch_end_callback, epoch, self.symbol, arg_params, aux_params)
            self._validate(epoch, run)
            train_data.reset()

    def _train_epoch(self, epoch, run):
        """One pass over the training data."""
        begin = time.time()
        eval_metric = run.eval_metric
        eval_metric.reset()
        values = []
        batches = iter(run.train_data)
        data_batch = next(batches, None)
        if data_batch is None:
            raise ValueError("fit: the training data are empty")
        nbatch = 0
        while data_batch is not None:
            if run.monitor is not None:
                run.monitor.tic()
            self.forward_backward(data_batch)
            self.update()
            self._update_metric_of(eval_metric, data_batch)
            # The next batch is fetched while this one may still be computed.
            next_batch = next(batches, None)
            if next_batch is not None:
                self.prepare(next_batch, sparse_row_id_fn=run.sparse_row_id_fn)
            else:
                values = eval_metric.get_global_name_value()  # before a callback may reset them
            if run.monitor is not None:
                run.monitor.toc_print()
            call_each(run.batch_end_callback, BatchEndParam(epoch, nbatch, eval_metric, locals()))
            data_batch = next_batch
            nbatch += 1
        for name, value in values:
            self.logger.info("Epoch[%d] Train-%s=%f", epoch, name, value)
        self.logger.info("Epoch[%d] Time cost=%.3f", epoch, time.time() - begin)

    def _validate(self, epoch, run):
        if run.eval_data is None or run.eval_data is False:
            return
        result = self.score(run.eval_data, run.validation_metric, score_end_callback=run.eval_end_callback,
                            batch_end_callback=run.eval_batch_end_callback, epoch=epoch)
        for name, value in result:
            self.logger.info("Epoch[%d] Validation-%s=%f", epoch, name, value)

    # ---- names and shapes
    @property
    def data_names(self):
        """Names of the inputs."""
        raise NotImplementedError(f"{type(self).__name__} must implement data_names")

    @property
    def output_names(self):
        """Names of the outputs."""
        raise NotImplementedError(f"{type(self).__name__} must implement output_names")

    @property
    def data_shapes(self):
        """Descriptions of the inputs, once bound."""
        raise NotImplementedError(f"{type(self).__name__} must implement data_shapes")

    @property
    def label_shapes(self):
        """Descriptions of the labels, once bound."""
        raise NotImplementedError(f"{type(self).__name__} must implement label_shapes")

    @property
    def output_shapes(self):
        """(name, shape) of each output, once bound."""
        raise NotImplementedError(f"{type(self).__name__} must implement output_shapes")

    @property
    def symbol(self):
        """The symbol, or None."""
        return self._symbol

    # ---- parameters
    def get_params(self):
        """(arg_params, aux_params), dicts of arrays on the CPU."""
        raise NotImplementedError(f"{type(self).__name__} must implement get_params")

    def init_params(self, initializer=Uniform(0.01), arg_params=None, aux_params=None,  # noqa: B008
                    allow_missing=False, force_init=False, allow_extra=False):
        """Give parameters their first values.

        Parameters
        ----------
        initializer : Initializer
            For what the dicts do not have.
        arg_params, aux_params : dict of str to NDArray, optional
            Values to begin with.
        allow_missing : bool
            Whether a dict may lack parameters; else RuntimeError names the first.
        force_init : bool
            Whether a module that has parameters gets new ones.
        allow_extra : bool
            Whether a dict may have names that the module does not know: they are passed over here in any case, and
            refused by `set_params(allow_missing=True)`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement init_params")

    def set_params(self, arg_params, aux_params, allow_missing=False, force_init=True, allow_extra=False):
        """Write parameters; see `init_params`."""
        self.init_params(initializer=None, arg_params=arg_params, aux_params=aux_params, allow_missing=allow_missing,
                         force_init=force_init, allow_extra=allow_extra)

    def save_params(self, fname):
        """Write the parameters to a file."""
        arg_params, aux_params = self.get_params()
        arrays = {f"arg:{name}": array for name, array in arg_params.items()}
        arrays.update({f"aux:{name}": array for name, array in aux_params.items()})
        nd.save(fname, arrays)

    def load_params(self, fname):
        """Read what `save_params` wrote; ValueError for a file of other arrays."""
        self.set_params(*read_params(fname))

    def get_states(self, merge_multi_context=True):
        """The arrays of the inputs that are states; none here."""
        self._require("get_states")
        return []

    def set_states(self, states=None, value=None):
        """Write the states from arrays, or fill them with a number; there are none here."""
        self._require("set_states")
        if states or value:
            raise AssertionError(f"set_states: {type(self).__name__} has no states")

    def install_monitor(self, mon):
        """Watch all executors with a Monitor."""
        raise NotImplementedError(f"{type(self).__name__} must implement install_monitor")

    # ---- computation
    def prepare(self, data_batch, sparse_row_id_fn=None):
        """Make ready for a batch, before its forward.

        `sparse_row_id_fn(batch)` gives {parameter: row ids}: the rows of row_sparse parameters that the batch needs.
        """
        if sparse_row_id_fn is not None:
            warnings.warn(UserWarning("sparse_row_id_fn is not invoked for BaseModule."), stacklevel=2)

    def forward(self, data_batch, is_train=None):
        """Compute the outputs for a batch; `is_train` is by default what `bind` said."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward")

    def backward(self, out_grads=None):
        """Compute gradients; `out_grads` are those of the outputs, which losses do without."""
        raise NotImplementedError(f"{type(self).__name__} must implement backward")

    def get_outputs(self, merge_multi_context=True):
        """The outputs of the last forward; merged over devices, or for each output a list with one for each device."""
        raise NotImplementedError(f"{type(self).__name__} must implement get_outputs")

    def get_input_grads(self, merge_multi_context=True):
        """The gradients of the inputs; needs `bind(inputs_need_grad=True)`."""
        raise NotImplementedError(f"{type(self).__name__} must implement get_input_grads")

    def update(self):
        """Change the parameters by their gradients."""
        raise NotImplementedError(f"{type(self).__name__} must implement update")

    def update_metric(self, eval_metric, labels, pre_sliced=False):
        """Update a metric with the last outputs; `pre_sliced` labels come in one list for each device."""
        raise NotImplementedError(f"{type(self).__name__} must implement update_metric")

    # ---- setting up
    def bind(self, data_shapes, label_shapes=None, for_training=True, inputs_need_grad=False, force_rebind=False,
             shared_module=None, grad_req="write"):
        """Make executors for given shapes.

        Parameters
        ----------
        data_shapes, label_shapes : list of DataDesc or of (name, shape)
        for_training : bool
            Whether gradients of parameters will be asked for.
        inputs_need_grad : bool
            Whether gradients of inputs will be asked for.
        force_rebind : bool
            Whether to bind again what is bound; else a warning comes.
        shared_module : BaseModule, optional
            A bound module whose parameters (and memory) are used.
        grad_req : str, list or dict of str to str
            'write', 'add' or 'null', for all arguments or each.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement bind")

    def init_optimizer(self, kvstore="local", optimizer="sgd", optimizer_params=(("learning_rate", 0.01),),
                       force_init=False):
        """Make the optimizer and the key-value store; `force_init` replaces those that are there."""
        raise NotImplementedError(f"{type(self).__name__} must implement init_optimizer")
