# SPDX-License-Identifier: Apache-2.0
"""BucketingModule: one graph for each length of input, all with the same parameters."""
from __future__ import annotations

import logging
import numbers
import os
import warnings

from .. import ndarray as nd
from ..initializer import Uniform
from ..model import load_params
from ..symbol import load as load_symbol
from .base_module import BaseModule, check_input_names
from .module import Module

__all__ = ["BucketingModule"]


class BucketingModule(BaseModule):
    """Modules that are made when a batch with a new `bucket_key` comes; they share parameters, optimizer and memory.

    Parameters
    ----------
    sym_gen : callable
        From a key to (symbol, data names, label names).
    default_bucket_key : hashable
        The key that `bind` begins with, of the largest graph.
    context, work_load_list, fixed_param_names, state_names, group2ctxs, compression_params
        See Module.
    """

    def __init__(self, sym_gen, default_bucket_key=None, logger=logging, context=None, work_load_list=None,
                 fixed_param_names=None, state_names=None, group2ctxs=None, compression_params=None):
        super().__init__(logger=logger)
        if default_bucket_key is None:
            raise AssertionError("BucketingModule: default_bucket_key is missing")
        self._sym_gen = sym_gen
        self._default_bucket_key = default_bucket_key
        symbol, data_names, label_names = sym_gen(default_bucket_key)
        for names, kind, throw in ((data_names, "data", True), (label_names, "label", False),
                                   (state_names, "state", True), (fixed_param_names, "fixed_param", True)):
            check_input_names(symbol, list(names or ()), kind, throw)
        self._options = {"logger": logger, "context": context, "work_load_list": work_load_list,
                         "fixed_param_names": list(fixed_param_names or ()), "state_names": list(state_names or ()),
                         "group2ctxs": group2ctxs, "compression_params": compression_params}
        self._fixed_param_names = self._options["fixed_param_names"]
        self._state_names = self._options["state_names"]
        self._buckets = {}
        self._curr_module = None
        self._curr_bucket_key = None
        self._params_dirty = False
        self._monitor = None
        self._grad_req = None
        self._loaded_params = None

    def _reset_bind(self):
        self.binded = False
        self._buckets = {}
        self._curr_module = None
        self._curr_bucket_key = None

    def _make(self, bucket_key):
        """A module that is not bound yet."""
        symbol, data_names, label_names = self._sym_gen(bucket_key)
        return Module(symbol, data_names, label_names, **self._options)

    # ---- names and shapes
    @property
    def data_names(self):
        return self._curr_module.data_names if self.binded else list(self._sym_gen(self._default_bucket_key)[1])

    @property
    def output_names(self):
        if self.binded:
            return self._curr_module.output_names
        return self._sym_gen(self._default_bucket_key)[0].list_outputs()

    @property
    def data_shapes(self):
        self._require("data_shapes", params=False)
        return self._curr_module.data_shapes

    @property
    def label_shapes(self):
        self._require("label_shapes", params=False)
        return self._curr_module.label_shapes

    @property
    def output_shapes(self):
        self._require("output_shapes", params=False)
        return self._curr_module.output_shapes

    @property
    def symbol(self):
        """The symbol of the current bucket."""
        self._require("symbol", params=False)
        return self._curr_module.symbol

    # ---- parameters
    def get_params(self):
        self._require("get_params")
        self._curr_module._params_dirty = self._params_dirty
        params = self._curr_module.get_params()
        self._params_dirty = False
        return params

    def set_params(self, arg_params, aux_params, allow_missing=False, force_init=True, allow_extra=False):
        if not allow_missing:
            self.init_params(initializer=None, arg_params=arg_params, aux_params=aux_params,
                             allow_missing=allow_missing, force_init=force_init, allow_extra=allow_extra)
            return
        if self.params_initialized and not force_init:
            warnings.warn("Parameters already initialized and force_init=False. set_params call ignored.",
                          stacklevel=2)
            return
        self._require("set_params", params=False)
        self._curr_module.set_params(arg_params, aux_params, allow_missing=allow_missing, force_init=force_init,
                                     allow_extra=allow_extra)
        self._params_dirty = True
        self.params_initialized = True

    def init_params(self, initializer=Uniform(0.01), arg_params=None, aux_params=None,  # noqa: B008
                    allow_missing=False, force_init=False, allow_extra=False):
        if self.params_initialized and not force_init:
            return
        self._require("init_params", params=False)
        self._curr_module.init_params(initializer=initializer, arg_params=arg_params, aux_params=aux_params,
                                      allow_missing=allow_missing, force_init=force_init, allow_extra=allow_extra)
        self._params_dirty = False
        self.params_initialized = True

    def get_states(self, merge_multi_context=True):
        self._require("get_states")
        return self._curr_module.get_states(merge_multi_context=merge_multi_context)

    def set_states(self, states=None, value=None):
        self._require("set_states")
        self._curr_module.set_states(states, value)

    # ---- binding
    def bind(self, data_shapes, label_shapes=None, for_training=True, inputs_need_grad=False, force_rebind=False,
             shared_module=None, grad_req="write"):
        """Bind the graph of the default key; the others follow when their batches come. See `BaseModule.bind`."""
        if shared_module is not None:
            raise AssertionError("shared_module for BucketingModule is not supported")
        params = self.get_params() if self.binded and self.params_initialized and force_rebind else None
        old = self._buckets.get(self._default_bucket_key)
        if force_rebind:
            self._reset_bind()
        if self.binded:
            self.logger.warning("Already bound, ignoring bind()")
            return
        self.for_training = for_training
        self.inputs_need_grad = inputs_need_grad
        self._grad_req = grad_req
        module = self._make(self._default_bucket_key)
        module.bind(data_shapes, label_shapes, for_training, inputs_need_grad, grad_req=grad_req)
        self.binded = True
        self._curr_module = module
        self._curr_bucket_key = self._default_bucket_key
        self._buckets[self._default_bucket_key] = module
        if self._loaded_params is not None:  # a module that was loaded
            params, self._loaded_params = self._loaded_params, None
        if params is not None:
            self.set_params(*params)
        if old is not None and old.optimizer_initialized:
            module.borrow_optimizer(old)

    def switch_bucket(self, bucket_key, data_shapes, label_shapes=None):
        """Make the graph of `bucket_key` the current one; it is made and bound if it is new."""
        self._require("switch_bucket", params=False)
        if bucket_key not in self._buckets:
            default = self._buckets[self._default_bucket_key]
            module = self._make(bucket_key)
            module.bind(data_shapes, label_shapes, self._curr_module.for_training,
                        self._curr_module.inputs_need_grad, shared_module=default, grad_req=self._grad_req)
            if self._monitor is not None:
                module.install_monitor(self._monitor)
            self._buckets[bucket_key] = module
        self._curr_module = self._buckets[bucket_key]
        self._curr_bucket_key = bucket_key

    def prepare(self, data_batch, sparse_row_id_fn=None):
        """Bind the graph of a batch, before its forward; the current one stays."""
        self._require("prepare")
        current = self._curr_bucket_key
        self.switch_bucket(data_batch.bucket_key, data_batch.provide_data, data_batch.provide_label)
        self._curr_module.prepare(data_batch, sparse_row_id_fn=sparse_row_id_fn)
        self.switch_bucket(current, None, None)

    def init_optimizer(self, kvstore="local", optimizer="sgd", optimizer_params=(("learning_rate", 0.01),),
                       force_init=False):
        self._require("init_optimizer")
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring.")
            return
        self._curr_module.init_optimizer(kvstore, optimizer, optimizer_params, force_init=force_init)
        for module in self._buckets.values():
            if module is not self._curr_module:
                module.borrow_optimizer(self._curr_module)
        self.optimizer_initialized = True

    # ---- computation
    def forward(self, data_batch, is_train=None):
        """Switch to the graph of the batch's `bucket_key` and compute its outputs."""
        self._require("forward")
        self.switch_bucket(data_batch.bucket_key, data_batch.provide_data, data_batch.provide_label)
        self._curr_module.forward(data_batch, is_train=is_train)

    def backward(self, out_grads=None):
        self._require("backward")
        self._curr_module.backward(out_grads=out_grads)

    def update(self):
        self._require("update", optimizer=True)
        self._params_dirty = True
        if not self._curr_module.optimizer_initialized:  # bound before init_optimizer
            self._curr_module.borrow_optimizer(self._buckets[self._default_bucket_key])
        self._curr_module.update()

    def get_outputs(self, merge_multi_context=True):
        self._require("get_outputs")
        return self._curr_module.get_outputs(merge_multi_context=merge_multi_context)

    def get_input_grads(self, merge_multi_context=True):
        self._require("get_input_grads")
        return self._curr_module.get_input_grads(merge_multi_context=merge_multi_context)

    def update_metric(self, eval_metric, labels, pre_sliced=False):
        self._require("update_metric")
        self._curr_module.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon):
        self._require("install_monitor", params=False)
        self._monitor = mon
        for module in self._buckets.values():
            module.install_monitor(mon)

    # ---- checkpoints
    def save_checkpoint(self, prefix, epoch, remove_amp_cast=False):
        """Write `prefix-KEY-symbol.json` for each bucket, the keys (`prefix.buckets`, if they are integers) and the
        parameters (`prefix-NNNN.params`).
        """
        self._require("save_checkpoint")
        for key, module in self._buckets.items():
            module.symbol.save(f"{prefix}-{key}-symbol.json", remove_amp_cast=remove_amp_cast)
        if all(isinstance(key, numbers.Integral) for key in self._buckets):
            nd.save(f"{prefix}.buckets", [nd.array(list(self._buckets), dtype="int32")])
        self.save_params(f"{prefix}-{epoch:04d}.params")

    @staticmethod
    def load(prefix, epoch, sym_gen=None, default_bucket_key=None, **kwargs):
        """A module from the files that `save_checkpoint` wrote.

        Parameters
        ----------
        prefix : str
        epoch : int
        sym_gen : callable
            For buckets that were not saved, and for the names of inputs.
        default_bucket_key : hashable
        **kwargs
            For the constructor.
        """
        if sym_gen is None or default_bucket_key is None:
            raise AssertionError("BucketingModule.load: sym_gen and default_bucket_key are needed")
        symbols = {}
        if os.path.exists(f"{prefix}.buckets"):
            keys = nd.load(f"{prefix}.buckets")[0].asnumpy().tolist()
            symbols = {key: load_symbol(f"{prefix}-{key}-symbol.json") for key in keys}
        arg_params, aux_params = load_params(prefix, epoch)
        return BucketingModule.load_dict(symbols, sym_gen, default_bucket_key, arg_params, aux_params, **kwargs)

    @staticmethod
    def load_dict(sym_dict=None, sym_gen=None, default_bucket_key=None, arg_params=None, aux_params=None, **kwargs):
        """A module with given parameters and, in `sym_dict` {key: symbol}, symbols that replace those of `sym_gen`."""
        if sym_dict is None or sym_gen is None or default_bucket_key is None:
            raise AssertionError("BucketingModule.load_dict: sym_dict, sym_gen and default_bucket_key are needed")

        def generate(key):
            symbol, *names = sym_gen(key)
            return sym_dict.get(key, symbol), *names

        module = BucketingModule(generate if sym_dict else sym_gen, default_bucket_key, **kwargs)
        module._loaded_params = (arg_params or {}, aux_params or {})
        module.params_initialized = True
        return module
