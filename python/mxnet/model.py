# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: a symbol and its parameters in files; FeedForward, the oldest training interface; how training loops use
key-value stores.
"""
from __future__ import annotations

import logging
from collections import namedtuple
from math import prod

import numpy as np

from . import io
from . import kvstore as kvs
from . import ndarray as nd
from . import symbol as sym
from .callback import LogValidationMetricsCallback
from .context import Context, cpu, current_context
from .executor_manager import DataParallelExecutorManager, _check_arguments  # noqa: F401
from .initializer import InitDesc, Uniform
from .io import DataDesc
from .kvstore.kvstore import update_on_kvstore_default
from .optimizer import get_updater  # noqa: F401  (programs find it here)

__all__ = ["BatchEndParam", "FeedForward", "load_checkpoint", "load_params", "save_checkpoint"]

#: What a training loop hands to its batch callbacks.
BatchEndParam = namedtuple("BatchEndParams", ["epoch", "nbatch", "eval_metric", "locals"])

#: Arrays above this size are not updated in a 'local' store: its updates run on one device.
_MAX_LOCAL_STORE_SIZE = 1024 * 1024 * 16


# ---- key-value stores
def _create_kvstore(kvstore, num_device, arg_params):
    """(store or None, whether it applies the optimizer) from a name, a store or None.

    One device needs no store, unless it is distributed.
    """
    if kvstore is None:
        return None, False
    on_kvstore = update_on_kvstore_default()
    if isinstance(kvstore, kvs.KVStoreBase):
        store = kvstore
    elif isinstance(kvstore, str):
        if num_device == 1 and "dist" not in kvstore:
            return None, False
        store = kvs.create(kvstore)
        if kvstore == "local" and max((prod(array.shape) for array in arg_params.values()), default=0) \
                > _MAX_LOCAL_STORE_SIZE:
            on_kvstore = False
    else:
        raise TypeError(f"kvstore must be a KVStore, a str or None, got {type(kvstore).__name__}")
    return store, on_kvstore and store.is_capable(kvs.KVStoreBase.OPTIMIZER)


def _initialize_kvstore(kvstore, param_arrays, arg_params, param_names, update_on_kvstore):
    """Give all parameters to the store; the devices get its values, if it updates them."""
    for index, arrays in enumerate(param_arrays):
        name = param_names[index]
        kvstore.init(name, arg_params[name])
        if update_on_kvstore:
            kvstore.pull(name, arrays, priority=-index)


def _update_params_on_kvstore(param_arrays, grad_arrays, kvstore, param_names):
    """Gradients to the store, which updates, and parameters back."""
    for index, (params, grads) in enumerate(zip(param_arrays, grad_arrays)):
        if grads[0] is None:
            continue
        kvstore.push(param_names[index], grads, priority=-index)
        kvstore.pull(param_names[index], params, priority=-index)


def _update_params(param_arrays, grad_arrays, updater, num_device, kvstore=None, param_names=None):
    """Sum gradients in the store, if there is one, and update on every device."""
    updates = [([], [], []) for _ in range(num_device)]
    for index, (params, grads) in enumerate(zip(param_arrays, grad_arrays)):
        if grads[0] is None:
            continue
        if kvstore is not None:
            kvstore.push(param_names[index], grads, priority=-index)
            kvstore.pull(param_names[index], grads, priority=-index)
        for k, (param, grad) in enumerate(zip(params, grads)):
            for column, item in zip(updates[k], (index * num_device + k, grad, param)):
                column.append(item)
    for indices, grads, params in updates:
        updater(indices, grads, params)


# ---- files

def save_checkpoint(prefix, epoch, symbol, arg_params, aux_params, remove_amp_cast=True):
    """Write `prefix-symbol.json` and `prefix-NNNN.params` (NNNN is `epoch`).

    Parameters
    ----------
    prefix : str
    epoch : int
    symbol : Symbol or None
        None writes the parameters alone.
    arg_params, aux_params : dict of str to NDArray
    remove_amp_cast : bool
        Whether casts that mixed precision put into the graph are left out.
    """
    if symbol is not None:
        symbol.save(f"{prefix}-symbol.json", remove_amp_cast=remove_amp_cast)
    arrays = {f"arg:{name}": array.as_in_context(cpu()) for name, array in arg_params.items()}
    arrays.update({f"aux:{name}": array.as_in_context(cpu()) for name, array in aux_params.items()})
    name = f"{prefix}-{epoch:04d}.params"
    nd.save(name, arrays)
    logging.info('Saved checkpoint to "%s"', name)


def read_params(fname, other_kinds=False):
    """(arg_params, aux_params) from a file whose names begin with `arg:` or `aux:`; ValueError for other names.

    With `other_kinds` names like `kind:name` are passed over.
    """
    arrays = nd.load(fname)
    params = {"arg": {}, "aux": {}}
    for key, array in arrays.items() if isinstance(arrays, dict) else [("", array) for array in arrays]:
        kind, colon, name = key.partition(":")
        if kind in params and colon:
            params[kind][name] = array
        elif not (colon and other_kinds):
            raise ValueError(f"Invalid param file {fname}: names must begin with arg: or aux:, got {key!r}")
    return params["arg"], params["aux"]


def load_params(prefix, epoch):
    """(arg_params, aux_params) from `prefix-NNNN.params`; ValueError for a file of other arrays.

    Such a file is what `Block.save_parameters` writes: `HybridBlock.export` writes what is read here.
    """
    fname = f"{prefix}-{epoch:04d}.params"
    arg_params, aux_params = read_params(fname, other_kinds=True)
    if not arg_params and not aux_params:
        logging.warning("Params file '%s' is empty", fname)
    return arg_params, aux_params


def load_checkpoint(prefix, epoch):
    """(symbol, arg_params, aux_params) from the files that `save_checkpoint` or `HybridBlock.export` wrote."""
    symbol = sym.load(f"{prefix}-symbol.json")
    return (symbol, *load_params(prefix, epoch))


# ---- FeedForward
class FeedForward:
    """A network that is trained on arrays or iterators; new programs use `mx.mod.Module`.

    Parameters
    ----------
    symbol : Symbol, or callable from a bucket's key to a Symbol
    ctx : Context or list of Context, optional
        Where to train; the current context by default.
    num_epoch : int, optional
        Needed by `fit`.
    epoch_size : int, optional
        Batches per epoch; all of the data by default.
    optimizer : str or Optimizer
    initializer : Initializer
    numpy_batch_size : int
        For data given as arrays.
    arg_params, aux_params : dict of str to NDArray, optional
        Parameters to begin with.
    allow_extra_params : bool
        Whether these may hold more than the symbol has.
    begin_epoch : int
    **kwargs
        For the optimizer.
    """

    def __init__(self, symbol, ctx=None, num_epoch=None, epoch_size=None, optimizer="sgd",
                 initializer=Uniform(0.01), numpy_batch_size=128, arg_params=None, aux_params=None,  # noqa: B008
                 allow_extra_params=False, begin_epoch=0, **kwargs):
        if isinstance(symbol, sym.Symbol):
            self.symbol, self.sym_gen = symbol, None
        elif callable(symbol):
            self.symbol, self.sym_gen = None, symbol
        else:
            raise AssertionError(f"FeedForward: symbol must be a Symbol or a function, got {type(symbol).__name__}")
        ctx = current_context() if ctx is None else ctx
        self.ctx = [ctx] if isinstance(ctx, Context) else list(ctx)
        self.num_epoch = num_epoch
        self.epoch_size = epoch_size
        self.optimizer = optimizer
        self.initializer = initializer
        self.numpy_batch_size = numpy_batch_size
        self.arg_params = arg_params
        self.aux_params = aux_params
        self.allow_extra_params = allow_extra_params
        self.argument_checked = False
        if self.sym_gen is None:
            self._check_arguments()
        self.begin_epoch = begin_epoch
        self.kwargs = kwargs.copy()
        self._pred_exec = None

    def _check_arguments(self):
        """Names are unique; parameters that the symbol does not have are dropped if that is allowed."""
        if self.argument_checked:
            return
        _check_arguments(self.symbol)
        self.argument_checked = True
        if not self.allow_extra_params:
            return
        for which, names in (("arg_params", self.symbol.list_arguments()),
                             ("aux_params", self.symbol.list_auxiliary_states())):
            params = getattr(self, which)
            if params:
                setattr(self, which, {name: array for name, array in params.items() if name in names})

    # ---- data
    def _init_iter(self, X, y, is_train):
        """An iterator over arrays, or the iterator itself."""
        if not isinstance(X, (np.ndarray, nd.NDArray)):
            if not isinstance(X, io.DataIter) and not hasattr(X, "provide_data"):
                raise TypeError(f"X must be DataIter, NDArray or numpy.ndarray, got {type(X).__name__}")
            return X
        if y is None:
            if is_train:
                raise ValueError("y must be specified when X is numpy.ndarray")
            y = np.zeros(X.shape[0])
        if not isinstance(y, (np.ndarray, nd.NDArray)):
            raise TypeError(f"y must be NDArray or numpy.ndarray when X is, got {type(y).__name__}")
        if X.shape[0] != y.shape[0]:
            raise ValueError(f"The numbers of data points and labels not equal: {X.shape[0]} and {y.shape[0]}")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y.reshape((-1,))
        if y.ndim != 1:
            raise ValueError(f"Label must be 1D or 2D (with 2nd dimension being 1), got shape {y.shape}")
        size = min(X.shape[0], self.numpy_batch_size)
        return io.NDArrayIter(X, y, size, shuffle=is_train, last_batch_handle="roll_over" if is_train else "pad")

    def _init_eval_iter(self, eval_data):
        """An iterator from None, an iterator, or a pair of arrays or lists."""
        if eval_data is None:
            return None
        if isinstance(eval_data, (tuple, list)) and len(eval_data) == 2:
            data, label = eval_data
            if data is None:
                raise ValueError("Eval data is NONE")
            if label is None and isinstance(data, io.DataIter):
                return data
            as_array = lambda value: np.array(value) if isinstance(value, list) else value
            return self._init_iter(as_array(data), as_array(label), is_train=False)
        if not hasattr(eval_data, "provide_data"):
            raise TypeError("Eval data must be DataIter, or an (array, label) pair of arrays or lists")
        return eval_data

    # ---- training
    def _init_params(self, inputs, overwrite=False):
        """Make the parameters for given shapes of inputs; those that are there stay, unless `overwrite`.

        Returns (argument names, parameter names, auxiliary names).
        """
        inputs = [desc if isinstance(desc, DataDesc) else DataDesc(*desc) for desc in inputs]
        names = [desc.name for desc in inputs]
        arg_names, aux_names = self.symbol.list_arguments(), self.symbol.list_auxiliary_states()
        known = {desc.name: desc.shape for desc in inputs if desc.name in arg_names}
        arg_shapes, _, aux_shapes = self.symbol.infer_shape(**known)
        if arg_shapes is None:
            raise AssertionError("the shapes of the inputs do not decide those of all parameters")
        types = {desc.name: desc.dtype for desc in inputs if desc.name in arg_names}
        arg_types, _, aux_types = self.symbol.infer_type_partial(**types)
        attrs = self.symbol.attr_dict()

        def make(all_names, shapes, dtypes, old):
            made = {}
            for name, shape, dtype in zip(all_names, shapes, dtypes):
                if name in names:
                    continue
                if old and name in old and not overwrite:
                    if tuple(old[name].shape) != tuple(shape):
                        raise ValueError(f"parameter {name} has shape {old[name].shape}, the symbol wants {shape}")
                    made[name] = old[name]
                    continue
                made[name] = nd.zeros(shape, dtype=dtype or "float32")
                self.initializer(InitDesc(name, attrs.get(name)), made[name])
            return made

        self.arg_params = make(arg_names, arg_shapes, arg_types, self.arg_params)
        self.aux_params = make(aux_names, aux_shapes, aux_types, self.aux_params)
        return arg_names, list(self.arg_params), aux_names

    def fit(self, X, y=None, eval_data=None, eval_metric="acc", epoch_end_callback=None, batch_end_callback=None,
            kvstore="local", logger=None, work_load_list=None, monitor=None,
            eval_end_callback=LogValidationMetricsCallback(), eval_batch_end_callback=None):  # noqa: B008
        """Train; see `mx.mod.Module.fit`.

        Parameters
        ----------
        X : DataIter, NDArray or numpy.ndarray
        y : NDArray or numpy.ndarray, optional
            Labels, one for each sample of an array X.
        eval_data : DataIter or (data, labels), optional
        """
        data = self._init_iter(X, y, is_train=True)
        eval_data = self._init_eval_iter(eval_data)
        module = self._module(data, logger or logging, work_load_list)
        if self.epoch_size is not None:
            data = io.ResizeIter(data, self.epoch_size, reset_internal=False)
        if self.sym_gen is None:
            self._init_params([*data.provide_data, *data.provide_label])
        module.fit(data, eval_data=eval_data, eval_metric=eval_metric, epoch_end_callback=epoch_end_callback,
                   batch_end_callback=batch_end_callback, kvstore=kvstore, optimizer=self.optimizer,
                   optimizer_params=self.kwargs, eval_end_callback=eval_end_callback,
                   eval_batch_end_callback=eval_batch_end_callback, initializer=self.initializer,
                   arg_params=self.arg_params, aux_params=self.aux_params, allow_missing=True,
                   begin_epoch=self.begin_epoch, num_epoch=self.num_epoch, monitor=monitor)
        self.arg_params, self.aux_params = module.get_params()
        self._pred_exec = None

    def _module(self, data, logger, work_load_list):
        from .module import BucketingModule, Module
        names = [[desc[0] for desc in descs] for descs in (data.provide_data, data.provide_label)]
        options = {"logger": logger, "context": self.ctx, "work_load_list": work_load_list}
        if self.sym_gen is None:
            return Module(self.symbol, *names, **options)
        self.symbol = self.sym_gen(data.default_bucket_key)
        self._check_arguments()
        return BucketingModule(lambda key: (self.sym_gen(key), *names), data.default_bucket_key, **options)

    # ---- prediction
    def _init_predictor(self, descriptions):
        """An executor for given shapes of inputs, with the present parameters."""
        shapes = {desc[0]: tuple(desc[1]) for desc in descriptions}
        if self._pred_exec is not None:
            bound = self._pred_exec.arg_dict
            if all(bound[name].shape == shape for name, shape in shapes.items()):
                return
        if self.arg_params is None:
            raise AssertionError("FeedForward has no parameters: call fit, or give arg_params")
        types = {desc.name: desc.dtype for desc in descriptions if isinstance(desc, DataDesc)}
        self._pred_exec = self.symbol.simple_bind(self.ctx[0], grad_req="null", type_dict=types, **shapes)
        _check_arguments(self.symbol)
        self._pred_exec.copy_params_from(self.arg_params, self.aux_params, allow_extra_params=self.allow_extra_params)

    def _outputs(self, data, num_batch):
        """(batch, its outputs) for each batch."""
        self._init_predictor(data.provide_data)
        names = [desc[0] for desc in data.provide_data]
        for number, batch in enumerate(data):
            if num_batch is not None and number == num_batch:
                return
            yield batch, self._pred_exec.forward(is_train=False, **dict(zip(names, batch.data)))

    def predict(self, X, num_batch=None, return_data=False, reset=True):
        """The outputs as NumPy arrays: one, or a list of several.

        Parameters
        ----------
        X : DataIter, NDArray or numpy.ndarray
        num_batch : int, optional
            The number of batches, all by default.
        return_data : bool
            Whether data and labels are returned too, as (outputs, data, labels).
        reset : bool
            Whether an iterator begins again first.
        """
        data = self._init_iter(X, None, is_train=False)
        if reset:
            data.reset()
        columns = ([], [], [])
        for batch, outputs in self._outputs(data, num_batch):
            real = data.batch_size - (batch.pad or 0)
            for column, arrays in zip(columns, (outputs, batch.data, batch.label or ()) if return_data else (outputs,)):
                column.append([array[:real].asnumpy() for array in arrays])

        def merge(rows):
            merged = [np.concatenate(parts) for parts in zip(*rows)]
            return merged[0] if len(merged) == 1 else merged

        return tuple(map(merge, columns)) if return_data else merge(columns[0])

    def score(self, X, eval_metric="acc", num_batch=None, batch_end_callback=None, reset=True):
        """The value of a metric over an iterator with labels."""
        from . import metric
        from .module.base_module import call_each
        eval_metric = metric.create(eval_metric)
        data = self._init_iter(X, None, is_train=False)
        if reset:
            data.reset()
        eval_metric.reset()
        for number, (batch, outputs) in enumerate(self._outputs(data, num_batch)):
            eval_metric.update(batch.label, outputs)
            call_each(batch_end_callback, BatchEndParam(0, number, eval_metric, locals()))
        return eval_metric.get()[1]

    # ---- files
    def save(self, prefix, epoch=None, remove_amp_cast=True):
        """Write a checkpoint; `epoch` is `num_epoch` by default. See `save_checkpoint`."""
        epoch = self.num_epoch if epoch is None else epoch
        if epoch is None:
            raise AssertionError("FeedForward.save: epoch is needed")
        save_checkpoint(prefix, epoch, self.symbol, self.arg_params, self.aux_params, remove_amp_cast=remove_amp_cast)

    @staticmethod
    def load(prefix, epoch, ctx=None, **kwargs):
        """A FeedForward from a checkpoint; further arguments are those of the constructor."""
        symbol, arg_params, aux_params = load_checkpoint(prefix, epoch)
        return FeedForward(symbol, ctx=ctx, arg_params=arg_params, aux_params=aux_params, begin_epoch=epoch, **kwargs)

    @staticmethod
    def create(symbol, X, y=None, ctx=None, num_epoch=None, epoch_size=None, optimizer="sgd",
               initializer=Uniform(0.01), eval_data=None, eval_metric="acc", epoch_end_callback=None,  # noqa: B008
               batch_end_callback=None, kvstore="local", logger=None, work_load_list=None,
               eval_end_callback=LogValidationMetricsCallback(), eval_batch_end_callback=None, **kwargs):  # noqa: B008
        """A FeedForward that is trained at once; see the constructor and `fit`."""
        model = FeedForward(symbol, ctx=ctx, num_epoch=num_epoch, epoch_size=epoch_size, optimizer=optimizer,
                            initializer=initializer, **kwargs)
        model.fit(X, y, eval_data=eval_data, eval_metric=eval_metric, epoch_end_callback=epoch_end_callback,
                  batch_end_callback=batch_end_callback, kvstore=kvstore, logger=logger, work_load_list=work_load_list,
                  eval_end_callback=eval_end_callback, eval_batch_end_callback=eval_batch_end_callback)
        return model
