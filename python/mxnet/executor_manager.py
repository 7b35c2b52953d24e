# SPDX-License-Identifier: Apache-2.0
"""Data-parallel executors under their older interface, that of `FeedForward`'s time."""
from __future__ import annotations

import logging

from .io import DataDesc

__all__ = ["DataParallelExecutorManager"]


def _split_input_slice(batch_size, work_load_list):
    """A slice of the batch for each device, in proportion to its work load; ValueError if one gets nothing."""
    total = sum(work_load_list)
    sizes = [round(load * batch_size / total) for load in work_load_list]
    sizes[-1] += max(batch_size - sum(sizes), 0)
    slices = []
    end = 0
    for size in sizes:
        begin, end = min(end, batch_size), min(end + int(size), batch_size)
        if begin >= end:
            raise ValueError(f"Too many slices. Some splits are empty: {len(sizes)} devices, batch of {batch_size}")
        slices.append(slice(begin, end))
    return slices


def _check_arguments(symbol):
    """ValueError if two arguments or two auxiliary states have the same name."""
    for kind, names in (("argument", symbol.list_arguments()), ("auxiliary state", symbol.list_auxiliary_states())):
        seen = set()
        for name in names:
            if name in seen:
                raise ValueError(f'Find duplicated {kind} name "{name}", please make the weight name non-duplicated '
                                 f"(using name arguments), the names are {names}")
            seen.add(name)


def _load_general(data, targets):
    """Copy each array of `data` to a list of (slice, array), or to an array."""
    for source, target in zip(data, targets):
        if isinstance(target, (list, tuple)):
            for part, array in target:
                array[:] = source[part]
        else:
            target[:] = source


def _load_data(batch, targets):
    """Copy a batch's data."""
    _load_general(batch.data, targets)


def _load_label(batch, targets):
    """Copy a batch's labels."""
    _load_general(batch.label, targets)


class DataParallelExecutorManager:
    """Executors of one symbol on several devices, and a graph for each bucket if there is `sym_gen`.

    Parameters
    ----------
    symbol : Symbol
    ctx : list of Context
    train_data : DataIter
        Says the shapes of inputs.
    arg_names, param_names, aux_names : list of str
        Of the symbol; found out if None.
    work_load_list : list of float, optional
    sym_gen : callable, optional
        From a bucket's key to its symbol.
    """

    def __init__(self, symbol, ctx, train_data, arg_names=None, param_names=None, aux_names=None, work_load_list=None,
                 logger=None, sym_gen=None):
        self._logger = logger or logging
        self.ctx = ctx
        self.work_load_list = [1] * len(ctx) if work_load_list is None else work_load_list
        if not isinstance(self.work_load_list, list) or len(self.work_load_list) != len(ctx):
            raise AssertionError("Invalid settings for work load. Expected a list with one entry for each context")
        self._logger.info("Start training with %s", str(ctx))
        inputs = {desc[0] for desc in [*train_data.provide_data, *train_data.provide_label]}
        self.arg_names = symbol.list_arguments() if arg_names is None else arg_names
        self.param_names = [name for name in self.arg_names if name not in inputs] if param_names is None \
            else param_names
        self.aux_names = symbol.list_auxiliary_states() if aux_names is None else aux_names
        self.symbol = symbol
        self.sym_gen = sym_gen
        self.execgrp = self._group(symbol, train_data, None)
        self.execgrp_bucket = {getattr(train_data, "default_bucket_key", None): self.execgrp} if sym_gen else {}
        self.curr_execgrp = None
        self._monitor = None
        self._batch = None

    def _group(self, symbol, source, shared):
        from .module.executor_group import DataParallelExecutorGroup
        _check_arguments(symbol)
        data, label = ([desc if isinstance(desc, DataDesc) else DataDesc(*desc) for desc in descs]
                       for descs in (source.provide_data, source.provide_label))
        return DataParallelExecutorGroup(symbol, self.ctx, self.work_load_list, data, label, self.param_names,
                                         for_training=True, inputs_need_grad=False, shared_group=shared,
                                         logger=self._logger)

    @property
    def slices(self):
        """Which part of the batch each device gets."""
        return self.execgrp.slices

    @property
    def param_arrays(self):
        """For each parameter a list of one array for each device."""
        return self.execgrp.param_arrays

    @property
    def grad_arrays(self):
        """For each parameter a list of one gradient for each device."""
        return self.execgrp.grad_arrays

    @property
    def aux_arrays(self):
        """For each auxiliary state a list of one array for each device."""
        return self.execgrp.aux_arrays

    def install_monitor(self, monitor):
        """Watch all executors; not with buckets."""
        if self.sym_gen is not None:
            raise NotImplementedError("Monitoring is not implemented for bucketing")
        self.execgrp.install_monitor(monitor)

    def set_params(self, arg_params, aux_params):
        """Write parameters to all devices."""
        self.execgrp.set_params(arg_params, aux_params)

    def copy_to(self, arg_params, aux_params):
        """Write the means over devices to the arrays of two dicts."""
        self.execgrp.get_params(arg_params, aux_params)

    def load_data_batch(self, data_batch):
        """Choose the batch that `forward` computes, and the graph of its bucket."""
        self._batch = data_batch
        self.curr_execgrp = self.execgrp
        if self.sym_gen is None:
            return
        key = data_batch.bucket_key
        if key not in self.execgrp_bucket:
            self.execgrp_bucket[key] = self._group(self.sym_gen(key), data_batch, self.execgrp)
        self.curr_execgrp = self.execgrp_bucket[key]

    def forward(self, is_train=False):
        """Compute the outputs of the loaded batch."""
        self.curr_execgrp.forward(self._batch, is_train=is_train)

    def backward(self):
        """Compute the gradients."""
        self.curr_execgrp.backward()

    def update_metric(self, metric, labels, pre_sliced=False):
        """Update a metric with labels and the last outputs."""
        self.curr_execgrp.update_metric(metric, labels, pre_sliced)
