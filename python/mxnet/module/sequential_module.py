# SPDX-License-Identifier: Apache-2.0
"""SequentialModule: modules in a row, each fed with the outputs of the one before."""
from __future__ import annotations

import logging
from copy import copy

from ..initializer import Uniform
from ..io import DataDesc
from .base_module import BaseModule

__all__ = ["SequentialModule"]


class SequentialModule(BaseModule):
    """A chain of modules.

    `add` takes what is special about a module: `take_labels=True` gives it the labels, and its outputs go to metrics;
    `auto_wiring=True` renames the outputs of the module before to its inputs.
    """

    META_TAKE_LABELS = "take_labels"
    META_AUTO_WIRING = "auto_wiring"

    def __init__(self, logger=logging):
        super().__init__(logger=logger)
        self._modules = []
        self._metas = []
        self._data_shapes = None
        self._label_shapes = None

    def add(self, module, **kwargs):
        """Append a module; returns self, so that calls may be chained."""
        known = (self.META_TAKE_LABELS, self.META_AUTO_WIRING)
        for key in kwargs:
            if key not in known:
                raise AssertionError(f'Unknown meta "{key}", expected one of {", ".join(known)}')
        self._modules.append(module)
        self._metas.append(kwargs)
        self.binded = self.params_initialized = self.optimizer_initialized = False
        return self

    def _takes_labels(self, index):
        return bool(self._metas[index].get(self.META_TAKE_LABELS))

    # ---- names and shapes
    @property
    def data_names(self):
        return self._modules[0].data_names if self._modules else []

    @property
    def output_names(self):
        return self._modules[-1].output_names if self._modules else []

    @property
    def data_shapes(self):
        self._require("data_shapes", params=False)
        return self._modules[0].data_shapes

    @property
    def label_shapes(self):
        """Descriptions of the labels; None if no module takes them."""
        self._require("label_shapes", params=False)
        return self._label_shapes

    @property
    def output_shapes(self):
        self._require("output_shapes", params=False)
        return self._modules[-1].output_shapes

    # ---- parameters
    def get_params(self):
        self._require("get_params")
        arg_params, aux_params = {}, {}
        for module in self._modules:
            args, auxs = module.get_params()
            arg_params.update(args)
            aux_params.update(auxs)
        return arg_params, aux_params

    def init_params(self, initializer=Uniform(0.01), arg_params=None, aux_params=None,  # noqa: B008
                    allow_missing=False, force_init=False, allow_extra=False):
        """Initialize all modules; the dicts hold parameters of any. AssertionError if two have one of the same name."""
        if self.params_initialized and not force_init:
            return
        self._require("init_params", params=False)
        for module in self._modules:
            module.init_params(initializer=initializer, arg_params=arg_params, aux_params=aux_params,
                               allow_missing=allow_missing, force_init=force_init, allow_extra=allow_extra)
        self._check_unique_names()
        self.params_initialized = True

    def _check_unique_names(self):
        owners = {}
        for index, module in enumerate(self._modules):
            for name in (name for params in module.get_params() for name in params):
                if name in owners:
                    raise AssertionError(f'Duplicated parameter names: name "{name}" in layer {index} '
                                         f"({type(module).__name__}) is already used in layer {owners[name]} "
                                         f"({type(self._modules[owners[name]]).__name__}).")
                owners[name] = index

    # ---- binding
    def bind(self, data_shapes, label_shapes=None, for_training=True, inputs_need_grad=False, force_rebind=False,
             shared_module=None, grad_req="write"):
        if self.binded and not force_rebind:
            self.logger.warning("Already bound, ignoring bind()")
            return
        if inputs_need_grad and not for_training:
            raise AssertionError("bind: inputs_need_grad=True needs for_training=True")
        if shared_module is not None:
            raise AssertionError("Shared module is not supported")
        if not self._modules:
            raise AssertionError("Attempting to bind an empty SequentialModule")
        self.for_training = for_training
        self.inputs_need_grad = inputs_need_grad
        self._label_shapes = label_shapes if any(map(self._takes_labels, range(len(self._modules)))) else None
        shapes = data_shapes
        for index, module in enumerate(self._modules):
            if self._metas[index].get(self.META_AUTO_WIRING):
                shapes = self._wired(module, shapes)
            module.bind(data_shapes=shapes, label_shapes=label_shapes if self._takes_labels(index) else None,
                        for_training=for_training, inputs_need_grad=for_training and (inputs_need_grad or index > 0),
                        force_rebind=force_rebind, grad_req=grad_req)
            shapes = module.output_shapes
        self.binded = True

    @staticmethod
    def _wired(module, shapes):
        """The shapes under the names of the module's inputs."""
        if len(module.data_names) != len(shapes):
            raise AssertionError(f"auto_wiring: {len(shapes)} outputs for the {len(module.data_names)} inputs of "
                                 f"{type(module).__name__}")
        return [DataDesc(name, *shape[1:]) if not isinstance(shape, DataDesc)
                else DataDesc(name, shape.shape, shape.dtype, shape.layout)
                for name, shape in zip(module.data_names, shapes)]

    def init_optimizer(self, kvstore="local", optimizer="sgd", optimizer_params=(("learning_rate", 0.01),),
                       force_init=False):
        self._require("init_optimizer")
        if self.optimizer_initialized and not force_init:
            self.logger.warning("optimizer already initialized, ignoring.")
            return
        for module in self._modules:
            module.init_optimizer(kvstore=kvstore, optimizer=optimizer, optimizer_params=optimizer_params,
                                  force_init=force_init)
        self.optimizer_initialized = True

    # ---- computation
    def forward(self, data_batch, is_train=None):
        self._require("forward")
        batch = copy(data_batch)  # the caller's stays as it is
        for index, module in enumerate(self._modules):
            module.forward(batch, is_train=is_train)
            if index + 1 == len(self._modules):
                break
            batch.data = module.get_outputs()
            if batch.provide_data is not None:
                names = module.output_names
                batch.provide_data = [(name, array.shape) for name, array in zip(names, batch.data)]
                if self._metas[index + 1].get(self.META_AUTO_WIRING):
                    batch.provide_data = self._wired(self._modules[index + 1], batch.provide_data)

    def backward(self, out_grads=None):
        self._require("backward")
        for index in range(len(self._modules) - 1, -1, -1):
            self._modules[index].backward(out_grads=out_grads)
            if index:
                out_grads = self._modules[index].get_input_grads()

    def update(self):
        self._require("update", optimizer=True)
        for module in self._modules:
            module.update()

    def get_outputs(self, merge_multi_context=True):
        self._require("get_outputs")
        return self._modules[-1].get_outputs(merge_multi_context=merge_multi_context)

    def get_input_grads(self, merge_multi_context=True):
        self._require("get_input_grads")
        if not self.inputs_need_grad:
            raise AssertionError("get_input_grads: bind with inputs_need_grad=True")
        return self._modules[0].get_input_grads(merge_multi_context=merge_multi_context)

    def update_metric(self, eval_metric, labels, pre_sliced=False):
        """Update a metric with the outputs of the modules that take labels."""
        self._require("update_metric")
        for index, module in enumerate(self._modules):
            if self._takes_labels(index):
                module.update_metric(eval_metric, labels, pre_sliced)

    def install_monitor(self, mon):
        self._require("install_monitor", params=False)
        for module in self._modules:
            module.install_monitor(mon)
